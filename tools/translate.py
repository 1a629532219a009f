"""Keep notebooks/zh in step with notebooks/en: same cells, code and outputs, with prose of their own.

    tools/translate.py                        bring notebooks/zh up to date; list what is to be translated
    tools/translate.py --export NOTEBOOK      write the English of these cells to build/zh/NOTEBOOK.md
    tools/translate.py --import FILE          take the Chinese of such a file over, and accept it
    tools/translate.py --accept NOTEBOOK [CELL ...]
                                              take the Chinese cells as translations of the English as it is now

A cell is missing until it is translated, and stale once its English has changed: notebooks/zh/translated.json holds a
short hash of the English that each Chinese cell translates.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

import nbformat
from filelock import FileLock

ROOT = Path(__file__).parents[1]
MARK = "> **[尚未翻译 · not translated yet]**\n\n"
CHINESE = re.compile(r"[\u3400-\u9fff]")
HEAD = re.compile(r"^<!-- ([a-z0-9-]+)(?: ([0-9a-f]{10}))? -->\n", flags=re.M)


class Edition:
    """The English notebooks below ``root``, and their Chinese edition with its list of what is translated."""

    def __init__(self, root=ROOT):
        self.english, self.chinese = root / "notebooks" / "en", root / "notebooks" / "zh"
        self.exports, self.list_path = root / "build" / "zh", self.chinese / "translated.json"
        self.chinese.mkdir(exist_ok=True)
        self.names = sorted(path.name for path in self.english.glob("*.ipynb"))
        self.hashes = json.loads(self.list_path.read_text(encoding="utf-8")) if self.list_path.exists() else {}

    def find(self, name):
        """Return the file name of a notebook that is given by its name, its path, or the path of its export."""
        stem = Path(name).name.split(".")[0]
        if f"{stem}.ipynb" not in self.names:
            raise SystemExit(f"{name} is named after no notebook; there are {', '.join(self.names)}")
        return f"{stem}.ipynb"

    def read(self, name):
        """Return the English notebook, and the Chinese one or None."""
        path = self.chinese / name
        return read(self.english / name), read(path) if path.exists() else None

    def sync(self, name):
        """Bring one Chinese notebook up to date; return its open cells as ``(cell id, state, English, Chinese)``."""
        english, chinese = self.read(name)
        hashes = self.hashes.get(name, {})
        notebook, still_open = merge(english, chinese, hashes)
        ids = [cell.id for cell in english.cells]
        self.hashes[name] = {one: hashes[one] for one in ids if one in hashes}
        if notebook != chinese:
            nbformat.write(notebook, self.chinese / name)
        self.write_list()
        return still_open

    def drop_others(self):
        """Remove Chinese notebooks that have no English one."""
        for path in self.chinese.glob("*.ipynb"):
            if path.name not in self.names:
                path.unlink()

    def write_list(self):
        kept = {name: self.hashes[name] for name in self.names if name in self.hashes}
        self.list_path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    def accept(self, name, ids):
        """Take these cells, or all translated ones, for the translation of the English of now; return the open ones.

        A cell that is named may also be one that reads the same in both languages, a formula for example.
        """
        sources, chinese = self.sources(name, ids)
        for cell in chinese.cells:
            if cell.id in sources and (cell.id in ids or not (ids or cell.source.startswith(MARK))):
                cell.source = cell.source.removeprefix(MARK)
                self.hashes[name][cell.id] = digest(sources[cell.id])
        nbformat.write(chinese, self.chinese / name)
        return self.sync(name)

    def sources(self, name, ids):
        """Return the English prose of a notebook by cell id, and the Chinese notebook, brought up to date.

        Raises SystemExit if there is no prose with one of the ``ids``.
        """
        self.sync(name)
        english, chinese = self.read(name)
        sources = {cell.id: cell.source for cell in english.cells if cell.cell_type == "markdown"}
        if unknown := set(ids) - set(sources):
            raise SystemExit(f"{name} has no markdown cells {', '.join(sorted(unknown))}")
        return sources, chinese

    def export(self, name):
        """Write the English of all open cells into a text file; return its path and the number of cells."""
        path = self.exports / f"{Path(name).stem}.md"
        if path.exists():
            raise SystemExit(f"{path} exists: import what is translated in it, then remove it")
        still_open = self.sync(name)
        self.exports.mkdir(parents=True, exist_ok=True)
        cells = [f"<!-- {one} {digest(english)} -->\n{english}\n" for one, _, english, _ in still_open]
        path.write_text("\n".join(cells), encoding="utf-8")
        return path, len(cells)

    def take(self, path):
        """Take the translated cells of a text file over; cells left in English stay open. Return the open cells.

        A head ``<!-- cell-id hash -->`` says which English was translated; without a hash it is the English of now.
        """
        name = self.find(path)
        translated = parse_export(path.read_text(encoding="utf-8"))
        sources, chinese = self.sources(name, translated)
        for cell in chinese.cells:
            text, exported = translated.get(cell.id, ("", None))
            if text and text != sources[cell.id].strip():
                cell.source = text
                self.hashes[name][cell.id] = exported or digest(sources[cell.id])
        nbformat.write(chinese, self.chinese / name)
        return self.sync(name)


def read(path):
    return nbformat.read(path, as_version=4)


def digest(source):
    """Return a short hash of a cell's source."""
    return hashlib.sha256(source.encode()).hexdigest()[:10]


def merge(english, chinese, hashes):
    """Return the Chinese notebook that belongs to the English one, and its open cells (see ``Edition.sync``).

    Cells are found by id. Code and metadata are the English ones; prose that is there is kept, and so are outputs in
    Chinese of code that has not changed.
    """
    old = {cell.id: cell for cell in chinese.cells} if chinese else {}
    notebook, still_open = nbformat.from_dict(english), []
    for cell in notebook.cells:
        before = old.get(cell.id)
        if before is not None and before.cell_type != cell.cell_type:
            before = None
        if cell.cell_type == "code":
            if before is not None and before.source == cell.source:
                cell.outputs = choose_outputs(cell, before.outputs)
            continue
        source = cell.source
        translated = before is not None and not before.source.startswith(MARK)
        cell.source = before.source if translated else MARK + source
        if not translated or hashes.get(cell.id) != digest(source):
            state = "stale" if translated else "missing"
            still_open.append((cell.id, state, source, before.source if translated else ""))
    return notebook, still_open


def choose_outputs(cell, outputs):
    """Return the outputs that the Chinese edition stores for an English code cell, whose run there gave ``outputs``.

    These are the English ones, unless the run speaks Chinese.
    """
    return outputs if speaks_chinese(outputs) else cell.outputs


def speaks_chinese(outputs):
    """Return whether a Chinese character stands in any text of a cell's outputs."""
    return bool(CHINESE.search(json.dumps(outputs, ensure_ascii=False)))


def parse_export(text):
    """Return ``{cell id: (text, hash or None)}`` for a file with a head before each cell."""
    _, *parts = HEAD.split(text)
    cells = {}
    for one, exported, source in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if one in cells:
            raise SystemExit(f"the cell {one} stands in the file twice")
        cells[one] = source.strip(), exported
    return cells


def tell(name, still_open):
    """Print the open cells of a notebook with their English and their present Chinese."""
    for one, state, english, chinese in still_open:
        print(f"\n=== {name} {one}: {state}\n--- English\n{english}")
        if chinese:
            print(f"--- Chinese\n{chinese}")


def main(arguments, root=ROOT):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--export", metavar="NOTEBOOK", help=argparse.SUPPRESS)
    group.add_argument("--import", metavar="FILE", dest="file", type=Path, help=argparse.SUPPRESS)
    group.add_argument("--accept", nargs="+", metavar="NOTEBOOK", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    (root / "build").mkdir(exist_ok=True)
    with FileLock(root / "build" / "translate.lock"):  # several translators may work at once
        edition = Edition(root)
        if options.export:
            path, count = edition.export(edition.find(options.export))
            print(f"{count} cells to translate in {path}")
            return 0
        if options.file:
            still_open = {edition.find(options.file): edition.take(options.file)}
        elif options.accept:
            name, *ids = options.accept
            still_open = {edition.find(name): edition.accept(edition.find(name), ids)}
        else:
            still_open = {name: edition.sync(name) for name in edition.names}
            edition.drop_others()
    for name, cells in still_open.items():
        tell(name, cells)
    count = sum(map(len, still_open.values()))
    print(f"\n{count} cells are missing or stale" if count else "Chinese is up to date with English")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
