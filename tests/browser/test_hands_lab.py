"""Every control of the train panel in a real JupyterLab, with the keyboard alone and with the mouse alone."""

import ast
import re

from lab import Panel
from playwright.sync_api import expect

FEWER = """
for loader in data:
    loader.dataset.images, loader.dataset.labels = loader.dataset.images[:12_800], loader.dataset.labels[:12_800]
"""
PANEL = "panel = TrainPanel(make_net, *data)\npanel"
READ = "[run['settings'] for run in panel.runs], panel.state"


def tab_to(control):
    """Press Tab until a control has the focus."""
    for _ in range(10):
        control.page.keyboard.press("Tab")
        if control.evaluate("control => control === document.activeElement"):
            return
    raise AssertionError(f"Tab does not lead to {control}")


def read_runs(notebook):
    """Return what the kernel says of the runs: their lines of settings, and the state of the panel."""
    notebook.run_cell(3)
    return ast.literal_eval(notebook.cell(3).locator(".jp-OutputArea-output").inner_text())


def test_the_keyboard_alone_is_enough(run_cells, page):
    notebook = run_cells("keyboard", FEWER, PANEL, READ)
    panel, keys = Panel(notebook.cell(2)), page.keyboard
    expect(panel.lr.handle).to_have_accessible_name("learning rate")  # the panel is there, and looks after its keys
    keys.press("Escape")
    keys.press("ArrowUp")  # from the last cell, which Run All leaves as the active one
    expect(page.locator(".jp-Cell.jp-mod-active")).to_contain_text("TrainPanel(make_net")
    tab_to(panel.lr.handle)
    keys.press("ArrowLeft")
    expect(panel.lr.readout).to_have_text("0.802")
    tab_to(panel.epochs.handle)
    keys.press("ArrowUp")
    expect(panel.epochs.readout).to_have_text("11")
    tab_to(panel.batch_size)
    keys.press("ArrowUp")
    expect(panel.batch_size).to_have_value("128")
    tab_to(panel.seed)
    keys.press("ControlOrMeta+A")
    keys.type("7")
    tab_to(panel.train)
    keys.press("Space")
    expect(panel.stop).to_be_focused()  # the focus goes on to the button that can be pressed now
    panel.wait_for_epoch(0)
    panel.stop_by(lambda: keys.press("Space"))
    expect(panel.resume).to_be_focused()
    keys.press("Enter")
    expect(panel.status).to_contain_text("Training")
    expect(panel.stop).to_be_focused()
    keys.press("Enter")
    expect(panel.status).to_contain_text("Stopped at epoch")
    expect(page.locator(".jp-Cell.jp-mod-active")).to_contain_text("TrainPanel(make_net")
    expect(notebook.prompts).to_have_count(4)  # no key was taken for a command of JupyterLab
    assert read_runs(notebook) == (["lr=0.802, num_epochs=11, batch_size=128, seed=7"], "stopped")


def test_the_mouse_alone_is_enough(run_cells, page):
    notebook = run_cells("mouse", FEWER, PANEL, READ)
    panel = Panel(notebook.cell(2))
    panel.lr.drag_to(0.5)
    expect(panel.lr.readout).not_to_have_text("0.900")
    panel.epochs.drag_to(1)
    expect(panel.epochs.readout).to_have_text("30")
    panel.batch_size.click()
    panel.batch_size.select_option("64")  # a click in the list, which is the browser's own and not part of the page
    box = panel.seed.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 10, box["y"] + box["height"] / 4)  # the upper of its two arrows
    expect(panel.seed).to_have_value("1")
    notebook.cell(3).locator(".jp-InputArea").click()
    page.get_by_title(re.compile("^Run this cell")).click()  # ▶, and the kernel has heard of the last step of a slider
    expect(notebook.prompts.nth(3)).to_have_text("[5]:")
    for _ in range(2):
        panel.train.click()
        panel.wait_for_epoch(0)
        panel.stop_by(panel.stop.click)
    panel.resume.click()
    expect(panel.status).to_contain_text("Training")
    panel.stop.click()
    expect(panel.status).to_contain_text("Stopped at epoch")
    runs, state = read_runs(notebook)
    assert state == "stopped" and len(runs) == 2
    for run in runs:
        lr, rest = re.fullmatch("lr=(.*), (num_epochs=.*)", run).groups()
        assert 0.02 < float(lr) < 0.2  # near the middle of the scale, which goes from 0.001 to 3
        assert rest == "num_epochs=30, batch_size=64, seed=1"
