"""Let 1, 2, 4 and 8 learners run notebook 04 at once on this machine; write benchmarks/class.json and docs/servers*.md.

Each learner has a kernel of their own, and trains for one epoch instead of ten. Let nothing else run meanwhile.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from math import ceil
from pathlib import Path

import nbformat
import psutil
from kernels import MemoryWatch, read_memory, write_results
from nbclient import NotebookClient

from lenet_helpers.machine import describe_machine

ROOT = Path(__file__).parents[1]
TARGET = Path(__file__).with_name("class.json")
DOCS = ROOT / "docs"
NOTEBOOK = ROOT / "notebooks" / "en" / "04_train_on_fashion_mnist.ipynb"
LONG, SHORT = "lr, num_epochs = 0.9, 10", "lr, num_epochs = 0.9, 1"
NEED_TEN_EPOCHS = {"run-check", "compare", "compare-check", "predict-check", "questions-check"}
SIZES, QUICK_SIZES = (1, 2, 4, 8), (1, 2)
START, END = "<!-- numbers: written by make bench-class -->", "<!-- end of numbers -->"
PAGES = {  # each page for teachers, with its texts around the two tables
    "servers.md": {
        "measured": "Measured on {cores} cores of {cpu}, one thread for each learner:",
        "class_head": "learners at once | seconds each | private memory each (USS) | all together (PSS)",
        "need": (
            "A learner's JupyterLab server takes {server:.0f} MiB more: {each:.0f} MiB for each learner with one open "
            "notebook. Those who train at the same moment need a core for every {per_core:g} of them, if the notebook "
            "may take up to {patience} times as long as alone."
        ),
        "course_head": "learners | cores | memory | nodes of {node_cores} cores and {node_gib} GiB",
    },
    "servers.zh.md": {
        "measured": "测量用的机器：{cpu}，{cores} 个核；每个学生一个线程。",
        "class_head": "同时上课的学生 | 每人用时（秒） | 每人独占的内存 (USS) | 合计内存 (PSS)",
        "need": (
            "每个学生的 JupyterLab 服务器另外占 {server:.0f} MiB；开着一个笔记本时，每个学生一共 {each:.0f} MiB。"
            "如果运行一个笔记本的时间最多可以是独自运行时的 {patience} 倍，"
            "那么同时训练的学生每 {per_core:g} 人要一个核。"
        ),
        "course_head": "学生 | 核 | 内存 | 节点数（每个 {node_cores} 核、{node_gib} GiB）",
    },
}

# The assumptions of the page for teachers.
COURSES = (30, 300, 3_000)
ACTIVE = 0.25  # the share of learners whose net trains at the same moment; the others read, think and type
PATIENCE = 2  # a notebook may take so many times as long as on a server of one's own
NODE_CORES, NODE_GIB = 16, 64


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one and two learners who run only the first cells")
    parser.add_argument("--target", type=Path, default=TARGET, help="the results file")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the pages are whose numbers are replaced")
    options = parser.parse_args(arguments)
    if options.quick and (options.target == TARGET or options.docs == DOCS):
        parser.error("a quick run measures nothing: name another file and folder with --target and --docs")
    results = run(options.quick)
    write_results(options.target, results)
    for name, texts in PAGES.items():
        page = options.docs / name
        page.write_text(fill(page.read_text(encoding="utf-8"), results, texts), encoding="utf-8")
    print(format_numbers(results, PAGES["servers.md"]))


def run(quick):
    """Measure classes of several sizes; return the results."""
    machine = describe_machine() | {"cores": len(os.sched_getaffinity(0)), "load_before": round(os.getloadavg()[0], 1)}
    machine["threads"] = 1  # of each learner, see learn()
    results = {"command": "make bench-class", "quick": quick, "machine": machine}
    results["server_mib"] = measure_server()
    results["classes"] = []
    for size in QUICK_SIZES if quick else SIZES:
        results["classes"].append(asyncio.run(hold_class(size, quick)))
        print(f"{size} learners: {results['classes'][-1]['median_seconds']:.0f} s", flush=True)
    return results


def read_notebook(quick):
    """Return notebook 04 with one epoch, without the cells that expect the results of ten; quick: its first cells."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    if not NEED_TEN_EPOCHS.issubset(cells) or LONG not in cells["run"].source:
        raise ValueError(f"{NOTEBOOK.name} has changed: it needs the cells {sorted(NEED_TEN_EPOCHS)} and {LONG!r}")
    cells["run"].source = cells["run"].source.replace(LONG, SHORT)
    notebook.cells = [cell for cell in notebook.cells if cell.id not in NEED_TEN_EPOCHS]
    if quick:
        del notebook.cells[[cell.id for cell in notebook.cells].index("run") :]
    return notebook


async def hold_class(size, quick):
    """Let so many learners run the notebook at once; return their seconds and their memory in MiB."""
    pids = []
    with MemoryWatch(pids) as memory:
        seconds = await asyncio.gather(*(learn(read_notebook(quick), pids) for _ in range(size)))
    return {
        "learners": size,
        "seconds": seconds,
        "median_seconds": statistics.median(seconds),
        "uss_mib": statistics.median(memory.uss.values()),
        "pss_mib": statistics.median(memory.pss.values()),
        "together_mib": memory.together,
    }


async def learn(notebook, pids):
    """Run the notebook from top to bottom, with one thread, in a kernel whose pid is noted; return the seconds."""
    start = time.perf_counter()
    folder = {"metadata": {"path": NOTEBOOK.parent}}
    client = NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=folder)
    settings = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "stderr": subprocess.DEVNULL}
    async with client.async_setup_kernel(**settings):
        pids.append(client.km.provisioner.pid)
        for index, cell in enumerate(notebook.cells):
            await client.async_execute_cell(cell, index)
    return time.perf_counter() - start


def measure_server():
    """Return the memory in MiB of its own that a JupyterLab server takes; on a hub each learner has one."""
    with tempfile.TemporaryDirectory(prefix="server-") as folder:
        places = {f"JUPYTER_{name}_DIR": f"{folder}/{name.lower()}" for name in ("CONFIG", "DATA", "RUNTIME")}
        options = ["--no-browser", "--ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={folder}"]
        options += ["--allow-root"] if os.geteuid() == 0 else []
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=os.environ | places, stderr=subprocess.DEVNULL)
        try:
            while not list(Path(folder).glob("runtime/jpserver-*.json")):  # written when it listens
                if server.poll() is not None:
                    raise RuntimeError(f"JupyterLab ended with status {server.returncode}; try {' '.join(command)}")
                time.sleep(0.1)
            return read_memory(server.pid)[0]
        finally:
            psutil.Process(server.pid).terminate()
            server.wait()


def plan_servers(results):
    """Return what the three courses need, from the measured memory and times; see the assumptions above."""
    classes, cores = results["classes"], results["machine"]["cores"]
    patient = [row for row in classes if row["median_seconds"] <= PATIENCE * classes[0]["median_seconds"]]
    per_core = patient[-1]["learners"] / cores
    each = results["server_mib"] + classes[-1]["uss_mib"]
    rows = []
    for learners in COURSES:
        need_cores, gib = ceil(ACTIVE * learners / per_core), learners * each / 1024
        nodes = max(ceil(need_cores / NODE_CORES), ceil(gib / (0.9 * NODE_GIB)))  # a tenth is left to the system
        rows.append({"learners": learners, "cores": need_cores, "gib": ceil(gib), "nodes": nodes})
    return {"learners_per_core": per_core, "mib_each": each, "courses": rows}


def format_numbers(results, texts):
    """Return the part of a page for teachers that holds numbers, in the words of ``texts``."""
    plan, machine = plan_servers(results), results["machine"]
    numbers = {"server": results["server_mib"], "each": plan["mib_each"], "per_core": plan["learners_per_core"]}
    course_head = texts["course_head"].format(node_cores=NODE_CORES, node_gib=NODE_GIB)
    lines = [texts["measured"].format(**machine), "", f"| {texts['class_head']} |", "|---:|---:|---:|---:|"]
    for row in results["classes"]:
        lines.append(
            f"| {row['learners']} | {row['median_seconds']:.0f} | {row['uss_mib']:.0f} MiB "
            f"| {row['together_mib']:.0f} MiB |"
        )
    lines += ["", texts["need"].format(**numbers, patience=PATIENCE), "", f"| {course_head} |", "|---:|---:|---:|---:|"]
    lines += [
        f"| {row['learners']:,} | {row['cores']} | {row['gib']} GiB | {row['nodes']} |" for row in plan["courses"]
    ]
    return "\n".join(lines)


def fill(page, results, texts):
    """Return a page for teachers with the numbers of ``results``."""
    before, start, rest = page.partition(START)
    _old, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"the page for teachers needs the lines {START} and {END}, between which its numbers stand")
    return f"{before}{START}\n\n{format_numbers(results, texts)}\n\n{END}{after}"


if __name__ == "__main__":
    main()
