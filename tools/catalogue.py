"""Collect the texts of checks and widgets for translation, and compile their translations.

Brings ``lenet_helpers/locale/zh/LC_MESSAGES/lenet.po`` up to date with the code, where new texts wait with an empty
``msgstr``, and writes the compiled ``lenet.mo`` beside it. Lists what is not translated; exit status 1 if there is any.
"""

import ast
import io
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir, extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
HELPERS = ROOT / "lenet_helpers"
PO = HELPERS / "locale" / "zh" / "LC_MESSAGES" / "lenet.po"
MO = PO.with_suffix(".mo")
ABOUT = {"project": "LeNet, step by step", "version": "1"} | dict.fromkeys(
    ("msgid_bugs_address", "last_translator", "language_team"), "LeNet, step by step"
)
HEADER = "# Chinese texts of checks and widgets; `make catalogue` adds new ones, and compiles them."


def extract_checks(file, keywords, comment_tags, options):
    """Extract as Babel does from Python, and the verdicts and hints of ``checks.py``, which are translated later."""
    yield from extract_python(file, keywords, comment_tags, options)
    file.seek(0)
    for node in ast.walk(ast.parse(file.read())):
        found = []
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "slips":
            found = [key for one in ast.walk(node.value) if isinstance(one, ast.Dict) for key in one.keys]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check":
            found = node.args
        for text in found:
            yield text.lineno, "_", text.value, []


def extract():
    """Return a catalogue of all texts that the code marks for translation."""
    catalogue = Catalog("zh", header_comment=HEADER, fuzzy=False, **ABOUT)
    methods = [("checks.py", extract_checks), ("**.py", "python"), ("**.js", "javascript")]
    for name, line, text, *_rest in extract_from_dir(HELPERS, methods, keywords={"_": None}):
        catalogue.add(text, None, [(f"lenet_helpers/{name}", line)])
    return catalogue


def load():
    """Return the catalogue of Chinese texts, or an empty one."""
    if not PO.exists():
        return Catalog("zh", fuzzy=False)
    with PO.open("rb") as file:
        return read_po(file, locale="zh")


def update(translated, extracted):
    """Return a catalogue of the extracted texts with the translations that there are."""
    extracted.creation_date, extracted.revision_date = translated.creation_date, translated.revision_date
    for message in extracted:
        if message.id and message.id in translated:
            message.string = translated[message.id].string
    return extracted


def compile_po(catalogue):
    """Return the catalogue in the form that ``gettext`` reads."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def write(catalogue):
    """Write both forms of a catalogue."""
    PO.parent.mkdir(parents=True, exist_ok=True)
    with PO.open("wb") as file:
        write_po(file, catalogue, width=120, sort_by_file=True, include_lineno=False)
    MO.write_bytes(compile_po(load()))


def main():
    catalogue = update(load(), extract())
    write(catalogue)
    still_open = [message.id for message in catalogue if message.id and not message.string]
    for text in still_open:
        print(f"not translated: {text!r}")
    print(f"{len(catalogue)} texts, {len(still_open)} of them not translated")
    return int(bool(still_open))


if __name__ == "__main__":
    sys.exit(main())
