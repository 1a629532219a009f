"""Replay a training: the kernels, the maps of one image and the confusion matrix of every epoch."""

import copy

import numpy as np
import traitlets
from matplotlib.figure import Figure
from torch import nn

from lenet_helpers.explorers.base import Explorer
from lenet_helpers.explorers.errors import count_confusions, draw_confusions, score_images
from lenet_helpers.explorers.images import SIZE
from lenet_helpers.explorers.net import (
    check_classes,
    check_images,
    copy_net,
    find_nan,
    flat_layers,
    join_scripts,
    join_styles,
    run_layers,
    show_maps,
    synced_bytes,
)
from lenet_helpers.language import _, speaking


class EpochReplay(Explorer):
    """The slider of ``explore_epochs``; ``epoch`` counts from 1.

    ``counts[e]`` is the confusion matrix after epoch e + 1, ``accuracies`` the list of accuracies, ``messages[e]`` says
    what is wrong with the weights of an epoch, and is empty for good ones.
    """

    _esm = join_scripts("confusions.js", "replay.js")
    _css = join_styles("confusions.css", "replay.css")

    classes = traitlets.List().tag(sync=True)
    pictures = traitlets.List(help="name and shape (maps, height, width) of each row of pictures").tag(sync=True)
    values = synced_bytes()
    image = synced_bytes()
    counts = traitlets.List().tag(sync=True)
    probabilities = traitlets.List().tag(sync=True)
    messages = traitlets.List().tag(sync=True)
    epoch = traitlets.Int(1).tag(sync=True)

    def __init__(self, net, snapshots, test_iter, image, classes=None):
        if not snapshots:
            raise ValueError("snapshots is empty; train with train_ch6(..., snapshots=snapshots), which fills the list")
        net = copy_net(net)
        X = check_images(image.reshape(1, 1, SIZE, SIZE) if image.numel() == SIZE * SIZE else image[None])
        batches = list(test_iter)
        epochs = [replay_epoch(net, snapshot, batches, X, i + 1) for i, snapshot in enumerate(snapshots)]
        self._values = [epoch["pictures"] for epoch in epochs]
        if not epochs[0]["pictures"]:
            raise ValueError("the net has no nn.Conv2d, so there are no kernels and no maps to replay")
        super().__init__(
            classes=check_classes(classes, len(epochs[0]["counts"])),
            pictures=[[tell_picture(*key), list(values.shape)] for key, values in epochs[0]["pictures"]],
            values=np.concatenate([values.ravel() for epoch in epochs for key, values in epoch["pictures"]]).tobytes(),
            image=X.numpy().tobytes(),
            counts=[epoch["counts"] for epoch in epochs],
            probabilities=[epoch["probabilities"] for epoch in epochs],
            messages=[epoch["message"] for epoch in epochs],
        )
        self.epoch = len(epochs)

    @traitlets.validate("epoch")
    def _check_epoch(self, proposal):
        if self.counts and not 1 <= proposal.value <= len(self.counts):
            raise traitlets.TraitError(f"there are the epochs 1…{len(self.counts)}; {proposal.value} is none of them")
        return proposal.value

    @property
    def accuracies(self):
        """The accuracy on the test set after each epoch."""
        return [float(np.trace(counts) / np.sum(counts)) for counts in self.counts]

    def tell(self):
        return _("{count} epochs; run this cell to move through the training").format(count=len(self.counts))

    def figure(self):
        figure = Figure((11, 5), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[1.2, 1])
        pictures = self._values[self.epoch - 1]
        for ax, (key, values) in zip(left.subplots(len(pictures), 1, squeeze=False)[:, 0], pictures, strict=True):
            with speaking("en"):
                show_maps(ax, values, tell_picture(*key), across=min(len(values), 16))
        axes = right.subplots()
        draw_confusions(axes, np.array(self.counts[self.epoch - 1]), self.classes)
        axes.set_title(f"after epoch {self.epoch}: accuracy {self.accuracies[self.epoch - 1]:.3f}", fontsize=9)
        return figure


def explore_epochs(net, snapshots, test_iter, image, classes=None):
    """Return a widget with a slider over the epochs of a training.

    ``snapshots`` is the list of state dicts that ``train_ch6(..., snapshots=...)`` fills, one per epoch; ``image`` has
    28 × 28 pixels in [0, 1]. Raises ValueError if there is no snapshot, or one does not fit ``net``.
    """
    return EpochReplay(net, snapshots, test_iter, image, classes)


def tell_picture(kind, convolution, after=""):
    """Return the name of a row of kernels or maps: those of a convolution, counted from 1, ``after`` a layer."""
    if kind == "kernels":
        text = _("kernels of convolution {number}")
    else:
        text = _("maps of convolution {number} after {layer}") if after else _("maps of convolution {number}")
    return text.format(number=convolution, layer=after)


def replay_epoch(net, snapshot, batches, X, epoch):
    """Return what is shown of one epoch: pictures as ``(key, array (maps, height, width))``, counts, probabilities.

    The key of a picture is what ``tell_picture`` takes.
    """
    net = copy.deepcopy(net)
    try:
        net.load_state_dict(snapshot)
    except RuntimeError as error:
        raise ValueError(f"the weights after epoch {epoch} do not fit this net: {error}") from error
    message = find_nan(net)
    layers = [layer for name, layer in flat_layers(net)]
    outputs = run_layers(net, X[None])
    layers, outputs = layers[len(layers) - len(outputs) + 1 :], outputs[1:]  # without a reshape, without the image
    pictures, convolutions = [], 0
    for i, (layer, output) in enumerate(zip(layers, outputs, strict=True)):
        if not isinstance(layer, nn.Conv2d):
            continue
        convolutions += 1
        kernels = layer.weight.detach()
        pictures.append((("kernels", convolutions), kernels.flatten(0, 1)))
        after = layers[i + 1] if i + 1 < len(layers) else layer
        follows = not isinstance(after, nn.Flatten | nn.Linear | nn.Conv2d)
        key = "maps", convolutions, type(after).__name__ if follows else ""
        pictures.append((key, outputs[i + 1] if follows else output))
    labels, probabilities = score_images(net, batches)[1:]
    return {
        "pictures": [(key, np.nan_to_num(values.numpy()).astype(np.float32)) for key, values in pictures],
        "counts": count_confusions(labels, probabilities.argmax(1), probabilities.shape[1]).tolist(),
        "probabilities": outputs[-1].softmax(0).nan_to_num(0).tolist(),
        "message": message,
    }
