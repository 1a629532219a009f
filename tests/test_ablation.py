"""The table of notebook 07: the engine (resume, interrupt, statistics) and the committed results."""

import importlib.util
import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from dask.distributed import LocalCluster

from lenet_helpers.checks import BUDGET
from lenet_helpers.figures import show_ablation
from lenet_helpers.recipes import RECIPES, RESULTS, describe_recipe, load_ablation
from lenet_helpers.sweep import Task, train_task

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "ablation.py"


@pytest.fixture(scope="module")
def address():
    """A cluster for all tests of this file, which saves them the start of processes."""
    loopback = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, threads_per_worker=1, silence_logs="ERROR", **loopback) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def ablation(monkeypatch):
    """The script as a module, with two quick rows."""
    spec = importlib.util.spec_from_file_location("ablation", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    quick = {name: replace(RECIPES[name], num_epochs=1) for name in ("softmax", "mlp")}
    monkeypatch.setattr(module, "RECIPES", quick)
    return module


@pytest.fixture
def run(ablation, address, tmp_path, capsys):
    """Run the script with options; return its exit status, the results and what it printed."""
    target = tmp_path / "results.json"

    def call(*options):
        status = ablation.main(["--target", str(target), "--address", address, *options])
        return status, json.loads(target.read_text()) if target.exists() else None, capsys.readouterr().out

    return call


def test_trains_what_is_asked_for(run):
    status, results, printed = run("--rows", "mlp", "--seeds", "0", "7")
    assert status == 0
    (row,) = results["rows"]
    assert (row["name"], row["parameters"], row["num_epochs"]) == ("mlp", 62_020, 1)
    assert [record["seed"] for record in row["seeds"]] == [0, 7]
    assert "name mlp, seed 0: test 0." in printed and "name mlp, seed 7: test 0." in printed
    for measure in ("test_acc", "validation_acc", "loss", "cpu_seconds"):
        values = [record[measure] for record in row["seeds"]]
        assert row["mean"][measure] == pytest.approx(statistics.mean(values), abs=1e-5)
        assert row["std"][measure] == pytest.approx(statistics.stdev(values), abs=1e-5)
    assert {"command", "machine", "validation_images", "references"} <= results.keys()


def test_second_call_trains_only_what_is_missing(run):
    _, first, _ = run("--rows", "softmax", "--seeds", "0")
    _, again, printed = run("--rows", "softmax", "--seeds", "0")
    assert again == first and "seed 0" not in printed
    _, more, printed = run("--rows", "softmax", "--seeds", "0", "1")
    assert more["rows"][0]["seeds"][0] == first["rows"][0]["seeds"][0]
    assert "seed 1" in printed and "seed 0" not in printed


def test_interrupt_keeps_finished_runs(run, ablation, monkeypatch):
    write = ablation.write_results

    def interrupted(path, recipe, record):
        if path.exists():
            raise KeyboardInterrupt
        write(path, recipe, record)

    monkeypatch.setattr(ablation, "write_results", interrupted)
    status, results, printed = run("--rows", "softmax", "--seeds", "0", "1", "2")
    assert status == 130 and "the same command goes on" in printed
    assert [record["seed"] for record in results["rows"][0]["seeds"]] == [0]
    monkeypatch.setattr(ablation, "write_results", write)
    status, results, _ = run("--rows", "softmax", "--seeds", "0", "1", "2")
    assert status == 0 and [record["seed"] for record in results["rows"][0]["seeds"]] == [0, 1, 2]


def test_changed_settings_are_trained_anew(run, ablation):
    _, first, _ = run("--rows", "softmax", "--seeds", "0")
    ablation.RECIPES["softmax"] = replace(ablation.RECIPES["softmax"], title="another title")
    _, retitled, printed = run("--rows", "softmax", "--seeds", "0")
    assert "seed 0" not in printed and retitled["rows"][0]["title"] == "another title"
    ablation.RECIPES["softmax"] = replace(ablation.RECIPES["softmax"], lr=0.01)
    _, changed, printed = run("--rows", "softmax", "--seeds", "0")
    assert "seed 0" in printed
    assert changed["rows"][0]["lr"] == 0.01
    assert changed["rows"][0]["seeds"][0]["loss"] > first["rows"][0]["seeds"][0]["loss"]


def test_failed_run_is_reported_and_the_others_are_stored(run, ablation):
    ablation.RECIPES["mlp"] = replace(ablation.RECIPES["mlp"], lr=1e30)
    status, results, printed = run("--seeds", "0")
    assert status == 1 and "name mlp, seed 0: failed, the loss is" in printed and "1 of 2 runs failed" in printed
    assert [row["name"] for row in results["rows"]] == ["softmax"]


def test_unknown_row_is_refused_with_the_known_ones(run, capsys):
    with pytest.raises(SystemExit):
        run("--rows", "resnet")
    assert "softmax" in capsys.readouterr().err


@pytest.fixture(scope="module")
def results():
    return load_ablation()


def test_table_is_complete_and_belongs_to_the_recipes(results):
    assert [row["name"] for row in results["rows"]] == list(RECIPES)
    for row in results["rows"]:
        assert [record["seed"] for record in row["seeds"]] == [0, 1, 2, 3, 4]
        assert describe_recipe(RECIPES[row["name"]]).items() <= row.items()
        assert row["parameters"] <= BUDGET
        assert all(len(record["epochs"]) == row["num_epochs"] for record in row["seeds"])


def test_what_the_rows_reach(results):
    accuracy = {row["name"]: row["mean"]["test_acc"] for row in results["rows"]}
    assert 0.76 <= accuracy["original"] <= 0.83
    assert accuracy["modern"] > 0.91
    assert accuracy["mirrored"] >= 0.912  # the modern LeNet with all changes
    assert accuracy["wide"] > 0.919
    assert accuracy["record"] >= 0.93


def test_references_name_their_source(results):
    assert {reference["accuracy"] for reference in results["references"]} >= {0.835, 0.925, 0.934}
    assert all(reference["source"].startswith("https://") for reference in results["references"])


def test_picture_shows_every_row_and_reference(results):
    picture = show_ablation(results["rows"], results["references"])
    labels = [label.get_text() for label in picture.axes[0].get_yticklabels()]
    assert labels == [row["title"] for row in results["rows"]]
    written = [text.get_text() for text in picture.legends[0].get_texts()]
    assert len(written) == len(results["references"]) and any("0.835" in text for text in written)
    assert picture._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["softmax", "flips"])
def test_row_can_be_made_again(results, name):
    """Trains in full: softmax regression in a few seconds, the modern LeNet with flips in about a minute."""
    row = next(row for row in results["rows"] if row["name"] == name)
    record = train_task(Task(RECIPES[name]))
    seeds = [record["test_acc"] for record in row["seeds"]]
    assert min(seeds) - 0.01 < record["test_acc"] < max(seeds) + 0.01
    assert record["loss"] == pytest.approx(row["mean"]["loss"], abs=0.01)


def test_results_lie_where_the_notebook_looks():
    assert SCRIPT.with_name("ablation.json").samefile(RESULTS)
