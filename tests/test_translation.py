"""The Chinese edition: the sync command on small notebooks, and the real ones against their English originals."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from catalogue import load as load_catalogue  # noqa: E402
from refresh_notebooks import refresh  # noqa: E402
from translate import MARK, Edition, choose_outputs, digest, main, merge, read, speaks_chinese  # noqa: E402

NAME = "01_small.ipynb"


def say(text):
    return [new_output("stream", text=text)]


@pytest.fixture
def edition(tmp_path):
    """An English notebook of two texts around a code cell, not yet translated."""
    cells = [
        new_markdown_cell("# Slide\n\nOne kernel.", id="title"),
        new_code_cell("1 + 1", id="sum", execution_count=1, outputs=say("two\n")),
        new_markdown_cell("$$x$$", id="formula", metadata={"tags": ["wide"]}),
    ]
    (tmp_path / "notebooks" / "en").mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "en" / NAME)
    return Edition(tmp_path)


def change_english(edition, place, **changes):
    notebook = read(edition.english / NAME)
    notebook.cells[place].update(changes)
    nbformat.write(notebook, edition.english / NAME)


def change_chinese(edition, place, **changes):
    notebook = read(edition.chinese / NAME)
    notebook.cells[place].update(changes)
    nbformat.write(notebook, edition.chinese / NAME)


def states(still_open):
    return {one: state for one, state, *_ in still_open}


def translate(edition):
    """Translate both texts by way of the export file."""
    path, _ = edition.export(NAME)
    text = path.read_text().replace("# Slide\n\nOne kernel.", "# 滑动\n\n一个卷积核。")
    path.write_text(text, encoding="utf-8")
    edition.take(path)
    return edition.accept(NAME, ["formula"])


def test_a_new_notebook_shows_its_english_with_a_mark(edition):
    assert states(edition.sync(NAME)) == {"title": "missing", "formula": "missing"}
    title, code, formula = read(edition.chinese / NAME).cells
    assert title.source == MARK + "# Slide\n\nOne kernel." and formula.metadata.tags == ["wide"]
    assert (code.source, code.outputs, code.execution_count) == ("1 + 1", say("two\n"), 1)


def test_export_and_import_translate(edition):
    path, count = edition.export(NAME)
    assert count == 2 and f"<!-- title {digest(read(edition.english / NAME).cells[0].source)} -->" in path.read_text()
    path.write_text(path.read_text().replace("One kernel.", "一个卷积核。"), encoding="utf-8")
    assert states(edition.take(path)) == {"formula": "missing"}  # it was left in English
    assert read(edition.chinese / NAME).cells[0].source == "# Slide\n\n一个卷积核。"
    assert states(edition.accept(NAME, ["formula"])) == {}
    assert read(edition.chinese / NAME).cells[2].source == "$$x$$"
    assert states(Edition(edition.chinese.parents[1]).sync(NAME)) == {}


def test_an_export_is_not_overwritten(edition):
    edition.export(NAME)
    with pytest.raises(SystemExit, match="exists: import what is translated"):
        edition.export(NAME)


def test_the_order_of_an_import_does_not_matter_and_its_cells_must_exist(edition, tmp_path):
    path = tmp_path / "01_small.md"
    path.write_text("<!-- formula -->\n$$y$$\n\n<!-- title -->\n# 滑动\n", encoding="utf-8")
    assert states(edition.take(path)) == {}
    assert [cell.id for cell in read(edition.chinese / NAME).cells] == ["title", "sum", "formula"]
    path.write_text("<!-- tilte -->\n# 滑动\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="no markdown cells tilte"):
        edition.take(path)
    path.write_text("<!-- title -->\n# 滑\n<!-- title -->\n# 动\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="title stands in the file twice"):
        edition.take(path)


def test_changed_english_is_stale_until_it_is_accepted(edition):
    assert translate(edition) == []
    change_english(edition, 0, source="# Slide\n\nTwo kernels.")
    assert edition.sync(NAME) == [("title", "stale", "# Slide\n\nTwo kernels.", "# 滑动\n\n一个卷积核。")]
    change_chinese(edition, 0, source="# 滑动\n\n两个卷积核。")
    assert states(edition.sync(NAME)) == {"title": "stale"}
    assert edition.accept(NAME, []) == []


def test_english_that_changed_between_export_and_import_is_stale(edition):
    path, _ = edition.export(NAME)
    path.write_text(path.read_text().replace("One kernel.", "一个卷积核。"), encoding="utf-8")
    change_english(edition, 0, source="# Slide\n\nTwo kernels.")
    assert states(edition.take(path))["title"] == "stale"


def test_code_follows_the_english(edition):
    translate(edition)
    change_chinese(edition, 1, source="1 + 2", outputs=say("three\n"))
    edition.sync(NAME)
    assert read(edition.chinese / NAME).cells[1] == read(edition.english / NAME).cells[1]


def test_cells_are_added_moved_and_removed_with_the_english(edition):
    translate(edition)
    notebook = read(edition.english / NAME)
    notebook.cells = [notebook.cells[2], new_markdown_cell("New.", id="new"), notebook.cells[0]]
    nbformat.write(notebook, edition.english / NAME)
    assert states(edition.sync(NAME)) == {"new": "missing"}
    assert [cell.source for cell in read(edition.chinese / NAME).cells] == [
        "$$x$$",
        MARK + "New.",
        "# 滑动\n\n一个卷积核。",
    ]


def test_outputs_in_chinese_are_kept_as_long_as_the_code_is_the_same(edition):
    translate(edition)
    change_chinese(edition, 1, outputs=say("二\n"))
    edition.sync(NAME)
    assert read(edition.chinese / NAME).cells[1].outputs == say("二\n")
    change_english(edition, 1, source="2", outputs=say("2\n"))
    edition.sync(NAME)
    assert read(edition.chinese / NAME).cells[1].outputs == say("2\n")


def test_only_chinese_outputs_are_kept():
    cell = new_code_cell("train()", outputs=say("loss 0.5"), metadata={"tags": ["nbval-ignore-output"]})
    assert choose_outputs(cell, say("损失 0.4")) == say("损失 0.4")
    assert choose_outputs(cell, say("loss 0.4")) == say("loss 0.5")


def test_the_command_lists_what_is_open_and_its_status_says_so(edition, capsys):
    root = edition.english.parents[1]
    assert main([], root) == 1
    told = capsys.readouterr().out
    assert f"=== {NAME} title: missing\n--- English\n# Slide\n\nOne kernel." in told
    assert "2 cells are missing or stale" in told
    assert main(["--export", NAME], root) == 0
    path = edition.exports / "01_small.md"
    path.write_text("<!-- title -->\n# 滑动\n", encoding="utf-8")
    assert main(["--import", str(path)], root) == 1
    assert main(["--accept", NAME, "formula"], root) == 0
    (edition.chinese / "09_gone.ipynb").write_text("{}")
    assert main([], root) == 0
    assert "Chinese is up to date with English" in capsys.readouterr().out
    assert [path.name for path in edition.chinese.glob("*.ipynb")] == [NAME]


def test_a_chinese_notebook_is_run_and_keeps_outputs_of_its_own_only_in_chinese(edition):
    sources = {"speak": "from lenet_helpers.language import _\n\nprint(_('Train'))", "train": "print('loss', 0.8)"}
    notebook = read(edition.english / NAME)
    notebook.cells = [
        new_code_cell(sources["speak"], id="speak", outputs=say("Train\n")),
        new_code_cell("1 + 1", id="sum", outputs=say("stored in English")),
        new_code_cell(sources["train"], id="train", outputs=say("0.9\n"), metadata={"tags": ["nbval-ignore-output"]}),
    ]
    nbformat.write(notebook, edition.english / NAME)
    edition.sync(NAME)
    refresh(edition.chinese / NAME)
    outputs = [cell.outputs for cell in read(edition.chinese / NAME).cells]
    assert outputs == [say("训练\n"), say("stored in English"), say("0.9\n")]


def test_an_unknown_notebook_is_refused(edition):
    with pytest.raises(SystemExit, match=r"07\.md is named after no notebook; there are 01_small\.ipynb"):
        edition.find("07.md")


# Pages beside the notebooks

#: Code in the text of one edition alone: how ``make``, which takes English notebooks, is told to take Chinese ones.
IN_ONE_ALONE = {
    "README": {"LENET_LANGUAGE=zh", "notebooks/zh", "make lab"},
    "docs/teaching": {
        "make slides",
        "make slides NOTEBOOK=notebooks/en/01_build_the_encoder.ipynb",
        "make slides NOTEBOOK=notebooks/en/04_train_on_fashion_mnist.ipynb",
    },
}
PAGES = ["README", "docs/teaching", "docs/servers", "site/{edition}/index"]


def take_apart(name, edition):
    """Return what a translated page has in common with its original, as far as it does not depend on the edition."""
    ending = {"en": ".md", "zh": ".zh.md"}[edition] if "{edition}" not in name else ".md"
    text = (ROOT / f"{name.format(edition=edition)}{ending}").read_text(encoding="utf-8")
    text = re.sub(r"LENET_LANGUAGE=zh (?=make)", "", re.sub(r"(?<=/)zh(?=/\d)", "en", text))
    blocks = re.findall(r"^```.*?^```", text, flags=re.M | re.S)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)]+)\)", prose)
    other = {"en": "README.zh.md", "zh": "README.md"}[edition]
    return {
        "headings": re.findall(r"^#+(?= )", prose, flags=re.M),
        "targets": sorted(target.replace(".zh.md", ".md") for target in targets if target != other),
        "blocks": [commands(block) for block in blocks],
        "rows": [(row.count("|"), re.findall(r"\d[\d.]*", row)) for row in re.findall(r"^\|.*", prose, flags=re.M)],
        "items": [mark for mark in re.findall(r"^(-|\d+\.) ", prose, flags=re.M)],
        "code": set(re.findall(r"`([^`\n]+)`", prose)),
    }


def commands(block):
    """Return the lines of a block without comments, and without what a check says in its own language."""
    lines = [line.partition("#")[0].rstrip() for line in block.splitlines()]
    return [line for line in lines if "checks passed" not in line and "个检查" not in line]


@pytest.mark.parametrize("name", PAGES)
def test_a_translated_page_has_the_same_parts(name):
    english, chinese = take_apart(name, "en"), take_apart(name, "zh")
    assert english.pop("code") ^ chinese.pop("code") == IN_ONE_ALONE.get(name, set())
    for part, there in chinese.items():
        assert there == english[part], part


# The real notebooks


REAL = Edition()


@pytest.fixture(params=REAL.names)
def pair(request):
    """The name of a notebook, its English and its Chinese edition."""
    return request.param, *REAL.read(request.param)


def test_both_editions_have_the_same_notebooks():
    assert sorted(path.name for path in REAL.chinese.glob("*.ipynb")) == REAL.names


def test_every_cell_is_translated_and_the_code_is_the_same(pair):
    name, english, chinese = pair
    merged, still_open = merge(english, chinese, REAL.hashes.get(name, {}))
    assert [(one, state) for one, state, *_ in still_open] == [], "make translate tells more"
    assert merged == chinese, "make translate brings it up to date"


def test_outputs_differ_only_where_they_speak_chinese(pair):
    _, english, chinese = pair
    for one, other in zip(english.cells, chinese.cells, strict=True):
        if one.get("outputs") != other.get("outputs"):
            assert speaks_chinese(other.outputs), one.id


def make_pattern(text):
    """Return a pattern for what an English text of the catalogue becomes; None for a text of less than four words."""
    parts = re.split(r"\{\w+\}", text)
    words = re.findall(r"[A-Za-z]{2,}", " ".join(parts))
    return re.compile(".+?".join(map(re.escape, parts))) if len(words) > 3 else None


def test_no_text_of_checks_and_widgets_is_stored_in_english(pair):
    patterns = [pattern for message in load_catalogue() if message.id and (pattern := make_pattern(message.id))]
    assert len(patterns) > 200
    for cell in pair[2].cells:
        for output in cell.get("outputs", []):
            told = output.get("text") or output.get("data", {}).get("text/plain", "")
            assert not [one.pattern for one in patterns if one.search(told)], (cell.id, told)


def parts_to_keep(source):
    """Return what a translation leaves as it is: targets of links and pictures, displayed formulas, folds, fences."""
    return {
        "targets": sorted(re.findall(r"\]\(([^)]+)\)", source)),
        "formulas": re.findall(r"\$\$(.+?)\$\$", source, flags=re.S),
        "folds": re.findall(r"</?(?:details|summary)>", source),
        "fences": source.count("```"),
    }


def test_a_translation_keeps_links_formulas_and_folds(pair):
    _, english, chinese = pair
    for one, other in zip(english.cells, chinese.cells, strict=True):
        if one.cell_type == "markdown":
            assert parts_to_keep(other.source) == parts_to_keep(one.source), one.id


def test_the_list_of_translations_names_only_what_is_there():
    hashes = json.loads(REAL.list_path.read_text(encoding="utf-8"))
    assert set(hashes) <= set(REAL.names)
