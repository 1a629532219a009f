"""Pictures for the notebooks: arrays in, a matplotlib Figure out."""

import io
import math

import numpy as np
from matplotlib.figure import Figure


class Picture(Figure):
    """A Figure that a notebook shows by itself, without pyplot, always as a PNG."""

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
        return buffer.getvalue()


def write_plainly(*texts):
    """Let matplotlib draw names as they are: in a class called "$x_{$" it would look for a formula, and fail."""
    for text in texts:
        text.set_parse_math(False)


def show_images(images, titles=None, ncols=8):
    """Draw images as dark ink on white, in rows of ``ncols``; each has shape (1, H, W) or (H, W), values in [0, 1]."""
    images = [image.reshape(image.shape[-2:]) for image in images]
    return _draw_grid(images, titles, ncols, cmap="gray_r", vmin=0, vmax=1)


def show_maps(maps, ncols=8):
    """Draw the feature maps of one image, shape (1, C, H, W) or (C, H, W), each on a grey scale of its own."""
    maps = maps.detach().cpu().reshape(-1, *maps.shape[-2:])
    return _draw_grid(maps, [f"map {i}" for i in range(len(maps))], ncols, cmap="gray")


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
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlim(0, 100)
    axes.invert_yaxis()
    write_plainly(*axes.legend(loc="lower right").get_texts())
    return figure


def _draw_grid(images, titles, ncols, **style):
    if len(images) == 0:
        raise ValueError("there is nothing to draw: give at least one image")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"each image needs one title: there are {len(images)} images and {len(titles)} titles")
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
        axes.imshow(np.asarray(image.detach().cpu() if hasattr(image, "detach") else image), **style)
        if titles is not None:
            axes.set_title(titles[index], fontsize=9, parse_math=False)
    return figure


def show_ablation(rows, references=(), yours=None, measure="test_acc"):
    """Draw each row's mean as a dot, its seeds as small dots and one standard deviation as a bar, the first row on top.

    ``rows`` and ``references`` are those of ``load_ablation()``; a reference becomes a dashed line with its number in
    the legend. ``yours``, an accuracy, is drawn as one more row.
    """
    figure = Picture(
        figsize=(8.5, 1.3 + 0.34 * (len(rows) + (yours is not None) + len(references))), layout="constrained"
    )
    name = {"test_acc": "test accuracy", "validation_acc": "validation accuracy"}[measure]
    axes = figure.add_subplot(xlabel=name)
    for place, row in enumerate(rows):
        values = [record[measure] for record in row["seeds"]]
        axes.plot(values, [place] * len(values), ".", color="#0072b2", alpha=0.4, markersize=5)
        axes.errorbar(row["mean"][measure], place, xerr=row["std"][measure] or 0, fmt="o", color="#0072b2", capsize=3)
        text = f"{row['mean'][measure]:.3f}"
        axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center")
    titles = [row["title"] for row in rows]
    if yours is not None:
        axes.plot(yours, len(rows), "D", color="#d55e00", markersize=8)
        axes.annotate(f"{yours:.3f}", (1.01, len(rows)), xycoords=("axes fraction", "data"), va="center")
        titles.append("your net")
    for reference, color in zip(references, _REFERENCE_COLORS, strict=False):
        label = f"{reference['accuracy']:.3f}  {reference['title']}"
        axes.axvline(reference["accuracy"], linestyle="--", linewidth=1.2, color=color, label=label)
    axes.set_yticks(range(len(titles)), titles, parse_math=False)
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    if references:
        write_plainly(*figure.legend(loc="outside lower center", fontsize=9, title="published").get_texts())
    return figure


_REFERENCE_COLORS = ("#000000", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def show_slopes(x, functions, slopes):
    """Draw functions of ``x`` on the left and their slopes on the right; both are dicts of arrays by name."""
    figure = Picture(figsize=(8.5, 3), layout="constrained")
    for axes, curves, title in zip(figure.subplots(1, 2), (functions, slopes), ("function", "slope"), strict=True):
        for (name, values), style in zip(curves.items(), _LINE_STYLES, strict=False):
            axes.plot(x, values, label=name, **style)
        axes.set(title=title, xlabel="x")
        axes.grid(alpha=0.3)
        write_plainly(*axes.legend().get_texts())
    return figure


def show_sizes(names, sizes, ylabel):
    """Draw positive numbers per layer on a log scale; ``sizes`` is a dict of lists, each as long as ``names``."""
    figure = Picture(figsize=(6.5, 3), layout="constrained")
    axes = figure.add_subplot(ylabel=ylabel, yscale="log")
    for (name, values), style, marker in zip(sizes.items(), _LINE_STYLES, "os^D", strict=False):
        axes.plot(names, values, label=name, marker=marker, **style)
    axes.grid(alpha=0.3)
    write_plainly(*axes.legend().get_texts(), *axes.get_xticklabels())
    return figure


def show_losses(histories):
    """Draw the training loss of several runs over the epochs, with a line at ln 10; ``histories`` is a dict by name."""
    figure = Picture(figsize=(6.5, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="training loss")
    axes.axhline(math.log(10), color="#8c8c8c", linewidth=1, label="ln 10: guessing")
    for (name, history), style in zip(histories.items(), _LINE_STYLES, strict=False):
        axes.plot([row["epoch"] for row in history], [row["loss"] for row in history], label=name, **style)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    write_plainly(*axes.legend().get_texts())
    return figure


def show_costs(stages, floor=None):
    """Draw the milliseconds of a mini-batch as bars, waiting and computing; ``stages`` is a dict of such pairs by name.

    ``floor``, the milliseconds of bare arithmetic, is one more bar and a dashed line.
    """
    figure = Picture(figsize=(7.5, 1.4 + 0.42 * (len(stages) + (floor is not None))), layout="constrained")
    axes = figure.add_subplot(xlabel="milliseconds per mini-batch")
    names = list(stages)
    waiting, computing = ([pair[part] for pair in stages.values()] for part in (0, 1))
    axes.barh(names, waiting, label="waiting for images", color="#e69f00", hatch="//", edgecolor="white")
    bars = axes.barh(names, computing, left=waiting, label="computing", color="#0072b2")
    axes.bar_label(bars, [f"{sum(pair):.1f}" for pair in stages.values()], padding=3)
    if floor is not None:
        bars = axes.barh(["floor"], [floor], label="bare arithmetic", color="#009e73")
        axes.bar_label(bars, [f"{floor:.1f}"], padding=3)
        axes.axvline(floor, linestyle="--", linewidth=1, color="#009e73")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    write_plainly(*axes.get_yticklabels())
    return figure


def show_heat_map(values, rows, columns, ylabel, xlabel, label):
    """Draw accuracies, shape (rows, columns), as coloured cells with their numbers; a NaN stays an empty cell.

    ``rows`` and ``columns`` name the cells. The colours stand for 0 to 1, so that pictures can be compared.
    """
    values = np.asarray(values, dtype=float)
    figure = Picture(figsize=(2.6 + 0.75 * len(columns), 1.2 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            axes.text(column, row, f"{value:.3f}", ha="center", va="center", color="white" if value < 0.5 else "black")
    axes.set_xticks(range(len(columns)), columns, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    bar = figure.colorbar(image, label=label)
    write_plainly(axes.xaxis.label, axes.yaxis.label, bar.ax.yaxis.label)
    return figure


_LINE_STYLES = tuple(
    {"color": color, "linestyle": linestyle}
    for color, linestyle in (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", ":"), ("#cc79a7", "-."))
)
