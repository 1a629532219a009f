"""The fault matrix in the README of the tests: complete, up to date, and made of tests that exist."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from list_faults import END, README, START, TESTS, find_faults, put_in, tabulate


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
