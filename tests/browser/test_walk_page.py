"""Predict the walk in a blank page: the real Python quiz answers for the kernel."""

import re

import pytest
from playwright.sync_api import expect
from torch import nn

from lenet_helpers.explorers import explore_walk
from lenet_helpers.shapes import walk_shapes


class Reshape(nn.Module):
    def forward(self, X):
        return X.view(-1, 1, 28, 28)


def make_lenet():
    return nn.Sequential(
        Reshape(),
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2, 2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip


@pytest.fixture
def quiz():
    return explore_walk(make_lenet())


@pytest.fixture
def reply(page, quiz):
    """Return a function that hands what the page has sent to the quiz, and its new state to the page."""

    def pass_on():
        for content in page.evaluate("(window.sent ?? []).splice(0)"):
            quiz._handle_custom_msg(content, [])
        state = {"answers": quiz.answers, "score": quiz.score, "parameters": quiz.parameters}
        page.evaluate("(state) => model.set(state)", state)

    return pass_on


def fields(root, index):
    return root.get_by_label(f"output shape of net[{index}] "), root.get_by_label(f"parameters of net[{index}] ")


def test_wrong_then_right_to_the_end_by_keyboard_alone(mount, page, quiz, reply):
    root = mount(quiz)
    page.keyboard.press("Tab")
    page.keyboard.type("1, 6, 24, 24")
    page.keyboard.press("Tab")
    page.keyboard.type("150")
    page.keyboard.press("Enter")
    expect(root).to_contain_text("Checking …")
    reply()
    expect(root).to_contain_text("✗ Shape: Height and width: padding forgotten")
    expect(root).to_contain_text("✗ Parameters: Bias forgotten")
    expect(root.get_by_role("status")).to_have_text("0 of 12 right, with 0 parameters.")
    page.keyboard.press("Shift+Tab")
    for row in walk_shapes(make_lenet())[1:]:
        page.keyboard.press("Control+A")
        page.keyboard.type("x".join(map(str, row.output_shape)))
        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type(f"{row.parameters:,}")
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("Check")
        page.keyboard.press("Enter")
        reply()
        page.keyboard.press("Tab")
    expect(root.get_by_role("status")).to_contain_text("12 of 12 right")
    expect(root.get_by_role("status")).to_contain_text("61,706 parameters")
    expect(root.get_by_text("✓ Shape: right.")).to_have_count(12)
    expect(fields(root, 1)[0]).to_have_value("1x6x28x28")


def test_check_by_mouse_marks_the_wrong_field(mount, page, quiz, reply):
    root = mount(quiz)
    shape, parameters = fields(root, 4)
    shape.fill("1, 16, 10, 10")
    parameters.fill("2400")
    root.get_by_role("button", name="Check net[4] Conv2d").click()
    reply()
    expect(shape).to_have_attribute("aria-invalid", "false")
    expect(parameters).to_have_attribute("aria-invalid", "true")
    expect(parameters).to_have_accessible_description(
        re.compile("✓ Shape: right. *✗ Parameters: Bias forgotten. Each output channel has one.")
    )
    root.get_by_role("button", name="Check net[4] Conv2d").click()
    expect(root).to_contain_text("Checking …")
    reply()
    expect(root).not_to_contain_text("Checking …")  # the same answer again gets its feedback again


def test_answers_from_a_cell_are_written_into_the_fields(mount, page, quiz, reply):
    quiz.answer(1, (1, 6, 28, 28), 156)
    root = mount(quiz)
    expect(fields(root, 1)[0]).to_have_value("1, 6, 28, 28")
    expect(root.get_by_role("status")).to_have_text("1 of 12 right, with 156 parameters.")
    quiz.answer(2, "1, 6, 28, 27", "0")
    reply()
    expect(fields(root, 2)[0]).to_have_value("1, 6, 28, 27")
    expect(root).to_contain_text("Sigmoid leaves the shape as it came in.")


def test_feedback_leaves_what_is_being_typed_elsewhere(mount, page, quiz, reply):
    root = mount(quiz)
    fields(root, 1)[0].fill("1, 6")
    fields(root, 1)[0].press("Enter")
    fields(root, 1)[0].fill("1, 6, 28, 28")
    fields(root, 2)[0].fill("half an ans")
    reply()
    expect(fields(root, 1)[0]).to_have_value("1, 6, 28, 28")
    expect(fields(root, 2)[0]).to_have_value("half an ans")


def test_without_a_kernel_nothing_is_called_wrong(mount, page, clock, quiz):
    root = mount(quiz)
    fields(root, 1)[0].fill("1, 6, 28, 28")
    fields(root, 1)[0].press("Enter")
    clock.run_for(10_000)
    expect(root).to_contain_text("No answer. The kernel is busy or stopped")
    expect(root.locator(".wrong")).to_have_count(0)
    page.evaluate("() => { model.send = () => { throw new Error('Cannot send'); }; }")
    fields(root, 2)[0].press("Enter")
    expect(root.get_by_text("No answer.")).to_have_count(2)


def test_keys_do_not_reach_jupyterlab(mount, page, quiz):
    root = mount(quiz)
    fields(root, 1)[0].press_sequentially("1, 6 dd")
    fields(root, 1)[0].press("Enter")
    assert page.evaluate("leaked") == []


def test_text_from_the_net_is_not_taken_as_html(mount, page, quiz):
    quiz.layers = [{"index": 0, "name": "<b>", "text": "<img src=x onerror=window.hacked=1>"}]
    root = mount(quiz)
    assert root.locator("img").count() == 0
    expect(root).to_contain_text("<img src=x")


def test_cleanup_stops_listening(mount, page, quiz):
    root = mount(quiz)
    page.evaluate("cleanup(); model.set({ score: 5 })")
    expect(root.get_by_role("status")).to_have_text("0 of 12 right, with 0 parameters.")


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_notebook_cell(mount, page, shoot, quiz, dark):
    page.set_viewport_size({"width": 900, "height": 760})
    for index, shape, parameters in (
        (1, "1, 6, 28, 28", 156),
        (2, "1, 6, 14, 14", 0),
        (3, "6, 28, 28", 4),
        (4, "1, 6, 14, 14", 2400),
    ):
        quiz.answer(index, shape, parameters)
    mount(quiz, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(f"walk_{'dark' if dark else 'light'}")
