"""The nets and the training recipes that notebook 07 compares, one change at a time, at LeNet's parameter budget."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import torch
from torch import nn

from lenet_helpers.data import FashionMNIST, batch_loader, load_data_fashion_mnist
from lenet_helpers.training import Report, check_net, init_weights, train_steps, with_cure

BATCH_SIZE = 256
NUM_VALIDATION = 5_000
RESULTS = Path(__file__).parents[1] / "benchmarks" / "ablation.json"  # written by `make ablation`


def make_softmax():
    """Return softmax regression: one linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def make_mlp():
    """Return a net with one hidden layer, as wide as the budget allows."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 78), nn.ReLU(), nn.Linear(78, 10))


def make_lenet(activation=nn.Sigmoid, pooling=nn.AvgPool2d, batch_norm=False, channels=(6, 16), units=(120, 84)):
    """Return LeNet, by default the original one; batch norm follows the convolutions alone."""
    (c1, c2), (u1, u2) = channels, units

    def norm(num_channels):
        return [nn.BatchNorm2d(num_channels)] if batch_norm else []

    return nn.Sequential(
        *[nn.Conv2d(1, c1, kernel_size=5, padding=2), *norm(c1), activation(), pooling(2)],
        *[nn.Conv2d(c1, c2, kernel_size=5), *norm(c2), activation(), pooling(2)],
        nn.Flatten(),
        *[nn.Linear(c2 * 5 * 5, u1), activation()],
        *[nn.Linear(u1, u2), activation()],
        nn.Linear(u2, 10),
    )


def make_modern():
    """Return LeNet with ReLU, max pooling and batch norm; channels and units are the original's."""
    return make_lenet(nn.ReLU, nn.MaxPool2d, batch_norm=True)


def make_wide():
    """Return the modern LeNet with more channels and fewer units."""
    return make_lenet(nn.ReLU, nn.MaxPool2d, batch_norm=True, channels=(16, 32), units=(52, 40))


def make_deep(channels=(16, 32, 32, 48, 64), pool_after=(0, 2)):
    """Return a net of 3×3 convolutions, no longer a LeNet; an average over the picture stands for the dense block."""
    layers, previous = [], 1
    for index, num_channels in enumerate(channels):
        layers += [nn.Conv2d(previous, num_channels, kernel_size=3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(num_channels), nn.ReLU()]
        if index in pool_after:
            layers += [nn.MaxPool2d(2)]
        previous = num_channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(previous, 10))


class Mirrored(nn.Module):
    """A net that, outside of training, averages its scores for each image and for the image's mirror image."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, X):
        return self.net(X) if self.training else (self.net(X) + self.net(X.flip(-1))) / 2


def make_mirrored():
    """Return the modern LeNet with mirrored testing."""
    return Mirrored(make_modern())


def make_record():
    """Return the deep net with mirrored testing."""
    return Mirrored(make_deep())


def constant(progress):
    """Keep the learning rate as it is."""
    return 1.0


def one_cycle(progress, warm_up=0.2):
    """Raise the learning rate in a line to its maximum, then lower it along a cosine to zero."""
    if progress < warm_up:
        return progress / warm_up
    return (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


def flip(X):
    """Mirror each image of a mini-batch, left to right, with probability 1/2."""
    mirrored = torch.rand(len(X), device=X.device) < 0.5
    return torch.where(mirrored[:, None, None, None], X.flip(-1), X)


def erase(X, reach=4):
    """Blacken a square of each image, 9×9 pixels around a random one, with probability 1/2; it may cross the edge.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """

    def inside(length):
        centre = torch.randint(length, (len(X), 1), device=X.device)
        return (torch.arange(length, device=X.device) - centre).abs() <= reach  # (N, length)

    chosen = torch.rand(len(X), device=X.device) < 0.5
    square = inside(X.shape[2])[:, :, None] & inside(X.shape[3])[:, None, :] & chosen[:, None, None]
    return X.masked_fill(square[:, None], 0.0)


@dataclass(frozen=True)
class Recipe:
    """How a row of the table is made: the net, and how mini-batch SGD trains it.

    ``schedule`` takes the progress from 0 to 1 to a factor of ``lr``; ``augment`` holds the functions that change each
    training mini-batch; ``bfloat16`` saves time on processors that have it.
    """

    name: str
    title: str
    make_net: Callable
    num_epochs: int = 10
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Callable = constant
    augment: tuple = ()
    bfloat16: bool = False


class Augmented:
    """A data loader whose mini-batches pass through random changes, anew each time."""

    def __init__(self, loader, changes):
        self.loader, self.changes = loader, changes

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for X, y in self.loader:
            for change in self.changes:
                X = change(X)
            yield X, y


class Bfloat16(nn.Module):
    """A net that computes in bfloat16 where this loses little; weights and output stay float32."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, X):
        with torch.autocast(X.device.type, torch.bfloat16):
            return self.net(X).float()


make_relu = partial(make_lenet, nn.ReLU)
make_max_pooling = partial(make_lenet, nn.ReLU, nn.MaxPool2d)
MODERN = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "schedule": one_cycle}

ROWS = (
    Recipe("softmax", "softmax regression", make_softmax),
    Recipe("mlp", "one hidden layer, 78 units", make_mlp),
    Recipe("original", "original LeNet, lr 0.9", make_lenet, lr=0.9),
    Recipe("small_lr", "original LeNet, lr 0.1", make_lenet),
    Recipe("relu", "+ ReLU", make_relu),
    Recipe("max_pooling", "+ max pooling", make_max_pooling),
    Recipe("batch_norm", "+ batch norm", make_modern),
    Recipe("modern", "+ better steps: modern LeNet", make_modern, **MODERN),
    Recipe("flips", "+ random flips", make_modern, **MODERN, augment=(flip,)),
    Recipe("mirrored", "+ mirrored testing", make_mirrored, **MODERN, augment=(flip,)),
    Recipe("wide", "wide: 16 and 32 channels", make_wide, num_epochs=12, **MODERN, augment=(flip,)),
    Recipe(
        "record",
        "deep: five 3×3 convolutions",
        make_record,
        num_epochs=30,
        **MODERN,
        augment=(flip, erase),
        bfloat16=True,
    ),
)
RECIPES = {recipe.name: recipe for recipe in ROWS}


def describe_recipe(recipe):
    """Return the recipe's settings and its number of parameters as plain values, which JSON can hold."""
    settings = {field.name: getattr(recipe, field.name) for field in fields(recipe) if field.name != "make_net"}
    settings["schedule"] = recipe.schedule.__name__
    settings["augment"] = [change.__name__ for change in recipe.augment]
    return settings | {"parameters": count_parameters(recipe.make_net())}


def count_parameters(net):
    """Return how many numbers the training adjusts."""
    return sum(parameter.numel() for parameter in net.parameters())


def recipe_steps(recipe, net, train_iter, test_iter, device, memory_format=torch.channels_last):
    """Initialise ``net``, train it by ``recipe`` and yield what ``train_steps`` yields.

    ``memory_format`` changes the speed alone: most nets here are fastest in ``channels_last``. Batch norm over as few
    as six channels is not; with it, ``torch.contiguous_format`` can be faster on a CPU.
    """
    net.apply(init_weights)
    net.to(device, memory_format=memory_format)
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=recipe.lr * recipe.schedule(0.0),
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )
    train_iter = Augmented(train_iter, recipe.augment)
    net = Bfloat16(net) if recipe.bfloat16 else net
    for epoch, metric, test_acc in train_steps(net, train_iter, test_iter, recipe.num_epochs, optimizer, device):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * recipe.schedule(epoch / recipe.num_epochs)
        yield epoch, metric, test_acc


@with_cure
def train_recipe(recipe, train_iter, test_iter, seed=0, device="cpu", memory_format=torch.channels_last):
    """Train the recipe's net with live curves, as ``train_ch6`` does, and return ``(net, history)``.

    ``memory_format`` is that of ``recipe_steps``.
    """
    report = Report(train_iter, test_iter, recipe.num_epochs, recipe.lr, device)
    torch.manual_seed(seed)
    net = recipe.make_net()
    check_net(net)
    steps = recipe_steps(recipe, net, report.train_iter, test_iter, report.device, memory_format)
    try:
        for epoch, metric, test_acc in steps:
            report.add(epoch, metric, test_acc)
    except (KeyboardInterrupt, FloatingPointError) as reason:
        report.stop(reason)
    return net, report.finish()


def load_ablation(path=RESULTS):
    """Return the results of ``make ablation``: a dict with the ``rows`` and the published ``references``.

    A row holds the recipe's settings, ``mean`` and ``std`` of each measure, and one record per seed in ``seeds``.
    Raises FileNotFoundError if the file is not there.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"the results file {Path(path).name} is not there: make it with `make ablation`")
    return json.loads(Path(path).read_text(encoding="utf-8"))


def format_rows(rows):
    """Return the rows of ``load_ablation()`` as a table of text: mean ± standard deviation over the seeds."""

    def cell(row, measure, form):
        mean, spread = row["mean"][measure], row["std"][measure]
        return f"{mean:{form}}" + (f" ± {spread:{form}}" if spread is not None else "")

    width = max(len(row["title"]) for row in rows)
    lines = [f"{'':{width}}  parameters  epochs  test accuracy  train loss         CPU s"]
    for row in rows:
        accuracy, loss = cell(row, "test_acc", ".3f"), cell(row, "loss", ".3f")
        seconds = cell(row, "cpu_seconds", "3.0f")
        lines.append(
            f"{row['title']:{width}}  {row['parameters']:>10,}  {row['num_epochs']:>6}  "
            f"{accuracy:13}  {loss:13}  {seconds:9}"
        )
    return "\n".join(lines)


def load_split(batch_size=BATCH_SIZE):
    """Return ``(train_iter, validation_iter, test_iter)``.

    The validation images are the last 5,000 of a seeded permutation of the training images; choices are made on them.
    """
    train_iter, test_iter = load_data_fashion_mnist(batch_size)
    data = train_iter.dataset
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    train, validation = (
        FashionMNIST(data.images[part], data.labels[part])
        for part in (order[:-NUM_VALIDATION], order[-NUM_VALIDATION:])
    )
    return batch_loader(train, batch_size, shuffle=True), batch_loader(validation, batch_size), test_iter
