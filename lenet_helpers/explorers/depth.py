"""How activations and gradients change from layer to layer, for a choice of activation, init and depth."""

import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure

from lenet_helpers.explorers.base import Explorer, read_script, read_style
from lenet_helpers.language import _, speaking
from lenet_helpers.signals import ACTIVATIONS, INITS, make_dense_net, measure_signals, tell_ratio

MAX_DEPTH = 10
BINS = 41
INK, BEFORE = "#0072b2", "#8c8c8c"


class SignalLab(Explorer):
    """An untrained net of dense layers, and what a mini-batch does in it; all settings can be set from a cell.

    ``layers`` has a dict for each layer, the scores last: its name, the histogram of its activations (``counts``, in
    BINS bins over ``reach``), their mean and standard deviation, the spread between images and the RMS of its weights'
    gradient. ``before`` holds the same for the settings before.
    """

    _esm = read_script("depth.js")
    _css = read_style("depth.css")
    activation = traitlets.Enum(list(ACTIVATIONS), "sigmoid").tag(sync=True)
    init = traitlets.Enum(list(INITS), "Xavier").tag(sync=True)
    depth = traitlets.Int(4).tag(sync=True)
    choices = traitlets.Dict({"activation": list(ACTIVATIONS), "init": list(INITS)}).tag(sync=True)
    max_depth = traitlets.Int(MAX_DEPTH).tag(sync=True)
    reach = traitlets.List([0.0, 1.0]).tag(sync=True)
    layers = traitlets.List().tag(sync=True)
    before = traitlets.List().tag(sync=True)
    told = traitlets.Unicode().tag(sync=True)

    def __init__(self, images, labels, seed=0):
        images, labels = torch.as_tensor(images), torch.as_tensor(labels)
        if images.dim() not in (3, 4) or images.shape[-2:] != (28, 28) or len(images) < 2:
            raise ValueError(
                f"images must be at least two pictures, shape (N, 1, 28, 28), and have shape {tuple(images.shape)}; "
                "give a mini-batch, for example X of `X, y = next(iter(train_iter))`"
            )
        if labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels must be one class number for each of the {len(images)} images, "
                f"and have shape {tuple(labels.shape)}; give the y that belongs to X"
            )
        self._images, self._labels, self._seed = images.detach().cpu().float(), labels.cpu().long(), seed
        super().__init__()
        self._measure()

    @traitlets.validate("depth")
    def _within_limits(self, proposal):
        depth = proposal["value"]
        if not 1 <= depth <= MAX_DEPTH:
            raise ValueError(f"depth, the number of hidden layers, must be between 1 and {MAX_DEPTH}; it is {depth}")
        return depth

    @traitlets.observe("activation", "init", "depth")
    def _measure(self, change=None):
        """Build the net of the present settings, always from the same random numbers, and measure it."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._seed)
            net = make_dense_net(self.activation, self.init, self.depth)
        signals = measure_signals(net, self._images, self._labels)
        low, high = find_reach([signal.activations.numpy() for signal in signals])
        names = [f"hidden {number}" for number in range(1, self.depth + 1)] + ["scores"]
        rows = []
        for name, signal in zip(names, signals, strict=True):
            values = signal.activations.numpy()
            rows.append(
                {
                    "name": name,
                    "counts": np.histogram(values, BINS, (low, high))[0].tolist(),
                    "mean": float(values.mean()),
                    "std": float(values.std()),
                    "spread": signal.spread,
                    "gradient": signal.gradient_rms,
                }
            )
        with self.hold_sync():
            self.before = self.layers if change else []
            self.reach, self.layers = [low, high], rows
            self.told = self._tell_ratio()

    def _tell_ratio(self):
        return tell_ratio(self.layers[0]["gradient"], self.layers[-1]["gradient"])

    def _tell_settings(self):
        text = _("{activation}, {init}, {depth} hidden layers")
        return text.format(activation=self.activation, init=self.init, depth=self.depth)

    def figure(self):
        figure = Figure(figsize=(max(6, 0.8 * len(self.layers)), 6.2), layout="constrained")
        with speaking("en"):
            figure.suptitle(f"{self._tell_settings()}\n{self._tell_ratio()}", fontsize=10)
        shapes, spreads, gradients = figure.subplots(3, 1, sharex=True)
        places = range(len(self.layers))
        edges = np.linspace(*self.reach, BINS + 1)
        for place, row in zip(places, self.layers, strict=True):
            widths = 0.9 * np.array(row["counts"]) / max(row["counts"])
            shapes.barh((edges[:-1] + edges[1:]) / 2, widths, edges[1] - edges[0], place - widths / 2, color=INK)
        shapes.set_ylabel("activations")
        for axes, key, label in (
            (spreads, "spread", "spread\nbetween images"),
            (gradients, "gradient", "gradient RMS\nof the weights"),
        ):
            axes.plot([row[key] for row in self.before], "o--", color=BEFORE, label="the settings before")
            axes.plot([row[key] for row in self.layers], "o-", color=INK, label="now")
            axes.set_yscale("log")
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
        if self.before:
            spreads.legend(fontsize=8)
        gradients.set_xticks(places, [row["name"] for row in self.layers], fontsize=9)
        return figure

    def tell(self):
        return _("{settings}. {ratio}").format(settings=self._tell_settings(), ratio=self._tell_ratio())


def find_reach(arrays):
    """Return the limits that hold all but the 0.2 % outermost numbers at either end, and 0."""
    ends = [np.quantile(values, (0.002, 0.998)) for values in arrays]
    low, high = min(0.0, *(end[0] for end in ends)), max(0.0, *(end[1] for end in ends))
    return float(low), float(high) if high > low else float(low + 1)


def explore_signals(images, labels, seed=0):
    """Return a widget that shows activations and gradients per layer of an untrained net for a mini-batch.

    ``images`` has shape (N, 1, 28, 28), ``labels`` (N,). Set ``activation``, ``init`` and ``depth`` in the page or
    from a cell; ``layers`` has the numbers. Raises ValueError for other shapes.
    """
    return SignalLab(images, labels, seed)
