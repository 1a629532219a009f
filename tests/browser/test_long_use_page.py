"""Many images in one page: memory stays bounded, and nothing is left behind. `make long-use` runs it."""

import pytest
import torch
from nets import make_lenet

from lenet_helpers.explorers import explore_net

MIB = 2**20
SHOW = """([picture, layer]) => new Promise((done) => {
    model.set({ picture: new DataView(new Float32Array(picture).buffer), layer });
    requestAnimationFrame(done);
})"""


@pytest.mark.long_use
def test_500_images_in_one_page(mount, page, fashion, capsys):
    """The overview and the opened views in turns, each with the mouse over its picture."""
    torch.manual_seed(0)
    root = mount(explore_net(make_lenet(), fashion[0][:100], fashion[1][:100]))
    images = fashion[0][:100].flatten(1).tolist()
    session = page.context.new_cdp_session(page)

    def count():
        session.send("HeapProfiler.collectGarbage")
        counters = session.send("Memory.getDOMCounters")
        used = session.send("Runtime.getHeapUsage")["usedSize"]
        return {"nodes": counters["nodes"], "listeners": counters["jsEventListeners"], "mib": used / MIB}

    counts = []
    for _ in range(5):
        for number in range(100):
            page.evaluate(SHOW, [images[number], (-1, 0, 4, 8)[number % 4]])
            if number % 4 == 0:
                root.locator("canvas").first.hover()
        counts.append(count())
    with capsys.disabled():
        print(f"\n500 images in the page: {counts[0]} after the warm-up, {counts[-1]} at the end")
    assert counts[-1]["nodes"] <= counts[0]["nodes"] + 50
    assert counts[-1]["listeners"] <= counts[0]["listeners"] + 20
    assert counts[-1]["mib"] - counts[0]["mib"] < 5
