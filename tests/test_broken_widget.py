"""nbval notices a widget whose callback raises if a cell moves it: so the widgets of the notebooks are tested."""

import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parent / "broken" / "broken_widget.ipynb"


def test_nbval_fails_on_a_broken_widget():
    options = ["-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:randomly", "--nbval", "--nbval-current-env"]
    command = [sys.executable, "-m", "pytest", *options, str(NOTEBOOK)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    folder = NOTEBOOK.parents[2]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "ZeroDivisionError" in result.stdout
    assert "1 failed, 3 passed" in result.stdout  # the cells before it, which move the widget without an error, pass


def test_the_broken_notebook_is_left_out_of_the_normal_run(pytestconfig):
    assert NOTEBOOK.parent.name in pytestconfig.getini("norecursedirs")
