"""Shape arithmetic against PyTorch."""

import itertools
import re

import pytest
import torch
from torch import nn

from lenet_helpers.shapes import KINDS, LayerShape, SquareLayer, output_size, walk_shapes


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


class NoReturn(nn.Module):
    """A layer whose author forgot the last word."""

    def forward(self, X):
        X + 1


class Typo(nn.Module):
    def forward(self, X):
        return self.missing(X)


def grid_of_layers():
    """Return layers over a grid of settings, possible and impossible ones."""
    layers = []
    for kind, size, kernel, padding, stride, dilation in itertools.product(
        KINDS, (5, 8, 13, 28), (1, 2, 3, 5), (0, 1, 2), (1, 2, 5), (1, 2, 4)
    ):
        if kind == "average pooling" and dilation > 1:
            continue
        ins, outs = (3, 4) if kind == "convolution" else (3, 3)
        layers.append(SquareLayer(kind, size, kernel, padding, stride, dilation, ins, outs))
    return layers


def test_layers_agree_with_torch_over_a_grid():
    possible = refused = 0
    for layer in grid_of_layers():
        module = eval(layer.code, {"nn": nn})
        X = torch.ones(1, layer.in_channels, layer.size, layer.size)
        try:
            Y = module(X)
        except RuntimeError:
            assert layer.problem, layer
            assert layer.output_shape is layer.unreached is layer.multiply_adds is None
            refused += 1
            continue
        assert not layer.problem, layer
        assert layer.output_shape == tuple(Y.shape), layer
        assert layer.parameters == sum(p.numel() for p in module.parameters()), layer
        possible += 1
    assert possible > 600 and refused > 100


def test_unreached_pixels_are_those_without_a_gradient():
    for layer in grid_of_layers():
        if layer.problem or layer.kind == "max pooling":  # a maximum gives only the largest pixel a gradient
            continue
        module = eval(layer.code, {"nn": nn})
        for p in module.parameters():
            nn.init.ones_(p)
        X = torch.ones(1, layer.in_channels, layer.size, layer.size, requires_grad=True)
        module(X).sum().backward()
        assert layer.unreached == (X.grad[0, 0] == 0).sum(), layer


def test_max_pooling_reaches_what_average_pooling_reaches():
    for layer in grid_of_layers():
        if layer.kind == "average pooling" and not layer.problem:
            other = SquareLayer("max pooling", layer.size, layer.kernel, layer.padding, layer.stride)
            assert layer.unreached == other.unreached


def test_multiply_adds_agree_with_the_walk():
    layer = SquareLayer("convolution", 14, 5, 1, 2, 2, 6, 16)
    net = nn.Sequential(eval(layer.code, {"nn": nn}))
    assert layer.multiply_adds == walk_shapes(net, (1, 6, 14, 14))[0].multiply_adds


def test_formula_has_the_numbers_put_in():
    formula = SquareLayer("convolution", 28, 5, 2, 3, 1).formula
    assert formula == "floor((28 + 2·2 − 1·(5 − 1) − 1) / 3) + 1 = floor(27 / 3) + 1 = 10"
    assert SquareLayer("convolution", 5, 11).formula.endswith("= floor(−6 / 1) + 1 = −5")


def test_problem_says_what_to_change():
    assert SquareLayer("convolution", 5, 4, dilation=2).problem == (
        "The window spans 7 pixels, but the padded input is only 5 wide. "
        "Lower the kernel or the dilation, or raise the padding or the input size."
    )
    assert SquareLayer("max pooling", 1, 6, padding=2).problem == (
        "The window spans 6 pixels, but the padded input is only 5 wide. "
        "Lower the kernel, or raise the padding or the input size."
    )
    assert SquareLayer("max pooling", 28, 3, padding=2).problem == (
        "PyTorch allows pooling a padding of at most half the kernel, here 1. Lower the padding or raise the kernel."
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "pooling"}, "kind must be one of convolution, average pooling, max pooling, got 'pooling'"),
        (
            {"kind": "average pooling", "dilation": 2},
            "AvgPool2d has no dilation in PyTorch: set dilation to 1, got 2",
        ),
        (
            {"kind": "max pooling", "out_channels": 6},
            "pooling keeps the channels: in_channels and out_channels must be equal, got 1 and 6",
        ),
        *(
            (
                {"kind": kind, "kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding},
                "kernel, stride and dilation must be at least 1 and padding at least 0; "
                f"they are {kernel}, {stride}, {dilation} and {padding}",
            )
            for kind in ("convolution", "max pooling")
            for kernel, stride, dilation, padding in ((0, 1, 1, 0), (5, 0, 1, 0), (5, 1, 0, 0), (5, 1, 1, -1))
        ),
    ],
)
def test_layers_that_do_not_exist_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        SquareLayer(**{"size": 28, "kernel": 5, **settings})


def test_walk_of_lenet():
    rows = walk_shapes(make_lenet())
    block = "Conv2d Sigmoid AvgPool2d"
    assert " ".join(row.name for row in rows) == f"Reshape {block} {block} Flatten Linear Sigmoid Linear Sigmoid Linear"
    assert [row.parameters for row in rows if row.parameters] == [156, 2416, 48120, 10164, 850]
    assert sum(row.parameters for row in rows) == 61_706
    assert sum(row.multiply_adds for row in rows) == 416_520
    assert [row.output_shape for row in rows][3:5] == [(1, 6, 14, 14), (1, 16, 10, 10)]
    assert [row.receptive_field for row in rows] == [1, 5, 5, 6, 14, 14, 16, *[None] * 6]


def test_walk_needs_no_parameters_and_goes_where_they_are():
    assert walk_shapes(make_lenet().to("meta")) == walk_shapes(make_lenet())
    assert walk_shapes(nn.Sequential(nn.Flatten())) == [LayerShape("Flatten", (1, 784), 0, 0, None)]


def test_receptive_field_is_that_of_the_rows():
    net = nn.Sequential(nn.MaxPool2d((2, 1)), nn.Conv2d(1, 1, (3, 5), dilation=(2, 1)))
    assert [row.receptive_field for row in walk_shapes(net)] == [2, 10]


def test_receptive_field_is_where_the_gradient_is():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2), nn.AvgPool2d(3, 2), nn.Conv2d(1, 1, 2, stride=3))
    X = torch.ones(1, 1, 40, 40, requires_grad=True)
    for p in net.parameters():
        nn.init.ones_(p)
    net(X)[0, 0, 2, 2].backward()
    rows = X.grad[0, 0].abs().sum(1).nonzero()
    assert walk_shapes(net, X.shape)[-1].receptive_field == (rows.max() - rows.min() + 1).item()


def test_walk_leaves_the_net_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    walk_shapes(net)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert [layer.training for layer in net] == [True, True, False]


@pytest.mark.fault("training", "a net of another shape")
@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (nn.Linear(7, 2), "fails on its input of shape (1, 6, 24, 24): RuntimeError: mat1 and mat2 shapes cannot"),
        (nn.Flatten(9), "fails on its input of shape (1, 6, 24, 24): IndexError: Dimension out of range"),
        (Typo(), "fails on its input of shape (1, 6, 24, 24): AttributeError: 'Typo' object has no attribute"),
        (NoReturn(), "must give one tensor, and gives NoneType: let its forward end in `return` and the tensor"),
        (nn.MaxPool2d(2, return_indices=True), "must give one tensor, and gives tuple: "),
        (nn.MaxPool2d(2, stride=0), "fails on its input of shape (1, 6, 24, 24): RuntimeError: "),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, nn.Module) else "",
)
def test_walk_names_the_layer_that_gives_no_output(layer, says):
    net = nn.Sequential(nn.Conv2d(1, 6, 5), layer, nn.Flatten()).train()
    with pytest.raises(ValueError, match=re.escape(f"net[1] ({layer}) {says}")):
        walk_shapes(net)
    assert layer.training


class MyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Flatten()

    def forward(self, X):
        return self.layer(X)


@pytest.mark.fault("training", "a net of another shape")
@pytest.mark.parametrize("net", [MyNet(), nn.ModuleList([nn.Flatten()]), [nn.Flatten()], None])
def test_a_net_that_is_no_sequence_of_layers_is_told_so_with_another_way(net):
    says = (
        f"net must be an nn.Sequential, whose layers can be run one by one, got {type(net).__name__}; "
        "in a net of another kind print(X.shape) between the lines of its forward"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(says)}$"):
        walk_shapes(net)


def test_output_size_below_one_means_no_window():
    assert output_size(28, 5, padding=2) == 28
    assert output_size(4, 5) == 0


@pytest.mark.parametrize(
    ("settings", "rounded_down", "rounded_up"),
    [
        ((7, 2, 0, 2), 3, 4),  # the last window sticks out by a pixel
        ((8, 2, 0, 2), 4, 4),  # nothing is left over
        ((4, 1, 0, 5), 1, 1),  # a second window would start outside
        ((5, 2, 1, 3), 2, 2),  # … as here, in the padding behind the picture
        ((2, 3, 0, 2), 0, 1),  # the only window sticks out
    ],
)
def test_ceil_mode_lets_a_last_window_stick_out(settings, rounded_down, rounded_up):
    n, *window = settings
    assert output_size(n, *window) == rounded_down
    assert output_size(n, *window, ceil_mode=True) == rounded_up
    kernel, padding, stride = window
    assert nn.MaxPool2d(kernel, stride, padding, ceil_mode=True)(torch.ones(1, 1, n, n)).shape[2] == rounded_up


def test_settings_given_as_lists_are_those_of_tuples():
    net = nn.Sequential(nn.MaxPool2d([2, 3], [2, 1]), nn.Conv2d(1, 1, 3))
    assert [row.receptive_field for row in walk_shapes(net)] == [2, 6]
