"""Notebooks in unusual hands: cells from the last to the first, Run All twice, a kernel that dies in training.

The training is on 512 images, so a cell that makes claims about a trained net, or about times, may fail. Sweeps take a
minute and have tests of their own, so they are left out.
"""

import hashlib
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from lenet_helpers.data import find_data

FOLDER = Path(__file__).parents[1] / "notebooks" / "en"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LEFT_OUT = {"sweep-run", "sweep-check", "sweep-again", "sweep-failed", "sweep-same"}
CLAIMS = {
    "04_train_on_fashion_mnist": {"run-check", "compare-check", "predict-check", "questions-check"},
    "05_escape_the_plateau": {
        *("stall-check", "guess-ask", "guess-same", "push-check", "relu-check", "centred-train-check", "old-check")
    },
    "06_look_inside": {"train-check", "errors-check", "errors-shirts", "compare-check"},
    "07_modernise_lenet": {"run-check", "overlay-check", "test-once", "linear-check", "linear-people", "table-check"},
    "08_go_faster_and_wider": {*("data-race", "profile-check", "show-rounds", "show-costs", "show-check")},
}
FEW_IMAGES = """
from lenet_helpers import data, recipes
read_all, recipes.NUM_VALIDATION = data.read_idx, 128
data.read_idx = lambda path: read_all(path)[: 512 if "train" in path.name else 256]
"""


@contextmanager
def start_kernel():
    """Start a kernel in the notebooks' folder, with few images; give the function that runs a cell in it."""
    folder = {"metadata": {"path": FOLDER}}
    client = NotebookClient(new_notebook(), timeout=600, kernel_name="python3", resources=folder, allow_errors=True)
    with client.setup_kernel():
        run_cell(client, FEW_IMAGES)
        yield partial(run_cell, client)


def run_cell(client, cell):
    """Run a cell or code; return its error as ``(name, message)`` or None, and what it prints."""
    cell = new_code_cell(cell) if isinstance(cell, str) else nbformat.from_dict(cell)
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
    errors = [(output.ename, output.evalue) for output in cell.outputs if output.output_type == "error"]
    texts = [output.get("text") or output.get("data", {}).get("text/plain") for output in cell.outputs]
    return (errors[0] if errors else None), "".join(filter(None, texts))


def read_cells(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.id not in LEFT_OUT]


def has_tag(cell, tag):
    return tag in cell.metadata.get("tags", [])


def digest_files():
    """Return the sums of all files that a learner could lose: the notebooks, and the data."""
    paths = [path for path in FOLDER.iterdir() if path.is_file()] + list(find_data().values())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module", params=NAMES)
def played(request):
    """A notebook whose cells ran from the last to the first, then twice from the first to the last, in one kernel.

    ``(cells, [backwards, first, second])``: each run is a list of what ``run_cell`` returns, in the cells' order. The
    cells that make claims were run and are not told of.
    """
    cells, before = read_cells(request.param), digest_files()
    told = [index for index, cell in enumerate(cells) if cell.id not in CLAIMS.get(request.param, ())]
    with start_kernel() as run:
        backwards = [run(cell) for cell in reversed(cells)][::-1]
        runs = [backwards, *([run(cell) for cell in cells] for _ in range(2))]
    assert digest_files() == before
    return [cells[index] for index in told], [[run[index] for index in told] for run in runs]


@pytest.mark.fault("notebooks", "cells in reverse order")
def test_a_cell_that_comes_too_early_names_what_is_missing(played):
    cells, (backwards, *_) = played
    untagged = [
        error for cell, (error, _) in zip(cells, backwards, strict=True) if not has_tag(cell, "raises-exception")
    ]
    errors = [error for error in untagged if error]
    assert len(errors) >= 5
    for name, message in errors:
        assert name == "NameError" and "is not defined" in message


@pytest.mark.fault("notebooks", "cells in reverse order")
@pytest.mark.fault("notebooks", "Run All twice")
@pytest.mark.parametrize("number", [1, 2])
def test_run_all_works_after_any_other_order_and_once_more(number, played):
    cells, runs = played
    for cell, (error, _) in zip(cells, runs[number], strict=True):
        assert (error is not None) == has_tag(cell, "raises-exception"), (cell.id, error)


@pytest.mark.fault("notebooks", "Run All twice")
def test_run_all_twice_shows_the_same_twice(played):
    cells, (_, first, second) = played
    for cell, (_, text), (_, again) in zip(cells, first, second, strict=True):
        if not has_tag(cell, "nbval-ignore-output"):
            assert text == again, cell.id


DEADLY_LAYER = """
import os, signal

class Deadly(nn.Module):
    left = 4

    def forward(self, X):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return X
"""
WITHOUT_PICTURES = (
    *("data-load", "net", "net-seed", "accuracy-define", "steps-define", "init-define", "train-define", "panel-widget"),
)
TRAININGS = (
    "train_ch6(nn.Sequential({}make_net()), train_iter, test_iter, 2, 0.9, device)",
    "TrainPanel(lambda: nn.Sequential({}make_net()), train_iter, test_iter, num_epochs=2).start().wait()",
)


@pytest.mark.fault("notebooks", "kernel dies in training")
def test_after_a_kernel_that_died_in_training_the_next_one_works():
    cells = [cell for cell in read_cells("04_train_on_fashion_mnist") if cell.id in WITHOUT_PICTURES]
    before = digest_files()
    for deadly in (*TRAININGS, None):
        with start_kernel() as run:
            for code in [*cells, DEADLY_LAYER, *(training.format("") for training in TRAININGS)]:
                assert run(code)[0] is None
            if deadly:
                with pytest.raises(DeadKernelError):
                    run(deadly.format("Deadly(), "))
        assert digest_files() == before
