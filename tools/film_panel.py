"""Film the train panel at work in a real JupyterLab: notebook 04's net, the learning rate moved on the way."""

import io
import sys
import tempfile
from pathlib import Path

import nbformat
from lenet import NOTEBOOK, ROOT
from PIL import Image
from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(ROOT / "tests" / "browser"))
sys.path.insert(0, str(ROOT / "tests"))
from chromium import FLAGS, find_chromium
from lab import Notebook, Slider, serve_lab

TARGET = ROOT / "img" / "panel.gif"
FRAMES, MILLISECONDS = 24, 250
CELLS = ("data-load", "net", "panel-widget")


def main():
    with tempfile.TemporaryDirectory() as folder, serve_lab(Path(folder)) as lab, sync_playwright() as playwright:
        cells = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
        notebook.cells = [nbformat.v4.new_code_cell(cells[name]) for name in CELLS]
        nbformat.write(notebook, lab.root / "panel.ipynb")
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        opened = Notebook(page, lab, "panel.ipynb")
        opened.run_all()
        save_film(film(page, opened.cell(2).locator(".lenet-panel")))
    print("wrote", TARGET.relative_to(ROOT))


def film(page, panel):
    """Train five epochs and return pictures of the panel, at equal steps of its progress."""
    epochs, lr = Slider(panel, "epochs"), Slider(panel, "learning rate")
    epochs.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight")
    expect(epochs.readout).to_have_text("5")
    frames = [panel.screenshot()]
    panel.get_by_role("button", name="Train").click()
    bar = panel.locator(".progress-bar")
    for frame in range(1, FRAMES):
        page.wait_for_function(
            "([bar, share]) => parseFloat(bar.style.width) >= share",
            arg=[bar.element_handle(), 100 * frame / FRAMES],
            timeout=300_000,
        )
        if frame == FRAMES * 3 // 4:
            lr.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft")
        frames.append(panel.screenshot())
    expect(panel.locator(".lenet-status")).to_contain_text("Finished", timeout=60_000)
    return [*frames, panel.screenshot()]


def save_film(frames):
    """Write the pictures as one animated GIF that rests on its last picture."""
    pictures = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    size = max(picture.width for picture in pictures), max(picture.height for picture in pictures)
    canvases = [Image.new("RGB", size, "white") for _ in pictures]
    for canvas, picture in zip(canvases, pictures, strict=True):
        canvas.paste(picture)
    small = [canvas.quantize(64, dither=Image.Dither.NONE) for canvas in canvases]
    durations = [MILLISECONDS] * (len(small) - 1) + [4000]
    small[0].save(TARGET, save_all=True, append_images=small[1:], duration=durations, loop=0, optimize=True)


if __name__ == "__main__":
    main()
