"""The learning curves: training loss, training accuracy and test accuracy, growing while a net trains."""

import base64
import io
import time
from html import escape

from matplotlib.ticker import MaxNLocator

from lenet_helpers.figures import Picture
from lenet_helpers.language import _

# The name in a history row, the name in the legend, a colour-blind safe colour (Okabe and Ito, 2008), the dashes.
CURVES = (
    ("loss", "train loss", "#0072b2", ""),
    ("train_acc", "train acc", "#d55e00", "6,3"),
    ("test_acc", "test acc", "#009e73", "2,2"),
)
WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 40, 84, 10, 34


def read_points(history, key):
    """Return the ``(epoch, value)`` pairs of a history's finite values under ``key``."""
    return [(row["epoch"], row[key]) for row in history if can_draw(row["epoch"]) and can_draw(row[key])]


def can_draw(number):
    """Return whether a number is there, finite, and small enough for an axis to end beyond it."""
    return number is not None and abs(number) <= 1e300  # NaN fails this, too


def draw_svg(history, num_epochs, past=()):
    """Draw a history, and past ones pale behind it, as the text of an SVG; takes about a millisecond.

    ``history`` is a list of rows as ``train_ch6`` returns it. Each curve is a ``polyline`` with ``data-name`` and
    ``data-last``. Text and axes take the colour of the page, so the picture is legible in a dark theme too.
    """
    values = [value for rows in [*past, history] for curve in CURVES for epoch, value in read_points(rows, curve[0])]
    x_max = last_epoch([*past, history], num_epochs)
    x_ticks = MaxNLocator(6, integer=x_max >= 3).tick_values(0, x_max)
    y_ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, max([1.0, *values]))
    y_max = y_ticks[-1]

    def place(x, y):
        across, up = x / x_max * (WIDTH - LEFT - RIGHT), y / y_max * (HEIGHT - TOP - BOTTOM)
        return f"{LEFT + across:.1f},{HEIGHT - BOTTOM - up:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(describe(history))}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11" '
        f'fill="currentColor" style="max-width:100%">'
    ]
    for value in y_ticks:
        x, y = place(0, value).split(",")
        parts.append(
            f'<line x1="{x}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="currentColor" stroke-opacity="0.2"/>'
            f'<text x="{LEFT - 5}" y="{float(y) + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    for value in x_ticks[x_ticks <= x_max]:
        x, y = place(value, 0).split(",")
        parts.append(f'<text x="{x}" y="{float(y) + 15:.1f}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">epoch</text>')
    for rows in past:
        for key, _name, colour, dashes in CURVES:
            line = " ".join(place(*point) for point in read_points(rows, key))
            parts.append(f'<polyline class="past" points="{line}" {_stroke(colour, dashes)} stroke-opacity="0.3"/>')
    for index, (key, name, colour, dashes) in enumerate(CURVES):
        points = read_points(history, key)
        last = points[-1][1] if points else ""
        line = " ".join(place(*point) for point in points)
        y = TOP + 12 + 30 * index
        if points:  # a dot at its end, so that a curve of a single point is seen, too
            end_x, end_y = place(*points[-1]).split(",")
            parts.append(f'<circle cx="{end_x}" cy="{end_y}" r="3" fill="{colour}"/>')
        parts.append(
            f'<polyline data-name="{name}" data-last="{last}" points="{line}" {_stroke(colour, dashes)} '
            f'stroke-width="2"/>'
            f'<line x1="{WIDTH - RIGHT + 6}" x2="{WIDTH - RIGHT + 28}" y1="{y}" y2="{y}" {_stroke(colour, dashes)} '
            f'stroke-width="2"/><text x="{WIDTH - RIGHT + 6}" y="{y + 13}">{name}</text>'
        )
    return "".join(parts) + "</svg>"


def _stroke(colour, dashes):
    return f'fill="none" stroke="{colour}" stroke-dasharray="{dashes or "none"}"'


def last_epoch(histories, num_epochs):
    """Return where the epoch axis ends: at ``num_epochs``, or further if a history goes on."""
    return max([num_epochs, *(row["epoch"] for rows in histories for row in rows if can_draw(row["epoch"]))])


def describe(history):
    """Return the latest numbers of a history as one sentence."""
    latest = [(name, read_points(history, key)) for key, name, _colour, _dashes in CURVES]
    told = ", ".join(f"{name} {points[-1][1]:.3f}" for name, points in latest if points)
    if not told:
        return _("Learning curves, empty so far")
    epoch = max(points[-1][0] for name, points in latest if points)
    return _("Learning curves after {epoch} epochs: {told}").format(epoch=f"{epoch:.1f}", told=told)


def draw_figure(history, num_epochs, past=()):
    """Draw the same picture as ``draw_svg`` as a Figure that shows itself, for a reader without a kernel."""
    figure = Picture(figsize=(5, 3), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", xlim=(0, last_epoch([*past, history], num_epochs)))
    for rows in past:
        for key, _name, colour, dashes in CURVES:
            axes.plot(*_columns(read_points(rows, key)), color=colour, linestyle=_linestyle(dashes), alpha=0.3)
    for key, name, colour, dashes in CURVES:
        points = read_points(history, key)
        style = {"color": colour, "linestyle": _linestyle(dashes), "marker": "o", "markersize": 4, "clip_on": False}
        axes.plot(*_columns(points), **style, markevery=slice(len(points) - 1, None), label=name)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")
    return figure


def _columns(points):
    return ([x for x, _ in points], [y for _, y in points])


def _linestyle(dashes):
    return (0, tuple(map(float, dashes.split(",")))) if dashes else "-"


def draw_png(history, num_epochs, past=()):
    """Return the bytes of ``draw_figure``'s picture as a PNG, the same for the same numbers."""
    buffer = io.BytesIO()
    draw_figure(history, num_epochs, past).savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


class LiveCurves:
    """Show the curves in the running cell: redraw them at most ten times a second, end with a picture that stays.

    Outside a notebook it does nothing. ``seconds`` is the time that drawing took so far.
    """

    def __init__(self, num_epochs):
        self.num_epochs = num_epochs
        self.seconds = 0.0
        self._display = None
        self._next = 0.0
        if in_notebook():
            from IPython.display import display

            self._display = display({"text/plain": describe([])}, raw=True, display_id=True)

    def update(self, history):
        """Redraw, unless that was done less than a tenth of a second ago."""
        start = time.perf_counter()
        if self._display and start >= self._next:
            self._display.update({"text/html": draw_svg(history, self.num_epochs)}, raw=True)
            self._next = start + 0.1
        self.seconds += time.perf_counter() - start

    def finish(self, history):
        """Replace the drawing by a PNG, which the notebook stores and every reader can show."""
        start = time.perf_counter()
        if self._display:
            png = base64.b64encode(draw_png(history, self.num_epochs)).decode()
            self._display.update({"image/png": png, "text/plain": describe(history)}, raw=True)
        self.seconds += time.perf_counter() - start


def in_notebook():
    """Return whether a Jupyter kernel runs this code."""
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
