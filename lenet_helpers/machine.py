"""The machine that a result was measured on, and how this course uses its memory."""

import ctypes
import platform
import sys
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt, see its manual page
KEPT, LARGEST = 2**30, 2**25  # bytes; glibc takes no larger LARGEST


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


def keep_freed_memory():
    """Let glibc keep up to 1 GiB that tensors have freed, for the next ones; without glibc, do nothing.

    Else each training step gives its feature maps back to the system and asks for them again, page by page.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
