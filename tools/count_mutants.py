"""Count what `make mutants` has found, the functions that draw apart: which part of the mutants do the tests notice?"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code

FOLDER = Path(__file__).parents[1] / "mutants"
DRAWS = re.compile(r"figure|draw_|_draw|show_maps|show_activations|show_records|_frame$|_write_numbers$")
TARGET = 0.9


def count_mutants(folder=FOLDER):
    """Return two counters of mutants by their end, as mutmut calls it: outside of functions that draw, and in them."""
    outside, drawing = Counter(), Counter()
    for path in sorted(folder.rglob("*.meta")):
        for name, exit_code in json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            function = name.rpartition(".")[2].rpartition("__mutmut_")[0]
            (drawing if DRAWS.search(function) else outside)[status_by_exit_code[exit_code]] += 1
    return outside, drawing


def compute_share(counter):
    """Return which part of the mutants that were run is noticed; one that never ends is noticed, too."""
    num_run = counter.total() - counter["not checked"]
    return (counter["killed"] + counter["timeout"]) / num_run if num_run else 0


def main():
    outside, drawing = count_mutants()
    for where, counter in (("outside of drawing", outside), ("drawing", drawing)):
        found = ", ".join(f"{status} {number}" for status, number in counter.most_common())
        print(f"{where}: {compute_share(counter):.1%} of the mutants are noticed ({found})")
    return compute_share(outside) < TARGET


if __name__ == "__main__":
    sys.exit(main())
