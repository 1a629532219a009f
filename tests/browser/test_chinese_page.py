"""Every widget in Chinese: no English sentence is left in the page, and the characters have a font."""

import re

import nbformat
import pytest
import torch
from nets import make_lenet
from playwright.sync_api import expect

from lenet_helpers.explorers import (
    explore_epochs,
    explore_errors,
    explore_net,
    explore_shapes,
    explore_signals,
    explore_walk,
    explore_window,
)
from lenet_helpers.language import speaking

ENGLISH = re.compile(r"\b[A-Za-z][a-z]{2,}\b")
NAMES = re.compile(  # code, names of layers, classes and keys, legends of curves, and what has no Chinese
    r"PyTorch(?:'s default)?|(?:Conv|AvgPool|MaxPool|BatchNorm|conv)2d|Flatten|Linear|Sigmoid|ReLU|softmax|logit|Xavier"
    r"|(?:mean|max|exp|floor|tanh|softmax|normal, 0\.01|scaled tanh|sigmoid|tanh|nn\.\w+)(?:\(|\b)|(?:output|net)\["
    r"|t-shirt|trouser|pullover|dress|coat|sandal|shirt|sneaker|bag|ankle boot|Page (?:Up|Down)|Esc\b"
    r"|train (?:loss|acc)|test acc|^epoch$|\w+_\w+|\w+=\S+"
)
#: All texts of the page that a learner reads or hears, those painted on a canvas included.
READ = """(root) => {
    const texts = [...(window.painted ?? [])];
    for (const node of [root, ...root.querySelectorAll("*")]) {
        for (const name of ["aria-label", "aria-valuetext", "title", "alt", "placeholder"]) {
            if (node.getAttribute(name)) texts.push(node.getAttribute(name));
        }
        for (const child of node.childNodes) {
            const isText = child.nodeType === Node.TEXT_NODE && !node.closest("style, script");
            if (isText) texts.push(child.textContent.trim());
        }
    }
    return [...new Set(texts.filter(Boolean))];
}"""
LISTEN = """() => {
    window.painted = [];
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
        window.painted.push(String(text));
        return fillText.call(this, text, ...rest);
    };
}"""
#: The pixels of each character in the font of an element, as a text.
PIXELS = """(root, characters) => [...characters].map((character) => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    context.font = `40px ${getComputedStyle(root).fontFamily}`;
    context.fillText(character, 5, 50);
    return context.getImageData(0, 0, 60, 70).data.join();
})"""


def find_english(texts):
    """Return the texts with an English word that is neither code nor a name."""
    return [text for text in texts if ENGLISH.search(NAMES.sub("", text))]


@pytest.fixture
def make(fashion, training):
    """Return a function that makes a widget by its name, in Chinese."""
    X, y = fashion
    net, snapshots = training
    batches = list(zip(X.split(256), y.split(256), strict=True))
    makers = {
        "window": lambda: explore_window(X[0], torch.ones(3, 3)),
        "net": lambda: explore_net(net, X[:60], y[:60]),
        "shapes": lambda: explore_shapes(X[0]),
        "walk": lambda: explore_walk(make_lenet()),
        "signals": lambda: explore_signals(X[:32], y[:32]),
        "errors": lambda: explore_errors(net, batches),
        "epochs": lambda: explore_epochs(net, snapshots, batches, X[0]),
    }

    def make_one(name):
        with speaking("zh"):
            return makers[name]()

    return make_one


def answer_wrongly(quiz):
    with speaking("zh"):
        quiz.answer(1, "1, 6, 24, 24", "150")
        quiz.answer(3, "?", "")


def open_views(page, root):
    """Show the other views and messages of the net explorer, one after the other."""
    texts = []
    for layer, feature in ((4, 0), (8, 3), (12, 0)):
        page.evaluate(f"() => {{ model.set({{ layer: {layer}, feature: {feature} }}); }}")
        root.locator("canvas").first.hover()
        texts += root.evaluate(READ)
    root.get_by_role("button", name="画图").click()
    root.get_by_role("button", name="噪声").click()
    return texts + root.evaluate(READ)


WIDGETS = ["window", "net", "shapes", "walk", "signals", "errors", "epochs"]


@pytest.mark.parametrize("name", WIDGETS)
def test_no_english_sentence_is_left(make, mount, page, shoot, name):
    page.evaluate(LISTEN)
    widget = make(name)
    if name == "walk":
        answer_wrongly(widget)
    root = mount(widget)
    expect(root).to_have_attribute("lang", "zh")
    shoot(f"zh_{name}")
    texts = root.evaluate(READ)
    if name == "net":
        texts += open_views(page, root)
        shoot("zh_net_views")
    if name == "shapes":
        page.evaluate("() => { model.set({ kind: 'max pooling', padding: 5 }); }")
        texts += root.evaluate(READ)
    assert find_english(texts) == []
    assert sum("\u4e00" <= character <= "\u9fff" for character in "".join(texts)) > 20


@pytest.mark.parametrize("name", WIDGETS)
def test_a_stored_cell_says_in_chinese_what_its_picture_shows(make, name):
    widget = make(name)
    data, _metadata = widget._repr_mimebundle_()
    kind, _colon, told = data["text/plain"].partition("：")
    assert kind == type(widget).__name__ and find_english([told]) == []
    assert re.search("[\u4e00-\u9fff]", told)


def test_a_saved_page_is_in_chinese(make, page, tmp_path):
    make("net").save(tmp_path / "my_lenet.html")
    page.goto((tmp_path / "my_lenet.html").as_uri())
    assert page.title().startswith("我的网络：")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    assert find_english(page.get_by_role("main").evaluate(READ)) == []


def test_english_is_found_where_it_is(make, mount):
    with speaking("en"):
        assert len(find_english(mount(explore_walk(make_lenet())).evaluate(READ))) > 10


def test_characters_have_a_font(make, mount):
    """A missing character is drawn as the same box as any other: fonts-wqy-microhei of Debian has them all."""
    root = mount(make("window"))
    *known, missing = root.evaluate(PIXELS, "卷积核步幅填充汇聚特征图\U0010fff0")
    assert len(set(known)) == 12 and missing not in known


PANEL = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from lenet_helpers.panel import TrainPanel

torch.manual_seed(0)
data = TensorDataset(torch.rand(64, 1, 28, 28), torch.arange(64) % 10)
loader = DataLoader(data, batch_size=32, shuffle=True)
panel = TrainPanel(lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), loader, loader, num_epochs=2)
panel
"""


def test_a_notebook_in_the_folder_zh_has_a_chinese_panel(lab, open_notebook, page, shoot):
    (lab.root / "zh").mkdir(exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in (PANEL.strip(), "panel.start().wait()")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), lab.root / "zh" / "panel.ipynb")
    notebook = open_notebook("zh/panel.ipynb")
    notebook.run_all()
    panel = notebook.cell(0).locator(".lenet-panel")
    expect(panel.locator(".lenet-status")).to_contain_text("训练完成。第 2 个迭代周期")
    expect(panel.get_by_role("slider").first).to_have_accessible_name("学习率")
    shoot("zh_panel_lab")
    assert find_english(text for text in panel.evaluate(READ) if text != "null") == []  # a title that ipywidgets sets
