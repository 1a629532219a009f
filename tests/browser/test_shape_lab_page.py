"""The shape lab's script alone in a blank page, against the Python side, which is tested against PyTorch."""

import itertools

import pytest
import torch
from playwright.sync_api import expect
from torch import nn

from lenet_helpers.explorers import explore_shapes
from lenet_helpers.explorers.shape_lab import RANGES, shrink, slide
from lenet_helpers.shapes import KINDS

INPUT = "padded input: move the window with the mouse, a finger or the arrow keys"
OUTPUT = "output: choose a pixel with the mouse, a finger or the arrow keys"


@pytest.fixture
def image():
    image = torch.rand(28, 28, generator=torch.Generator().manual_seed(0)) / 4
    image[4:25, 8:20] += 0.6
    image[4:12, 3:25] += 0.1
    return image


def grid_of_settings():
    """Return several hundred settings, possible and impossible ones."""
    axes = KINDS, (5, 13, 28), (1, 2, 3, 5, 11), (0, 1, 2, 5), (1, 2, 5), (1, 3)
    settings = []
    for values in itertools.product(*axes):
        named = dict(zip(("kind", "size", "kernel", "padding", "stride", "dilation"), values, strict=True))
        settings.append({**named, "in_channels": 3, "out_channels": 16})
    return settings


def test_results_equal_those_of_python(mount, page, image):
    lab = explore_shapes(image)
    mount(lab)
    shown = page.evaluate(
        """(grid) => grid.map((settings) => {
            const changed = Object.entries(settings).filter(([name, value]) => model.get(name) !== value);
            model.set(Object.fromEntries(changed));
            const text = (selector) => widget.querySelector(selector)?.textContent;
            return {
                code: text(".code"),
                formula: text(".formula"),
                status: text("[role=status]"),
                shape: text("[data-name='output shape']"),
                unreached: text("[data-name='pixels not reached']"),
                parameters: text("[data-name=parameters]"),
                multiplyAdds: text("[data-name='multiply-adds']"),
            };
        })""",
        grid_of_settings(),
    )
    impossible = 0
    for settings, result in zip(grid_of_settings(), shown, strict=True):
        lab.set_state(settings)
        layer = lab.layer
        assert result["code"] == layer.code
        assert result["formula"] == f"output size = floor((n + 2p − d(k − 1) − 1) / s) + 1 = {layer.formula}"
        if layer.problem:
            impossible += 1
            assert result["status"] == f"Not possible: {layer.problem}"
            continue
        assert result["shape"] == str(layer.output_shape)
        assert result["unreached"] == f"{layer.unreached} of {layer.size**2}"
        assert result["parameters"] == f"{layer.parameters:,}"
        assert result["multiplyAdds"] == f"{layer.multiply_adds:,}"
    assert len(shown) > 800 and impossible > 100


@pytest.mark.parametrize("kind", KINDS)
def test_output_pixels_equal_those_of_torch(mount, page, image, kind):
    lab = explore_shapes(image)
    lab.kind, lab.size, lab.kernel, lab.padding, lab.stride, lab.dilation = kind, 17, 4, 2, 3, 2
    mount(lab)
    side = lab.layer.output_size
    values = page.evaluate(
        """(side) => Array.from({ length: side }, (_, row) => Array.from({ length: side }, (_, col) => {
            model.set({ row, col });
            return Number(widget.dataset.value);
        }))""",
        side,
    )
    torch.testing.assert_close(torch.tensor(values), slide(shrink(image, 17), lab.layer))


def test_sliders_by_keyboard_show_their_number(mount, page, image):
    root = mount(explore_shapes(image))
    expect(root.get_by_role("combobox", name="layer")).to_be_visible()
    for name, (low, high) in RANGES.items():
        label = {"in_channels": "input channels", "out_channels": "output channels"}.get(name, name)
        slider = page.get_by_role("slider", name=label)
        slider.focus()
        for key, number in (("Home", low), ("ArrowRight", low + 1), ("End", high)):
            page.keyboard.press(key)
            expect(root.locator(".setting", has=slider).locator(".number")).to_have_text(str(number))
            assert page.evaluate("(name) => model.get(name)", name) == number
    page.wait_for_function("window.saved?.out_channels === 32")
    assert page.evaluate("leaked") == []


def test_impossible_settings_are_explained_and_can_be_left(mount, page, image, shoot):
    root = mount(explore_shapes(image))
    status = root.get_by_role("status").first
    page.evaluate("model.set({ row: 20, col: 20 })")
    root.get_by_role("slider", name="dilation").fill("4")
    root.get_by_role("slider", name="kernel").fill("10")
    expect(status).to_contain_text("Not possible: The window spans 37 pixels, but the padded input is only 32 wide.")
    expect(status).to_contain_text("Lower the kernel or the dilation")
    expect(root.get_by_role("application", name=OUTPUT)).to_be_hidden()
    root.get_by_role("application", name=INPUT).press("ArrowRight")  # nothing to move, and no error
    shoot("shape_lab_impossible")
    root.get_by_role("slider", name="kernel").fill("3")
    expect(status).to_contain_text("output shape (1, 6, 24, 24)")
    expect(root.get_by_role("application", name=OUTPUT)).to_be_visible()
    root.get_by_role("combobox").select_option("max pooling")
    root.get_by_role("slider", name="padding").fill("2")
    expect(status).to_contain_text("at most half the kernel, here 1")


def test_pooling_switches_off_what_it_has_not(mount, page, image):
    root = mount(explore_shapes(image))
    root.get_by_role("slider", name="dilation").fill("2")
    chooser = root.get_by_role("combobox", name="layer")
    chooser.select_option("average pooling")
    dilation, channels = (root.get_by_role("slider", name=name) for name in ("dilation", "output channels"))
    expect(dilation).to_be_disabled()
    expect(channels).to_be_disabled()
    expect(root).to_contain_text("AvgPool2d has no dilation in PyTorch")
    expect(root).to_contain_text("pooling keeps the channels")
    expect(dilation).to_have_accessible_description("AvgPool2d has no dilation in PyTorch")
    chooser.select_option("max pooling")
    expect(dilation).to_be_enabled()
    expect(dilation).to_have_value("2")
    chooser.select_option("convolution")
    expect(channels).to_be_enabled()
    expect(channels).to_have_value("6")


def test_window_follows_mouse_touch_and_keys(mount, page, image):
    lab = explore_shapes(image)
    lab.size, lab.stride, lab.padding = 14, 2, 1
    root = mount(lab)
    line = root.locator(".window-line")
    output, input_ = (root.get_by_role("application", name=name) for name in (OUTPUT, INPUT))
    expect(line).to_contain_text("output[0, 0] reads rows −1 to 3 and columns −1 to 3; 9 of 25 numbers are padding")
    box = output.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 2.5 / 6, box["y"] + box["height"] * 1.5 / 6)
    expect(line).to_contain_text("output[1, 2] reads rows 1 to 5 and columns 3 to 7; 0 of 25")
    box = input_.bounding_box()
    x, y = box["x"] + box["width"] * 8.5 / 16, box["y"] + box["height"] * 2.5 / 16
    input_.dispatch_event("pointerdown", {"clientX": x, "clientY": y, "pointerType": "touch"})
    expect(line).to_contain_text("output[0, 3]")
    output.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    expect(line).to_contain_text("output[1, 2]")
    page.wait_for_function("window.saved?.row === 1 && saved.col === 2")


def test_smaller_output_pulls_the_window_inside(mount, page, image):
    root = mount(explore_shapes(image))
    page.evaluate("model.set({ row: 27, col: 20 })")
    root.get_by_role("slider", name="stride").fill("3")
    page.wait_for_function("window.saved?.stride === 3")
    assert page.evaluate("[saved.row, saved.col]") == [9, 9]


def test_pixels_not_reached_are_hatched(mount, page, image):
    lab = explore_shapes(image)
    lab.size, lab.kernel, lab.padding, lab.stride, lab.dilation = 14, 2, 1, 3, 1
    root = mount(lab)
    hatched = root.get_by_role("application", name=INPUT).evaluate(
        """(canvas) => {
            const context = canvas.getContext("2d"), cell = Math.floor(canvas.width / 16);
            let count = 0;
            for (let i = 0; i < 16; i++) for (let j = 0; j < 16; j++) {
                const { data } = context.getImageData(j * cell + 1, i * cell + 1, cell - 1, cell - 1);
                let orange = 0;
                for (let k = 0; k < data.length; k += 4) if (data[k] > 180 && data[k + 2] < 80) orange++;
                if (orange > 3) count++;
            }
            return count;
        }"""
    )
    assert hatched == lab.layer.unreached > 50


def test_tab_reaches_every_control(mount, page, image):
    mount(explore_shapes(image))
    tags = []
    for _ in range(10):
        page.keyboard.press("Tab")
        tags.append(page.evaluate("document.activeElement.tagName"))
    assert tags == ["SELECT", *["INPUT"] * 7, "CANVAS", "CANVAS"]


def test_cleanup_stops_listening(mount, page, image):
    root = mount(explore_shapes(image))
    page.evaluate("cleanup(); model.set({ stride: 4 })")
    expect(root.locator(".code")).to_contain_text("stride=1")


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_notebook_cell(mount, page, shoot, image, dark):
    page.set_viewport_size({"width": 900, "height": 720})
    lab = explore_shapes(image)
    lab.stride, lab.kernel, lab.dilation, lab.row, lab.col = 4, 2, 2, 3, 3
    root = mount(lab, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(f"shape_lab_{'dark' if dark else 'light'}")
    root.get_by_role("combobox").select_option("average pooling")
    shoot(f"shape_lab_pooling_{'dark' if dark else 'light'}")


def test_line_of_code_builds_the_layer(mount, page, image):
    root = mount(explore_shapes(image))
    code = root.locator(".code").inner_text()
    assert eval(code, {"nn": nn})(image[None, None]).shape == (1, 6, 28, 28)
