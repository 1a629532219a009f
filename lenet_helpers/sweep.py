"""Train many nets at once, as tasks on Dask: on this machine's cores, or on any cluster by its address."""

import base64
import contextlib
import itertools
import json
import math
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from pathlib import Path
from urllib.parse import urlsplit

import filelock
import torch
from torch import nn

from lenet_helpers.curves import in_notebook
from lenet_helpers.data import FashionMNIST, batch_loader
from lenet_helpers.figures import show_heat_map
from lenet_helpers.language import _, speaking
from lenet_helpers.machine import describe_machine
from lenet_helpers.recipes import (
    BATCH_SIZE,
    NUM_VALIDATION,
    Recipe,
    describe_recipe,
    load_split,
    make_lenet,
    recipe_steps,
)
from lenet_helpers.training import check_settings, evaluate_accuracy_gpu, read_row

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
POOLINGS = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
MEASURES = ("loss", "train_acc", "validation_acc", "test_acc", "seconds", "cpu_seconds")
RESULTS = (*MEASURES, "epochs", "machine", "error")  # what a record holds beside the settings of its task
NUM_TRAINING = 60_000 - NUM_VALIDATION
PATIENCE = 30  # seconds in which a scheduler has to answer

_training = threading.Lock()


@dataclass(frozen=True)
class Task:
    """A run to train: a recipe and a seed, on all training images or on the first ``num_images`` of them.

    ``labels`` names the settings that tables and heat maps show, and adds those that the recipe does not know itself.
    Raises TypeError or ValueError for settings that cannot be trained with.
    """

    recipe: Recipe
    seed: int = 0
    num_images: int | None = None
    labels: dict = field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.recipe, Recipe):
            raise TypeError(f"a task needs a Recipe, for example RECIPES['modern']; it is {self.recipe!r}")
        check_settings([0], [0], self.recipe.num_epochs, self.recipe.lr)
        check_count("seed", self.seed, 0, 2**63 - 1)
        if self.num_images is not None:
            check_count("num_images", self.num_images, 1, NUM_TRAINING)
        object.__setattr__(self, "labels", self.labels or {"name": self.recipe.name})


def check_count(name, value, least, most):
    """Raise TypeError or ValueError if ``value`` is no whole number from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, for example {least}; it is {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most:,}; it is {value}")


def grid(lr=(0.1, 0.9), activation=("sigmoid",), pooling=("average",), seed=(0,), num_epochs=2, num_images=None):
    """Return the tasks for the LeNet of the course with every combination of the values given.

    Seeds change slowest, so that the whole grid is there early. Raises TypeError or ValueError for bad values.
    """
    given = {"lr": lr, "activation": activation, "pooling": pooling, "seed": seed}
    for name, values in given.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise TypeError(f"{name} must be a list of values to try, for example [{values!r}]; it is {values!r}")
    lr, activation, pooling, seed = map(list, given.values())
    for name, values, known in (("activation", activation, ACTIVATIONS), ("pooling", pooling, POOLINGS)):
        if unknown := [value for value in values if value not in known]:
            raise ValueError(f"{name} must be one of {', '.join(known)}; it is {unknown[0]!r}")
    tasks = []
    for one_seed, act, pool, rate in itertools.product(seed, activation, pooling, lr):
        make_net = partial(make_lenet, ACTIVATIONS[act], POOLINGS[pool])
        recipe = Recipe("lenet", f"LeNet, {act}, {pool} pooling, lr {rate}", make_net, num_epochs=num_epochs, lr=rate)
        tasks.append(Task(recipe, one_seed, num_images, {"activation": act, "pooling": pool, "lr": rate}))
    return tasks


def describe_task(task):
    """Return the task's settings as plain values, which JSON can hold; ``net`` lists the layers."""
    settings = describe_recipe(task.recipe) | {"net": repr(task.recipe.make_net())} | task.labels
    settings |= {"labels": list(task.labels), "seed": task.seed, "num_images": task.num_images}
    return json.loads(json.dumps(settings, default=lambda number: number.item()))  # NumPy's numbers become Python's


def identify(record):
    """Return the settings of a record, or of ``describe_task``, as a text; two runs with equal ones are the same."""
    return json.dumps({name: record[name] for name in sorted(record) if name not in (*RESULTS, "title", "labels")})


def train_task(task):
    """Train in this process, on one thread, and return the record: settings, measures and one row per epoch.

    The test set is read once, after the training. A loss that turns NaN or infinite gives a record with ``error``, and
    with None for the measures. The data set is found and checked on the machine that this runs on.
    """
    with _training, speaking("en"):  # threads and random numbers belong to the process: one run at a time
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            record = describe_task(task) | {"machine": describe_machine()}
            return record | _train(task)
        except FloatingPointError as error:
            return record | fail(error)
        finally:
            torch.set_num_threads(threads)


def _train(task):
    train_iter, validation_iter, test_iter = load_split()
    if task.num_images is not None:
        data = train_iter.dataset
        part = FashionMNIST(data.images[: task.num_images], data.labels[: task.num_images])
        train_iter = batch_loader(part, BATCH_SIZE, shuffle=True)
    torch.manual_seed(task.seed)
    net = task.recipe.make_net()
    epochs, start, cpu_start = [], time.perf_counter(), time.process_time()
    for epoch, metric, accuracy in recipe_steps(task.recipe, net, train_iter, validation_iter, torch.device("cpu")):
        if accuracy is not None:
            row = read_row(epoch, metric, accuracy)
            row["validation_acc"] = row.pop("test_acc")
            epochs.append({name: round(value, 6) for name, value in row.items()})
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    record = {name: epochs[-1][name] for name in ("loss", "train_acc", "validation_acc")}
    record["test_acc"] = round(evaluate_accuracy_gpu(net, test_iter), 6)
    return record | {"seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1), "epochs": epochs}


def fail(error):
    """Return what the record of a failed run holds in place of results."""
    return dict.fromkeys(MEASURES) | {"epochs": [], "error": str(error)}


@contextlib.contextmanager
def connect(address=None, workers=None):
    """Give a Dask client of the cluster at ``address``, or at ``LENET_DASK``, or else of one made here for the while.

    The one made here has ``workers`` processes, by default one for each core. It listens to this machine alone, and to
    nobody on it without the certificate that is made for it: whoever may send it tasks may run any code.
    Raises ValueError for an address that is none, and ConnectionError if nothing answers there.
    """
    from dask.distributed import Client, LocalCluster  # takes a second

    address = address or os.environ.get("LENET_DASK")
    if not address:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            security=True,
            silence_logs="ERROR",
        )
        with cluster, Client(cluster) as client:
            yield client
        return
    cure = "Start one with `dask scheduler`, or unset LENET_DASK to train on this machine's cores"
    try:
        place = urlsplit(address)
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ValueError(f"a scheduler's address looks like tcp://127.0.0.1:8786; it is {address!r}. {cure}.")
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
        client = Client(address, timeout=PATIENCE)
    except OSError as error:
        raise ConnectionError(f"no Dask scheduler answers at {address} ({error}). {cure}.") from error
    with client:
        yield client


def run_tasks(tasks, address=None, workers=None):
    """Train tasks on Dask and yield ``(number of the task, record)`` in the order in which they finish.

    Dask gives the runs of a worker that dies to another. A run that fails for good, for instance because its machine
    has no data set, has a record with ``error``. Wrap this in ``contextlib.closing``: it ends the cluster made here.
    """
    from dask.distributed import as_completed
    from dask.system import CPU_COUNT

    if not tasks:
        return
    if workers is not None:
        check_count("workers", workers, 1, 10_000)
    with connect(address, min(workers or CPU_COUNT, len(tasks))) as client:
        numbers = {client.submit(train_task, task, pure=False): number for number, task in enumerate(tasks)}
        for future in as_completed(numbers):
            number = numbers[future]
            if future.status == "finished":
                yield number, future.result()
            else:
                error = future.exception() if future.status == "error" else ConnectionError("the cluster is gone")
                yield number, describe_task(tasks[number]) | fail(f"{type(error).__name__}: {error}")


def sweep(tasks, path=None, address=None, workers=None, show=True):
    """Train the tasks on Dask, show the results as they come, and return the records in the order of the tasks.

    Each finished run is stored at once in the file ``path``, one JSON record a line: after an interrupt the same call
    trains what is missing, and a task whose settings have changed is another task. A failed run has a record with
    ``error``; one that failed for another reason than its settings is tried again by the next call. ``address``, or
    LENET_DASK, names a Dask scheduler; without it ``workers`` processes, by default one per core, train here.
    """
    tasks = list(tasks)
    if path and not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {Path(path).parent} to store the records in: make it first")
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise TypeError("tasks must be a list of at least one Task: make it with grid(), or with Task(recipe, seed)")
    stored = {identify(record): record for record in load_records(path)} if path else {}
    records = [stored.get(identify(settings), {}) | settings for settings in map(describe_task, tasks)]
    missing = [number for number, record in enumerate(records) if "epochs" not in record]
    view = View(records) if show else None
    with contextlib.closing(run_tasks([tasks[number] for number in missing], address, workers)) as runs:
        for done, (number, record) in enumerate(runs, start=1):
            records[missing[number]] = record
            if path and "machine" in record:  # it was trained, to its end or until the loss was no number
                store_record(path, record)
            if view:
                view.update(record, f"[{done}/{len(missing)}]", done == len(missing))
    return records


def load_records(path):
    """Return the records in a file of ``sweep``, none if it is not there; raises ValueError if it holds others."""
    path, records = Path(path), []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
            identify(records[-1])
            len(records[-1]["epochs"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"line {number} of {path} is no record of a sweep: delete the line or the file") from error
    return records


def store_record(path, record):
    """Add a record to the file; it is complete at every moment, and two sweeps may share it."""
    path = Path(path)
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        old = path.read_bytes().splitlines() if path.exists() else []  # an editor may have taken the last newline away
        incoming = path.with_name(f".{path.name}.incoming")
        incoming.write_bytes(b"\n".join([*old, json.dumps(record).encode(), b""]))
        os.replace(incoming, path)


class View:
    """What a running sweep shows: a notebook has a table and a heat map that are updated, a terminal one line a run."""

    def __init__(self, records):
        self.records, self._displays, self._next = records, None, 0.0
        if in_notebook():
            from IPython.display import display

            self._displays = [display(bundle, raw=True, display_id=True) for bundle in self._bundles()]

    def update(self, record, count, last):
        """Show one more record; draw at most once a second, and at the end."""
        if self._displays is None:
            print(count, format_run(record), flush=True)
        elif last or time.perf_counter() >= self._next:
            for shown, bundle in zip(self._displays, self._bundles(), strict=True):
                shown.update(bundle, raw=True)
            self._next = time.perf_counter() + 1

    def _bundles(self):
        table = {"text/plain": format_records(self.records)}
        png = base64.b64encode(show_records(self.records)._repr_png_()).decode()
        return table, {"image/png": png, "text/plain": _("heat map of the mean test accuracy")}


def format_run(record):
    """Return a record as a line of text."""
    label = ", ".join(f"{name} {format_value(record[name])}" for name in [*record["labels"], "seed"])
    if "error" in record:
        return _("{run}: failed, {error}").format(run=label, error=record["error"])
    accuracies = f"test {record['test_acc']:.4f}, validation {record['validation_acc']:.4f}"
    return f"{label}: {accuracies}, {record['seconds']:.0f} s"


def format_value(value):
    """Return a setting as a short text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def find_varied(records):
    """Return the names of the labels that differ between records; the first label if none does."""
    names = list(dict.fromkeys(name for record in records for name in record["labels"]))
    return [name for name in names if len({record.get(name) for record in records}) > 1] or names[:1]


def group_records(records, names):
    """Return the records by their values of ``names``, a dict with tuples as keys, in the order of the records."""
    groups = {}
    for record in records:
        groups.setdefault(tuple(record.get(name) for name in names), []).append(record)
    return groups


def mean_of(records, measure):
    """Return the mean of a measure over the runs that have it; NaN if there is none."""
    values = [record[measure] for record in records if record.get(measure) is not None]
    return statistics.mean(values) if values else math.nan


def format_records(records):
    """Return a table of text: a line for each setting with the runs done and the means over them, then the failures."""
    varied = find_varied(records)
    measures = ("loss", "train_acc", "validation_acc", "test_acc")
    lines = [[*varied, "runs", *(name.replace("_", " ") for name in measures)]]
    for values, group in group_records(records, varied).items():
        done = sum("epochs" in record for record in group)
        means = (mean_of(group, measure) for measure in measures)
        told = ("–" if math.isnan(mean) else f"{mean:.3f}" for mean in means)
        lines.append([*map(format_value, values), f"{done}/{len(group)}", *told])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([*table, *(format_run(record) for record in records if "error" in record)])


def show_records(records, x=None, y=None, measure="test_acc"):
    """Draw the mean of a measure as a heat map: the setting ``x`` across, ``y`` down; ``y`` may be a list of settings.

    By default ``x`` is the last setting that varies, and ``y`` the other ones or the seed.
    """
    varied = find_varied(records)
    x = x or varied[-1]
    y = [y] if isinstance(y, str) else y or [name for name in varied if name != x] or ["seed"]
    columns = list(group_records(records, [x]))
    rows = group_records(records, y)
    values = []
    for group in rows.values():
        cells = group_records(group, [x])
        values.append([mean_of(cells.get(column, []), measure) for column in columns])
    names = [", ".join(map(format_value, row)) for row in rows]
    label = f"mean {measure.replace('_', ' ')}"
    return show_heat_map(values, names, [format_value(column) for (column,) in columns], ", ".join(y), x, label)
