"""What every notebook owes its readers, beyond running: order, clean outputs, the form of a lesson, comparison."""

import ast
import itertools
import json
import re
from pathlib import Path

import nbformat
import pytest

from lenet_helpers import training

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}


@pytest.fixture(params=PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_numbers_make_a_table_of_contents():
    for folder in {path.parent for path in PATHS}:
        numbers = [int(path.stem[:2]) for path in PATHS if path.parent == folder]
        assert numbers == list(range(1, len(numbers) + 1)), folder


def test_it_ran_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_it_is_stored_clean(notebook):
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "jupyter"}, cell.id
        for output in cell.get("outputs", []):
            assert not output.get("metadata"), cell.id
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {}), cell.id


def test_no_output_names_a_folder_of_a_machine(path):
    assert not re.search(r"site-packages|[^:/]/(home|root|Users|work|tmp)/", path.read_text(encoding="utf-8"))


def test_cell_ids_are_words_and_unique(notebook):
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9-]+", one) for one in ids)


def test_nearly_every_output_is_compared(notebook):
    cells = code_cells(notebook)
    ignored = [cell.id for cell in cells if UNCOMPARED & set(cell.metadata.get("tags", []))]
    assert len(ignored) <= 0.1 * len(cells), f"{len(ignored)} of {len(cells)} cells are not compared: {ignored}"


def test_an_uncompared_cell_is_followed_by_one_that_asserts(notebook):
    cells = code_cells(notebook)
    for cell, following in itertools.pairwise(cells):
        if UNCOMPARED & set(cell.metadata.get("tags", [])):
            assert "assert" in following.source, cell.id


def test_no_cell_ends_in_a_way_that_nbval_sees_differently(notebook):
    for cell in code_cells(notebook):
        assert not cell.source.rstrip().endswith(";"), cell.id


def test_every_widget_and_picture_left_something_to_see(notebook):
    """A cell that ends in a widget or a figure stores a PNG for readers without a kernel."""
    for cell in code_cells(notebook):
        if re.search(r"\b(explore_\w+|show_\w+|TrainPanel)\(", cell.source) and "def " not in cell.source:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.id


def test_it_has_the_form_of_a_lesson(notebook, path):
    text = prose(notebook)
    if path.parent.name == "en":
        first, last = notebook.cells[0].source, notebook.cells[-1].source
        assert all(word in first for word in ("**You will do:**", "**You will learn**", "**You need:**"))
        assert "**Predict" in text
        assert len(re.findall(r"^- ", last, flags=re.M)) == 3
    assert text.count("<details><summary>") == text.count("</details>") >= 5


def test_links_lead_somewhere(notebook, path):
    for target in re.findall(r"\]\(([^)#]+)\)", prose(notebook)):
        if not re.match(r"https?://", target):
            assert (path.parent / target).exists(), target


def test_all_but_the_last_link_to_the_next(notebook, path):
    following = [other for other in PATHS if other.parent == path.parent and other.name > path.name]
    if following:
        assert following[0].name in notebook.cells[-1].source


def without_docstring(source, name):
    (function,) = (node for node in ast.walk(ast.parse(source)) if getattr(node, "name", None) == name)
    if ast.get_docstring(function):
        function.body = function.body[1:]
    return ast.dump(function)


@pytest.mark.parametrize("name", ["evaluate_accuracy_gpu", "init_weights", "train_steps", "train_ch6"])
def test_the_taught_function_is_the_helper(name):
    helper = Path(training.__file__).read_text()
    for path in PATHS:
        if path.name == "04_train_on_fashion_mnist.ipynb":
            cells = code_cells(nbformat.read(path, 4))
            (cell,) = (cell for cell in cells if re.search(rf"^def {name}\(", cell.source, flags=re.M))
            assert without_docstring(cell.source, name) == without_docstring(helper, name)


def test_the_walk_has_the_lecture_notes_form():
    notebook = nbformat.read(ROOT / "notebooks" / "en" / "03_walk_the_shapes.ipynb", 4)
    (walk,) = (cell for cell in notebook.cells if cell.id == "walk-run")
    lines = walk.outputs[0].text.splitlines()
    assert len(lines) == 13
    assert lines[1] == "Conv2d output shape: \t torch.Size([1, 6, 28, 28])"
    assert lines[-1] == "Linear output shape: \t torch.Size([1, 10])"


def test_files_are_json_with_a_final_newline(path):
    text = path.read_text(encoding="utf-8")
    json.loads(text)
    assert text.endswith("}\n")
