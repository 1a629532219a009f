"""The set-up: one place for dependencies, a tested version for each of them, and a conda file that repeats nothing."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
EXTRAS = PROJECT["optional-dependencies"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
TESTED = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.M)
}
REQUIREMENTS = [*PROJECT["dependencies"], *(line for part in ("site", "test") for line in EXTRAS[part])]


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_every_dependency_has_a_tested_version_in_its_range(line):
    requirement = Requirement(line)
    assert requirement.specifier.contains(TESTED[canonicalize_name(requirement.name)])


def test_the_package_is_built_by_the_tested_version():
    assert SETTINGS["build-system"]["requires"] == [f"setuptools=={TESTED['setuptools']}"]


def test_torch_and_torchvision_are_a_pair_that_was_tried_together():
    assert (TESTED["torch"], TESTED["torchvision"]) == ("2.14.1", "0.29.1")


def test_the_conda_file_installs_the_package_and_repeats_no_version():
    *packages, pip = ENVIRONMENT["dependencies"]
    python, *rest = packages
    assert rest == ["pip"]
    assert pip == {"pip": ["--constraint constraints.txt", "--editable ."]}
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python=") + ".0")


def test_the_packages_that_the_course_names_are_dependencies():
    names = {canonicalize_name(Requirement(line).name) for line in REQUIREMENTS}
    assert {"torch", "torchvision", "d2l", "matplotlib", "ipywidgets", "nbval", "jupyterlab"} <= names


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_help_lists_every_command_that_the_readme_names(name):
    commands = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"\bmake ([a-z]+)", (ROOT / name).read_text(encoding="utf-8")))
    assert {"lab", "test"} <= named <= commands
