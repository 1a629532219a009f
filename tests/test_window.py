"""The window explorer against conv2d."""

import io
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lenet_helpers.explorers import explore_window
from lenet_helpers.explorers.window import make_kernels, window_product


@pytest.fixture
def image():
    return torch.rand(28, 28, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("k", [1, 2, 5, 11])
def test_products_add_up_to_conv2d_everywhere(image, k):
    kernel = torch.randn(k, k, generator=torch.Generator().manual_seed(k))
    expected = F.conv2d(image[None, None], kernel[None, None])[0, 0]
    sums = [[window_product(image, kernel, row, col).sum() for col in range(29 - k)] for row in range(29 - k)]
    torch.testing.assert_close(torch.tensor(sums), expected)


def test_ready_kernels():
    kernels = make_kernels()
    assert list(kernels) == ["vertical edges", "horizontal edges", "blur", "sharpen", "random"]
    assert kernels["vertical edges"].tolist() == [[-1, -1, 0, 1, 1]] * 5
    assert torch.equal(kernels["horizontal edges"], kernels["vertical edges"].T)
    torch.testing.assert_close(kernels["blur"], torch.full((5, 5), 0.04))
    centre = torch.zeros(5, 5)
    centre[2, 2] = 3
    torch.testing.assert_close(kernels["sharpen"], centre - 0.08)
    first_row = torch.tensor([0.0, 0.5, -0.8, -0.7, -0.4])
    torch.testing.assert_close(kernels["random"][0], first_row)
    torch.testing.assert_close(10 * kernels["random"], (10 * kernels["random"]).round())
    assert -1 <= kernels["random"].min() < -0.8 and 0.7 < kernels["random"].max() <= 1


def test_kernel_is_not_flipped():
    image, kernel = torch.zeros(28, 28), torch.arange(9.0).reshape(3, 3)
    image[0, 1] = 1
    assert window_product(image, kernel, 0, 0).sum() == kernel[0, 1]


def test_value_and_output_follow_place_and_kernel(image):
    explorer = explore_window(image)
    explorer.row, explorer.col = 8, 12
    for name, kernel in make_kernels().items():
        explorer.kernel_name = name
        expected = F.conv2d(image[None, None], kernel[None, None])[0, 0]
        assert explorer.value == pytest.approx(expected[8, 12].item(), abs=1e-5)
        torch.testing.assert_close(explorer.output, expected)
        assert explorer.products.shape == (5, 5)


def test_own_kernel_is_chosen_and_can_be_changed(image):
    explorer = explore_window(image, kernel=torch.eye(3))
    assert explorer.kernel_name == "mine" and list(explorer.kernels)[1:] == list(make_kernels())
    explorer.kernel_name = "blur"
    explorer.row = explorer.col = 23
    explorer.kernel = np.ones((8, 8))
    assert explorer.kernel_name == "mine"
    assert (explorer.row, explorer.col) == (20, 20), "the window must stay inside the image"
    assert explorer.value == pytest.approx(image[20:, 20:].sum().item(), abs=1e-4)
    explorer.kernel = torch.ones(1, 1, 11, 11, requires_grad=True)  # as a layer's weight has it
    assert (explorer.row, explorer.col) == (17, 17)


def test_own_list_of_kernels(image):
    explorer = explore_window(image, kernels={"one": torch.ones(2, 2), "two": torch.ones(3, 3)})
    assert list(explorer.kernels) == ["one", "two"] and explorer.kernel_name == "one"
    explorer = explore_window(image, kernel=torch.ones(4, 4), kernels={"one": torch.ones(2, 2)})
    assert list(explorer.kernels) == ["mine", "one"] and len(explorer.kernel) == 4


def test_state_from_the_page_is_taken_in_one_message(image):
    explorer = explore_window(image, kernels={"large": torch.ones(11, 11), "small": torch.ones(1, 1)})
    explorer.set_state({"row": 27, "col": 27, "kernel_name": "small"})
    assert (explorer.row, explorer.col, explorer.kernel_name) == (27, 27, "small")
    explorer.set_state({"kernel_name": "large"})
    assert (explorer.row, explorer.col) == (17, 17)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": torch.rand(3, 28, 28)}, "image must have two axes, rows and columns, got shape (3, 28, 28)"),
        ({"image": torch.zeros(0, 0)}, "image must have two axes, rows and columns, got shape (0, 0)"),
        ({"image": torch.full((28, 28), float("nan"))}, "image must hold finite numbers, got NaN or infinity"),
        (
            {"image": torch.zeros(28, 28) + 255},
            "image must hold values in [0, 1], got 255 to 255; divide bytes by 255",
        ),
        (
            {"image": torch.linspace(-0.5, 1, 784).reshape(28, 28)},
            "image must hold values in [0, 1], got -0.5 to 1; divide bytes by 255",
        ),
        (
            {"image": torch.linspace(0, 1.25, 784).reshape(28, 28)},
            "image must hold values in [0, 1], got 0 to 1.25; divide bytes by 255",
        ),
        ({"image": torch.zeros(4, 28)}, "image must have 5 to 64 pixels a side, got shape (4, 28)"),
        ({"image": torch.zeros(28, 65)}, "image must have 5 to 64 pixels a side, got shape (28, 65)"),
        ({"kernel": torch.ones(3, 5)}, "kernel must be square with 1 to 11 numbers a side, got shape (3, 5)"),
        ({"kernel": torch.ones(12, 12)}, "kernel must be square with 1 to 11 numbers a side, got shape (12, 12)"),
        (
            {"image": torch.zeros(28, 8), "kernel": torch.ones(9, 9)},
            "kernel must be square with 1 to 8 numbers a side, got shape (9, 9)",
        ),
        ({"kernel": torch.ones(3)}, "kernel must have two axes, rows and columns, got shape (3,)"),
        ({"kernel": torch.full((3, 3), float("inf"))}, "kernel must hold finite numbers, got NaN or infinity"),
        ({"kernels": {}}, "kernels is empty: give at least one, as {'name': tensor}"),
    ],
)
def test_bad_input_is_refused(image, arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        explore_window(**{"image": image, **arguments})


@pytest.mark.parametrize("image", [torch.zeros(5, 64), torch.ones(64, 5), torch.linspace(0, 1, 25).reshape(1, 1, 5, 5)])
def test_limits_of_an_image_are_inside(image):
    explorer = explore_window(image)
    assert torch.equal(torch.tensor(explorer.image), image.squeeze())


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match=r"^image must be a tensor or an array of numbers, got str$"):
        explore_window("a picture")


def test_bad_places_and_names_are_refused():
    explorer = explore_window(torch.ones(28, 20))
    explorer.row, explorer.col = 23, 15
    for name, last in (("row", 23), ("col", 15)):
        for wrong in (-1, last + 1):
            words = f"^{name} must be between 0 and {last} for this kernel, got {wrong}$"
            with pytest.raises(ValueError, match=words):
                setattr(explorer, name, wrong)
    known = "'vertical edges', 'horizontal edges', 'blur', 'sharpen', 'random'"
    with pytest.raises(ValueError, match=f"^kernel_name must be one of {known}, got 'gabor'$"):
        explorer.kernel_name = "gabor"
    assert (explorer.row, explorer.col, explorer.kernel_name) == (23, 15, "vertical edges")


@pytest.mark.parametrize("place", [(24, 0), (0, 16), (-1, 0), (0, -1)])
def test_window_that_leaves_the_image_is_refused(place):
    image, kernel = torch.ones(28, 20), torch.ones(5, 5)
    row, column = place
    words = f"^a 5×5 window fits at rows 0 to 23 and columns 0 to 15, got row {row} and column {column}$"
    with pytest.raises(ValueError, match=words):
        window_product(image, kernel, row, column)


def test_cell_stores_a_picture_and_a_fixed_text():
    image = torch.linspace(0, 1, 784).reshape(28, 28)
    explorer = explore_window(image)
    explorer.row, explorer.col = 2, 3
    first, second = (explorer._repr_mimebundle_()[0] for _ in range(2))
    assert first["image/png"] == second["image/png"]
    assert first["text/plain"] == "WindowExplorer: vertical edges, output[2, 3] = 0.038"
    large = explore_window(image, kernel=torch.ones(11, 11))
    assert large._repr_mimebundle_()[0]["image/png"] != first["image/png"]


def test_picture_writes_the_numbers_and_frames_the_window():
    kernel = torch.tensor([[1.0, -0.001], [-0.5, 0.014]])
    explorer = explore_window(torch.linspace(0, 1, 784).reshape(28, 28), kernel=kernel)
    explorer.row, explorer.col = 26, 20
    image, patch, weights, _, output = explorer.figure().axes
    assert [text.get_text() for text in patch.texts] == ["0.96", "0.96", "0.99", "0.99"]
    assert [text.get_text() for text in weights.texts] == ["1.00", "0.00", "−0.50", "0.01"]
    assert [text.get_color() for text in weights.texts] == ["white", "black", "black", "black"]
    assert [frame.get_bbox().bounds for frame in (image.patches[0], output.patches[0])] == [
        (19.5, 25.5, 2, 2),
        (19.5, 25.5, 1, 1),
    ]
    assert not image.patches[0].get_fill(), "the frame must not hide the pixels"
    explorer.kernel = torch.ones(8, 8)
    assert not any(axes.texts for axes in explorer.figure().axes), "there is no room for 64 numbers"


def test_the_picture_shows_any_name_of_a_kernel_as_it_is(image):
    figure = explore_window(image, kernels={"$x_{$": torch.ones(2, 2)}).figure()
    figure.savefig(io.BytesIO(), format="png")
    assert figure.axes[2].get_title() == "× $x_{$"
