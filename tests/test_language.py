"""The language of checks and widgets: how it is chosen, that the catalogue is complete, and that no text escapes it."""

import ast
import gettext
import os
import re
import string
import sys
import threading
from pathlib import Path

import nbformat
import pytest
from babel.messages.jslexer import tokenize
from babel.messages.mofile import read_mo

from lenet_helpers import language
from lenet_helpers.language import LANGUAGES, _, find_language, find_texts, speaking, use_language
from lenet_helpers.panel import StatusLine

ROOT = Path(__file__).parents[1]
HELPERS = ROOT / "lenet_helpers"
sys.path.insert(0, str(ROOT / "tools"))

import catalogue  # noqa: E402
import open_lab  # noqa: E402


@pytest.fixture(autouse=True)
def no_choice(monkeypatch):
    """Start without a chosen language."""
    monkeypatch.setattr(language, "_chosen", None)


# The choice


def test_english_is_spoken_where_nothing_is_chosen(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert find_language() == "en"
    assert _("Train") == "Train" and _("a text in no catalogue") == "a text in no catalogue"


def test_english_is_spoken_where_the_folder_has_been_deleted(monkeypatch, tmp_path):
    (tmp_path / "zh").mkdir()
    monkeypatch.chdir(tmp_path / "zh")
    assert find_language() == "zh"
    (tmp_path / "zh").rmdir()
    assert find_language() == "en" and _("Train") == "Train"


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_folder_chooses(monkeypatch, tmp_path, name):
    (tmp_path / "notebooks" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks" / name)
    assert find_language() == name


def test_the_environment_is_stronger_than_the_folder_and_a_line_is_stronger_than_both(monkeypatch, tmp_path):
    (tmp_path / "zh").mkdir()
    monkeypatch.chdir(tmp_path / "zh")
    monkeypatch.setenv("LENET_LANGUAGE", "en")
    assert _("Train") == "Train"
    use_language("zh")
    assert _("Train") == "训练"
    use_language(None)
    assert _("Train") == "Train"


@pytest.mark.parametrize("name", LANGUAGES)
def test_make_lab_opens_the_chosen_edition_and_leaves_each_notebook_its_own_language(monkeypatch, name):
    monkeypatch.setenv("LENET_LANGUAGE", name)
    started = []
    monkeypatch.setattr("subprocess.call", lambda command: started.append((command, "LENET_LANGUAGE" in os.environ)))
    open_lab.main()
    [(command, overruled)] = started
    assert f"--LabApp.default_url=/lab/tree/notebooks/{name}/01_build_the_encoder.ipynb" in command
    assert not overruled


def test_an_unknown_language_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="use_language must be one of en, zh; it is 'fr'"):
        use_language("fr")
    monkeypatch.setenv("LENET_LANGUAGE", "Chinese")
    with pytest.raises(ValueError, match="LENET_LANGUAGE must be one of en, zh; it is 'Chinese'"):
        _("Train")


def test_speaking_lasts_for_its_block_and_its_thread():
    use_language("zh")
    heard = []
    with speaking("en"):
        assert _("Train") == "Train"
        thread = threading.Thread(target=lambda: heard.append(_("Train")))
        thread.start()
        thread.join()
    assert (heard, _("Train")) == (["训练"], "训练")


def test_a_widget_keeps_the_language_it_was_made_in():
    assert StatusLine().texts == {}
    use_language("zh")
    line = StatusLine()
    use_language("en")
    assert line.language == "zh" and set(line.texts) == set(find_texts(StatusLine._esm))


# The catalogue


def places(text):
    """Return the names of the {places} of a text."""
    return sorted({name for _text, name, *_rest in string.Formatter().parse(text) if name is not None})


def test_the_catalogue_has_the_texts_of_the_code():
    assert {message.id for message in catalogue.load()} == {message.id for message in catalogue.extract()}, (
        "make catalogue brings it up to date"
    )


def test_every_text_is_translated_with_the_same_places():
    for message in catalogue.load():
        if message.id:
            assert message.string and not message.fuzzy, message.id
            assert places(message.string) == places(message.id), message.id


def test_the_compiled_catalogue_is_up_to_date():
    with catalogue.MO.open("rb") as file:
        compiled = {message.id: message.string for message in read_mo(file) if message.id}
    assert compiled == {message.id: message.string for message in catalogue.load() if message.id}
    with catalogue.MO.open("rb") as file:
        assert gettext.GNUTranslations(file).gettext("Train") == "训练"


def read_chinese(path):
    """Return the Chinese prose of a file as (where, text): messages of the catalogue, cells of a notebook, a page."""
    if path.suffix == ".po":
        return [(message.id, message.string) for message in catalogue.load()]
    if path.suffix == ".ipynb":
        return [(cell.id, cell.source) for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    return [(path.name, path.read_text(encoding="utf-8"))]


PAGES = [ROOT / "README.zh.md", *(ROOT / "docs").glob("*.zh.md"), *(ROOT / "site" / "zh").glob("*.md")]
CHINESE = [catalogue.PO, *sorted((ROOT / "notebooks" / "zh").glob("*.ipynb")), *sorted(PAGES)]


def against_the_form(text):
    """Return where a text leaves the course's form of Chinese.

    You is 你 and never 您, without 请 (a word such as 申请 is none); a sentence has full-width punctuation, and a
    shape half-width brackets, in which commas are half-width too.
    """
    text = re.sub(r"```.*?```|`[^`]*`", "`", text, flags=re.S)
    outside = re.sub(r"\([^()]*\)", "()", text)
    polite = re.findall(r".{,9}(?:您|(?<!申)请(?!求)).{,9}", text)
    return polite + re.findall(r"[\u4e00-\u9fff][,;:?!]", outside) + re.findall(r"（[\d, ]+）", text)


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: path.name)
def test_chinese_is_written_in_the_form_of_the_course(path):
    texts = read_chinese(path)
    assert texts and all(text for where, text in texts if where)
    assert [(where, found) for where, text in texts if (found := against_the_form(text))] == []


def test_another_form_of_chinese_is_found():
    for text in ("请运行它。", "您的网络", "先看,再猜。", "形状是（1, 28, 28）", "`x` 请看"):
        assert against_the_form(text), text
    assert not against_the_form("先看，再猜：形状是 (卷积核, 行, 列)，运行 `看, 猜`；去申请工作进程。")


# Texts that are not marked for translation

SENTENCE = re.compile(r"[A-Za-z][a-z]+ (?:[a-z]+\b|\$?\{)")
MODULES = sorted(HELPERS.rglob("*.py"))
SCRIPTS = sorted(HELPERS.rglob("*.js"))
SHOWN = ("NotYet", "Refused")  # exceptions whose text a learner reads as a message
#: Functions whose errors a widget or a check shows; all other errors are read in a traceback, in English like Python's.
SHOW_ERRORS = {
    *("parse_shape", "parse_count", "flat_layers", "run_layer", "describe_net", "describe_layer", "check_net"),
    *("read_row", "find_data", "_fetch", "_copy_from", "_copy_from_debian_package"),
}
PICTURES = re.compile(r"figure|_?draw_\w+|show_\w+")  # drawn in English, whose letters every font has
#: Names, code and legends that a learner may see in English, and what is not text at all. {} is a place.
KNOWN = {
    *("train loss", "train acc", "test acc", "{} at epoch {}", "at epoch", "loss {}, train acc {}, test acc {}"),
    *("average pooling", "max pooling", "vertical edges", "horizontal edges", "scaled tanh", "ankle boot", "class {}"),
    *("output shape", "pixels not reached", "your image", "your drawing", "image {}", "image ${index}", "hidden {}"),
    *("inverted: the ground is bright", "contrast stretched, cropped", "resized and centred, {} × {}"),
    *("softmax regression", "one hidden layer, 78 units", "LeNet, {}, {} pooling, lr {}", "test {}, validation {}"),
    *("+ max pooling", "+ batch norm", "+ better steps: modern LeNet", "+ random flips", "+ mirrored testing"),
    *("{} parameters epochs test accuracy train loss CPU s", "training on", "return net, lr"),
    *("name and shape (maps, height, width) of each row of pictures", "export default", "const explorer ="),
    *("row wrap", "11px system-ui, sans-serif", "model name"),
    *("device-side assert", "device|nvidia|cuda|meta tensor", "the cluster is gone"),  # PyTorch's words, and Dask's
    "out of (shared )?memory|OutOfMemory|allocate memory|unable to allocate|ALLOC_FAILED|killed by signal",
    *(r"dtype|scalar type|type \((?!torch)|not implemented for '", r"not NoneType|'NoneType' object|got \(NoneType"),
    r"Target -?\d+ is out of bounds|target tensor expected|class probabilities",
    "Start one with `dask scheduler`, or unset LENET_DASK to train on this machine's cores",  # in a traceback
}


def unmarked(source):
    """Return the sentences in a Python module that are not in ``_(…)`` and reach neither a traceback nor a picture."""
    found = []

    def visit(node, errors_are_shown=False):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
            node.body = node.body[1:]
        if isinstance(node, ast.FunctionDef):
            if PICTURES.fullmatch(node.name):
                return
            errors_are_shown = errors_are_shown or node.name in SHOW_ERRORS
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("_", "check"):
                return
        if isinstance(node, ast.Raise):
            raised = getattr(getattr(node.exc, "func", None), "id", "")
            if not errors_are_shown and raised not in SHOWN:
                return
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "slips":
            return
        text = read_text(node)
        if SENTENCE.search(text) and " ".join(text.split()) not in KNOWN:
            found.append(text)
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
                visit(child, errors_are_shown)

    visit(ast.parse(source))
    return found


def read_text(node):
    """Return the text of a string or an f-string without HTML, with {} for its places; "" for another node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    else:
        return ""
    return re.sub(r"<[^>]*>?", "", text)


def unmarked_in_script(source):
    """Return the sentences in a JavaScript module that are not in ``_("…")``, and no names of classes."""
    tokens = [token for token in tokenize(source) if token.type not in ("linecomment", "multilinecomment")]
    found = []
    for index, token in enumerate(tokens):
        if token.type in ("string", "template_string") and SENTENCE.search(token.value):
            before = [one.value for one in tokens[max(0, index - 2) : index]]
            if before not in (["_", "("], ["className", ":"]) and token.value[1:-1] not in KNOWN:
                found.append(token.value)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_text_of_a_module_is_left_unmarked(path):
    assert unmarked(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_no_text_of_a_script_is_left_unmarked(path):
    assert unmarked_in_script(path.read_text(encoding="utf-8")) == []


def test_unmarked_texts_are_found():
    assert unmarked('def advise():\n    """Say it."""\n    return "Press the button."') == ["Press the button."]
    assert unmarked('def summary(self):\n    return f"{score} of {count} right"') == ["{} of {} right"]
    assert unmarked('raise NotYet(f"the shape is {shape}")') == ["the shape is {}"]
    assert unmarked('_("Press the button.")\nraise ValueError("the shape is wrong")') == []
    assert unmarked('def check_net(net):\n    raise ValueError("the shape is wrong")') == ["the shape is wrong"]
    assert unmarked_in_script('status.textContent = "Press the button.";') == ['"Press the button."']
    assert unmarked_in_script("status.textContent = `Press ${name} again`;") == ["`Press ${name} again`"]
    assert unmarked_in_script('status.textContent = _("Press {name} again", { name });') == []


def test_the_list_of_known_texts_and_functions_names_only_what_is_there():
    code = " ".join(word for path in [*MODULES, *SCRIPTS] for word in path.read_text(encoding="utf-8").split())
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in MODULES]
    functions = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert not SHOW_ERRORS - functions
    for text in KNOWN:
        assert all(part in code for part in text.split("{}")), text


def test_places_of_marked_texts_are_filled_in_afterwards():
    """An f-string inside ``_()`` would look up a text that is in no catalogue."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
                assert not any(isinstance(argument, ast.JoinedStr) for argument in node.args), (path.name, node.lineno)


def test_widgets_find_the_texts_of_their_scripts_as_babel_does():
    extracted = {
        message.id for message in catalogue.extract() if any(name.endswith(".js") for name, _line in message.locations)
    }
    assert {text for path in SCRIPTS for text in find_texts(path.read_text(encoding="utf-8"))} == extracted
