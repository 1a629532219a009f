"""The training replay in a page, with torch as the oracle."""

import copy

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from lenet_helpers import evaluate_accuracy_gpu
from lenet_helpers.explorers import explore_epochs

READ_ROWS = "rows => rows.map(row => [...row.querySelectorAll('td')].map(td => Number(td.textContent)))"
READ_REDS = """canvas => {
    const { width, height, data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [width, height, [...data].filter((_, i) => i % 4 === 0)];
}"""


@pytest.fixture(scope="module")
def batches(fashion):
    X, y = fashion
    return list(zip(X.split(256), y.split(256), strict=True))


@pytest.fixture(scope="module")
def explorer(training, batches, fashion):
    return explore_epochs(*training, batches, fashion[0][0])


@pytest.fixture
def root(explorer, mount):
    return mount(explorer)


def read_table(root, name):
    rows = root.get_by_role("table", name=name).locator("tr").all()
    return [float(row.locator("td").nth(1).inner_text()) for row in rows]


def test_slider_replays_every_epoch(root, page, training, batches, fashion, shoot):
    net, snapshots = training
    net = copy.deepcopy(net)
    slider = root.get_by_role("slider", name="epoch")
    slider.focus()
    page.keyboard.press("Home")
    pictures = set()
    for epoch, snapshot in enumerate(snapshots, 1):
        net.load_state_dict(snapshot)
        accuracy = evaluate_accuracy_gpu(net, batches)
        text = f"After epoch {epoch} of 3: accuracy {accuracy:.4f} on 1,000 images."
        expect(root.get_by_role("status")).to_have_text(text)
        counts = np.array(root.locator(".confusions tbody tr").evaluate_all(READ_ROWS))
        assert counts.sum() == 1000
        assert counts.trace() / 1000 == accuracy
        assert read_table(root, "accuracy per class") == pytest.approx(
            (counts.diagonal() / counts.sum(1)).tolist(), abs=6e-3
        )
        with torch.no_grad():
            expected = net(fashion[0][:1]).softmax(1)[0].tolist()
        assert read_table(root, "probabilities of the image") == pytest.approx(expected, abs=6e-3)
        kernels = root.get_by_role("img", name="kernels of convolution 1")
        pictures.add(kernels.evaluate("canvas => canvas.toDataURL()"))
        shoot(f"replay_{epoch}")
        page.keyboard.press("ArrowRight")
    assert len(pictures) == 3
    assert page.evaluate("saved.epoch") == 3


def test_maps_are_painted_by_value(root, training, fashion):
    with torch.no_grad():
        maps = training[0][:2](fashion[0][:1])[0]
    canvas = root.get_by_role("img", name="maps of convolution 1 after ReLU")
    width, height, reds = canvas.evaluate(READ_REDS)
    picture = np.array(reds).reshape(height, width)
    for i in range(6):
        part = picture[1:56:2, 59 * i + 1 : 59 * i + 57 : 2]
        expected = 255 * (1 - (maps[i] - maps.min()) / (maps.max() - maps.min()))
        np.testing.assert_allclose(part, expected, atol=1)


def test_play_and_pause(root, clock):
    root.get_by_role("button", name="Play").click()
    for epoch in (1, 2):
        clock.run_for(700)
        expect(root.get_by_role("status")).to_contain_text(f"After epoch {epoch} ")
    root.get_by_role("button", name="Pause").click()
    clock.run_for(7000)
    expect(root.get_by_role("status")).to_contain_text("After epoch 2 ")


def test_kernel_moves_the_slider_and_keys_stay_here(root, page):
    page.evaluate("model.set({epoch: 1})")
    slider = root.get_by_role("slider", name="epoch")
    expect(slider).to_have_value("1")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(root.get_by_role("status")).to_contain_text("After epoch 2 ")
    assert page.evaluate("leaked") == []


def test_epoch_with_nan_shows_its_message(training, batches, fashion, mount, page):
    net, snapshots = training
    broken = {**snapshots[1], "3.weight": snapshots[1]["3.weight"] * float("nan")}
    root = mount(explore_epochs(net, [snapshots[0], broken], batches[:1], fashion[0][0]))
    expect(root.get_by_role("alert")).to_contain_text("layer 3 (Conv2d) has weights that are NaN")
    page.evaluate("model.set({epoch: 1})")
    expect(root.locator("[role=alert]")).to_be_empty()


def test_dark_theme(explorer, mount, shoot):
    mount(explorer, dark=True)
    shoot("replay_dark")
