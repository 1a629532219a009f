"""The tools as ``make`` calls them, in a copy of the repository, so that the working tree stays as it is."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("tools", "lenet_helpers")  # a tool writes beside itself, and into the catalogue of the package
LINKED = ("benchmarks", "img", "notebooks", "site")
NAMES = sorted(path.name for path in (ROOT / "notebooks" / "en").glob("*.ipynb"))


@pytest.fixture
def make(tmp_path):
    """Return a function that runs the recipe of a target of the Makefile in a copy, and returns what it prints."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    makefile = (ROOT / "Makefile").read_text()

    def run(target, notebooks=""):
        (recipe,) = re.findall(rf"^{target}:.*\n\t(.+)\n", makefile, flags=re.M)
        command = recipe.replace("$(BIN)/python", sys.executable).replace("$(NOTEBOOK)", notebooks)
        done = subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_make_catalogue(make, tmp_path):
    assert re.fullmatch(r"\d{3,} texts, 0 of them not translated\n", make("catalogue"))
    for ending in ("po", "mo"):
        name = f"lenet_helpers/locale/zh/LC_MESSAGES/lenet.{ending}"
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()


def test_make_handout(make, tmp_path):
    folder = tmp_path / "build" / "handout"
    paths = [folder / edition / name for edition in ("en", "zh") for name in NAMES]
    assert make("handout").splitlines() == list(map(str, paths))
    assert all(path.is_file() for path in paths) and any((folder / "img").glob("*.svg"))


@pytest.mark.parametrize("target", ["export", "slides"])
def test_make_export_and_slides(make, tmp_path, target):
    folder = tmp_path / "build" / target
    told = make(target, f"notebooks/en/{NAMES[0]} notebooks/zh/{NAMES[0]}")
    paths = [(folder / edition / NAMES[0]).with_suffix(".html") for edition in ("en", "zh")]
    assert told.splitlines() == list(map(str, paths))
    for path, title in zip(paths, ("Build the encoder", "搭建编码器"), strict=True):
        assert f"<title>{title}" in path.read_text(encoding="utf-8")
