"""The Python side of the net explorer: what it sends to the page, what it refuses, what it saves."""

import base64
import io
import json
import re
import resource
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from nets import make_lenet
from test_shapes import NoReturn, Typo
from torch import nn

from lenet_helpers.data import CLASSES
from lenet_helpers.explorers import compare_activations, explore_net, make_noise, show_activations
from lenet_helpers.explorers.compare import correlation
from lenet_helpers.explorers.net import tile
from lenet_helpers.language import speaking


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
    assert explorer.classes == list(CLASSES) and explorer.labels == y.tolist()
    assert (explorer.index, explorer.caption, explorer.layer) == (0, "image 0: t-shirt", -1)


def test_net_is_left_as_it_was():
    net = make_lenet().double().train()
    explore_net(net, X)
    assert net.training and net[0].weight.dtype == torch.float64
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
    assert (explorer.index, explorer.caption) == (-1, "your image")


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_every_kind_of_layer_is_described():
    torch.manual_seed(0)
    norm, second, last = (
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 2, (2, 5), padding="same", bias=False),
        nn.Linear(30, 3, bias=False),
    )
    norm.train()(torch.randn(9, 4, 5, 5))
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    first = nn.Conv2d(1, 4, (3, 5), (1, 2), (1, 0), (1, 2))
    net = nn.Sequential(
        first, norm, nn.ReLU(), nn.AvgPool2d((2, 1)), nn.Dropout(), nn.Dropout2d(),
        nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 4, 3, padding="valid"), nn.Sigmoid(), nn.MaxPool2d(3, 2),
        nn.Identity(), nn.Conv2d(4, 4, 1), nn.Tanh(), second, nn.Flatten(), last,
    )  # fmt: skip
    explorer = explore_net(net, X)
    assert explorer.message == ""
    same = {"kind": "same"}
    plain = {"kind": "conv", "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
    described = [{k: v for k, v in layer.items() if k not in ("name", "shape")} for layer in explorer.layers]
    assert described == [
        {"kind": "image"},
        {**plain, "kernel": [3, 5], "stride": [1, 2], "padding": [1, 0], "dilation": [1, 2], "weight": 0, "bias": 60},
        {"kind": "norm", "scale": 64, "shift": 68},
        {"kind": "activation", "function": "relu"},
        {"kind": "pool", "function": "mean", "kernel": [2, 1], "stride": [2, 1]},
        same,
        same,
        {"kind": "norm", "scale": 72, "shift": 76},
        {**plain, "kernel": [3, 3], "weight": 80, "bias": 224},
        {"kind": "activation", "function": "sigmoid"},
        {"kind": "pool", "function": "max", "kernel": [3, 3], "stride": [2, 2]},
        same,
        {**plain, "kernel": [1, 1], "weight": 228, "bias": 244},
        {"kind": "activation", "function": "tanh"},
        {**plain, "kernel": [2, 5], "padding": [0, 2], "weight": 248, "bias": -1},
        {"kind": "flatten"},
        {"kind": "linear", "weight": 328, "bias": -1},
    ]
    assert [layer["shape"] for layer in explorer.layers[:5]] == [[1, 28, 28], *[[4, 28, 10]] * 3, [4, 14, 10]]
    assert [layer["shape"] for layer in explorer.layers[-2:]] == [[30], [3]]
    weights = torch.from_numpy(np.frombuffer(explorer.weights, np.float32).copy())
    assert len(weights) == 418
    assert torch.equal(weights[:60], first.weight.flatten()) and torch.equal(weights[328:], last.weight.flatten())
    Z = torch.randn(1, 4, 2, 2)
    scale, shift = weights[64:72].view(2, 4, 1, 1)
    torch.testing.assert_close(Z * scale + shift, norm.eval()(Z))
    scale, shift = weights[72:80].view(2, 4, 1, 1)  # without weight and bias
    torch.testing.assert_close(Z * scale + shift, net[6].eval()(Z))


def test_classes_are_numbered_where_the_net_has_not_ten_outputs():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 3))
    assert explore_net(net, X).classes == ["class 0", "class 1", "class 2"]
    assert explore_net(net, X, classes=("a", "b", 3)).classes == ["a", "b", "3"]


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


class Invert(nn.Module):
    def forward(self, X):
        return 1 - X


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, X):
        return self.factor * X


SUPPORTED = (
    "Conv2d (groups=1, zero padding), Linear, Sigmoid, ReLU, Tanh, AvgPool2d and MaxPool2d (no padding, "
    "ceil_mode=False), BatchNorm2d, Dropout, Flatten, Identity, and a first layer that reshapes to (-1, 1, 28, 28)"
)


def put_before_flat(*layers):
    """Return a net of these layers that goes on with a flatten."""
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(784, 10))


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (put_before_flat(nn.LeakyReLU()), "net[0] (LeakyReLU(negative_slope=0.01))"),
        (put_before_flat(nn.Sequential(nn.ConvTranspose2d(1, 1, 3))), "net[0][0] (ConvTranspose2d(1, 1, …))"),
        (put_before_flat(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, groups=2)), "net[1] (Conv2d(2, 2, …, groups=2))"),
        (put_before_flat(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")), "net[0] (Conv2d(1, 1, …))"),
        (put_before_flat(nn.MaxPool2d(2, padding=1)), "net[0] (MaxPool2d(…))"),
        (put_before_flat(nn.MaxPool2d(2, padding=(0, 1))), "net[0] (MaxPool2d(…))"),
        (put_before_flat(nn.MaxPool2d(2, ceil_mode=True)), "net[0] (MaxPool2d(…))"),
        (put_before_flat(nn.MaxPool2d(2, dilation=2)), "net[0] (MaxPool2d(…))"),
        (put_before_flat(nn.MaxPool2d(2, return_indices=True)), "net[0] (MaxPool2d(…))"),
        (put_before_flat(nn.AvgPool2d(2, padding=1)), "net[0] (AvgPool2d(…))"),
        (put_before_flat(nn.AvgPool2d(2, ceil_mode=True)), "net[0] (AvgPool2d(…))"),
        (put_before_flat(nn.AvgPool2d(2, divisor_override=3)), "net[0] (AvgPool2d(…))"),
        (put_before_flat(nn.BatchNorm2d(1, track_running_stats=False)), "net[0] (BatchNorm2d(1, …))"),
        (put_before_flat(nn.Flatten(2)), "net[0] (Flatten(start_dim=2, …))"),
        (put_before_flat(nn.Flatten(1, 2)), "net[0] (Flatten(start_dim=1, end_dim=2))"),
        (put_before_flat(Invert()), "net[0] (Invert())"),
        (put_before_flat(Scale()), "net[0] (Scale())"),
        (put_before_flat(nn.Identity(), Reshape()), "net[1] (Reshape())"),
    ],
)
def test_message_names_the_unknown_layer(net, name):
    told = re.escape(f"{name} is not known to the explorer; it shows {SUPPORTED}").replace("…", ".*")
    assert re.fullmatch(told, explore_net(net, X).message)


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (
            nn.Sequential(nn.Conv2d(1, 6, 5), nn.Flatten(), nn.Linear(400, 10)),
            "net[2] (Linear) fails on its input of shape (1, 3456): RuntimeError: …",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 6, 5), nn.Flatten(), nn.Linear(5, 10)),
            "net[0] (Conv2d) fails on its input of shape (1, 1, 28, 28): RuntimeError: …",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 6, 5), nn.Linear(24, 10)),
            "net[1] (Linear) reads maps of shape (6, 24, 24); put nn.Flatten() before it",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 6, 5), nn.Sigmoid(), nn.Tanh()),
            "the last layer must be a Linear with one output per class; here it is net[2] (Tanh)",
        ),
        (nn.Sequential(), "the last layer must be a Linear with one output per class; here it is net, which is empty"),
        (
            put_before_flat(NoReturn()),
            "net[0] (NoReturn) must give one tensor, and gives NoneType: let its forward end in `return` and the "
            "tensor, and leave out options such as return_indices",
        ),
        (put_before_flat(Typo()), "net[0] (Typo) fails on its input of shape (1, 1, 28, 28): AttributeError: …"),
        *(
            (net, f"layer {name} has no weights yet: call net(torch.zeros(1, 1, 28, 28)) once, and try again.")
            for net, name in (
                (nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), "1 (LazyLinear)"),
                (nn.Sequential(nn.LazyConv2d(2, 3), nn.Flatten(), nn.LazyLinear(10)), "0 (LazyConv2d)"),
                (put_before_flat(nn.LazyBatchNorm2d()), "0 (LazyBatchNorm2d)"),
            )
        ),
        (nn.Bilinear(2, 2, 2), f"net is a Bilinear; the explorer shows an nn.Sequential of {SUPPORTED}"),
    ],
)
def test_message_names_the_layer(net, says):
    explorer = explore_net(net, X, y)
    assert re.fullmatch(re.escape(says).replace("…", r"\S+ .+"), explorer.message)
    assert explorer.summary() == f"NetExplorer: {explorer.message}"
    assert (explorer.layers, explorer.weights, explorer.predictions) == ([], b"", [])
    explorer.figure()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("layer", "name"), [(3, "weight"), (7, "bias"), (0, "running_var")])
def test_message_for_nan_weights(value, layer, name):
    net = make_lenet() if layer else put_before_flat(nn.BatchNorm2d(1))
    with torch.no_grad():
        getattr(net[layer], name).view(-1)[-1] = value
    explorer = explore_net(net, X, y)
    assert explorer.message == (
        f"layer {layer} ({type(net[layer]).__name__}) has weights that are NaN or infinite: "
        "the training has diverged. Train again with a smaller learning rate."
    )
    json.dumps(explorer.get_state(["layers", "labels", "predictions", "message"]), allow_nan=False)
    explorer.figure()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("net", X), TypeError, "net must be an nn.Sequential, not str"),
        ((make_lenet(), [1, 2]), TypeError, "images must be a tensor of shape (N, 1, 28, 28), not list"),
        *(
            (
                (make_lenet(), torch.zeros(shape)),
                ValueError,
                f"images must have the shape (N, 1, 28, 28) or (N, 28, 28), not {shape}",
            )
            for shape in ((3, 3, 28, 28), (3, 1, 32, 32), (28, 28), (1, 1, 1, 28, 28), (3, 28, 27))
        ),
        *(
            (
                (make_lenet(), torch.zeros(count, 1, 28, 28)),
                ValueError,
                f"give between 1 and 1,000 images, for example X[:100]; there are {count:,}",
            )
            for count in (0, 1001)
        ),
        (
            (make_lenet(), torch.linspace(-1, 1, 784).view(1, 28, 28)),
            ValueError,
            "pixels must lie in [0, 1]; these go from -1 to 1",
        ),
        (
            (make_lenet(), torch.linspace(0, 1.01, 784).view(1, 28, 28)),
            ValueError,
            "pixels must lie in [0, 1]; these go from 0 to 1.01",
        ),
        ((make_lenet(), X * float("nan")), ValueError, "pixels must lie in [0, 1]; these go from nan to nan"),
        (
            (make_lenet(), X, y[:3]),
            ValueError,
            "there are 12 images but 3 labels; give one per image, or none",
        ),
        ((make_lenet(), X, y + 1), ValueError, "labels must lie in 0…9; these go from 1 to 10"),
        ((make_lenet(), X, y - 1), ValueError, "labels must lie in 0…9; these go from -1 to 8"),
        (
            (make_lenet(), X, y, ["a", "b"]),
            ValueError,
            "the net has 10 outputs but there are 2 class names; give one per output",
        ),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments, error, says):
    with pytest.raises(error, match=f"^{re.escape(says)}$"):
        explore_net(*arguments)


def test_limits_of_images_are_inside():
    explorer = explore_net(make_lenet(), torch.stack([torch.zeros(28, 28), torch.ones(28, 28)]).repeat(500, 1, 1))
    assert len(explorer.predictions) == 1000
    assert len(explore_net(make_lenet(), X[:1]).predictions) == 1


def test_views():
    net = nn.Sequential(nn.Conv2d(1, 6, (5, 3)), nn.Flatten(), nn.Linear(6 * 24 * 26, 10))
    explorer = explore_net(net, X)

    def opened():
        return explorer.layer, explorer.unit, explorer.row, explorer.column, explorer.feature

    explorer.open_view(1, unit=5, row=23, column=25, feature=783)
    assert opened() == (1, 5, 23, 25, 783)
    explorer.open_view(3, feature=3743)
    assert opened() == (3, 0, 0, 0, 3743)
    explorer.open_view(1)
    assert opened() == (1, 0, 0, 0, 0)
    cannot = "step {} cannot be opened; convolutions and linear layers are the steps [1, 3]"
    outside = "({}, {}) is outside the map of 24 rows and 26 columns, counted from 0"
    for wrong, says in (
        *(((layer,), cannot.format(layer)) for layer in (-1, 0, 2, 4)),
        *(((1, unit), f"step 1 has the units 0…5; {unit} is none of them") for unit in (-1, 6)),
        *(((1, 0, *place), outside.format(*place)) for place in ((-1, 0), (24, 0), (0, -1), (0, 26))),
        *(((1, 0, 0, 0, n), f"the layer reads the features 0…783; {n} is none of them") for n in (-1, 784)),
        ((3, 0, 0, 0, 3744), "the layer reads the features 0…3743; 3744 is none of them"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
            explorer.open_view(*wrong)
    assert opened() == (1, 0, 0, 0, 0)
    explorer.close_view()
    assert explorer.layer == -1


@pytest.mark.parametrize(("labels", "caption"), [(None, "image 11"), (y, "image 11: trouser")])
def test_an_image_is_chosen_by_its_number(labels, caption):
    explorer = explore_net(make_lenet(), X, labels)
    explorer.choose(11)
    assert (explorer.index, explorer.caption) == (11, caption)
    assert explorer.picture == X[11].numpy().tobytes()
    for wrong in (-1, 12):
        with pytest.raises(ValueError, match=f"^there is no image {wrong}; choose 0…11$"):
            explorer.choose(wrong)


def read_page(path):
    """Return the state and the title in a saved page."""
    page = path.read_text("utf-8")
    state, title = (
        re.search(f"<{tag}>(.*?)</", page, re.DOTALL)[1]
        for tag in ('script type="application/json" id="state"', "title")
    )
    return json.loads(state), title


@pytest.mark.parametrize(("chosen", "index"), [(1, 1), (2, -1)])
def test_a_saved_page_has_the_first_images(tmp_path, chosen, index):
    explorer = explore_net(make_lenet(), X, y, ["<b>", *map(str, range(9))])
    explorer.choose(chosen)
    explorer.save(tmp_path / "page.html", images=2)
    state, title = read_page(tmp_path / "page.html")
    assert title == "My net: &lt;b&gt;, 0, 1, 2, 3, 4, 5, 6, 7, 8"
    assert base64.b64decode(state["images"]["bytes"]) == X[:2].numpy().tobytes()
    assert base64.b64decode(state["picture"]["bytes"]) == X[chosen].numpy().tobytes(), "the shown image stays"
    assert base64.b64decode(state["weights"]["bytes"]) == explorer.weights
    assert (state["labels"], state["predictions"]) == ([0, 1], explorer.predictions[:2])
    assert (state["index"], state["layers"], state["classes"]) == (index, explorer.layers, explorer.classes)


def test_a_saved_page_has_50_images_and_all_that_the_widget_has(tmp_path):
    images = torch.rand(60, 28, 28)
    with speaking("zh"):
        explorer = explore_net(make_lenet(), images)
    explorer.open_view(4, 9, 3, 4, 2)
    explorer.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    state, title = read_page(tmp_path / "page.html")
    assert len(state["predictions"]) == 50 and state["labels"] == []
    assert len(base64.b64decode(state["images"]["bytes"])) == 50 * 4 * 784
    assert [state[name] for name in ("layer", "unit", "row", "column", "feature", "scale")] == [4, 9, 3, 4, 2, "map"]
    assert state["language"] == "zh" and state["texts"] == explorer.texts
    assert '<html lang="zh">' in page and title.startswith("我的网络：")
    assert "const explorer = {" in page and "export default" not in page
    assert explorer._css in page
    assert not re.search(r"/\*(LANGUAGE|STYLE|SCRIPT|STATE)\*/|<!--TITLE-->", page)


@contextmanager
def full_disk():
    """No file may grow beyond 5,000 bytes, as on a full disk; that holds for a file that pytest writes to as well."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.fault("panel and explorers", "a page that cannot be saved")
def test_on_a_full_disk_the_page_saved_before_stays_whole(tmp_path):
    explorer, path = explore_net(make_lenet(), X), tmp_path / "page.html"
    explorer.save(path)
    before = path.read_bytes()
    says = f"[Errno 27] {path} cannot be written (File too large): make room in its folder and make it writable, "
    why = f"^{re.escape(says)}or give another path; what was there is unchanged$"
    with full_disk(), pytest.raises(OSError, match=why):
        explorer.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.fault("panel and explorers", "a page that cannot be saved")
def test_a_page_cannot_be_saved_in_a_folder_that_is_not_there_or_in_place_of_one(tmp_path):
    explorer = explore_net(make_lenet(), X)
    with pytest.raises(FileNotFoundError, match=f"^there is no folder {tmp_path}/new to write page.html in: make the"):
        explorer.save(str(tmp_path / "new" / "page.html"))
    with pytest.raises(IsADirectoryError, match=r"cannot be written \(Is a directory\): .* or give another path"):
        explorer.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    explorer.save(tmp_path / "page.html")


def test_cell_stores_a_picture():
    data, _ = explore_net(make_lenet(), X)._repr_mimebundle_()
    assert data["text/plain"] == "NetExplorer: 13 steps, 12 images; run this cell to explore the net"
    assert data["image/png"].startswith("iVBOR")


def test_similarity_of_activations():
    net = make_lenet()
    images = torch.stack([X[0, 0], make_noise(5), X[0, 0]])
    names, outputs, similarity = compare_activations(net, images)
    assert names[0] == "image"
    assert similarity.shape == (13, 3)
    np.testing.assert_allclose(similarity[:, [0, 2]], 1)
    assert abs(similarity[0, 1]) < 0.2
    assert similarity[-1, 1] == pytest.approx(np.corrcoef(outputs[-1][0], outputs[-1][1])[0, 1])
    torch.testing.assert_close(outputs[-1][1], net(images[1].reshape(1, 1, 28, 28))[0])
    assert len(show_activations(net, images, ["a", "b", "c"]).axes) == 3 * 8
    with pytest.raises(ValueError, match=r"^there are 3 images but 2 names; give one name per image$"):
        show_activations(net, images, ["a", "b"])


def test_steps_are_named_without_a_reshape():
    net = nn.Sequential(Reshape(), nn.Flatten(), nn.Linear(784, 3))
    names, outputs, similarity = compare_activations(net, X[:2])
    assert names == ["image", "Flatten", "Linear"]
    assert [tuple(step[0].shape) for step in outputs] == [(1, 28, 28), (784,), (3,)]
    assert similarity.shape == (3, 2)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 2.0, 3.0], [-2.0, 0.0, 2.0], 1),
        ([1.0, 2.0, 3.0], [6.0, 4.0, 2.0], -1),
        ([1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0], 0),
        ([1.0, 2.0], [5.0, 5.0], 0),
        ([[[0.0, 1.0], [0.0, 1.0]], [[9.0, 9.0], [9.0, 9.0]]], [[[3.0, 5.0], [3.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]]], 1),
        ([[[0.0, 1.0], [2.0, 3.0]]], [[[0.0, 2.0], [1.0, 3.0]]], 0.8),
    ],
)
def test_correlation(a, b, expected):
    assert correlation(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected)


def test_maps_stand_side_by_side():
    maps = np.arange(1, 13).reshape(3, 2, 2)
    nan = np.nan
    np.testing.assert_array_equal(
        tile(maps, 2),
        [[1, 2, nan, 5, 6], [3, 4, nan, 7, 8], [nan] * 5, [9, 10, nan, nan, nan], [11, 12, nan, nan, nan]],
    )


@pytest.mark.parametrize("name", ["$x_{$", "<b>&", "50 % \\"])
def test_the_pictures_show_any_class_name_as_it_is(name):
    net, classes = make_lenet(), [name] * 10
    explorer = explore_net(net, X[:2], y[:2], classes)
    explorer.show(X[0, 0], name)
    for figure in (explorer.figure(), show_activations(net, X[:2], [name] * 2, classes)):
        figure.savefig(io.BytesIO(), format="png")
        assert any(name in text.get_text() for text in figure.findobj(Text))
