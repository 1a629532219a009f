"""Fixtures for the tests of notebooks and widgets in a real browser."""

import base64

import nbformat
import pytest
from lab import Notebook, end_kernels, serve_lab

SETUP = """
from torch import nn
from lenet_helpers import load_data_fashion_mnist
from lenet_helpers.panel import TrainPanel

def make_net():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )

data = load_data_fashion_mnist(256)
"""


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Start a JupyterLab server for all tests of the session."""
    with serve_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def open_notebook(lab, page):
    """Return a function that opens a notebook of the server; its page must stay free of errors, and its kernel ends."""
    opened = []

    def open_path(path, app="lab"):
        opened.append(Notebook(page, lab, path, app))
        return opened[-1]

    yield open_path
    end_kernels(lab)
    assert [error for notebook in opened for error in notebook.page_errors] == []


@pytest.fixture
def run_cells(lab, open_notebook):
    """Return a function that writes a notebook with the given code cells, opens it and runs it."""

    def run(name, *cells):
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in (SETUP.strip(), *cells)]
        nbformat.write(notebook, lab.root / f"{name}.ipynb")
        opened = open_notebook(f"{name}.ipynb")
        opened.run_all()
        return opened

    return run


@pytest.fixture
def clock(page):
    """The clock of the page, which stands still until a test moves it on; pages after this one have it, too."""
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 60)  # by then it has got there
    yield page.clock
    page.clock.resume()


@pytest.fixture
def mount(page):
    """Return a function that shows a widget's own script in a blank page, with a stand-in for its kernel side.

    ``mount(widget)`` gives the root locator; in the page ``model.get``, ``.set`` and ``.emit`` play the kernel.
    ``around`` is what else the page shows, with ``{}`` in the widget's place. The list ``leaked`` holds the keys that
    were pressed in the widget and that JupyterLab or Notebook could have taken for commands.
    """

    def show(widget, dark=False, around="{}"):
        names = [name for name in widget.keys if not name.startswith("_")]
        state = {name: getattr(widget, name) for name in names if name not in ("layout", "tabbable", "tooltip")}
        state = {k: {"bytes": base64.b64encode(v).decode()} if isinstance(v, bytes) else v for k, v in state.items()}
        page.set_content("<body>" + around.format("<div id='widget'></div>") + "</body>")
        if dark:
            page.add_style_tag(
                content="body{background:#111;--jp-ui-font-color1:#eee;--jp-layout-color0:#111;"
                "--jp-layout-color1:#222;--jp-layout-color2:#333;--jp-border-color1:#999;"
                "--jp-success-color0:#9ccc9c;--jp-error-color1:#ff8a80}"
            )
        page.add_style_tag(content=str(widget._css))
        page.evaluate(
            """async ([script, state]) => {
                for (const [key, value] of Object.entries(state)) {
                    if (value?.bytes !== undefined) {
                        state[key] = new DataView(Uint8Array.from(atob(value.bytes), (c) => c.charCodeAt(0)).buffer);
                    }
                }
                const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
                const { default: exported } = await import(url);
                const widget = typeof exported === "function" ? await exported() : exported;
                const listeners = {};
                window.model = {
                    get: (key) => state[key],
                    set: (key, value) => {
                        const changes = typeof key === "object" ? key : { [key]: value };
                        Object.assign(state, changes);
                        for (const name of Object.keys(changes)) {
                            (listeners[`change:${name}`] ?? []).forEach((f) => f());
                        }
                    },
                    save_changes: () => { window.saved = { ...state }; },
                    on: (event, f) => { (listeners[event] ??= []).push(f); },
                    off: (event, f) => { listeners[event] = (listeners[event] ?? []).filter((g) => f && g !== f); },
                    send: (content) => { (window.sent ??= []).push(content); },
                    emit: (event, ...rest) => { (listeners[event] ?? []).forEach((f) => f(...rest)); },
                };
                window.leaked = [];
                document.addEventListener("keydown", ({ target, key }) => { // as JupyterLab and Notebook do
                    const isKept = target === document.body || target.hasAttribute("data-lm-suppress-shortcuts");
                    if (!isKept) leaked.push(key);
                }, true);
                window.cleanup = await widget.render({ model: window.model, el: document.getElementById("widget") });
            }""",
            [str(widget._esm), state],
        )
        return page.locator("#widget")

    return show
