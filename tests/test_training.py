"""The training loop against d2l's own functions, and what it does beyond them: faults, interrupts, speed, settings."""

import json
import math
import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from d2l import torch as d2l
from nets import Bomb, make_lenet
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from lenet_helpers import curves, data, evaluate_accuracy_gpu, train_ch6, training
from lenet_helpers.panel import TrainPanel
from lenet_helpers.recipes import RECIPES, train_recipe
from lenet_helpers.training import copy_weights, find_device, read_row, sum_dtype, synchronize, train_steps

CPU = torch.device("cpu")


def make_batches(count, size=4):
    """Return a list of mini-batches of random images; a list is a loader, too."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(size, 1, 28, 28, generator=generator), torch.randint(0, 10, (size,), generator=generator))
        for _ in range(count)
    ]


def make_small(*layers):
    """Return one linear layer behind any others."""
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(784, 10))


def train_from(seed, net, train_iter, test_iter, num_epochs, lr, train=train_ch6, **options):
    """Train from a seed, whatever the weights of ``net`` were."""
    torch.manual_seed(seed)
    return train(net, train_iter, test_iter, num_epochs, lr, CPU, **options)


def is_finite(net):
    return all(parameter.isfinite().all() for parameter in net.parameters())


@pytest.fixture
def d2l_points(monkeypatch):
    """Collect the points ``(x, (train loss, train acc, test acc))`` that d2l's ``train_ch6`` would draw."""
    points = []
    animator = SimpleNamespace(add=lambda x, y: points.append((x, y)))
    monkeypatch.setattr(d2l, "Animator", lambda **options: animator)
    return points


# --- The same numbers as d2l ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation, lr", [(nn.Sigmoid, 0.9), (nn.Tanh, 0.1)])
def test_losses_accuracies_and_weights_are_d2ls(activation, lr, make_loaders, d2l_points, capsys):
    torch.manual_seed(0)
    nets = [make_lenet(activation), make_lenet(activation)]
    nets[1].load_state_dict(nets[0].state_dict())  # neither function draws the biases anew
    train_from(3, nets[0], *make_loaders(128), 2, lr, train=d2l.train_ch6)
    told_by_d2l = capsys.readouterr().out.splitlines()
    history = train_from(3, nets[1], *make_loaders(128), 2, lr)
    told = capsys.readouterr().out.splitlines()

    expected = {x: y[:2] for x, y in d2l_points if y[0] is not None}
    assert {row["epoch"] for row in history} == set(expected)
    for row in history:
        loss, train_acc = expected[row["epoch"]]
        assert row["loss"] == pytest.approx(loss, rel=1e-6)
        assert row["train_acc"] == train_acc
    test_accs = {row["epoch"]: row["test_acc"] for row in history if row["test_acc"] is not None}
    assert test_accs == {x: y[2] for x, y in d2l_points if y[2] is not None}
    for name, weights in nets[0].state_dict().items():
        torch.testing.assert_close(nets[1].state_dict()[name], weights)
    assert told[:2] == told_by_d2l[:2]
    if activation is nn.Tanh:
        assert history[-1]["train_acc"] > 0.3, "the comparison is of a net that learns"


@pytest.mark.parametrize("num_batches", [5, 6, 7, 9, 10, 11, 12, 14, 20, 23, 47, 235])
def test_as_many_points_as_d2l(num_batches, d2l_points):
    batches = make_batches(num_batches, size=1)
    train_from(0, make_small(), batches, batches[:1], 2, 0.01, train=d2l.train_ch6)
    history = train_from(0, make_small(), batches, batches[:1], 2, 0.01)
    drawn = sorted({x for x, _ in d2l_points})
    assert [row["epoch"] for row in history if row["test_acc"] is None] == drawn
    assert [row["epoch"] for row in history if row["test_acc"] is not None] == [1, 2]


def test_the_accuracy_is_d2ls(make_loaders):
    torch.manual_seed(0)
    net = make_lenet(nn.ReLU)
    test_iter = make_loaders(100)[1]
    accuracy = evaluate_accuracy_gpu(net, test_iter)
    assert isinstance(accuracy, float)
    assert accuracy == d2l.evaluate_accuracy_gpu(net, test_iter)


@pytest.mark.parametrize("device", [None, CPU])
def test_the_accuracy_of_a_net_without_parameters_is_measured_on_the_cpu(device):
    scores = torch.eye(10)[torch.tensor([3, 1, 4, 1])]
    assert evaluate_accuracy_gpu(nn.Flatten(), [(scores, torch.tensor([3, 1, 4, 2]))], device) == 0.75


def test_the_accuracy_counts_every_example_once():
    """With mini-batches of unequal size, the mean of their accuracies would be wrong."""
    y = torch.arange(10)
    batches = [(10.0 * torch.eye(10)[y[:9]], y[:9]), (torch.eye(10)[[0]], y[9:])]
    assert evaluate_accuracy_gpu(nn.Sequential(nn.Identity(), nn.PReLU(init=1.0)), batches) == 0.9


# --- The history, the printed lines and the snapshots -----------------------------------------------------------------


def test_the_rows_of_the_history():
    history = train_from(0, make_small(), make_batches(20), make_batches(2), 3, 0.1)
    assert len(history) == 3 * 6
    assert all(list(row) == ["epoch", "loss", "train_acc", "test_acc"] for row in history)
    assert [round(row["epoch"], 9) for row in history[:7]] == [0.2, 0.4, 0.6, 0.8, 1, 1, 1.2]
    assert [row["test_acc"] is not None for row in history] == 3 * [False, False, False, False, False, True]
    assert history[5] == {**history[4], "test_acc": history[5]["test_acc"]}
    json.dumps(history, allow_nan=False)


def test_the_history_gives_means_over_examples():
    """The last mini-batch is smaller; with lr near zero the net stays what it is."""
    batches = make_batches(3) + make_batches(1, size=2)
    net = make_small()
    (*_, last) = train_from(0, net, batches, batches, 1, 1e-12)
    X, y = torch.cat([X for X, _ in batches]), torch.cat([y for _, y in batches])
    assert last["loss"] == pytest.approx(nn.functional.cross_entropy(net(X), y).item(), rel=1e-6)
    assert last["train_acc"] == last["test_acc"] == (net(X).argmax(dim=1) == y).sum().item() / 14


def test_the_printed_lines(capsys):
    history = train_from(0, make_small(), make_batches(5), make_batches(2), 1, 0.1)
    told = capsys.readouterr()
    number = r"\d+\.\d"
    assert re.fullmatch(
        rf"training on cpu\n"
        rf"loss {history[-1]['loss']:.3f}, train acc {history[-1]['train_acc']:.3f}, "
        rf"test acc {history[-1]['test_acc']:.3f}\n"
        rf"{number} examples/sec on cpu \({number} examples/sec without loading, testing and drawing\)\n",
        told.out,
    )
    assert told.err == ""


def test_snapshots_are_the_weights_after_each_epoch():
    batches, snapshots = make_batches(5), []
    net = make_small()
    start = copy_weights(net)
    train_from(0, net, batches, batches[:1], 3, 0.1, snapshots=snapshots)
    assert len(snapshots) == 3
    for num_epochs, snapshot in enumerate(snapshots, 1):
        other = make_small()
        other.load_state_dict(start)
        train_from(0, other, batches, batches[:1], num_epochs, 0.1)
        for name, weights in other.state_dict().items():
            assert torch.equal(snapshot[name], weights)
    with torch.no_grad():
        net[1].weight.zero_()
    assert snapshots[-1]["1.weight"].any(), "a snapshot does not change with the net"


def test_training_starts_from_new_weights_drawn_by_xaviers_rule():
    torch.manual_seed(0)
    net = make_lenet()
    before = copy_weights(net)
    net.apply(training.init_weights)
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
            reach = math.sqrt(6 / (fan_in + fan_out))
            assert 0.9 * reach < layer.weight.abs().max() <= reach
    for name, values in net.state_dict().items():
        assert torch.equal(values, before[name]) == name.endswith("bias")


# --- Speed, by a clock that the test turns ----------------------------------------------------------------------------


class Clock:
    """A clock that stands still but for ``wait``."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        for module in (training, curves):
            monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def wait(self, seconds):
        self.now += seconds


class SlowLoader:
    """Mini-batches that take ``seconds`` each to load."""

    def __init__(self, batches, clock, seconds):
        self.batches, self.clock, self.seconds = batches, clock, seconds

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            self.clock.wait(self.seconds)
            yield batch


class Slow(nn.Module):
    """A layer that takes one second for a mini-batch in training and three in testing."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def forward(self, X):
        self.clock.wait(1 if self.training else 3)
        return X


@pytest.mark.parametrize("loading, whole_loop", [(0, 80 / 96), (5, 80 / 196)])
def test_the_speed_is_of_the_whole_loop(loading, whole_loop, monkeypatch, capsys):
    """Two epochs: 10 mini-batches of 4, loaded and 1 s of work each; 2 tests of 3 s, 6 drawings of 2 s; 40 s of lag."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr(curves, "in_notebook", lambda: True)
    handle = SimpleNamespace(update=lambda *data, **options: clock.wait(2))
    monkeypatch.setattr("IPython.display.display", lambda *data, **options: handle)
    monkeypatch.setattr(training, "synchronize", lambda device: clock.wait(40))
    train_from(0, make_small(Slow(clock)), SlowLoader(make_batches(10), clock, loading), make_batches(2), 2, 0.1)
    rates = re.search(r"(\S+) examples/sec on cpu \((\S+) examples/sec without", capsys.readouterr().out).groups()
    assert rates == (f"{whole_loop:.1f}", f"{80 / 60:.1f}")


def test_an_interrupt_does_not_lower_the_speed(monkeypatch, capsys):
    """The examples of the unfinished epoch count."""
    clock = Clock(monkeypatch)
    net = make_small(Slow(clock), Bomb("forward", 15))
    train_from(0, net, make_batches(10), make_batches(1), 2, 0.1)
    assert f"{4 * 15 / (15 + 3):.1f} examples/sec on cpu ({4 * 15 / 15:.1f}" in capsys.readouterr().out


class CountReads(TorchDispatchMode):
    """Count how often a number is taken from a tensor to Python, for which an accelerator would be waited for."""

    reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_the_device_is_not_waited_for_at_every_mini_batch(monkeypatch):
    rows = []
    monkeypatch.setattr(training, "read_row", lambda *step: rows.append(step) or read_row(*step))
    with CountReads() as counter:
        train_from(0, make_small(), make_batches(60), make_batches(20), 2, 0.1)
    assert len(rows) == 2 * 6
    assert counter.reads == 2, "the accuracy on the test set, once an epoch"


def test_reads_are_counted():
    with CountReads() as counter:
        float(torch.ones(3).sum())
    assert counter.reads == 1


# --- Interrupts -------------------------------------------------------------------------------------------------------


@pytest.mark.fault("training", "KeyboardInterrupt in forward, backward, evaluation")
@pytest.mark.parametrize(
    "phase, strike, rows",
    [
        *[("forward", 1, 0), ("forward", 14, 7), ("backward", 1, 0), ("backward", 14, 7)],
        *[("evaluation", 1, 5), ("evaluation", 4, 11)],
    ],
)
def test_an_interrupt_keeps_the_net_and_the_history(phase, strike, rows, capsys):
    """Ten mini-batches to train on and two to test on, so 5 + 1 rows an epoch."""
    net, snapshots = make_small(Bomb(phase, strike)), []
    history = train_from(0, net, make_batches(10), make_batches(2), 3, 0.1, snapshots=snapshots)
    told = capsys.readouterr().out
    reason = "stopped early: you interrupted it. The net keeps what it has learned, and the history ends here"
    assert told.splitlines()[:2] == ["training on cpu", reason]
    assert len(told.splitlines()) == (4 if rows >= 6 else 2), "d2l's two lines tell of the last whole epoch"
    assert (len(history), len(snapshots)) == (rows, rows // 6)
    assert net.training
    assert is_finite(net)
    assert net(make_batches(1)[0][0]).isfinite().all()
    assert len(train_from(0, net, make_batches(10), make_batches(2), 1, 0.1)) == 6


@pytest.mark.fault("training", "KeyboardInterrupt in drawing")
@pytest.mark.parametrize(
    "method, strike, rows, epochs",
    [("update", 7, 7, 1), ("update", 6, 6, 1), ("update", 12, 12, 2), ("finish", 1, 12, 2)],
)
def test_an_interrupt_while_drawing_keeps_the_net_the_history_and_the_snapshots(
    method, strike, rows, epochs, monkeypatch
):
    net, snapshots = make_small(), ["of an earlier training"]
    with monkeypatch.context() as patch:
        patch.setattr(training.LiveCurves, method, Bomb(None, strike).tick)
        history = train_from(0, net, make_batches(10), make_batches(2), 2, 0.1, snapshots=snapshots)
    assert len(history) == rows and len(snapshots) == 1 + epochs
    if rows == 6 * epochs:
        assert torch.equal(snapshots[-1]["1.weight"], net[1].weight)
    assert is_finite(net)
    assert len(train_from(0, net, make_batches(10), make_batches(2), 1, 0.1)) == 6


@pytest.mark.fault("training", "a second KeyboardInterrupt")
def test_a_second_interrupt_keeps_the_history_too(monkeypatch):
    net = make_small(Bomb("forward", 14))
    with monkeypatch.context() as patch:
        patch.setattr(training, "synchronize", Bomb(None, 1).tick)
        history = train_from(0, net, make_batches(10), make_batches(2), 3, 0.1)
    assert len(history) == 7 and is_finite(net)
    assert len(train_from(0, net, make_batches(10), make_batches(2), 1, 0.1)) == 6


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("raises", [False, True])
def test_the_accuracy_leaves_the_net_in_the_mode_it_found_it_in(raises, is_training):
    net = make_small(Bomb("evaluation", 2 if raises else -1), nn.Dropout())
    net.train(is_training)
    if raises:
        with pytest.raises(KeyboardInterrupt):
            evaluate_accuracy_gpu(net, make_batches(3))
    else:
        evaluate_accuracy_gpu(net, make_batches(3))
    assert all(module.training == is_training for module in net.modules())


def test_the_accuracy_is_measured_in_evaluation_mode_without_gradients():
    class Spy(nn.Module):
        def forward(self, X):
            seen.append((self.training, torch.is_grad_enabled()))
            return X

    seen = []
    evaluate_accuracy_gpu(make_small(Spy()), make_batches(1))
    assert seen == [(False, False)]


# --- Epochs and mini-batches out of the ordinary ----------------------------------------------------------------------


def test_d2l_fails_with_fewer_than_five_mini_batches(d2l_points):
    with pytest.raises(ZeroDivisionError):
        train_from(0, make_small(), make_batches(1), make_batches(1), 1, 0.1, train=d2l.train_ch6)


@pytest.mark.parametrize("num_batches", [1, 2, 3, 4])
def test_an_epoch_of_few_mini_batches(num_batches):
    history = train_from(0, make_small(), make_batches(num_batches), make_batches(1), 2, 0.1)
    assert len(history) == 2 * (num_batches + 1)
    assert [row["epoch"] for row in history[num_batches - 1 : num_batches + 1]] == [1, 1]


@pytest.mark.fault("training", "batch larger than the data")
def test_a_batch_size_beyond_the_data_gives_one_mini_batch():
    X, y = make_batches(1, size=12)[0]
    train_iter = DataLoader(TensorDataset(X, y), 256, shuffle=True)
    assert len(train_from(0, make_small(), train_iter, train_iter, 1, 0.1)) == 2


@pytest.mark.fault("training", "empty loader")
def test_an_empty_loader_is_refused():
    told = "^{} is empty: there is no mini-batch in it; give it at least one batch$"
    with pytest.raises(ValueError, match=told.format("train_iter")):
        train_ch6(make_small(), [], make_batches(1), 1, 0.1, CPU)
    with pytest.raises(ValueError, match=told.format("test_iter")):
        train_ch6(make_small(), make_batches(1), [], 1, 0.1, CPU)
    net = make_small().eval()
    told = "^data_iter is empty: there is nothing to measure the accuracy on; give it at least one batch$"
    with pytest.raises(ValueError, match=told):
        evaluate_accuracy_gpu(net, [])
    assert not net.training
    assert len(train_ch6(net, make_batches(10), make_batches(1), 1, 0.1, CPU)) == 6


# --- A loss that is no longer finite ----------------------------------------------------------------------------------


class Poison(nn.Module):
    """A layer whose outputs turn to ``value`` after some passes in training."""

    def __init__(self, value, after):
        super().__init__()
        self.value, self.left = value, after

    def forward(self, X):
        self.left -= self.training
        return X if self.left >= 0 else X * self.value


@pytest.mark.fault("training", "NaN and infinite loss")
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("after, rows, epoch", [(0, 0, "0.20"), (13, 7, "1.40"), (19, 10, "2.00")])
def test_a_loss_that_is_no_longer_finite_stops_the_training(after, rows, epoch, value, capsys):
    net = make_small(Poison(value, after))
    history = train_from(0, net, make_batches(10), make_batches(1), 9, 0.1)
    told = capsys.readouterr().out
    assert told.splitlines()[1] == (
        f"stopped early: the loss is nan at epoch {epoch}: the weights grew without bound; "
        "try a smaller learning rate. The history ends here; make the net anew, its biases may be NaN for good"
    )
    assert len(history) == rows
    json.dumps(history, allow_nan=False)
    assert len(train_from(0, make_small(), make_batches(10), make_batches(1), 1, 0.1)) == 6


@pytest.mark.fault("training", "NaN and infinite loss")
def test_a_learning_rate_that_is_far_too_large_stops_the_training(capsys):
    history = train_from(0, make_small(), make_batches(10), make_batches(1), 9, 1e38)
    assert re.search("stopped early: the loss is (nan|inf) at epoch 0.20", capsys.readouterr().out)
    assert history == []
    assert len(train_from(0, make_small(), make_batches(10), make_batches(1), 1, 0.1)) == 6


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_row_is_finite(loss):
    told = f"^the loss is {loss} at epoch 0.50: the weights grew without bound; try a smaller learning rate$"
    with pytest.raises(FloatingPointError, match=told):
        read_row(0.5, torch.tensor([loss, 3, 4]), None)
    assert read_row(0.5, torch.tensor([2.0, 3, 4]), 0.25) == {
        "epoch": 0.5, "loss": 0.5, "train_acc": 0.75, "test_acc": 0.25,
    }  # fmt: skip


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.fault("training", "lr 0, negative, NaN, text")
@pytest.mark.fault("training", "epochs 0")
@pytest.mark.parametrize(
    "num_epochs, lr, error, must_be",
    [
        *[(1, lr, ValueError, "positive and finite, for example 0.9") for lr in (math.nan, math.inf, 0, -0.1)],
        *[(1, lr, TypeError, "a number, for example 0.9") for lr in ("0.9", None, True, [0.9], 1j)],
        *[(num_epochs, 0.1, ValueError, "at least 1") for num_epochs in (0, -3)],
        *[(num_epochs, 0.1, TypeError, "a whole number, for example 10") for num_epochs in (1.5, True, "3", None)],
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(num_epochs, lr, error, must_be, capsys):
    net = make_small()
    before = copy_weights(net)
    with pytest.raises(error) as caught:
        train_ch6(net, make_batches(1), make_batches(1), num_epochs, lr, CPU)
    name, value = ("num_epochs", num_epochs) if lr == 0.1 else ("lr, the learning rate,", lr)
    assert str(caught.value) == f"{name} must be {must_be}; it is {value!r}"
    assert all(torch.equal(before[name], weights) for name, weights in net.state_dict().items())
    assert capsys.readouterr().out == ""
    assert len(train_ch6(net, make_batches(10), make_batches(1), 1, 0.1, CPU)) == 6


@pytest.mark.parametrize("num_epochs, lr", [(np.int64(1), np.float32(0.5)), (np.int32(2), np.float64(0.5)), (1, 1)])
def test_numbers_of_numpy_are_numbers(num_epochs, lr):
    history = train_ch6(make_small(), make_batches(1), make_batches(1), num_epochs, lr, CPU)
    assert history[-1]["epoch"] == num_epochs


@pytest.mark.parametrize(
    "call",
    [
        lambda *loaders: train_ch6(make_small(), *loaders, 1, 0.1, CPU),
        lambda *loaders: train_recipe(replace(RECIPES["softmax"], num_epochs=1), *loaders),
        lambda *loaders: TrainPanel(make_small, *loaders),
    ],
    ids=["train_ch6", "train_recipe", "TrainPanel"],
)
def test_the_warning_of_swapped_loaders_names_the_line_of_the_call(call):
    dataset = TensorDataset(*make_batches(1, size=8)[0])
    with pytest.warns(UserWarning, match="swapped") as caught:
        call(DataLoader(dataset, 4), DataLoader(dataset, 4, shuffle=True))
    assert [warning.filename for warning in caught] == [__file__]


# --- The loop itself --------------------------------------------------------------------------------------------------


def test_a_new_learning_rate_acts_from_the_next_mini_batch():
    net, batches = make_small(), make_batches(4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    steps = train_steps(net, batches, batches, 1, optimizer, CPU)
    weights = [copy_weights(net)["1.weight"]]
    for lr in (0.1, 0, 0, 0.2):
        optimizer.param_groups[0]["lr"] = lr
        next(steps)
        weights.append(copy_weights(net)["1.weight"])
    moved = [not torch.equal(a, b) for a, b in pairwise(weights)]
    assert moved == [True, False, False, True]


def test_the_steps_of_an_epoch():
    net, batches = make_small(), make_batches(3)
    steps = train_steps(net, batches, batches, 2, torch.optim.SGD(net.parameters(), lr=0.1), CPU)
    seen = [(epoch, metric.tolist()[2], test_acc is None) for epoch, metric, test_acc in steps]
    epoch = [(1 / 3, 4, True), (2 / 3, 8, True), (1, 12, True), (1, 12, False)]
    assert seen == epoch + [(1 + x, count, is_step) for x, count, is_step in epoch]


def test_leaving_the_loop_early_keeps_the_net():
    net, batches = make_small(), make_batches(4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    steps = train_steps(net, batches, batches, 3, optimizer, CPU)
    for _ in range(6):
        next(steps)
    steps.close()
    assert net.training
    assert is_finite(net)
    assert len(list(train_steps(net, batches, batches, 1, optimizer, CPU))) == 5


def test_a_net_left_in_evaluation_mode_is_trained():
    net = make_small(nn.BatchNorm1d(784)).eval()
    train_ch6(net, make_batches(2), make_batches(1), 1, 0.1, CPU)
    assert net[1].num_batches_tracked == 2


# --- Devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accelerator", ["cuda", "mps", None])
def test_the_accelerator_is_found(accelerator, monkeypatch):
    found = accelerator and torch.device(accelerator)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator is not None)
    # A build of PyTorch for CUDA names "cuda" here on a machine without a GPU, too.
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *arguments: found or torch.device("cuda"))
    assert find_device() == torch.device(accelerator or "cpu")


def test_the_device_that_is_found_works():
    assert torch.ones(2, device=find_device()).sum().item() == 2


def test_all_is_computed_on_the_device_that_is_named():
    """On "meta" all works but for reading a number."""
    batches, net = make_batches(2), make_small()
    with pytest.raises(RuntimeError, match="meta tensor"):
        train_ch6(net, batches, batches, 1, 0.1, "meta")
    assert {parameter.device.type for parameter in net.parameters()} == {"meta"}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    _epoch, metric, _test_acc = next(train_steps(net, batches, batches, 1, optimizer, torch.device("meta")))
    assert (metric.device.type, metric.dtype) == ("meta", torch.float64)
    for device in (None, "meta"):
        with pytest.raises(RuntimeError, match=r"item\(\) cannot be called on meta tensors"):
            evaluate_accuracy_gpu(net, batches, device)


def test_weights_are_in_the_order_that_convolutions_run_fastest_on():
    net = make_lenet()
    train_ch6(net, make_batches(1), make_batches(1), 1, 0.1, CPU)
    assert net[3].weight.is_contiguous(memory_format=torch.channels_last)


def test_only_an_accelerator_is_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: waited.append(True))
    synchronize(CPU)
    assert not waited
    synchronize(torch.device("cuda"))
    assert waited


def test_losses_are_summed_in_the_highest_precision_of_the_device():
    assert [sum_dtype(device) for device in ("cpu", CPU, "cuda:0", "mps", torch.device("mps"))] == [
        *[torch.float64, torch.float64, torch.float64],
        *[torch.float32, torch.float32],
    ]


# --- The lecture note -------------------------------------------------------------------------------------------------

LECTURE_NOTE = """
class Reshape(nn.Module):
    def forward(self, x):
        return x.view(-1, 1, 28, 28)


net = nn.Sequential(
    Reshape(),
    nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.Sigmoid(),
    nn.AvgPool2d(kernel_size=2, stride=2),
    nn.Conv2d(6, 16, kernel_size=5), nn.Sigmoid(),
    nn.AvgPool2d(kernel_size=2, stride=2), nn.Flatten(),
    nn.Linear(16 * 5 * 5, 120), nn.Sigmoid(),
    nn.Linear(120, 84), nn.Sigmoid(),
    nn.Linear(84, 10))

X = torch.rand(size=(1, 1, 28, 28), dtype=torch.float32)
for layer in net:
    X = layer(X)
    print(layer.__class__.__name__, 'output shape: \\t', X.shape)

batch_size = 256
train_iter, test_iter = load_data_fashion_mnist(batch_size)
train_ch6(net, train_iter, test_iter, 10, 0.9, device)
print(evaluate_accuracy_gpu(net, test_iter))
"""
NAMES = "from lenet_helpers import evaluate_accuracy_gpu, load_data_fashion_mnist, train_ch6"
SHAPES = [
    *["Reshape", [1, 1, 28, 28], "Conv2d", [1, 6, 28, 28], "Sigmoid", [1, 6, 28, 28], "AvgPool2d", [1, 6, 14, 14]],
    *["Conv2d", [1, 16, 10, 10], "Sigmoid", [1, 16, 10, 10], "AvgPool2d", [1, 16, 5, 5], "Flatten", [1, 400]],
    *["Linear", [1, 120], "Sigmoid", [1, 120], "Linear", [1, 84], "Sigmoid", [1, 84], "Linear", [1, 10]],
]


def run_lecture_note(code, capsys):
    """Run the lecture note's code with the three names from here; return what it prints and its variables."""
    names = {"torch": torch, "nn": nn, "device": CPU}
    exec(NAMES, names)
    torch.manual_seed(0)
    exec(code, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:13] == [
        f"{name} output shape: \t torch.Size({shape})" for name, shape in zip(SHAPES[::2], SHAPES[1::2], strict=True)
    ]
    return lines[13:], names


def test_lecture_note_code(capsys, monkeypatch):
    """All ten epochs, unchanged, on the first images of the data set."""
    read_idx = data.read_idx
    monkeypatch.setattr(data, "read_idx", lambda path: read_idx(path)[: 2560 if "train" in path.name else 512])
    (device, result, _, accuracy), names = run_lecture_note(LECTURE_NOTE, capsys)
    assert device == "training on cpu"
    assert (len(names["train_iter"]), len(names["test_iter"])) == (10, 2)
    assert result.endswith(f"test acc {float(accuracy):.3f}")


def test_lecture_note_code_on_all_images(capsys):
    """One epoch of the ten: the loss is still near ln 10."""
    one_epoch = LECTURE_NOTE.replace("10, 0.9, device", "1, 0.9, device")
    (_, result, _, _), names = run_lecture_note(one_epoch, capsys)
    assert len(names["train_iter"].dataset) == 60_000
    assert float(re.match(r"loss (\d\.\d{3})", result)[1]) == pytest.approx(math.log(10), abs=0.1)
