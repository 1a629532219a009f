"""A machine with a data set of four tiny files, far from the real one; by conftest.py all tests have these fixtures."""

import gzip
import hashlib
import http.server
import multiprocessing
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lenet_helpers import data

NAMES = list(data.SHA256)
DAMAGES = {
    "one flipped bit": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "cut at 1 byte": lambda content: content[:1],
    "cut at half": lambda content: content[: len(content) // 2],
    "cut at the last byte": lambda content: content[:-1],
    "empty": lambda content: b"",
    "wrong magic": lambda content: b"\x00\x00\x0d" + content[3:],
}
REAL_SOURCES = {name: getattr(data, name) for name in ("_copy_from", "_copy_from_debian_package", "_download")}


def to_idx(array):
    """Return the bytes of an idx file of unsigned bytes."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def put(folder, files, packed=False):
    """Write files into a folder, as they are or as .gz."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)


def contents(paths):
    return {name: Path(path).read_bytes() for name, path in paths.items()}


def listed(folder):
    """Return what is in a folder and below, but for the lock."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture
def files(monkeypatch):
    """Four intact files of 20 training and 10 test images, ``{name: bytes}``, which the module takes for the data."""
    random = np.random.default_rng(0)
    files = {}
    for part, count in (("train", 20), ("t10k", 10)):
        files[f"{part}-images-idx3-ubyte"] = to_idx(random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = to_idx(random.integers(0, 10, count, dtype=np.uint8))
    assert list(files) == NAMES
    monkeypatch.setattr(data, "SHA256", {name: hashlib.sha256(files[name]).hexdigest() for name in NAMES})
    return files


@pytest.fixture
def world(monkeypatch, tmp_path, files):
    """An empty machine: a repository without data, and no source that has any."""

    def fail(*arguments):
        raise OSError("cannot be reached from here")

    monkeypatch.delenv("LENET_DATA", raising=False)
    monkeypatch.setattr(data, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(data, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(data, "_copy_from_debian_package", fail)
    monkeypatch.setattr(data, "_download", fail)
    put(tmp_path / "repository", {"pyproject.toml": b""})
    return tmp_path


@pytest.fixture
def raw(world):
    """The folder that the data goes to where LENET_DATA is not set."""
    return world / "repository" / "data" / "FashionMNIST" / "raw"


@pytest.fixture
def own(world, monkeypatch):
    """An empty folder that LENET_DATA names."""
    (world / "own").mkdir()
    monkeypatch.setenv("LENET_DATA", str(world / "own"))
    return world / "own"


@pytest.fixture
def mirror(world, files, monkeypatch):
    """A mirror on this machine: an object with its ``url``, and with a ``fault``.

    The fault is None, 'cut', 'chunked cut', 'not found', 'no gzip' or 'silent'; 'slow' is slow and no fault. The first
    file always arrives whole. ``faults`` holds the faults of the answers to come, before ``fault`` is for all others.
    """

    class Mirror(http.server.BaseHTTPRequestHandler):
        fault, faults, protocol_version = None, [], "HTTP/1.1"
        ended = threading.Event()

        def do_GET(self):
            content = gzip.compress(files[self.path.strip("/").removesuffix(".gz")], mtime=0)
            first = self.path.startswith(f"/{NAMES[0]}")
            fault = None if first else Mirror.faults.pop(0) if Mirror.faults else Mirror.fault
            if fault == "no gzip":
                content = b"<!DOCTYPE html><html><body>Sign in to this network</body></html>"
            self.send_response(404 if fault == "not found" else 200)
            if fault == "chunked cut":
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n" % len(content))
            else:
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
            half = len(content) // 2
            self.wfile.write(content[:half])
            if fault == "silent":
                Mirror.ended.wait(60)
            elif fault == "slow":
                time.sleep(0.2)
            if fault in (None, "slow", "no gzip"):
                self.wfile.write(content[half:])
            self.close_connection = True

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    Mirror.url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(data, "MIRRORS", (Mirror.url,))
    monkeypatch.setattr(data, "_download", REAL_SOURCES["_download"])
    yield Mirror
    Mirror.ended.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def fork():
    """Start a function in another process, which inherits the stand-ins; stop what is left at the end."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes cannot be forked here")
    context, started = multiprocessing.get_context("fork"), []

    def start(function, *arguments):
        process = context.Process(target=function, args=arguments, daemon=True)
        process.start()
        started.append(process)
        return process

    start.context = context
    yield start
    for process in started:
        process.kill()
        process.join()
