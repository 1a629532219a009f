"""The learning curves as SVG, as PNG, and live: as text, without a browser."""

import base64
import itertools
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from lenet_helpers import curves
from lenet_helpers.curves import CURVES, LiveCurves, describe, draw_figure, draw_png, draw_svg, in_notebook, read_points

SVG = "{http://www.w3.org/2000/svg}"
PNG_START = b"\x89PNG\r\n\x1a\n"


def make_row(epoch, loss, train_acc, test_acc=None):
    return {"epoch": epoch, "loss": loss, "train_acc": train_acc, "test_acc": test_acc}


NORMAL = [make_row(0.5, 2.0, 0.25), make_row(1, 1.5, 0.5), make_row(1, 1.5, 0.5, 0.4375), make_row(1.5, 0.75, 0.625)]
HISTORIES = {
    "normal": NORMAL,
    "empty": [],
    "one row": NORMAL[:1],
    "no training numbers": [make_row(1, None, None, 0.5)],
    "not finite": [make_row(0.5, math.nan, 0.1), make_row(1, math.inf, math.nan, -math.inf), make_row(2, 2.3, 0.1)],
    "diverging": [make_row(1, 1e30, 0.1), make_row(2, 1e300, 0.1)],
    "beyond the last epoch": [make_row(12, 0.5, 0.8, 0.8)],
}


def parse(history, num_epochs=2, past=()):
    return ET.fromstring(draw_svg(history, num_epochs, past))


def read_line(line):
    """Return the points of a polyline as pairs of numbers."""
    return [tuple(map(float, point.split(","))) for point in line.get("points").split()]


# --- SVG --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("past", [[], [NORMAL], [HISTORIES["not finite"], [], NORMAL]], ids=["", "1 past", "3 past"])
@pytest.mark.parametrize("name", HISTORIES)
def test_the_svg_is_well_formed_and_inside_its_frame(name, past):
    text = draw_svg(HISTORIES[name], 2, past)
    assert not {"nan", "inf", "None"} & set(text.replace('"', " ").replace(",", " ").replace(">", " ").split())
    svg = ET.fromstring(text)
    width, height = map(float, svg.get("viewBox").split()[2:])
    lines = svg.findall(f"{SVG}polyline")
    assert len(lines) == 3 * (1 + len(past))
    assert all(0 <= x <= width and 0 <= y <= height for line in lines for x, y in read_line(line))
    labels = [label.text for label in svg.findall(f"{SVG}text[@text-anchor='end']")]
    assert 3 <= len(labels) <= 7 and max(map(len, labels)) <= 6, "they fit beside the axis"


def test_each_curve_has_a_name_its_last_value_and_a_place_in_the_legend():
    svg = parse(NORMAL)
    lines = svg.findall(f"{SVG}polyline")
    assert [line.get("data-name") for line in lines] == ["train loss", "train acc", "test acc"]
    assert [float(line.get("data-last")) for line in lines] == [0.75, 0.625, 0.4375]
    texts = [label.text for label in svg.findall(f"{SVG}text")]
    assert {"train loss", "train acc", "test acc", "epoch"} <= set(texts)
    assert [line.get("data-last") for line in parse([]).findall(f"{SVG}polyline")] == ["", "", ""]


def test_points_lie_where_their_numbers_say():
    """The axes run from 0 to the last epoch, and from 0 to a round number not below the largest value."""
    loss, train_acc, test_acc = map(read_line, parse(NORMAL).findall(f"{SVG}polyline"))
    (x1, y1), (x2, y2), _, (x4, y4) = loss
    assert x2 - x1 == pytest.approx(x4 - x2, abs=0.11), "half an epoch each"
    assert (y4 - y1) / (y2 - y1) == pytest.approx((2 - 0.75) / (2 - 1.5), rel=0.01)
    assert len(train_acc) == 4 and len(test_acc) == 1
    assert test_acc[0][0] == x2
    assert test_acc[0][1] > train_acc[1][1], "a smaller number lies further down"


def test_numbers_that_are_not_finite_are_left_out():
    assert read_points(HISTORIES["not finite"], "loss") == [(2, 2.3)]
    assert [len(read_line(line)) for line in parse(HISTORIES["not finite"]).findall(f"{SVG}polyline")] == [1, 2, 0]


def test_past_runs_are_pale_and_behind():
    lines = parse(NORMAL, past=[NORMAL[:2]]).findall(f"{SVG}polyline")
    assert [line.get("class") for line in lines] == ["past"] * 3 + [None] * 3
    assert all(float(line.get("stroke-opacity")) < 0.5 for line in lines[:3])
    assert [len(read_line(line)) for line in lines] == [2, 2, 0, 4, 4, 1]


def test_a_past_run_with_larger_numbers_sets_the_scale():
    pictures = [parse(NORMAL), parse(NORMAL, past=[[make_row(4, 8, 0.1)]])]
    alone, beside = (read_line(svg.find(f"{SVG}polyline[@data-name='train loss']"))[0] for svg in pictures)
    assert beside[0] < alone[0] and beside[1] > alone[1]


def test_the_picture_tells_its_numbers_to_a_screen_reader():
    svg = parse(NORMAL)
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == describe(NORMAL)
    assert describe(NORMAL) == "Learning curves after 1.5 epochs: train loss 0.750, train acc 0.625, test acc 0.438"
    assert describe([]) == "Learning curves, empty so far"
    assert "train loss" not in describe([make_row(1, math.nan, 0.5)])


def test_text_is_escaped(monkeypatch):
    attack = '"><script>alert("1")</script>&'
    monkeypatch.setattr(curves, "describe", lambda history: attack)
    svg = parse(NORMAL)
    assert svg.get("aria-label") == attack
    assert not [element for element in svg.iter() if "script" in element.tag]


def test_text_and_axes_take_the_colour_of_the_page():
    """So that a dark theme shows them: no colour of their own, nothing painted behind."""
    svg = parse(NORMAL, past=[NORMAL])
    assert svg.get("fill") == "currentColor"
    colours = {colour for _, _, colour, _ in CURVES}
    for element in svg.iter():
        if element is svg:
            continue
        assert element.tag != f"{SVG}rect"
        assert element.get("fill") in {None, "none", *colours}
        assert element.get("stroke") in {None, "currentColor", *colours}


def luminance(colour):
    """Return the relative luminance of ``#rrggbb`` as WCAG 2.1 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_the_curves_stand_out_on_a_light_and_on_a_dark_page(background):
    """WCAG 2.1 asks graphics for a contrast of 3."""
    for _, name, colour, _ in CURVES:
        dark, light = sorted((luminance(colour), luminance(background)))
        assert (light + 0.05) / (dark + 0.05) >= 3, name


def test_the_curves_differ_in_more_than_colour():
    lines = parse(NORMAL).findall(f"{SVG}polyline")
    assert len({line.get("stroke-dasharray") for line in lines}) == 3
    assert len({line.get("stroke") for line in lines}) == 3


# --- PNG --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HISTORIES)
def test_the_png_is_the_same_for_the_same_numbers(name):
    png = draw_png(HISTORIES[name], 2, [NORMAL])
    assert png.startswith(PNG_START)
    assert draw_png(HISTORIES[name], 2, [NORMAL]) == png
    assert draw_png([*HISTORIES[name], make_row(2, 0.1, 0.9, 0.9)], 2, [NORMAL]) != png


def test_the_figure_holds_the_numbers():
    open_figures = plt.get_fignums()
    (axes,) = draw_figure(NORMAL, 2, past=[NORMAL[:2]]).axes
    assert plt.get_fignums() == open_figures
    past, now = axes.lines[:3], axes.lines[3:]
    assert [line.get_label() for line in now] == ["train loss", "train acc", "test acc"]
    assert [line.get_alpha() for line in past] == [0.3] * 3
    for line, (key, *_) in zip(now, CURVES, strict=True):
        assert list(zip(*line.get_data(), strict=True)) == read_points(NORMAL, key)
    assert axes.get_xlabel() == "epoch"
    assert axes.get_xlim() == (0, 2)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train loss", "train acc", "test acc"]


# --- Live -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=500.0)
    monkeypatch.setattr(curves, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would show in the running cell, as MIME bundles in their order."""
    shown = []
    handle = SimpleNamespace(update=lambda bundle, raw: shown.append(bundle))
    monkeypatch.setattr(curves, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw, display_id: shown.append(bundle) or handle)
    return shown


def test_the_curves_are_drawn_at_most_ten_times_a_second(clock, shown):
    live = LiveCurves(2)
    for _ in range(100):
        live.update(NORMAL)
        clock.now += 1 / 64
    assert [list(bundle) for bundle in shown[:2]] == [["text/plain"], ["text/html"]]
    assert 10 <= len(shown) - 1 <= 100 / 64 * 10 + 1
    clock.now += 1
    live.update(NORMAL[:1])
    assert shown[-1] == {"text/html": draw_svg(NORMAL[:1], 2)}


def test_a_picture_stays(clock, shown):
    live = LiveCurves(2)
    live.update(NORMAL)
    live.finish(NORMAL)
    assert base64.b64decode(shown[-1]["image/png"]) == draw_png(NORMAL, 2)
    assert shown[-1]["text/plain"] == describe(NORMAL)
    assert len(shown) == 3, "drawn at once, however short ago the last drawing was"


def test_the_time_of_drawing_is_counted(shown, monkeypatch):
    """Each look at the clock is a second later than the one before."""
    ticks = itertools.count()
    monkeypatch.setattr(curves, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    live = LiveCurves(2)
    for _ in range(3):
        live.update(NORMAL)
    live.finish(NORMAL)
    assert live.seconds == 4


def test_outside_a_notebook_nothing_is_shown():
    code = (
        "from lenet_helpers.curves import LiveCurves; import IPython.display as d\n"
        "d.display = d.publish_display_data = lambda *a, **k: print('displayed')\n"
        f"live = LiveCurves(2); live.update({NORMAL}); live.finish({NORMAL})\n"
        "import matplotlib.pyplot as plt; assert not plt.get_fignums()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell, expected", [(None, False), ("terminal", False), ("kernel", True)])
def test_only_a_kernel_is_a_notebook(shell, expected, monkeypatch):
    shells = {None: None, "terminal": SimpleNamespace(), "kernel": SimpleNamespace(kernel=object())}
    monkeypatch.setattr("IPython.get_ipython", lambda: shells[shell])
    assert in_notebook() is expected
