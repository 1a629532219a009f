"""The handouts: nothing of the solutions is left, everything else is, and a handout runs from top to bottom."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))
sys.path.insert(0, str(ROOT / "tools"))

import handout  # noqa: E402


@pytest.fixture(params=PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def path(request):
    return request.param


@pytest.fixture
def written(path, tmp_path):
    """The path of a handout."""
    return handout.hand_out(path, tmp_path / "handout")


def test_solutions_answers_and_outputs_are_gone(written):
    notebook = nbformat.read(written, 4)
    nbformat.validate(notebook)
    assert not [cell.id for cell in notebook.cells if "def solution" in cell.source or "(solution)" in cell.source]
    (questions,) = (cell.source for cell in notebook.cells if cell.id == "questions")
    assert "details" not in questions and len(re.findall(r"^\*\*\d+\.\*\* \S", questions, flags=re.M)) >= 5
    (exercises,) = (cell.source for cell in notebook.cells if cell.id == "exercises")
    assert "return None" in exercises and "folded away" not in exercises and "折叠" not in exercises
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_lesson_stubs_and_checks_stay(path, written):
    ids = [cell.id for cell in nbformat.read(written, 4).cells]
    gone = {cell.id for cell in nbformat.read(path, 4).cells} - set(ids)
    assert gone == {one for one in gone if re.fullmatch(r"ex\d-solution|questions-check", one)}
    assert ids[-2:] == ["summarise-checks", "summary"]
    assert len([one for one in ids if re.fullmatch(r"ex\d-check", one)]) == len(gone - {"questions-check"}) >= 4


def test_files_that_a_handout_names_go_along(written):
    for cell in nbformat.read(written, 4).cells:
        for name in re.findall(r"\.\./[\w/.-]+\.\w+", cell.source):
            known = (ROOT / name.removeprefix("../")).exists()
            assert (written.parent / name).exists() == known, name


def find_names(cells):
    """Return the names that code cells define at their top level, and those that they read anywhere."""
    defined, read = set(), set()
    for cell in cells:
        if cell.cell_type != "code":
            continue
        for statement in ast.parse(cell.source).body:
            inner = () if hasattr(statement, "decorator_list") else ast.walk(statement)
            defined |= {node.id for node in inner if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            defined |= {alias.asname or alias.name for alias in getattr(statement, "names", ())}
            defined |= {statement.name} if hasattr(statement, "decorator_list") else set()
            names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            read |= {node.id for node in names if isinstance(node.ctx, ast.Load)}
    return defined, read


def test_what_stays_needs_no_name_that_is_gone(path, written):
    stay = nbformat.read(written, 4).cells
    ids = {cell.id for cell in stay}
    defined, read = find_names(stay)
    gone, _ = find_names(cell for cell in nbformat.read(path, 4).cells if cell.id not in ids)
    assert "solution" in gone and not (gone - defined) & read


@pytest.mark.parametrize("edition", ["en", "zh"])
def test_a_handout_runs_from_top_to_bottom_and_sums_up(tmp_path, edition):
    path = handout.hand_out(ROOT / "notebooks" / edition / "01_build_the_encoder.ipynb", tmp_path)
    notebook = nbformat.read(path, 4)
    folder = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=folder).execute()
    (cell,) = (cell for cell in notebook.cells if cell.id == "summarise-checks")
    *lines, last = cell.outputs[0].text.splitlines()
    assert len(lines) == 5 and all(line.startswith("✗ check_") for line in lines)
    assert last == {"en": "0 of 5 checks passed", "zh": "5 个检查中通过了 0 个"}[edition]
