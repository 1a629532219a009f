"""What the explorers share: one text for the page's script and one for its style, and an end when their cell reruns."""

import gc
import sys
import weakref
from pathlib import Path

import comm
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from nets import make_lenet

import lenet_helpers
from lenet_helpers import cells, explorers
from lenet_helpers.explorers import base
from lenet_helpers.explorers.base import read_script, read_style
from lenet_helpers.explorers.net import join_scripts, join_styles, synced_bytes

PACKAGE = Path(lenet_helpers.__file__).parent


@pytest.mark.parametrize(
    ("join", "names", "files"),
    [
        (read_script, ["walk.js"], ["language.js", "explorers/common.js", "explorers/walk.js"]),
        (
            join_scripts,
            ["confusions.js", "errors.js"],
            ["language.js", "explorers/common.js", "explorers/confusions.js", "explorers/errors.js"],
        ),
        (read_style, ["walk.css"], ["explorers/common.css", "explorers/walk.css"]),
        (
            join_styles,
            ["confusions.css", "errors.css"],
            ["explorers/common.css", "explorers/confusions.css", "explorers/errors.css"],
        ),
    ],
)
def test_a_widget_has_one_text_with_what_is_shared_in_front(join, names, files):
    assert join(*names) == "".join((PACKAGE / file).read_text(encoding="utf-8") for file in files)


def test_bytes_travel_raw():
    trait = synced_bytes()
    assert trait.default_value == b"" and trait.metadata["sync"] is True
    assert trait.metadata["from_json"](memoryview(b"ab"), None) == b"ab"


IMAGES = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 10
EXPLORERS = {
    "errors": "explore_errors(net, [(X, y)])",
    "net": "explore_net(net, X, y)",
    "replay": "explore_epochs(net, [net.state_dict()], [(X, y)], X[0])",
    "shapes": "explore_shapes(X[0])",
    "signals": "explore_signals(X, y)",
    "walk": "explore_walk(net)",
    "window": "explore_window(X[0])",
}


class Notebook:
    """A notebook's shell without its page: ``run(cell, code)`` runs a cell, and returns what it shows."""

    def __init__(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # a shell puts its own there
        self.shell = InteractiveShell()
        self.shell.kernel, self.shell.get_parent = self, lambda: self.request
        self.shell.user_ns |= {name: value for name, value in vars(explorers).items() if not name.startswith("_")}
        self.shell.user_ns |= {"net": make_lenet(), "X": IMAGES, "y": LABELS}
        for module in (base, cells):
            monkeypatch.setattr(module, "get_ipython", lambda: self.shell)
        monkeypatch.setattr(base, "to_png", lambda figure: b"")  # which takes longest
        self.executions = 0

    def run(self, cell, code):
        self.executions += 1
        self.request = {"metadata": {"cellId": cell}, "header": {"msg_id": self.executions}}
        result = self.shell.run_cell(code, store_history=True)
        result.raise_error()
        return result.result


@pytest.fixture
def notebook(monkeypatch):
    notebook = Notebook(monkeypatch)
    yield notebook
    notebook.shell.reset()


@pytest.mark.fault("panel and explorers", "cell run again ten times")
@pytest.mark.parametrize("code", EXPLORERS.values(), ids=EXPLORERS)
def test_running_the_cell_again_leaves_nothing_behind(notebook, code):
    """IPython itself keeps what is shown, as ``_``, ``__`` and ``___``, for three executions."""
    counts, shown = [], []
    for _ in range(10):
        shown.append(weakref.ref(notebook.run("cell 4", code)))
        counts.append(len(comm.get_comm_manager().comms))
    assert len(set(counts)) == 1
    gc.collect()
    assert [explorer() is not None for explorer in shown] == [False] * (len(shown) - 3) + [True] * 3
    assert [explorer().comm is not None for explorer in shown[-3:]] == [False, False, True]


def test_explorers_of_one_cell_and_of_other_cells_live_together(notebook):
    first, second = notebook.run("cell 4", "one, two = explore_net(net, X), explore_window(X[0])\none, two")
    held = notebook.run("cell 5", "held = explore_net(net, X)\nheld")
    for _ in range(3):
        assert notebook.run("cell 6", "held") is held
        notebook.run("cell 7", "explore_shapes(X[0])")
    assert all(explorer.comm is not None for explorer in (first, second, held))
    notebook.run("cell 4", "one = explore_net(net, X)")
    assert first.comm is None and second.comm is None and held.comm is not None
    first.choose(3)  # a name that still points to it can go on without the page
    assert first.activations()[0].equal(IMAGES[3])


def test_outside_a_notebook_explorers_live_on():
    one, two = explorers.explore_window(IMAGES[0]), explorers.explore_window(IMAGES[0])
    assert one.comm is not None and two.comm is not None
