"""Train every recipe with several seeds and write the results to benchmarks/ablation.json; resumable.

The runs share this machine's cores, or a Dask cluster: LENET_DASK or --address names its scheduler. Each finished run
is stored at once. The same command after an interrupt trains only what is missing, and a recipe whose settings have
changed is trained anew.
"""

import argparse
import json
import os
import statistics
import sys
from contextlib import closing
from pathlib import Path

import filelock
from tqdm import tqdm

from lenet_helpers.machine import describe_machine
from lenet_helpers.recipes import NUM_VALIDATION, RECIPES, RESULTS, describe_recipe
from lenet_helpers.sweep import Task, format_run, run_tasks

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
    parser.add_argument("--address", help="a Dask scheduler, for example tcp://127.0.0.1:8786")
    parser.add_argument("--workers", type=int, metavar="N", help="processes on this machine; default: one per core")
    options = parser.parse_args(arguments)
    tasks = [Task(RECIPES[name], seed) for seed in options.seeds for name in options.rows]  # a whole table early
    stored, failed = read_results(options.target), 0
    tasks = [task for task in tasks if task.seed not in find_runs(stored, task.recipe)]
    try:
        with closing(run_tasks(tasks, options.address, options.workers)) as runs:
            for number, record in tqdm(runs, total=len(tasks), unit="run", disable=None):  # a bar on a terminal alone
                tqdm.write(format_run(record))
                if "error" in record:
                    failed += 1
                else:
                    write_results(options.target, tasks[number].recipe, record)
    except KeyboardInterrupt:
        print("\ninterrupted: the finished runs are stored, and the same command goes on from here")
        return 130
    if failed:
        print(f"{failed} of {len(tasks)} runs failed: the others are stored, and the same command tries these again")
        return 1
    write_results(options.target)
    print("all there:", options.target.name)
    return 0


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
                runs[record["seed"]] = {name: record[name] for name in ("seed", *MEASURES, "epochs")}
            if runs:
                rows.append(summarise(known, [runs[seed] for seed in sorted(runs)]))
        results = {
            "command": "make ablation",
            "machine": record["machine"] if record else old.get("machine") or describe_machine(),
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
