"""Pictures for the notebooks: arrays in, a matplotlib Figure out."""

import io
import math

from matplotlib.figure import Figure


class Picture(Figure):
    """A Figure that a notebook shows by itself, without pyplot, always as a PNG."""

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
        return buffer.getvalue()


def show_images(images, titles=None, ncols=8):
    """Draw images as dark ink on white, in rows of ``ncols``; each has shape (1, H, W) or (H, W), values in [0, 1]."""
    images = [image.reshape(image.shape[-2:]) for image in images]
    return _draw_grid(images, titles, ncols, cmap="gray_r", vmin=0, vmax=1)


def show_maps(maps, ncols=8):
    """Draw the feature maps of one image, shape (1, C, H, W) or (C, H, W), each on a grey scale of its own."""
    maps = maps.detach().reshape(-1, *maps.shape[-2:])
    return _draw_grid(maps, [f"map {i}" for i in range(len(maps))], ncols, cmap="gray")


def show_kernels(kernels, ncols=8):
    """Draw kernels, shape (N, k, k): purple is positive, orange negative, white zero, on one scale for all."""
    kernels = kernels.detach().reshape(-1, *kernels.shape[-2:])
    reach = float(kernels.abs().max())
    return _draw_grid(kernels, None, ncols, cmap="PuOr", vmin=-reach, vmax=reach)


def show_shares(names, **counts):
    """Draw the share of each name in each of ``counts`` as horizontal bars; counts are lists as long as ``names``."""
    figure = Picture(figsize=(7, 0.55 + 0.5 * len(names)), layout="constrained")
    axes = figure.add_subplot(xlabel="share of the sum, %")
    height = 0.8 / len(counts)
    for index, (label, values) in enumerate(counts.items()):
        places = [row + (index - (len(counts) - 1) / 2) * height for row in range(len(names))]
        shares = [100 * value / sum(values) for value in values]
        bars = axes.barh(places, shares, height, label=label.replace("_", "-"), color=("#0072b2", "#e69f00")[index % 2])
        axes.bar_label(bars, [f"{value:,}" for value in values], padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 100)
    axes.invert_yaxis()
    axes.legend(loc="lower right")
    return figure


def _draw_grid(images, titles, ncols, **style):
    ncols = min(ncols, len(images))
    nrows = math.ceil(len(images) / ncols)
    side = 1.15 if len(images) > 1 else 2.6
    extra = 0.25 if titles is not None else 0
    figure = Picture(figsize=(side * ncols, (side + extra) * nrows), layout="constrained")
    grid = figure.subplots(nrows, ncols, squeeze=False).flat
    for axes in grid:
        axes.axis("off")
    for index, image in enumerate(images):
        axes = grid[index]
        axes.imshow(image, **style)
        if titles is not None:
            axes.set_title(titles[index], fontsize=9)
    return figure
