"""What goes wrong in training, beyond the faults in test_training.py: each has a message, and the next attempt works.

A message of PyTorch names the cause, and a note below it the cure.
"""

import warnings
import weakref

import pytest
import torch
from nets import Bomb, make_lenet
from test_training import CPU, is_finite, make_batches, make_small
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lenet_helpers import evaluate_accuracy_gpu, language, train_ch6
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
    "types": (
        "The net and the images must be of type torch.float32, the labels of type torch.int64: "
        "net.float(), X.float() / 255 and y.long() make them so."
    ),
    "labels": (
        "Each image needs one label, a whole number from 0 to 9, and the net must give ten scores for each image."
    ),
    "none": "If a layer gave None: its forward must end in `return`.",
}
MISFITS = {
    "too few inputs": (lambda: make_small(nn.Linear(784, 100)), "shapes cannot be multiplied"),
    "three colours": (lambda: nn.Sequential(nn.Conv2d(3, 6, 5), nn.Flatten(), nn.Linear(3456, 10)), "have 3 channels"),
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


def make_conv():
    return nn.Sequential(nn.Conv2d(1, 2, 28), nn.Flatten(), nn.Linear(2, 10))


class Forgetful(nn.Module):
    def forward(self, X):
        X.flatten(1)


X, Y = BATCHES[0]
WRONG_KINDS = {
    "too few classes": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 1)), X, Y, "labels"),
    "labels from 1": (make_small, X, torch.arange(7, 11), "labels"),
    "a column of labels": (make_small, X, Y[:, None], "labels"),
    "one-hot labels": (make_small, X, nn.functional.one_hot(Y, 10), "labels"),
    "labels of 32 bits": (make_small, X, Y.int(), "types"),
    "labels with a point": (make_small, X, Y.float(), "types"),
    "images of bytes": (make_small, X.byte(), Y, "types"),
    "images of bytes, convolved": (make_conv, X.byte(), Y, "types"),
    "net of 64 bits": (lambda: make_small().double(), X, Y, "types"),
    "convolution of 64 bits": (lambda: make_conv().double(), X, Y, "types"),
    "net of 16 bits": (lambda: make_small().half(), X, Y, "types"),
    "no return": (Forgetful, X, Y, "none"),
    "no return in a layer": (lambda: nn.Sequential(Forgetful(), make_small()), X, Y, "none"),
    "no return before a convolution": (lambda: nn.Sequential(Forgetful(), make_conv()), X, Y, "none"),
}


@pytest.mark.fault("training", "images, labels or a net of another type")
@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_a_type_that_does_not_fit_has_a_cure_of_its_own(kind):
    make_net, X, y, cure = WRONG_KINDS[kind]
    net = make_net()
    net.register_parameter("more", nn.Parameter(torch.zeros(1)))  # so that there is something to train
    with pytest.raises((RuntimeError, IndexError, TypeError, AttributeError)) as caught:
        train(net, CPU, [(X, y)])
    assert caught.value.__notes__ == [CURES[cure]]
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
@pytest.mark.parametrize("device", ["meta", "xla:0"])
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
        "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same",
    ],
)
def test_what_pytorch_says_of_devices_on_machines_with_and_without_a_gpu_has_a_cure(message):
    assert find_cure(RuntimeError(message)) == CURES["devices"]
    assert find_cure(RuntimeError("CUDA error: device-side assert triggered")) == CURES["outputs"]


IS_NO_LOADER = (
    "must be a DataLoader, which starts anew in every epoch, and is {}: load_data_fashion_mnist(batch_size) makes one"
)
IS_NO_NET = (
    "the net must be an nn.Module, and is of type {}: call make_net() with its brackets, and let it end in `return`"
)
IS_NO_DEVICE = "device must be a torch.device or its name, for example find_device() or 'cpu'; it is {}"
SLIPS = {
    "net without brackets": ({"net": make_small}, TypeError, IS_NO_NET.format("function")),
    "no net": ({"net": None}, TypeError, IS_NO_NET.format("NoneType")),
    "nothing to train": (
        {"net": nn.Flatten()},
        ValueError,
        "the net has no parameters, so there is nothing to train: give it a layer such as nn.Linear",
    ),
    "lazy layer": (
        {"net": nn.Sequential(nn.Flatten(), nn.LazyLinear(10))},
        ValueError,
        "a lazy layer of the net has no weights yet: call net(torch.zeros(1, 1, 28, 28)) once before training",
    ),
    "iterator": ({"train_iter": iter(BATCHES)}, TypeError, "train_iter " + IS_NO_LOADER.format("list_iterator")),
    "generator": ({"test_iter": (b for b in TESTS)}, TypeError, "test_iter " + IS_NO_LOADER.format("generator")),
    "no loader": ({"train_iter": None}, TypeError, "train_iter " + IS_NO_LOADER.format("NoneType")),
    "data set": (
        {"train_iter": TensorDataset(torch.zeros(1))}, TypeError, "train_iter " + IS_NO_LOADER.format("TensorDataset"),
    ),
    "no device": ({"device": None}, ValueError, IS_NO_DEVICE.format("None")),
    "wrong device": ({"device": "gpu"}, ValueError, IS_NO_DEVICE.format("'gpu'")),
    "snapshots by name": ({"snapshots": {}}, TypeError, "snapshots must be a list, for example []; it is of type dict"),
}  # fmt: skip


@pytest.mark.fault("training", "a slip in an argument")
@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_before_anything_is_trained(slip, capsys):
    change, error, told = SLIPS[slip]
    right = {"net": make_small(), "train_iter": BATCHES, "test_iter": TESTS, "num_epochs": 1, "lr": 0.1, "device": CPU}
    with pytest.raises(error) as caught:
        train_ch6(**right | change)
    assert str(caught.value) == told and not hasattr(caught.value, "__notes__")
    assert capsys.readouterr().out == ""
    assert_that_training_works(right["net"])


@pytest.mark.fault("training", "a slip in an argument")
def test_an_iterator_of_a_loader_would_be_empty_in_the_second_epoch():
    with pytest.raises(TypeError, match=r"train_iter must be a DataLoader, .* and is _SingleProcessDataLoaderIter"):
        train(make_small(), CPU, iter(loaders()[0]))


@pytest.mark.fault("training", "folder deleted while training")
def test_a_folder_that_is_deleted_meanwhile_does_not_cost_the_history(tmp_path, monkeypatch, capsys):
    class DeleteFolder(nn.Module):
        def forward(self, X):
            if folder.exists():
                folder.rmdir()
            return X

    folder = tmp_path / "course"
    folder.mkdir()
    monkeypatch.setattr(language, "_chosen", None)
    monkeypatch.chdir(folder)
    assert train(make_small(DeleteFolder()))[-1]["epoch"] == 1 and not folder.exists()
    assert "examples/sec on cpu" in capsys.readouterr().out


@pytest.mark.fault("training", "LENET_LANGUAGE names no language")
def test_a_language_that_there_is_not_is_told_before_the_training(monkeypatch, capsys):
    monkeypatch.setattr(language, "_chosen", None)
    monkeypatch.setenv("LENET_LANGUAGE", "fr")
    with pytest.raises(ValueError, match=r"^LENET_LANGUAGE must be one of en, zh; it is 'fr'$"):
        train(make_small())
    assert capsys.readouterr().out == ""
    monkeypatch.delenv("LENET_LANGUAGE")
    assert_that_training_works(make_small())


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


FULL = {
    "GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "GPU, by its driver": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    "GPU, by a library": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "Mac": RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB). Tried to allocate 1.00 GB"),
    "machine": RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4503599627370496 bytes."
    ),
    "NumPy": MemoryError("Unable to allocate 8.00 PiB for an array with shape (1125899906842624,)"),
    "shared": RuntimeError(
        "DataLoader worker (pid 7) is killed by signal: Bus error. "
        "It is possible that dataloader's workers are out of shared memory."
    ),
}


@pytest.mark.fault("training", "GPU out of memory")
@pytest.mark.parametrize("where", FULL)
def test_a_full_memory_is_known_by_the_words_of_every_device(where):
    with pytest.raises(type(FULL[where])) as caught:
        train(make_small(Bomb("forward", 4, FULL[where])))
    assert caught.value.__notes__ == [CURES["memory"]]


@pytest.mark.fault("training", "GPU out of memory")
@pytest.mark.parametrize("full", [True, False])
def test_a_full_memory_gives_up_what_the_pass_held_and_another_error_keeps_it_for_the_debugger(full):
    class Watch(nn.Module):
        def forward(self, X):
            held.append(weakref.ref(X))
            return X

    held, error = [], torch.OutOfMemoryError("CUDA out of memory.") if full else RuntimeError("another error")
    with pytest.raises(RuntimeError) as caught:
        train(make_small(nn.Linear(784, 784), Watch(), Bomb("forward", 4, error)))
    assert caught.tb and len(held) == 4
    assert (held[-1]() is None) == full


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
