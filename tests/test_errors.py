"""The error browser's numbers."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from lenet_helpers import evaluate_accuracy_gpu
from lenet_helpers.explorers import explore_errors


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
    explorer.select(6, 0)
    assert (explorer.actual, explorer.predicted) == (6, 0)
    with pytest.raises(ValueError, match="numbered 0…9"):
        explorer.select(10, 0)
    explorer.select(*before)


def test_cell_stores_a_picture(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == "ErrorBrowser: 1,000 images; run this cell to browse the confusion matrix"
    assert data["image/png"].startswith("iVBOR")


def test_perfect_net_opens_no_cell():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([1.0, 0.0]))
    explorer = explore_errors(net, [(torch.rand(5, 1, 28, 28), torch.zeros(5, dtype=torch.int64))])
    assert explorer.accuracy == 1
    assert explorer.actual == -1
    explorer.figure()


def test_bad_input(training, batches):
    with pytest.raises(ValueError, match="data_iter is empty"):
        explore_errors(training[0], [])
    with pytest.raises(ValueError, match=r"\(N, 1, 28, 28\)"):
        explore_errors(training[0], [(torch.zeros(2, 1, 32, 32), torch.zeros(2))])
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with torch.no_grad():
        net[1].bias[3] = float("nan")
    broken = explore_errors(net, batches)
    assert "layer 1 (Linear)" in broken.message
    broken.figure()


def test_the_picture_shows_any_class_name_as_it_is(training, batches):
    explorer = explore_errors(training[0], batches, ["$x_{$"] * 10)
    explorer.select(0, 1)
    picture = io.BytesIO()
    explorer.figure().savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")
