"""Write the fault matrix in tests/README.md: every test that is marked ``@pytest.mark.fault(area, what)`` is in it."""

import ast
import itertools
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
README = TESTS / "README.md"
START, END = "<!-- faults: written by `make faults` -->\n", "<!-- end of faults -->\n"


def find_faults(folder=TESTS):
    """Return ``{area: {fault: [(file, test), ...]}}`` for the marked tests below a folder, in their order."""
    faults = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for area, what in read_marks(node):
                tests = faults.setdefault(area, {}).setdefault(what, [])
                tests.append((path.relative_to(folder).as_posix(), node.name))
    return faults


def read_marks(node):
    """Return the ``(area, fault)`` pairs that a function is marked with, from top to bottom."""
    return [
        tuple(ast.literal_eval(argument) for argument in mark.args)
        for mark in getattr(node, "decorator_list", [])
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault"
    ]


def tabulate(faults):
    """Return the matrix in Markdown: one table for each area, one row for each fault, the tests in words."""
    lines = []
    for area in sorted(faults):
        lines += [f"## {area.capitalize()}", "", "| what goes wrong | what the tests show |", "|---|---|"]
        for what, tests in faults[area].items():
            told = []
            for file, group in itertools.groupby(tests, key=lambda test: test[0]):
                names = [name.removeprefix("test_").replace("_", " ") for _, name in group]
                told.append(f"{'; '.join(names)} ([{file}]({file}))")
            lines.append(f"| {what} | {'; '.join(told)} |")
        lines.append("")
    return "\n".join(lines)


def put_in(text, table):
    """Return the text of the README with the table between its two marks."""
    before, rest = text.split(START)
    return before + START + "\n" + table + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    README.write_text(put_in(README.read_text(encoding="utf-8"), tabulate(find_faults())), encoding="utf-8")
