"""Measure how far signals reach in an untrained net: activations on the way forward, gradients on the way back."""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from lenet_helpers.language import _

WIDTH = 100  # units in each hidden layer of ``make_dense_net``


class ScaledTanh(nn.Module):
    """Compute 1.7159 tanh(2x / 3), the activation function of LeCun et al. (1998)."""

    def forward(self, x):
        return 1.7159 * torch.tanh(2 / 3 * x)


ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "scaled tanh": ScaledTanh, "ReLU": nn.ReLU}
INITS = {
    "PyTorch's default": None,
    "Xavier": nn.init.xavier_uniform_,
    "He": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "normal, 0.01": partial(nn.init.normal_, std=0.01),
}


@dataclass(frozen=True)
class Signal:
    """What one layer with weights does with a mini-batch.

    ``activations`` has shape (images, units): what the layer hands on, after its activation function. ``spread`` is
    their standard deviation over the images, averaged over the units. ``gradient_rms`` is that of the weights.
    """

    activations: torch.Tensor
    spread: float
    gradient_rms: float


def make_dense_net(activation, init, depth):
    """Return a net for 28×28 images with ``depth`` hidden layers of 100 units, its weights drawn by an init of INITS.

    All inits but PyTorch's own set the biases to 0.
    """
    sizes = [28 * 28] + [WIDTH] * depth
    layers = [nn.Flatten()]
    for n, m in pairwise(sizes):
        layers += [nn.Linear(n, m), ACTIVATIONS[activation]()]
    layers += [nn.Linear(sizes[-1], 10)]
    if INITS[init]:
        for layer in layers[1::2]:
            INITS[init](layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def gradient_rms(net, X, y):
    """Return the RMS of the loss's gradient for each layer's weights, from the first layer to the last."""
    weights = [layer.weight for layer in net if hasattr(layer, "weight")]
    loss = F.cross_entropy(net(X), y)
    return [gradient.square().mean().sqrt().item() for gradient in torch.autograd.grad(loss, weights)]


def measure_signals(net, X, y):
    """Return a ``Signal`` for each layer with weights of an nn.Sequential, for images X and their labels y."""
    outputs = []
    with torch.no_grad():
        H = X
        for layer in net:
            H = layer(H)
            if hasattr(layer, "weight"):
                outputs.append(H.flatten(1))
            elif isinstance(layer, tuple(ACTIVATIONS.values())):
                outputs[-1] = H.flatten(1)
    return [
        Signal(activations, activations.std(dim=0).mean().item(), rms)
        for activations, rms in zip(outputs, gradient_rms(net, X, y), strict=True)
    ]


def tell_ratio(first, last):
    """Say how two sizes compare: the gradient of the first layer and that of the last one."""
    if not (first > 0 and last > 0):
        return _("The gradient of the first layer or of the last one is 0.")
    if 0.5 < first / last < 2:
        return _("The gradients of the first and the last layer are about as large.")
    factor = max(first, last) / min(first, last)
    digits = max(0, math.floor(math.log10(factor)) - 1)
    if first > last:
        text = _("The first layer's gradient is {factor} times larger than the last layer's.")
    else:
        text = _("The first layer's gradient is {factor} times smaller than the last layer's.")
    return text.format(factor=f"{round(factor, -digits):,.0f}")
