"""The saved page: one file that works with no kernel and no network."""

import re

import pytest
import torch
from nets import make_lenet
from PIL import Image
from playwright.sync_api import expect

from lenet_helpers.explorers import explore_net, prepare_image


@pytest.fixture
def lenet():
    torch.manual_seed(2)
    return make_lenet()


@pytest.fixture
def open_saved(page, tmp_path):
    """Save an explorer, open the file in a browser that is offline, and check that it asked for nothing else."""
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.context.set_offline(True)

    def open_page(explorer, **options):
        explorer.save(tmp_path / "my_lenet.html", **options)
        page.goto((tmp_path / "my_lenet.html").as_uri())
        return page.get_by_role("main")

    yield open_page
    page.context.set_offline(False)
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "blob:"))] == []


def test_saved_page_computes_with_the_learners_weights(open_saved, page, lenet, fashion, tmp_path, shoot):
    X, y = fashion
    explorer = explore_net(lenet, X[:100], y[:100])
    explorer.open_view(4, unit=9, row=3, column=4)
    main = open_saved(explorer)
    shoot("saved")
    details = main.get_by_role("status", name="details")
    for index, row in ((0, 3), (7, 4)):
        main.get_by_label("image 0–49").fill(str(index))
        main.get_by_role("spinbutton", name="row").fill(str(row))
        with torch.no_grad():
            expected = lenet[:4](X[index : index + 1])[0, 9, row, 4].item()
        assert float(details.get_attribute("data-value")) == pytest.approx(expected, abs=1e-5)
    shown = main.get_by_role("status", name="shown image")
    main.get_by_label("image 0–49").fill("99")
    expect(shown).to_contain_text("image 49:")

    Image.new("RGB", (50, 80), (250, 240, 230)).save(tmp_path / "dress.png")
    main.get_by_label("Upload a picture").set_input_files(tmp_path / "dress.png")
    expect(shown).to_contain_text("dress.png → the net says")
    with torch.no_grad():
        probability = lenet(prepare_image(tmp_path / "dress.png")[0].reshape(1, 1, 28, 28)).softmax(1).max().item()
    assert float(re.search(r"probability (\S+)\)", shown.inner_text())[1]) == pytest.approx(probability, abs=6e-3)

    main.get_by_role("button", name="← Overview").click()
    main.get_by_role("button", name="Draw").click()
    expect(shown).to_contain_text("your drawing")
    main.get_by_role("button", name="Why").click()
    expect(main.locator("table tr[data-class]")).to_have_count(10)


def test_saved_page_keeps_drawn_picture_and_few_images(open_saved, lenet, fashion):
    explorer = explore_net(lenet, fashion[0][:20])
    explorer.choose(15)
    main = open_saved(explorer, images=4)
    expect(main.get_by_role("status", name="shown image")).to_contain_text("image 15 → the net says")
    expect(main.get_by_label("image 0–3")).to_be_visible()


def test_text_is_escaped(open_saved, page, fashion):
    names = ["</script><script>alert(1)</script>", "<b>bold</b>", "/*SCRIPT*/ <!--TITLE-->", *"defghij"]
    main = open_saved(explore_net(make_lenet(), fashion[0][:10], fashion[1][:10] % 3, names))
    expect(main.get_by_role("button", name="<b>bold</b>").first).to_be_visible()
    assert page.locator("b").count() == 0
    assert names[0] in page.title()


def test_message_page(open_saved, fashion):
    net = make_lenet()
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] = float("inf")
    expect(open_saved(explore_net(net, fashion[0][:3])).get_by_role("alert")).to_contain_text("layer 0 (Conv2d)")


def test_dark_page(open_saved, page, lenet, fashion, shoot):
    page.emulate_media(color_scheme="dark")
    open_saved(explore_net(lenet, *(part[:30] for part in fashion)))
    shoot("saved_dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 17)"
