"""Move a window over an image: patch × kernel = products, their sum, and the map of all sums."""

import torch
import traitlets
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch.nn import functional as F

from lenet_helpers.explorers.base import Explorer, read_script, read_style
from lenet_helpers.language import _

LARGEST_KERNEL = 11
LARGEST_IMAGE = 64
MINE = "mine"
FRAME = "#cc0077"
SIGNED = LinearSegmentedColormap.from_list("signed", ["#d55e00", "#ffffff", "#0072b2"])  # as in common.js


def as_image(image):
    """Return ``image`` as a float32 tensor (height, width).

    Leading axes of length 1 are dropped. Raises ValueError for another shape, for sides above 64 pixels, and for
    values outside [0, 1].
    """
    image = _as_matrix(image, "image")
    if not 5 <= min(image.shape) <= max(image.shape) <= LARGEST_IMAGE:
        raise ValueError(f"image must have 5 to {LARGEST_IMAGE} pixels a side, got shape {tuple(image.shape)}")
    if not 0 <= image.min() <= image.max() <= 1:
        raise ValueError(
            f"image must hold values in [0, 1], got {image.min():.3g} to {image.max():.3g}; divide bytes by 255"
        )
    return image


def as_kernel(kernel, image):
    """Return ``kernel`` as a float32 tensor (k, k) that fits in ``image``; raise ValueError where it does not."""
    kernel = _as_matrix(kernel, "kernel")
    largest = min(LARGEST_KERNEL, *image.shape)
    if kernel.shape[0] != kernel.shape[1] or not 1 <= len(kernel) <= largest:
        raise ValueError(f"kernel must be square with 1 to {largest} numbers a side, got shape {tuple(kernel.shape)}")
    return kernel


def _as_matrix(values, name):
    """Return ``values`` as a finite float32 tensor with two axes."""
    try:
        values = torch.as_tensor(values).detach().cpu().float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a tensor or an array of numbers, got {type(values).__name__}") from error
    while values.ndim > 2 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or not values.numel():
        raise ValueError(f"{name} must have two axes, rows and columns, got shape {tuple(values.shape)}")
    if not values.isfinite().all():
        raise ValueError(f"{name} must hold finite numbers, got NaN or infinity")
    return values


def make_kernels():
    """Return the 5×5 kernels to choose from, by name."""
    edges = torch.tensor([-1.0, -1.0, 0.0, 1.0, 1.0]).repeat(5, 1)
    blur = torch.full((5, 5), 1 / 25)
    sharpen = -2 * blur
    sharpen[2, 2] += 3
    noise = torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    return {
        "vertical edges": edges,
        "horizontal edges": edges.T,
        "blur": blur,
        "sharpen": sharpen,
        "random": (20 * noise - 10).round() / 10,
    }


def window_product(image, kernel, row, col):
    """Return the products patch × kernel, shape (k, k), for the window whose upper left pixel is (row, col).

    Their sum is the output pixel (row, col) of ``conv2d``, which does not flip the kernel (cross-correlation).
    Raises ValueError where the window leaves the image.
    """
    height, width = (side - len(kernel) + 1 for side in image.shape)
    if not (0 <= row < height and 0 <= col < width):
        raise ValueError(
            f"a {len(kernel)}×{len(kernel)} window fits at rows 0 to {height - 1} and columns 0 to {width - 1}, "
            f"got row {row} and column {col}"
        )
    return image[row : row + len(kernel), col : col + len(kernel)] * kernel


class WindowExplorer(Explorer):
    """A window over an image; ``row``, ``col``, ``kernel_name`` and ``fill`` can be set from a cell and from the page.

    ``kernel`` is the kernel in use as a tensor; setting it adds the learner's own as "mine" and chooses it.
    """

    _esm = read_script("window.js")
    _css = read_style("window.css")
    image = traitlets.List().tag(sync=True)
    kernels = traitlets.Dict().tag(sync=True)
    kernel_name = traitlets.Unicode().tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    col = traitlets.Int(0).tag(sync=True)
    fill = traitlets.Bool(False).tag(sync=True)

    def __init__(self, image, kernels):
        image = as_image(image)
        if not kernels:
            raise ValueError("kernels is empty: give at least one, as {'name': tensor}")
        kernels = {name: as_kernel(kernel, image).tolist() for name, kernel in kernels.items()}
        super().__init__(image=image.tolist(), kernels=kernels, kernel_name=next(iter(kernels)))

    @property
    def kernel(self):
        """Return the kernel in use as a tensor (k, k)."""
        return torch.tensor(self.kernels[self.kernel_name])

    @kernel.setter
    def kernel(self, kernel):
        kernel = as_kernel(kernel, torch.tensor(self.image)).tolist()
        with self.hold_sync():  # one message to the page
            self.kernels = {**self.kernels, MINE: kernel}
            self.kernel_name = MINE

    @property
    def products(self):
        """Return patch × kernel at the window's present place, shape (k, k)."""
        return window_product(torch.tensor(self.image), self.kernel, self.row, self.col)

    @property
    def value(self):
        """Return the sum of the products: one pixel of the output map."""
        return self.products.sum().item()

    @property
    def output(self):
        """Return the whole output map as a tensor."""
        return F.conv2d(torch.tensor(self.image)[None, None], self.kernel[None, None])[0, 0]

    @traitlets.validate("kernel_name")
    def _known_name(self, proposal):
        if proposal["value"] not in self.kernels:
            known = ", ".join(repr(name) for name in self.kernels)
            raise ValueError(f"kernel_name must be one of {known}, got {proposal['value']!r}")
        return proposal["value"]

    @traitlets.validate("row", "col")
    def _inside(self, proposal):
        name = proposal["trait"].name
        last = self._last_place()[name]
        if not 0 <= proposal["value"] <= last:
            raise ValueError(f"{name} must be between 0 and {last} for this kernel, got {proposal['value']}")
        return proposal["value"]

    @traitlets.observe("kernel_name", "kernels")
    def _stay_inside(self, change):
        if self.kernel_name in self.kernels:
            for name, last in self._last_place().items():
                if getattr(self, name) > last:
                    setattr(self, name, last)

    def _last_place(self):
        """Return the largest row and col at which the window is still inside the image."""
        k = len(self.kernels[self.kernel_name])
        return {"row": len(self.image) - k, "col": len(self.image[0]) - k}

    def figure(self):
        image, kernel, products = torch.tensor(self.image), self.kernel, self.products
        k = len(kernel)
        patch = image[self.row : self.row + k, self.col : self.col + k]
        output = self.output
        figure = Figure(figsize=(11, 2.7), layout="constrained")
        axes = figure.subplots(1, 5)
        axes[0].imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes[0].add_patch(_frame(self.row, self.col, k))
        axes[0].set_title(f"image {image.shape[0]}×{image.shape[1]}")
        for axis, numbers, title in ((axes[2], kernel, f"× {self.kernel_name}"), (axes[3], products, "= products")):
            _draw_signed(axis, numbers, title)
        axes[1].imshow(patch.numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes[1].set_title(f"patch at ({self.row}, {self.col})")
        if k <= 7:
            _write_numbers(axes[1], patch, patch > 0.5)
            for axis, numbers in ((axes[2], kernel), (axes[3], products)):
                _write_numbers(axis, numbers, numbers > 0.85 * numbers.abs().max())
        _draw_signed(axes[4], output, f"output {output.shape[0]}×{output.shape[1]}")
        axes[4].add_patch(_frame(self.row, self.col, 1))
        axes[4].set_xlabel(f"output[{self.row}, {self.col}] = {self.value:.3f}")
        for axis in axes:
            axis.set(xticks=[], yticks=[])
        return figure

    def tell(self):
        text = _("{kernel}, output[{row}, {column}] = {value}")
        return text.format(kernel=_(self.kernel_name), row=self.row, column=self.col, value=f"{self.value:.3f}")


def _draw_signed(axis, numbers, title):
    """Draw a matrix with blue for positive and orange for negative numbers."""
    limit = numbers.abs().max().item() or 1
    axis.imshow(numbers.numpy(), cmap=SIGNED, vmin=-limit, vmax=limit)
    axis.set_title(title, parse_math=False)


def _write_numbers(axis, numbers, is_dark):
    """Write each number of a matrix over its pixel, in white where ``is_dark`` says so."""
    for row, line in enumerate(numbers.tolist()):
        for col, number in enumerate(line):
            text = f"{round(number, 2) + 0:.2f}".replace("-", "−")  # + 0 turns −0 into 0
            colour = "white" if is_dark[row, col] else "black"
            axis.text(col, row, text, ha="center", va="center", fontsize=7, color=colour)


def _frame(row, col, size):
    """Return the outline of ``size`` × ``size`` pixels."""
    return Rectangle((col - 0.5, row - 0.5), size, size, fill=False, edgecolor=FRAME, linewidth=2)


def explore_window(image, kernel=None, kernels=None):
    """Move a window over ``image``, (28, 28) with values in [0, 1], and see patch × kernel = products and their sum.

    ``kernel`` is one of your own, square with up to 11 numbers a side: the list calls it "mine". ``kernels`` is a
    dict of named kernels to choose from in place of the ready ones. Raises ValueError for what does not fit.
    """
    choices = make_kernels() if kernels is None else dict(kernels)
    if kernel is not None:
        choices = {MINE: kernel, **choices}
    return WindowExplorer(image, choices)
