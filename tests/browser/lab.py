"""A JupyterLab server of our own, and a notebook open in it, told in the words of a reader."""

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import expect

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",  # no test goes to the network
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # keeps cells that are scrolled away
}
KERNEL_IS_IDLE = """() => {
    const session = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session;
    return session?.kernel?.connectionStatus === "connected" && session.kernel.status === "idle";
}"""


class Lab(NamedTuple):
    """A running server: its address, its token and the folder that it serves."""

    url: str
    token: str
    root: Path


@contextmanager
def serve_lab(folder):
    """Start JupyterLab on a free port of this machine, with settings and files in ``folder``; stop it at the end."""
    root, log = folder / "root", folder / "lab.log"
    root.mkdir()
    for name, value in SETTINGS.items():
        file = folder / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    token = secrets.token_hex(16)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"),
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
        "--port=0",  # a free one, which the server chooses
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        f"--LabApp.user_settings_dir={folder / 'settings'}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
    ]
    with log.open("w") as output:
        server = subprocess.Popen(command, env=private_environment(folder), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield find_lab(folder, token, server, log)
        finally:
            server.terminate()  # the server ends its kernels
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def private_environment(folder):
    """Return an environment in which Jupyter touches nothing of the user's and finds the kernel of this Python."""
    private = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    return {
        **os.environ,
        **private,
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PATH": f"{sys.prefix}/share/jupyter",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",  # leave a core to the browser
    }


def find_lab(folder, token, server, log, seconds=60):
    """Return the server that was started with this folder and token once it answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            (info,) = folder.glob("runtime/jpserver-*.json")
            lab = Lab(json.loads(info.read_text())["url"].rstrip("/"), token, folder / "root")
            ask(lab, "api/status")
            return lab
        except (OSError, ValueError) as error:  # there is no file yet, or half of it, or nobody listens
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}") from error
        time.sleep(0.1)


def end_kernels(lab):
    """End all kernels of the server, so that they do not add up, without waiting until they have ended."""

    def end(session):
        with suppress(OSError):  # the server itself has ended, and its kernels with it
            ask(lab, f"api/sessions/{session['id']}", "DELETE")

    for session in json.load(ask(lab, "api/sessions")):
        threading.Thread(target=end, args=(session,), daemon=True).start()


def ask(lab, path, method="GET"):
    headers = {"Authorization": f"token {lab.token}"}
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return direct.open(urllib.request.Request(f"{lab.url}/{path}", headers=headers, method=method), timeout=30)


class Notebook:
    """A notebook open in a page, in JupyterLab or, with ``app="notebook"``, in Notebook 7.

    Every wait is for a state. ``page_errors`` collects the errors of the page's scripts, but for those of Notebook 7
    itself, which raises some while it starts.
    """

    def __init__(self, page, lab, path, app="lab"):
        self.page, self.page_errors = page, []
        page.on("pageerror", self._note_error)
        page.set_default_navigation_timeout(90_000)
        workspace = f"lab/workspaces/{secrets.token_hex(4)}/tree"  # a fresh one restores no tabs
        page.goto(f"{lab.url}/{workspace if app == 'lab' else 'notebooks'}/{path}?token={lab.token}")
        self.wait_for_kernel()

    def _note_error(self, error):
        if "/static/notebook/" not in (error.stack or ""):
            self.page_errors.append(error.stack or error.message)

    def wait_for_kernel(self):
        self.page.wait_for_function(KERNEL_IS_IDLE, timeout=90_000)

    def choose(self, menu, entry):
        """Choose an entry of a menu in the menu bar."""
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_role("menuitem", name=entry).click()

    def run_all(self, timeout=300_000):
        """Run all cells by the command behind the menu's Run All Cells, and wait until each has its number."""
        self.page.evaluate(
            """() => {
                window.ranAll = false;
                window.jupyterapp.commands.execute("notebook:run-all-cells").finally(() => { window.ranAll = true; });
            }"""
        )
        self.page.wait_for_function("window.ranAll", timeout=timeout)  # or a cell has raised; those behind it may go on
        expect(self.prompts.filter(has_text=re.compile(r"\[(\*| )\]"))).to_have_count(0, timeout=60_000)

    def run_cell(self, index, wait=True):
        """Run the code cell with this index, counted from 0."""
        prompt = self.prompts.nth(index)
        before = prompt.text_content()
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        if wait:
            expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=60_000)
            expect(prompt).not_to_have_text(before, timeout=60_000)

    def restart_kernel(self):
        self.choose("Kernel", re.compile("^Restart Kernel…"))
        self.page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()

    def interrupt(self):
        """Press the ■ button of the toolbar."""
        self.page.get_by_title(re.compile("^Interrupt the kernel")).click()

    def use_theme(self, name):
        """Switch to the theme "JupyterLab Light" or "JupyterLab Dark"."""
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", name)
        expect(self.page.locator("#jupyterlab-splash, #main-logo")).to_have_count(0)  # the veil over the change
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    def cell(self, index):
        return self.page.locator(".jp-CodeCell").nth(index)

    @property
    def prompts(self):
        return self.page.locator(".jp-CodeCell .jp-InputPrompt")

    @property
    def errors(self):
        """The tracebacks among the outputs."""
        return self.page.locator(".jp-OutputArea-output", has_text="Traceback (most recent call last)")


class Slider:
    """A slider of ipywidgets, found by the label beside it."""

    def __init__(self, scope, label):
        self.page = scope.page
        self._box = scope.locator(".widget-hslider", has=scope.page.get_by_text(label, exact=True))
        self.handle, self.readout = self._box.get_by_role("slider"), self._box.locator(".widget-readout")

    def press(self, *keys):
        self.handle.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def drag_to(self, share):
        """Drag the handle by the mouse to this share of the track, in [0, 1]."""
        self.handle.scroll_into_view_if_needed()
        track, handle = self._box.locator(".noUi-base").bounding_box(), self.handle.bounding_box()
        self.page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.move(track["x"] + share * track["width"], handle["y"] + handle["height"] / 2, steps=8)
        self.page.mouse.up()


class Panel:
    """A panel in the page: what a learner sees and presses."""

    def __init__(self, scope):
        self.scope = scope.locator(".lenet-panel")
        # An icon is part of a button's accessible name.
        self.train, self.stop, self.resume = (
            self.scope.get_by_role("button", name=re.compile(f"{name}$")) for name in ("Train", "Stop", "Continue")
        )
        self.status, self.notice = self.scope.locator(".lenet-status"), self.scope.locator(".lenet-lost")
        self.numbers, self.alert = self.scope.locator(".lenet-numbers"), self.scope.locator(".lenet-alert")
        self.lr, self.epochs = Slider(self.scope, "learning rate"), Slider(self.scope, "epochs")
        self.batch_size, self.seed = self.scope.get_by_label("batch size"), self.scope.get_by_label("seed")
        self.loss = self.scope.locator("polyline[data-name='train loss']")
        self.past = self.scope.locator("polyline.past")

    def stop_by(self, act):
        """Stop the training by an action, and wait for the panel that JupyterLab then draws anew."""
        self.scope.evaluate("panel => { panel.dataset.old = ''; }")
        act()
        expect(self.scope).not_to_have_attribute("data-old", "")
        expect(self.status).to_contain_text("Stopped at epoch")

    def epoch(self):
        """Return how many epochs the panel says are done."""
        return float(re.search(r"epoch ([\d.]+)", self.numbers.inner_text())[1])

    def wait_for_epoch(self, epoch, seconds=60):
        """Wait until the training has gone past an epoch."""
        deadline = time.monotonic() + seconds
        while self.epoch() <= epoch:
            assert time.monotonic() < deadline, f"the training did not get past epoch {epoch}"
            self.scope.page.wait_for_timeout(50)
