"""The sweep: on processes of its own and on a cluster, with workers that die, runs that fail, and interrupts."""

import base64
import contextlib
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
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from dask.distributed import Client, Security, rpc
from torch import nn

from lenet_helpers import sweep as module
from lenet_helpers import train_ch6
from lenet_helpers.data import FashionMNIST, batch_loader
from lenet_helpers.recipes import RECIPES, load_split
from lenet_helpers.sweep import (
    Task,
    connect,
    describe_task,
    format_records,
    format_run,
    grid,
    load_records,
    run_tasks,
    show_records,
    store_record,
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


def test_own_processes_give_the_serial_numbers_and_end(serial, capfd):
    before = set(psutil.Process().children(recursive=True))
    assert_same(sweep(TASKS, workers=2), serial)
    shown, errors = capfd.readouterr()
    assert len(shown.splitlines()) == len(TASKS) and not errors
    left = []
    for child in set(psutil.Process().children(recursive=True)) - before:
        with contextlib.suppress(psutil.NoSuchProcess):  # one of a browser's own, which come and go
            left.append(" ".join(child.cmdline()))
    # Python keeps one helper of its module multiprocessing until it ends itself
    assert not [command for command in left if "python" in command and "resource_tracker" not in command]


def test_own_cluster_listens_to_this_machine_alone_and_to_no_stranger_on_it():
    with connect(workers=1) as client:
        processes = [psutil.Process(), *map(psutil.Process, client.run(os.getpid).values())]
        places = [c.laddr.ip for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
        assert len(places) > 1 and set(places) == {"127.0.0.1"}
        ((worker, about),) = client.scheduler_info()["workers"].items()
        for address in (client.scheduler.address, worker, about["nanny"]):
            assert client.sync(call, address, client.security)
            for place, credentials in ((address, Security.temporary()), (address.replace("tls", "tcp"), Security())):
                with pytest.raises(OSError):
                    client.sync(call, place, credentials)


async def call(address, security):
    """Ask a scheduler or worker who it is, with the credentials of ``security``."""
    async with rpc(address, connection_args=security.get_connection_args("client"), timeout=20) as there:
        return await there.identity()


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


def test_a_task_is_trained_as_train_ch6_does():
    train_iter, validation_iter, _ = load_split()
    first = FashionMNIST(train_iter.dataset.images[:512], train_iter.dataset.labels[:512])
    torch.manual_seed(1)
    net = QUICK.make_net()
    row = train_ch6(net, batch_loader(first, 256, shuffle=True), validation_iter, 1, 0.2, torch.device("cpu"))[-1]
    row["validation_acc"] = row.pop("test_acc")
    assert train_task(TASKS[3])["epochs"] == [pytest.approx(row, abs=1e-6)]


def test_a_record_has_the_seconds_of_the_training(monkeypatch):
    walls, processors = iter([10, 12.34]), iter([1, 5.67])
    clock = SimpleNamespace(perf_counter=lambda: next(walls), process_time=lambda: next(processors))
    monkeypatch.setattr(module, "time", clock)
    record = train_task(TASKS[0])
    assert (record["seconds"], record["cpu_seconds"]) == (2.3, 4.7)
    for measure in ("loss", "train_acc", "validation_acc", "test_acc"):
        assert record[measure] == round(record[measure], 6) > 0


def test_a_record_is_in_english_whatever_the_language_of_the_worker(monkeypatch):
    monkeypatch.setenv("LENET_LANGUAGE", "zh")
    assert re.match("the loss is (nan|inf) at epoch", train_task(DIVERGING)["error"])


def test_a_diverged_run_has_a_record_without_measures():
    record = train_task(DIVERGING)
    assert record == describe_task(DIVERGING) | {
        "machine": record["machine"],
        "error": record["error"],
        "epochs": [],
        **dict.fromkeys(["loss", "train_acc", "validation_acc", "test_acc", "seconds", "cpu_seconds"]),
    }


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


class Future:
    """What a cluster answers, as far as a sweep asks."""

    def __init__(self, status, value=None):
        self.status, self.result, self.exception = status, lambda: value, lambda: value


@pytest.fixture
def answers(monkeypatch):
    """A stand-in for the cluster, which gives ``futures`` in the order of their tasks; ``asked`` is what came in."""
    cluster = SimpleNamespace(futures=[], asked=[])

    @contextlib.contextmanager
    def connect(*arguments):
        cluster.asked.append(arguments)
        yield cluster

    def submit(*arguments, **options):
        cluster.asked.append((arguments, options))
        return cluster.futures[len(cluster.asked) - 2]

    cluster.submit = submit
    monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr("dask.system.CPU_COUNT", 3)
    monkeypatch.setattr("dask.distributed.as_completed", reversed)
    return cluster


def test_every_end_of_a_task_on_the_cluster_gives_a_record(answers):
    record = {"test_acc": 0.5}
    answers.futures = [Future("finished", record), Future("error", KeyError("lr")), Future("lost")]
    failed = dict.fromkeys(module.MEASURES) | {"epochs": []}
    assert list(run_tasks(TASKS[:3], "tcp://there:1")) == [
        (2, describe_task(TASKS[2]) | failed | {"error": "ConnectionError: the cluster is gone"}),
        (1, describe_task(TASKS[1]) | failed | {"error": "KeyError: 'lr'"}),
        (0, record),
    ]
    assert answers.asked == [("tcp://there:1", 3), *(((train_task, task), {"pure": False}) for task in TASKS[:3])]


@pytest.mark.parametrize(
    ("num_tasks", "workers", "expected"), [(4, None, 3), (2, None, 2), (4, 1, 1), (4, 4, 4), (2, 10_000, 2)]
)
def test_there_are_as_many_workers_as_cores_and_no_more_than_tasks(num_tasks, workers, expected, answers):
    answers.futures = [Future("finished") for _ in range(num_tasks)]
    assert len(list(run_tasks(TASKS[:num_tasks], workers=workers))) == num_tasks
    assert answers.asked[0] == (None, expected)


def test_without_a_task_no_cluster_is_asked_for(answers):
    assert list(run_tasks([], workers=0)) == [] and answers.asked == []


@pytest.fixture
def trained(monkeypatch):
    """A list of what a sweep asks for, in a place where each run takes no time; the last task is done first."""
    asked = []

    def run_tasks(tasks, address, workers):
        asked.append((tasks, address, workers))
        try:
            for number in reversed(range(len(tasks))):
                measures = dict.fromkeys(module.MEASURES, number / 4) | {"epochs": [{}], "machine": {}}
                yield number, describe_task(tasks[number]) | measures
        finally:
            asked.append("closed")

    monkeypatch.setattr(module, "run_tasks", run_tasks)
    return asked


def test_records_come_in_the_order_of_the_tasks_and_lines_in_that_of_the_runs(trained, capsys):
    records = sweep(iter(TASKS[:2]), address="tcp://there:1", workers=5)
    assert trained == [(TASKS[:2], "tcp://there:1", 5), "closed"]
    assert [(record["lr"], record["test_acc"]) for record in records] == [(0.05, 0), (0.2, 0.25)]
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] lr 0.2, seed 0: test 0.2500, validation 0.2500, 0 s",
        "[2/2] lr 0.05, seed 0: test 0.0000, validation 0.0000, 0 s",
    ]


def test_a_sweep_need_not_show_anything_nor_name_a_place(trained, capsys):
    assert len(sweep(TASKS[:2], show=False)) == 2
    assert trained[0] == (TASKS[:2], None, None) and capsys.readouterr().out == ""


def test_an_interrupt_ends_the_runs_and_keeps_what_is_done(trained, tmp_path, monkeypatch, capsys):
    def interrupt(path, record):
        store_record(path, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as place:
        place.setattr(module, "store_record", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sweep(TASKS, tmp_path / "records.jsonl")
    assert trained[-1] == "closed"
    stored = load_records(tmp_path / "records.jsonl")
    records = sweep(TASKS, tmp_path / "records.jsonl")
    assert len(stored) == 1 and records[-1] == stored[0] and trained[2][0] == TASKS[:3]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["[1/3]", "[2/3]", "[3/3]"]
    assert load_records(tmp_path / "records.jsonl") == [stored[0], *records[2::-1]]


def test_sweeps_may_share_a_file_and_leave_nothing_else(tmp_path):
    path = tmp_path / "records.jsonl"
    records = [describe_task(replace(TASKS[0], seed=seed)) | {"epochs": [], "title": "größer"} for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store_record, [str(path)] * len(records), records))
    assert sorted(load_records(str(path)), key=lambda record: record["seed"]) == records
    assert {place.name for place in tmp_path.iterdir()} <= {path.name, f".{path.name}.lock"}


@pytest.mark.parametrize("edit", [str.rstrip, lambda text: f"\n{text}\n\n", lambda text: text.replace("\n", "\r\n")])
def test_what_an_editor_does_to_the_ends_of_lines_harms_no_record(edit, tmp_path):
    path = tmp_path / "records.jsonl"
    first, second = (describe_task(task) | {"epochs": []} for task in TASKS[:2])
    path.write_bytes(edit(json.dumps(first) + "\n").encode())
    store_record(path, second)
    assert load_records(path) == [first, second]


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


def test_a_task_is_described_by_plain_values():
    assert describe_task(Task(RECIPES["softmax"], 3, 512)) == {
        "name": "softmax",
        "title": "softmax regression",
        "num_epochs": 10,
        "lr": 0.1,
        "momentum": 0,
        "weight_decay": 0,
        "schedule": "constant",
        "augment": [],
        "bfloat16": False,
        "parameters": 7850,
        "net": repr(RECIPES["softmax"].make_net()),
        "labels": ["name"],
        "seed": 3,
        "num_images": 512,
    }
    labelled = describe_task(Task(RECIPES["softmax"], labels={"width": 5, "lr": 0.1}))
    assert (labelled["labels"], labelled["width"]) == (["width", "lr"], 5)
    assert (labelled["seed"], labelled["num_images"]) == (0, None)


def test_a_record_and_its_task_are_the_same_settings(serial):
    settings = describe_task(TASKS[0])
    assert module.identify(serial[0]) == module.identify(settings) == module.identify(dict(reversed(settings.items())))
    for name in ("loss", "train_acc", "validation_acc", "test_acc", "seconds", "cpu_seconds", "epochs", "machine"):
        assert module.identify(serial[0] | {name: 5}) == module.identify(settings)
    for name in ("error", "title", "labels"):
        assert module.identify(settings | {name: "new"}) == module.identify(settings)
    for name in settings.keys() - {"title", "labels"}:
        assert module.identify(settings | {name: "new"}) != module.identify(settings)


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
        wait_for(lambda: path.exists() or process.poll() is not None, "the first record")
        assert path.exists(), process.communicate()[1]
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
        ({"lr": 0.1}, TypeError, "lr must be a list of values to try, for example [0.1]; it is 0.1"),
        (
            {"activation": "relu"},
            TypeError,
            "activation must be a list of values to try, for example ['relu']; it is 'relu'",
        ),
        ({"pooling": "max"}, TypeError, "pooling must be a list of values to try, for example ['max']; it is 'max'"),
        ({"seed": 3}, TypeError, "seed must be a list of values to try, for example [3]; it is 3"),
        ({"activation": ["swish"]}, ValueError, "activation must be one of sigmoid, tanh, relu; it is 'swish'"),
        ({"pooling": ["min"]}, ValueError, "pooling must be one of average, max; it is 'min'"),
        (
            {"lr": [-1]},
            ValueError,
            "lr, the learning rate, must be positive and finite, for example 0.9; it is -1",
        ),
        (
            {"lr": [math.nan]},
            ValueError,
            "lr, the learning rate, must be positive and finite, for example 0.9; it is nan",
        ),
        ({"lr": ["fast"]}, TypeError, "lr, the learning rate, must be a number, for example 0.9; it is 'fast'"),
        ({"num_epochs": 0}, ValueError, "num_epochs must be at least 1; it is 0"),
        ({"seed": [0.5]}, TypeError, "seed must be a whole number, for example 0; it is 0.5"),
        ({"seed": [True]}, TypeError, "seed must be a whole number, for example 0; it is True"),
        ({"seed": [-1]}, ValueError, "seed must be from 0 to 9,223,372,036,854,775,807; it is -1"),
        ({"seed": [2**63]}, ValueError, f"seed must be from 0 to 9,223,372,036,854,775,807; it is {2**63}"),
        ({"num_images": 0}, ValueError, "num_images must be from 1 to 55,000; it is 0"),
        ({"num_images": 55_001}, ValueError, "num_images must be from 1 to 55,000; it is 55001"),
        ({"num_images": 0.5}, TypeError, "num_images must be a whole number, for example 1; it is 0.5"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(settings, error, message):
    with pytest.raises(error) as refused:
        grid(**settings)
    assert str(refused.value) == message


@pytest.mark.parametrize("settings", [{"seed": [0, 2**63 - 1]}, {"num_images": 1}, {"num_images": 55_000}])
def test_settings_at_the_limits_are_accepted(settings):
    assert len(grid(lr=[0.1], **settings)) == len(settings.get("seed", [0]))


def test_what_is_no_list_of_tasks_is_refused(tmp_path):
    for tasks in ([], [RECIPES["relu"]]):
        with pytest.raises(
            TypeError,
            match=r"^tasks must be a list of at least one Task: make it with grid\(\), or with Task\(rec.*\)$",
        ):
            sweep(tasks)
    with pytest.raises(TypeError, match=r"^a task needs a Recipe, for example RECIPES\['modern'\]; it is 'relu'$"):
        Task("relu")
    with pytest.raises(ValueError, match=r"^workers must be from 1 to 10,000; it is 0$"):
        sweep(TASKS, workers=0)
    with pytest.raises(ValueError, match=r"^workers must be from 1 to 10,000; it is 10001$"):
        sweep(TASKS, workers=10_001)
    with pytest.raises(TypeError, match=r"^workers must be a whole number, for example 1; it is 'all'$"):
        sweep(TASKS, workers="all")
    with pytest.raises(
        FileNotFoundError, match=r"^there is no folder .*nowhere to store the records in: make it first$"
    ):
        sweep(TASKS, tmp_path / "nowhere" / "records.jsonl")


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b'{"lr": 0.1}', b"\xe9", b"\x89PNG\0"])
def test_file_of_something_else_is_refused_and_kept(line, tmp_path):
    path = tmp_path / "records.jsonl"
    text = json.dumps(describe_task(TASKS[0]) | {"epochs": []}).encode() + b"\n" + line + b"\n"
    path.write_bytes(text)
    message = r"^line 2 of .*records\.jsonl is no record of a sweep: delete the line or the file$"
    with pytest.raises(ValueError, match=message):
        sweep(TASKS, path)
    assert path.read_bytes() == text


def test_numpy_values_are_the_same_settings():
    (ours,) = grid(lr=[0.1], seed=[3], num_images=512)
    (numpys,) = grid(lr=np.array([0.1]), seed=np.array([3]), num_images=np.int64(512))
    assert json.dumps(describe_task(ours)) == json.dumps(describe_task(numpys))


def test_a_grid_tries_two_learning_rates_with_the_lenet_of_the_course():
    for task, lr in zip(grid(), (0.1, 0.9), strict=True):
        assert (task.recipe.name, task.recipe.title) == ("lenet", f"LeNet, sigmoid, average pooling, lr {lr}")
        assert (task.recipe.num_epochs, task.recipe.lr, task.seed, task.num_images) == (2, lr, 0, None)
        assert list(task.labels.items()) == [("activation", "sigmoid"), ("pooling", "average"), ("lr", lr)]
        assert repr(task.recipe.make_net()) == repr(RECIPES["original"].make_net())
    (task,) = grid(lr=[0.5], seed=[3], num_epochs=4, num_images=256)
    assert (task.recipe.lr, task.seed, task.recipe.num_epochs, task.num_images) == (0.5, 3, 4, 256)


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


def test_a_run_is_told_in_a_line():
    record = {"labels": ["net", "lr", "width"], "net": "wide", "lr": 1e-7, "width": 100_000_000, "seed": 3}
    told = "net wide, lr 1e-07, width 100000000, seed 3"
    done = record | {"test_acc": 0.87654, "validation_acc": 0.5, "seconds": 12.6}
    assert format_run(done) == f"{told}: test 0.8765, validation 0.5000, 13 s"
    assert format_run(record | module.fail("no data")) == f"{told}: failed, no data"


def test_table_has_a_line_for_each_setting_with_means_over_the_seeds():
    *lines, failure = format_records(make_records()).splitlines()
    assert lines[:2] == [
        "activation   lr  runs   loss  train acc  validation acc  test acc",
        "   sigmoid  0.1   2/2  1.500      0.500           0.600     0.300",
    ]
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
    (axes, bar) = show_records(make_records(), x="activation", y=["seed", "lr"]).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["sigmoid", "relu"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0, 0.1", "0, 0.9", "1, 0.1", "1, 0.9"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("activation", "seed, lr")
    (axes, bar) = show_records(make_records(), x="lr", y="seed", measure="validation_acc").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]
    assert (axes.get_ylabel(), bar.get_ylabel()) == ("seed", "mean validation acc")
    np.testing.assert_allclose(axes.get_images()[0].get_array().filled(np.nan), np.full((2, 2), 0.6))
    task = Task(RECIPES["mlp"], labels={"cost $^{": "$x_{$"})  # matplotlib would read a formula, and a broken one
    axes, _ = (picture := show_records([describe_task(task)])).axes
    assert picture._repr_png_() and axes.get_xticklabels()[0].get_text() == "$x_{$"
    (axes, _) = show_records([describe_task(TASKS[0])]).axes  # a single run that has not begun
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "seed")


@pytest.fixture
def handles(shown, monkeypatch):
    """The handles of what a sweep shows in a notebook, in the order in which it came."""
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.display)
    return shown.handles


def test_notebook_shows_one_table_and_one_heat_map_that_are_updated(handles, cluster, capsys):
    records = sweep([DIVERGING, TASKS[0]], address=cluster)
    table, picture = handles
    assert table.options == picture.options == {"raw": True, "display_id": True}
    assert "0/1" in table.bundles[0]["text/plain"]
    assert table.bundles[-1] == {"text/plain": format_records(records)}
    assert picture.bundles[-1].keys() == {"image/png", "text/plain"}
    assert picture.bundles[-1]["text/plain"] == "heat map of the mean test accuracy"
    assert base64.b64decode(picture.bundles[-1]["image/png"]) == show_records(records)._repr_png_()
    assert picture.bundles[0] != picture.bundles[-1] and capsys.readouterr().out == ""


def test_notebook_ends_with_all_of_many_quick_runs(trained, handles, monkeypatch):
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: 5.0))
    records = sweep(TASKS[:3])
    table, _ = handles
    assert len(table.bundles) == 3 and table.bundles[-1] == {"text/plain": format_records(records)}


def test_notebook_draws_once_a_second_and_at_the_end(handles, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    view = module.View(make_records())
    drawn = []
    for clock.now, last in ((0, False), (0.5, False), (1, False), (1.99, False), (1.99, True), (2.99, False)):
        view.update({}, "", last)
        drawn.append([len(handle.bundles) - 1 for handle in handles])
    assert drawn == [[1, 1], [1, 1], [2, 2], [2, 2], [3, 3], [4, 4]]
