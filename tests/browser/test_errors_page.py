"""The error browser in a page, with torch as the oracle."""

import numpy as np
import pytest
import torch
from playwright.sync_api import expect
from torch import nn

from lenet_helpers import evaluate_accuracy_gpu
from lenet_helpers.data import CLASSES
from lenet_helpers.explorers import explore_errors

READ_ROWS = "rows => rows.map(row => [...row.querySelectorAll('td')].map(td => Number(td.textContent)))"
READ_REDS = "c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)"


@pytest.fixture(scope="module")
def batches(fashion):
    X, y = fashion
    return list(zip(X.split(256), y.split(256), strict=True))


@pytest.fixture(scope="module")
def explorer(training, batches):
    return explore_errors(training[0], batches)


@pytest.fixture
def root(explorer, mount):
    return mount(explorer)


def test_matrix_sums_to_the_test_set_and_its_trace_is_the_accuracy(root, training, batches, fashion, shoot):
    counts = np.array(root.locator("tbody tr").evaluate_all(READ_ROWS))
    with torch.no_grad():
        predicted = training[0](fashion[0]).argmax(1)
    expected = torch.bincount(10 * fashion[1] + predicted, minlength=100).reshape(10, 10)
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == 1000
    accuracy = evaluate_accuracy_gpu(training[0], batches)
    assert counts.trace() / counts.sum() == accuracy
    expect(root).to_contain_text(f"accuracy {accuracy:.4f}")
    shoot("errors")


def test_click_shows_the_images_by_confidence(root, page, training, fashion):
    X, y = fashion
    with torch.no_grad():
        confidence, predicted = training[0](X).softmax(1).max(1)
    for actual, guess in ((6, 0), (2, 2), (0, 6)):
        root.get_by_role("button", name=f"true {CLASSES[actual]}, predicted {CLASSES[guess]}:").click()
        members = ((y == actual) & (predicted == guess)).nonzero().flatten()
        expect(root.get_by_role("status")).to_contain_text(f": {len(members)} image")
        captions = root.locator(".gallery figcaption").all_inner_texts()
        assert len(captions) == min(100, len(members))
        shown = [(float(a), int(b)) for a, b in (caption.split(" · #") for caption in captions)]
        assert {number for _, number in shown} <= set(members.tolist())
        expected = confidence[members].sort(descending=True).values[:100]
        assert [c for c, _ in shown] == pytest.approx(expected.tolist(), abs=6e-3)
        first = root.locator(".gallery canvas").first.evaluate(READ_REDS)
        np.testing.assert_array_equal(np.array(first).reshape(28, 28), 255 - (X[shown[0][1], 0] * 255).round())
    assert page.evaluate("[saved.actual, saved.predicted]") == [0, 6]


def test_keys_move_through_the_cells(root, page):
    assert root.locator("button[tabindex='0']").count() == 1
    root.get_by_role("button", name="true t-shirt, predicted t-shirt").focus()
    page.keyboard.press("ArrowUp")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(root.get_by_role("status")).to_contain_text("True trouser, predicted pullover")
    expect(root.get_by_role("button", name="true trouser, predicted pullover", pressed=True)).to_be_focused()
    assert page.evaluate("leaked") == []


def test_kernel_can_select(root, page):
    page.evaluate("model.set({actual: 9, predicted: 5})")
    expect(root.get_by_role("status")).to_contain_text("True ankle boot, predicted sandal")


def test_message_and_dark_theme(mount, explorer, batches, shoot):
    mount(explorer, dark=True)
    shoot("errors_dark")
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with torch.no_grad():
        net[1].bias[3] = float("nan")
    expect(mount(explore_errors(net, batches)).get_by_role("alert")).to_contain_text("layer 1 (Linear)")


def test_class_names_are_escaped(mount, fashion):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    root = mount(explore_errors(net, [(fashion[0][:4], torch.tensor([0, 1, 0, 1]))], ["<img src=x>", "b & c"]))
    expect(root.locator("tbody th").first).to_have_text("<img src=x>")
    assert root.locator("img").count() == 0
