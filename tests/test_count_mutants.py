"""The count of mutation testing: what is noticed, outside of drawing and in it."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from count_mutants import compute_share, count_mutants


@pytest.fixture
def folder(tmp_path):
    ends = {
        "x_load__mutmut_1": 1,
        "x_load__mutmut_2": 0,
        "xǁPanelǁstart__mutmut_1": -24,
        "xǁPanelǁstart__mutmut_2": None,
    }
    drawing = {"xǁPanelǁfigure__mutmut_1": 0, "x_draw_maps__mutmut_1": 1, "x__frame__mutmut_12": 0}
    (tmp_path / "explorers").mkdir()
    for name, codes in (("panel.py.meta", ends), ("explorers/net.py.meta", drawing)):
        codes = {f"lenet_helpers.{function}": code for function, code in codes.items()}
        (tmp_path / name).write_text(json.dumps({"exit_code_by_key": codes}), encoding="utf-8")
    return tmp_path


def test_mutants_are_counted_outside_of_drawing_and_in_it(folder):
    outside, drawing = count_mutants(folder)
    assert outside == {"killed": 1, "survived": 1, "timeout": 1, "not checked": 1}
    assert drawing == {"killed": 1, "survived": 2}


def test_the_share_leaves_out_what_was_not_run(folder):
    outside, drawing = count_mutants(folder)
    assert compute_share(outside) == 2 / 3
    assert compute_share(drawing) == 1 / 3
    assert compute_share(count_mutants(folder / "empty")[0]) == 0
