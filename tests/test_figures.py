"""The pictures of the notebooks: what is drawn, from which numbers, and that nothing stays open behind them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from lenet_helpers.figures import (
    show_ablation,
    show_costs,
    show_heat_map,
    show_images,
    show_losses,
    show_maps,
    show_shares,
    show_sizes,
    show_slopes,
)

X = torch.linspace(0, 1, 6 * 28 * 28).reshape(6, 1, 28, 28)
MAPS = torch.randn(1, 6, 10, 12, generator=torch.Generator().manual_seed(0), requires_grad=True)
DRAWINGS = {
    "costs": lambda: show_costs({"slow": (30, 12)}, floor=3),
    "heat map": lambda: show_heat_map([[0.1, np.nan]], ["sigmoid"], ["0.1", "0.9"], "activation", "lr", "accuracy"),
    "images": lambda: show_images(X),
    "images with titles": lambda: show_images(X, list("abcdef"), ncols=4),
    "maps": lambda: show_maps(MAPS),
    "shares": lambda: show_shares(["conv", "dense"], parameters=[4, 96], multiply_adds=[86, 14]),
}


def drawn(figure):
    """Return the axes that hold something, in reading order."""
    return [axes for axes in figure.axes if axes.has_data()]


def pixels(axes):
    (image,) = axes.get_images()
    return np.asarray(image.get_array())


def colour_at(axes, row, column):
    """Return red, green and blue in [0, 1]."""
    (image,) = axes.get_images()
    return image.to_rgba(image.get_array())[row, column][:3]


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_is_returned_and_nothing_stays_open(name):
    open_figures, backend = plt.get_fignums(), plt.get_backend()
    figure = DRAWINGS[name]()
    assert isinstance(figure, Figure)
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert DRAWINGS[name]()._repr_png_() == png, "the same numbers give the same picture"
    assert plt.get_fignums() == open_figures
    assert plt.get_backend() == backend


@pytest.mark.parametrize("count, ncols, grid", [(6, 8, (1, 6)), (6, 4, (2, 4)), (6, 3, (2, 3)), (1, 8, (1, 1))])
def test_images_are_drawn_in_rows(count, ncols, grid):
    figure = show_images(X[:count], ncols=ncols)
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == grid
    assert len(drawn(figure)) == count
    assert all(not axes.axison for axes in figure.axes), "the places left over are empty"
    for axes, image in zip(drawn(figure), X, strict=False):
        np.testing.assert_array_equal(pixels(axes), image[0])


def test_images_may_have_a_channel_axis_or_not_and_be_an_array():
    for images in (X, X[:, 0], X.numpy(), list(X)):
        assert [pixels(axes).shape for axes in drawn(show_images(images))] == [(28, 28)] * 6


def test_images_are_dark_ink_on_one_scale():
    """The same grey in every image, also where one is darker than the next."""
    figure = show_images([torch.zeros(2, 2), torch.full((2, 2), 0.5), torch.ones(2, 2)])
    white, grey, black = (colour_at(axes, 0, 0) for axes in drawn(figure))
    assert white.tolist() == [1, 1, 1] and black.tolist() == [0, 0, 0]
    assert all((grey > 0.25) & (grey < 0.75))


def test_titles():
    figure = show_images(X, list("abcdef"))
    assert [axes.get_title() for axes in drawn(figure)] == list("abcdef")
    assert [axes.get_title() for axes in drawn(show_images(X))] == [""] * 6


def test_maps_are_numbered_and_each_on_its_own_scale():
    maps = torch.stack([torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 100.0]])])
    axes = drawn(show_maps(maps))
    assert [one.get_title() for one in axes] == ["map 0", "map 1"]
    assert [colour_at(one, 0, 1).tolist() for one in axes] == [[1, 1, 1], [1, 1, 1]]
    assert [pixels(one).shape for one in drawn(show_maps(MAPS))] == [(10, 12)] * 6


def test_shares_are_percentages_beside_their_counts():
    (axes,) = show_shares(["conv", "dense"], parameters=[1000, 3000], multiply_adds=[9, 1]).axes
    assert [bar.get_width() for bar in axes.patches] == [25, 75, 90, 10]
    assert [text.get_text() for text in axes.texts] == ["1,000", "3,000", "9", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv", "dense"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["parameters", "multiply-adds"]
    assert axes.yaxis_inverted(), "the first layer is on top"


@pytest.mark.parametrize("draw", [show_images, show_maps])
def test_nothing_to_draw(draw):
    with pytest.raises(ValueError, match="there is nothing to draw: give at least one image"):
        draw(torch.empty(0, 5, 5))


@pytest.mark.parametrize("titles", [[], ["a"], list("abcdefg")])
def test_titles_that_do_not_fit(titles):
    with pytest.raises(ValueError, match=f"there are 6 images and {len(titles)} titles"):
        show_images(X, titles)


def test_costs_stack_waiting_and_computing_over_the_floor():
    (axes,) = show_costs({"slow": (30, 12), "fast": (0.5, 8)}, floor=3).axes
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, 30), (0, 0.5), (30, 12), (0.5, 8), (0, 3)]
    assert [text.get_text() for text in axes.texts] == ["42.0", "8.5", "3.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["slow", "fast", "floor"]
    assert axes.yaxis_inverted(), "the first stage is on top"
    (axes,) = show_costs({"slow": (30, 12)}).axes
    assert len(axes.patches) == 2 and not axes.lines


def test_heat_map_writes_the_number_into_each_cell_that_has_one():
    values = [[0.1, 0.9], [np.nan, 0.5]]
    (axes, bar) = show_heat_map(values, ["a", "b"], ["0.1", "0.9"], "activation", "lr", "mean test accuracy").axes
    np.testing.assert_array_equal(pixels(axes), values)
    texts = {text.get_position(): text for text in axes.texts}
    assert {place: text.get_text() for place, text in texts.items()} == {
        (0, 0): "0.100",
        (1, 0): "0.900",
        (1, 1): "0.500",
    }
    for (column, row), text in texts.items():
        assert abs(np.mean(colour_at(axes, row, column)) - (text.get_color() == "white")) > 0.4, "it can be read"
    assert axes.get_images()[0].get_clim() == (0, 1), "the same colours in every picture"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert (axes.get_ylabel(), axes.get_xlabel(), bar.get_ylabel()) == ("activation", "lr", "mean test accuracy")


ODD = "$x_{$"  # matplotlib would take it for a formula that is not complete
ROWS = [{"loss": loss, "epoch": epoch} for epoch, loss in enumerate([2.3, 1.2], 1)]
MEASURED = {"title": ODD, "seeds": [{"test_acc": 0.9}], "mean": {"test_acc": 0.9}, "std": {"test_acc": 0.01}}
ODD_DRAWINGS = {
    "ablation": lambda: show_ablation([MEASURED], [{"title": ODD, "accuracy": 0.9}]),
    "costs": lambda: show_costs({ODD: (30, 12)}, floor=3),
    "heat map": lambda: show_heat_map([[0.1, 0.2]], [ODD], ["a", ODD], ODD, ODD, ODD),
    "images": lambda: show_images(X[:1], [ODD]),
    "losses": lambda: show_losses({ODD: ROWS}),
    "shares": lambda: show_shares([ODD], **{ODD: [1]}),
    "sizes": lambda: show_sizes(["a", ODD], {ODD: [1, 100]}, "size"),
    "slopes": lambda: show_slopes([0, 1], {ODD: [0, 1]}, {ODD: [1, 1]}),
}


@pytest.mark.parametrize("name", ODD_DRAWINGS)
def test_a_name_with_a_dollar_sign_is_drawn_as_it_is(name):
    assert ODD_DRAWINGS[name]()._repr_png_().startswith(b"\x89PNG")
