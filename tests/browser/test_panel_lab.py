"""The train panel in a real JupyterLab: LeNet on Fashion-MNIST, with mouse and keyboard."""

import pytest
from lab import Panel
from playwright.sync_api import expect

NOTE_MESSAGES = """(status) => {
    window.messages = [];
    new MutationObserver(() => messages.push(status.textContent)).observe(status, { childList: true });
}"""


def count_points(curve):
    return len((curve.get_attribute("points") or "").split())


def test_train_move_stop_continue(run_cells, page, shoot):
    notebook = run_cells("panel", "panel = TrainPanel(make_net, *data, lr=0.1, num_epochs=20)\npanel", "6 * 7")
    panel = Panel(notebook.cell(1))
    expect(panel.status).to_contain_text("Ready")
    expect(panel.stop).to_be_disabled()
    expect(panel.resume).to_be_disabled()
    expect(panel.lr.handle).to_have_accessible_name("learning rate")
    expect(panel.epochs.handle).to_have_accessible_name("epochs")

    panel.lr.press(*["ArrowRight"] * 4)  # by keyboard: four steps of 10 ** 0.05
    expect(panel.lr.readout).to_have_text("0.158")
    expect(panel.lr.handle).to_have_attribute("aria-valuetext", "0.158")
    expect(panel.status).to_contain_text("Ready")  # moving a slider trains nothing
    expect(panel.numbers).to_have_count(0)
    notebook.run_cell(2)  # and by then the kernel has heard of the last key

    panel.train.focus()
    page.keyboard.press("Space")
    expect(panel.status).to_contain_text("Training")
    expect(panel.train).to_be_disabled()
    expect(panel.stop).to_be_focused()  # the button that was pressed is disabled, and the focus is not lost
    expect(panel.numbers).to_contain_text("lr 0.158")
    panel.wait_for_epoch(0.2)
    before = count_points(panel.loss)

    panel.lr.press("End")  # while it trains
    expect(panel.numbers).to_contain_text("lr 3 ")
    panel.lr.drag_to(0.0)  # by mouse
    expect(panel.numbers).to_contain_text("lr 0.001")
    page.evaluate(NOTE_MESSAGES, panel.status.element_handle())  # this one goes at the end of the epoch
    panel.epochs.press("ArrowRight")
    page.wait_for_function("messages.some((message) => message.includes('next run'))")
    panel.wait_for_epoch(panel.epoch() + 0.1)
    assert count_points(panel.loss) > before

    notebook.run_cell(2)  # the kernel still answers
    expect(notebook.cell(2).locator(".jp-OutputArea-output")).to_have_text("42")
    expect(panel.stop).to_be_enabled()
    shoot("panel_training")

    panel.stop.focus()
    before = panel.epoch()
    panel.stop_by(lambda: page.keyboard.press("Space"))
    assert panel.epoch() - before < 1, "it did not stop after the mini-batch"
    expect(panel.resume).to_be_focused()
    assert 0 < float(panel.loss.get_attribute("data-last")) < 10
    expect(notebook.cell(1)).to_contain_text("lr=0.158→")
    stopped_at = panel.epoch()

    panel.resume.click()
    expect(panel.status).to_contain_text("Training")
    panel.wait_for_epoch(stopped_at + 0.1)
    panel.stop_by(panel.stop.click)

    panel.train.click()  # a second run, with the first one pale behind it
    expect(panel.past).to_have_count(3)
    panel.wait_for_epoch(0.1)
    panel.stop_by(notebook.interrupt)  # ■ between cells
    expect(notebook.errors).to_have_count(0)
    shoot("panel_stopped")
    notebook.use_theme("JupyterLab Dark")
    shoot("panel_stopped_dark")
    notebook.use_theme("JupyterLab Light")


@pytest.mark.fault("panel and explorers", "two and three panels")
def test_two_panels_an_error_and_the_cell_run_again(run_cells, shoot):
    notebook = run_cells(
        "panels",
        "first = TrainPanel(make_net, *data)\nfirst",
        "second = TrainPanel(make_net, *data)\nsecond",
        "broken = TrainPanel(lambda: nn.Linear(3, 3), *data)\nbroken",
        "old = first\nold.state",
    )
    first, second, broken = (Panel(notebook.cell(index)) for index in (1, 2, 3))

    broken.train.click()
    expect(broken.alert).to_contain_text("RuntimeError")
    expect(broken.status).to_contain_text("failed")
    expect(broken.train).to_be_enabled()

    first.train.click()
    first.wait_for_epoch(0.05)
    second.train.click()
    expect(second.status).to_contain_text("another panel is training")
    shoot("panel_waiting")
    first.stop_by(first.stop.click)
    expect(second.status).to_contain_text("Training")
    second.stop_by(second.stop.click)

    first.train.click()
    first.wait_for_epoch(0.05)
    notebook.run_cell(1)  # a new panel in the place of the old one, whose run ends
    expect(first.status).to_contain_text("Ready")
    notebook.run_cell(4)
    expect(notebook.cell(4).locator(".jp-OutputArea-output")).to_have_text("'ready'")
    expect(first.lr.readout).to_have_text("0.900")  # not rounded to the slider's steps
    notebook.cell(4).locator(".cm-content").fill("first.lr.value = 0.1")
    notebook.run_cell(4)
    expect(first.lr.readout).to_have_text("0.100")
    first.train.click()
    expect(first.status).to_contain_text("Training")
    first.stop.click()
    expect(first.status).to_contain_text("Stopped")


@pytest.mark.fault("panel and explorers", "kernel restart")
def test_after_a_restart_the_panel_does_not_pretend_to_work(run_cells, shoot):
    notebook = run_cells("restart", "panel = TrainPanel(make_net, *data)\npanel")
    panel = Panel(notebook.cell(1))
    panel.train.click()
    panel.wait_for_epoch(0.05)
    notebook.restart_kernel()
    expect(panel.notice).to_contain_text("No longer connected", timeout=20_000)
    expect(panel.scope.locator(".lenet-controls")).to_have_attribute("inert", "")
    shoot("panel_restarted")
    run_all_and_train(notebook, panel)


def run_all_and_train(notebook, panel):
    """Do what the panel advises after its kernel is gone, and train with the panel that is there then."""
    notebook.wait_for_kernel()
    notebook.run_all()
    expect(panel.status).to_contain_text("Ready")
    expect(panel.notice).to_be_empty()
    panel.train.click()
    panel.wait_for_epoch(0.05)
    panel.stop.click()
    expect(panel.status).to_contain_text("Stopped")


@pytest.mark.fault("notebooks", "kernel dies in training")
def test_after_a_kernel_that_died_in_training_the_panel_says_so(run_cells, page, shoot):
    notebook = run_cells("died", "panel = TrainPanel(make_net, *data)\npanel", "1")
    panel = Panel(notebook.cell(1))
    panel.train.click()
    panel.wait_for_epoch(0.05)
    notebook.cell(2).locator(".cm-content").fill("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    notebook.run_cell(2, wait=False)
    expect(page.get_by_role("dialog")).to_contain_text("appears to have died", timeout=60_000)
    page.get_by_role("dialog").get_by_role("button", name="Ok").click()
    expect(panel.notice).to_contain_text("No longer connected", timeout=20_000)
    expect(panel.scope.locator(".lenet-controls")).to_have_attribute("inert", "")
    shoot("panel_died")
    notebook.cell(2).locator(".cm-content").fill("1")
    run_all_and_train(notebook, panel)


def test_a_cell_that_waits_can_be_interrupted(run_cells):
    notebook = run_cells("wait", "panel = TrainPanel(make_net, *data)\npanel", "1")
    panel = Panel(notebook.cell(1))
    notebook.cell(2).locator(".cm-content").fill("panel.start().wait()")
    notebook.run_cell(2, wait=False)
    panel.wait_for_epoch(0.05)
    panel.stop.click()  # the kernel cannot hear it: a cell keeps it busy
    expect(panel.notice).to_contain_text("busy with a cell", timeout=20_000)
    notebook.interrupt()
    expect(panel.status).to_contain_text("Stopped at epoch")
    expect(panel.notice).to_be_empty()
