"""The arithmetic of shapes: output sizes, parameters, multiply-adds and receptive fields."""

from dataclasses import dataclass
from math import floor, prod

import torch
from torch import nn

from lenet_helpers.language import _


def output_size(n, kernel, padding=0, stride=1, dilation=1, ceil_mode=False):
    """Return how many positions a window has along an axis of ``n`` pixels.

    PyTorch's rule for convolution and pooling: ``floor((n + 2·padding − dilation·(kernel − 1) − 1) / stride) + 1``.
    A result below 1 means that the window does not fit; PyTorch raises an error then. With ``ceil_mode`` a last window
    may stick out, if it starts in the picture or the padding before it. Raises ValueError for settings that no layer
    can have.
    """
    if min(kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            "kernel, stride and dilation must be at least 1 and padding at least 0; "
            f"they are {kernel}, {stride}, {dilation} and {padding}"
        )
    last = n + 2 * padding - dilation * (kernel - 1) - 1  # the last pixel at which a whole window starts
    size = floor(last / stride) + 1
    sticks_out = ceil_mode and last % stride > 0 and size * stride < n + padding
    return size + sticks_out


@dataclass(frozen=True)
class LayerShape:
    """What one layer does to the shape of its input; ``receptive_field`` is in pixels of the image along one axis."""

    name: str
    output_shape: tuple
    parameters: int
    multiply_adds: int
    receptive_field: int | None


def walk_shapes(net, input_shape=(1, 1, 28, 28)):
    """Run zeros of ``input_shape`` through the layers of an ``nn.Sequential`` and return one ``LayerShape`` per layer.

    Multiply-adds are for one image, without biases. The receptive field is None after the first flatten or linear
    layer: from there on every unit sees the whole image. Raises ValueError naming the layer that does not fit, and
    TypeError for a net of another kind.
    """
    if not isinstance(net, nn.Sequential):
        raise TypeError(
            f"net must be an nn.Sequential, whose layers can be run one by one, got {type(net).__name__}; "
            "in a net of another kind print(X.shape) between the lines of its forward"
        )
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    X = torch.zeros(input_shape, device=device)
    modes = {module: module.training for module in net.modules()}
    net.eval()  # so that batch norm does not learn from the zeros
    try:
        return _walk(net, X)
    finally:
        for module, training in modes.items():
            module.training = training


def _walk(net, X):
    """Return one ``LayerShape`` per layer for the input tensor ``X``."""
    field, jump, rows = 1, 1, []
    for index, layer in enumerate(net):
        with torch.no_grad():
            Y = run_layer(f"net[{index}] ({layer})", layer, X)
        multiply_adds = 0
        if isinstance(layer, nn.Conv2d):
            multiply_adds = layer.weight.numel() * prod(Y.shape[2:])
        elif isinstance(layer, nn.Linear):
            multiply_adds = layer.weight.numel()
        if isinstance(layer, nn.Flatten | nn.Linear | nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d | nn.Sequential):
            field = None
        if field and hasattr(layer, "kernel_size"):
            field += _first(getattr(layer, "dilation", 1)) * (_first(layer.kernel_size) - 1) * jump
            jump *= _first(layer.stride)
        rows.append(
            LayerShape(
                name=type(layer).__name__,
                output_shape=tuple(Y.shape),
                parameters=sum(p.numel() for p in layer.parameters()),
                multiply_adds=multiply_adds,
                receptive_field=field,
            )
        )
        X = Y
    return rows


def run_layer(name, layer, X):
    """Return the output of a layer, a tensor; raise ValueError, which calls the layer by its name, if it gives none."""
    try:
        Y = layer(X)
    except Exception as error:  # of PyTorch, or of the learner's own forward
        text = _("{layer} fails on its input of shape {shape}: {kind}: {error}")
        kind = type(error).__name__
        raise ValueError(text.format(layer=name, shape=tuple(X.shape), kind=kind, error=error)) from error
    if not isinstance(Y, torch.Tensor):
        text = _(
            "{layer} must give one tensor, and gives {kind}: let its forward end in `return` and the tensor, "
            "and leave out options such as return_indices"
        )
        raise ValueError(text.format(layer=name, kind=type(Y).__name__))
    return Y


KINDS = ("convolution", "average pooling", "max pooling")


@dataclass(frozen=True)
class SquareLayer:
    """A convolution or pooling layer over a square picture, with the same settings along both axes.

    ``size`` is the width of the input in pixels. Pooling keeps its channels, and average pooling has no dilation in
    PyTorch; other values raise ValueError, as do those of ``output_size``. Settings that PyTorch refuses only for this
    input are told by ``problem``.
    """

    kind: str
    size: int
    kernel: int
    padding: int = 0
    stride: int = 1
    dilation: int = 1
    in_channels: int = 1
    out_channels: int = 1

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "average pooling" and self.dilation != 1:
            raise ValueError(f"AvgPool2d has no dilation in PyTorch: set dilation to 1, got {self.dilation}")
        if self.pools and self.in_channels != self.out_channels:
            raise ValueError(
                f"pooling keeps the channels: in_channels and out_channels must be equal, "
                f"got {self.in_channels} and {self.out_channels}"
            )
        output_size(self.size, self.kernel, self.padding, self.stride, self.dilation)  # refuses what no layer can have

    @property
    def pools(self):
        """Return whether the layer is a pooling layer."""
        return self.kind != "convolution"

    @property
    def span(self):
        """Return how many pixels lie between the first and the last pixel of a window, both included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def output_size(self):
        """Return what the formula gives; below 1 the window does not fit."""
        return output_size(self.size, self.kernel, self.padding, self.stride, self.dilation)

    @property
    def formula(self):
        """Return the formula with the numbers put in."""
        taken = f"{self.size} + 2·{self.padding} − {self.dilation}·({self.kernel} − 1) − 1"
        numerator = self.size + 2 * self.padding - self.span
        text = f"floor(({taken}) / {self.stride}) + 1 = floor({numerator} / {self.stride}) + 1 = {self.output_size}"
        return text.replace("-", "−")

    @property
    def code(self):
        """Return the line of PyTorch that makes the layer."""
        settings = f"kernel_size={self.kernel}, stride={self.stride}, padding={self.padding}"
        if self.kind == "average pooling":
            return f"nn.AvgPool2d({settings})"
        if self.kind == "max pooling":
            return f"nn.MaxPool2d({settings}, dilation={self.dilation})"
        return f"nn.Conv2d({self.in_channels}, {self.out_channels}, {settings}, dilation={self.dilation})"

    @property
    def problem(self):
        """Return why PyTorch refuses these settings and what to change; empty where they work."""
        problems = []
        padded = self.size + 2 * self.padding
        if self.pools and self.padding > self.kernel // 2:
            text = _(
                "PyTorch allows pooling a padding of at most half the kernel, here {most}. "
                "Lower the padding or raise the kernel."
            )
            problems.append(text.format(most=self.kernel // 2))
        if self.output_size < 1:
            text = _("The window spans {span} pixels, but the padded input is only {padded} wide.")
            problems.append(text.format(span=self.span, padded=padded))
            if self.dilation > 1:
                problems.append(_("Lower the kernel or the dilation, or raise the padding or the input size."))
            else:
                problems.append(_("Lower the kernel, or raise the padding or the input size."))
        return " ".join(problems)

    @property
    def output_shape(self):
        """Return the output shape for one image, or None where there is a problem."""
        return None if self.problem else (1, self.out_channels, self.output_size, self.output_size)

    def taps(self, position):
        """Return the image rows (or columns) that the window at an output ``position`` reads; outside is padding."""
        first = position * self.stride - self.padding
        return [first + index * self.dilation for index in range(self.kernel)]

    @property
    def reached(self):
        """Return the image rows (or columns) that at least one window reads, without the padding."""
        return {tap for position in range(self.output_size) for tap in self.taps(position) if 0 <= tap < self.size}

    @property
    def unreached(self):
        """Return how many pixels of the image no window reads, or None where there is a problem."""
        return None if self.problem else self.size**2 - len(self.reached) ** 2

    @property
    def parameters(self):
        """Return the number of weights and biases."""
        return 0 if self.pools else self.out_channels * (self.in_channels * self.kernel**2 + 1)

    @property
    def multiply_adds(self):
        """Return the multiply-adds for one image without biases, or None where there is a problem; pooling has 0."""
        if self.problem:
            return None
        return 0 if self.pools else self.out_channels * self.in_channels * self.kernel**2 * self.output_size**2


def _first(size):
    """Return the size along the first axis of a kernel_size, stride or dilation that may be an int or a tuple."""
    return size[0] if isinstance(size, tuple | list) else size
