"""Train LeNet with five seeds, and once with a small learning rate; write the results to benchmarks/seeds.json."""

import json

from lenet import ROOT, train_lenet

from lenet_helpers.machine import describe_machine

TARGET = ROOT / "benchmarks" / "seeds.json"
SEEDS = range(5)


def main():
    report = {"command": "make seeds", "machine": describe_machine()}
    report["runs"] = [run(seed=seed, lr=0.9) for seed in SEEDS]
    report["low_lr"] = run(seed=0, lr=0.1)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print("wrote", TARGET.relative_to(ROOT))


def run(**settings):
    """Train once and return the settings, the result and the row of every epoch, rounded to six digits."""
    settings |= {"batch_size": 256, "num_epochs": 10}
    print(", ".join(f"{name} {value}" for name, value in settings.items()), flush=True)
    _, history = train_lenet(**settings)
    epochs = [{name: round(value, 6) for name, value in row.items()} for row in history if row["test_acc"] is not None]
    result = {name: epochs[-1][name] for name in ("loss", "train_acc", "test_acc")}
    return settings | result | {"epochs": epochs}


if __name__ == "__main__":
    main()
