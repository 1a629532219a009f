"""Publishing, as far as it needs no browser: pictures described, slides cut, files for citation and CI valid."""

import re
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
sys.path.insert(0, str(ROOT / "tools"))

import publish  # noqa: E402


@pytest.fixture(params=PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def path(request):
    return request.param


def test_every_picture_is_described_and_every_solution_folded(path):
    notebook = publish.prepare(path)
    for cell in notebook.cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert re.search(r"\w{3}", cell.metadata.mystnb.image.alt) and "<" not in cell.metadata.mystnb.image.alt
        folded = "hide-cell" in cell.metadata.get("tags", [])
        assert folded == cell.id.endswith("-solution")
    assert nbformat.read(path, 4).cells[0].metadata == {}, "the notebook itself stays as it is"


def test_a_picture_is_named_by_its_section_and_a_widget_by_itself():
    cells = {cell.id: cell for cell in publish.prepare(PATHS[0]).cells}
    assert cells["conv2d-show"].metadata.mystnb.image.alt == "Slide a kernel over it: show_maps(fast)"
    assert cells["window-widget"].metadata.mystnb.image.alt.startswith("WindowExplorer: ")


def test_chinese_sentences_are_joined_and_other_lines_are_left_alone():
    kept = "图像：\n- 一张；\n- 两张。\n\n| 甲 |\n规则是：\n$$n$$\n运行：\n```\nmake lab\n```\nOne.\nTwo."
    assert publish.CHINESE_BREAK.sub("", kept) == kept
    assert publish.CHINESE_BREAK.sub("", "先看。\n`X` 是图像，\n**再**猜。") == "先看。`X` 是图像，**再**猜。"


@pytest.mark.parametrize("edition", publish.LANGUAGES)
def test_an_export_is_one_file_that_holds_everything(tmp_path, edition):
    path = ROOT / "notebooks" / edition / "04_train_on_fashion_mnist.ipynb"
    page = publish.export(path, tmp_path / "export").read_text(encoding="utf-8")
    assert not re.search(r"""<(script|img|link)[^>]*\s(src|href)=["'](?!data:)""", page)
    assert "<details" not in page and ".ipynb" not in page
    title = nbformat.read(path, 4).cells[0].source.splitlines()[0].removeprefix("# ")
    assert f"<title>{title}</title>" in page and f'<html lang="{edition}"' in page
    assert "data:image/svg+xml" in page


@pytest.mark.parametrize("arguments", [[], ["export"], ["site", "twice"], ["print", "x.ipynb"]])
def test_the_tool_says_how_it_is_called(arguments):
    with pytest.raises(SystemExit, match=r"tools/publish\.py export NOTEBOOK"):
        publish.main(arguments)


def test_the_teachers_page_names_every_notebook_and_only_commands_that_exist():
    commands = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.M))
    for edition, ending in publish.ENDINGS.items():
        text = (ROOT / "docs" / f"teaching{ending}").read_text(encoding="utf-8")
        numbers = re.findall(r"^\| (\d\d)\b", text, flags=re.M)
        assert numbers == [path.stem[:2] for path in PATHS if path.parent.name == edition]
        assert {"handout", "slides", "export"} <= set(re.findall(r"make ([a-z]+)", text)) <= commands


def test_the_readme_and_the_teachers_page_lead_to_the_pages_for_teachers():
    for ending in publish.ENDINGS.values():
        readme = (ROOT / f"README{ending}").read_text(encoding="utf-8")
        assert all(f"](docs/{name}{ending})" in readme for name in publish.FOR_TEACHERS)
        assert f"](servers{ending})" in (ROOT / "docs" / f"teaching{ending}").read_text(encoding="utf-8")


def test_the_workflow_runs_the_tests_and_publishes_what_they_passed():
    steps = WORKFLOW["jobs"]["test"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs.index(".ci/run") < runs.index("make site")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
    (upload,) = (step for step in steps if "upload-pages-artifact" in step.get("uses", ""))
    assert ROOT / upload["with"]["path"] == publish.BUILD / "site"
    publishing = WORKFLOW["jobs"]["publish"]
    assert publishing["needs"] == "test" and publishing["permissions"] == {"pages": "write", "id-token": "write"}
    assert publishing["environment"]["name"] == "github-pages"
    assert publishing["environment"]["url"] == f"${{{{ steps.{publishing['steps'][0]['id']}.outputs.page_url }}}}"
    assert publishing["steps"][0]["uses"].startswith("actions/deploy-pages@")
    assert "github.event_name == 'push'" in publishing["if"], "a pull request publishes nothing"


def test_the_workflow_takes_github_s_own_actions_and_gives_the_tests_no_right_to_write():
    jobs = WORKFLOW["jobs"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert len(used) == 5 and all(re.fullmatch(r"actions/[a-z-]+@v\d+", one) for one in used)
    assert all(len({"run", "uses"} & set(step)) == 1 for job in jobs.values() for step in job["steps"])
    assert jobs["test"]["permissions"] == {"contents": "read"}
    assert set(WORKFLOW[True]) == {"push", "pull_request"}, "YAML reads the key `on` as true"
    assert "${{" not in "".join(step.get("run", "") for job in jobs.values() for step in job["steps"])


def test_the_citation_has_what_the_format_asks_for_and_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert (str(citation["version"]), citation["license"]) == (project["version"], project["license"])
