"""What a learner may do to a page at the wrong moment, in a real JupyterLab: the panel keeps its word."""

import ast
import random

import pytest
from lab import Notebook, Panel
from playwright.sync_api import expect

PANELS = "panels = []"
PANEL = "panels.append(TrainPanel(make_net, *data, num_epochs=30))\npanels[-1]"
BROKEN = "TrainPanel(lambda: make_nett(), *data)"
REPORT = """
import threading
for panel in panels[:-1]:
    panel.wait(60)
trainings = sum(thread.name == "TrainPanel" for thread in threading.enumerate())
[panel.state for panel in panels], trainings, len(panels[0].runs), panels[0].runs[0]["lrs"]
"""
HELD = """
import time
from pathlib import Path

class Hold(nn.Module):  # holds the first epoch of 20 batches while there is no file "go", all others without "finish"
    batches = 0

    def forward(self, X):
        self.batches += self.training
        while self.training and not Path("go" if self.batches <= 20 else "finish").exists():
            time.sleep(0.01)
        return X

for loader in data:
    loader.dataset.images, loader.dataset.labels = loader.dataset.images[:5120], loader.dataset.labels[:5120]
panels = []
"""
HELD_PANEL = "panels.append(TrainPanel(lambda: nn.Sequential(Hold(), make_net()), *data, num_epochs=2))\npanels[-1]"


def read_output(notebook, index):
    """Run a cell and return what it shows."""
    notebook.run_cell(index)
    return notebook.cell(index).locator(".jp-OutputArea-output").inner_text()


def move_at_random(panel, draw):
    """Move a control of the panel, by key or by mouse, to anywhere."""
    match draw.randrange(8):
        case 0:
            panel.lr.drag_to(draw.uniform(-0.2, 1.2))
        case 1:
            panel.batch_size.select_option(draw.choice(["32", "256", "1024"]))
        case 2:
            panel.seed.fill(draw.choice(["", "7", "-3", "123456"]))
        case 3 | 4:
            panel.epochs.press(draw.choice(["ArrowRight", "ArrowLeft", "Home", "End"]))
        case _:
            panel.lr.press(draw.choice(["ArrowRight", "ArrowLeft", "PageUp", "PageDown", "Home", "End"]))


@pytest.mark.fault("panel and explorers", "Train clicked 50 times")
@pytest.mark.fault("panel and explorers", "Stop before the run and after the run")
@pytest.mark.fault("panel and explorers", "sliders moved at random while training")
@pytest.mark.fault("panel and explorers", "cell run again ten times")
@pytest.mark.fault("panel and explorers", "exception in make_net")
def test_hasty_hands_leave_one_training_and_no_error_in_the_page(run_cells):
    notebook = run_cells("hasty", PANELS, PANEL, BROKEN, REPORT)
    panel, broken, draw = Panel(notebook.cell(2)), Panel(notebook.cell(3)), random.Random(0)

    broken.train.click()
    expect(broken.alert).to_contain_text("NameError: name 'make_nett' is not defined")
    expect(broken.status).to_contain_text("Correct its cause, then run this cell again")

    expect(panel.stop).to_be_disabled()
    panel.train.evaluate("button => { for (let i = 0; i < 50; i++) button.click(); }")
    panel.wait_for_epoch(0.05)
    for _ in range(60):
        move_at_random(panel, draw)
    panel.wait_for_epoch(panel.epoch() + 0.05)
    panel.stop_by(panel.stop.click)
    expect(panel.stop).to_be_disabled()

    for _ in range(10):
        notebook.run_cell(2)
        expect(panel.status).to_contain_text("Ready")
        panel.train.click()
    panel.wait_for_epoch(0.05)
    states, trainings, runs, lrs = ast.literal_eval(read_output(notebook, 4))
    assert states == ["stopped"] * 10 + ["running"] and trainings == 1
    assert runs == 1 and len(lrs) > 3 and all(0.001 <= lr <= 3 for _, lr in lrs)
    panel.stop.click()
    expect(panel.status).to_contain_text("Stopped at epoch")


@pytest.mark.fault("panel and explorers", "page reload in training")
@pytest.mark.fault("panel and explorers", "closing the page in training")
def test_the_kernel_trains_on_without_its_page(run_cells, lab, page, context):
    notebook = run_cells("left", HELD, HELD_PANEL, "panels[-1].state", "panels[0].wait()")
    panel, go, finish = Panel(notebook.cell(2)), lab.root / "go", lab.root / "finish"
    panel.train.click()
    expect(panel.status).to_contain_text("Training")
    page.reload()  # before the notebook was saved
    notebook.wait_for_kernel()
    assert read_output(notebook, 3) == "'running'"
    expect(panel.scope).to_have_count(0)  # nothing that only looks like a panel
    notebook.run_cell(2)
    expect(panel.status).to_contain_text("Ready")
    go.touch()
    notebook.run_cell(4)  # the old run has ended
    expect(notebook.errors).to_have_count(0)
    go.unlink()
    panel.train.click()
    expect(panel.status).to_contain_text("Training")

    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("window.jupyterapp.shell.currentWidget.close()")
    expect(page.locator(".jp-Notebook")).to_have_count(0)
    page.evaluate("window.jupyterapp.commands.execute('docmanager:open', { path: 'left.ipynb' })")
    expect(panel.status).to_contain_text("Training")
    expect(panel.stop).to_be_enabled()
    page.close()
    go.touch()
    page = context.new_page()
    notebook = Notebook(page, lab, "left.ipynb")
    panel = Panel(notebook.cell(2))
    expect(panel.status).to_contain_text("Training. Epoch 1 of 2")
    finish.touch()
    expect(panel.status).to_contain_text("Finished. Epoch 2 of 2")
    assert float(panel.loss.get_attribute("data-last")) > 0 and panel.epoch() == 2
    assert read_output(notebook, 3) == "'finished'"
    panel.resume.click()
    panel.wait_for_epoch(2.05)
    expect(panel.status).to_contain_text("Finished. Epoch 4 of 4")
    page.close()
    assert notebook.page_errors == []
