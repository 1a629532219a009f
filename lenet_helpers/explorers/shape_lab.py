"""Sliders for the shape of a convolution or pooling layer, over a real image."""

import torch
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch.nn import functional as F

from lenet_helpers.explorers.base import Explorer, read_script, read_style
from lenet_helpers.explorers.window import FRAME, as_image
from lenet_helpers.language import _, speaking
from lenet_helpers.shapes import KINDS, SquareLayer

SIDE = 28
RANGES = {
    "size": (5, SIDE),
    "kernel": (1, 11),
    "padding": (0, 5),
    "stride": (1, 5),
    "dilation": (1, 4),
    "in_channels": (1, 32),
    "out_channels": (1, 32),
}


def shrink(image, size):
    """Return a square image with ``size`` pixels a side, each the nearest pixel of ``image``."""
    side = len(image)
    nearest = (2 * torch.arange(size) + 1) * side // (2 * size)
    return image[nearest][:, nearest]


def slide(image, layer):
    """Return the output map of a ``SquareLayer`` for one image: averages or maxima of the windows.

    For a convolution every weight is 1/k², so that it too averages; padding counts as 0, and never as a maximum.
    """
    X = image[None, None]
    if layer.kind == "max pooling":
        return F.max_pool2d(X, layer.kernel, layer.stride, layer.padding, layer.dilation)[0, 0]
    weight = torch.full((1, 1, layer.kernel, layer.kernel), 1 / layer.kernel**2)
    return F.conv2d(X, weight, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)[0, 0]


class ShapeLab(Explorer):
    """Settings of a layer, which can be set from a cell and from the page; ``layer`` tells what follows from them.

    ``row`` and ``col`` are the output pixel whose window is shown. Values outside the sliders raise ValueError.
    """

    _esm = read_script("shape_lab.js")
    _css = read_style("shape_lab.css")
    image = traitlets.List().tag(sync=True)
    ranges = traitlets.Dict({name: list(limits) for name, limits in RANGES.items()}).tag(sync=True)
    kind = traitlets.Enum(KINDS, "convolution").tag(sync=True)
    size = traitlets.Int(28).tag(sync=True)
    kernel = traitlets.Int(5).tag(sync=True)
    padding = traitlets.Int(2).tag(sync=True)
    stride = traitlets.Int(1).tag(sync=True)
    dilation = traitlets.Int(1).tag(sync=True)
    in_channels = traitlets.Int(1).tag(sync=True)
    out_channels = traitlets.Int(6).tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    col = traitlets.Int(0).tag(sync=True)

    def __init__(self, image):
        image = as_image(image)
        if image.shape != (SIDE, SIDE):
            raise ValueError(f"image must have shape ({SIDE}, {SIDE}), got {tuple(image.shape)}")
        super().__init__(image=image.tolist())

    @property
    def layer(self):
        """Return the ``SquareLayer`` of the present settings: its output size, formula, parameters and problem."""
        settings = {name: getattr(self, name) for name in ("kind", *RANGES)}
        if self.kind == "average pooling":
            settings["dilation"] = 1
        if self.kind != "convolution":
            settings["out_channels"] = self.in_channels
        return SquareLayer(**settings)

    @traitlets.validate(*RANGES)
    def _within_slider(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        low, high = RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"{name} must be between {low} and {high}, got {value}")
        return value

    @traitlets.validate("row", "col")
    def _within_output(self, proposal):
        name, value, last = proposal["trait"].name, proposal["value"], self._last_place()
        if not 0 <= value <= last:
            raise ValueError(f"{name} must be between 0 and {last} for this output, got {value}")
        return value

    @traitlets.observe("kind", *RANGES)
    def _stay_inside(self, change):
        last = self._last_place()
        self.row, self.col = min(self.row, last), min(self.col, last)

    def _last_place(self):
        """Return the largest row and col of the output, 0 where there is none."""
        layer = self.layer
        return 0 if layer.problem else layer.output_size - 1

    def figure(self):
        layer = self.layer
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        self._draw_input(left, layer)
        right.set_title("no output" if layer.problem else f"output {layer.output_size}×{layer.output_size}")
        # Both pictures have the same scale, so that the output is seen to shrink.
        right.set(xlim=left.get_xlim(), ylim=left.get_ylim(), aspect="equal")
        if not layer.problem:
            output = slide(shrink(torch.tensor(self.image), layer.size), layer)
            right.imshow(output.numpy(), cmap="gray_r", vmin=0, vmax=1)
            right.set(xlim=left.get_xlim(), ylim=left.get_ylim())
            right.add_patch(Rectangle((-0.5, -0.5), *output.shape, fill=False, edgecolor="black"))
            right.add_patch(Rectangle((self.col - 0.5, self.row - 0.5), 1, 1, fill=False, edgecolor=FRAME, linewidth=2))
        right.axis("off")
        figure.suptitle(f"{layer.code}\n{layer.formula}", fontsize=10, family="monospace")
        with speaking("en"):
            figure.supxlabel(self._tell_result(), fontsize=9, wrap=True)
        return figure

    def _draw_input(self, axis, layer):
        """Draw the padded input, hatch the pixels that no window reaches and frame the pixels of the window."""
        size, padding = layer.size, layer.padding
        axis.set_facecolor("#dbe9f6")
        axis.imshow(shrink(torch.tensor(self.image), size).numpy(), cmap="gray_r", vmin=0, vmax=1)
        axis.add_patch(Rectangle((-0.5, -0.5), size, size, fill=False, edgecolor="#0072b2", linewidth=1.5))
        axis.set(xlim=(-padding - 0.5, size + padding - 0.5), ylim=(size + padding - 0.5, -padding - 0.5))
        axis.set(xticks=[], yticks=[], title=f"input {size}×{size}, padding {padding}")
        if layer.problem:
            return
        for row in range(size):
            for col in range(size):
                if not {row, col} <= layer.reached:
                    corner = (col - 0.5, row - 0.5)
                    axis.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="////", edgecolor="#d55e00", linewidth=0))
        for row in layer.taps(self.row):
            for col in layer.taps(self.col):
                axis.add_patch(Rectangle((col - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=FRAME, linewidth=1.5))

    def _tell_result(self):
        """Return in one line what follows from the settings."""
        layer = self.layer
        if layer.problem:
            return _("Not possible: {problem}").format(problem=layer.problem)
        text = _(
            "output shape {shape}, not reached: {unreached} of {total} pixels, "
            "parameters {parameters}, multiply-adds {multiply_adds}"
        )
        counts = {"unreached": layer.unreached, "total": layer.size**2}
        costs = {"parameters": f"{layer.parameters:,}", "multiply_adds": f"{layer.multiply_adds:,}"}
        return text.format(shape=layer.output_shape, **counts, **costs)

    def tell(self):
        text = _("{code}, input {size}×{size}. {result}")
        return text.format(code=self.layer.code, size=self.size, result=self._tell_result())


def explore_shapes(image):
    """Set kernel, padding, stride, dilation and channels over ``image``, (28, 28) in [0, 1], and see what they do.

    Raises ValueError for another shape or other values.
    """
    return ShapeLab(image)
