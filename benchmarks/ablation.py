"""Train every recipe with several seeds and write the results to benchmarks/ablation.json; resumable.

Each finished run is stored at once. The same command after an interrupt trains only what is missing, and a recipe whose
settings have changed is trained anew.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import filelock
import torch

from lenet_helpers.machine import describe_machine
from lenet_helpers.recipes import NUM_VALIDATION, RECIPES, RESULTS, describe_recipe, load_split, recipe_steps
from lenet_helpers.training import evaluate_accuracy_gpu, read_row

SEEDS = range(5)
MEASURES = ("test_acc", "validation_acc", "train_acc", "loss", "seconds", "cpu_seconds")
BENCHMARK_LIST = "https://github.com/zalandoresearch/fashion-mnist/blob/b2617bb/README.md#benchmark"
REFERENCES = [
    {"title": "people without fashion expertise, 1,000 images", "accuracy": 0.835, "parameters": None},
    {"title": "2 convolutions, under 100,000 parameters", "accuracy": 0.925, "parameters": 100_000},
    {"title": "2 convolutions, 113,000 parameters", "accuracy": 0.922, "parameters": 113_000},
    {"title": "2 convolutions and 3 dense layers, 500,000 parameters", "accuracy": 0.934, "parameters": 500_000},
]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(RECIPES)
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="N", help="default: 0 1 2 3 4")
    parser.add_argument("--target", type=Path, default=RESULTS, help="the results file")
    options = parser.parse_args(arguments)
    recipes = [RECIPES[name] for name in options.rows]
    wanted = [(recipe, seed) for seed in options.seeds for recipe in recipes]  # a whole table early
    split = load_split()
    try:
        for number, (recipe, seed) in enumerate(wanted, start=1):
            if seed not in find_runs(read_results(options.target), recipe):
                progress = Progress(f"[{number}/{len(wanted)}] {recipe.name}, seed {seed}", recipe.num_epochs)
                write_results(options.target, recipe, train(recipe, seed, split, progress))
    except KeyboardInterrupt:
        print("\ninterrupted: the finished runs are stored, and the same command goes on from here")
        return 130
    write_results(options.target)
    print("all there:", options.target.name)
    return 0


def train(recipe, seed, split, progress):
    """Train once; return the record of the run. The test set is read here, once, after the training."""
    train_iter, validation_iter, test_iter = split
    torch.manual_seed(seed)
    net = recipe.make_net()
    epochs, start, cpu_start = [], time.perf_counter(), time.process_time()
    for epoch, metric, accuracy in recipe_steps(recipe, net, train_iter, validation_iter, torch.device("cpu")):
        progress.show(epoch)
        if accuracy is not None:
            row = read_row(epoch, metric, accuracy)
            row["validation_acc"] = row.pop("test_acc")
            epochs.append({name: round(value, 6) for name, value in row.items()})
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    record = {"seed": seed, "test_acc": round(evaluate_accuracy_gpu(net, test_iter), 6)}
    record |= {name: epochs[-1][name] for name in ("validation_acc", "train_acc", "loss")}
    record |= {"seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1), "epochs": epochs}
    progress.finish(f"test {record['test_acc']:.4f}, validation {record['validation_acc']:.4f}, {seconds:.0f} s")
    return record


class Progress:
    """A progress bar on a terminal; elsewhere a line for each finished run."""

    def __init__(self, label, num_epochs):
        self.label, self.num_epochs, self.start, self.shown = label, num_epochs, time.perf_counter(), 0.0

    def show(self, epoch):
        """Draw the bar, at most twice a second."""
        now = time.perf_counter()
        if not sys.stdout.isatty() or now - self.shown < 0.5:
            return
        self.shown = now
        share = epoch / self.num_epochs
        left = (now - self.start) * (1 - share) / share
        bar = "#" * round(30 * share)
        print(
            f"\r{self.label} |{bar:<30}| epoch {epoch:4.1f}/{self.num_epochs}, {left:4.0f} s left ", end="", flush=True
        )

    def finish(self, result):
        """Replace the bar by the result."""
        clear = "\r\x1b[K" if sys.stdout.isatty() else ""
        print(f"{clear}{self.label}: {result}", flush=True)


def read_results(path):
    """Return the results file's contents, or those of an empty one."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}


def find_runs(results, recipe):
    """Return the records, by seed, that were made with the recipe's present settings; its title does not matter."""
    settings = describe_recipe(recipe)
    del settings["title"]
    for row in results["rows"]:
        if settings.items() <= row.items():
            return {record["seed"]: record for record in row["seeds"]}
    return {}


def write_results(path, recipe=None, record=None):
    """Add a record to the results file and work out the statistics anew; the file is complete at every moment."""
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        old, rows = read_results(path), []
        for known in RECIPES.values():
            runs = find_runs(old, known)
            if known == recipe:
                runs[record["seed"]] = record
            if runs:
                rows.append(summarise(known, [runs[seed] for seed in sorted(runs)]))
        results = {
            "command": "make ablation",
            "machine": describe_machine(),
            "validation_images": NUM_VALIDATION,
            "rows": rows,
            "references": [reference | {"source": BENCHMARK_LIST} for reference in REFERENCES],
        }
        incoming = path.with_name(f".{path.name}.incoming")
        incoming.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        os.replace(incoming, path)


def summarise(recipe, records):
    """Return a row of the table: settings, mean and sample standard deviation (None for one seed), and the records."""
    values = {name: [record[name] for record in records] for name in MEASURES}

    def spread(numbers):
        return round(statistics.stdev(numbers), 6) if len(numbers) > 1 else None

    return describe_recipe(recipe) | {
        "mean": {name: round(statistics.mean(numbers), 6) for name, numbers in values.items()},
        "std": {name: spread(numbers) for name, numbers in values.items()},
        "seeds": records,
    }


if __name__ == "__main__":
    sys.exit(main())
