"""Write the notebooks without solutions, answers and outputs to build/handout, to give to a class.

Each ends in a cell that says which checks its learner has passed. The files that the cells read go along.
What was in build/handout before is removed, so work in a copy of it.
"""

import re
import shutil
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
EDITIONS = ("en", "zh")
SUMMARY = "from lenet_helpers.checks import summarise_checks\n\nsummarise_checks()"


def main():
    folder = ROOT / "build" / "handout"
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(path for edition in EDITIONS for path in (ROOT / "notebooks" / edition).glob("*.ipynb")):
        print(hand_out(path, folder))


def hand_out(path, folder):
    """Write the handout of one notebook below ``folder``, in a folder named after its edition; return its path."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not gives_away(cell)]
    for cell in notebook.cells:
        if cell.id == "exercises":  # its last line says where the solutions are
            cell.source = cell.source.rpartition("\n")[0]
        if cell.id == "questions":
            cell.source = re.sub(r"\n?<details>.*?</details>", "", cell.source, flags=re.S)
        for name in re.findall(r"\.\./\.\./([\w/.-]+\.\w+)", cell.source):
            if (ROOT / name).exists():  # a notebook may offer to read results that nobody has measured yet
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        cell.source = cell.source.replace("../../", "../")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.insert(-1, nbformat.v4.new_code_cell(SUMMARY, id="summarise-checks"))
    target = folder / path.parent.name / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return target


def gives_away(cell):
    """Return whether a cell is a solution, or proves the answers to the questions."""
    return cell.id == "questions-check" or cell.metadata.get("jupyter", {}).get("source_hidden", False)


if __name__ == "__main__":
    main()
