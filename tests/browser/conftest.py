"""Fixtures for the tests of notebooks and widgets in a real browser."""

import base64

import pytest
from lab import Notebook, end_kernels, serve_lab
from playwright.sync_api import expect


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Start a JupyterLab server for all tests of the session."""
    expect.set_options(timeout=20_000)  # a busy machine answers late
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
def mount(page):
    """Return a function that shows a widget's own script in a blank page, with a stand-in for its kernel side.

    ``mount(widget)`` gives the root locator; in the page ``model.get``, ``.set`` and ``.emit`` play the kernel.
    """

    def show(widget, dark=False):
        names = [name for name in widget.keys if not name.startswith("_")]
        state = {name: getattr(widget, name) for name in names if name not in ("layout", "tabbable", "tooltip")}
        state = {k: {"bytes": base64.b64encode(v).decode()} if isinstance(v, bytes) else v for k, v in state.items()}
        page.set_content("<body><div id='widget'></div></body>")
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
                const { default: widget } = await import(url);
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
                window.cleanup = await widget.render({ model: window.model, el: document.getElementById("widget") });
            }""",
            [str(widget._esm), state],
        )
        return page.locator("#widget")

    return show
