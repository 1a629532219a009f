"""Properties that hold for thousands of generated cases; the cases are the same in every run, and nothing is stored."""

import io
import math
import re
import xml.etree.ElementTree as ET
from collections import ChainMap

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import to_idx
from torch import nn
from torch.nn import functional as F

from lenet_helpers import data
from lenet_helpers.curves import CURVES, HEIGHT, WIDTH, describe, draw_svg, read_points
from lenet_helpers.explorers import prepare_image
from lenet_helpers.explorers.images import FORMATS
from lenet_helpers.explorers.walk import diagnose
from lenet_helpers.shapes import SquareLayer, output_size, walk_shapes

SVG = "{http://www.w3.org/2000/svg}"


def check(count):
    """Return the settings for so many cases."""
    unhurried = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=unhurried)


# --- Shape arithmetic against PyTorch ---------------------------------------------------------------------------------

SIZES = st.integers(1, 40)
RANGES = {"kernel": (1, 9), "padding": (0, 6), "stride": (1, 6), "dilation": (1, 4)}
WINDOWS = st.fixed_dictionaries({name: st.integers(low, high) for name, (low, high) in RANGES.items()})
#: Nearly half of them are windows that no layer can have: something is 0, or the padding negative.
ANY_WINDOWS = st.fixed_dictionaries({name: st.integers(low - 1, high) for name, (low, high) in RANGES.items()})
POOLS = st.sampled_from(["max pooling", "average pooling"])


def make_layer(kind, ins, outs, kernel, padding, stride, dilation, **options):
    """Return a layer of PyTorch with these settings."""
    if kind == "convolution":
        return nn.Conv2d(ins, outs, kernel, stride, padding, dilation, **options)
    if kind == "max pooling":
        return nn.MaxPool2d(kernel, stride, padding, dilation, **options)
    return nn.AvgPool2d(kernel, stride, padding, **options)


def size_by_torch(module, X):
    """Return the output shape that PyTorch finds (on "meta" without computing anything), or None where it refuses."""
    try:
        return tuple(module(X).shape)
    except (RuntimeError, IndexError):
        return None


@given(st.just("convolution") | POOLS, SIZES, ANY_WINDOWS, st.integers(1, 8), st.integers(1, 8))
@check(2500)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_has_pytorchs_shape_and_parameters_or_a_problem(kind, size, window, ins, outs):
    if kind == "average pooling":
        window["dilation"] = 1
    outs = outs if kind == "convolution" else ins
    try:
        layer = SquareLayer(kind, size, **window, in_channels=ins, out_channels=outs)
    except ValueError as error:  # on "meta" PyTorch would take some of them
        assert str(error).startswith("kernel, stride and dilation must be at least 1 and padding at least 0; they are ")
        assert size_by_torch(make_layer(kind, ins, outs, **window), torch.empty(1, ins, size, size)) is None
        return
    with torch.device("meta"):
        module = eval(layer.code, {"nn": nn})
    shape = size_by_torch(module, torch.empty(1, ins, size, size, device="meta"))
    assert layer.output_shape == shape
    assert bool(layer.problem) == (shape is None)
    assert layer.parameters == sum(p.numel() for p in module.parameters())
    if shape and kind == "convolution":
        (row,) = walk_shapes(nn.Sequential(module), (1, ins, size, size))
        assert (row.output_shape, row.multiply_adds) == (shape, layer.multiply_adds)


SLIPS = {
    "padding forgotten": {"padding": 0},
    "stride forgotten": {"stride": 1},
    "dilation forgotten": {"dilation": 1},
    "ceil_mode forgotten": {"ceil_mode": False},
}


@given(POOLS, SIZES, WINDOWS, st.booleans(), st.integers(1, 60))
@check(3000)
def test_a_pool_has_pytorchs_size_in_both_roundings_and_a_slip_is_told_only_where_it_gives_the_answer(
    kind, n, window, ceil_mode, answer
):
    window["padding"] = min(window["padding"], window["kernel"] // 2)
    if kind == "average pooling":
        window["dilation"] = 1
    X = torch.empty(1, 1, n, n, device="meta")
    layer = make_layer(kind, 1, 1, **window, ceil_mode=ceil_mode)
    right = size_by_torch(layer, X)
    expected = output_size(n, **window, ceil_mode=ceil_mode)
    assert right == ((1, 1, expected, expected) if expected >= 1 else None)
    if right is None:
        with pytest.raises(ValueError, match=r"^net\[0\] \((Max|Avg)Pool2d"):
            walk_shapes(nn.Sequential(layer), X.shape)
        return
    assert [row.output_shape for row in walk_shapes(nn.Sequential(layer), X.shape)] == [right]
    told = diagnose(layer, X.shape, right, (1, 1, answer, answer), 0)
    assert told.right == (answer == expected)
    slips = [change for name, change in SLIPS.items() if name in told.shape]
    if slips and not ("stride forgotten" in told.shape and answer == n):
        forgetful = make_layer(kind, 1, 1, **{**window, "ceil_mode": ceil_mode, **dict(ChainMap(*slips))})
        assert size_by_torch(forgetful, X) == (1, 1, answer, answer)
    assert not ceil_mode or ("Round down" not in told.shape and "floor" not in told.shape)


class NoReturn(nn.Module):
    def forward(self, X):
        X.flatten()


CHAINS = st.lists(
    st.tuples(st.just("convolution"), WINDOWS, st.just({}))
    | st.tuples(POOLS, ANY_WINDOWS, st.fixed_dictionaries({"ceil_mode": st.booleans()}))
    | st.sampled_from([nn.Sigmoid(), nn.Flatten(), nn.Flatten(2), NoReturn(), "fitting Linear", "other Linear"]),
    min_size=1,
    max_size=6,
)


def make_next(part, channels, features):
    """Return a layer for an input with so many channels and features."""
    if isinstance(part, nn.Module):
        return part
    if isinstance(part, str):
        return nn.Linear(features + (part == "other Linear"), 5, device="meta")
    kind, window, options = part
    if kind == "convolution":
        options = {"device": "meta"}
    return make_layer(kind, channels, channels + 1, **window, **options)


@given(CHAINS, st.integers(1, 32), st.integers(1, 3), st.lists(st.integers(0, 32), max_size=5))
@check(1500)
def test_a_walk_gives_pytorchs_shapes_or_names_the_layer_that_has_none(chain, size, channels, answer):
    layers, shapes, misfit = [], [(1, channels, size, size)], None
    for index, part in enumerate(chain):
        layers.append(make_next(part, shapes[-1][1], shapes[-1][-1]))
        shape = None
        if not isinstance(part, NoReturn):
            shape = size_by_torch(layers[-1], torch.empty(shapes[-1], device="meta"))
        if shape is None:
            misfit = index
            break
        shapes.append(shape)
    net = nn.Sequential(*layers)
    if misfit is not None:
        with pytest.raises(ValueError, match=re.escape(f"net[{misfit}] ({net[misfit]}) ")):
            walk_shapes(net, shapes[0])
        return
    rows = walk_shapes(net, shapes[0])
    assert [row.output_shape for row in rows] == shapes[1:]
    for layer, row, given_shape in zip(layers, rows, shapes, strict=False):
        assert diagnose(layer, given_shape, row.output_shape, row.output_shape, row.parameters).right
        told = diagnose(layer, given_shape, row.output_shape, tuple(answer), row.parameters)
        assert told.right == (tuple(answer) == row.output_shape)


@given(st.integers(1, 16), WINDOWS)
@check(300)
def test_the_pixels_that_a_layer_reads_are_those_that_change_its_output(size, window):
    layer = SquareLayer("convolution", size, **window)
    if layer.problem:
        assert layer.unreached is None
        return
    X = torch.ones(1, 1, size, size, requires_grad=True)
    weight = torch.ones(1, 1, window.pop("kernel"), layer.kernel)
    F.conv2d(X, weight, **window).sum().backward()
    assert layer.unreached == (X.grad == 0).sum()


# --- The curves -------------------------------------------------------------------------------------------------------

NUMBERS = st.floats() | st.none() | st.integers(-(2**53), 2**53)
ROWS = st.fixed_dictionaries({"epoch": st.floats(), **{key: NUMBERS for key, *_ in CURVES}})
HISTORIES = st.lists(ROWS, max_size=8)
EPOCHS = st.integers(1, 100)


def make_row(epoch, value):
    return {"epoch": epoch, **{key: value for key, *_ in CURVES}}


@given(HISTORIES, EPOCHS, st.lists(HISTORIES, max_size=2))
@example([make_row(1.0, 1.7e308)], 1, [])
@example([make_row(math.inf, 0.5)], 1, [])
@example([make_row(math.nan, math.nan)], 1, [[make_row(-math.inf, 5e-324)]])
@check(300)
def test_the_curves_are_well_formed_and_drawn_inside_their_picture(history, num_epochs, past):
    svg = ET.fromstring(draw_svg(history, num_epochs, past))
    assert len(svg.findall(f"{SVG}polyline")) == 3 * (1 + len(past))
    has_negative = any(n is not None and n < 0 for rows in [history, *past] for row in rows for n in row.values())
    for line in svg.findall(f"{SVG}polyline"):
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert math.isfinite(x) and math.isfinite(y)
            if not has_negative:
                assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT
    for label in svg.findall(f"{SVG}text"):
        assert not {"nan", "inf"} & set(label.text.strip("-").split())
    assert not {"nan", "inf"} & set(describe(history).replace(",", "").split())


@given(HISTORIES)
@check(300)
def test_what_is_drawn_is_finite_and_in_the_histories_order(history):
    for key, *_ in CURVES:
        points = read_points(history, key)
        assert all(math.isfinite(number) for point in points for number in point)
        rows = iter(history)
        assert all(any(row["epoch"] == epoch and row[key] == value for row in rows) for epoch, value in points)


# --- idx files --------------------------------------------------------------------------------------------------------

HEADERS = st.builds(
    lambda start, sizes: start + b"".join(size.to_bytes(4, "big") for size in sizes),
    st.sampled_from([b"\x00\x00\x08" + bytes([rank]) for rank in range(6)]),
    st.lists(st.sampled_from([0, 1, 2, 3, 28, 2**16, 2**31, 2**32 - 1]), max_size=5),
)


@given(st.binary(max_size=64) | st.builds(bytes.__add__, HEADERS, st.binary(max_size=64)))
@check(2000)
def test_any_bytes_are_an_idx_file_or_a_value_error(tmp_path, content):
    """The one error of ``read_idx`` is ValueError; it names the file and says to get it again."""
    path = tmp_path / "file"
    path.write_bytes(content)
    try:
        tensor = data.read_idx(path)
    except ValueError as error:
        assert str(path) in str(error) and "again" in str(error)
    else:
        assert to_idx(tensor.numpy()) == content


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 255), st.data())
@check(300)
def test_an_idx_file_is_read_back_and_refused_when_a_byte_is_lost_or_added(tmp_path, shape, value, draw):
    array = np.full(shape, value, dtype=np.uint8)
    content = to_idx(array)
    (tmp_path / "file").write_bytes(content)
    assert torch.equal(data.read_idx(tmp_path / "file"), torch.from_numpy(array))
    place = draw.draw(st.integers(0, len(content) - 1))
    for broken in (content[:place], content + content[place:]):
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises(ValueError, match="again"):
            data.read_idx(tmp_path / "broken")


# --- Picture files ----------------------------------------------------------------------------------------------------


def encode(kind):
    """Return the bytes of a small picture file."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


PICTURES = {kind: encode(kind) for kind in FORMATS}
FLIPS = st.lists(st.tuples(st.integers(0, 63) | st.integers(0, 4000), st.integers(1, 255)), max_size=4)


@pytest.mark.fault("panel and explorers", "an upload that is no image")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", FORMATS)
@given(flips=FLIPS, end=st.none() | st.integers(0, 4000), is_path=st.booleans())
@check(300)
def test_a_damaged_picture_is_read_or_refused_with_what_to_do(tmp_path, kind, flips, end, is_path):
    """The first bytes, which say what is in the file, are damaged most often."""
    content = bytearray(PICTURES[kind])
    for place, change in flips:
        content[place % len(content)] ^= change
    path = tmp_path / "picture"
    path.write_bytes(content[:end])
    try:
        X, _ = prepare_image(path if is_path else path.read_bytes())
    except ValueError as error:
        assert re.search("^this (is no )?picture .*; (take |.*make it smaller)", str(error), re.DOTALL)
    else:
        assert X.shape == (28, 28) and 0 <= X.min() <= X.max() <= 1
