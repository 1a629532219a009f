"""The error browser's numbers."""

import io
import re

import numpy as np
import pytest
import torch
from test_shapes import NoReturn
from torch import nn

from lenet_helpers import evaluate_accuracy_gpu
from lenet_helpers.explorers import explore_errors
from lenet_helpers.explorers.errors import count_confusions, score_images


@pytest.fixture(scope="module")
def batches(fashion):
    X, y = fashion
    return list(zip(X.split(256), y.split(256), strict=True))


@pytest.fixture(scope="module")
def explorer(training, batches):
    return explore_errors(training[0], batches)


def test_total_and_trace_are_the_test_set_and_its_accuracy(explorer, training, batches):
    assert np.sum(explorer.counts) == 1000
    assert explorer.accuracy == evaluate_accuracy_gpu(training[0], batches)
    assert 0.3 < explorer.accuracy < 0.95


def test_cells_hold_the_right_images_by_confidence(explorer, training, fashion):
    X, y = fashion
    with torch.no_grad():
        confidence, predicted = training[0](X).softmax(1).max(1)
    seen = []
    for actual in range(10):
        for guess in range(10):
            found = torch.from_numpy(explorer.find(actual, guess))
            assert len(found) == explorer.counts[actual][guess]
            assert (y[found] == actual).all()
            assert (predicted[found] == guess).all()
            assert (confidence[found].diff() <= 1e-6).all()
            seen += found.tolist()
    assert sorted(seen) == list(range(1000))


def test_page_gets_at_most_100_images_of_a_cell(explorer, fashion):
    sizes = np.diff(explorer.starts)
    assert (sizes == np.minimum(np.ravel(explorer.counts), 100)).all()
    pictures = np.frombuffer(explorer.pictures, np.uint8).reshape(-1, 28, 28)
    assert len(pictures) == len(explorer.numbers) == sizes.sum()
    expected = (fashion[0][explorer.numbers[7], 0] * 255).round().byte()
    np.testing.assert_array_equal(pictures[7], expected)


def test_opens_at_the_most_frequent_error(explorer):
    counts = np.array(explorer.counts)
    np.fill_diagonal(counts, 0)
    assert counts[explorer.actual, explorer.predicted] == counts.max()


def test_select(explorer):
    before = explorer.actual, explorer.predicted
    for cell in ((9, 0), (0, 9)):
        explorer.select(*cell)
        assert (explorer.actual, explorer.predicted) == cell
    for wrong in ((10, 0), (0, 10), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match=f"^classes are numbered 0…9; not {re.escape(str(wrong))}$"):
            explorer.select(*wrong)
    assert (explorer.actual, explorer.predicted) == (0, 9)
    explorer.select(*before)


def test_cell_stores_a_picture(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == "ErrorBrowser: 1,000 images; run this cell to browse the confusion matrix"
    assert data["image/png"].startswith("iVBOR")


def make_net(*brightness):
    """Return a net whose score for each class is so many times the mean pixel."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, len(brightness), bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor(brightness)[:, None].expand(-1, 784) / 784)
    return net


def make_images(*pixels):
    """Return images of one pixel value each, float64 as NumPy makes them."""
    return torch.tensor(pixels, dtype=torch.float64)[:, None, None, None].expand(-1, 1, 28, 28)


def test_images_are_scored_in_their_order():
    batches = [(make_images(0.0, 0.499), torch.tensor([2, 0])), (make_images(1.0), torch.tensor([1]))]
    images, labels, probabilities = score_images(make_net(0.0, 0.0, 2.0), batches)
    assert images.dtype == np.uint8 and images.shape == (3, 28, 28)
    assert images[:, 5, 7].tolist() == [0, 127, 255]
    assert labels.tolist() == [2, 0, 1]
    expected = torch.tensor([[0.0, 0.0, 2 * pixel] for pixel in (0.0, 0.499, 1.0)]).softmax(1)
    torch.testing.assert_close(torch.from_numpy(probabilities), expected)


def test_confusions_are_counted_with_the_true_class_first():
    labels, predictions = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 1, 1, 2])
    assert count_confusions(labels, predictions, 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 2, 1]]


def test_of_a_large_cell_the_page_gets_the_most_confident():
    pixels = np.linspace(0.1, 0.9, 150)[np.random.default_rng(0).permutation(150)]
    X = make_images(*pixels)
    batches = [(X[:140], torch.ones(140, dtype=torch.int64)), (X[140:], torch.zeros(10, dtype=torch.int64))]
    explorer = explore_errors(make_net(5.0, 0.0), batches, ["dark", "bright"])
    assert explorer.classes == ["dark", "bright"] and explorer.counts == [[10, 0], [140, 0]]
    assert explorer.starts == [0, 10, 10, 110, 110]
    brightest = sorted(range(140), key=lambda n: -pixels[n])
    assert explorer.numbers[10:] == brightest[:100]
    assert explorer.find(1, 0).tolist() == brightest
    confidences = torch.tensor(np.frombuffer(explorer.confidences, np.float32))
    torch.testing.assert_close(confidences[10:], torch.tensor(5 * pixels[brightest[:100]]).sigmoid().float())
    assert (explorer.actual, explorer.predicted, explorer.accuracy) == (1, 0, 10 / 150)
    figure = explorer.figure()
    assert figure.subfigs[1].get_suptitle() == "bright, taken for dark"
    shown = [axes.images[0].get_array()[0, 0] for axes in figure.subfigs[1].axes if axes.images]
    assert shown == [round(pixels[n] * 255) for n in brightest[:25]]


def test_perfect_net_opens_no_cell():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([1.0, 0.0]))
    explorer = explore_errors(net, [(torch.rand(5, 1, 28, 28), torch.zeros(5, dtype=torch.int64))])
    assert explorer.accuracy == 1
    assert (explorer.actual, explorer.predicted) == (-1, -1)
    explorer.figure()


def test_bad_input(training, batches):
    with pytest.raises(
        ValueError, match=r"^data_iter is empty: there is no image to classify; give it at least one batch$"
    ):
        explore_errors(training[0], [])
    for shape in ((2, 1, 32, 32), (2, 28, 28)):
        words = f"a batch of images must have the shape (N, 1, 28, 28), not {shape}"
        with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
            explore_errors(training[0], [(torch.zeros(shape), torch.zeros(2))])
    for net, says in (
        (nn.Flatten(0), "the net must give scores of shape (N, classes), not (200704,)"),
        (NoReturn(), "net must give one tensor, and gives NoneType: let its forward end in `return` and the tensor, "),
        (nn.Linear(784, 10), "net fails on its input of shape (256, 1, 28, 28): RuntimeError: mat1 and mat2 shapes"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
            explore_errors(net, batches)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with torch.no_grad():
        net[1].bias[3] = float("nan")
    broken = explore_errors(net, batches)
    assert broken.message.startswith("layer 1 (Linear) has weights that are NaN or infinite: ")
    assert broken.summary() == f"ErrorBrowser: {broken.message}"
    assert np.isnan(broken.accuracy)
    assert [text.get_text() for text in broken.figure().texts] == [broken.message]


@pytest.mark.fault("training", "a net of another shape")
@pytest.mark.parametrize(("labels", "span"), [([0, 1, 2], "0 to 2"), ([-1, 1, 0], "-1 to 1"), ([7, 8, 9], "7 to 9")])
def test_labels_that_are_none_of_the_nets_classes_are_told(labels, span):
    says = f"the net has 2 outputs but the labels go from {span}; give its last layer one per class"
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        explore_errors(make_net(1.0, 0.0), [(make_images(0.1, 0.5, 0.9), torch.tensor(labels))])
    assert explore_errors(make_net(1.0, 0.0), [(make_images(0.1, 0.9), torch.tensor([0, 1]))]).accuracy == 0.5


def test_the_picture_shows_any_class_name_as_it_is(training, batches):
    explorer = explore_errors(training[0], batches, ["$x_{$"] * 10)
    explorer.select(0, 1)
    picture = io.BytesIO()
    explorer.figure().savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")
