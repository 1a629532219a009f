"""Signals in an untrained net, against PyTorch's own gradients and inits."""

import inspect

import nbformat
import pytest
import torch
from nets import make_lenet
from test_notebooks import ROOT, without_docstring
from torch import nn

from lenet_helpers import signals
from lenet_helpers.figures import show_losses, show_sizes, show_slopes
from lenet_helpers.signals import (
    ACTIVATIONS,
    INITS,
    ScaledTanh,
    gradient_rms,
    make_dense_net,
    measure_signals,
    tell_ratio,
)
from lenet_helpers.training import init_weights


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.rand(64, 1, 28, 28), torch.randint(10, (64,))


def test_scaled_tanh_is_that_of_1998():
    x = torch.linspace(-5, 5, 101, dtype=torch.float64, requires_grad=True)
    value = ScaledTanh()(x)
    torch.testing.assert_close(value, 1.7159 * torch.tanh(x * 2 / 3))
    torch.testing.assert_close(ScaledTanh()(torch.tensor([-1.0, 1.0])), torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0)
    slope = torch.autograd.grad(value.sum(), x)[0]
    assert slope.max().item() == pytest.approx(1.7159 * 2 / 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_dense_net_has_the_layers_asked_for(activation, depth, batch):
    net = make_dense_net(activation, "Xavier", depth)
    kinds = [type(layer) for layer in net]
    assert kinds == [nn.Flatten, *[nn.Linear, ACTIVATIONS[activation]] * depth, nn.Linear]
    assert [layer.out_features for layer in net[1::2]] == [*[100] * depth, 10]
    assert net(batch[0]).shape == (64, 10)


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ("PyTorch's default", lambda n, m: 1 / (3 * n)),
        ("Xavier", lambda n, m: 2 / (n + m)),
        ("He", lambda n, m: 2 / n),
        ("normal, 0.01", lambda n, m: 1e-4),
    ],
)
def test_inits_have_their_variance(init, variance):
    torch.manual_seed(0)
    for layer in make_dense_net("ReLU", init, 2)[1::2]:
        m, n = layer.weight.shape
        assert layer.weight.var().item() == pytest.approx(variance(n, m), rel=0.15)
        assert (layer.bias == 0).all() == (init != "PyTorch's default")
    assert set(INITS) == {"PyTorch's default", "Xavier", "He", "normal, 0.01"}


def test_gradients_are_those_of_backward_and_leave_the_net_alone(batch):
    torch.manual_seed(0)
    net = make_lenet()
    measured = gradient_rms(net, *batch)
    assert all(p.grad is None for p in net.parameters())
    nn.CrossEntropyLoss()(net(batch[0]), batch[1]).backward()
    weights = [net[i].weight for i in (0, 3, 7, 9, 11)]
    assert measured == pytest.approx([w.grad.square().mean().sqrt().item() for w in weights])


def test_signals_are_taken_behind_the_activation(batch):
    net = make_lenet(nn.ReLU)
    measured = measure_signals(net, *batch)
    ends = (2, 5, 9, 11, 12)
    assert len(measured) == len(ends)
    for signal, end, rms in zip(measured, ends, gradient_rms(net, *batch), strict=True):
        expected = net[:end](batch[0]).flatten(1).detach()
        torch.testing.assert_close(signal.activations, expected)
        assert signal.spread == pytest.approx(expected.std(dim=0).mean().item())
        assert signal.gradient_rms == pytest.approx(rms)


@pytest.mark.parametrize("seed", range(5))
def test_the_lesson_holds_on_real_images(fashion, seed):
    """The first layer's share of the gradient is at least 50 times smaller with sigmoids than with ReLUs."""
    X, y = fashion[0][:256], fashion[1][:256]
    ratios = []
    for activation in (nn.Sigmoid, nn.ReLU):
        torch.manual_seed(seed)
        rms = gradient_rms(make_lenet(activation).apply(init_weights), X, y)
        ratios.append(rms[0] / rms[-1])
    assert ratios[1] / ratios[0] > 50


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        *[(*pair, "The gradients of the first and the last layer are about as large.") for pair in ((2, 3), (3, 2))],
        (0.5, 1, "The first layer's gradient is 2 times smaller than the last layer's."),
        (0.001, 0.00321, "The first layer's gradient is 3 times smaller than the last layer's."),
        (1, 1234, "The first layer's gradient is 1,200 times smaller than the last layer's."),
        (2, 1, "The first layer's gradient is 2 times larger than the last layer's."),
        (0.009, 0.001, "The first layer's gradient is 9 times larger than the last layer's."),
        (99.6, 1, "The first layer's gradient is 100 times larger than the last layer's."),
        *[(*pair, "The gradient of the first layer or of the last one is 0.") for pair in ((0, 1), (1, 0), (0, 0))],
    ],
)
def test_ratios_are_told_in_words(first, last, told):
    assert tell_ratio(first, last) == told


def test_the_notebook_teaches_the_helper():
    notebook = nbformat.read(ROOT / "notebooks" / "en" / "05_escape_the_plateau.ipynb", 4)
    (cell,) = (cell for cell in notebook.cells if cell.id == "gradient-define")
    taught, helper = (without_docstring(text, "gradient_rms") for text in (cell.source, inspect.getsource(signals)))
    assert taught == helper


def test_pictures_hold_what_they_are_given():
    history = [{"epoch": 0.5, "loss": 2.3}, {"epoch": 1, "loss": 2.0}]
    (axes,) = show_losses({"a": history, "b": history[:1]}).axes
    assert [list(line.get_ydata()) for line in axes.lines[1:]] == [[2.3, 2.0], [2.3]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ln 10: guessing", "a", "b"]

    (axes,) = show_sizes(["first", "last"], {"sigmoid": [1e-4, 1e-2]}, "gradient RMS").axes
    assert axes.get_yscale() == "log" and list(axes.lines[0].get_ydata()) == [1e-4, 1e-2]

    x = torch.linspace(-1, 1, 5)
    left, right = show_slopes(x, {"square": x**2}, {"square": 2 * x}).axes
    assert list(left.lines[0].get_ydata()) == (x**2).tolist() and list(right.lines[0].get_ydata()) == (2 * x).tolist()
