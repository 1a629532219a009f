"""Every check accepts a right answer, written another way than its reference, and rejects wrong ones with a hint."""

import ast
import contextlib
import functools
import inspect
import io
import math
import re
import types
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lenet_helpers import checks
from lenet_helpers.language import speaking
from lenet_helpers.recipes import make_wide

CHECKS = {name: value for name, value in vars(checks).items() if name.startswith("check_")}
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*/*.ipynb"))

RIGHT, WRONG = {}, {}


def exercise(name, right, *wrong):
    """Note a right answer to a check, and pairs of a piece of the hint and a wrong answer."""
    RIGHT[f"check_{name}"], WRONG[f"check_{name}"] = right, wrong


def answer(check, function):
    """Return what a check prints about an answer."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert check(function) is None
    return output.getvalue()


# 01


def windows(X, k, s):
    """Return all windows of X (H, W), shape (rows, columns, k, k)."""
    return X.unfold(0, k, s).unfold(1, k, s)


def convolve(X, K, p, s):
    return (windows(F.pad(X, (p, p, p, p)), len(K), s) * K).sum((-1, -2))


exercise(
    "encoder_size",
    lambda n: (n // 2 - 4) // 2,
    ("first convolution has padding 2", lambda n: ((n - 4) // 2 - 4) // 2),
    ("second convolution has no padding", lambda n: n // 2 // 2),
    ("second pooling", lambda n: n // 2 - 4),
    ("a pooling between", lambda n: (n - 4) // 2),
    ("off by one", lambda n: (n // 2 - 4) // 2 + 1),
    ("divide with //", lambda n: (n / 2 - 4) / 2),
    ("right on 1 earlier input", lambda n: 5),
)
exercise(
    "convolve",
    convolve,
    ("turned by 180°", lambda X, K, p, s: convolve(X, K.flip(0, 1), p, s)),
    ("rows and columns are swapped", lambda X, K, p, s: convolve(X, K.T, p, s)),
    ("padding is ignored", lambda X, K, p, s: convolve(X, K, 0, s)),
    ("stride is ignored", lambda X, K, p, s: convolve(X, K, p, 1)),
    ("on all four sides", lambda X, K, p, s: convolve(F.pad(X, (0, p, 0, p)), K, 0, s)),
    ("axes are in another order", lambda X, K, p, s: convolve(X, K, p, s).T),
    ("the shape must be", lambda X, K, p, s: convolve(X, K, p, s)[:-1]),
    ("the shape must be", lambda X, K, p, s: convolve(X, K, p, s)[None]),
    ("the sign is wrong", lambda X, K, p, s: -convolve(X, K, p, s)),
    ("away from", lambda X, K, p, s: convolve(X, K, p, s) + 1),
    ("times what it should be", lambda X, K, p, s: convolve(X, K, p, s) / 4),
    ("return a tensor", lambda X, K, p, s: convolve(X, K, p, s).tolist()),
    ("right on 2 earlier inputs", lambda X, K, p, s: convolve(X, K, 0, s)),
)
exercise(
    "convolve_channels",
    lambda X, W, b: torch.stack([sum(map(convolve, X, w, [0] * 9, [1] * 9)) for w in W]) + b.view(-1, 1, 1),
    ("bias is missing", lambda X, W, b: F.conv2d(X, W)),
    ("over all input channels", lambda X, W, b: F.conv2d(X[:1], W[:, :1], b)),
    ("do not take their mean", lambda X, W, b: F.conv2d(X, W) / len(X) + b.view(-1, 1, 1)),
    ("once for each input channel", lambda X, W, b: F.conv2d(X, W) + len(X) * b.view(-1, 1, 1)),
    ("turned by 180°", lambda X, W, b: F.conv2d(X, W.flip(2, 3), b)),
    ("one map for each kernel", lambda X, W, b: F.conv2d(X, W, b).sum(0)),
    ("shape must be", lambda X, W, b: F.conv2d(X, W, b, padding=1)),
    ("shape must be", lambda X, W, b: F.conv2d(X, W, b)[:1]),
)
exercise(
    "pool_average",
    lambda X, k, s: windows(X, k, s).mean((-1, -2)),
    ("maximum of each window", lambda X, k, s: windows(X, k, s).amax((-1, -2))),
    ("sum of each window", lambda X, k, s: windows(X, k, s).sum((-1, -2))),
    ("divide by k \\* k", lambda X, k, s: windows(X, k, s).sum((-1, -2)) / k),
    ("stride is s", lambda X, k, s: windows(X, k, k).mean((-1, -2))),
    ("need not be s × s", lambda X, k, s: windows(X, s, s).mean((-1, -2))),
    ("moves s pixels", lambda X, k, s: windows(X, k, 1).mean((-1, -2))),
    ("another order|shape must be|are swapped", lambda X, k, s: windows(X, k, s).mean((-1, -2)).T),
    ("right on 1 earlier input", lambda X, k, s: windows(X, 2, 2).mean((-1, -2))),
)
exercise(
    "pool_max",
    lambda X, k, s: windows(X, k, s).amax((-1, -2)),
    ("mean of each window", lambda X, k, s: windows(X, k, s).mean((-1, -2))),
    ("smallest pixel", lambda X, k, s: windows(X, k, s).amin((-1, -2))),
    ("do not start the comparison at 0", lambda X, k, s: windows(X, k, s).amax((-1, -2)).clamp(min=0)),
    ("absolute value", lambda X, k, s: windows(X.abs(), k, s).amax((-1, -2))),
    ("stride is s", lambda X, k, s: windows(X, k, k).amax((-1, -2))),
    ("moves s pixels", lambda X, k, s: windows(X, k, 1).amax((-1, -2))),
)

# 02

exercise(
    "flat_index",
    lambda c, i, j, height, width: (c * height + i) * width + j,
    ("a row has width pixels", lambda c, i, j, h, w: c * h * w + i * h + j),
    ("i counts rows", lambda c, i, j, h, w: c * h * w + j * w + i),
    ("height \\* width pixels", lambda c, i, j, h, w: c + i * w + j),
    ("c maps before", lambda c, i, j, h, w: i * w + j),
    ("rows are counted from 0", lambda c, i, j, h, w: c * h * w + (i - 1) * w + j),
    ("features are counted from 0", lambda c, i, j, h, w: c * h * w + i * w + j + 1),
    ("one number is asked for", lambda c, i, j, h, w: torch.tensor([c * h * w + i * w + j])),
    ("divide with //", lambda c, i, j, h, w: (c * h + i) * w / 1 + j),
)


def run_dense(x, layers, bend=torch.sigmoid, after_last=False):
    for place, (W, b) in enumerate(layers):
        x = W @ x + b
        if after_last or place < len(layers) - 1:
            x = bend(x)
    return x


exercise(
    "run_dense",
    run_dense,
    ("biases are missing", lambda x, layers: run_dense(x, [(W, 0 * b) for W, b in layers])),
    ("no sigmoid after it", lambda x, layers: run_dense(x, layers, after_last=True)),
    ("between the layers are missing", lambda x, layers: run_dense(x, layers, lambda x: x)),
    ("not ReLU", lambda x, layers: run_dense(x, layers, torch.relu)),
    ("not tanh", lambda x, layers: run_dense(x, layers, torch.tanh)),
    ("raised RuntimeError: .* \\(line \\d+ of its cell\\)", lambda x, layers: layers[0][0].T @ x),
    ("shape must be", lambda x, layers: run_dense(x, layers)[None]),
    ("right on 2 earlier inputs", lambda x, layers: run_dense(x, layers[:2])),
)
exercise(
    "softmax",
    lambda scores: (scores - scores.logsumexp(1, keepdim=True)).exp(),
    ("add up along dim=1", lambda scores: scores.softmax(0)),
    ("a sum of its own", lambda scores: scores.exp() / scores.exp().sum()),
    ("take the largest away first", lambda scores: scores.exp() / scores.exp().sum(1, keepdim=True)),
    ("sum is missing", lambda scores: scores.exp()),
    ("into the exponent", lambda scores: scores / scores.sum(1, keepdim=True)),
    ("has the base e", lambda scores: 2**scores / (2**scores).sum(1, keepdim=True)),
    ("not their logarithms", lambda scores: scores.log_softmax(1)),
    ("shape must be", lambda scores: scores.softmax(1).argmax(1)),
    ("raised RuntimeError", lambda scores: scores.exp() / scores.exp().sum(1)),
)
exercise(
    "multiply_adds",
    lambda i, o, k, w: math.prod((i, o, k, k, w, w)),
    ("these are the weights", lambda i, o, k, w: i * o * k**2),
    ("these are the parameters", lambda i, o, k, w: i * o * k**2 + o),
    ("table for every input channel", lambda i, o, k, w: o * k**2 * w**2),
    ("sums of its own", lambda i, o, k, w: i * k**2 * w**2),
    ("width \\* width pixels", lambda i, o, k, w: i * o * k**2 * w),
    ("k \\* k numbers", lambda i, o, k, w: i * o * k * w**2),
    ("leave them out", lambda i, o, k, w: (i * k**2 + 1) * o * w**2),
)

# 03


def span(k, d):
    return d * (k - 1) + 1


exercise(
    "output_size",
    lambda n, k, p, s, d: len(range(-p, n + p - span(k, d) + 1, s)),
    ("dilation is ignored", lambda n, k, p, s, d: (n + 2 * p - k) // s + 1),
    ("counts twice", lambda n, k, p, s, d: (n + p - span(k, d)) // s + 1),
    ("padding is ignored", lambda n, k, p, s, d: (n - span(k, d)) // s + 1),
    ("stride is ignored", lambda n, k, p, s, d: n + 2 * p - span(k, d) + 1),
    ("first window counts", lambda n, k, p, s, d: (n + 2 * p - span(k, d)) // s),
    ("round down", lambda n, k, p, s, d: math.ceil((n + 2 * p - span(k, d)) / s) + 1),
    ("not d \\* k", lambda n, k, p, s, d: (n + 2 * p - d * k) // s + 1),
    ("divide with //", lambda n, k, p, s, d: (n + 2 * p - span(k, d)) / s + 1),
    ("expected  \\d+", lambda n, k, p, s, d: n),
)
exercise(
    "conv_parameters",
    lambda i, o, k: o * (i * k * k + 1),
    ("biases are missing", lambda i, o, k: o * i * k * k),
    ("table for every input channel", lambda i, o, k: o * (k * k + 1)),
    ("one kernel for every output", lambda i, o, k: i * k * k + o),
    ("not for each input channel", lambda i, o, k: o * i * k * k + i),
    ("not one in all", lambda i, o, k: o * i * k * k + 1),
    ("not for each of its tables", lambda i, o, k: o * i * (k * k + 1)),
    ("k \\* k numbers", lambda i, o, k: o * (i * k + 1)),
    ("return a number", lambda i, o, k: nn.Conv2d(i, o, k)),
)


def field(layers, less=1, start=1, own=False, memory=True):
    size, jump = start, 1
    for k, s in layers:
        jump = jump * s if own else jump
        size += (k - less) * jump
        jump = jump if own else (jump * s if memory else s)
    return size


exercise(
    "receptive_field",
    field,
    ("strides are ignored", lambda layers: 1 + sum(k - 1 for k, s in layers)),
    ("adds k - 1 steps", lambda layers: field(layers, less=0)),
    ("own stride acts on", lambda layers: field(layers, own=True)),
    ("start at 1", lambda layers: field(layers, start=0)),
    ("all earlier layers are multiplied", lambda layers: field(layers, memory=False)),
    ("sizes are not multiplied", lambda layers: math.prod(k for k, s in layers)),
    ("right on 2 earlier inputs", lambda layers: layers[0][0]),
)


class Reshape(nn.Module):
    def forward(self, X):
        return X.view(-1, 1, 28, 28)


def lenet(features=400, padding=2, Pool=nn.AvgPool2d, Second=None, bend=nn.Sigmoid, last=84, bias=True):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=padding), bend(), Pool(2), nn.Conv2d(6, 16, 5), bend(), (Second or Pool)(2),
        nn.Flatten(), nn.Linear(features, 120, bias=bias), bend(), nn.Linear(120, last), bend(), nn.Linear(last, 10),
    )  # fmt: skip


def features_for(size):
    return 16 * ((size // 2 - 4) // 2) ** 2


exercise(
    "make_net_for",
    lambda size: lenet(features_for(size)),
    ("right on 1 earlier input", lambda size: lenet()),
    ("raised RuntimeError: mat1 and mat2", lambda size: lenet(16 * (size // 4) ** 2)),
    ("raised RuntimeError: mat1 and mat2", lambda size: lenet(features_for(size), padding=0)),
    ("weights of the shapes", lambda size: lenet(features_for(size), last=80)),
    ("does each of the five layers have a bias", lambda size: lenet(features_for(size), bias=False)),
    ("scores of shape", lambda size: lenet(features_for(size))[:-1]),
    ("return the net itself", lambda size: lenet(features_for(size))(torch.zeros(1, 1, size, size))),
    ("weights of the shapes", lambda size: nn.Sequential(nn.Flatten(), nn.Linear(size * size, 10))),
)


def other_net(channels=8, k=3, bend=nn.ReLU, convolutions=3, dense=(60, 40, 20), missing=0, scores=10):
    layers, before = [Reshape()], 1
    for place in range(convolutions):
        layers += [nn.Conv2d(before, channels, k, padding=k // 2), bend(), nn.MaxPool2d(2) if place < 2 else bend()]
        layers = layers if place < 2 else layers[:-1]
        before = channels
    layers.append(nn.Flatten())
    for size in (*dense, scores):
        layers += [nn.LazyLinear(size), bend()]
    return nn.Sequential(*layers[: -1 - missing])


exercise(
    "make_other_net",
    other_net,
    ("at least 3 convolutions", lambda: other_net(convolutions=2)),
    ("at least 4 linear layers", lambda: other_net(dense=(60, 40))),
    ("more than 6 channels", lambda: other_net(channels=6)),
    ("another window", lambda: other_net(k=5)),
    ("no nn.Sigmoid", lambda: other_net(bend=nn.Sigmoid)),
    ("6 activations", lambda: other_net(bend=nn.Identity)),
    ("scores of shape", lambda: other_net(missing=1)),
    ("scores of shape", lambda: other_net(scores=9)),
    ("at least 3 convolutions", lambda: lenet()),
    ("return the net itself", lambda: nn.Sequential),
)

# 04

exercise(
    "accuracy",
    lambda y_hat, y: sum(int(row.argmax()) == int(label) for row, label in zip(y_hat, y, strict=True)) / len(y),
    ("divide by the number of images", lambda y_hat, y: (y_hat.argmax(1) == y).sum()),
    ("and not of classes", lambda y_hat, y: (y_hat.argmax(1) == y).sum() / y_hat.shape[1]),
    ("no percentage", lambda y_hat, y: 100 * (y_hat.argmax(1) == y).float().mean()),
    ("share of errors", lambda y_hat, y: (y_hat.argmax(1) != y).float().mean()),
    ("not the smallest", lambda y_hat, y: (y_hat.argmin(1) == y).float().mean()),
    ("dim=1", lambda y_hat, y: (y_hat.argmax(0) == y[:10]).float().mean()),
    ("raised RuntimeError", lambda y_hat, y: (y_hat.argmax(0) == y).float().mean()),
    ("one number is asked for", lambda y_hat, y: y_hat.argmax(1) == y),
    ("nothing but 0", lambda y_hat, y: (y_hat.argmax(1) == y).sum() // len(y) * 0),
)


def cross_entropy(scores, y, log=torch.log, dim=1):
    return -log(torch.softmax(scores, dim)[range(len(y)), y]).mean()


exercise(
    "cross_entropy",
    lambda scores, y: (scores.logsumexp(1) - scores.gather(1, y[:, None])[:, 0]).mean(),
    ("minus sign", lambda scores, y: -cross_entropy(scores, y)),
    ("not the sum", lambda scores, y: cross_entropy(scores, y) * len(y)),
    ("not of classes", lambda scores, y: cross_entropy(scores, y) * len(y) / scores.shape[1]),
    ("base 10", lambda scores, y: cross_entropy(scores, y, torch.log10)),
    ("base 2", lambda scores, y: cross_entropy(scores, y, torch.log2)),
    ("the mean afterwards", lambda scores, y: -scores.softmax(1)[range(len(y)), y].mean().log()),
    ("logarithm is missing", lambda scores, y: cross_entropy(scores, y, lambda p: p)),
    ("by a softmax", lambda scores, y: -scores[range(len(y)), y].mean()),
    ("column y", lambda scores, y: -scores.log_softmax(1)[:, y].mean()),
    ("one image's classes", lambda scores, y: cross_entropy(scores, y, dim=0)),
    ("logarithm of 0", cross_entropy),
    ("one number is asked for", lambda scores, y: F.cross_entropy(scores, y, reduction="none")),
)


def train_step(W, b, X, y, lr, sign=-1, mean=True):
    slope = torch.softmax(X @ W.T + b, 1) - F.one_hot(y, len(b))
    slope = slope / len(y) if mean else slope
    return W + sign * lr * slope.T @ X, b + sign * lr * slope.sum(0)


def step_alone(W, b, X, y, lr):
    return tuple(before - after for before, after in zip((W, b), train_step(W, b, X, y, lr), strict=True))


exercise(
    "train_step",
    train_step,
    ("against the gradient", lambda W, b, X, y, lr: train_step(W, b, X, y, lr, sign=1)),
    ("learning rate is missing", lambda W, b, X, y, lr: train_step(W, b, X, y, 1)),
    ("not the sum", lambda W, b, X, y, lr: train_step(W, b, X, y, lr, mean=False)),
    ("take the step", lambda W, b, X, y, lr: (W, b)),
    ("not the gradients", lambda W, b, X, y, lr: step_alone(W, b, X, y, 1)),
    ("take the step away", step_alone),
    ("the bias takes a step", lambda W, b, X, y, lr: (train_step(W, b, X, y, lr)[0], b)),
    ("a tuple of 2 values", lambda W, b, X, y, lr: train_step(W, b, X, y, lr)[0]),
    ("change weights inside", lambda W, b, X, y, lr: (W.requires_grad_().sub_(lr), b)),
    ("computed from one with requires_grad=True", lambda W, b, X, y, lr: torch.autograd.grad((X @ W.T).sum(), W)),
    ("axes are in another order", lambda W, b, X, y, lr: (train_step(W, b, X, y, lr)[0].T, b)),
    ("raised RuntimeError", lambda W, b, X, y, lr: train_step(W, b, X @ W, y, lr)),
)
exercise(
    "make_max_net",
    lambda: nn.Sequential(Reshape(), *lenet(Pool=nn.MaxPool2d)),
    ("both poolings", lenet),
    ("the second pooling", lambda: lenet(Pool=nn.MaxPool2d, Second=nn.AvgPool2d)),
    ("the first pooling", lambda: lenet(Second=nn.MaxPool2d)),
    ("keep the sigmoids", lambda: lenet(Pool=nn.MaxPool2d, bend=nn.ReLU)),
    ("compare shape by shape", lambda: lenet(Pool=nn.MaxPool2d, last=85)),
    ("mat1 and mat2", lambda: lenet(Pool=nn.MaxPool2d, padding=0)),
    ("at \\[\\d, \\d\\]", lambda: lenet(Pool=lambda k: nn.MaxPool2d(3, 2, padding=1))),
)

# 05

exercise(
    "sigmoid_slope",
    lambda x: 1 / (2 + torch.exp(x.double()) + torch.exp(-x.double())),
    ("the sigmoid itself", torch.sigmoid),
    ("not squared", lambda x: torch.sigmoid(x) * torch.sigmoid(-x) ** 2),
    ("factor sigmoid\\(x\\) is missing", lambda x: torch.sigmoid(-x)),
    ("not x and 1 - x", lambda x: x * (1 - x)),
    ("derivative of tanh", lambda x: 1 / torch.cosh(x) ** 2),
    ("and not sigmoid\\(x\\)", lambda x: torch.sigmoid(torch.sigmoid(x)) * (1 - torch.sigmoid(torch.sigmoid(x)))),
    ("exp of a large number", lambda x: torch.exp(-x) / (1 + torch.exp(-x)) ** 2),
    ("the sign is wrong", lambda x: -torch.sigmoid(x) * torch.sigmoid(-x)),
    ("shape must be", lambda x: torch.sigmoid(x).flatten()[:1]),
)


def fans(W):
    return W[0].numel(), W.transpose(0, 1)[0].numel()


def xavier_bound(W):
    draws = math.ceil(200_000 / W.numel())
    return max(nn.init.xavier_uniform_(W).abs().max().item() for _ in range(draws))


exercise(
    "xavier_bound",
    xavier_bound,
    ("standard deviation", lambda W: math.sqrt(2 / sum(fans(W)))),
    ("square root is missing", lambda W: 6 / sum(fans(W))),
    ("each kernel's window counts", lambda W: math.sqrt(6 / (W.shape[0] + W.shape[1]))),
    ("for the outputs, too", lambda W: math.sqrt(6 / (fans(W)[0] + W.shape[0]))),
    ("outputs count, too", lambda W: math.sqrt(6 / fans(W)[0])),
    ("inputs count, too", lambda W: math.sqrt(6 / fans(W)[1])),
    ("not multiplied", lambda W: math.sqrt(6 / math.prod(fans(W)))),
    ("one number is asked for", nn.init.xavier_uniform_),
)


def gradient_ratio(net, X, y, measure=lambda g: g.square().mean().sqrt(), clear=True):
    if clear:
        net.zero_grad()
    F.cross_entropy(net(X), y).backward()
    return measure(net[0].weight.grad) / measure(net[-1].weight.grad)


exercise(
    "gradient_ratio",
    gradient_ratio,
    ("above the fraction line", lambda net, X, y: 1 / gradient_ratio(net, X, y)),
    ("net.zero_grad", lambda net, X, y: gradient_ratio(net, X, y, clear=False)),
    ("not their sum", lambda net, X, y: gradient_ratio(net, X, y, torch.norm)),
    ("square root is missing", lambda net, X, y: gradient_ratio(net, X, y, lambda g: g.square().mean())),
    ("their absolute values", lambda net, X, y: gradient_ratio(net, X, y, lambda g: g.abs().mean())),
    ("cancel in a mean", lambda net, X, y: gradient_ratio(net, X, y, torch.mean)),
    ("largest absolute", lambda net, X, y: gradient_ratio(net, X, y, lambda g: g.abs().max())),
    ("standard deviation", lambda net, X, y: gradient_ratio(net, X, y, torch.std)),
    ("take their gradients", lambda net, X, y: (net[0].weight.square().mean() / net[-1].weight.square().mean()).sqrt()),
)


def escape(lr=0.2, bend=nn.ReLU, init=nn.init.kaiming_normal_, **settings):
    net = lenet(bend=bend, **settings)
    for p in net.parameters():
        if p.ndim > 1:
            init(p)
    return net, lr


exercise(
    "escape",
    escape,
    ("still on the plateau", lambda: escape(0.9, nn.Sigmoid, nn.init.xavier_uniform_)),
    ("still on the plateau", lambda: escape(1e-5, init=nn.init.xavier_uniform_)),
    ("lower the learning rate", lambda: escape(1000.0)),
    ("a learning rate above 0", lambda: escape(0)),
    ("a net and a learning rate", lambda: lenet()),
    ("the same scores for all images", lambda: escape(init=nn.init.zeros_)),
    ("compare shape by shape", lambda: escape(last=100)),
    ("return the net itself", lambda: (None, 0.1)),
)

# 06


def activations(net, X):
    seen = []
    hooks = [layer.register_forward_hook(lambda layer, X, Y: seen.append(Y)) for layer in (net[1], net[4])]
    net(X)
    for hook in hooks:
        hook.remove()
    return tuple(seen)


exercise(
    "activations",
    activations,
    ("one layer further", lambda net, X: (net[:1](X), net[:4](X))),
    ("one layer earlier", lambda net, X: (net[:3](X), net[:6](X))),
    ("after the second convolution", lambda net, X: (net[:2](X), net[:2](X))),
    ("the first comes first", lambda net, X: (net[:5](X), net[:2](X))),
    ("a tuple of 2 values", lambda net, X: net[:5](X)),
    ("raised RuntimeError", lambda net, X: (net[:2](X), net[3:5](net[1:2](X)))),
    ("shape must be", lambda net, X: (net[:2](X)[0], net[:5](X)[0])),
    ("return a tensor", lambda net, X: (net[1], net[4])),
)


def map_means(A, B):
    return A.mean((0, 2, 3)) - B.mean((0, 2, 3))


exercise(
    "telling_map",
    lambda A, B: int(map_means(A, B).abs().argmax()),
    ("take the absolute value", lambda A, B: int(map_means(A, B).argmax())),
    ("take the absolute value", lambda A, B: map_means(B, A).argmax()),
    ("differs least", lambda A, B: int(map_means(A, B).abs().argmin())),
    ("largest pixel", lambda A, B: int((A.amax((0, 2, 3)) - B.amax((0, 2, 3))).argmax())),
    ("the brightest", lambda A, B: int(A.mean((0, 2, 3)).argmax())),
    ("counted from 0", lambda A, B: int(map_means(A, B).abs().argmax()) + 1),
    ("one number is asked for", lambda A, B: map_means(A, B).abs()),
    ("raised RuntimeError", lambda A, B: int((A - B).mean((0, 2, 3)).abs().argmax())),
    ("whole numbers", lambda A, B: map_means(A, B).abs().max()),
)


def probabilities(net, X, dim=1):
    return torch.softmax(net(X), dim)


exercise(
    "confidence",
    lambda net, X: sum(net(x[None])[0].softmax(0).max() for x in X) / len(X),
    ("these are scores", lambda net, X: net(X).max(1).values.mean()),
    ("look for it along dim=1", lambda net, X: probabilities(net, X).max()),
    ("one image's classes", lambda net, X: probabilities(net, X, 0).max(1).values.mean()),
    ("not along the images", lambda net, X: probabilities(net, X).max(0).values.mean()),
    ("always 0.1", lambda net, X: probabilities(net, X).mean()),
    ("not the sum", lambda net, X: probabilities(net, X).max(1).values.sum()),
    ("and not the scores", lambda net, X: net(X).mean(0).softmax(0).max()),
    ("one number is asked for", lambda net, X: probabilities(net, X).max(1).values),
)


def confusion_matrix(y, predicted, classes):
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    for true, guess in zip(y, predicted, strict=True):
        matrix[true, guess] += 1
    return matrix


def overwriting(y, predicted, classes):
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    matrix[y, predicted] += 1
    return matrix


exercise(
    "confusion_matrix",
    confusion_matrix,
    ("a row is a true class", lambda y, predicted, classes: confusion_matrix(predicted, y, classes)),
    ("must add 2", overwriting),
    ("right answers are missing", lambda y, p, n: confusion_matrix(y, p, n) * (1 - torch.eye(n, dtype=torch.int64))),
    ("errors are missing", lambda y, p, n: confusion_matrix(y, p, n).diag().diag()),
    ("not shares", lambda y, p, n: confusion_matrix(y, p, n) / len(y)),
    ("shares of a row", lambda y, p, n: confusion_matrix(y, p, n) / confusion_matrix(y, p, n).sum(1, keepdim=True)),
    ("shape must be|earlier input", lambda y, p, n: confusion_matrix(y, p, int(y.max()) + 1)),
    ("raised IndexError|shape must be", lambda y, p, n: confusion_matrix(y, p, n - 1)),
    ("away from what", lambda y, p, n: confusion_matrix(y, p, n) + 1),
)


def most_confident_error(scores, y):
    best, place = -1.0, None
    for i, row in enumerate(scores):
        p = row.softmax(0)
        if p.argmax() != y[i] and p.max() > best:
            best, place = p.max(), i
    return place


def errors(scores, y):
    return scores.argmax(1) != y


exercise(
    "most_confident_error",
    most_confident_error,
    ("among the errors only", lambda scores, y: int(scores.softmax(1).amax(1).argmax())),
    ("take probabilities", lambda scores, y: int(torch.where(errors(scores, y), scores.amax(1), -99).argmax())),
    ("not that of the right class", lambda scores, y: int(F.cross_entropy(scores, y, reduction="none").argmax())),
    ("least confident", lambda scores, y: int(torch.where(errors(scores, y), scores.softmax(1).amax(1), 2).argmin())),
    ("among the errors: give", lambda scores, y: int(scores.softmax(1).amax(1)[errors(scores, y)].argmax())),
    ("predicted class", lambda scores, y: int(scores[most_confident_error(scores, y)].argmax())),
    ("counted from 0", lambda scores, y: most_confident_error(scores, y) + 1),
    ("one number is asked for", errors),
)

# 07


def batch_norm(X, gamma, beta, eps, dim=(0, 2, 3), correction=0, root=lambda v, eps: (v + eps).sqrt()):
    spread = root(X.var(dim, correction=correction, keepdim=True), eps)
    return gamma.view(-1, 1, 1) * (X - X.mean(dim, keepdim=True)) / spread + beta.view(-1, 1, 1)


exercise(
    "batch_norm",
    batch_norm,
    ("one mean for all its pixels", lambda X, gamma, beta, eps: batch_norm(X, gamma, beta, eps, 0)),
    ("each image by itself", lambda X, gamma, beta, eps: batch_norm(X, gamma, beta, eps, (2, 3))),
    ("each channel has a mean", lambda X, gamma, beta, eps: batch_norm(X, gamma, beta, eps, (0, 1, 2, 3))),
    ("not by the count - 1", lambda X, gamma, beta, eps: batch_norm(X, gamma, beta, eps, correction=1)),
    ("gamma is missing", lambda X, gamma, beta, eps: batch_norm(X, 0 * gamma + 1, beta, eps)),
    ("beta is missing", lambda X, gamma, beta, eps: batch_norm(X, gamma, 0 * beta, eps)),
    ("eps is missing", lambda X, gamma, beta, eps: batch_norm(X, gamma, beta, 0)),
    ("below the square root", lambda X, g, b, eps: batch_norm(X, g, b, eps, root=lambda v, eps: v.sqrt() + eps)),
    ("square root is missing", lambda X, g, b, eps: batch_norm(X, g, b, eps, root=lambda v, eps: v + eps)),
    ("raised RuntimeError", lambda X, gamma, beta, eps: gamma * X + beta),
)


def schedule(step, steps, warmup, lr):
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=lr)
    if step < warmup:
        return lr / warmup * (step + 1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup)
    for _ in range(step - warmup):
        optimizer.step()
        cosine.step()
    return optimizer.param_groups[0]["lr"]


def half_cosine(part):
    return (1 + math.cos(math.pi * part)) / 2


exercise(
    "schedule",
    schedule,
    ("warm-up is missing", lambda t, n, w, lr: lr * half_cosine((t - w) / (n - w))),
    ("while step < warmup", lambda t, n, w, lr: lr * (t + 1) / w if t <= w else schedule(t, n, w, lr)),
    ("at the end of the warm-up", lambda t, n, w, lr: schedule(t, n, w, lr) if t < w else lr * half_cosine(t / n)),
    ("step \\+ 1", lambda t, n, w, lr: lr * t / w if t < w else schedule(t, n, w, lr)),
    ("add 1, and halve", lambda t, n, w, lr: schedule(t, n, w, lr) if t < w else 2 * schedule(t, n, w, lr) - lr),
    ("starts at 2", lambda t, n, w, lr: schedule(t, n, w, lr) * (1 + (t >= w))),
    ("are left", lambda t, n, w, lr: schedule(t, n, w, lr) if t < w else lr * half_cosine((t - w) / n)),
    ("straight line", lambda t, n, w, lr: schedule(t, n, w, lr) if t < w else lr * (n - t) / (n - w)),
)
exercise(
    "flip",
    lambda X, heads: torch.stack(
        [x[..., range(x.shape[-1] - 1, -1, -1)] if h else x for x, h in zip(X, heads, strict=True)]
    ),
    ("every image", lambda X, heads: X.flip(3)),
    ("no image", lambda X, heads: X),
    ("other images", lambda X, heads: torch.where(heads.view(-1, 1, 1, 1), X, X.flip(-1))),
    ("upside down", lambda X, heads: torch.where(heads.view(-1, 1, 1, 1), X.flip(2), X)),
    ("by 180°", lambda X, heads: torch.where(heads.view(-1, 1, 1, 1), X.flip(2, 3), X)),
    ("order of the images", lambda X, heads: torch.where(heads.view(-1, 1, 1, 1), X.flip(0), X)),
    ("axes are in another order|shape must be", lambda X, heads: X.mT),
    ("shape must be", lambda X, heads: X[heads].flip(3)),
)


def momentum_step(w, v, gradient, lr, momentum):
    weight = nn.Parameter(w)
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=momentum)
    optimizer.state[weight]["momentum_buffer"] = v.clone()
    weight.grad = gradient
    optimizer.step()
    return weight, optimizer.state[weight].get("momentum_buffer") if momentum else gradient


exercise(
    "momentum_step",
    momentum_step,
    ("minus, and not plus", lambda w, v, g, lr, mu: (w + lr * (mu * v + g), mu * v + g)),
    ("learning rate is missing", lambda w, v, g, lr, mu: (w - (mu * v + g), mu * v + g)),
    ("not along the gradient alone", lambda w, v, g, lr, mu: (w - lr * g, mu * v + g)),
    ("not along the old one", lambda w, v, g, lr, mu: (w - lr * v, mu * v + g)),
    ("multiplied by momentum", lambda w, v, g, lr, mu: (w - lr * (v + g), v + g)),
    ("not 1 - momentum", lambda w, v, g, lr, mu: (w - lr * (b := mu * v + (1 - mu) * g), b)),
    ("out of the velocity", lambda w, v, g, lr, mu: (w + (u := mu * v - lr * g), u)),
    ("w comes first", lambda w, v, g, lr, mu: momentum_step(w, v, g, lr, mu)[::-1]),
    ("a tuple of 2 values", lambda w, v, g, lr, mu: w - lr * (mu * v + g)),
    ("item 1 of the tuple", lambda w, v, g, lr, mu: (w - lr * (mu * v + g), g)),
)
exercise(
    "make_small_net",
    make_wide,
    ("more than LeNet's 2,572 parameters in the convolutions", lenet),
    ("end with the linear layer", lambda: nn.Sequential(make_wide(), nn.Softmax(1))),
    ("is the name spelled", lambda: nn.Sequential(nn.Conv2d(1, 6, 5), missing)),  # noqa: F821
    ("most parameters sit in the first linear layer", lambda: lenet(last=100)),
    ("at least 1 convolution", lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10))),
    ("scores of shape", lambda: lenet()[:-1]),
    ("scores of shape", lambda: nn.Conv2d(1, 6, 5)),
    ("scores of shape", lambda: nn.MaxPool2d(2, return_indices=True)),
    ("mat1 and mat2", lambda: lenet(features=256)),
    ("the same scores", lambda: nn.Sequential(lenet(), nn.Threshold(99, 0))),
    ("return the net itself", lambda: [nn.Conv2d(1, 6, 5)]),
)


# 08


def mean_per_lr(records, failed=()):
    """Return ``{lr: mean}``; a failed run counts as ``failed``, a list of accuracies."""
    accs = {}
    for record in records:
        acc = record["test_acc"]
        accs.setdefault(record["lr"], []).extend(failed if acc is None else [acc])
    return {lr: sum(values) / len(values) for lr, values in accs.items() if values}


def largest(values):
    return max(values, key=values.get)


def ratios(old, new):
    return [a / b for a, b in zip(old, new, strict=True)]


exercise(
    "speedup",
    lambda share, factor: factor / (factor - factor * share + share),
    ("1 / left", lambda share, factor: 1 - share + share / factor),
    ("the rest, 1 - share, is still there", lambda share, factor: factor / share),
    ("and not the rest", lambda share, factor: 1 / (share + (1 - share) / factor)),
    ("still takes share / factor", lambda share, factor: 1 / (1 - share)),
    ("and not the whole", lambda share, factor: factor),
    ("not share \\* factor", lambda share, factor: 1 / (1 - share + share * factor)),
    ("and not speedups", lambda share, factor: 1 - share + share * factor),
    ("right on 1 earlier input", lambda share, factor: 1 / 0.6 if share == 0.6 else 2.0),
)
exercise(
    "floor_seconds",
    lambda multiply_adds, num_images, flops: num_images / (flops / (2 * 3 * multiply_adds)),
    ("two operations", lambda m, n, flops: 3 * m * n / flops),
    ("the way forward only", lambda m, n, flops: 2 * m * n / flops),
    ("the way back has two products", lambda m, n, flops: 4 * m * n / flops),
    ("for one image", lambda m, n, flops: 6 * m / flops),
    ("divided by operations per second", lambda m, n, flops: flops / (6 * m * n)),
    ("not milliseconds", lambda m, n, flops: 6000 * m * n / flops),
)
exercise(
    "fair_ratio",
    lambda old, new: torch.tensor(ratios(old, new), dtype=torch.float64).quantile(0.5),
    ("upside down", lambda old, new: np.median(ratios(new, old))),
    ("take the median", lambda old, new: np.mean(ratios(old, new))),
    ("within each round first", lambda old, new: np.median(old) / np.median(new)),
    ("weighs most in a sum", lambda old, new: sum(old) / sum(new)),
    ("different rounds", lambda old, new: min(old) / min(new)),
    ("sort the ratios", lambda old, new: ratios(old, new)[len(old) // 2]),
    ("the middle two", lambda old, new: sorted(ratios(old, new))[len(old) // 2]),
    ("one number is asked for", lambda old, new: np.array(ratios(old, new))),
)
exercise(
    "best_lr",
    lambda records: largest(mean_per_lr(records)),
    ("best single run", lambda records: max(records, key=lambda record: record["test_acc"] or 0)["lr"]),
    (
        "not a sum",
        lambda records: largest(
            {one["lr"]: sum(r["test_acc"] or 0 for r in records if r["lr"] == one["lr"]) for one in records}
        ),
    ),
    ("leave it out of the mean", lambda records: largest(mean_per_lr(records, failed=[0]))),
    ("all runs of this lr failed", lambda records: largest(mean_per_lr(records, failed=[1]))),
    ("not its accuracy", lambda records: max(mean_per_lr(records).values())),
    ("raised TypeError", lambda records: max(records, key=lambda record: record["test_acc"])["lr"]),
)


# The answers against the checks


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_meets_a_right_answer_and_five_wrong_ones(name):
    assert name in RIGHT
    assert len(WRONG[name]) >= 5


@pytest.mark.parametrize("name", CHECKS)
def test_a_right_answer_is_told_so_in_the_same_words_every_time(name):
    said = {answer(CHECKS[name], RIGHT[name]) for _ in range(1 if name == "check_escape" else 4)}
    assert len(said) == 1
    assert re.fullmatch(r"\S+: right\. [A-Z].*[^.]\n", said.pop())


@pytest.mark.parametrize(
    ("name", "hint", "wrong"), [(name, hint, wrong) for name in CHECKS for hint, wrong in WRONG.get(name, ())]
)
def test_a_wrong_answer_is_told_what_was_expected_what_was_received_and_why(name, hint, wrong):
    for _ in range(1 if name == "check_escape" else 2):
        said = answer(CHECKS[name], wrong)
        assert re.match(r"\S+: not yet, look at this:\n", said)
        assert re.search(r"^  expected  \S", said, flags=re.M) and re.search(r"^  received  \S", said, flags=re.M)
        assert re.search(hint, said), said


def empty(value):
    """Return zeros in the place of all numbers of an answer."""
    if isinstance(value, tuple):
        return tuple(map(empty, value))
    return 0 * value if not isinstance(value, nn.Module) else None


def describe(argument):
    """Return the shape of a tensor and the value of anything else, but for a net."""
    return argument.shape if isinstance(argument, torch.Tensor) else "" if isinstance(argument, nn.Module) else argument


def right_on_one_shape(right):
    seen = []

    def learned(*arguments):
        seen.append(repr([describe(argument) for argument in arguments]))
        return right(*arguments) if seen[-1] == seen[0] else empty(right(*arguments))

    return learned


def always_the_first_answer(right):
    memory = []

    def learned(*arguments):
        memory.append(right(*arguments))
        return memory[0]

    return learned


@pytest.mark.parametrize("name", CHECKS)
def test_no_check_is_fooled_by_an_answer_that_fits_any_exercise(name):
    for fool in (lambda *_: "seven", lambda *_: float("nan"), lambda *_: [], lambda *_: {}, lambda *_: torch.zeros(0)):
        said = answer(CHECKS[name], fool)
        assert "not yet" in said and "expected" in said and "received" in said, said
    said = answer(CHECKS[name], lambda *_: 1 // 0)
    assert "raised ZeroDivisionError" in said and "of its cell" in said
    said = answer(CHECKS[name], lambda a, b, c, d, e, f, g: 0)
    assert "raised TypeError" in said and "missing" in said


@pytest.mark.parametrize(
    "name", [name for name in CHECKS if not name.startswith("check_make") and name != "check_escape"]
)
def test_no_check_is_fooled_by_zeros_by_memory_or_by_one_shape(name):
    for fool in (
        lambda *a: empty(RIGHT[name](*a)),
        always_the_first_answer(RIGHT[name]),
        right_on_one_shape(RIGHT[name]),
    ):
        said = answer(CHECKS[name], fool)
        assert "not yet, look" in said and "expected" in said and "received" in said, said
    assert "right on" in said


@pytest.mark.parametrize("name", CHECKS)
def test_a_stub_is_told_not_yet_in_the_same_words_every_time(name):
    def stub(*arguments):
        return None

    said = {answer(CHECKS[name], stub) for _ in range(2)}
    assert said == {
        "stub: not yet, your function returned None. Write your answer, run its cell, and run this one again\n"
    }


# Mutants: a check that is weakened must let a wrong answer pass, and so fail the tests above

QUICK = [name for name in CHECKS if name != "check_escape"]
NETS = [name for name in CHECKS if name.startswith("check_make")]
MUTANTS = [
    ("expected.shape:\n        return False", "expected.shape:\n        return True"),
    ("return bool((received == expected).all())", "return bool((received == expected).any())"),
    ("return bool((received == expected).all())", "return abs(float((received - expected).sum())) < 2"),
    ("return torch.allclose(", "return True or torch.allclose("),
    (
        "return torch.allclose(received.double(), expected, ",
        "return torch.allclose(received.flatten()[:1].double(), expected.flatten()[:1], ",
    ),
    ("= 1e-4, 1e-5", "= 10, 1"),
    ("        if condition:\n", "        if True:\n"),
    (
        "        except (Exception, SystemExit) as error:\n",
        "        except (Exception, SystemExit) as error:\n            return None\n",
    ),
    ("    for p, s, k in ((0, 1, 3), (0, 1, 2), (2,", "    for p, s, k in ((0, 1, 3), (0, 1, 2)) or ((2,"),
    ("for lr, mu in (", "for lr, mu in ((0.5, 0.0),) or ("),
    ("count <= BUDGET", "count <= 2 * BUDGET"),
    ("    for place, value in enumerate(expected):", "    for place, value in enumerate(expected[:1]):"),
    (" and agrees(received, slips[hint])", ""),
    ("if hint not in self.answer.not_made", ""),
    ("torch.default_generator.seed()", "torch.default_generator.manual_seed(0)"),
]


def passes_all(module):
    """Return whether the checks of a module accept all right answers, and reject all wrong ones with their hints."""
    for name in QUICK:
        check = getattr(module, name)
        if ": right. " not in answer(check, RIGHT[name]):
            return False
        for hint, wrong in WRONG[name]:
            said = answer(check, wrong)
            if "not yet, look" not in said or not re.search(hint, said):
                return False
    return True


def names_one_mistake(module):
    """Return whether a mistake that earlier right answers rule out is no longer named."""
    said = answer(module.check_output_size, lambda n, k, p, s, d: (n + 2 * p - d * k) // s + 1)
    return "not d * k" in said and "first window" not in said


def draws_anew(module):
    """Return whether a check asks other questions at its second call."""
    asked = []

    def note(*arguments):
        asked.append(arguments)

    answer(module.check_convolve, note)
    answer(module.check_convolve, note)
    return describe(asked[0][0]) != describe(asked[1][0]) or not torch.equal(asked[0][0], asked[1][0])


def load_checks(old="", new=""):
    """Return the module of the checks with a piece of its source replaced."""
    source = Path(checks.__file__).read_text(encoding="utf-8")
    assert old in source, f"the source no longer has {old!r}: name another piece to weaken"
    module = types.ModuleType("weakened_checks")
    exec(compile(source.replace(old, new), "weakened_checks.py", "exec"), vars(module))
    return module


def test_the_checks_as_they_are_pass_all():
    assert all(holds(load_checks()) for holds in (draws_anew, names_one_mistake, passes_all))


@pytest.mark.parametrize(("old", "new"), MUTANTS)
def test_a_weakened_check_is_found(old, new):
    weakened = load_checks(old, new)
    assert not all(holds(weakened) for holds in (draws_anew, names_one_mistake, passes_all))


@pytest.mark.parametrize("name", QUICK)
def test_without_its_comparison_a_check_would_take_wrong_answers_for_right(name, monkeypatch):
    monkeypatch.setattr(checks, "agrees", lambda received, expected: True)
    monkeypatch.setattr(checks, "find_form_slip", lambda received, expected: None)
    monkeypatch.setattr(checks.Reply, "require", lambda *_: None)
    taken = 0
    for _, wrong in WRONG[name]:
        with contextlib.suppress(AttributeError, TypeError):
            taken += ": right. " in answer(CHECKS[name], wrong)
    assert taken >= 4


def test_every_hint_is_met_by_a_wrong_answer():
    tree = ast.parse(Path(checks.__file__).read_text(encoding="utf-8"))
    for function in tree.body:
        if getattr(function, "name", None) in QUICK:
            keys = [key for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys]
            said = "".join(answer(CHECKS[function.name], wrong) for _, wrong in WRONG[function.name])
            missing = [key.value for key in keys if key.value not in said]
            assert not missing, f"{function.name}: no wrong answer leads to {missing}"


# The common part


def test_a_check_leaves_the_notebooks_random_numbers_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    answer(checks.check_convolve, lambda X, K, p, s: torch.rand(2))
    assert torch.equal(torch.rand(3), expected)


def test_an_answer_cannot_change_the_question():
    def spoil(X, gamma, beta, eps):
        Y = batch_norm(X, gamma, beta, eps)
        for argument in (X, gamma, beta):
            argument.zero_()
        return Y

    assert ": right. " in answer(checks.check_batch_norm, spoil)

    def spoil_lists(x, layers):
        y = run_dense(x, layers)
        layers[0][0].zero_()
        return y

    assert ": right. " in answer(checks.check_run_dense, spoil_lists)


def test_numbers_may_come_from_numpy():
    assert ": right. " in answer(checks.check_multiply_adds, lambda i, o, k, w: np.int64(i * o * (k * w) ** 2))
    assert ": right. " in answer(checks.check_softmax, lambda scores: torch.softmax(scores, 1).numpy())
    assert "return a tensor" in answer(checks.check_softmax, lambda scores: scores.numpy().astype(str))


def test_the_last_answer_counts_and_the_solution_does_not(monkeypatch):
    monkeypatch.setattr(checks, "passed", {})

    def solution(n):
        return RIGHT["check_encoder_size"](n)

    assert answer(checks.check_encoder_size, solution).startswith("solution: right. ")
    assert checks.passed == {}
    answer(checks.check_encoder_size, RIGHT["check_encoder_size"])
    assert checks.passed == {"check_encoder_size": True}
    answer(checks.check_encoder_size, lambda n: None)
    assert checks.passed == {"check_encoder_size": False}


def test_one_call_summarises_the_checks_of_a_notebook(monkeypatch, capsys):
    monkeypatch.setattr(checks, "passed", {})
    checks.summarise_checks()
    assert capsys.readouterr().out == "0 of 0 checks passed\n"
    answer(checks.check_encoder_size, lambda n: None)
    answer(checks.check_convolve, RIGHT["check_convolve"])
    checks.summarise_checks()
    assert capsys.readouterr().out == "✗ check_encoder_size\n✓ check_convolve\n1 of 2 checks passed\n"
    answer(checks.check_encoder_size, RIGHT["check_encoder_size"])
    with speaking("zh"):
        checks.summarise_checks()
    assert capsys.readouterr().out.endswith("2 个检查中通过了 2 个\n")


def make_check(*questions):
    """Return a check that asks these questions; each has the arguments, the right answer and the slips."""

    @checks.check("All agree")
    def check_all(ask):
        for arguments, expected, slips in questions:
            ask(*arguments).equals(expected, slips)

    return check_all


def report(received, expected, slips=None):
    """Return the lines of the report on an answer to one question, from what was expected on."""
    said = answer(make_check(((7,), expected, slips)), lambda n: received)
    lines = said.splitlines()
    assert lines[:2] == ["<lambda>: not yet, look at this:", "  input     n = 7"], said
    return lines[2:]


def find_hint(*arguments):
    """Return the hint in the report on an answer, or an empty text."""
    hints = [line for line in report(*arguments) if line.startswith("  hint ")]
    return "".join(hints).removeprefix("  hint      ")


@pytest.mark.parametrize("value", [None, 5, torch.tensor(5)])
def test_the_function_itself_is_asked_for(value):
    assert answer(checks.check_encoder_size, value) == (
        f"answer: not yet, check_encoder_size takes the function itself, and received {checks.shorten(value)}.\n"
        "  hint: write its name only, without brackets behind it\n"
    )


class Unspeakable(Exception):
    def __repr__(self):
        raise RuntimeError("no words")

    __str__ = __repr__


class Leaves(nn.Module):
    def forward(self, X):
        raise SystemExit


def raise_error(error):
    raise error


itself = []
itself.append(itself)
STRANGE = {
    "too large for a tensor": lambda *_: 2**63,
    "too small for a tensor": lambda *_: (-(2**70),) * 2,
    "too long to print": lambda *_: 10**5000,
    "too long to print, in a tuple": lambda *_: (10**5000,) * 2,
    "without words": lambda *_: Unspeakable(),
    "without values": lambda *_: torch.empty(3, device="meta"),
    "without end": lambda *_: itself,
    "sparse": lambda *_: torch.eye(3).to_sparse(),
    "a net without weights": lambda *_: nn.Linear(784, 10, device="meta"),
    "a net that ends the program": lambda *_: Leaves(),
    "the end of the program": lambda *_: raise_error(SystemExit()),
    "an error without words": lambda *_: raise_error(Unspeakable()),
    "no function, without words": Unspeakable(),
}


@pytest.mark.fault("exercises", "an answer out of the ordinary")
@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("name", CHECKS)
def test_nothing_is_raised_whatever_the_answer_is(name, strange):
    assert ": not yet, " in answer(CHECKS[name], STRANGE[strange])


def test_a_number_that_fits_in_no_tensor_is_told_as_it_is():
    said = answer(checks.check_multiply_adds, lambda *_: 9**30)
    assert "\n  received  42391158275216203514294433201\n" in said


def test_data_that_cannot_be_read_is_no_wrong_answer(monkeypatch):
    monkeypatch.setattr(checks, "load_data_fashion_mnist", lambda *_: raise_error(FileNotFoundError("no data")))
    with pytest.raises(FileNotFoundError, match="no data"):
        checks.check_escape(lambda: (nn.Flatten(), 0.1))


def test_a_function_without_a_name_or_a_signature_will_do():
    assert answer(make_check(((1,), 1, None)), functools.partial(abs)) == "answer: right. All agree\n"
    for function, name in ((max, "argument 1"), (lambda *numbers: 0, "numbers")):
        said = answer(make_check(((1, 2), 1, None)), function)
        assert said.splitlines()[1:3] == [f"  input     {name} = 1", "  input     argument 2 = 2"]


def test_a_report_has_all_that_helps():
    Y = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    check = make_check(((Y, 1), Y, None), ((Y, 2), 2 * Y, {"the factor is missing": Y}))
    assert answer(check, lambda Y, *rest: Y.clone()) == (
        "<lambda>: not yet, look at this:\n"
        "  input     Y = tensor of shape (2, 2): 1, 2, 3, 4\n"
        "  input     rest = 2\n"
        "  expected  tensor of shape (2, 2): 2, 4, 6, 8\n"
        "  received  tensor of shape (2, 2): 1, 2, 3, 4\n"
        "            at [0, 0]: 2 expected, 1 received\n"
        "  hint      the factor is missing\n"
        "  note      right on 1 earlier input: what is different here?\n"
    )
    check = make_check(*[((n,), n, None) for n in (1, 2, 3)])
    assert answer(check, lambda n: min(n, 2)).endswith(
        "  hint      off by one\n  note      right on 2 earlier inputs: what is different here?\n"
    )


def test_a_report_says_where_two_tensors_differ_first():
    expected = torch.tensor([[1.0, 2.0, 30_000.0], [0.0, 4.0, 5.0]])
    received = expected + torch.tensor([[0, 1e-4, 2.0], [1e-5, 1 / 3, 1.0]])
    assert report(received, expected) == [
        "  expected  tensor of shape (2, 3): 1, 2, 3e+04, 0, 4, 5",
        "  received  tensor of shape (2, 3): 1, 2, 3e+04, 1e-05, 4.333, 6",
        "            at [1, 1]: 4 expected, 4.333 received",
    ]
    lines = report(torch.ones(2), torch.ones(2, dtype=torch.long))
    assert lines[1] == "  received  tensor of shape (2,): 1, 1", "only the type is wrong"


def test_two_likely_mistakes_are_named_until_an_earlier_answer_rules_one_out():
    slips = {"first": 5, "second": 5, "third": 5, "fourth": torch.zeros(2)}
    assert find_hint(5, 7, slips) == "first; or second"
    assert find_hint(torch.zeros(2), torch.ones(2), slips) == "fourth"
    check = make_check(((7,), 7, {"first": 6, "second": 7}), ((6,), 7, {"first": 6, "second": 6}))
    assert "  hint      second\n" in answer(check, lambda n: n)


@pytest.mark.parametrize(
    ("received", "lines"),
    [
        (5, ["  expected  a tuple of 2 values", "  received  5"]),
        ((5,), ["  expected  a tuple of 2 values", "  received  (5)"]),
        ([5, 2.5, 1], ["  expected  a tuple of 2 values", "  received  [5, 2.5, 1]"]),
    ],
)
def test_a_tuple_is_asked_for(received, lines):
    assert report(received, (5, 2.5)) == [*lines, "  hint      return them side by side, with a comma between them"]


def test_every_item_of_a_tuple_is_compared():
    slips = {"halves": (5, 1.25)}
    assert report((5, 1.25), (5, 2.5), slips) == [
        "  expected  2.5 (item 1 of the tuple)",
        "  received  1.25",
        "  hint      halves",
    ]
    assert report([5, 2.0], (4, 2.0))[0] == "  expected  4 (item 0 of the tuple)"
    for right in ((5, 2.5), [5, 2.5]):
        assert (
            answer(make_check(((7,), (5, 2.5), None)), lambda n, right=right: right) == "<lambda>: right. All agree\n"
        )
    assert "right." in answer(make_check(((7,), (5, 2), None)), lambda n: torch.Size([5, 2]))


A = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [1.0, 1.0, 2.0]])
WHOLE = "whole numbers are asked for: divide with // and not with /, or make the tensor with dtype=torch.long"
INFINITY = "∞ comes from the logarithm of 0, or from exp of a large number: look for a function that avoids it"
NAN = (
    "NaN comes from 0/0 or ∞/∞: exp of a large number is ∞, so give exp no number far above 0; "
    "in a softmax, take the largest away first"
)
ZEROS = "there is nothing but 0: is the result ever written?"


@pytest.mark.parametrize(
    ("received", "expected", "hint"),
    [
        ("seven", 7, "return a number"),
        (True, 1, "return a number"),
        ([1.0], A, "return a tensor"),
        (np.array(["a"]), A, "return a tensor"),
        (torch.ones(1), 1.5, "one number is asked for, not a tensor of them"),
        (1.5, A, "a tensor is asked for, not one number"),
        (torch.ones(3, 2), torch.zeros(2, 3), "the axes are in another order: the shape must be (2, 3)"),
        (torch.ones(3), A, "the shape must be (3, 3), and is (3,)"),
        (torch.ones(3, 4), A, "the shape must be (3, 3), and is (3, 4)"),
        (7.0, 7, WHOLE),
        (torch.ones(2), torch.ones(2, dtype=torch.long), WHOLE),
        (8, 7, "off by one"),
        (0, 1, "off by one"),
        (9, 7, ""),
        (0, 2, ""),
        (8.5, 7.5, ""),
        (0.0, 7.5, ZEROS),
        (0 * A, A, ZEROS),
        (torch.zeros(2, dtype=torch.long), torch.tensor([1, 2]), ZEROS),
        (float("nan"), 7.5, NAN),
        (torch.tensor([1.0, float("nan")]), torch.ones(2), NAN),
        (float("-inf"), 7.5, INFINITY),
        (torch.tensor([1.0, float("inf")]), torch.ones(2), INFINITY),
        (-A, A, "the sign is wrong"),
        (A.T, A, "rows and columns are swapped"),
        (A / 3, A, "every number is 0.3333 times what it should be"),
        (A + 1.25, A, "every number is +1.25 away from what it should be"),
        (A - 2, A, "every number is -2 away from what it should be"),
        (A.flip(0), A, ""),
    ],
)
def test_a_regular_mistake_gets_a_hint(received, expected, hint):
    assert find_hint(received, expected) == hint


@pytest.mark.parametrize(
    ("received", "expected", "right"),
    [
        (7, 7, True),
        (7 + 1e-9, 7.0, True),
        (7, 7.0, True),
        (10_000.9, 10_000.0, True),
        (10_001.1, 10_000.0, False),
        (0.9e-5, 0.0, True),
        (1.1e-5, 0.0, False),
        (torch.tensor([True]), torch.tensor([1]), True),
        (np.float32(0.5), 0.5, True),
        (np.ones(2, np.int32), torch.ones(2, dtype=torch.long), True),
        (A.clone().requires_grad_(), A, True),
        (A.half(), A, True),
        (torch.tensor([1, 3]), torch.tensor([1, 2]), False),
    ],
)
def test_how_near_an_answer_must_be(received, expected, right):
    said = answer(make_check(((7,), expected, None)), lambda n: received)
    assert (said == "<lambda>: right. All agree\n") is right


@pytest.mark.parametrize(
    ("cell", "raised", "hint"),
    [
        (
            "def f(n):\n    return m",
            "NameError: name 'm' is not defined (line 2 of its cell)",
            "is the name spelled as where it was made, and has the cell that makes it been run?",
        ),
        (
            "def f(n):\n    import torch\n    torch.zeros(()).backward()",
            "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn (line 3 of its cell)",
            "the tensor that you ask for a gradient was not computed from one with requires_grad=True",
        ),
        (
            "def f(n):\n    import torch\n    W = torch.zeros(1, requires_grad=True)\n    W += 1",
            "RuntimeError: a leaf Variable that requires grad is being used in an in-place operation."
            " (line 4 of its cell)",
            "change weights inside `with torch.no_grad():`, where nothing is recorded",
        ),
        (
            "def f(n):\n    return [][n]",
            "IndexError: list index out of range (line 2 of its cell)",
            "print the shapes on the way to find the place",
        ),
        (
            "def f(n):\n    raise ValueError('a leaf')",
            "ValueError: a leaf (line 2 of its cell)",
            "print the shapes on the way to find the place",
        ),
        (
            "def f(n):\n    return 1 // 0",
            "ZeroDivisionError: integer division or modulo by zero (line 2 of its cell)",
            None,
        ),
        ("def f():\n    return 1", "TypeError: f() takes 0 positional arguments but 1 was given", None),
    ],
)
def test_an_exception_is_told_with_its_line_and_a_cure(cell, raised, hint):
    namespace = {}
    exec(cell, namespace)
    said = answer(make_check(((7,), 1, None)), namespace["f"]).splitlines()
    told = ["  expected  an answer", f"  received  your function raised {raised}"]
    assert said[-len(told) - bool(hint) :] == told + ([f"  hint      {hint}"] if hint else [])


class Scores(nn.Module):
    """Scores that show whether the net is in test mode."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, X):
        return self.scores * (3 if self.training else 1)


def ask_scores(net):
    """Return the lines from what was expected on, where a net's scores for three images are asked for."""

    @checks.check("All agree")
    def check_all(ask):
        scores = checks.require_scores(ask(), torch.zeros(3, 1, 28, 28))
        assert torch.equal(scores, net.scores)

    said = answer(check_all, lambda: net)
    return [] if said == "<lambda>: right. All agree\n" else said.splitlines()[1:]


B = torch.arange(30.0).reshape(3, 10)
SAME = ["  expected  scores that depend on the image", "  received  the same scores for all images"]
SHARES = torch.rand(3, 10, generator=torch.Generator().manual_seed(0)).softmax(1)
SOFTMAX = [
    "  expected  scores, before any softmax",
    "  received  probabilities, which add up to 1",
    "  hint      the loss takes the softmax itself: end with the linear layer",
]


@pytest.mark.parametrize(
    ("net", "lines"),
    [
        (Scores(B), []),
        (Scores(B / B.sum(1, keepdim=True) * 1.01), []),
        (Scores(SHARES + torch.tensor([-0.5, 0.5] * 5)), []),
        (Scores(B[:, :9]), ["  expected  scores of shape (3, 10) for 3 images", "  received  (3, 9)"]),
        (Scores(3), ["  expected  scores of shape (3, 10) for 3 images", "  received  3"]),
        (Scores(B[:1].expand(3, 10)), SAME),
        (Scores(torch.stack([B[0], B[0], B[0] + 1])), []),
        (Scores(SHARES), SOFTMAX),
        (
            nn.Linear(28, 10).double(),
            [
                "  expected  an answer",
                "  received  your net, given images of shape (3, 1, 28, 28), raised RuntimeError: …",
                "  hint      print the shapes on the way to find the place",
            ],
        ),
        (
            B,
            [
                "  expected  a net",
                f"  received  {checks.shorten(B)}",
                "  hint      return the net itself, nn.Sequential(…)",
            ],
        ),
    ],
)
def test_scores_of_a_net(net, lines):
    told = [re.sub("(?<=RuntimeError: ).*", "…", line) for line in ask_scores(net)]
    assert told == lines


@pytest.mark.parametrize(
    ("net", "lines"),
    [
        (nn.Linear(4, 3), []),
        (
            nn.Linear(4, 2),
            [
                "  expected  weights of the shapes [(3, 4)]",
                "  received  [(2, 4)]",
                "  hint      compare shape by shape",
            ],
        ),
        (
            nn.Linear(4, 3, bias=False),
            ["  expected  15 parameters", "  received  12", "  hint      does each of the five layers have a bias?"],
        ),
    ],
)
def test_weights_of_a_net(net, lines):
    @checks.check("All agree")
    def check_all(ask):
        checks.require_weights(ask(), [(3, 4)])

    said = answer(check_all, lambda: net)
    assert said.splitlines()[1:] == lines and (lines or said == "<lambda>: right. All agree\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.tensor(1.5), "1.5"),
        (torch.tensor(3), "3"),
        (torch.arange(6.0), "tensor of shape (6,): 0, 1, 2, 3, 4, 5"),
        (torch.arange(7) / 3, "tensor of shape (7,): 0, 0.3333, 0.6667, 1, 1.333, 1.667, …"),
        (1 / 3, "0.333333"),
        (1234567, "1234567"),
        (True, "True"),
        (-(10**20), "-100000000000000000000"),
        (2**5000, "≥ 2**5000"),
        (1 - 2**5000, "≤ -2**4999"),
        ([1, 2.5], "[1, 2.5]"),
        ((1, [torch.tensor(2)]), "(1, [2])"),
        ("x", "str 'x'"),
        ("x" * 84, f"str '{'x' * 84}'"),
        ("x" * 85, f"str '{'x' * 84}…"),
        (None, "NoneType None"),
        (nn.Sequential(nn.ReLU(), nn.ReLU()), "a net with 2 layers"),
    ],
)
def test_values_are_shortened_to_one_line(value, text):
    assert checks.shorten(value) == text


def test_random_whole_numbers_reach_both_ends():
    assert {checks.draw(2, 4) for _ in range(100)} == {2, 3, 4}


def test_help_shows_what_a_learner_gives():
    for check in CHECKS.values():
        assert list(inspect.signature(check).parameters) == ["answer"]
        assert re.match(r"Check ``\w+\(.*\)``: .*\.$", check.__doc__)


# The exercises in the notebooks


def exercises(path):
    """Return ``{number: {part: cell}}`` for a notebook's exercises; the parts are text, stub, check and solution."""
    found = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if match := re.fullmatch(r"ex(\d+)-(text|stub|check|solution)", cell.id):
            found.setdefault(int(match[1]), {})[match[2]] = cell
    return found


def definitions(path):
    """Return a namespace with all imports, functions and classes of a notebook's lesson; nothing else of it is run."""
    namespace = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and not cell.id.startswith("ex"):
            body = ast.parse(cell.source).body
            kept = [
                node for node in body if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
            ]
            exec(compile(ast.Module(kept, []), cell.id, "exec"), namespace)
    return namespace


FORMS = {"en": ("### Exercise {}: ", r"\([a-z ]+ lines?\)"), "zh": ("### 练习 {}：", "（[^（）]+行）")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_notebook_has_three_to_six_exercises_of_one_form(path):
    found = exercises(path)
    assert 3 <= len(found) <= 6 and list(found) == list(range(1, len(found) + 1))
    namespace = definitions(path)
    for number, parts in found.items():
        assert list(parts) == ["text", "stub", "check", "solution"], number
        title, length = FORMS[path.parent.name]
        assert parts["text"].source.startswith(title.format(number))
        assert re.search(length, parts["text"].source), "say how long the answer is"
        assert parts["solution"].metadata.jupyter.source_hidden
        (stub,) = (node for node in ast.walk(ast.parse(parts["stub"].source)) if isinstance(node, ast.FunctionDef))
        said = {}
        for part in ("stub", "check", "solution"):
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(parts[part].source, namespace)
            said[part] = output.getvalue()
        assert said["stub"] == ""
        assert said["check"].startswith(f"{stub.name}: not yet, your function returned None.")
        assert said["solution"].startswith("solution: right. ")
        assert parts["check"].source.splitlines()[-1] == f"check_{stub.name}({stub.name})"
        assert parts["solution"].source.splitlines()[-1] == f"check_{stub.name}(solution)"


def test_every_check_belongs_to_one_exercise_of_the_english_edition():
    used = [
        parts["check"].source.splitlines()[-1].split("(")[0]
        for path in NOTEBOOKS
        if path.parent.name == "en"
        for parts in exercises(path).values()
    ]
    assert sorted(used) == sorted(CHECKS)
