"""The Python side of the net explorer: what it sends to the page, what it refuses, what it saves."""

import io
import json
import re

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from nets import make_lenet
from torch import nn

from lenet_helpers.explorers import compare_activations, explore_net, make_noise, show_activations


class Reshape(nn.Module):
    def forward(self, X):
        return X.view(-1, 1, 28, 28)


X = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))
y = torch.arange(12) % 10


def test_lenet_has_13_steps_and_all_its_parameters():
    net = nn.Sequential(Reshape(), *make_lenet())
    explorer = explore_net(net, X, y)
    assert explorer.message == ""
    assert [step["name"] for step in explorer.layers] == ["image", *(type(layer).__name__ for layer in net[1:])]
    assert len(explorer.layers) == 13
    assert explorer.layers[6]["shape"] == [16, 5, 5]
    assert len(explorer.weights) == 4 * 61_706
    assert explorer.predictions == net(X).argmax(1).tolist()


def test_net_is_left_as_it_was():
    net = make_lenet().train()
    explore_net(net, X)
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_activations_are_pytorchs():
    net = make_lenet(nn.Tanh)
    explorer = explore_net(net, X[:, 0])
    explorer.choose(3)
    torch.testing.assert_close(explorer.activations()[-1], net(X[3:4])[0])
    torch.testing.assert_close(explorer.activations()[4], net[:4](X[3:4])[0])
    explorer.show(make_noise(), "noise")
    assert (explorer.index, explorer.caption) == (-1, "noise")
    torch.testing.assert_close(explorer.activations()[0][0], make_noise())
    explorer.show(np.full((100, 50), 200, np.uint8))
    assert explorer.activations()[0].sum() == 0


def test_page_can_send_a_picture():
    explorer = explore_net(make_lenet(), X)
    explorer.set_state({"picture": memoryview(X[5].numpy().tobytes()), "index": -1})
    torch.testing.assert_close(explorer.activations()[0], X[5])


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Dropout()),
            nn.Flatten(),
            nn.Linear(2028, 10),
        ),
        nn.Sequential(
            nn.Conv2d(1, 4, 3, padding="same", bias=False), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(676, 5)
        ),
    ],
)
def test_other_shapes_work(net):
    explorer = explore_net(net, X)
    assert explorer.message == ""
    assert len(explorer.classes) == explorer.layers[-1]["shape"][0]
    explorer.figure()


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (nn.Sequential(nn.Flatten(), nn.LeakyReLU(), nn.Linear(784, 10)), r"net\[1\] \(LeakyReLU.*Conv2d"),
        (nn.Sequential(nn.Sequential(nn.ConvTranspose2d(1, 1, 3)), nn.Flatten(), nn.Linear(900, 10)), r"net\[0\]\[0\]"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, groups=2)), r"net\[1\] .*groups=2"),
        (nn.Sequential(nn.MaxPool2d(2, padding=1), nn.Flatten(), nn.Linear(225, 10)), r"net\[0\] \(MaxPool2d"),
        (nn.Sequential(nn.Conv2d(1, 6, 5), nn.Flatten(), nn.Linear(400, 10)), r"net\[2\] \(Linear\) does not fit"),
        (nn.Sequential(nn.Conv2d(1, 6, 5), nn.Linear(24, 10)), r"net\[1\] \(Linear\).*Flatten"),
        (nn.Sequential(nn.Conv2d(1, 6, 5), nn.Sigmoid()), r"last layer must be a Linear.*net\[1\] \(Sigmoid\)"),
        (nn.Sequential(), "empty"),
        (nn.Bilinear(2, 2, 2), "net is a Bilinear"),
        (nn.Sequential(nn.Conv2d(3, 6, 5), nn.Flatten(), nn.Linear(5, 10)), r"net\[0\] \(Conv2d\) does not fit"),
    ],
)
def test_message_names_the_layer(net, says):
    explorer = explore_net(net, X, y)
    assert re.search(says, explorer.message)
    assert explorer.message in explorer.summary()
    explorer.figure()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_message_for_nan_weights(value):
    net = make_lenet()
    with torch.no_grad():
        net[3].weight[2, 1, 0, 0] = value
    explorer = explore_net(net, X, y)
    assert "layer 3 (Conv2d)" in explorer.message
    assert "smaller learning rate" in explorer.message
    json.dumps(explorer.get_state(["layers", "labels", "predictions", "message"]), allow_nan=False)
    explorer.figure()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("net", X), TypeError, "nn.Sequential"),
        ((make_lenet(), [1, 2]), TypeError, "tensor"),
        ((make_lenet(), torch.zeros(3, 3, 28, 28)), ValueError, r"\(N, 1, 28, 28\)"),
        ((make_lenet(), torch.zeros(3, 1, 32, 32)), ValueError, r"\(3, 1, 32, 32\)"),
        ((make_lenet(), torch.zeros(0, 1, 28, 28)), ValueError, "between 1 and 1,000"),
        ((make_lenet(), torch.zeros(1001, 1, 28, 28)), ValueError, "1,001"),
        ((make_lenet(), X * 255), ValueError, r"\[0, 1\]"),
        ((make_lenet(), X * float("nan")), ValueError, r"\[0, 1\]"),
        ((make_lenet(), X, y[:3]), ValueError, "12 images but 3 labels"),
        ((make_lenet(), X, y + 5), ValueError, "labels must lie"),
        ((make_lenet(), X, y, ["a", "b"]), ValueError, "10 outputs but there are 2"),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments, error, says):
    with pytest.raises(error, match=says):
        explore_net(*arguments)


def test_views_and_images_out_of_range():
    explorer = explore_net(make_lenet(), X)
    explorer.open_view(4, unit=9, row=3, column=4)
    assert (explorer.layer, explorer.unit, explorer.row, explorer.column) == (4, 9, 3, 4)
    explorer.close_view()
    assert explorer.layer == -1
    for wrong, says in (
        ({"layer": 2}, r"steps \[1, 4, 8, 10, 12\]"),
        ({"layer": 99}, "step 99 cannot be opened"),
        ({"layer": 4, "unit": 16}, "units 0…15"),
        ({"layer": 4, "row": 10}, "10 rows"),
        ({"layer": 8, "feature": 400}, "features 0…399"),
    ):
        with pytest.raises(ValueError, match=says):
            explorer.open_view(**wrong)
    with pytest.raises(ValueError, match="no image 12"):
        explorer.choose(12)


def test_cell_stores_a_picture():
    data, _ = explore_net(make_lenet(), X)._repr_mimebundle_()
    assert data["text/plain"] == "NetExplorer: 13 steps, 12 images; run this cell to explore the net"
    assert data["image/png"].startswith("iVBOR")


def test_similarity_of_activations():
    net = make_lenet()
    images = torch.stack([X[0, 0], X[0, 0], make_noise(5)])
    names, outputs, similarity = compare_activations(net, images)
    assert names[0] == "image"
    assert similarity.shape == (13, 3)
    np.testing.assert_allclose(similarity[:, :2], 1)
    assert abs(similarity[0, 2]) < 0.2
    torch.testing.assert_close(outputs[-1][2], net(images[2].reshape(1, 1, 28, 28))[0])
    assert len(show_activations(net, images, ["a", "b", "c"]).axes) == 3 * 8
    with pytest.raises(ValueError, match="3 images but 2 names"):
        show_activations(net, images, ["a", "b"])


@pytest.mark.parametrize("name", ["$x_{$", "<b>&", "50 % \\"])
def test_the_pictures_show_any_class_name_as_it_is(name):
    net, classes = make_lenet(), [name] * 10
    explorer = explore_net(net, X[:2], y[:2], classes)
    explorer.show(X[0, 0], name)
    for figure in (explorer.figure(), show_activations(net, X[:2], [name] * 2, classes)):
        figure.savefig(io.BytesIO(), format="png")
        assert any(name in text.get_text() for text in figure.findobj(Text))
