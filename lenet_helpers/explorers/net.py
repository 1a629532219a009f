"""Look inside your own net: every map of every step, every product of a convolution, the softmax."""

import base64
import copy
import html
import json
import math
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
import traitlets
from ipywidgets.widgets.trait_types import bytes_serialization
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import nn
from torch.nn.parameter import is_lazy

from lenet_helpers.data import CLASSES
from lenet_helpers.explorers.base import HERE, Explorer, read_script, read_style
from lenet_helpers.explorers.images import SIZE, prepare_image
from lenet_helpers.language import _, speaking
from lenet_helpers.shapes import run_layer

MAX_IMAGES = 1000
SIGNED = LinearSegmentedColormap.from_list("signed", ["#d55e00", "white", "#0072b2"])  # as in the page
ACTIVATIONS = {nn.Sigmoid: "sigmoid", nn.ReLU: "relu", nn.Tanh: "tanh"}
SCRIPTS = (
    *("images.js", "forward.js", "net_drawing.js", "net_overview.js", "net_convolution.js"),
    *("net_dense.js", "net_sources.js", "net.js"),
)
STATE = (
    *("layers", "weights", "classes", "images", "labels", "predictions", "message"),
    *("picture", "caption", "index", "scale", "layer", "unit", "row", "column", "feature"),
    *("language", "texts"),
)


def join_scripts(first, *others):
    """Return several JavaScript files as one module, with the shared helpers in front."""
    return "".join([read_script(first), *((HERE / name).read_text("utf-8") for name in others)])


def join_styles(first, *others):
    """Return several style sheets as one, with the shared one in front."""
    return "".join([read_style(first), *((HERE / name).read_text("utf-8") for name in others)])


def synced_bytes():
    """Return a trait that travels to the page and back as raw bytes."""
    return traitlets.Bytes(b"").tag(sync=True, **bytes_serialization)


class NetExplorer(Explorer):
    """The net of ``explore_net``: an overview, and views of one convolution map or one linear unit.

    Steps are counted from 0, the image; maps, rows, columns and features from 0, too. ``layer`` is the opened step, or
    -1 for the overview. ``message`` says why the net cannot be shown; it is empty for a good net.
    """

    _esm = join_scripts(*SCRIPTS)
    _css = read_style("net.css")

    layers = traitlets.List().tag(sync=True)
    weights = synced_bytes()
    classes = traitlets.List().tag(sync=True)
    images = synced_bytes()
    labels = traitlets.List().tag(sync=True)
    predictions = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    picture = synced_bytes()
    caption = traitlets.Unicode().tag(sync=True)
    index = traitlets.Int(-1).tag(sync=True)
    scale = traitlets.Enum(["map", "layer", "all"], "map").tag(sync=True)
    layer = traitlets.Int(-1).tag(sync=True)
    unit = traitlets.Int(0).tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    column = traitlets.Int(0).tag(sync=True)
    feature = traitlets.Int(0).tag(sync=True)

    def __init__(self, net, images, labels=None, classes=None):
        images = check_images(images)
        self.net = copy_net(net)
        self._images = images
        labels = [] if labels is None else [int(label) for label in labels]
        if labels and len(labels) != len(images):
            raise ValueError(f"there are {len(images)} images but {len(labels)} labels; give one per image, or none")
        message, layers, weights = inspect_net(self.net)
        predictions = [] if message else predict(self.net, images).argmax(1).tolist()
        units = layers[-1]["shape"][0] if layers else len(CLASSES)
        classes = check_classes(classes, units)
        if labels and not 0 <= min(labels) <= max(labels) < units:
            raise ValueError(f"labels must lie in 0…{units - 1}; these go from {min(labels)} to {max(labels)}")
        super().__init__(
            layers=layers, weights=weights.tobytes(), classes=classes, images=images.numpy().tobytes(), labels=labels,
            predictions=predictions, message=message,
        )  # fmt: skip
        self.choose(0)

    def choose(self, index):
        """Show the image with this number among the explorer's images."""
        if not 0 <= index < len(self._images):
            raise ValueError(f"there is no image {index}; choose 0…{len(self._images) - 1}")
        caption = f"image {index}" + (f": {self.classes[self.labels[index]]}" if self.labels else "")
        self._show(self._images[index], index, caption)

    def show(self, image, caption="your image"):
        """Show a picture: a tensor of 28 × 28 pixels as it is, all else as ``prepare_image`` makes it."""
        if isinstance(image, torch.Tensor) and image.numel() == SIZE * SIZE:
            X = check_images(image.reshape(1, 1, SIZE, SIZE))[0]
        else:
            X = prepare_image(image)[0]
        self._show(X, -1, caption)

    def _show(self, X, index, caption):
        with self.hold_sync():
            self.index, self.caption, self.picture = index, caption, X.numpy().tobytes()

    def open_view(self, layer, unit=0, row=0, column=0, feature=0):
        """Open the view of one map of a convolution, or of one unit of a linear layer."""
        if not 0 <= layer < len(self.layers) or self.layers[layer]["kind"] not in ("conv", "linear"):
            numbers = [i for i, step in enumerate(self.layers) if step["kind"] in ("conv", "linear")]
            raise ValueError(f"step {layer} cannot be opened; convolutions and linear layers are the steps {numbers}")
        shape = self.layers[layer]["shape"]
        if not 0 <= unit < shape[0]:
            raise ValueError(f"step {layer} has the units 0…{shape[0] - 1}; {unit} is none of them")
        if len(shape) == 3 and not (0 <= row < shape[1] and 0 <= column < shape[2]):
            raise ValueError(
                f"({row}, {column}) is outside the map of {shape[1]} rows and {shape[2]} columns, counted from 0"
            )
        features = math.prod(self.layers[layer - 1]["shape"])
        if not 0 <= feature < features:
            raise ValueError(f"the layer reads the features 0…{features - 1}; {feature} is none of them")
        with self.hold_sync():
            self.layer, self.unit, self.row, self.column, self.feature = layer, unit, row, column, feature

    def close_view(self):
        """Go back to the overview."""
        self.layer = -1

    def activations(self):
        """Return what PyTorch computes for the shown image: one tensor per step, the image first, without the batch."""
        X = torch.tensor(np.frombuffer(self.picture, np.float32)).reshape(1, 1, SIZE, SIZE)
        return run_layers(self.net, X)

    def save(self, path, images=50):
        """Write a page that works in any browser with no kernel and no network; it has the first ``images`` images.

        Raises OSError, which says what to do, if it cannot be written; a page that was there before stays whole.
        """
        state = {name: getattr(self, name) for name in STATE}
        state["images"] = self.images[: images * 4 * SIZE * SIZE]
        state["labels"], state["predictions"] = self.labels[:images], self.predictions[:images]
        if self.index >= images:
            state["index"] = -1
        state = {k: {"bytes": base64.b64encode(v).decode()} if isinstance(v, bytes) else v for k, v in state.items()}
        with speaking(self.language):
            title = _("My net: {classes}").format(classes=", ".join(self.classes))
        page = (HERE / "saved.html").read_text("utf-8")
        script = str(self._esm).replace("export default", "const explorer =", 1)
        for mark, text in (
            ("/*LANGUAGE*/", self.language),
            ("/*STYLE*/", str(self._css)),
            ("/*SCRIPT*/", script),
            ("/*STATE*/", json.dumps(state, allow_nan=False).replace("<", "\\u003c")),
            ("<!--TITLE-->", html.escape(title)),
        ):
            page = page.replace(mark, text, 1)
        write_whole(Path(path), page)

    def tell(self):
        text = _("{count} steps, {images} images; run this cell to explore the net")
        return self.message or text.format(count=len(self.layers), images=len(self._images))

    def figure(self):
        if self.message:
            figure = Figure((8, 1))
            with speaking("en"):
                figure.text(0.02, 0.5, inspect_net(self.net)[0], wrap=True, va="center", parse_math=False)
            return figure
        return draw_overview(self.layers, self.activations(), self.classes, self.caption)


def write_whole(path, text):
    """Write a text file, or leave what is there as it was; raise OSError, which says what to do, if this fails."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in: make the folder first")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".incoming-") as incoming:
            (Path(incoming) / path.name).write_text(text, encoding="utf-8")
            os.replace(Path(incoming) / path.name, path)  # complete or not there at all
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} cannot be written ({error.strerror}): make room in its folder and make it writable, "
            "or give another path; what was there is unchanged",
        ) from error


def explore_net(net, images, labels=None, classes=None):
    """Return a widget that shows how ``net`` computes, on the net's own weights.

    ``net`` is an ``nn.Sequential`` for images of 28 × 28 pixels; ``images`` has the shape (N, 1, 28, 28) or
    (N, 28, 28), in [0, 1], at most 1,000; ``labels`` has the shape (N,). A net that cannot be shown gets a message in
    the widget that names the layer.
    """
    return NetExplorer(net, images, labels, classes)


def check_images(images):
    """Return images as float32 of shape (N, 28, 28); raise TypeError or ValueError if they are none."""
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"images must be a tensor of shape (N, 1, 28, 28), not {type(images).__name__}")
    if images.shape[-2:] != (SIZE, SIZE) or images.dim() not in (3, 4) or (images.dim() == 4 and images.shape[1] != 1):
        raise ValueError(f"images must have the shape (N, 1, 28, 28) or (N, 28, 28), not {tuple(images.shape)}")
    if not 1 <= len(images) <= MAX_IMAGES:
        raise ValueError(f"give between 1 and {MAX_IMAGES:,} images, for example X[:100]; there are {len(images):,}")
    images = images.detach().cpu().reshape(-1, SIZE, SIZE).float().contiguous()
    if not (images.min() >= 0 and images.max() <= 1):  # NaN fails this, too
        raise ValueError(f"pixels must lie in [0, 1]; these go from {images.min():.3g} to {images.max():.3g}")
    return images


def check_classes(classes, units):
    """Return the class names as a list; by default Fashion-MNIST's, or numbers where the net has not ten outputs."""
    if classes is None:
        classes = CLASSES if units == len(CLASSES) else [f"class {i}" for i in range(units)]
    if len(classes) != units:
        raise ValueError(f"the net has {units} outputs but there are {len(classes)} class names; give one per output")
    return [str(name) for name in classes]


def copy_net(net):
    """Return a copy of the net in evaluation mode on the CPU, so that the explorer never changes the net itself."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be an nn.Sequential, not {type(net).__name__}")
    if any(map(is_lazy, [*net.parameters(), *net.buffers()])):
        return net  # without weights it cannot be copied: find_nan says so
    return copy.deepcopy(net).cpu().float().eval()


def inspect_net(net):
    """Return ``(message, layers, weights)``: why the net cannot be shown, or an empty text and what describes it."""
    message = find_nan(net)
    if not message:
        try:
            return "", *describe_net(net)
        except ValueError as error:
            message = str(error)
    return message, [], np.zeros(0, np.float32)


def find_nan(net):
    """Return a message that names the first layer with weights that are NaN, infinite or missing; "" if all is well."""
    for path, layer in net.named_modules():
        tensors = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
        name = f"{path} ({type(layer).__name__})"
        if any(map(is_lazy, tensors)):
            text = _("layer {layer} has no weights yet: call net(torch.zeros(1, 1, 28, 28)) once, and try again.")
            return text.format(layer=name)
        if not all(tensor.isfinite().all() for tensor in tensors):
            text = _(
                "layer {layer} has weights that are NaN or infinite: "
                "the training has diverged. Train again with a smaller learning rate."
            )
            return text.format(layer=name)
    return ""


def tell_supported():
    """Say which layers the explorer shows."""
    return _(
        "Conv2d (groups=1, zero padding), Linear, Sigmoid, ReLU, Tanh, AvgPool2d and MaxPool2d (no padding, "
        "ceil_mode=False), BatchNorm2d, Dropout, Flatten, Identity, and a first layer that reshapes to (-1, 1, 28, 28)"
    )


def flat_layers(net, path="net"):
    """Yield ``(name, layer)`` for every layer of an ``nn.Sequential``, those of nested ones included."""
    if not isinstance(net, nn.Sequential):
        text = _("{path} is a {kind}; the explorer shows an nn.Sequential of {supported}")
        raise ValueError(text.format(path=path, kind=type(net).__name__, supported=tell_supported()))
    for i, layer in enumerate(net):
        name = f"{path}[{i}]"
        if isinstance(layer, nn.Sequential):
            yield from flat_layers(layer, name)
        else:
            yield name, layer


def is_reshape(name, layer, X):
    """Return whether a layer of the learner's own only puts images into the shape (N, 1, 28, 28)."""
    if type(layer).__module__.startswith("torch.nn") or next(layer.parameters(), None) is not None:
        return False
    return torch.equal(run_layer(f"{name} ({type(layer).__name__})", layer, X), X)


def run_layers(net, X):
    """Return the outputs of all layers for one image of shape (1, 1, 28, 28); the first one is the image."""
    outputs = [X[0]]
    with torch.no_grad():
        for i, (name, layer) in enumerate(flat_layers(net)):
            if i == 0 and is_reshape(name, layer, X):
                continue
            X = run_layer(f"{name} ({type(layer).__name__})", layer, X)
            outputs.append(X[0])
    return outputs


def predict(net, images):
    """Return the outputs of the net for images of shape (N, 28, 28)."""
    with torch.no_grad():
        return net(images.unsqueeze(1))


def describe_net(net):
    """Return ``(layers, weights)``: what the page needs to compute each step, and all numbers in one float32 array.

    Raises ValueError that names the first layer that the explorer does not know.
    """
    steps = list(flat_layers(net))
    X = torch.linspace(0, 1, SIZE * SIZE).reshape(1, 1, SIZE, SIZE)
    if steps and is_reshape(*steps[0], X):
        steps = steps[1:]
    numbers = _Numbers()
    layers = [{"kind": "image", "name": "image", "shape": [1, SIZE, SIZE]}]
    known = [describe_layer(name, layer, numbers) for name, layer in steps]
    outputs = run_layers(net, X)
    for (name, layer), entry, before, after in zip(steps, known, outputs, outputs[1:], strict=False):
        if entry["kind"] == "linear" and before.dim() != 1:
            text = _("{layer} reads maps of shape {shape}; put nn.Flatten() before it")
            raise ValueError(text.format(layer=f"{name} (Linear)", shape=tuple(before.shape)))
        layers.append({**entry, "name": type(layer).__name__, "shape": list(after.shape)})
    if layers[-1]["kind"] != "linear":
        last = f"{steps[-1][0]} ({type(steps[-1][1]).__name__})" if steps else _("net, which is empty")
        text = _("the last layer must be a Linear with one output per class; here it is {last}")
        raise ValueError(text.format(last=last))
    return layers, numbers.concatenated()


class _Numbers:
    """Tensors one behind the other; ``add`` returns where a tensor starts."""

    def __init__(self):
        self.parts, self.length = [], 0

    def add(self, tensor):
        if tensor is None:
            return -1
        self.parts.append(tensor.detach().numpy().ravel())
        start, self.length = self.length, self.length + tensor.numel()
        return start

    def concatenated(self):
        return np.concatenate([*self.parts, np.zeros(0)]).astype(np.float32)


def pair(size):
    """Return a size that may be an int or a tuple as a list of two."""
    return list(size) if isinstance(size, tuple | list) else [size, size]


def is_plain_pool(layer):
    """Return whether a pooling has no padding and no rarely used option."""
    if pair(layer.padding) != [0, 0] or layer.ceil_mode:
        return False
    if isinstance(layer, nn.AvgPool2d):
        return layer.divisor_override is None
    return pair(layer.dilation) == [1, 1] and not layer.return_indices


def describe_layer(name, layer, numbers):
    """Return the description of one layer for the page, and put its weights into ``numbers``; see ``describe_net``."""
    kind = type(layer)
    if kind in ACTIVATIONS:
        return {"kind": "activation", "function": ACTIVATIONS[kind]}
    if kind is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros":
        padding = layer.padding
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        if isinstance(padding, str):  # where "same" is uneven, the odd row or column comes last
            padding = [0, 0] if padding == "valid" else [t // 2 for t in total]
        return {
            "kind": "conv", "kernel": pair(layer.kernel_size), "stride": pair(layer.stride), "padding": pair(padding),
            "dilation": pair(layer.dilation), "weight": numbers.add(layer.weight), "bias": numbers.add(layer.bias),
        }  # fmt: skip
    if kind in (nn.AvgPool2d, nn.MaxPool2d) and is_plain_pool(layer):
        function = "mean" if kind is nn.AvgPool2d else "max"
        return {"kind": "pool", "function": function, "kernel": pair(layer.kernel_size), "stride": pair(layer.stride)}
    if kind is nn.BatchNorm2d and layer.track_running_stats:
        scale = (layer.running_var + layer.eps).rsqrt() * (1 if layer.weight is None else layer.weight)
        shift = (0 if layer.bias is None else layer.bias) - layer.running_mean * scale
        return {"kind": "norm", "scale": numbers.add(scale), "shift": numbers.add(shift)}
    if kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
        return {"kind": "flatten"}
    if kind is nn.Linear:
        return {"kind": "linear", "weight": numbers.add(layer.weight), "bias": numbers.add(layer.bias)}
    if kind in (nn.Dropout, nn.Dropout2d, nn.Identity):
        return {"kind": "same"}
    text = _("{layer} is not known to the explorer; it shows {supported}")
    raise ValueError(text.format(layer=f"{name} ({layer})", supported=tell_supported()))


def tile(maps, across):
    """Return maps (C, H, W) as one picture with ``across`` of them in a row and NaN between them."""
    count, height, width = maps.shape
    down = math.ceil(count / across)
    picture = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for i, one in enumerate(maps):
        r, c = divmod(i, across)
        picture[r * (height + 1) : r * (height + 1) + height, c * (width + 1) : c * (width + 1) + width] = one
    return picture


def show_maps(axes, tensor, title, across=None):
    """Draw a step's output on axes: gray for values of one sign, blue and orange around 0 for both.

    Maps (C, H, W) stand ``across`` in a row: by default two, or four where there are many.
    """
    values = np.asarray(tensor, dtype=float)
    maps = values if values.ndim == 3 else values.reshape(1, -1, math.gcd(values.size, 4))
    if values.ndim == 3 and len(values) > 1:
        maps = tile(values, across or (2 if len(values) <= 8 else 4))[None]
    low, high = values.min(), values.max()
    limit = max(-low, high)
    colours = {"cmap": SIGNED, "vmin": -limit, "vmax": limit} if low < 0 < high else {"cmap": "gray_r"}
    axes.imshow(maps[0], interpolation="nearest", **colours)
    axes.set_title(title, fontsize=7, parse_math=False)
    axes.set_axis_off()


def draw_overview(layers, outputs, classes, caption):
    """Return a Figure with the maps of every step, and the probabilities of the classes at the end."""
    figure = Figure((12, 3.4), layout="constrained")
    axes = figure.subplots(1, len(layers) + 1, width_ratios=[1] * len(layers) + [1.6])
    for step, (layer, output, ax) in enumerate(zip(layers, outputs, axes, strict=False)):
        show_maps(ax, output, f"{step}\n{layer['name']}\n{'×'.join(map(str, layer['shape']))}")
    probabilities = outputs[-1].softmax(0).numpy()
    axes[-1].barh(range(len(classes)), probabilities, color="#0072b2")
    axes[-1].set_yticks(range(len(classes)), classes, fontsize=7, parse_math=False)
    axes[-1].tick_params(axis="x", labelsize=7)
    axes[-1].set_xlim(0, 1)
    axes[-1].invert_yaxis()
    axes[-1].set_title("probability", fontsize=7)
    figure.suptitle(f"{caption} → {classes[probabilities.argmax()]}", fontsize=9, parse_math=False)
    return figure
