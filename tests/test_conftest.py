"""What becomes of a browser test where there is no browser."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEST = "tests/browser/test_window_page.py::test_cleanup_stops_listening"
REASON = "no Chromium found: install chromium, or set CHROMIUM to its path"


@pytest.mark.parametrize("required", [False, True])
def test_without_a_browser(tmp_path, required):
    """On a user's machine the test is skipped with a message; where a browser is required it fails."""
    hidden = ("PYTEST_", "CHROMIUM", "LENET_REQUIRE_BROWSER")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"PATH": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    if required:
        environment["LENET_REQUIRE_BROWSER"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", TEST]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    if required:
        assert result.returncode == 1 and "1 error" in result.stdout and REASON not in result.stdout
    else:
        assert result.returncode == 0 and "1 skipped" in result.stdout and REASON in result.stdout
