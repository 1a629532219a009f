"""The training replay's numbers."""

import copy

import numpy as np
import pytest
import torch
import traitlets

from lenet_helpers import evaluate_accuracy_gpu
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
    assert [shape for _, shape in replay.pictures] == [[6, 5, 5], [6, 28, 28], [96, 5, 5], [16, 10, 10]]
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
    with pytest.raises(traitlets.TraitError, match="1…3"):
        replay.epoch = 4
    assert replay.epoch == 1


def test_cell_stores_a_picture(replay):
    data, _ = replay._repr_mimebundle_()
    assert data["text/plain"] == "EpochReplay: 3 epochs; run this cell to move through the training"
    assert data["image/png"].startswith("iVBOR")


def test_epoch_with_nan_gets_a_message(training, batches, fashion):
    net, snapshots = training
    broken = {**snapshots[1], "3.weight": snapshots[1]["3.weight"] * float("nan")}
    replay = explore_epochs(net, [snapshots[0], broken], batches[:1], fashion[0][0])
    assert replay.messages[0] == ""
    assert "layer 3 (Conv2d)" in replay.messages[1]
    assert np.isfinite(np.frombuffer(replay.values, np.float32)).all()
    assert np.isfinite(replay.probabilities).all()
    replay.figure()


def test_bad_input(training, batches, fashion):
    net, snapshots = training
    with pytest.raises(ValueError, match="snapshots is empty"):
        explore_epochs(net, [], batches, fashion[0][0])
    with pytest.raises(ValueError, match="epoch 1 do not fit"):
        explore_epochs(net, [{"0.weight": torch.zeros(3)}], batches, fashion[0][0])
    with pytest.raises(ValueError, match="28"):
        explore_epochs(net, snapshots, batches, torch.zeros(1, 32, 32))
    with pytest.raises(ValueError, match="data_iter is empty"):
        explore_epochs(net, snapshots, [], fashion[0][0])
