"""Run every notebook from top to bottom and store its outputs free of noise: two runs in a row give the same bytes.

A Chinese notebook is brought up to date with its English original first, and stores outputs of its own only where they
speak Chinese.
"""

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from translate import Edition, choose_outputs, read

ROOT = Path(__file__).parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(names):
    for path in map(Path, names) if names else sorted((ROOT / "notebooks").glob("*/*.ipynb")):
        print("running", path, flush=True)
        refresh(path)


def refresh(path):
    """Run the notebook at ``path`` and write it back; a cell that fails ends the run and leaves the file as it was."""
    if path.resolve().parent.name == "zh":
        Edition(path.resolve().parents[2]).sync(path.name)
    notebook = read(path)
    stored = [cell.get("outputs", []) for cell in notebook.cells]
    folder = {"metadata": {"path": path.parent}}
    client = NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=folder, coalesce_streams=True)
    client.execute()
    for cell, old in zip(notebook.cells, stored, strict=True):
        clean(cell, old)
    if path.resolve().parent.name == "zh":
        for cell, english in zip(notebook.cells, read(path.parents[1] / "en" / path.name).cells, strict=True):
            if cell.cell_type == "code":
                cell.outputs = choose_outputs(english, cell.outputs)
    notebook.metadata = nbformat.from_dict(METADATA)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def clean(cell, old_outputs):
    """Strip what differs from run to run: widget views, folders, and numbers that the sanitizer hides from nbval."""
    cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in ("tags", "jupyter") if key in cell.metadata})
    if cell.cell_type != "code":
        return
    for output in cell.outputs:
        output.get("data", {}).pop(WIDGET, None)
        if output.output_type == "error":  # where the packages lie differs between machines
            folder = re.compile(r"(\w:)?[/\\][^\s\x1b]*site-packages[/\\]")
            output.traceback = [folder.sub("", line) for line in output.traceback]
        if "metadata" in output:
            output.metadata = nbformat.from_dict({})
    if sanitize(cell.outputs) == sanitize(old_outputs):
        cell.outputs = old_outputs


def sanitize(outputs):
    """Return the outputs as text with the rules of nbval's sanitizer file applied."""
    text = nbformat.v4.writes_json(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs, id="x")]))
    config = (ROOT / "tests" / "sanitize.cfg").read_text(encoding="utf-8")
    for pattern, replacement in re.findall(r"^regex: (.*)\nreplace: (.*)$", config, flags=re.M):
        text = re.sub(pattern, replacement, text)
    return text


if __name__ == "__main__":
    main(sys.argv[1:])
