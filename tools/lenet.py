"""The net of the notebooks and its training run, for the other tools; the notebooks alone define it."""

from pathlib import Path

import nbformat
import torch

from lenet_helpers import load_data_fashion_mnist, train_ch6

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "en" / "04_train_on_fashion_mnist.ipynb"


def load_make_net():
    """Return ``make_net`` as the cell with the id ``net`` of notebook 04 defines it.

    Raises ValueError if there is no such cell, or if it defines no ``make_net``.
    """
    cells = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
    namespace = {}
    exec(cells.get("net", ""), namespace)
    if "make_net" not in namespace:
        raise ValueError(
            f"{NOTEBOOK.name} has no cell with the id 'net' that defines make_net: give the cell its id back"
        )
    return namespace["make_net"]


def train_lenet(seed=0, lr=0.9, batch_size=256, num_epochs=10):
    """Train the original LeNet on the CPU and return ``(net, history)``; ten epochs take about a minute."""
    train_iter, test_iter = load_data_fashion_mnist(batch_size)
    torch.manual_seed(seed)
    net = load_make_net()()
    history = train_ch6(net, train_iter, test_iter, num_epochs, lr, torch.device("cpu"))
    return net, history
