"""The data: where it is looked for, what happens when something is wrong with it, and what the loaders give.

All that writes works on four tiny files with SHA-256 sums of their own, far from the real data set.
"""

import errno
import functools
import gzip
import hashlib
import logging
import os
import re
import shutil
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
import torchvision
from d2l import torch as d2l
from small_data import DAMAGES, NAMES, REAL_SOURCES, contents, listed, put, to_idx
from torch.utils.data import DataLoader, Subset
from torchvision import transforms

from lenet_helpers import data, load_data_fashion_mnist

# --- Where it is looked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(5 + len(data.MIRRORS)))
def test_sources_are_tried_in_order_until_one_has_the_files(first, own, world, raw, files, monkeypatch):
    folders = [own, own / data.RAW, raw, world / "debian"]
    order, tried = [*folders, "apt", *data.MIRRORS], []

    def spy(source, name, wanted, incoming):
        tried.append(name)
        assert incoming.parent == own / data.RAW, "on the same disk, so that a finished file can be renamed"
        if order.index(name) >= first:
            put(incoming, files)
        else:
            raise OSError("not here")

    monkeypatch.setattr(data, "_copy_from", lambda folder, *rest: spy("_copy_from", folder, *rest))
    monkeypatch.setattr(data, "_copy_from_debian_package", functools.partial(spy, "package", "apt"))
    monkeypatch.setattr(data, "_download", functools.partial(spy, "download"))
    paths = data.find_data()
    assert tried == order[: first + 1]
    assert contents(paths) == files
    assert paths == {name: own / data.RAW / name for name in NAMES}


def test_intact_files_are_used_where_they_are(own, files):
    put(own, files)
    before = listed(own)
    assert data.find_data() == {name: own / name for name in NAMES}
    assert listed(own) == before


def test_torchvisions_folders_are_understood(own, files):
    put(own / "FashionMNIST" / "raw", files)
    assert data.find_data() == {name: own / "FashionMNIST" / "raw" / name for name in NAMES}


@pytest.mark.parametrize("inside", [".", "FashionMNIST/raw"])
def test_packed_files_in_the_chosen_folder(inside, own, files):
    put(own / inside, files, packed=True)
    assert contents(data.find_data()) == files


def test_the_repositorys_data_folder_is_found_from_anywhere(world, raw, files, monkeypatch):
    put(raw, files)
    for folder in (world, Path("/")):
        monkeypatch.chdir(folder)
        assert data.find_data() == {name: raw / name for name in NAMES}


def test_an_installed_package_keeps_the_data_in_the_users_cache(world, files):
    (world / "repository" / "pyproject.toml").unlink()
    put(world / "debian", files, packed=True)
    assert data.find_data() == {name: world / "cache" / "FashionMNIST" / "raw" / name for name in NAMES}


def test_debians_installed_package(world, raw, files):
    put(world / "debian", files, packed=True)
    paths = data.find_data()
    assert paths == {name: raw / name for name in NAMES}
    assert contents(paths) == files
    assert listed(raw) == set(NAMES), "nothing else is left there"


def test_the_real_files_have_the_right_sums():
    assert {name: hashlib.sha256(content).hexdigest() for name, content in contents(data.find_data()).items()} == {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }


# --- Debian's package by apt-get --------------------------------------------------------------------------------------


@pytest.fixture
def apt(world, files, monkeypatch):
    """A stand-in for apt-get and dpkg-deb; the files ``needs_lists`` and ``is_offline`` (its words) are its faults."""
    if os.name == "nt":
        pytest.skip("Debian's tools are shell scripts here")
    apt, bin = world / "apt", world / "bin"
    put(apt / "content" / "usr" / "share" / "datasets" / "fashion-mnist", files, packed=True)
    put(
        bin,
        {
            "apt-get": f"""#!/bin/sh
echo "$*" >> {apt}/calls
case "$*" in
*update)
  lists=${{2#Dir::State::Lists=}}
  [ -d "$lists/partial" ] || exit 100 ;;
*download*)
  if [ -e {apt}/is_offline ]; then cat {apt}/is_offline >&2; exit 100; fi
  case "$*" in *Lists=*) ;; *) if [ -e {apt}/needs_lists ]; then echo "E: no package" >&2; exit 100; fi ;; esac
  echo > dataset.deb
esac
""".encode(),
            "dpkg-deb": f'#!/bin/sh\n[ "$1 $2 $3" = "-x dataset.deb ." ] && cp -r {apt}/content/usr .\n'.encode(),
        },
    )
    for tool in bin.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(data, "DEBIAN_FOLDER", Path("usr/share/datasets/fashion-mnist"))
    copy = REAL_SOURCES["_copy_from"]
    missing = world / "missing"  # this machine may have the package installed: look past it
    installed = Path("/") / data.DEBIAN_FOLDER
    monkeypatch.setattr(
        data, "_copy_from", lambda folder, *rest: copy(missing if folder == installed else folder, *rest)
    )
    monkeypatch.setattr(data, "_copy_from_debian_package", REAL_SOURCES["_copy_from_debian_package"])
    return apt


def calls(apt):
    """Return the options of each call of apt-get; ``lists`` stands for the path of its own lists."""
    return re.sub(r"=/\S+", "=lists", (apt / "calls").read_text()).splitlines()


def test_apt_downloads_the_package(apt, raw, files):
    assert contents(data.find_data()) == files
    assert calls(apt) == ["-qq download dataset-fashion-mnist"]
    assert listed(raw) == set(NAMES)


def test_apt_reads_fresh_lists_of_its_own_where_the_systems_are_empty(apt, files):
    (apt / "needs_lists").touch()
    assert contents(data.find_data()) == files
    assert calls(apt) == [
        "-qq download dataset-fashion-mnist",
        "-o Dir::State::Lists=lists -qq update",
        "-o Dir::State::Lists=lists -qq download dataset-fashion-mnist",
    ]


@pytest.mark.parametrize(
    "words, told",
    [("E: no connection\n", "E: no connection\n"), ("", "Command .* returned non-zero exit status 100.\n")],
)
def test_apts_own_words_are_told(words, told, apt):
    (apt / "is_offline").write_text(words)
    with pytest.raises(FileNotFoundError, match=f"by apt-get download: {told}"):
        data.find_data()


@pytest.mark.parametrize("tools", [[], ["apt-get"], ["dpkg-deb"]])
def test_no_debian(tools, apt, world, monkeypatch):
    for tool in {"apt-get", "dpkg-deb"}.difference(tools):
        (world / "bin" / tool).unlink()
    monkeypatch.setenv("PATH", str(world / "bin"))
    with pytest.raises(FileNotFoundError, match=r"by apt-get download: this is no Debian system\n"):
        data.find_data()


# --- Download from a mirror -------------------------------------------------------------------------------------------


def test_a_mirror_has_the_files(mirror, raw, files, capsys):
    assert contents(data.find_data()) == files
    assert capsys.readouterr() == ("", "".join(f"downloading {mirror.url}{name}.gz\n" for name in NAMES))
    assert listed(raw) == set(NAMES)


@pytest.mark.fault("data", "download cut in the middle")
@pytest.mark.parametrize("fault", ["cut", "chunked cut", "not found", "no gzip"])
def test_a_download_that_fails_in_the_middle_leaves_nothing(fault, mirror, raw, files):
    mirror.fault = fault
    with pytest.raises(FileNotFoundError, match=f"the mirror {mirror.url}: "):
        data.find_data()
    assert listed(raw) == set()
    mirror.fault = None
    assert contents(data.find_data()) == files


@pytest.mark.fault("data", "download cut in the middle")
def test_an_interrupted_download_leaves_nothing(raw, world, files, monkeypatch):
    def interrupted(mirror, wanted, incoming):
        put(incoming, {name: files[name][:100] for name in wanted})
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.find_data()
    assert listed(raw) == set()
    put(world / "debian", files)
    assert contents(data.find_data()) == files


# --- Damaged files ----------------------------------------------------------------------------------------------------


@pytest.mark.fault("data", "each of the four files empty")
@pytest.mark.fault("data", "each of the four files cut at 1 byte, at half, at the last byte")
@pytest.mark.fault("data", "one flipped bit")
@pytest.mark.fault("data", "wrong magic")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_moved_aside_and_fetched_again(damage, name, raw, world, files, caplog):
    damaged = DAMAGES[damage](files[name])
    put(raw, {**files, name: damaged})
    untouched = {other: (raw / other).stat().st_ino for other in NAMES if other != name}
    put(world / "debian", files, packed=True)

    assert contents(data.find_data()) == files
    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert message == (
        f"{raw / name} is damaged (its SHA-256 is wrong): moved aside to {name}.damaged; getting it again"
    )
    assert (raw / f"{name}.damaged").read_bytes() == damaged
    assert {other: (raw / other).stat().st_ino for other in untouched} == untouched
    assert listed(raw) == {*NAMES, f"{name}.damaged"}

    caplog.clear()
    assert contents(data.find_data()) == files
    assert not caplog.records


@pytest.mark.fault("data", "each of the four files missing")
@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_fetched_alone(name, raw, world, files, caplog):
    put(raw, files)
    (raw / name).unlink()
    put(world / "debian", {name: files[name]})
    assert contents(data.find_data()) == files
    assert not caplog.records


def test_each_damaged_file_and_even_a_folder_in_its_place_is_kept(raw, world, files):
    put(world / "debian", files)
    put(raw / NAMES[0], {"mine": b"first"})
    assert contents(data.find_data()) == files
    put(raw, {NAMES[0]: b"second"})
    assert contents(data.find_data()) == files
    (raw / NAMES[0]).unlink()
    put(raw / NAMES[0], {"mine": b"third"})
    assert contents(data.find_data()) == files
    kept = {f"{NAMES[0]}.damaged/mine": b"first", f"{NAMES[0]}.damaged1": b"second"}
    kept |= {f"{NAMES[0]}.damaged2/mine": b"third"}
    assert contents({name: raw / name for name in kept}) == kept


def test_a_damaged_file_without_a_source_is_not_used(raw, files):
    put(raw, {**files, NAMES[0]: b""})
    with pytest.raises(FileNotFoundError, match=f"could not be found: {NAMES[0]} missing"):
        data.find_data()
    assert listed(raw) == {*NAMES[1:], f"{NAMES[0]}.damaged"}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_source_is_named_and_the_next_one_used(packed, damage, own, world, files, caplog):
    put(own, files, packed)
    broken = own / (f"{NAMES[2]}.gz" if packed else NAMES[2])
    before = DAMAGES[damage](broken.read_bytes())
    broken.write_bytes(before)
    put(world / "debian", files)
    assert contents(data.find_data()) == files
    assert broken.read_bytes() == before, "a file that the user put there stays"
    if not packed:
        (record,) = caplog.records
        assert record.getMessage() == (
            f"{NAMES[2]} from the folder {own} is damaged (its SHA-256 is wrong): looking elsewhere"
        )


def test_a_damaged_source_is_told_where_there_is_no_other(own, files):
    put(own, {**files, NAMES[2]: b"damaged"})
    with pytest.raises(FileNotFoundError) as caught:
        data.find_data()
    assert str(caught.value).splitlines()[:3] == [
        f"Fashion-MNIST could not be found: {NAMES[2]}, {NAMES[3]} missing. Tried in this order:",
        f"  - the folder {own}: its {NAMES[2]} is damaged (the SHA-256 is wrong)",
        f"  - the folder {own / data.RAW}: neither {NAMES[2]} nor {NAMES[2]}.gz is there",
    ]


@pytest.mark.fault("data", "one flipped bit")
def test_any_wrong_bit_of_a_packed_file_leads_to_the_next_source(own, world, files):
    """A wrong bit shows as another error of gzip, of zlib, or as a wrong sum: each leads to the next source."""
    put(world / "debian", files)
    whole = gzip.compress(files[NAMES[1]])
    for position in range(len(whole)):
        put(own, files, packed=True)
        shutil.rmtree(own / "FashionMNIST", ignore_errors=True)
        (own / f"{NAMES[1]}.gz").write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        assert contents(data.find_data()) == files, position


# --- Nothing to be had, or nowhere to put it --------------------------------------------------------------------------


@pytest.mark.fault("data", "no source at all")
def test_one_error_lists_all_that_was_tried_and_the_two_cures(own, world, raw, files):
    with pytest.raises(FileNotFoundError) as caught:
        data.find_data()
    nothing = f"neither {NAMES[0]} nor {NAMES[0]}.gz is there"
    assert str(caught.value).splitlines() == [
        f"Fashion-MNIST could not be found: {', '.join(NAMES)} missing. Tried in this order:",
        *[f"  - the folder {place}: {nothing}" for place in (own, own / data.RAW, raw, world / "debian")],
        "  - Debian's package dataset-fashion-mnist by apt-get download: cannot be reached from here",
        *[f"  - the mirror {mirror}: cannot be reached from here" for mirror in data.MIRRORS],
        "You can do one of two things:",
        "  1. connect to the internet (on Debian also: sudo apt-get install dataset-fashion-mnist) and try again;",
        "  2. copy the four files, as they are or as .gz, into a folder and set LENET_DATA to it.",
    ]
    assert listed(own) == set()
    put(own, files, packed=True)
    assert contents(data.find_data()) == files


@pytest.mark.fault("data", "LENET_DATA that points nowhere")
def test_a_chosen_folder_that_is_not_there_is_told(world, files, monkeypatch):
    put(world / "debian", files)
    monkeypatch.setenv("LENET_DATA", str(world / "mistyped"))
    with pytest.raises(FileNotFoundError) as caught:
        load_data_fashion_mnist(256)
    assert str(caught.value) == (
        f"LENET_DATA is set to {str(world / 'mistyped')!r}, which is no folder. Create it (the data set is then put "
        "into it), or unset LENET_DATA to use the project's own data folder."
    )
    assert not (world / "mistyped").exists()
    (world / "mistyped").mkdir()
    assert contents(data.find_data()) == files


@pytest.fixture
def read_only(own, monkeypatch):
    """Make the chosen folder read-only, for root as well."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != own and access(path, mode))
    yield lambda: own.chmod(0o555)
    own.chmod(0o755)


def test_a_complete_read_only_folder_is_used(read_only, own, files):
    put(own, files)
    read_only()
    assert data.find_data() == {name: own / name for name in NAMES}


@pytest.mark.fault("data", "read-only folder")
def test_a_read_only_folder_of_packed_files_is_unpacked_into_the_cache(read_only, own, world, files):
    put(own, files, packed=True)
    read_only()
    before = listed(own)
    paths = data.find_data()
    assert paths == {name: world / "cache" / "FashionMNIST" / "raw" / name for name in NAMES}
    assert contents(paths) == files
    assert listed(own) == before
    assert data.find_data() == paths


def refuse(*arguments, **options):
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    "place, name", [(data.filelock, "FileLock"), (data.tempfile, "TemporaryDirectory"), (data.hashlib, "file_digest")]
)
def test_no_permission_to_write_or_to_read(place, name, own, files, monkeypatch):
    put(own, {NAMES[0]: files[NAMES[0]]})
    with monkeypatch.context() as patch:
        patch.setattr(place, name, refuse)
        with pytest.raises(PermissionError) as caught:
            data.find_data()
    assert caught.value.args == (
        errno.EACCES,
        f"Fashion-MNIST is not complete in {own}, and cannot be read or completed in {own / data.RAW} "
        f"([Errno {errno.EACCES}] Permission denied). Make room there and make it readable and writable, "
        "or set LENET_DATA to another folder of your own",
    )
    put(own, files)
    assert contents(data.find_data()) == files


@pytest.mark.fault("data", "full disk")
def test_a_full_disk_is_told_and_nothing_is_left(own, world, files, monkeypatch):
    put(world / "debian", files)

    def fill_up(source, target):
        Path(target).write_bytes(source.read_bytes()[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(data.shutil, "copyfile", fill_up)
        with pytest.raises(OSError, match=r"No space left on device.*Make room") as caught:
            data.find_data()
    assert caught.value.errno == errno.ENOSPC
    assert listed(own) == set()
    assert contents(data.find_data()) == files


# --- Several kernels at once ------------------------------------------------------------------------------------------


@pytest.mark.fault("data", "two processes fetching at once")
def test_two_processes_that_fetch_at_once_fetch_once(fork, world, raw, files, monkeypatch):
    put(world / "debian", files, packed=True)
    barrier, copies = fork.context.Barrier(2), fork.context.Value("i", 0)
    copy = data._copy_from

    def copy_slowly(folder, wanted, incoming):
        if folder == world / "debian":
            with copies.get_lock():
                copies.value += 1
            time.sleep(0.3)
        copy(folder, wanted, incoming)

    def find():
        barrier.wait()
        assert contents(data.find_data()) == files

    monkeypatch.setattr(data, "_copy_from", copy_slowly)
    processes = [fork(find), fork(find)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert copies.value == 1
    assert listed(raw) == set(NAMES)


@pytest.mark.fault("data", "download cut in the middle")
def test_a_process_killed_while_fetching_leaves_nothing_that_looks_complete(fork, world, raw, files, monkeypatch):
    put(world / "debian", files)
    half_done = fork.context.Event()

    def copy_half(folder, wanted, incoming):
        put(incoming, {name: files[name] for name in wanted[:2]})
        half_done.set()
        time.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(data, "_copy_from", copy_half)
        process = fork(data.find_data)
        assert half_done.wait(60)
    process.kill()
    process.join()
    assert listed(raw) and not any((raw / name).exists() for name in NAMES)
    assert contents(data.find_data()) == files
    assert {path.name for path in raw.iterdir()} <= {*NAMES, ".lock"}, "what it left half done is gone"


@pytest.mark.fault("data", "two processes fetching at once")
def test_a_kernel_that_waits_for_another_says_so(world, raw, files, monkeypatch):
    put(world / "debian", files)
    raw.mkdir(parents=True)
    other, told = filelock.FileLock(raw / ".lock"), []

    def tell(text, file):
        told.append(text)
        other.release()

    other.acquire()
    monkeypatch.setattr(data, "print", tell, raising=False)
    assert contents(data.find_data()) == files
    assert told == ["another kernel is fetching Fashion-MNIST: this one waits, and uses its files"]
    (raw / NAMES[0]).unlink()
    assert contents(data.find_data()) == files and len(told) == 1, "its own lock was given back"


# --- idx files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (2, 1, 3, 2)])
def test_an_idx_file_is_read(shape, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "file").write_bytes(to_idx(array))
    tensor = data.read_idx(tmp_path / "file")
    assert tensor.dtype == torch.uint8
    assert torch.equal(tensor, torch.from_numpy(array))


WHOLE = to_idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
WRONG_START = {
    "empty": b"",
    "one byte": WHOLE[:1],
    "magic cut": WHOLE[:3],
    "type of signed bytes": b"\x00\x00\x09" + WHOLE[3:],
    "not zero at the start": b"\x01" + WHOLE[1:],
    "no dimension": b"\x00\x00\x08\x00" + WHOLE[4:],
    "five dimensions": b"\x00\x00\x08\x05" + WHOLE[4:],
    "a gzip file": gzip.compress(WHOLE),
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
}
WRONG_SIZE = {
    "header cut": (WHOLE[:10], "10 bytes; an idx file of shape (2,) has 18"),
    "header alone": (WHOLE[:16], "16 bytes; an idx file of shape (2, 3, 4) has 40"),
    "one byte short": (WHOLE[:-1], "39 bytes; an idx file of shape (2, 3, 4) has 40"),
    "one byte long": (WHOLE + b"\x00", "41 bytes; an idx file of shape (2, 3, 4) has 40"),
    "a size of zero": (
        to_idx(np.zeros((0, 28, 28), dtype=np.uint8)),
        "the shape (0, 28, 28), so there is nothing in it",
    ),
    "huge sizes": (
        WHOLE[:4] + b"\xff" * 12 + WHOLE[16:],
        f"40 bytes; an idx file of shape {(2**32 - 1,) * 3} has {(2**32 - 1) ** 3 + 16:,}",
    ),
}
WRONG = {
    **{
        fault: (content, f"is no idx file of unsigned bytes: it starts with {content[:4]}; get the file again")
        for fault, content in WRONG_START.items()
    },
    **{fault: (content, f"has {sizes}: get it again") for fault, (content, sizes) in WRONG_SIZE.items()},
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_no_idx_file_is_refused(fault, tmp_path):
    content, told = WRONG[fault]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        data.read_idx(tmp_path / "file")
    assert str(caught.value) == f"{tmp_path / 'file'} {told}"


def test_random_bytes_give_a_tensor_or_a_value_error(tmp_path):
    random = np.random.default_rng(0)
    read = 0
    for index in range(1000):
        content = bytearray(WHOLE)
        for position in random.integers(0, 16, random.integers(1, 3)):
            content[position] = random.choice([0, 1, 2, 3, 4, 6, 8, 12, 255])
        path = tmp_path / str(index)
        path.write_bytes(content[: random.integers(0, 60)] if index % 2 else content)
        try:
            assert data.read_idx(path).numel() == len(path.read_bytes()) - 4 - 4 * path.read_bytes()[3]
            read += 1
        except ValueError:
            pass
    assert 0 < read < 500


# --- What the loaders give --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaders():
    return load_data_fashion_mnist(256)


@pytest.fixture(scope="module")
def d2l_root(tmp_path_factory):
    """A root folder for torchvision, and a working directory beside it, from which d2l looks into ``../data``."""
    root = tmp_path_factory.mktemp("d2l")
    (root / "data" / data.RAW).mkdir(parents=True)
    (root / "work").mkdir()
    for name, path in data.find_data().items():
        try:
            (root / "data" / data.RAW / name).symlink_to(path)
        except OSError:  # Windows asks for a permission
            shutil.copyfile(path, root / "data" / data.RAW / name)
    return root


@pytest.fixture
def load_as_d2l(d2l_root, monkeypatch):
    """d2l's own loader, without its worker processes."""
    monkeypatch.chdir(d2l_root / "work")
    monkeypatch.setattr(d2l, "get_dataloader_workers", lambda: 0)
    return d2l.load_data_fashion_mnist


def first_batches(data_iter, count=3):
    return [batch for batch, _ in zip(data_iter, range(count), strict=False)]


def test_the_form_of_a_batch(loaders):
    train_iter, test_iter = loaders
    assert (len(train_iter), len(test_iter)) == (235, 40)
    assert (len(train_iter.dataset), len(test_iter.dataset)) == (60_000, 10_000)
    X, y = next(iter(train_iter))
    assert (X.shape, X.dtype) == ((256, 1, 28, 28), torch.float32)
    assert (y.shape, y.dtype) == ((256,), torch.int64)
    assert (X.min(), X.max()) == (0, 1)
    *_, (X, y) = test_iter
    assert (len(X), len(y)) == (16, 16), "the last mini-batch holds the rest"


def test_every_test_image_and_label_is_torchvisions(loaders, d2l_root):
    expected = torchvision.datasets.FashionMNIST(d2l_root / "data", train=False, transform=transforms.ToTensor())
    index = 0
    for X, y in loaders[1]:
        images, labels = zip(*(expected[index + i] for i in range(len(y))), strict=True)
        assert torch.equal(X, torch.stack(images))
        assert y.tolist() == list(labels)
        index += len(y)
    assert index == len(expected) == 10_000


def test_every_training_image_and_label_is_torchvisions(loaders, d2l_root):
    expected = torchvision.datasets.FashionMNIST(d2l_root / "data", train=True)
    assert torch.equal(loaders[0].dataset.images, expected.data)
    assert torch.equal(loaders[0].dataset.labels, expected.targets)


def test_the_class_names_are_d2ls():
    assert list(data.CLASSES) == d2l.get_fashion_mnist_labels(range(10))


def test_the_same_seed_shuffles_as_d2l_does(load_as_d2l, loaders):
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected = first_batches(load_as_d2l(256)[0])
        torch.manual_seed(seed)
        for (X, y), (X_d2l, y_d2l) in zip(first_batches(loaders[0]), expected, strict=True):
            assert torch.equal(X, X_d2l)
            assert torch.equal(y, y_d2l)


def test_one_epoch_takes_every_training_image_once_in_a_new_order(loaders):
    epochs = [torch.cat([y for _, y in loaders[0]]) for _ in range(2)]
    assert not torch.equal(*epochs)
    assert all(epoch.bincount().tolist() == [6000] * 10 for epoch in epochs)


@pytest.mark.parametrize("resize", [14, 64, (20, 30)])
def test_resizing_is_d2ls(resize, load_as_d2l):
    ((X, y),) = first_batches(load_data_fashion_mnist(32, resize)[1], 1)
    ((X_d2l, y_d2l),) = first_batches(load_as_d2l(32, resize)[1], 1)
    assert torch.equal(X, X_d2l)
    assert torch.equal(y, y_d2l)


@pytest.mark.parametrize("resize", [None, 14])
def test_an_index_may_be_a_number_a_slice_a_list_or_a_tensor(resize, loaders):
    dataset = data.FashionMNIST(loaders[1].dataset.images, loaders[1].dataset.labels, resize)
    side = resize or 28
    one = dataset[3]
    assert one[0].shape == (1, side, side)
    assert one[1] == loaders[1].dataset.labels[3]
    for several in (dataset[[3, 5]], dataset[3:6:2], dataset[torch.tensor([3, 5])]):
        assert several[0].shape == (2, 1, side, side)
        assert torch.equal(several[0], torch.stack([one[0], dataset[5][0]]))
        assert several[1].tolist() == dataset.labels[[3, 5]].tolist()


def test_a_learners_own_loader_and_subset_work(loaders):
    dataset = loaders[0].dataset
    torch.manual_seed(3)
    own = first_batches(DataLoader(dataset, 256, shuffle=True))
    torch.manual_seed(3)
    for (X, y), (X_own, y_own) in zip(first_batches(loaders[0]), own, strict=True):
        assert torch.equal(X, X_own)
        assert torch.equal(y, y_own)
    subset = DataLoader(Subset(dataset, range(100, 300)), 64)
    assert [len(y) for _, y in subset] == [64, 64, 64, 8]
    assert torch.equal(torch.cat([y for _, y in subset]), dataset.labels[100:300])


def test_writing_to_images_never_reaches_the_files(own, files):
    put(own, files)
    train_iter, test_iter = load_data_fashion_mnist(4)
    labels = train_iter.dataset.labels.clone()
    for X, y in train_iter:
        X.zero_()
        y.zero_()
    train_iter.dataset[0][0].zero_()
    assert torch.equal(train_iter.dataset.labels, labels)
    assert train_iter.dataset.images.any()
    train_iter.dataset.images.zero_()
    test_iter.dataset.images[0] = 255
    train_iter.dataset.labels.zero_()
    assert contents(data.find_data()) == files


@pytest.mark.parametrize("batch_size, lengths", [(1, (20, 10)), (7, (3, 2)), (30, (1, 1))])
def test_every_image_is_in_a_mini_batch(batch_size, lengths, own, files):
    put(own, files)
    assert tuple(map(len, load_data_fashion_mnist(batch_size))) == lengths


@pytest.mark.parametrize("batch_size", [0, -1, True, 2.5, "256", None])
def test_a_batch_size_that_makes_no_sense(batch_size, monkeypatch):
    monkeypatch.setattr(data, "find_data", lambda: pytest.fail("the settings are checked first"))
    told = f"^batch_size must be a whole number of at least 1, for example 256; it is {batch_size!r}$"
    with pytest.raises(ValueError, match=told):
        load_data_fashion_mnist(batch_size)
