"""The machine that a result was measured on."""

import platform
from pathlib import Path

import torch


def describe_machine():
    """Return what seconds, and the last digits of the rest, depend on: processor, threads and versions."""
    return {
        "cpu": read_cpu_name(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def read_cpu_name():
    """Return the processor's name as Linux tells it, elsewhere as Python does."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
