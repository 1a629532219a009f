"""Put images side by side, step by step: a pullover, a coat, noise, and what changes between them."""

import numpy as np
import torch

from lenet_helpers.explorers.images import SIZE
from lenet_helpers.explorers.net import check_classes, check_images, copy_net, flat_layers, run_layers, show_maps
from lenet_helpers.figures import Picture


def compare_activations(net, images):
    """Return ``(names, outputs, similarity)`` for images of shape (N, 1, 28, 28) or (N, 28, 28).

    ``outputs[k][n]`` is what step k makes of image n; ``similarity`` has the shape (steps, N): how much each step's
    output correlates with that for the first image, see ``correlation``.
    """
    net, images = copy_net(net), check_images(images)
    per_image = [run_layers(net, X.reshape(1, 1, SIZE, SIZE)) for X in images]
    layers = [type(layer).__name__ for _, layer in flat_layers(net)]
    names = ["image", *layers[len(layers) - len(per_image[0]) + 1 :]]
    outputs = list(zip(*per_image, strict=True))
    similarity = np.array([[correlation(output, step[0]) for output in step] for step in outputs])
    return names, outputs, similarity


def correlation(a, b):
    """Return the correlation of two outputs: 1 for the same patterns, about 0 for unrelated ones.

    Of maps (C, H, W) each map's mean is taken away first, so that only patterns count; 0 if all is constant.
    """
    axes = (1, 2) if a.dim() == 3 else 0
    a, b = ((x.double() - x.double().mean(axes, keepdim=True)).flatten() for x in (a, b))
    return float(a @ b / (a.norm() * b.norm()).clamp_min(1e-12))


def show_activations(net, images, names, classes=None):
    """Return a Picture: one row per image, one column per step of maps, and the probabilities at the end.

    ``names`` has one name per image. The titles say how much a step's output correlates with that of the first image.
    """
    if len(names) != len(images):
        raise ValueError(f"there are {len(images)} images but {len(names)} names; give one name per image")
    steps, outputs, similarity = compare_activations(net, images)
    classes = check_classes(classes, len(outputs[-1][0]))
    shown = [k for k, output in enumerate(outputs) if output[0].dim() == 3]
    figure = Picture((1.7 * len(shown) + 2.6, 1.75 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), len(shown) + 1, squeeze=False, width_ratios=[1] * len(shown) + [1.3])
    for n, name in enumerate(names):
        for ax, k in zip(axes[n], shown, strict=False):
            likeness = f"like {names[0]}: {similarity[k, n]:.2f}" if n else ""
            show_maps(ax, outputs[k][n], f"{k} {steps[k]}\n{likeness}" if k else f"{name}\n{likeness}")
        probabilities = torch.softmax(outputs[-1][n], 0).numpy()
        bars = axes[n, -1]
        bars.barh(range(len(classes)), probabilities, color="#0072b2")
        bars.set_yticks(range(len(classes)), classes, fontsize=6, parse_math=False)
        bars.set_xlim(0, 1)
        bars.tick_params(axis="x", labelsize=6)
        bars.invert_yaxis()
        title = f"{classes[probabilities.argmax()]} {probabilities.max():.2f}"
        bars.set_title(title, fontsize=7, parse_math=False)
    return figure
