"""Find, check and load Fashion-MNIST (MIT licence, Zalando Research, https://github.com/zalandoresearch/fashion-mnist)."""

import errno
import gzip
import hashlib
import itertools
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from functools import partial
from pathlib import Path

import filelock
import numpy as np
import platformdirs
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from lenet_helpers.language import _

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

# SHA-256 of the uncompressed files.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
REPOSITORY = Path(__file__).parents[1]
RAW = Path("FashionMNIST") / "raw"  # the folder in which torchvision.datasets.FashionMNIST(root=...) looks, too
CACHE = platformdirs.user_cache_path("lenet-step-by-step")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("usr/share/datasets/fashion-mnist")
MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",  # the authors' own
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",  # named in keras.datasets.fashion_mnist
)
SILENCE = 60  # seconds after which a mirror that sends nothing is given up
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, or this user's part of it

log = logging.getLogger(__name__)


class FashionMNIST(Dataset):
    """Images as one tensor in memory; an index gives float32 in [0, 1] of shape (1, 28, 28), a list (n, 1, 28, 28).

    ``images`` is uint8, shape (N, 28, 28), and ``labels`` int64, shape (N,). With ``resize``, the images of a batch are
    resized as torchvision's transform does it.
    """

    def __init__(self, images, labels, resize=None):
        self.images, self.labels, self.resize = images, labels, resize

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        # By NumPy: torch would share this small work among threads, which wait for one another on a busy machine.
        images = self.images.numpy()[index]
        if self.resize:
            from torchvision.transforms import functional  # takes seconds and memory, and only resizing needs it

            pictures = map(functional.to_pil_image, images.reshape(-1, *images.shape[-2:]))
            resized = np.stack([functional.resize(picture, self.resize) for picture in pictures])
            images = resized.reshape(*images.shape[:-2], *resized.shape[-2:])
        X = np.divide(images, np.float32(255), dtype=np.float32)
        return torch.from_numpy(X).unsqueeze(-3), self.labels[index]


def load_data_fashion_mnist(batch_size, resize=None):
    """Return ``(train_iter, test_iter)``: DataLoaders over the 60,000 training and 10,000 test images.

    A batch is ``(X, y)``: X float32 in [0, 1] of shape (batch_size, 1, 28, 28), y int64 class numbers. The training
    images come in a new order every epoch. Finds the data by itself; raises FileNotFoundError where it cannot.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, for example 256; it is {batch_size!r}")
    arrays = {name: read_idx(path) for name, path in find_data().items()}
    train, test = (
        FashionMNIST(arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"].long(), resize)
        for part in ("train", "t10k")
    )
    return batch_loader(train, batch_size, shuffle=True), batch_loader(test, batch_size)


def batch_loader(dataset, batch_size, shuffle=False):
    """Return a DataLoader that takes each mini-batch from ``dataset`` by one indexing, in this process.

    The order under a seed is that of ``DataLoader(dataset, batch_size, shuffle)``.
    """
    order = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
    return DataLoader(dataset, sampler=BatchSampler(order, batch_size, drop_last=False), batch_size=None)


def read_idx(path):
    """Return the array of an idx file as a uint8 tensor that shares the memory of the file's cached pages.

    Raises ValueError if the header is not that of an idx file of unsigned bytes or does not fit the file's size.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or not 1 <= magic[3] <= 4:
            raise ValueError(f"{path} is no idx file of unsigned bytes: it starts with {magic!r}; get the file again")
        rank = magic[3]
        header = file.read(4 * rank)
    shape = tuple(int(n) for n in np.frombuffer(header[: len(header) // 4 * 4], dtype=">u4"))
    expected = 4 + 4 * rank + int(np.prod(shape, dtype=object))
    if 0 in shape:
        raise ValueError(f"{path} has the shape {shape}, so there is nothing in it: get it again")
    if len(shape) < rank or size != expected:
        raise ValueError(f"{path} has {size:,} bytes; an idx file of shape {shape} has {expected:,}: get it again")
    # Copy-on-write: the pages stay shared with other kernels, and writing to the tensor never reaches the file.
    return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c", offset=4 + 4 * rank, shape=shape))


def data_folder():
    """Return the folder that downloads go to: ``$LENET_DATA``, the repository's ``data``, or the user's cache."""
    if chosen := os.environ.get("LENET_DATA"):
        return Path(chosen)
    if (REPOSITORY / "pyproject.toml").exists():
        return REPOSITORY / "data"
    return CACHE


def find_data():
    """Return the paths of the four checked, uncompressed files; get them if they are not here yet.

    Looked for in this order: ``$LENET_DATA``, the repository's ``data`` folder, Debian's package as installed, as
    downloaded by apt (no root needed), a download over TLS. Each file is used only if its SHA-256 is right; a
    damaged one is moved aside. Raises FileNotFoundError with all that was tried and what to do, or another OSError
    if files cannot be read or written.
    """
    folder = data_folder()
    if os.environ.get("LENET_DATA") and not folder.is_dir():
        text = _(
            "LENET_DATA is set to {folder}, which is no folder. "
            "Create it (the data set is then put into it), or unset LENET_DATA to use the project's own data folder."
        )
        raise FileNotFoundError(text.format(folder=repr(str(folder))))
    writable = folder if os.access(folder if folder.exists() else folder.parent, os.W_OK) else CACHE
    raw = writable / RAW
    try:
        for place in (folder, folder / RAW, raw):
            if all(_is_intact(place / name) for name in SHA256):
                return {name: place / name for name in SHA256}
        raw.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(raw / ".lock")
        try:
            held = lock.acquire(blocking=False)
        except filelock.Timeout:
            print(_("another kernel is fetching Fashion-MNIST: this one waits, and uses its files"), file=sys.stderr)
            held = lock.acquire()
        with held:
            _fetch(folder, raw)
    except FileNotFoundError:
        raise
    except OSError as error:
        text = _(
            "Fashion-MNIST is not complete in {folder}, and cannot be read or completed in {raw} ({error}). "
            "Make room there and make it readable and writable, or set LENET_DATA to another folder of your own"
        )
        raise OSError(error.errno, text.format(folder=folder, raw=raw, error=error)) from error
    return {name: raw / name for name in SHA256}


def _fetch(folder, raw):
    """Fill ``raw`` with the files that are missing or damaged, from the first source that has them."""
    tried = []
    for left in raw.glob(".incoming-*"):  # by a kernel that was killed
        shutil.rmtree(left, ignore_errors=True)
    for path in (raw / name for name in SHA256):
        if path.exists() and not _is_intact(path):
            _move_aside(path)
    places = (folder, folder / RAW, REPOSITORY / "data" / RAW, Path("/") / DEBIAN_FOLDER)
    sources = {_("the folder {place}").format(place=place): partial(_copy_from, place) for place in places}
    package = _("Debian's package {package} by apt-get download").format(package=DEBIAN_PACKAGE)
    sources[package] = _copy_from_debian_package
    sources |= {_("the mirror {mirror}").format(mirror=mirror): partial(_download, mirror) for mirror in MIRRORS}
    for name, source in sources.items():
        wanted = [file for file in SHA256 if not (raw / file).exists()]
        if not wanted:
            return
        with tempfile.TemporaryDirectory(dir=raw, prefix=".incoming-") as incoming:
            try:
                source(wanted, Path(incoming))
                for file in wanted:
                    if not _is_intact(Path(incoming) / file):
                        log.warning(_("%s from %s is damaged (its SHA-256 is wrong): looking elsewhere"), file, name)
                        raise ValueError(_("its {file} is damaged (the SHA-256 is wrong)").format(file=file))
                    os.replace(Path(incoming) / file, raw / file)  # complete or not there at all
            except Exception as error:  # whatever is wrong with one source, the next may have the files
                if getattr(error, "errno", None) in NO_ROOM:
                    raise
                tried.append(f"  - {name}: {error}")
    if missing := [file for file in SHA256 if not (raw / file).exists()]:
        text = _(
            "Fashion-MNIST could not be found: {files} missing. Tried in this order:\n"
            "{tried}\n"
            "You can do one of two things:\n"
            "  1. connect to the internet (on Debian also: sudo apt-get install dataset-fashion-mnist) and try again;\n"
            "  2. copy the four files, as they are or as .gz, into a folder and set LENET_DATA to it."
        )
        raise FileNotFoundError(text.format(files=", ".join(missing), tried="\n".join(tried)))


def _is_intact(path):
    """Return whether a file is there with the SHA-256 that its name asks for."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == SHA256[path.name]


def _move_aside(path):
    """Rename a damaged file so that nothing takes it for a complete one, and say so."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    aside = next(name for name in names if not name.exists())
    os.replace(path, aside)
    text = _("%s is damaged (its SHA-256 is wrong): moved aside to %s; getting it again")
    log.warning(text, path, aside.name)


def _copy_from(folder, wanted, incoming):
    """Copy files, unpacking .gz ones, from a folder."""
    for file in wanted:
        plain, packed = folder / file, folder / f"{file}.gz"
        if packed.is_file():
            with gzip.open(packed, "rb") as source, (incoming / file).open("wb") as target:
                shutil.copyfileobj(source, target)
        elif plain.is_file():
            shutil.copyfile(plain, incoming / file)
        else:
            raise FileNotFoundError(_("neither {file} nor {file}.gz is there").format(file=file))


def _copy_from_debian_package(wanted, incoming):
    """Download Debian's package into a scratch folder and unpack it there; needs apt-get and dpkg-deb, but not root."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise FileNotFoundError(_("this is no Debian system"))
    lists = incoming / "lists"
    (lists / "partial").mkdir(parents=True)
    own_lists = ["-o", f"Dir::State::Lists={lists}"]
    for options in ([], own_lists):
        if options:  # the system's package lists are empty or old: read fresh ones, for this download alone
            _run(["apt-get", *options, "-qq", "update"], incoming)
        try:
            _run(["apt-get", *options, "-qq", "download", DEBIAN_PACKAGE], incoming)
            break
        except subprocess.CalledProcessError as error:
            if options:
                raise RuntimeError((error.stderr or "").strip() or str(error)) from error
    (package,) = incoming.glob("*.deb")
    _run(["dpkg-deb", "-x", package.name, "."], incoming)
    _copy_from(incoming / DEBIAN_FOLDER, wanted, incoming)


def _run(command, folder):
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)


def _download(mirror, wanted, incoming):
    """Download and unpack files from a mirror."""
    for file in wanted:
        print(_("downloading {url}").format(url=f"{mirror}{file}.gz"), file=sys.stderr)
        with (
            urllib.request.urlopen(f"{mirror}{file}.gz", timeout=SILENCE) as answer,
            gzip.open(answer) as source,
            (incoming / file).open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
