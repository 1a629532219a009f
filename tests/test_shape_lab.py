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
    problem = (
        "Not possible: The window spans 11 pixels, but the padded input is only 9 wide. "
        "Lower the kernel, or raise the padding or the input size."
    )
    code = "nn.Conv2d(1, 6, kernel_size=11, stride=1, padding=2, dilation=1)"
    assert lab.summary() == f"ShapeLab: {code}, input 5×5. {problem}"
    figure = lab.figure()
    assert figure.get_supxlabel() == problem
    assert figure.axes[1].get_title() == "no output" and not figure.axes[1].images + figure.axes[1].patches
    lab.size, lab.kernel, lab.kind = 28, 3, "max pooling"
    assert "at most half the kernel, here 1" in lab.summary()


@pytest.mark.parametrize(
    ("side", "rows"),
    [(28, range(28)), (14, range(1, 28, 2)), (5, [2, 8, 14, 19, 25])],
)
def test_shrunk_image_has_the_nearest_pixels(image, side, rows):
    rows = list(rows)
    assert torch.equal(shrink(image, side), image[rows][:, rows])


@pytest.mark.parametrize("kind", KINDS)
def test_slide_agrees_with_the_module(image, kind):
    lab = explore_shapes(image)
    lab.kind, lab.kernel, lab.padding, lab.stride, lab.dilation, lab.out_channels = kind, 4, 2, 3, 2, 1
    module = eval(lab.layer.code, {"nn": nn})
    for name, p in module.named_parameters():
        nn.init.constant_(p, 1 / 16 if name == "weight" else 0)
    torch.testing.assert_close(slide(image, lab.layer), module(image[None, None])[0, 0])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("size", 5, 28),
        ("kernel", 1, 11),
        ("padding", 0, 5),
        ("stride", 1, 5),
        ("dilation", 1, 4),
        ("in_channels", 1, 32),
        ("out_channels", 1, 32),
        ("row", 0, 27),
        ("col", 0, 27),
    ],
)
def test_values_outside_the_sliders_are_refused(image, name, low, high):
    lab = explore_shapes(image)
    place = " for this output" if name in ("row", "col") else ""
    for wrong in (low - 1, high + 1):
        with pytest.raises(ValueError, match=f"^{name} must be between {low} and {high}{place}, got {wrong}$"):
            setattr(lab, name, wrong)
    for right in (low, high):
        setattr(lab, name, right)
        assert getattr(lab, name) == right


def test_bad_image_is_refused():
    with pytest.raises(ValueError, match=r"^image must have shape \(28, 28\), got \(32, 32\)$"):
        explore_shapes(torch.zeros(32, 32))


def test_cell_stores_a_picture_and_a_fixed_text(image):
    labs = [explore_shapes(image) for _ in range(2)]
    for lab in labs:
        lab.stride, lab.kernel, lab.padding = 4, 3, 0
    first, second = (lab._repr_mimebundle_()[0] for lab in labs)
    assert first["image/png"] == second["image/png"]
    assert first["text/plain"] == (
        "ShapeLab: nn.Conv2d(1, 6, kernel_size=3, stride=4, padding=0, dilation=1), input 28×28. "
        "output shape (1, 6, 7, 7), not reached: 343 of 784 pixels, parameters 60, multiply-adds 2,646"
    )


def test_picture_shows_the_output_at_the_scale_of_the_input(image):
    lab = explore_shapes(image)
    lab.stride, lab.kernel, lab.padding, lab.row, lab.col = 4, 3, 1, 2, 5
    figure = lab.figure()
    left, right = figure.axes
    assert right.get_title() == "output 7×7"
    assert (right.get_xlim(), right.get_ylim()) == (left.get_xlim(), left.get_ylim()) == ((-1.5, 28.5), (28.5, -1.5))
    torch.testing.assert_close(torch.tensor(right.images[0].get_array()), slide(image, lab.layer))
    assert [patch.get_bbox().bounds for patch in right.patches] == [(-0.5, -0.5, 7, 7), (4.5, 1.5, 1, 1)]
    assert figure.get_suptitle() == f"{lab.layer.code}\n{lab.layer.formula}"
    assert figure.get_supxlabel().startswith("output shape (1, 6, 7, 7), not reached: ")
