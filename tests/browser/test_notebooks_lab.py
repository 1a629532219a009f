"""Notebooks of the course in JupyterLab, in the light and in the dark theme, and in Notebook 7.

Every cell runs, and the widgets answer; what the panel does there is told in test_panel_lab.py and test_hands_lab.py.
"""

import re
import shutil

import nbformat
import pytest
from lab import REPOSITORY, Panel
from playwright.sync_api import expect

NAMES = ("01_build_the_encoder", "03_walk_the_shapes", "04_train_on_fashion_mnist")
APPS = ("lab", "notebook")


FEWER_IMAGES = """
for data in (train_iter.dataset, test_iter.dataset):
    data.images, data.labels = data.images[:6400], data.labels[:6400]
"""


def shorten_training(notebook):
    """Train for one epoch on some of the images, and leave out the claims about ten epochs on all."""
    cells = {cell.id: cell for cell in notebook.cells}
    run = cells["run"]
    assert "lr, num_epochs = 0.9, 10\n" in run.source
    run.source = run.source.replace("0.9, 10\n", "0.9, 1\n")
    cells["data-load"].source += FEWER_IMAGES
    for cell in (cells["run-check"], cells["predict-check"], cells["questions-check"]):
        lines = [line for line in cell.source.splitlines() if not line.startswith("assert")]
        cell.source = "\n".join(lines)


@pytest.fixture(scope="session")
def course(lab):
    """Copy the notebooks, and the files that they read, to where the server finds them; return their folder there."""
    folder = lab.root / "notebooks" / "en"
    folder.mkdir(parents=True)
    shutil.copytree(REPOSITORY / "benchmarks", lab.root / "benchmarks")
    for name in NAMES:
        notebook = nbformat.read(REPOSITORY / "notebooks" / "en" / f"{name}.ipynb", as_version=4)
        if name.startswith("04"):
            shorten_training(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "code":  # what is seen afterwards comes from this run
                cell.outputs, cell.execution_count = [], None
        for app in APPS:  # a file each, for the server may still be ending the kernel of the other
            nbformat.write(notebook, folder / f"{name}_{app}.ipynb")
    return folder


def move_the_window(page):
    """Move the window of notebook 01 by mouse and by arrow key: its place, its sum and its pixel of the map follow."""
    window = page.locator(".window-explorer")
    image, total = window.get_by_role("application", name=re.compile("^image")), window.locator(".sum")
    image.click(position={"x": 100, "y": 84})
    expect(window).to_have_attribute("data-col", "10")  # a pixel has 8 points, and two lie left of the window's middle
    before, visited = total.inner_text(), int(window.get_attribute("data-visited"))
    page.keyboard.press("ArrowLeft")
    expect(window).to_have_attribute("data-col", "9")
    expect(window).to_have_attribute("data-visited", str(visited + 1))
    expect(total).not_to_have_text(before)
    expect(image).to_be_focused()  # JupyterLab has not moved to another cell


def predict_a_layer(page):
    """Answer for the second convolution in notebook 03: a wrong number of parameters first, and then the right one."""
    quiz = page.locator(".lenet", has=page.get_by_label("parameters of net[4] "))
    parameters = quiz.get_by_label("parameters of net[4] ")
    expect(quiz.get_by_role("status")).to_contain_text("1 of 12 right")  # which a cell has answered
    quiz.get_by_label("output shape of net[4] ").fill("1, 16, 10, 10")
    parameters.fill("2400")
    parameters.press("Enter")
    expect(quiz).to_contain_text("✗ Parameters: Bias forgotten")
    expect(quiz.get_by_role("status")).to_contain_text("1 of 12 right")
    parameters.fill("2,416")
    quiz.get_by_role("button", name="Check net[4] Conv2d").click()
    expect(quiz).not_to_contain_text("Bias forgotten")
    expect(quiz.get_by_role("status")).to_contain_text("2 of 12 right, with 2,572 parameters")


def set_the_panel(page):
    """Move two controls of the panel in notebook 04 by arrow key."""
    panel = Panel(page)
    before = panel.lr.readout.inner_text()
    panel.lr.press("ArrowRight")
    expect(panel.lr.readout).not_to_have_text(before)
    panel.batch_size.focus()
    page.keyboard.press("ArrowUp")
    expect(panel.batch_size).to_have_value("128")
    expect(panel.batch_size).to_be_focused()


USE = dict(zip(NAMES, (move_the_window, predict_a_layer, set_the_panel), strict=True))


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs(course, lab, open_notebook, page, shoot, name, app):
    file = course / f"{name}_{app}.ipynb"
    meant = sum("raises-exception" in cell.metadata.get("tags", []) for cell in nbformat.read(file, as_version=4).cells)
    notebook = open_notebook(str(file.relative_to(lab.root)), app)
    notebook.run_all()
    expect(notebook.errors).to_have_count(meant)
    widget = page.locator(".lenet, .lenet-panel").first
    expect(widget).to_be_visible()
    widget.scroll_into_view_if_needed()
    USE[name](page)
    shoot(f"{app}_{name}")
    if app == "lab":  # Notebook 7 has the same themes
        notebook.use_theme("JupyterLab Dark")
        shoot(f"{app}_{name}_dark")
        notebook.use_theme("JupyterLab Light")
