"""The window explorer against conv2d."""

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
        ({"image": torch.rand(3, 28, 28)}, "two axes"),
        ({"image": torch.zeros(28, 28) + 255}, "divide bytes by 255"),
        ({"image": torch.full((28, 28), float("nan"))}, "finite"),
        ({"image": torch.zeros(0, 0)}, "two axes"),
        ({"image": torch.zeros(500, 500)}, "5 to 64 pixels"),
        ({"kernel": torch.ones(3, 5)}, "square with 1 to 11"),
        ({"kernel": torch.ones(12, 12)}, "square with 1 to 11"),
        ({"kernel": torch.full((3, 3), float("inf"))}, "finite"),
        ({"kernels": {}}, "kernels is empty"),
    ],
)
def test_bad_input_is_refused(image, arguments, message):
    with pytest.raises(ValueError, match=message):
        explore_window(**{"image": image, **arguments})


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="image must be a tensor"):
        explore_window("a picture")


def test_bad_places_and_names_are_refused(image):
    explorer = explore_window(image)
    with pytest.raises(ValueError, match="row must be between 0 and 23 for this kernel, got 24"):
        explorer.row = 24
    with pytest.raises(ValueError, match="kernel_name must be one of 'vertical edges'"):
        explorer.kernel_name = "gabor"
    with pytest.raises(ValueError, match="rows 0 to 23"):
        window_product(image, explorer.kernel, 24, 0)
    assert (explorer.row, explorer.kernel_name) == (0, "vertical edges")


def test_cell_stores_a_picture_and_a_fixed_text(image):
    bundles = [explore_window(image)._repr_mimebundle_()[0] for _ in range(2)]
    assert bundles[0]["image/png"] == bundles[1]["image/png"]
    assert bundles[0]["text/plain"].startswith("WindowExplorer: vertical edges, output[0, 0] = ")
    large = explore_window(image, kernel=torch.ones(11, 11))
    assert large._repr_mimebundle_()[0]["image/png"] != bundles[0]["image/png"]
