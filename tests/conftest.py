"""Fixtures that several test files share: real test images, a net that was trained for a few seconds, and a browser."""

import os
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import torch
from chromium import FLAGS, find_chromium
from nets import make_lenet
from playwright.sync_api import expect
from small_data import files, fork, mirror, own, raw, world  # noqa: F401
from torch import nn

from lenet_helpers.data import FashionMNIST, batch_loader, find_data, read_idx
from lenet_helpers.training import copy_weights

SHOTS = Path(__file__).parent / "browser" / "shots"  # screenshots, ignored by git and kept by CI


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors gain nothing from several threads, and on a busy machine these wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Each test draws the same random numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_panel_trains_on():
    """After each test its panels have ended their training: the next test's would have to wait for its turn."""
    yield
    for thread in threading.enumerate():
        if thread.name == "TrainPanel":
            thread.join(60)
            assert not thread.is_alive(), "a panel of this test trains on"


def read_images(name, count):
    """Return the first images, float32 of shape (count, 1, 28, 28), and their labels."""
    paths = find_data()
    images = read_idx(paths[f"{name}-images-idx3-ubyte"])[:count]
    return images.float().div(255).unsqueeze(1), read_idx(paths[f"{name}-labels-idx1-ubyte"])[:count].long()


@pytest.fixture(scope="session")
def fashion():
    """The first 1,000 test images and their labels."""
    return read_images("t10k", 1000)


@pytest.fixture(scope="session")
def training():
    """A ReLU LeNet after three short epochs, and its weights after each: ``(net, snapshots)``."""
    torch.manual_seed(0)
    net, snapshots = make_lenet(nn.ReLU), []
    X, y = read_images("train", 3 * 15 * 128)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for i, (batch, labels) in enumerate(zip(X.split(128), y.split(128), strict=True)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(batch), labels).backward()
        optimizer.step()
        if (i + 1) % 15 == 0:
            snapshots.append(copy_weights(net))
    return net, snapshots


@pytest.fixture(scope="session")
def make_loaders():
    """``make_loaders(batch_size)`` gives (train_iter, test_iter) over 2,560 training and 512 test images."""
    paths = find_data()
    train, test = (
        FashionMNIST(
            read_idx(paths[f"{part}-images-idx3-ubyte"])[:count],
            read_idx(paths[f"{part}-labels-idx1-ubyte"])[:count].long(),
        )
        for part, count in (("train", 2560), ("t10k", 512))
    )
    return lambda batch_size: (batch_loader(train, batch_size, shuffle=True), batch_loader(test, batch_size))


@pytest.fixture
def shown():
    """A stand-in for IPython's ``display``, and the ``handles`` that it gave, each with its options and its bundles."""
    shown = SimpleNamespace(handles=[])

    class Handle:
        def __init__(self, bundle, **options):
            self.bundles, self.options = [bundle], options
            shown.handles.append(self)

        def update(self, bundle, **options):
            assert options == {"raw": True}
            self.bundles.append(bundle)

    shown.display = Handle
    return shown


def pytest_configure(config):
    for name in ("LENET_DASK", "LENET_LANGUAGE"):  # the user's; tests set their own
        os.environ.pop(name, None)
    config.option.loadscopereorder = False  # workers take the files in the order that is set below


def pytest_collection_modifyitems(items):
    """Put long files first, so that no worker starts one when the others end; without a browser skip what needs one.

    Long are the tests in a whole JupyterLab, and then the notebooks. Where LENET_REQUIRE_BROWSER is set, no test is
    skipped: without a browser it fails.
    """
    in_lab = Counter(item.path for item in items if "open_notebook" in getattr(item, "fixturenames", ()))
    items.sort(key=lambda item: (-in_lab[item.path], item.path.suffix != ".ipynb"))
    if find_chromium() or os.environ.get("LENET_REQUIRE_BROWSER"):
        return
    skip = pytest.mark.skip(reason="no Chromium found: install chromium, or set CHROMIUM to its path")
    for item in items:
        if "page" in getattr(item, "fixturenames", ()):  # notebooks have none
            item.add_marker(skip)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    return {**browser_type_launch_args, "executable_path": find_chromium(), "args": FLAGS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    return {**browser_context_args, "viewport": {"width": 1280, "height": 1000}}


@pytest.fixture(scope="session")
def context(browser_type, browser_type_launch_args, browser_context_args, tmp_path_factory):
    """One profile on disk for all tests: a new one for each costs more than its page, and compiles all scripts anew."""
    profile, options = tmp_path_factory.mktemp("profile"), browser_type_launch_args | browser_context_args
    expect.set_options(timeout=20_000)  # a busy machine answers late
    with browser_type.launch_persistent_context(profile, **options) as context:
        yield context


@pytest.fixture
def foreign(context):
    """A list of the addresses beyond this machine that pages ask for; no test may end with any in it."""
    foreign = []

    def note(request):
        place = urlsplit(request.url)
        if place.scheme not in ("about", "blob", "data", "file") and place.hostname not in ("127.0.0.1", "localhost"):
            foreign.append(request.url)

    context.on("request", note)
    yield foreign
    context.remove_listener("request", note)
    assert foreign == []


@pytest.fixture
def page(context, foreign):
    with context.new_page() as page:
        yield page


@pytest.fixture
def shoot(page):
    """Return a function that keeps a screenshot of the page under a name."""
    SHOTS.mkdir(exist_ok=True)
    return lambda name: page.screenshot(path=SHOTS / f"{name}.png")
