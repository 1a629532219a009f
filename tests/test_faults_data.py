"""What goes wrong with the data on a real machine; test_data.py has the faults that need no machine but a stand-in.

Permissions do not bind root, so the tests of them run as another user where root runs the tests.
"""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from small_data import NAMES, contents, listed, put

from lenet_helpers import data

NOBODY = 65534


@pytest.fixture
def place(world, monkeypatch):
    """A folder that LENET_DATA names, where every user may go, unlike pytest's own folders."""
    folder = Path(tempfile.mkdtemp(prefix="lenet-"))
    folder.chmod(0o777)
    (folder / "data").mkdir()
    (folder / "cache").mkdir()
    monkeypatch.setenv("LENET_DATA", str(folder / "data"))
    monkeypatch.setattr(data, "CACHE", folder / "cache")
    monkeypatch.setattr(data, "REPOSITORY", folder / "repository")
    monkeypatch.setattr(data, "DEBIAN_FOLDER", folder / "debian")
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o777)
    shutil.rmtree(folder)


@pytest.fixture
def find_data(fork):
    """Find the data in another process, as a user who is not root; return the paths, or raise what it raised."""

    def find(before=lambda: None):
        receiver, sender = fork.context.Pipe(duplex=False)

        def work():
            if os.geteuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            before()
            try:
                sender.send(data.find_data())
            except OSError as error:
                sender.send(error)

        process = fork(work)
        sender.close()
        result = receiver.recv()
        process.join(60)
        if isinstance(result, OSError):
            raise result
        return result

    return find


def give(folder, mode):
    """Let other users see a folder and what is in it, and the folder itself with ``mode``."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    folder.chmod(mode)


@pytest.mark.fault("data", "wrong permissions")
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_may_not_be_read_is_told_and_read_once_it_may(name, place, files, find_data):
    put(place / "data", files)
    give(place / "data", 0o755)
    (place / "data" / name).chmod(0)
    with pytest.raises(PermissionError, match=r"Permission denied.*make it readable and writable, or set LENET_DATA"):
        find_data()
    (place / "data" / name).chmod(0o644)
    assert find_data() == {name: place / "data" / name for name in NAMES}
    assert contents({name: place / "data" / name for name in NAMES}) == files


@pytest.mark.fault("data", "wrong permissions")
def test_a_folder_that_may_not_be_entered_is_told_and_used_once_it_may(place, files, find_data):
    put(place / "data", files)
    give(place / "data", 0)
    with pytest.raises(PermissionError, match=f"{place / 'data'}.*Permission denied.*or set LENET_DATA"):
        find_data()
    (place / "data").chmod(0o755)
    assert find_data() == {name: place / "data" / name for name in NAMES}


@pytest.mark.fault("data", "read-only folder")
def test_a_read_only_folder_without_data_is_completed_in_the_cache(place, files, find_data):
    put(place / "data", {NAMES[0]: files[NAMES[0]], NAMES[1]: b"damaged"})
    put(place / "debian", files, packed=True)
    give(place / "debian", 0o755)
    give(place / "data", 0o555)
    give(place / "cache", 0o755)
    paths = find_data()
    assert paths == {name: place / "cache" / data.RAW / name for name in NAMES}
    assert contents(paths) == files
    assert listed(place / "data") == {NAMES[0], NAMES[1]}
    assert find_data() == paths


@pytest.mark.fault("data", "read-only folder")
def test_read_only_folders_everywhere_are_told_with_the_cure(place, files, find_data):
    put(place / "debian", files, packed=True)
    for folder in ("debian", "data", "cache"):
        give(place / folder, 0o555)
    with pytest.raises(PermissionError, match=r"Permission denied.*make it readable and writable, or set LENET_DATA"):
        find_data()
    assert listed(place / "data") == listed(place / "cache") == set()
    (place / "data").chmod(0o755)
    assert contents(find_data()) == files


@pytest.mark.fault("data", "full disk")
@pytest.mark.parametrize("source", ["a packed folder", "a folder", "a mirror"])
def test_a_file_that_the_system_cuts_is_told_as_a_full_disk(source, place, mirror, files, find_data):
    """The system refuses to let any file grow beyond 5,000 bytes: the images are larger, the labels are not."""
    import resource  # not on Windows, where the processes are not forked either

    if source != "a mirror":
        put(place / "debian", files, packed=source == "a packed folder")
        give(place / "debian", 0o755)
    give(place / "data", 0o755)
    with pytest.raises(OSError, match=r"File too large.*Make room there") as caught:
        find_data(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY)))
    assert caught.value.errno == errno.EFBIG
    assert listed(place / "data") == set()
    assert contents(find_data()) == files


@pytest.mark.fault("data", "full disk")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_told_at_once_wherever_it_shows(number, own, world, files, monkeypatch):
    """Here in the middle of unpacking; no other source is asked, since there is no room for its files either."""
    put(world / "debian", files, packed=True)

    def copy_half(source, target):
        target.write(source.read(100))
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(data.shutil, "copyfileobj", copy_half)
        patch.setattr(data, "_copy_from_debian_package", lambda *arguments: pytest.fail("asked another source"))
        with pytest.raises(OSError, match=f"{os.strerror(number)}.*Make room there") as caught:
            data.find_data()
    assert caught.value.errno == number
    assert listed(own) == set()
    assert contents(data.find_data()) == files


@pytest.mark.fault("data", "two processes fetching at once")
@pytest.mark.fault("data", "download cut in the middle")
def test_of_two_processes_the_second_gets_what_the_first_could_not(fork, mirror, raw, files):
    """The mirror is slow, and cuts the first process's second file: the other one waits, and starts anew."""
    mirror.fault, mirror.faults = "slow", ["cut"]
    barrier, results = fork.context.Barrier(2), fork.context.SimpleQueue()

    def work():
        barrier.wait()
        try:
            results.put(contents(data.find_data()) == files)
        except FileNotFoundError as error:
            results.put(str(error))

    processes = [fork(work), fork(work)]
    first, second = results.get(), results.get()
    for process in processes:
        process.join(60)
    assert f"the mirror {mirror.url}: " in first and "LENET_DATA" in first
    assert second is True
    assert listed(raw) == set(NAMES)


@pytest.mark.fault("data", "download cut in the middle")
def test_a_mirror_that_falls_silent_is_given_up_and_the_next_one_asked(mirror, raw, files, monkeypatch):
    mirror.fault = "silent"
    monkeypatch.setattr(data, "SILENCE", 0.3)
    with pytest.raises(FileNotFoundError, match=rf"the mirror {mirror.url}: .*timed out(?s:.*)connect to the internet"):
        data.find_data()
    assert listed(raw) == set()
    monkeypatch.setattr(data, "MIRRORS", (mirror.url, mirror.url.replace("127.0.0.1", "localhost")))
    monkeypatch.setattr(data, "SILENCE", 2)  # five answers have to come in time now
    mirror.faults, mirror.fault = ["silent"], None
    assert contents(data.find_data()) == files
    assert listed(raw) == set(NAMES)


@pytest.mark.fault("data", "LENET_DATA that points nowhere")
def test_lenet_data_that_names_a_file_is_told_so(world, files, monkeypatch):
    (world / "file").write_bytes(b"mine")
    monkeypatch.setenv("LENET_DATA", str(world / "file"))
    with pytest.raises(FileNotFoundError, match=r"which is no folder\. Create it .*or unset LENET_DATA"):
        data.find_data()
    assert (world / "file").read_bytes() == b"mine"
    monkeypatch.delenv("LENET_DATA")
    put(world / "debian", files)
    assert contents(data.find_data()) == files
