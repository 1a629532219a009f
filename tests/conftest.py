"""Fixtures that several test files share: real test images, and a net that was trained for a few seconds."""

import pytest
import torch
from nets import make_lenet
from small_data import files, fork, mirror, own, raw, world  # noqa: F401
from torch import nn

from lenet_helpers.data import FashionMNIST, batch_loader, find_data, read_idx
from lenet_helpers.training import copy_weights


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors gain nothing from several threads, and on a busy machine these wait for one another."""
    torch.set_num_threads(1)


def read_images(name, count):
    """Return the first images, float32 of shape (count, 1, 28, 28), and their labels."""
    paths = find_data()
    images = read_idx(paths[f"{name}-images-idx3-ubyte"])[:count]
    return images.float().div(255).unsqueeze(1), read_idx(paths[f"{name}-labels-idx1-ubyte"])[:count].long()


@pytest.fixture(scope="session")
def fashion():
    """The first 1,000 test images and their labels."""
    return read_images("t10k", 1000)


@pytest.fixture(scope="session")
def training():
    """A ReLU LeNet after three short epochs, and its weights after each: ``(net, snapshots)``."""
    torch.manual_seed(0)
    net, snapshots = make_lenet(nn.ReLU), []
    X, y = read_images("train", 3 * 15 * 128)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for i, (batch, labels) in enumerate(zip(X.split(128), y.split(128), strict=True)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(batch), labels).backward()
        optimizer.step()
        if (i + 1) % 15 == 0:
            snapshots.append(copy_weights(net))
    return net, snapshots


@pytest.fixture(scope="session")
def make_loaders():
    """``make_loaders(batch_size)`` gives (train_iter, test_iter) over 2,560 training and 512 test images."""
    paths = find_data()
    train, test = (
        FashionMNIST(
            read_idx(paths[f"{part}-images-idx3-ubyte"])[:count],
            read_idx(paths[f"{part}-labels-idx1-ubyte"])[:count].long(),
        )
        for part, count in (("train", 2560), ("t10k", 512))
    )
    return lambda batch_size: (batch_loader(train, batch_size, shuffle=True), batch_loader(test, batch_size))
