"""A long lesson in one kernel: memory stays bounded, and nothing is left behind. `make long-use` runs it.

Growth is measured after a warm-up. The numbers are printed, for the notes of a release.
"""

import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from kernels import Learner  # noqa: E402

SETUP = """
import gc
import threading
import comm
import torch
from matplotlib import pyplot
from torch import nn
from lenet_helpers import load_data_fashion_mnist
from lenet_helpers.explorers import explore_net
from lenet_helpers.panel import TrainPanel
from lenet_helpers.recipes import make_lenet

data = load_data_fashion_mnist(256)
for loader, count in zip(data, (2560, 512)):
    loader.dataset.images, loader.dataset.labels = loader.dataset.images[:count], loader.dataset.labels[:count]

def count():
    gc.collect()
    comms = len(comm.get_comm_manager().comms)
    return {"threads": threading.active_count(), "figures": len(pyplot.get_fignums()), "comms": comms}
"""
PANEL = "panel = TrainPanel(make_lenet, *data, num_epochs=1)\npanel"
TRAIN = "for _ in range(10):\n    panel.start().wait()\nassert panel.state == 'finished'"
MIB = 2**20

pytestmark = pytest.mark.long_use


@pytest.fixture
def learner(tmp_path):
    """A kernel that counts what it holds, and how much memory it takes."""
    with Learner(tmp_path) as learner:
        learner.run(SETUP)
        learner.count = lambda: (
            learner.run("", "count()") | {"mib": psutil.Process(learner.pid).memory_info().rss / MIB}
        )
        yield learner


def tell(capsys, name, before, after):
    with capsys.disabled():
        print(f"\n{name}: {before} after the warm-up, {after} at the end")


@pytest.mark.parametrize("runs_of_the_cell", [1, 20])
def test_200_runs_in_one_kernel(learner, capsys, runs_of_the_cell):
    """All runs in one panel, or ten in each of twenty, whose cell is run again each time."""
    counts = []
    for number in range(20):
        if number < runs_of_the_cell:
            learner.run(PANEL)
        learner.run(TRAIN)
        counts.append(learner.count())
    warm, last = counts[9], counts[-1]  # memory levels off after 70 to 140 runs
    tell(capsys, f"200 runs, {runs_of_the_cell} panels", warm, last)
    assert (last["threads"], last["comms"]) == (warm["threads"], warm["comms"])
    assert last["figures"] == 0
    assert (
        last["mib"] - warm["mib"] < 20 + 2 * runs_of_the_cell
    )  # IPython keeps every panel shown, with one net, in Out


@pytest.mark.parametrize("shown", ["", "\nexplorer"])
def test_40_runs_of_an_explorers_cell(learner, capsys, shown):
    """IPython keeps all that is shown in Out, but for explorers whose cell has run again."""
    learner.run("X, y = torch.rand(1000, 1, 28, 28), torch.arange(1000) % 10\nnet = make_lenet()")
    counts = []
    for _ in range(40):
        learner.run(f"explorer = explore_net(net, X, y){shown}")
        counts.append(learner.count())
    warm, last = counts[9], counts[-1]
    tell(capsys, f"40 runs of an explorer's cell{shown and ', shown'}", warm, last)
    for name in ("threads", "figures", "comms"):
        assert last[name] == warm[name]
    assert last["mib"] - warm["mib"] < 20  # the images of one explorer take 3 MiB


def test_500_images_in_one_kernel(learner, capsys):
    learner.run("X, y = next(iter(data[1]))\nexplorer = explore_net(make_lenet(), X, y)\nexplorer")
    change = "for index in range(100):\n    explorer.choose(index)\n    explorer.open_view(4, index % 16)"
    counts = []
    for _ in range(5):
        learner.run(change)
        counts.append(learner.count())
    tell(capsys, "500 images in the kernel", counts[0], counts[-1])
    for name in ("threads", "figures", "comms"):
        assert counts[-1][name] == counts[0][name]
    assert counts[-1]["mib"] - counts[0]["mib"] < 10
