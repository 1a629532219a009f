"""Widgets to look inside a convolutional net; every ``explore_`` function returns one."""

from lenet_helpers.explorers.compare import compare_activations, show_activations
from lenet_helpers.explorers.depth import explore_signals
from lenet_helpers.explorers.errors import explore_errors
from lenet_helpers.explorers.images import make_noise, prepare_image
from lenet_helpers.explorers.net import explore_net
from lenet_helpers.explorers.replay import explore_epochs
from lenet_helpers.explorers.shape_lab import explore_shapes
from lenet_helpers.explorers.walk import explore_walk
from lenet_helpers.explorers.window import explore_window

__all__ = [
    "compare_activations",
    "explore_epochs",
    "explore_errors",
    "explore_net",
    "explore_shapes",
    "explore_signals",
    "explore_walk",
    "explore_window",
    "make_noise",
    "prepare_image",
    "show_activations",
]
