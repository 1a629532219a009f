"""What goes wrong in training, beyond the faults in test_training.py: each has a message, and the next attempt works.

A message of PyTorch names the cause, and a note below it the cure.
"""

import warnings

import pytest
import torch
from nets import Bomb, make_lenet
from test_training import CPU, is_finite, make_batches, make_small
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lenet_helpers import evaluate_accuracy_gpu, train_ch6
from lenet_helpers.panel import TrainPanel
from lenet_helpers.training import copy_weights, find_cure, train_steps

BATCHES, TESTS = make_batches(10), make_batches(2)


def train(net, device=CPU, train_iter=BATCHES, test_iter=TESTS):
    return train_ch6(net, train_iter, test_iter, 1, 0.1, device)


def assert_that_training_works(net):
    assert len(train(net)) == 6
    assert is_finite(net)
    assert 0 <= evaluate_accuracy_gpu(net, TESTS) <= 1


CURES = {
    "outputs": "Probably the net has fewer than ten outputs. Restart the kernel, and give its last layer ten outputs.",
    "memory": "Choose a smaller batch size, shut down other kernels that use this device, and try again.",
    "devices": (
        "The net and the images must be on one device that this machine has: "
        "find_device() in lenet_helpers.training names it, and net.to(device) moves a net."
    ),
    "shapes": (
        "If this is about shapes: the net must take images of shape (n, 1, 28, 28) and give ten scores for each. "
        "walk_shapes(net) in lenet_helpers.shapes shows what every layer does."
    ),
}
MISFITS = {
    "too few inputs": (lambda: make_small(nn.Linear(784, 100)), "shapes cannot be multiplied"),
    "three colours": (lambda: nn.Sequential(nn.Conv2d(3, 6, 5), nn.Flatten(), nn.Linear(3456, 10)), "have 3 channels"),
    "too few classes": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 1)), "out of bounds"),
    "no flatten": (lambda: nn.Sequential(nn.Linear(28, 10)), "targets of dimension"),
    "another image size": (lambda: nn.Sequential(nn.Unflatten(3, (4, 8)), make_lenet()), "multiply up to"),
}


@pytest.mark.fault("training", "a net of another shape")
@pytest.mark.parametrize("misfit", MISFITS)
def test_a_net_that_does_not_fit_is_told_so_with_a_way_to_find_the_layer(misfit):
    make_net, cause = MISFITS[misfit]
    net = make_net()
    with pytest.raises((RuntimeError, IndexError), match=cause) as caught:
        train(net)
    assert caught.value.__notes__ == [CURES["shapes"]]
    assert net.training
    assert_that_training_works(make_small())


@pytest.mark.fault("training", "a net of another shape")
def test_an_accuracy_of_a_net_that_does_not_fit_names_the_cure_too():
    net = make_small(nn.Linear(784, 100)).eval()
    with pytest.raises(RuntimeError, match="cannot be multiplied") as caught:
        evaluate_accuracy_gpu(net, TESTS)
    assert caught.value.__notes__ == [CURES["shapes"]]
    assert not net.training


@pytest.mark.fault("training", "a net on another device")
def test_a_net_on_another_device_than_the_images_says_how_to_move_it():
    net = make_small().to("meta")
    with pytest.raises(RuntimeError, match="device meta") as caught:
        evaluate_accuracy_gpu(net, TESTS, CPU)
    assert caught.value.__notes__ == [CURES["devices"]]
    assert_that_training_works(net.to_empty(device="cpu").apply(fill_with_zeros))


def fill_with_zeros(layer):
    for parameter in layer.parameters(recurse=False):
        nn.init.zeros_(parameter)


@pytest.mark.fault("training", "a net on another device")
@pytest.mark.parametrize("device", ["gpu", "meta", "xla:0"])
def test_a_device_that_this_machine_has_not_is_told_with_the_one_that_it_has(device):
    net = make_small()
    with pytest.raises((RuntimeError, AssertionError)) as caught:
        train(net, device)
    assert caught.value.__notes__ == [CURES["devices"]]
    assert_that_training_works(make_small())


@pytest.mark.fault("training", "a net on another device")
@pytest.mark.parametrize(
    "message",
    [
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        "Found no NVIDIA driver on your system.",
        "Torch not compiled with CUDA enabled",
        "Cannot copy out of meta tensor; no data!",
    ],
)
def test_what_pytorch_says_of_devices_on_machines_with_and_without_a_gpu_has_a_cure(message):
    assert find_cure(RuntimeError(message)) == CURES["devices"]
    assert find_cure(RuntimeError("CUDA error: device-side assert triggered")) == CURES["outputs"]


def loaders():
    X, y = torch.rand(32, 1, 28, 28), torch.arange(32) % 10
    return DataLoader(TensorDataset(X, y), 8, shuffle=True), DataLoader(TensorDataset(X, y), 8)


@pytest.mark.fault("training", "train and test loaders swapped")
@pytest.mark.parametrize("from_course", [False, True])
def test_swapped_loaders_are_noticed_by_their_order_and_train_all_the_same(from_course, make_loaders):
    train_iter, test_iter = make_loaders(256) if from_course else loaders()
    net = make_small()
    with pytest.warns(UserWarning) as caught:
        assert train(net, CPU, test_iter, train_iter)
    assert [str(warning.message) for warning in caught] == [
        "test_iter shuffles its images and train_iter does not: are the two swapped? "
        "First comes the loader to train on, then the one to test on"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(net, CPU, train_iter, test_iter)
        assert train(net, CPU, test_iter, test_iter)
        assert train(net, CPU, train_iter, train_iter)


@pytest.mark.fault("training", "call twice in a row")
def test_two_calls_in_a_row_are_two_trainings_of_their_own():
    net, told = make_small(), []
    start = copy_weights(net)
    for _ in range(2):
        net.load_state_dict(start)  # the biases, which are not drawn anew, as in d2l
        torch.manual_seed(0)
        told.append((train(net), copy_weights(net)))
    (history, weights), (again, weights_again) = told
    assert history == again and history is not again
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)


@pytest.mark.fault("training", "call twice in a row")
def test_a_loop_that_is_left_in_the_middle_does_not_disturb_the_next_one():
    net = make_small()
    steps = train_steps(net, BATCHES, TESTS, 2, torch.optim.SGD(net.parameters(), lr=0.1), CPU)
    next(steps)
    assert_that_training_works(net)
    assert next(steps)[0] == 0.2
    assert is_finite(net)


def make_full_memory(phase, strike):
    """Return a layer that finds the memory of its GPU full from the ``strike``-th pass of one phase on."""
    return Bomb(phase, strike, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), lasting=True)


@pytest.mark.fault("training", "GPU out of memory")
@pytest.mark.parametrize("phase, strike", [("forward", 1), ("forward", 4), ("backward", 4), ("evaluation", 2)])
def test_a_full_memory_says_to_take_smaller_batches(phase, strike):
    net = make_small(make_full_memory(phase, strike))
    with pytest.raises(torch.OutOfMemoryError, match="out of memory") as caught:
        train(net)
    assert caught.value.__notes__ == [CURES["memory"]]
    assert net.training and is_finite(net)
    net[1].phase = None
    assert_that_training_works(net)


@pytest.mark.fault("training", "GPU out of memory")
@pytest.mark.fault("training", "a net of another shape")
@pytest.mark.parametrize(
    "layer, cure", [(make_full_memory("forward", 2), "smaller batch size"), (nn.Linear(784, 100), "walk_shapes(net)")]
)
def test_the_panel_names_the_cure_beside_the_cause(layer, cure):
    panel = TrainPanel(lambda: make_small(layer), *loaders(), num_epochs=1).start()
    with pytest.raises(RuntimeError):
        panel.wait(20)
    message, _details = panel._alert.value.split("<details>")
    assert cure in message
    panel._make_net = make_small
    panel.start().wait(20)
    assert panel.state == "finished" and panel._alert.value == ""
