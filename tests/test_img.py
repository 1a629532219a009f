"""The pictures in img/ and benchmarks/seeds.json tell what the net of the notebooks does."""

import itertools
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from lenet_helpers.curves import CURVES
from lenet_helpers.data import CLASSES
from lenet_helpers.shapes import walk_shapes

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("lenet", "learning_curves")
# The bands of the results over seeds, wide enough for another machine.
BANDS = {"loss": (0.44, 0.50), "train_acc": (0.81, 0.84), "test_acc": (0.70, 0.84)}


@pytest.fixture(scope="module")
def tools():
    """Return the modules ``lenet`` and ``draw_figures`` of tools/."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import draw_figures
        import lenet
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return lenet, draw_figures


@pytest.fixture(scope="module")
def seeds():
    return json.loads((ROOT / "benchmarks" / "seeds.json").read_text(encoding="utf-8"))


def read_svg(name):
    """Return the root element of a picture; fails if it is not well-formed XML."""
    return ElementTree.parse(ROOT / "img" / f"{name}.svg").getroot()


def read_texts(root):
    """Return the visible lines of text, in the order in which they are drawn."""
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("name", NAMES)
def test_the_pictures_can_be_shown_anywhere(name):
    root = read_svg(name)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    identified = {element.get("id"): element for element in root.iter() if element.get("id")}
    for label in root.get("aria-labelledby").split():
        assert len(identified[label].text) > 20
    assert [child.tag for child in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    panel = next(root.iter(f"{SVG}rect"))
    assert panel.get("class") == "panel", "a picture needs a background of its own on light and dark pages"
    content = (ROOT / "img" / f"{name}.svg").read_text(encoding="utf-8")
    assert "currentColor" not in content
    assert "<script" not in content
    assert [href for element in root.iter() if (href := element.get("href")) and not href.startswith("data:")] == []
    assert len(content) < 120_000


def test_the_data_flow_names_every_size_and_count(tools):
    lenet, _ = tools
    texts = read_texts(read_svg("lenet"))
    following = list(itertools.pairwise(texts))
    rows = walk_shapes(lenet.load_make_net()())
    assert rows[0].output_shape == (1, 1, 28, 28)
    assert ("image", "28×28") in following
    for row in rows[1:]:
        _, count, *sides = row.output_shape
        if sides:
            assert (f"{count} maps", f"{sides[0]}×{sides[1]}") in following
        else:
            assert any(str(count) in line.split() for line in texts), f"{count} is missing"
        if row.parameters:
            assert row.name in texts or f"Flatten, {row.name}" in texts
            assert (f"{row.parameters:,}", f"{row.multiply_adds:,}") in following
    assert f"{sum(row.parameters for row in rows):,}" in texts
    assert f"{sum(row.multiply_adds for row in rows):,}" in texts
    assert set(CLASSES) <= set(texts)


def test_the_data_flow_holds_one_picture_for_the_image_and_for_each_map_and_strip():
    assert len(list(read_svg("lenet").iter(f"{SVG}image"))) == 1 + 6 + 6 + 16 + 16 + 3


def test_drawing_twice_gives_the_same_bytes_and_marks_the_largest_score(tools):
    lenet, draw_figures = tools
    torch.manual_seed(0)
    net, image = lenet.load_make_net()(), torch.rand(1, 28, 28)
    with torch.no_grad():
        net[-1].bias[3] += 100
    first, second = (draw_figures.draw_lenet(net, image) for _ in range(2))
    assert first == second
    assert "The largest score is that of the class dress." in first
    marked = [
        element.text
        for element in ElementTree.fromstring(first).iter(f"{SVG}text")
        if element.get("class") == "bold" and element.text in CLASSES
    ]
    assert marked == ["dress"]


def test_the_curves_end_at_the_numbers_of_seed_0(seeds):
    root = read_svg("learning_curves")
    drawn = {line.get("data-name"): line for line in root.iter(f"{SVG}polyline")}
    run = seeds["runs"][0]
    for key, name, *_ in CURVES:
        assert float(drawn[name].get("data-last")) == pytest.approx(run[key], abs=2e-3)
        assert f"{float(drawn[name].get('data-last')):.3f}" in read_texts(root)
    assert len(drawn["test acc"].get("points").split()) == run["num_epochs"]


def test_five_seeds_lie_in_the_bands(seeds):
    assert seeds["command"] == "make seeds"
    assert set(seeds["machine"]) == {"cpu", "threads", "python", "torch"}
    assert [run["seed"] for run in seeds["runs"]] == [0, 1, 2, 3, 4]
    for run in seeds["runs"]:
        assert (run["lr"], run["batch_size"], run["num_epochs"]) == (0.9, 256, 10)
        for name, (low, high) in BANDS.items():
            assert low < run[name] < high, (run["seed"], name)


def test_the_small_learning_rate_learns_less(seeds):
    low_lr = seeds["low_lr"]
    assert (low_lr["seed"], low_lr["lr"]) == (0, 0.1)
    assert low_lr["epochs"][0]["loss"] == pytest.approx(2.303, abs=0.1)
    assert low_lr["loss"] > max(run["loss"] for run in seeds["runs"])


def test_every_epoch_of_every_run_is_stored(seeds):
    for run in [*seeds["runs"], seeds["low_lr"]]:
        assert [row["epoch"] for row in run["epochs"]] == list(range(1, run["num_epochs"] + 1))
        assert {name: run["epochs"][-1][name] for name in BANDS} == {name: run[name] for name in BANDS}


def test_training_again_gives_the_stored_first_epoch(tools, seeds):
    lenet, _ = tools
    _, history = lenet.train_lenet(seed=0, num_epochs=1)
    stored = seeds["runs"][0]["epochs"][0]
    assert history[-1] == pytest.approx(stored, abs=1e-3)
