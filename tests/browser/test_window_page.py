"""The window explorer's script alone in a blank page, with conv2d as the oracle."""

import statistics
from itertools import pairwise

import pytest
import torch
from playwright.sync_api import expect
from torch.nn import functional as F

from lenet_helpers.explorers import explore_window
from lenet_helpers.explorers.window import make_kernels

IMAGE = "image: move the window with the mouse, a finger or the arrow keys"
OUTPUT = "output map: choose a pixel with the mouse, a finger or the arrow keys"


@pytest.fixture
def image():
    image = torch.rand(28, 28, generator=torch.Generator().manual_seed(0)) / 4
    image[4:25, 8:20] += 0.6
    image[4:12, 3:25] += 0.1
    return image


def correlate(image, kernel):
    return F.conv2d(image[None, None], kernel[None, None])[0, 0]


def pixel(canvas, row, col, rows=28):
    """Return the place on the page of the middle of one pixel of a canvas."""
    box = canvas.bounding_box()
    cell = (box["height"] - 2) / rows
    return box["x"] + 1 + (col + 0.5) * cell, box["y"] + 1 + (row + 0.5) * cell


def test_every_kernel_matches_conv2d_at_random_places(mount, page, image):
    root = mount(explore_window(image, kernel=torch.randn(8, 8, generator=torch.Generator().manual_seed(2))))
    generator = torch.Generator().manual_seed(3)
    for name, kernel in {"mine": torch.tensor(0), **make_kernels()}.items():
        if name == "mine":
            kernel = torch.randn(8, 8, generator=torch.Generator().manual_seed(2))
        root.get_by_role("combobox", name="kernel").select_option(name)
        expected = correlate(image, kernel)
        places = [[int(i) for i in torch.randint(0, len(expected), (2,), generator=generator)] for _ in range(100)]
        values = page.evaluate(
            """(places) => places.map(([row, col]) => {
                model.set({ row, col });
                return [Number(widget.dataset.row), Number(widget.dataset.col), Number(widget.dataset.value)];
            })""",
            places,
        )
        assert [value[:2] for value in values] == places
        for row, col, value in values:
            assert value == pytest.approx(expected[row, col].item(), abs=1e-5)


def test_numbers_are_written_out_and_add_up(mount, page, image):
    explorer = explore_window(image, kernel=torch.tensor([[1.0, -1.0], [0.5, 0.0]]))
    root = mount(explorer)
    page.evaluate("model.set({ row: 7, col: 9 })")
    numbers = {
        name: [
            float(text.replace("−", "-"))
            for text in root.get_by_role("table", name=name).locator("td").all_inner_texts()
        ]
        for name in ("patch", "kernel weights", "products")
    }
    explorer.row, explorer.col = 7, 9
    assert numbers["patch"] == pytest.approx(image[7:9, 9:11].flatten().tolist(), abs=0.0051)
    assert numbers["kernel weights"] == [1, -1, 0.5, 0]
    assert numbers["products"] == pytest.approx(explorer.products.flatten().tolist(), abs=0.0051)
    written = f"{explorer.value:.3f}".replace("-", "−")
    expect(root.get_by_role("status")).to_contain_text(f"output[7, 9] = {written}: the sum of 4 products")
    expect(root.locator(".sum")).to_have_text(f"sum = {written}")


def test_arrow_keys_move_on_both_pictures_and_stop_at_the_border(mount, page, image):
    root = mount(explore_window(image))
    for label in (IMAGE, OUTPUT):
        root.get_by_role("application", name=label).focus()
        page.evaluate("model.set({ row: 0, col: 0 })")
        for key in ("ArrowUp", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowRight"):
            page.keyboard.press(key)
        assert page.evaluate("[widget.dataset.row, widget.dataset.col]") == ["2", "1"]
        page.evaluate("model.set({ row: 23, col: 23 })")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        expect(root.get_by_role("status")).to_contain_text("output[23, 23]")
    assert page.evaluate("leaked") == [], "JupyterLab must not see the arrow keys"
    page.keyboard.press("Control+s")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("leaked") == ["s"], "saving the notebook is meant for JupyterLab"
    page.wait_for_function("window.saved?.row === 23")


def test_mouse_and_touch_place_the_window(mount, page, image):
    root = mount(explore_window(image))
    page.mouse.move(*pixel(root.get_by_role("application", name=IMAGE), 10, 14))
    expect(root.get_by_role("status")).to_contain_text("output[8, 12]")  # the window's middle is under the mouse
    output = root.get_by_role("application", name=OUTPUT)
    page.mouse.move(*pixel(output, 3, 20, rows=24))
    expect(root.get_by_role("status")).to_contain_text("from rows 3 to 7 and columns 20 to 24")
    x, y = pixel(output, 15, 6, rows=24)
    output.dispatch_event("pointerdown", {"clientX": x, "clientY": y, "pointerType": "touch"})
    expect(root.get_by_role("status")).to_contain_text("output[15, 6]")
    assert output.evaluate("(canvas) => getComputedStyle(canvas).touchAction") == "none"


def test_map_fills_in_where_the_window_has_been(mount, page, image):
    root = mount(explore_window(image))
    assert root.get_attribute("data-visited") == "1"
    root.get_by_role("application", name=IMAGE).focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert root.get_attribute("data-visited") == "6"
    gray = """(canvas) => {
        const cell = canvas.width / 24, context = canvas.getContext("2d");
        let count = 0;
        for (let i = 0; i < 24; i++) for (let j = 0; j < 24; j++) {
            const [r, g, b] = context.getImageData((j + 0.5) * cell, (i + 0.5) * cell, 1, 1).data;
            if (r === 196 && g === 196 && b === 196) count++;
        }
        return count;
    }"""
    output = root.get_by_role("application", name=OUTPUT)
    assert output.evaluate(gray) == 24 * 24 - 6
    box = root.get_by_label("fill the whole map")
    box.check()
    assert output.evaluate(gray) == 0
    box.uncheck()
    assert output.evaluate(gray) == 24 * 24 - 6
    page.wait_for_function("window.saved?.fill === false")


def test_kernel_side_changes_arrive(mount, page, image):
    root = mount(explore_window(image))
    page.evaluate("model.set({ row: 23, col: 23 })")
    kernel = torch.ones(11, 11)
    page.evaluate("(mine) => model.set({ kernels: { mine }, kernel_name: 'mine' })", kernel.tolist())
    expect(root.locator("select")).to_have_value("mine")
    expect(root.get_by_role("status")).to_contain_text("output[17, 17]")
    value = float(root.get_attribute("data-value"))
    assert value == pytest.approx(correlate(image, kernel)[17, 17].item(), abs=1e-4)
    page.evaluate("model.set({ fill: true })")
    expect(root.get_by_label("fill the whole map")).to_be_checked()


def test_larger_kernel_chosen_in_the_page_pulls_the_window_inside(mount, page, image):
    root = mount(explore_window(image, kernels={"small": torch.ones(1, 1), "large": torch.ones(11, 11)}))
    page.evaluate("model.set({ row: 27, col: 20 })")
    root.locator("select").select_option("large")
    page.wait_for_function("window.saved?.kernel_name === 'large'")
    assert page.evaluate("[saved.row, saved.col]") == [17, 17]


def test_tab_reaches_every_control(mount, page, image):
    mount(explore_window(image))
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.closest('label').textContent")
        )
    assert reached[0].startswith("kernel") and reached[1:] == [" fill the whole map", IMAGE, OUTPUT]


MEASURE = """(count) => {
    const canvas = document.querySelector("#widget canvas");
    const box = canvas.getBoundingClientRect();
    const pixel = box.width / 28;
    return Array.from({ length: count }, (_, i) => {
        const clientX = box.left + (4.5 + ((11 * i) % 20)) * pixel;
        const clientY = box.top + (4.5 + ((7 * i) % 20)) * pixel;
        const start = performance.now();
        canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
        for (const one of document.querySelectorAll("#widget canvas")) one.getContext("2d").getImageData(0, 0, 1, 1);
        document.getElementById("widget").getBoundingClientRect(); // lays the page out
        return { ms: performance.now() - start, shown: document.querySelector("[role=status]").textContent };
    });
}"""


def test_work_of_a_step(mount, page, image, capsys):
    """60 steps a second leave 16 ms for each: for its numbers, its pictures and the layout of the page."""
    mount(explore_window(image))
    steps = page.evaluate(MEASURE, 400)
    assert all(one["shown"] != other["shown"] for one, other in pairwise(steps)), "a move changes nothing"
    with capsys.disabled():
        print(f"\nmedian ms of a step: {statistics.median(step['ms'] for step in steps):.2f}")


def test_cleanup_stops_listening(mount, page, image):
    root = mount(explore_window(image))
    page.evaluate("cleanup(); model.set({ row: 5 })")
    assert root.get_attribute("data-row") == "0"


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_notebook_cell(mount, page, shoot, image, dark):
    page.set_viewport_size({"width": 900, "height": 640})
    explorer = explore_window(image)
    explorer.row, explorer.col, explorer.fill = 6, 10, True
    mount(explorer, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(f"window_{'dark' if dark else 'light'}")
