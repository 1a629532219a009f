"""The widget on activations and gradients per layer: its numbers, its settings, its picture."""

import json
import re

import numpy as np
import pytest
import torch

from lenet_helpers.explorers import explore_signals
from lenet_helpers.explorers.depth import find_reach
from lenet_helpers.signals import ACTIVATIONS, INITS, make_dense_net, measure_signals, tell_ratio


@pytest.fixture
def batch(fashion):
    return fashion[0][:128], fashion[1][:128]


def test_numbers_are_those_of_the_net(batch):
    lab = explore_signals(*batch, seed=3)
    lab.activation, lab.init, lab.depth = "tanh", "He", 2
    torch.manual_seed(3)
    signals = measure_signals(make_dense_net("tanh", "He", 2), *batch)
    assert [row["name"] for row in lab.layers] == ["hidden 1", "hidden 2", "scores"]
    for row, signal in zip(lab.layers, signals, strict=True):
        values = signal.activations.numpy()
        assert row["mean"] == pytest.approx(values.mean(), abs=1e-6) and row["std"] == pytest.approx(values.std())
        assert row["spread"] == pytest.approx(signal.spread) and row["gradient"] == pytest.approx(signal.gradient_rms)
        assert row["counts"] == np.histogram(values, len(row["counts"]), tuple(lab.reach))[0].tolist()
        assert sum(row["counts"]) >= 0.99 * values.size


def test_every_setting_gives_numbers_that_json_can_hold(batch):
    lab = explore_signals(*batch)
    for lab.activation in ACTIVATIONS:
        for lab.init in INITS:
            for lab.depth in (1, 10):
                json.dumps([lab.layers, lab.before, lab.reach, lab.told], allow_nan=False)
                assert len(lab.layers) == lab.depth + 1
                assert all(row["gradient"] > 0 and max(row["counts"]) > 0 for row in lab.layers)


def test_before_holds_the_setting_before(batch):
    lab = explore_signals(*batch)
    first = lab.layers
    assert lab.before == []
    lab.activation = "ReLU"
    assert lab.before == first and lab.layers != first
    second = lab.layers
    lab.activation = "sigmoid"
    assert lab.before == second
    assert lab.layers == first, "the same settings give the same net"
    lab.depth = 2
    assert lab.before == first and len(lab.layers) == 3


def test_the_seed_chooses_the_net(batch):
    first = explore_signals(*batch).layers
    assert explore_signals(*batch, seed=0).layers == first
    assert explore_signals(*batch, seed=1).layers != first


@pytest.mark.parametrize(
    ("arrays", "reach"),
    [
        ([np.linspace(-1, 2, 1001), np.linspace(-3, 1, 1001)], (-2.992, 1.994)),
        ([np.linspace(-3, 1, 1001), np.linspace(-1, 2, 1001)], (-2.992, 1.994)),
        ([np.linspace(1, 2, 1001)], (0, 1.998)),
        ([np.linspace(-2, -1, 1001)], (-1.998, 0)),
        ([np.zeros(9)], (0, 1)),
    ],
)
def test_histograms_leave_out_the_outermost_numbers_and_hold_0(arrays, reach):
    assert find_reach(arrays) == pytest.approx(reach)


def test_the_random_numbers_of_the_notebook_are_left_alone(batch):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    explore_signals(*batch).depth = 7
    assert torch.rand(1) == expected


def test_sigmoid_fades_and_relu_does_not(batch):
    lab = explore_signals(*batch)
    lab.depth = 10
    assert lab.layers[0]["gradient"] < 1e-4 * lab.layers[-1]["gradient"] and "smaller" in lab.told
    lab.activation, lab.init = "ReLU", "He"
    assert lab.layers[0]["gradient"] > 0.1 * lab.layers[-1]["gradient"]


@pytest.mark.parametrize("depth", [0, 11])
def test_depth_beyond_the_slider_is_refused(batch, depth):
    words = f"^depth, the number of hidden layers, must be between 1 and 10; it is {depth}$"
    with pytest.raises(ValueError, match=words):
        explore_signals(*batch).depth = depth


NO_IMAGES = (
    "images must be at least two pictures, shape (N, 1, 28, 28), and have shape {}; "
    "give a mini-batch, for example X of `X, y = next(iter(train_iter))`"
)
NO_LABELS = "labels must be one class number for each of the 4 images, and have shape {}; give the y that belongs to X"


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        *(
            (torch.zeros(shape), torch.zeros(shape[0]), NO_IMAGES.format(shape))
            for shape in ((4, 784), (28, 28), (4, 1, 28, 27), (1, 1, 28, 28), (1, 4, 1, 28, 28))
        ),
        *((torch.zeros(4, 1, 28, 28), torch.zeros(shape), NO_LABELS.format(shape)) for shape in ((3,), (4, 1), ())),
    ],
)
def test_other_shapes_are_refused(X, y, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        explore_signals(X, y)


def test_lists_and_pictures_without_channels_will_do():
    images = torch.rand(2, 28, 28)
    lab = explore_signals(images.numpy(), [0, 1])
    assert len(lab.layers) == 5
    assert lab.layers == explore_signals(images[:, None].double(), torch.tensor([0.0, 1.0])).layers


def test_cell_stores_a_picture_and_one_line(batch):
    labs = [explore_signals(*batch) for _ in range(2)]
    first, second = (lab._repr_mimebundle_()[0] for lab in labs)
    assert first["image/png"] == second["image/png"]
    ratio = tell_ratio(labs[0].layers[0]["gradient"], labs[0].layers[-1]["gradient"])
    assert first["text/plain"] == f"SignalLab: sigmoid, Xavier, 4 hidden layers. {ratio}"
    assert labs[0].told == ratio
    assert labs[0].figure().get_suptitle() == f"sigmoid, Xavier, 4 hidden layers\n{ratio}"
    labs[1].depth = 10
    assert labs[1]._repr_mimebundle_()[0]["image/png"] != first["image/png"]
