"""The shape lab without a browser."""

import pytest
import torch
from torch import nn

from lenet_helpers.explorers import explore_shapes
from lenet_helpers.explorers.shape_lab import shrink, slide
from lenet_helpers.shapes import KINDS


@pytest.fixture
def image():
    return torch.rand(28, 28, generator=torch.Generator().manual_seed(1))


def test_starts_at_the_first_convolution_of_lenet(image):
    layer = explore_shapes(image).layer
    assert layer.code == "nn.Conv2d(1, 6, kernel_size=5, stride=1, padding=2, dilation=1)"
    assert (layer.output_shape, layer.parameters, layer.multiply_adds) == ((1, 6, 28, 28), 156, 117_600)


def test_settings_reach_the_layer(image):
    lab = explore_shapes(image)
    lab.size, lab.padding, lab.in_channels, lab.out_channels = 14, 0, 6, 16
    assert (lab.layer.output_shape, lab.layer.parameters) == ((1, 16, 10, 10), 2416)
    lab.dilation, lab.kind = 3, "average pooling"
    assert lab.layer.code == "nn.AvgPool2d(kernel_size=5, stride=1, padding=0)"
    assert lab.layer.output_shape == (1, 6, 10, 10)
    lab.kind = "max pooling"
    assert lab.layer.dilation == 3 and lab.dilation == 3


def test_window_stays_inside_the_output(image):
    lab = explore_shapes(image)
    lab.row = lab.col = 27
    lab.stride = 3
    assert (lab.row, lab.col) == (9, 9)
    lab.set_state({"size": 5, "padding": 0, "kernel": 11})  # impossible
    assert (lab.row, lab.col) == (0, 0)
    lab.set_state({"kernel": 1, "stride": 1, "row": 4, "col": 3})
    assert (lab.row, lab.col) == (4, 3)


def test_impossible_settings_are_told_in_words(image):
    lab = explore_shapes(image)
    lab.size, lab.kernel, lab.padding = 5, 11, 2
    assert "spans 11 pixels" in lab.summary() and "only 9 wide" in lab.summary()
    assert lab._repr_mimebundle_()[0]["image/png"]
    lab.size, lab.kernel, lab.kind = 28, 3, "max pooling"
    assert "at most half the kernel, here 1" in lab.summary()


@pytest.mark.parametrize("side", [5, 13, 27, 28])
def test_shrunk_image_has_real_pixels(image, side):
    small = shrink(image, side)
    assert small.shape == (side, side)
    assert torch.isin(small, image).all()
    if side == 28:
        assert torch.equal(small, image)


@pytest.mark.parametrize("kind", KINDS)
def test_slide_agrees_with_the_module(image, kind):
    lab = explore_shapes(image)
    lab.kind, lab.kernel, lab.padding, lab.stride, lab.out_channels = kind, 4, 2, 3, 1
    module = eval(lab.layer.code, {"nn": nn})
    for name, p in module.named_parameters():
        nn.init.constant_(p, 1 / 16 if name == "weight" else 0)
    torch.testing.assert_close(slide(image, lab.layer), module(image[None, None])[0, 0])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", 29, "size must be between 5 and 28, got 29"),
        ("stride", 0, "stride must be between 1 and 5, got 0"),
        ("row", 28, "row must be between 0 and 27 for this output"),
    ],
)
def test_values_outside_the_sliders_are_refused(image, name, value, message):
    lab = explore_shapes(image)
    with pytest.raises(ValueError, match=message):
        setattr(lab, name, value)


def test_bad_image_is_refused():
    with pytest.raises(ValueError, match=r"shape \(28, 28\), got \(32, 32\)"):
        explore_shapes(torch.zeros(32, 32))


def test_cell_stores_a_picture_and_a_fixed_text(image):
    labs = [explore_shapes(image) for _ in range(2)]
    for lab in labs:
        lab.stride, lab.kernel, lab.padding = 4, 3, 0
    first, second = (lab._repr_mimebundle_()[0] for lab in labs)
    assert first["image/png"] == second["image/png"]
    assert "not reached: 343 of 784 pixels" in first["text/plain"]
