"""Properties that hold for thousands of generated cases; the cases are the same in every run, and nothing is stored."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_data import to_idx
from torch import nn
from torch.nn import functional as F

from lenet_helpers import data
from lenet_helpers.curves import CURVES, HEIGHT, WIDTH, describe, draw_svg, read_points
from lenet_helpers.shapes import SquareLayer, output_size, walk_shapes

SVG = "{http://www.w3.org/2000/svg}"


def check(count):
    """Return the settings for so many cases."""
    unhurried = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=unhurried)


# --- Shape arithmetic against PyTorch ---------------------------------------------------------------------------------

SIZES = st.integers(1, 40)
WINDOWS = {
    "kernel": st.integers(1, 9),
    "padding": st.integers(0, 6),
    "stride": st.integers(1, 6),
    "dilation": st.integers(1, 4),
}


def size_by_torch(module, X):
    """Return the output shape that PyTorch finds without computing anything, or None where it refuses."""
    try:
        return tuple(module(X.to("meta")).shape)
    except RuntimeError:
        return None


@given(st.sampled_from(["convolution", "max pooling", "average pooling"]), SIZES, st.fixed_dictionaries(WINDOWS),
       st.integers(1, 8), st.integers(1, 8))  # fmt: skip
@check(2500)
def test_a_layer_has_pytorchs_shape_and_parameters_or_a_problem(kind, size, window, ins, outs):
    if kind == "average pooling":
        window["dilation"] = 1
    layer = SquareLayer(kind, size, **window, in_channels=ins, out_channels=outs if kind == "convolution" else ins)
    with torch.device("meta"):
        module = eval(layer.code, {"nn": nn})
    shape = size_by_torch(module, torch.empty(1, ins, size, size))
    assert layer.output_shape == shape
    assert bool(layer.problem) == (shape is None)
    assert layer.parameters == sum(p.numel() for p in module.parameters())
    if shape and kind == "convolution":
        (row,) = walk_shapes(nn.Sequential(module), (1, ins, size, size))
        assert (row.output_shape, row.multiply_adds) == (shape, layer.multiply_adds)


@given(SIZES, st.fixed_dictionaries(WINDOWS))
@check(1000)
def test_the_formula_is_pytorchs_floor_and_one_more_pixel_at_most_with_ceil_mode(n, window):
    """PyTorch's pooling can round up: then one more window may start, if it starts inside the picture or its padding.

    The rule is in the documentation of torch.nn.MaxPool2d, under ceil_mode.
    """
    kernel, stride, dilation = window["kernel"], window["stride"], window["dilation"]
    padding = min(window["padding"], kernel // 2)
    X = torch.empty(1, 1, n, n)
    floor_shape, ceil_shape = (
        size_by_torch(nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil), X) for ceil in (False, True)
    )
    expected = output_size(n, kernel, padding, stride, dilation)
    assert (expected >= 1) == (floor_shape is not None)
    if floor_shape:
        assert expected == floor_shape[2]
        has_rest = (n + 2 * padding - dilation * (kernel - 1) - 1) % stride > 0
        starts_inside = expected * stride < n + padding
        assert ceil_shape[2] == expected + (has_rest and starts_inside)


@given(st.lists(st.fixed_dictionaries(WINDOWS), min_size=1, max_size=4), st.integers(1, 32), st.integers(1, 3))
@check(300)
def test_a_walk_gives_pytorchs_shapes_or_names_the_layer_that_does_not_fit(windows, size, channels):
    convolutions = [
        nn.Conv2d(channels + i, channels + i + 1, w["kernel"], w["stride"], w["padding"], w["dilation"], device="meta")
        for i, w in enumerate(windows)
    ]
    X, expected, misfit = torch.empty(1, channels, size, size, device="meta"), [], None
    for index, layer in enumerate(convolutions):
        if size_by_torch(layer, X) is None:
            misfit = index
            break
        X = layer(X)
        expected.append(tuple(X.shape))
    net = nn.Sequential(*convolutions)
    if misfit is None:
        assert [row.output_shape for row in walk_shapes(net, (1, channels, size, size))] == expected
    else:
        with pytest.raises(ValueError, match=f"layer {misfit}, Conv2d"):
            walk_shapes(net, (1, channels, size, size))


@given(st.integers(1, 16), st.fixed_dictionaries(WINDOWS))
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
