"""What a result says of the machine, and how memory is kept."""

import ctypes
import platform
from pathlib import Path
from types import SimpleNamespace

import torch

from lenet_helpers import machine


def test_description_names_what_seconds_depend_on():
    described = machine.describe_machine()
    assert described == {
        "cpu": machine.read_cpu_name(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def test_the_processor_has_the_name_that_linux_gives_it(monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some: CPU ü \nmodel name\t: another\n", encoding="utf-8")
    monkeypatch.setattr(machine, "Path", lambda path: cpuinfo if path == "/proc/cpuinfo" else Path(path))
    assert machine.read_cpu_name() == "Some: CPU ü"


def test_elsewhere_the_processor_has_the_name_that_python_gives_it(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "Path", lambda path: tmp_path / "missing")
    monkeypatch.setattr(platform, "processor", lambda: "Arm")
    assert machine.read_cpu_name() == "Arm"
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine.read_cpu_name() == "arm64"


def test_glibc_keeps_a_gibibyte_of_freed_memory_and_maps_only_large_blocks(monkeypatch):
    settings = []
    glibc = SimpleNamespace(mallopt=lambda *setting: settings.append(setting))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: glibc if name is None else None)
    monkeypatch.setattr(machine.sys, "platform", "linux")
    machine.keep_freed_memory()
    assert settings == [(-1, 2**30), (-3, 32 * 2**20)]  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())  # musl has no mallopt
    machine.keep_freed_memory()
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: glibc)
    machine.keep_freed_memory()
    assert len(settings) == 2
