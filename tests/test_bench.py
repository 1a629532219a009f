"""The benchmarks: a quick run gives every number, and the committed results agree with what is said of them."""

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
NUM_TARGETS = 6
PAGES = ("servers.md", "servers.zh.md")


def run_script(name, *options):
    """Run a script of the benchmarks; return what it printed."""
    command = [sys.executable, str(FOLDER / name), *map(str, options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def load(monkeypatch):
    """Return a function that imports a script of the benchmarks."""
    monkeypatch.syspath_prepend(FOLDER)

    def load_script(name):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_script


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The results of a quick run, and what it printed."""
    target = tmp_path_factory.mktemp("bench") / "bench.json"
    printed = run_script("bench.py", "--quick", "--target", target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return json.loads(target.read_text()), printed


def check(results):
    """Check that the results of a run are all there and fit one another."""
    machine = {"cpu", "threads", "python", "torch", "cores", "device", "memory_gib", "load_before"}
    assert machine <= results["machine"].keys()
    epoch, floor, memory = results["epoch"], results["floor"], results["memory"]
    for name, seconds in epoch["seconds"].items():
        assert len(seconds) == results["plan"]["rounds"] and min(seconds) > 0
        assert epoch["median"][name] == statistics.median(seconds)
    median = epoch["median"]
    assert median.keys() == {"d2l", "ours", "bare"}
    for one, other in (("d2l", "ours"), ("ours", "bare")):
        rounds = zip(epoch["seconds"][one], epoch["seconds"][other], strict=True)
        assert epoch[f"{one}_over_{other}"] == pytest.approx(statistics.median(a / b for a, b in rounds))
    parts = epoch["parts"]["ours"]
    assert parts.keys() == {"seconds", "loading", "testing", "drawing"}
    assert all(0 < parts[part] < parts["seconds"] for part in ("loading", "testing", "drawing"))
    assert 0 < epoch["parts"]["bare"]["testing"] < epoch["parts"]["bare"]["seconds"]

    train, test = epoch["images"]
    assert floor["multiply_adds"] == train * (3 * 416_520 - 117_600) + test * 416_520
    assert floor["seconds"] == pytest.approx(floor["multiply_adds"] / epoch["gemm_multiply_adds_per_second"])
    assert floor["bare_over_floor"] == pytest.approx(median["bare"] / floor["seconds"])

    runs = results["accuracy"]["runs"]
    assert results["accuracy"]["reached"] == sum(run["test_acc"] >= results["accuracy"]["goal"] for run in runs)
    assert results["accuracy"]["median"] == statistics.median(run["seconds"] for run in runs)

    for kind in ("d2l", "ours"):
        assert memory[kind].keys() == {"peak_pss", "further_learner", "further_uss", "further_idle_uss"}
        assert min(memory[kind].values()) > 0
    for key in memory["ours"]:
        assert memory[f"{key}_ratio"] == pytest.approx(memory["ours"][key] / memory["d2l"][key])

    assert 0 < results["panel"]["share"] < 1
    imports = results["imports"]["median"]
    assert imports.keys() == {"lenet_helpers", "torch", "d2l.torch"} and min(imports.values()) > 0
    assert results["imports"]["torch_share"] == pytest.approx(imports["torch"] / imports["lenet_helpers"])
    base = next(row for row in results["growth"] if (row["batch_size"], row["copies"], row["threads"]) == (256, 1, 2))
    for row in results["growth"]:
        assert row["median"] == statistics.median(row["seconds"]) > 0
        assert row["ratio"] == pytest.approx(row["median"] / base["median"])
    check_targets(results)


def check_targets(results):
    """Check that each target says whether it is met, and if not, by how much it is missed and why."""
    rows = {row["name"]: row for row in results["targets"]}
    assert len(rows) == len(results["targets"]) == NUM_TARGETS
    on_gpu = results["machine"]["device"] == "cuda"
    assert rows["d2l's epoch over ours"]["value"] == results["epoch"]["d2l_over_ours"]
    assert rows["d2l's epoch over ours"]["limit"] == (10 if on_gpu else 3.5)
    assert rows["our epoch over the bare loop's"]["limit"] == 1.05
    assert rows["seconds to test accuracy 0.90"]["limit"] == 12
    assert rows["a further learner's memory over d2l's"]["limit"] == 0.5
    for row in rows.values():
        if row["value"] is None:
            assert row["met"] is None and "GPU" in row["name"] and not on_gpu
        elif row["met"]:
            assert row["value"] <= row["limit"] if row["sense"] == "<=" else row["value"] >= row["limit"]
        else:
            assert row["missed_by"] >= 0
        assert row["met"] or len(row["why"]) > 20


def test_committed_results_are_complete():
    results = json.loads((FOLDER / "bench.json").read_text())
    check(results)
    assert results["quick"] is False and results["minutes"] < 20
    hovers = {f"hover {view}" for view in ("overview", "convolution", "dense")}
    assert hovers <= results["hover"].keys()
    assert {(row["batch_size"], row["copies"], row["threads"]) for row in results["growth"]} == {
        *((size, 1, threads) for size in (64, 256, 1024) for threads in (1, 2)),
        (256, 4, 2),
    }


def test_quick_run_measures_everything(quick):
    results, printed = quick
    assert results["quick"] is True
    check(results)
    for row in results["targets"]:
        assert row["name"] in printed
        assert row["why"] is None or row["why"] in printed


@pytest.mark.parametrize(
    "value, sense, failed, met, missed_by",
    [
        (4.0, ">=", False, True, None),
        (1.75, ">=", False, False, 0.5),
        (3.0, "<=", False, True, None),
        (7.0, "<=", False, False, 1.0),
        (3.0, "<=", True, False, 0.0),
        (None, "<=", False, None, None),
    ],
)
def test_target_is_judged(load, value, sense, failed, met, missed_by):
    row = load("bench").target("speed", value, sense, 3.5, "x", "because", failed)
    assert (row["met"], row["missed_by"]) == (met, missed_by)
    assert row["why"] == (None if met else "because")


@pytest.mark.parametrize("script", ["bench", "classroom"])
def test_quick_run_never_replaces_the_results(load, script, capsys):
    with pytest.raises(SystemExit):
        load(script).main(["--quick"])
    assert "--target" in capsys.readouterr().err


def test_cell_that_fails_tells_its_error(load, tmp_path):
    kernels = load("kernels")
    with kernels.Learner(tmp_path) as learner:
        assert learner.run("x = [1, None, 'é\"']", "x") == [1, None, 'é"']
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            learner.run("1 / 0")
        with pytest.raises(RuntimeError, match="NameError"):
            learner.run("", "y")


def test_both_learners_train_the_net_that_the_bench_has_made(load, tmp_path):
    net = load("bench").make_lenet()
    torch.save(net.state_dict(), tmp_path / "lenet.pt")
    loaded = load("loops").load_lenet(tmp_path / "lenet.pt")
    assert repr(loaded) == repr(net)
    torch.testing.assert_close(loaded.state_dict(), net.state_dict(), rtol=0, atol=0)


def test_memory_watch_sees_what_a_process_takes(load):
    """A process that fills 100 MiB and waits; it is watched before it has them."""
    kernels = load("kernels")
    code = "import sys; sys.stdin.readline(); x = bytearray(b'x' * 100 * 2**20); print('full', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        before, _ = kernels.read_memory(process.pid)
        with kernels.MemoryWatch([process.pid], interval=0.01) as memory:
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
            full, proportional = kernels.read_memory(process.pid)
        process.communicate("\n")
    assert full >= before + 100
    assert memory.uss[process.pid] >= before + 100
    assert proportional >= full
    assert kernels.read_memory(process.pid) == (0.0, 0.0)


def test_hover_times_are_printed_as_the_bench_reads_them(load):
    test = (ROOT / load("bench").HOVER_TEST.partition("::")[0]).read_text(encoding="utf-8")
    assert load("bench").HOVER_TEST.partition("::")[2] in test
    assert 'print("\\nmedian ms:"' in test


def test_traffic_of_a_step_counts_outputs_and_weights_four_times(load):
    """Each is written and read, forward and backward: of 2 images, 2 · (784 + 10) numbers and 7,850 weights."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    assert load("gpu").count_traffic(net, (2, 1, 28, 28)) == 4 * 4 * (2 * (784 + 10) + 7850)


# ---- a class on one server --------------------------------------------------------------------------------------


def check_class(results, sizes):
    """Check that the results of a class are all there and fit one another."""
    assert [row["learners"] for row in results["classes"]] == sizes
    assert results["server_mib"] > 0
    for row in results["classes"]:
        assert len(row["seconds"]) == row["learners"] and row["median_seconds"] == statistics.median(row["seconds"]) > 0
        assert 0 < row["uss_mib"] <= row["pss_mib"]
        assert row["uss_mib"] < row["together_mib"]


def test_quick_class(tmp_path):
    for name in PAGES:
        shutil.copy(ROOT / "docs" / name, tmp_path)
    target = tmp_path / "class.json"
    printed = run_script("classroom.py", "--quick", "--target", target, "--docs", tmp_path)
    results = json.loads(target.read_text())
    check_class(results, [1, 2])
    page = (tmp_path / "servers.md").read_text(encoding="utf-8")
    assert printed.strip().endswith("|") and printed.partition("\n\n")[2].strip() in page
    for row in results["classes"]:
        numbers = f"| {row['learners']} | {row['median_seconds']:.0f} | {row['uss_mib']:.0f} MiB |"
        assert all(numbers in (tmp_path / name).read_text(encoding="utf-8") for name in PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_page_for_teachers_holds_the_committed_numbers(load, name):
    results = json.loads((FOLDER / "class.json").read_text())
    assert results["quick"] is False
    check_class(results, [1, 2, 4, 8])
    classroom, page = load("classroom"), (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert classroom.fill(page, results, classroom.PAGES[name]) == page


def test_plan_of_servers(load):
    """Ten learners a core would be 5 GiB a core: memory decides."""
    classes = [
        {"learners": 1, "median_seconds": 10, "uss_mib": 400},
        {"learners": 4, "median_seconds": 20, "uss_mib": 412},
        {"learners": 8, "median_seconds": 41, "uss_mib": 412},
    ]
    results = {"server_mib": 100, "classes": classes, "machine": {"cores": 2}}
    plan = load("classroom").plan_servers(results)
    assert plan["learners_per_core"] == 2 and plan["mib_each"] == 512
    assert plan["courses"] == [
        {"learners": 30, "cores": 4, "gib": 15, "nodes": 1},
        {"learners": 300, "cores": 38, "gib": 150, "nodes": 3},
        {"learners": 3000, "cores": 375, "gib": 1500, "nodes": 27},
    ]


def test_page_without_its_marks_is_refused(load):
    with pytest.raises(ValueError, match="needs the lines"):
        load("classroom").fill("# no numbers here", {}, {})
