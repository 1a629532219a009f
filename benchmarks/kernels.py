"""Learners' kernels: run code in a real Jupyter kernel, and sample the memory that kernels and their workers take."""

import ast
import json
import os
import subprocess
import threading

import psutil
from jupyter_client.manager import start_new_kernel

TIMEOUT = 900  # seconds for one cell


class Learner:
    """A Jupyter kernel in ``folder``, as JupyterLab starts one for an open notebook; a context manager ends it."""

    def __init__(self, folder):
        settings = {"cwd": str(folder), "stderr": subprocess.DEVNULL}  # errors come as messages
        self.manager, self.client = start_new_kernel(startup_timeout=300, kernel_name="python3", **settings)
        self.pid = self.manager.provisioner.pid

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code, value="None"):
        """Run a cell and return the value of an expression after it; what the cell shows is received and dropped.

        Raises RuntimeError with the kernel's traceback if the cell fails.
        """
        reply = self.client.execute_interactive(
            code,
            timeout=TIMEOUT,
            output_hook=lambda message: None,
            user_expressions={"value": f"__import__('json').dumps({value})"},
        )["content"]
        failed = reply if reply["status"] == "error" else reply["user_expressions"]["value"]
        if failed["status"] == "error":
            raise RuntimeError("a cell of the benchmark failed:\n" + "\n".join(failed["traceback"]))
        return json.loads(ast.literal_eval(failed["data"]["text/plain"]))


class MemoryWatch(threading.Thread):
    """Sample the memory of some kernels, each with its workers, while a ``with`` block runs.

    ``pids`` is a list that may grow meanwhile. ``uss`` and ``pss`` then hold each kernel's peak in MiB, and
    ``together`` the peak of the sum of all proportional set sizes.
    """

    def __init__(self, pids, interval=0.25):
        super().__init__(daemon=True)
        self.pids, self.interval, self.done = pids, interval, threading.Event()
        self.uss, self.pss, self.together = {}, {}, 0.0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.done.set()
        self.join()

    def run(self):
        ended = False
        while True:
            total = 0.0
            for pid in list(self.pids):
                uss, pss = read_memory(pid)
                self.uss[pid], self.pss[pid] = max(uss, self.uss.get(pid, 0)), max(pss, self.pss.get(pid, 0))
                total += pss
            self.together = max(self.together, total)
            if ended:
                return
            ended = self.done.wait(self.interval)  # and look once more, at what there is in the end


def read_memory(pid):
    """Return the (unique, proportional) set size of a process and its children, in MiB; those that end count 0."""
    uss = pss = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0, 0.0
    for process in processes:
        try:
            memory = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        uss, pss = uss + memory.uss, pss + memory.pss
    return uss / 2**20, pss / 2**20


def write_results(path, results):
    """Write results as JSON; the file is complete at every moment."""
    incoming = path.with_name(f".{path.name}.incoming")
    incoming.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(incoming, path)
