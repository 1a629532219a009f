"""The training replay's numbers."""

import copy
import re

import numpy as np
import pytest
import torch
import traitlets
from torch import nn

from lenet_helpers import evaluate_accuracy_gpu
from lenet_helpers.data import CLASSES
from lenet_helpers.explorers import explore_epochs


@pytest.fixture(scope="module")
def batches(fashion):
    X, y = fashion
    return list(zip(X.split(256), y.split(256), strict=True))


@pytest.fixture(scope="module")
def replay(training, batches, fashion):
    net, snapshots = training
    return explore_epochs(net, snapshots, batches, fashion[0][0])


def test_one_matrix_per_epoch_with_its_accuracy(replay, training, batches):
    net, snapshots = training
    assert len(replay.counts) == len(snapshots) == 3
    net = copy.deepcopy(net)
    for snapshot, counts, accuracy in zip(snapshots, replay.counts, replay.accuracies, strict=True):
        net.load_state_dict(snapshot)
        assert np.sum(counts) == 1000
        assert accuracy == evaluate_accuracy_gpu(net, batches)
    assert len(set(replay.accuracies)) == 3


def test_kernels_and_maps_of_every_epoch(replay, training, fashion):
    net, snapshots = training
    net = copy.deepcopy(net)
    sizes = [int(np.prod(shape)) for _, shape in replay.pictures]
    assert replay.pictures == [
        ["kernels of convolution 1", [6, 5, 5]],
        ["maps of convolution 1 after ReLU", [6, 28, 28]],
        ["kernels of convolution 2", [96, 5, 5]],
        ["maps of convolution 2 after ReLU", [16, 10, 10]],
    ]
    assert replay.image == fashion[0][0].numpy().tobytes() and replay.classes == list(CLASSES)
    values = np.frombuffer(replay.values, np.float32).reshape(3, sum(sizes))
    for snapshot, row, probabilities in zip(snapshots, values, replay.probabilities, strict=True):
        net.load_state_dict(snapshot)
        kernels1, maps1, kernels2, maps2 = torch.tensor(row).split(sizes)
        with torch.no_grad():
            X = fashion[0][:1]
            torch.testing.assert_close(kernels1, net[0].weight.flatten())
            torch.testing.assert_close(kernels2, net[3].weight.flatten())
            torch.testing.assert_close(maps1, net[:2](X).flatten())
            torch.testing.assert_close(maps2, net[:5](X).flatten())
            torch.testing.assert_close(torch.tensor(probabilities), net(X).softmax(1)[0])


def test_starts_at_the_last_epoch_and_moves(replay):
    assert replay.epoch == 3
    replay.epoch = 1
    for wrong in (0, 4):
        with pytest.raises(traitlets.TraitError, match=f"^there are the epochs 1…3; {wrong} is none of them$"):
            replay.epoch = wrong
    assert replay.epoch == 1
    title = replay.figure().subfigs[1].axes[0].get_title()
    assert title == f"after epoch 1: accuracy {replay.accuracies[0]:.3f}"
    replay.epoch = 3


class Reshape(nn.Module):
    def forward(self, X):
        return X.view(-1, 1, 28, 28)


def test_maps_stand_behind_what_follows_the_convolution(fashion):
    net = nn.Sequential(
        Reshape(), nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 3), nn.Flatten(),
        nn.Linear(22 * 22, 2),
    ).eval()  # fmt: skip
    before = copy.deepcopy(net.state_dict())
    snapshot = {name: 2 * value for name, value in before.items()}
    image = fashion[0][5, 0]
    replay = explore_epochs(net, [snapshot], [(fashion[0][:9], torch.zeros(9, dtype=torch.int64))], image, ["a", "b"])
    assert replay.pictures == [
        ["kernels of convolution 1", [2, 3, 3]],
        ["maps of convolution 1", [2, 26, 26]],
        ["kernels of convolution 2", [6, 3, 3]],
        ["maps of convolution 2 after BatchNorm2d", [3, 24, 24]],
        ["kernels of convolution 3", [3, 3, 3]],
        ["maps of convolution 3", [1, 22, 22]],
    ]
    assert replay.classes == ["a", "b"]
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), "the learner's net stays as it was"
    net.load_state_dict(snapshot)
    with torch.no_grad():
        maps = [net[:stop](image[None, None]).flatten() for stop in (2, 4, 5)]
    kernels = [net[place].weight.detach().flatten() for place in (1, 2, 4)]
    values = torch.tensor(np.frombuffer(replay.values, np.float32))
    torch.testing.assert_close(values, torch.cat([part for pair in zip(kernels, maps, strict=True) for part in pair]))


def test_cell_stores_a_picture(replay):
    data, _ = replay._repr_mimebundle_()
    assert data["text/plain"] == "EpochReplay: 3 epochs; run this cell to move through the training"
    assert data["image/png"].startswith("iVBOR")


def test_epoch_with_nan_gets_a_message(training, batches, fashion):
    net, snapshots = training
    broken = {**snapshots[1], "3.weight": snapshots[1]["3.weight"] * float("nan")}
    replay = explore_epochs(net, [snapshots[0], broken], batches[:1], fashion[0][0])
    assert replay.messages[0] == ""
    assert replay.messages[1].startswith("layer 3 (Conv2d) has weights that are NaN or infinite: ")
    values = np.frombuffer(replay.values, np.float32).reshape(2, -1)
    assert (values[1, 150 + 6 * 784 :] == 0).all() and replay.probabilities[1] == [0] * 10
    assert np.isfinite(np.frombuffer(replay.values, np.float32)).all()
    assert np.isfinite(replay.probabilities).all()
    replay.figure()


def test_bad_input(training, batches, fashion):
    net, snapshots = training
    image = fashion[0][0]
    empty = "snapshots is empty; train with train_ch6(..., snapshots=snapshots), which fills the list"
    with pytest.raises(ValueError, match=f"^{re.escape(empty)}$"):
        explore_epochs(net, [], batches, image)
    with pytest.raises(ValueError, match=r"^the weights after epoch 2 do not fit this net: Error"):
        explore_epochs(net, [snapshots[0], {"0.weight": torch.zeros(3)}], batches, image)
    with pytest.raises(ValueError, match=r"^images must have the shape .*, not \(1, 1, 32, 32\)$"):
        explore_epochs(net, snapshots, batches, torch.zeros(1, 32, 32))
    with pytest.raises(ValueError, match=r"^data_iter is empty"):
        explore_epochs(net, snapshots, [], image)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    no_convolution = "the net has no nn.Conv2d, so there are no kernels and no maps to replay"
    with pytest.raises(ValueError, match=f"^{re.escape(no_convolution)}$"):
        explore_epochs(flat, [flat.state_dict()], batches, image)


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (1, 1, 28, 28), (784,)])
def test_an_image_may_have_any_axes(training, batches, fashion, shape):
    net, snapshots = training
    image = fashion[0][3]
    assert explore_epochs(net, snapshots[:1], batches[:1], image.reshape(shape)).image == image.numpy().tobytes()
