"""The sweep: on processes of its own and on a cluster, with workers that die, runs that fail, and interrupts."""

import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from dask.distributed import Client
from torch import nn

from lenet_helpers import sweep as module
from lenet_helpers.recipes import RECIPES, load_split
from lenet_helpers.sweep import (
    Task,
    connect,
    describe_task,
    format_records,
    grid,
    load_records,
    run_tasks,
    show_records,
    sweep,
    train_task,
)

LOOPBACK = ("--host", "127.0.0.1", "--no-dashboard")
QUICK = replace(RECIPES["mlp"], num_epochs=1)  # no convolutions: what is tested here is where and when it runs
TASKS = [Task(replace(QUICK, lr=lr), seed, 512, {"lr": lr}) for seed in range(2) for lr in (0.05, 0.2)]
DIVERGING = grid(lr=[1e12], activation=["relu"], num_epochs=1, num_images=512)[0]


def plain(record):
    """Return what must not depend on where and when a run was trained."""
    return {name: value for name, value in record.items() if name not in ("seconds", "cpu_seconds")}


def assert_same(records, expected):
    assert [plain(record) for record in records] == [plain(record) for record in expected]


def wait_for(condition, what):
    for _ in range(6000):
        if found := condition():
            return found
        time.sleep(0.1)
    pytest.fail(f"waited ten minutes for {what}")


@pytest.fixture(scope="module")
def serial():
    """The records of the tasks, trained one after the other in this process."""
    return [train_task(task) for task in TASKS]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with two workers: three processes that know of each other by address alone."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"

    def start(name, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", "--scheduler-file", str(file), *options]
        with (folder / "log.txt").open("a") as log:
            return subprocess.Popen([*command, *LOOPBACK], cwd=folder, stdout=log, stderr=log)

    started = [start("scheduler", "--port", "0")]
    try:
        wait_for(lambda: file.exists() and file.read_text(), "the scheduler")
        started += [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
        yield json.loads(file.read_text())["address"]
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


@pytest.fixture
def run(cluster, tmp_path, capsys):
    """Sweep over tasks on the cluster, with a file; return the records and the lines printed."""

    def call(tasks):
        records = sweep(tasks, tmp_path / "records.jsonl", address=cluster)
        return records, capsys.readouterr().out.splitlines()

    return call


def test_own_processes_give_the_serial_numbers_and_end(serial, capfd, monkeypatch):
    monkeypatch.delenv("LENET_DASK", raising=False)
    before = set(psutil.Process().children(recursive=True))
    assert_same(sweep(TASKS, workers=2), serial)
    shown, errors = capfd.readouterr()
    assert len(shown.splitlines()) == len(TASKS) and not errors
    left = set(psutil.Process().children(recursive=True)) - before
    # Python keeps one helper of its module multiprocessing until it ends itself
    assert not [child for child in left if "resource_tracker" not in " ".join(child.cmdline())]


def test_own_cluster_listens_to_this_machine_alone(monkeypatch):
    monkeypatch.delenv("LENET_DASK", raising=False)
    with connect(workers=1) as client:
        processes = [psutil.Process(), *map(psutil.Process, client.run(os.getpid).values())]
        places = [c.laddr.ip for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert len(places) > 1 and set(places) == {"127.0.0.1"}


def test_killed_worker_costs_no_record(cluster, serial):
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=600)
        processes = client.run(os.getpid)
        records = {}
        for number, record in run_tasks(TASKS, cluster):
            if not records:
                victim = wait_for(lambda: [w for w, keys in client.processing().items() if keys], "a busy worker")[0]
                os.kill(processes[victim], signal.SIGKILL)
            records[number] = record
        assert victim not in client.nthreads()
    assert_same([records[number] for number in range(len(TASKS))], serial)


def test_address_may_come_from_the_environment(cluster, serial, monkeypatch):
    monkeypatch.setenv("LENET_DASK", cluster)
    monkeypatch.setattr("dask.distributed.LocalCluster", lambda **options: pytest.fail("a cluster was made here"))
    assert_same(sweep(TASKS[:1]), serial[:1])


def test_two_runs_in_one_process_do_not_mix_their_random_numbers(serial):
    """A worker of somebody's cluster may have several threads."""
    with ThreadPoolExecutor(2) as pool:
        assert_same(pool.map(train_task, TASKS[:2]), serial[:2])


def test_threads_are_one_in_training_and_afterwards_as_before(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "_train", lambda task: seen.append(torch.get_num_threads()) or {})
    torch.set_num_threads(2)
    try:
        train_task(TASKS[0])
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_any_recipe_trains_on_the_split_with_a_row_for_each_epoch():
    recipe = replace(RECIPES["softmax"], num_epochs=3)
    record = train_task(Task(recipe, seed=1))
    assert (record["name"], record["labels"], record["seed"]) == ("softmax", ["name"], 1)
    assert [row["epoch"] for row in record["epochs"]] == [1, 2, 3]
    assert record["epochs"][-1]["validation_acc"] == record["validation_acc"] > 0.75
    assert record["test_acc"] > 0.75 and record["machine"]["torch"] == torch.__version__
    correct = record["train_acc"] * 55_000
    assert correct == pytest.approx(round(correct), abs=0.03), "all but the validation images were trained on"
    assert json.loads(json.dumps(record)) == record


def test_test_images_are_read_once_and_after_the_training(monkeypatch):
    read = []

    class Watched:
        def __init__(self, name, loader):
            self.name, self.loader, self.dataset = name, loader, loader.dataset

        def __len__(self):
            return len(self.loader)

        def __iter__(self):
            read.append(self.name)
            return iter(self.loader)

    names = ("train", "validation", "test")
    monkeypatch.setattr(module, "load_split", lambda: map(Watched, names, load_split()))
    train_task(Task(replace(RECIPES["softmax"], num_epochs=2)))
    assert read == ["train", "validation", "train", "validation", "test"]


def test_worker_without_data_is_reported_with_the_cure_and_tried_again(tmp_path, monkeypatch, serial):
    records = tmp_path / "records.jsonl"
    with monkeypatch.context() as place:
        place.setenv("LENET_DATA", str(tmp_path / "nowhere"))
        failed = sweep(TASKS[:1], records, workers=1)[0]
    assert "nowhere" in failed["error"] and "unset LENET_DATA" in failed["error"]
    assert load_records(records) == []
    assert_same(sweep(TASKS[:1], records, workers=1), serial[:1])


def test_diverging_run_is_reported_and_the_others_go_on(run, serial):
    records, shown = run([DIVERGING, TASKS[0]])
    assert records[0]["error"].startswith(("the loss is nan", "the loss is inf")) and records[0]["test_acc"] is None
    assert_same(records[1:], serial[:1])
    assert sum("lr 1e+12, seed 0: failed, the loss is" in line for line in shown) == 1
    again, shown = run([DIVERGING, TASKS[0]])
    assert again == records and not shown, "the same settings would fail again"
    assert "failed, the loss is" in format_records(records)


def test_run_that_breaks_is_reported_not_stored_and_tried_again(run, tmp_path):
    broken = Task(replace(RECIPES["softmax"], name="broken", make_net=lambda: nn.Linear(5, 10)), num_images=512)
    good = Task(replace(RECIPES["softmax"], num_epochs=1), num_images=512)
    records, shown = run([broken, good])
    assert "RuntimeError: mat1 and mat2 shapes" in records[0]["error"] and records[1]["test_acc"] > 0.1
    assert len(shown) == 2 and load_records(tmp_path / "records.jsonl") == records[1:]
    again, shown = run([broken, good])
    assert len(shown) == 1 and again[1] == records[1]


def test_next_call_trains_what_is_missing_or_has_changed(run, serial):
    first, shown = run(TASKS[:2])
    assert len(shown) == 2
    more, shown = run(TASKS)
    assert more[:2] == first and len(shown) == 2 and all("seed 1" in line for line in shown)
    assert_same(more, serial)
    retitled = replace(TASKS[0], recipe=replace(TASKS[0].recipe, title="another title"))
    assert run([retitled]) == ([first[0] | {"title": "another title"}], [])
    for changed in (
        replace(TASKS[0], num_images=256),
        replace(TASKS[0], recipe=replace(TASKS[0].recipe, momentum=0.5)),
    ):
        (record,), shown = run([changed])
        assert len(shown) == 1 and record["loss"] != first[0]["loss"]


def test_nets_of_the_same_name_and_size_are_told_apart():
    average, maximum = grid(lr=[0.1], pooling=["average", "max"])
    assert describe_task(average)["parameters"] == describe_task(maximum)["parameters"]
    plain = [describe_task(Task(task.recipe)) for task in (average, maximum)]
    assert module.identify(plain[0]) != module.identify(plain[1])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_sweep_goes_on_and_leaves_no_process(how, run, serial, tmp_path):
    script = tmp_path / "sweeping.py"
    script.write_text(
        textwrap.dedent("""
            import pickle
            import signal
            import sys
            from lenet_helpers.sweep import sweep
            if __name__ == "__main__":
                signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
                sweep(pickle.loads(bytes.fromhex(sys.argv[1])), sys.argv[2], workers=1)
        """)
    )
    path = tmp_path / "records.jsonl"
    environment = {name: value for name, value in os.environ.items() if name != "LENET_DASK"}
    endless = Task(replace(QUICK, num_epochs=1_000_000), num_images=512)  # the interrupt comes in the middle of it
    tasks = pickle.dumps([TASKS[0], endless]).hex()
    command = [sys.executable, script, tasks, path]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(path.exists, "the first record")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(how)
        errors = process.communicate(timeout=600)[1]
    finally:
        process.kill()
    assert children and not psutil.wait_procs(children, timeout=600)[1]
    assert process.returncode != 0 and (how == signal.SIGKILL or "KeyboardInterrupt" in errors)
    kept = load_records(path)
    records, shown = run(TASKS[:2])
    assert kept == records[:1] and len(shown) == 1
    assert_same(records, serial[:2])


@pytest.mark.parametrize("variable", [True, False])
def test_silent_address_is_refused(variable, monkeypatch):
    if variable:
        monkeypatch.setenv("LENET_DASK", "tcp://127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 .*unset LENET_DASK"):
        sweep(TASKS, address=None if variable else "tcp://127.0.0.1:1")


@pytest.mark.parametrize("address", ["scheduler", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://:8786"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match=r"an? .*address looks like tcp://127\.0\.0\.1:8786; it is '" + address):
        sweep(TASKS, address=address)


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"lr": 0.1}, TypeError, r"lr must be a list of values to try, for example \[0\.1\]"),
        ({"activation": "relu"}, TypeError, r"activation must be a list of values to try, for example \['relu'\]"),
        ({"activation": ["swish"]}, ValueError, "activation must be one of sigmoid, tanh, relu; it is 'swish'"),
        ({"pooling": ["min"]}, ValueError, "pooling must be one of average, max; it is 'min'"),
        ({"lr": [-1]}, ValueError, "lr, the learning rate, must be positive"),
        ({"lr": [math.nan]}, ValueError, "lr, the learning rate, must be positive and finite"),
        ({"lr": ["fast"]}, TypeError, "lr, the learning rate, must be a number"),
        ({"num_epochs": 0}, ValueError, "num_epochs must be at least 1"),
        ({"seed": [0.5]}, TypeError, "seed must be a whole number"),
        ({"seed": [-1]}, ValueError, "seed must be from 0 to .*; it is -1"),
        ({"num_images": 0}, ValueError, "num_images must be from 1 to 55,000; it is 0"),
        ({"num_images": 60_000}, ValueError, "num_images must be from 1 to 55,000; it is 60000"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(settings, error, message):
    with pytest.raises(error, match=message):
        grid(**settings)


def test_what_is_no_list_of_tasks_is_refused(tmp_path):
    for tasks in ([], [RECIPES["relu"]]):
        with pytest.raises(TypeError, match="tasks must be a list of at least one Task"):
            sweep(tasks)
    with pytest.raises(TypeError, match="a task needs a Recipe"):
        Task("relu")
    with pytest.raises(ValueError, match="workers must be from 1"):
        sweep(TASKS, workers=0)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to store the records in"):
        sweep(TASKS, tmp_path / "nowhere" / "records.jsonl")


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"lr": 0.1}'])
def test_file_of_something_else_is_refused_and_kept(line, tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=r"line 1 of .*records\.jsonl is no record of a sweep"):
        sweep(TASKS, path)
    assert path.read_text() == line + "\n"


def test_numpy_values_are_the_same_settings():
    (ours,) = grid(lr=[0.1], seed=[3], num_images=512)
    (numpys,) = grid(lr=np.array([0.1]), seed=np.array([3]), num_images=np.int64(512))
    assert json.dumps(describe_task(ours)) == json.dumps(describe_task(numpys))


def test_grid_has_every_combination_and_the_seeds_last():
    tasks = grid(lr=(0.1, 0.9), activation=("sigmoid", "relu"), pooling=("average", "max"), seed=range(3))
    settings = [describe_task(task) for task in tasks]
    assert len({(s["lr"], s["activation"], s["pooling"], s["seed"]) for s in settings}) == len(tasks) == 24
    assert [s["seed"] for s in settings] == [0] * 8 + [1] * 8 + [2] * 8
    nets = {(s["activation"], s["pooling"]): s["net"] for s in settings}
    assert "ReLU" in nets["relu", "max"] and "MaxPool2d" in nets["relu", "max"]
    assert "Sigmoid" in nets["sigmoid", "average"] and "AvgPool2d" in nets["sigmoid", "average"]


def make_records():
    """Return records as a sweep has them half-way, with accuracies that can be recognised."""
    records = [describe_task(task) for task in grid([0.1, 0.9], ["sigmoid", "relu"], seed=range(2))]
    for index, record in enumerate(records[:6]):
        accuracy = (index + 1) / 10
        record |= {"loss": 1.5, "train_acc": 0.5, "validation_acc": 0.6, "test_acc": accuracy, "epochs": [{}]}
        records[index] = record
    records[3] |= module.fail("the loss is nan")
    return records


def test_table_has_a_line_for_each_setting_with_means_over_the_seeds():
    *lines, failure = format_records(make_records()).splitlines()
    assert [re.sub(" +", " ", line.strip()) for line in lines] == [
        "activation lr runs loss train acc validation acc test acc",
        "sigmoid 0.1 2/2 1.500 0.500 0.600 0.300",
        "sigmoid 0.9 2/2 1.500 0.500 0.600 0.400",
        "relu 0.1 1/2 1.500 0.500 0.600 0.300",
        "relu 0.9 1/2 – – – –",
    ]
    assert failure == "activation relu, pooling average, lr 0.9, seed 0: failed, the loss is nan"


def test_heat_map_has_the_means_and_empty_cells():
    (axes, bar) = show_records(make_records()).axes
    values = axes.get_images()[0].get_array().filled(np.nan)
    np.testing.assert_allclose(values, [[0.3, 0.4], [0.3, np.nan]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "0.9"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sigmoid", "relu"]
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("lr", "activation", "mean test acc")
    (axes, _) = show_records(make_records(), x="lr", y="seed", measure="validation_acc").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]
    np.testing.assert_allclose(axes.get_images()[0].get_array().filled(np.nan), np.full((2, 2), 0.6))
    assert len(show_records([describe_task(TASKS[0])]).axes) == 2, "a single run that has not begun"


def test_notebook_shows_one_table_and_one_heat_map_that_are_updated(monkeypatch, cluster):
    shown = []

    class Handle:
        def __init__(self, bundle):
            self.bundles = [bundle]
            shown.append(self)

        def update(self, bundle, raw):
            self.bundles.append(bundle)

    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw, display_id: Handle(bundle))
    records = sweep([DIVERGING, TASKS[0]], address=cluster)
    table, picture = shown
    assert "0/1" in table.bundles[0]["text/plain"]
    assert table.bundles[-1]["text/plain"] == format_records(records)
    assert picture.bundles[-1].keys() == {"image/png", "text/plain"}
    assert picture.bundles[0] != picture.bundles[-1]
