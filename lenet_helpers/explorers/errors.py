"""Browse what the net gets wrong: the confusion matrix, and behind each of its cells the images."""

import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure

from lenet_helpers.explorers.base import Explorer
from lenet_helpers.explorers.images import SIZE
from lenet_helpers.explorers.net import check_classes, copy_net, find_nan, join_scripts, join_styles, synced_bytes
from lenet_helpers.language import _, speaking
from lenet_helpers.shapes import run_layer


def score_images(net, data_iter):
    """Return ``(images, labels, probabilities)`` of a whole data set as NumPy arrays, in its order.

    ``images`` is uint8 of shape (N, 28, 28), ``probabilities`` the softmax of the net's output. Raises ValueError if
    there is no batch, the images have another size, or the net does not give one row of scores for each.
    """
    images, labels, probabilities = [], [], []
    with torch.no_grad():
        for X, y in data_iter:
            if X.shape[1:] != (1, SIZE, SIZE):
                raise ValueError(f"a batch of images must have the shape (N, 1, 28, 28), not {tuple(X.shape)}")
            scores = run_layer("net", net, X.cpu().float())
            if scores.dim() != 2:
                raise ValueError(f"the net must give scores of shape (N, classes), not {tuple(scores.shape)}")
            probabilities.append(scores.softmax(1))
            images.append((X.cpu()[:, 0] * 255).round().to(torch.uint8))
            labels.append(y.cpu())
    if not labels:
        raise ValueError("data_iter is empty: there is no image to classify; give it at least one batch")
    return tuple(torch.cat(part).numpy() for part in (images, labels, probabilities))


def count_confusions(labels, predictions, units):
    """Return the (units, units) matrix of counts: one row per true class, one column per predicted class.

    Raises ValueError for labels that are none of the net's classes.
    """
    low, high = np.min(labels), np.max(labels)
    if not 0 <= low <= high < units:
        raise ValueError(
            f"the net has {units} outputs but the labels go from {low} to {high}; give its last layer one per class"
        )
    return np.bincount(np.asarray(labels) * units + predictions, minlength=units * units).reshape(units, units)


class ErrorBrowser(Explorer):
    """The confusion matrix of ``explore_errors``; ``actual`` and ``predicted`` are the classes of the opened cell.

    ``counts`` has one row per true class, its trace over its total is ``accuracy``. ``message`` says why there is none.
    """

    _esm = join_scripts("confusions.js", "errors.js")
    _css = join_styles("confusions.css", "errors.css")

    classes = traitlets.List().tag(sync=True)
    counts = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    starts = traitlets.List().tag(sync=True)
    numbers = traitlets.List().tag(sync=True)
    pictures = synced_bytes()
    confidences = synced_bytes()
    actual = traitlets.Int(-1).tag(sync=True)
    predicted = traitlets.Int(-1).tag(sync=True)

    def __init__(self, net, data_iter, classes=None, limit=100):
        self._net = net = copy_net(net)
        message = find_nan(net)
        if message:
            super().__init__(message=message)
            return
        images, labels, probabilities = score_images(net, data_iter)
        units = probabilities.shape[1]
        predictions, confidences = probabilities.argmax(1), probabilities.max(1)
        cells = labels * units + predictions
        order = np.lexsort((-confidences, cells))  # by cell, the most confident first
        counts = count_confusions(labels, predictions, units)
        ends = counts.cumsum()
        kept = [order[end - count : end][:limit] for end, count in zip(ends, counts.ravel(), strict=True)]
        chosen = np.concatenate(kept)
        self._images, self._units, self._order, self._ends = images, units, order, ends
        super().__init__(
            classes=check_classes(classes, units),
            counts=counts.tolist(),
            starts=np.cumsum([0, *map(len, kept)]).tolist(),
            numbers=chosen.tolist(),
            pictures=images[chosen].tobytes(),
            confidences=confidences[chosen].tobytes(),
        )
        errors = counts - np.diag(np.diag(counts))
        if errors.any():
            self.select(*map(int, np.unravel_index(errors.argmax(), errors.shape)))

    @property
    def accuracy(self):
        """The share of images on the diagonal; NaN for a net that cannot be shown."""
        counts = np.array(self.counts)
        return float("nan") if self.message else counts.trace() / counts.sum()

    def select(self, actual, predicted):
        """Open the cell of images of class ``actual`` that the net takes for ``predicted``; both are class numbers."""
        if not (0 <= actual < len(self.classes) and 0 <= predicted < len(self.classes)):
            raise ValueError(f"classes are numbered 0…{len(self.classes) - 1}; not ({actual}, {predicted})")
        with self.hold_sync():
            self.actual, self.predicted = actual, predicted

    def find(self, actual, predicted):
        """Return the positions in the data set of all images of a cell, the most confident first."""
        cell = actual * self._units + predicted
        return self._order[self._ends[cell] - self.counts[actual][predicted] : self._ends[cell]]

    def tell(self):
        text = _("{count} images; run this cell to browse the confusion matrix")
        return self.message or text.format(count=f"{np.sum(self.counts):,}")

    def figure(self):
        figure = Figure((10, 4.6), layout="constrained")
        if self.message:
            with speaking("en"):
                figure.text(0.02, 0.5, find_nan(self._net), wrap=True, parse_math=False)
            return figure
        left, right = figure.subfigures(1, 2)
        draw_confusions(left.subplots(), np.array(self.counts), self.classes)
        if self.actual >= 0:
            found = self.find(self.actual, self.predicted)[:25]
            title = f"{self.classes[self.actual]}, taken for {self.classes[self.predicted]}"
            right.suptitle(title, fontsize=9, parse_math=False)
            for ax, position in zip(right.subplots(5, 5).flat, [*found, *[None] * 25], strict=False):
                ax.set_axis_off()
                if position is not None:
                    ax.imshow(self._images[position], cmap="gray_r", vmin=0, vmax=255)
        return figure


def explore_errors(net, data_iter, classes=None):
    """Return a widget with the confusion matrix of ``net`` on ``data_iter``; a cell opens its images."""
    return ErrorBrowser(net, data_iter, classes)


def draw_confusions(axes, counts, classes):
    """Draw a confusion matrix on axes: blue for what is right, orange for what is wrong, by the share of the row."""
    share = counts / counts.sum(1, keepdims=True).clip(1)
    diagonal = np.eye(len(counts), dtype=bool)[..., None]
    full = np.where(diagonal, [0, 0.447, 0.698], [0.835, 0.369, 0])
    strength = np.where(diagonal[..., 0], share, np.sqrt(share))[..., None]
    axes.imshow(1 + (full - 1) * strength)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if row == column and share[row, column] > 0.85 else "black"
        axes.text(column, row, count, ha="center", va="center", fontsize=6, color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right", fontsize=7, parse_math=False)
    axes.set_yticks(range(len(classes)), classes, fontsize=7, parse_math=False)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
