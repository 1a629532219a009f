"""Activations and gradients per layer in a blank page: the real Python widget answers for the kernel."""

import pytest
import torch
from playwright.sync_api import expect

from lenet_helpers.explorers import explore_signals

NAMES = ("activation", "init", "depth")


@pytest.fixture
def lab():
    generator = torch.Generator().manual_seed(0)
    return explore_signals(torch.rand(32, 1, 28, 28, generator=generator), torch.arange(32) % 10)


@pytest.fixture
def reply(page, lab):
    """Return a function that hands the page's choice to the widget, and the widget's numbers to the page."""

    def pass_on():
        for name in NAMES:
            setattr(lab, name, page.evaluate("(name) => model.get(name)", name))
        state = {name: getattr(lab, name) for name in ("reach", "layers", "before", "told")}
        page.evaluate("(state) => model.set(state)", state)

    return pass_on


def test_starts_with_the_widgets_numbers(mount, lab):
    root = mount(lab)
    expect(root.get_by_role("status")).to_have_text(lab.told)
    expect(root.get_by_role("img")).to_have_accessible_name(
        f"Activations, spread and gradients of 5 layers. {lab.told}"
    )
    expect(root.get_by_role("row")).to_have_count(6)
    expect(root.locator(".now circle")).to_have_count(10)
    expect(root.locator(".before circle")).to_have_count(0)
    expect(root.locator(".legend")).to_be_hidden()
    first = lab.layers[0]
    expect(root.get_by_role("row", name="hidden 1")).to_contain_text(f"{first['mean']:.3f}")


def test_choices_reach_the_kernel_and_its_numbers_the_page(mount, page, lab, reply):
    root = mount(lab)
    root.get_by_role("combobox", name="activation").select_option("ReLU")
    expect(root.get_by_role("status")).to_contain_text("Measuring")
    reply()
    root.get_by_role("combobox", name="init").select_option("He")
    reply()
    root.get_by_role("slider", name="hidden layers").fill("10")
    reply()
    assert (lab.activation, lab.init, lab.depth) == ("ReLU", "He", 10)
    expect(root.get_by_role("status")).to_have_text(lab.told)
    expect(root.locator(".now circle")).to_have_count(22)
    expect(root.locator(".before circle")).to_have_count(10)
    expect(root.locator(".legend")).to_be_visible()


def test_by_keyboard_alone(mount, page, lab, reply):
    root = mount(lab)
    page.keyboard.press("Tab")
    page.keyboard.type("R")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    reply()
    assert (lab.activation, lab.init, lab.depth) == ("ReLU", "He", 5)
    assert page.evaluate("leaked") == []
    expect(root.get_by_role("row")).to_have_count(7)


def test_points_stand_in_the_order_of_their_numbers(mount, page, lab):
    root = mount(lab)
    heights = [float(dot.get_attribute("cy")) for dot in root.locator(".now").last.locator("circle").all()]
    gradients = [row["gradient"] for row in lab.layers]
    order = sorted(range(len(gradients)), key=gradients.__getitem__, reverse=True)
    assert sorted(range(len(heights)), key=heights.__getitem__) == order


def test_a_spread_of_zero_is_left_out_of_the_log_scale(mount, page, lab):
    lab.depth = 10
    lab.layers = [{**row, "spread": 0.0} if row["name"] == "hidden 9" else row for row in lab.layers]
    root = mount(lab)
    expect(root.locator(".now").first.locator("circle")).to_have_count(10)
    assert not page.evaluate("document.querySelector('svg').outerHTML.match(/NaN|Infinity/)")


def test_a_change_in_a_cell_moves_the_controls(mount, page, lab):
    root = mount(lab)
    page.evaluate("model.set({ activation: 'tanh', depth: 3 })")
    expect(root.get_by_role("combobox", name="activation")).to_have_value("tanh")
    expect(root.get_by_role("slider", name="hidden layers")).to_have_value("3")


def test_cleanup_stops_listening(mount, page, lab):
    root = mount(lab)
    page.evaluate("cleanup(); model.set({ activation: 'tanh' })")
    expect(root.get_by_role("combobox", name="activation")).to_have_value("sigmoid")


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_notebook_cell(mount, page, shoot, lab, dark):
    page.set_viewport_size({"width": 900, "height": 900})
    lab.init, lab.depth = "He", 10
    lab.activation = "ReLU"
    lab.activation = "sigmoid"
    mount(lab, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(f"depth_{'dark' if dark else 'light'}")
