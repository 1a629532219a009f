"""Measure this course against d2l, the bare loop and the arithmetic floor; write benchmarks/bench.json and print it.

Everything runs in one go on one machine, turn about, in real Jupyter kernels. Let nothing else run meanwhile.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import psutil
import torch
from kernels import Learner, MemoryWatch, read_memory, write_results

from lenet_helpers.data import RAW, find_data, load_data_fashion_mnist
from lenet_helpers.machine import describe_machine
from lenet_helpers.recipes import make_lenet
from lenet_helpers.shapes import walk_shapes
from lenet_helpers.training import find_device

ROOT = Path(__file__).parents[1]
TARGET = Path(__file__).with_name("bench.json")
HOVER_TEST = "tests/browser/test_net_page.py::test_speed_of_hover_and_image_change"
BASE = (256, 1, 2)  # batch size, copies of the data, threads: what the growth is told against
GOAL = 0.90  # the test accuracy that the modern LeNet is timed to
RECIPE = {"batch_size": 128, "num_epochs": 3, "lr": 0.1}  # chosen on validation images, seeds 0 to 2: 0.907
NOT_HERE = "not measured: this machine has no CUDA GPU"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="one round on a few images: tries the bench, times nothing"
    )
    parser.add_argument("--target", type=Path, default=TARGET, help="the results file")
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        parser.error("the bench compares proportional set sizes, which Linux alone tells: run it there")
    if options.quick and options.target == TARGET:
        parser.error("a quick run times nothing: name another results file with --target")
    results = run(Plan(options.quick))
    write_results(options.target, results)
    print(format_results(results))


class Plan:
    """How often and on how many images to measure; a quick plan only tries that all of it works."""

    def __init__(self, quick):
        self.quick = quick
        self.counts = (1280, 256) if quick else None  # training and test images
        self.rounds = 1 if quick else 5
        self.d2l_epochs, self.epochs = (1, 1) if quick else (1, 5)
        self.memory_epochs = (1, 1) if quick else (1, 4)  # d2l's and ours: about as long as each other
        self.seeds = 1 if quick else 3
        self.growth_rounds = 1 if quick else 3
        batch_sizes, threads = ((256,), (1,)) if quick else ((64, 256, 1024), (1, 2))
        self.growth = [*product(batch_sizes, (1,), threads), (BASE[0], 4, BASE[2])]
        self.growth += [BASE] * (BASE not in self.growth)


def run(plan):
    """Measure all parts one after another and return the results."""
    start = time.perf_counter()
    results = {"command": "make bench", "quick": plan.quick, "machine": describe(), "plan": vars(plan)}
    with ExitStack() as stack:
        folder = make_folder(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))))
        print("  0.0 min  measuring memory", flush=True)
        results["memory"] = measure_memory(plan, folder)
        with ThreadPoolExecutor() as pool:
            d2l, ours = pool.map(lambda kind: stack.enter_context(prepare(kind, plan, folder)), ("D2l", "Ours"))
        for name, measure in (
            ("epoch", lambda: measure_epoch(plan, d2l, ours)),
            ("accuracy", lambda: measure_accuracy(plan, ours)),
            ("panel", lambda: ours.run("", f"learner.train_in_panel({1 if plan.quick else 2})")),
            ("growth", lambda: measure_growth(plan, ours)),
            ("hover", lambda: measure_hover(plan)),
            ("imports", lambda: measure_imports(plan)),
            ("gpu", lambda: measure_gpu(plan)),
        ):
            print(f"{(time.perf_counter() - start) / 60:5.1f} min  measuring {name}", flush=True)
            results[name] = measure()
    results["floor"] = work_out_floor(results["epoch"])
    results["targets"] = judge(results)
    return results | {"minutes": (time.perf_counter() - start) / 60}


def describe():
    """Return what the results depend on: processor, cores, memory, device and versions."""
    machine = describe_machine() | {"cores": len(os.sched_getaffinity(0)), "device": find_device().type}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return machine | {
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "load_before": round(os.getloadavg()[0], 1),  # far above 0: something else was running
    }


def make_folder(folder):
    """Fill a folder with weights, and with the data where d2l looks for it; return the folder that kernels start in."""
    raw = folder / "data" / RAW
    raw.mkdir(parents=True)
    for name, path in find_data().items():
        (raw / name).symlink_to(path.resolve())
    torch.save(make_lenet().state_dict(), folder / "lenet.pt")
    (folder / "notebooks").mkdir()
    return folder / "notebooks"


def prepare(kind, plan, folder):
    """Start a kernel with a learner of ``kind``, D2l or Ours, who has loaded the data."""
    learner = Learner(folder)
    learner.run(
        f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
        f"import loops; learner = loops.{kind}('../lenet.pt', {plan.counts})"
    )
    return learner


def take_turns(rounds, contenders):
    """Call each of the functions in turn, round after round; return their results by name."""
    taken = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, turn in contenders.items():
            taken[name].append(turn())
    return taken


def measure_epoch(plan, d2l, ours):
    """Time d2l's loop and ours, with curves and tests, and the bare loop; all on the same net and batches."""
    ours.run("bare = loops.Bare(learner); bare.train(1)")  # a first epoch warms up
    for learner in (d2l, ours):
        learner.run("", "learner.train(1)")
    contenders = {
        "d2l": lambda: d2l.run("", f"learner.train({plan.d2l_epochs})"),
        "ours": lambda: ours.run("", f"learner.train({plan.epochs})"),
        "bare": lambda: ours.run("", f"bare.train({plan.epochs})"),
    }
    turns = take_turns(plan.rounds, contenders)
    medians = {name: statistics.median(turn["seconds"] for turn in taken) for name, taken in turns.items()}
    parts = {
        name: {part: statistics.median(turn[part] for turn in turns[name]) for part in turns[name][0]}
        for name in ("ours", "bare")
    }
    rate = ours.run("del bare", "loops.measure_gemm(learner.device)")
    return {
        "seconds": {name: [turn["seconds"] for turn in taken] for name, taken in turns.items()},
        "median": medians,
        "parts": parts,
        "d2l_over_ours": compare(turns["d2l"], turns["ours"]),
        "ours_over_bare": compare(turns["ours"], turns["bare"]),
        "gemm_multiply_adds_per_second": rate,
        "images": plan.counts or (60_000, 10_000),
    }


def compare(one, other):
    """Return the median over the rounds of one's seconds over the other's."""
    return statistics.median(a["seconds"] / b["seconds"] for a, b in zip(one, other, strict=True))


def work_out_floor(epoch):
    """Return the seconds that an epoch's multiply-adds take at the rate of a matrix product, and the ratios to it.

    Backward costs two products for one of forward, save that the first layer passes no gradient on to the image.
    """
    layers = [row.multiply_adds for row in walk_shapes(make_lenet())]
    train, test = epoch["images"]
    total = train * (3 * sum(layers) - next(filter(None, layers))) + test * sum(layers)
    seconds = total / epoch["gemm_multiply_adds_per_second"]
    ratios = {f"{name}_over_floor": epoch["median"][name] / seconds for name in ("ours", "bare")}
    return {"multiply_adds": total, "seconds": seconds} | ratios


def measure_accuracy(plan, ours):
    """Time the modern LeNet, with tests and curves, by a short recipe; does every seed reach the goal?"""
    settings = {"num_epochs": RECIPE["num_epochs"], "lr": RECIPE["lr"]}
    runs = [
        ours.run("", f"learner.train_recipe({settings}, {RECIPE['batch_size']}, {seed}, {plan.counts})")
        for seed in range(plan.seeds)
    ]
    return {
        "goal": GOAL,
        "recipe": {"name": "modern", **RECIPE, "schedule": "one_cycle", "memory_format": "contiguous"},
        "runs": runs,
        "reached": sum(run["test_acc"] >= GOAL for run in runs),
        "median": statistics.median(run["seconds"] for run in runs),
    }


def measure_memory(plan, folder):
    """Return the peak of a kernel and its workers in MiB, and what a second learner adds while the first one trains.

    What is added is the growth of all proportional sizes together, this process with them: so what a kernel shares with
    its own workers counts in full, and what it shares with the first learner does not.
    """
    memory, me = {}, os.getpid()
    for kind, epochs in zip(("D2l", "Ours"), plan.memory_epochs, strict=True):

        def train(learner, epochs=epochs):
            learner.run("", f"learner.train({epochs})")

        with prepare(kind, plan, folder) as first:
            with MemoryWatch([me, first.pid]) as alone:
                train(first)
            with prepare(kind, plan, folder) as second:
                idle, _pss = read_memory(second.pid)
                with MemoryWatch([me, second.pid]) as both, ThreadPoolExecutor() as pool:
                    list(pool.map(train, (first, second)))
        memory[kind.lower()] = {
            "peak_pss": alone.pss[first.pid],
            "further_learner": both.pss[me] - alone.pss[me],
            "further_uss": both.uss[second.pid],
            "further_idle_uss": idle,
        }
    ratios = {f"{key}_ratio": memory["ours"][key] / memory["d2l"][key] for key in memory["ours"]}
    return memory | ratios


def measure_growth(plan, ours):
    """Time an epoch, without curves, at several batch sizes, copies of the data and numbers of threads."""
    contenders = {
        setting: lambda setting=setting: ours.run("", f"learner.train_once{setting}") for setting in plan.growth
    }
    rows = [
        dict(zip(("batch_size", "copies", "threads"), setting, strict=True))
        | {"seconds": seconds, "median": statistics.median(seconds)}
        for setting, seconds in take_turns(plan.growth_rounds, contenders).items()
    ]
    base = next(row["median"] for row in rows if (row["batch_size"], row["copies"], row["threads"]) == BASE)
    return [row | {"ratio": row["median"] / base} for row in rows]


def measure_hover(plan):
    """Return the median milliseconds that the net explorer takes to follow the mouse, by its own test in Chromium."""
    if plan.quick:
        return {"not_measured": "a quick run leaves the browser to its own tests"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", HOVER_TEST]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    printed = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=300).stdout
    line = re.search(r"median ms: (.*)", printed)
    if line is None:
        return {"not_measured": "the browser test told no times: " + printed.strip().rpartition("\n")[2]}
    return {name: float(ms) for name, ms in re.findall(r"(\w+ \w+) ([\d.]+)", line[1])}


def measure_imports(plan):
    """Time the import of the helpers, and of torch alone, each in a new process."""

    def time_import(module):
        code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
        return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    names = ("lenet_helpers", "torch", "d2l.torch")
    turns = take_turns(plan.rounds, {name: lambda name=name: time_import(name) for name in names})
    medians = {name: statistics.median(taken) for name, taken in turns.items()}
    return {"seconds": turns, "median": medians, "torch_share": medians["torch"] / medians["lenet_helpers"]}


def measure_gpu(plan):
    """Return what only a GPU has, or why it is not measured."""
    if not torch.cuda.is_available():
        return {"not_measured": NOT_HERE}
    import gpu

    batch_sizes = (256,) if plan.quick else (256, 1024, 4096)
    runs = [gpu.measure_gpu(make_lenet(), load_data_fashion_mnist(size), size, plan.rounds) for size in batch_sizes]
    best = {name: max(run["images_per_second"][name]["median"] for run in runs) for name in ("taught", "graph")}
    return {"runs": runs, "best_images_per_second": best}


def judge(results):
    """Return for each target: value, limit, whether it is met, and if not, by how much it is missed and why."""
    epoch, accuracy, memory = results["epoch"], results["accuracy"], results["memory"]
    ours, bare = epoch["parts"]["ours"], epoch["parts"]["bare"]
    on_gpu = results["machine"]["device"] == "cuda"
    excess = ours["seconds"] - bare["seconds"]
    known = ours["loading"] + ours["drawing"] + ours["testing"] - bare["testing"]
    why_slower = (
        f"an epoch takes {excess:.2f} s longer: {ours['loading']:.2f} s to wait for mini-batches, "
        f"{ours['drawing']:.2f} s to draw, {ours['testing'] - bare['testing']:.2f} s more to test; the rest, "
        f"{excess - known:.2f} s, are the sums of loss and right answers, and noise"
    )
    why_near = (
        f"the bare loop itself is only {epoch['median']['d2l'] / epoch['median']['bare']:.2f} times as fast as d2l's"
    )
    why_late = (
        f"{accuracy['reached']} of {len(accuracy['runs'])} seeds reach {GOAL:.2f} after {RECIPE['num_epochs']} epochs, "
        f"of {accuracy['median'] / RECIPE['num_epochs']:.1f} s each"
    )
    late = accuracy["reached"] < len(accuracy["runs"])
    further = memory["ours"]
    why_large = (
        f"by unique set sizes it is {memory['further_uss_ratio']:.2f}; of the {further['further_uss']:.0f} MiB of its "
        f"own alone, {further['further_idle_uss']:.0f} MiB are "
        "there before it trains: Python, torch and what draws"
    )
    if on_gpu:
        images, why = results["gpu"]["best_images_per_second"], "see the floors: launches and memory traffic bound it"
    else:
        images, why = {"taught": None, "graph": None}, NOT_HERE
    return [
        target("d2l's epoch over ours", epoch["d2l_over_ours"], ">=", 10 if on_gpu else 3.5, "x", why_near),
        target("our epoch over the bare loop's", epoch["ours_over_bare"], "<=", 1.05, "x", why_slower),
        target("seconds to test accuracy 0.90", accuracy["median"], "<=", 12, "s", why_late, failed=late),
        target("a further learner's memory over d2l's", memory["further_learner_ratio"], "<=", 0.5, "x", why_large),
        target("taught loop on a GPU", images["taught"], ">=", 400_000, "images/s", why),
        target("graph loop on a GPU", images["graph"], ">=", 1_500_000, "images/s", why),
    ]


def target(name, value, sense, limit, unit, why, failed=False):
    """Return a row of the table of targets; ``missed_by`` is a share of the limit, ``value`` None if not measured."""
    row = {"name": name, "value": value, "sense": sense, "limit": limit, "unit": unit}
    if value is None:
        return row | {"met": None, "missed_by": None, "why": why}
    short = (value - limit if sense == "<=" else limit - value) / limit
    met = short <= 0 and not failed
    return row | {"met": met, "missed_by": None if met else max(short, 0.0), "why": None if met else why}


def format_results(results):
    """Return the results as a table of text."""
    machine, epoch, floor, memory = (results[name] for name in ("machine", "epoch", "floor", "memory"))
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['device']}, "
        f"load {machine['load_before']} before; {results['minutes']:.1f} minutes" + ("; QUICK" * results["quick"]),
        "",
        f"seconds an epoch: d2l {epoch['median']['d2l']:.2f}, ours {epoch['median']['ours']:.2f}, "
        f"bare loop {epoch['median']['bare']:.2f}, arithmetic floor {floor['seconds']:.2f}",
        "  of ours: "
        + ", ".join(f"{part} {epoch['parts']['ours'][part]:.3f}" for part in ("loading", "testing", "drawing")),
        f"test accuracy {', '.join(str(run['test_acc']) for run in results['accuracy']['runs'])} "
        f"in {results['accuracy']['median']:.1f} s by {results['accuracy']['recipe']}",
        f"{'memory in MiB':36}{'d2l':>8}{'ours':>8}",
    ]
    for key, title in (
        ("peak_pss", "kernel and workers, peak (PSS)"),
        ("further_learner", "what one more learner adds"),
        ("further_uss", "  of it its own alone (USS)"),
        ("further_idle_uss", "  the same before it trains"),
    ):
        lines.append(f"  {title:34}{memory['d2l'][key]:8.0f}{memory['ours'][key]:8.0f}")
    lines += [
        f"panel: {results['panel']['share']:.1%} of its thread's CPU time",
        "hover, ms: " + ", ".join(f"{name} {value}" for name, value in results["hover"].items()),
        "import, s: "
        + ", ".join(f"{name} {seconds:.2f}" for name, seconds in results["imports"]["median"].items())
        + f"; torch is {results['imports']['torch_share']:.0%} of ours",
        "",
        "batch size  copies  threads  seconds  ratio",
    ]
    for row in results["growth"]:
        lines.append(
            f"{row['batch_size']:10}{row['copies']:8}{row['threads']:9}{row['median']:9.2f}{row['ratio']:7.2f}"
        )
    lines += ["", "targets"]
    for row in results["targets"]:
        value = "–" if row["value"] is None else f"{row['value']:,.2f}"
        verdict = {True: "met", False: f"MISSED by {row['missed_by'] or 0:.0%}", None: ""}[row["met"]]
        lines.append(f"  {row['name']:40}{value:>12} {row['sense']} {row['limit']:,} {row['unit']}  {verdict}")
        if row["why"]:
            lines.append(f"      {row['why']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
