"""The fault matrix in the README of the tests: complete, up to date, and made of tests that exist."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from list_faults import END, README, START, TESTS, find_faults, put_in, tabulate

PROMISED = {
    "data": {
        *("each of the four files missing", "each of the four files empty", "one flipped bit", "wrong magic"),
        "each of the four files cut at 1 byte, at half, at the last byte",
        *("wrong permissions", "read-only folder", "full disk", "LENET_DATA that points nowhere"),
        *("two processes fetching at once", "download cut in the middle", "no source at all"),
    },
    "training": {
        *("KeyboardInterrupt in forward, backward, evaluation", "KeyboardInterrupt in drawing"),
        *("NaN and infinite loss", "lr 0, negative, NaN, text", "epochs 0"),
        *("batch larger than the data", "empty loader", "train and test loaders swapped", "call twice in a row"),
        *("a net of another shape", "a net on another device", "GPU out of memory"),
    },
    "panel and explorers": {
        *("Train clicked 50 times", "Stop before the run and after the run", "sliders moved at random while training"),
        *("cell run again ten times", "two and three panels", "kernel restart", "page reload in training"),
        *("exception in make_net", "an upload that is no image", "closing the page in training"),
        *("controls of explorers used at random", "page reload while explorers are shown"),
    },
    "notebooks": {"Run All twice", "cells in reverse order", "kernel dies in training"},
}


def test_every_fault_that_the_course_promises_to_survive_has_its_row():
    faults = find_faults()
    assert [what for area, promised in PROMISED.items() for what in promised - faults.get(area, {}).keys()] == []


def test_the_matrix_is_up_to_date():
    text = README.read_text(encoding="utf-8")
    assert text == put_in(text, tabulate(find_faults())), "run `make faults`"


def test_every_file_of_faults_has_marked_tests_only():
    marked = {test for rows in find_faults().values() for tests in rows.values() for test in tests}
    for path in TESTS.rglob("test_faults_*.py"):
        file = path.relative_to(TESTS).as_posix()
        names = [line[4:].partition("(")[0] for line in path.read_text("utf-8").splitlines() if line[:9] == "def test_"]
        assert names and {(file, name) for name in names} <= marked


def test_the_matrix_is_read_from_marks_and_names(tmp_path):
    (tmp_path / "browser").mkdir()
    (tmp_path / "browser" / "test_lab.py").write_text(
        "import pytest\n\n"
        '@pytest.mark.fault("panel", "Stop")\n@pytest.mark.fault("panel", "Train")\n@pytest.mark.slow\n'
        "def test_a_click_counts(): pass\n\n"
        "def test_no_fault(): pass\n"
    )
    faults = find_faults(tmp_path)
    place = ("browser/test_lab.py", "test_a_click_counts")
    assert faults == {"panel": {"Stop": [place], "Train": [place]}}
    text = put_in(f"# Tests\n{START}old{END}last\n", tabulate(faults))
    assert text.startswith(f"# Tests\n{START}\n## Panel\n") and text.endswith(f"{END}last\n") and "old" not in text
    assert "| Stop | a click counts ([browser/test_lab.py](browser/test_lab.py)) |" in text
