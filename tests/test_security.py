"""Security: JupyterLab keeps its locks, nothing unpickles, text stays text in HTML, and nothing foreign is loaded.

A browser test of the same belongs to tests/browser; the rules here are for the source.
"""

import ast
import datetime
import gzip
import importlib.metadata
import importlib.util
import ipaddress
import re
import ssl
import subprocess
import sys
import threading
import urllib.request
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nets import make_lenet
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from small_data import NAMES, contents, listed
from test_environment import REQUIREMENTS, TESTED
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lenet_helpers import data
from lenet_helpers.curves import CURVES, draw_svg
from lenet_helpers.explorers import explore_net
from lenet_helpers.panel import TrainPanel

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("lenet_helpers", "tools", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*/*.ipynb"))
PAGES = [path for path in sorted((ROOT / "lenet_helpers").rglob("*")) if path.suffix in (".js", ".css", ".html")]
TEXTS = [ROOT / name for name in ("README.md", "README.zh.md", "Makefile", "environment.yml", ".ci/run")]
TEXTS += [path for folder in ("docs", ".github", "binder") for path in sorted((ROOT / folder).rglob("*.*"))]
ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "</title><script>alert(1)</script><!--",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
)


# --- JupyterLab -------------------------------------------------------------------------------------------------------

UNLOCKED = re.compile(
    r"""(--|App\.|["'])ip\b(?=["'\s=:,])(?!["'\s=:,]+(127\.0\.0\.1|localhost)\b)|"""  # an empty one is all there are
    r"""(token|password)(["']?\s*[=:,]?\s*(''|"")|=["']*([\s,)\]]|$))|"""
    r"""allow_origin|disable_check_xsrf|allow_remote_access|allow_unauthenticated_access"""
)


@pytest.mark.parametrize("path", [*CODE, *TEXTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_we_ship_unlocks_jupyterlab(path):
    text = path.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if UNLOCKED.search(line)] == []
    assert not re.search("allow.root", text) or "os.geteuid() == 0" in text


@pytest.mark.parametrize(
    "line",
    [
        *("jupyter lab --ip=0.0.0.0", '"--ip=*"', "--ip ::", "--ip=", '"--ServerApp.ip="', '["--ip", "0.0.0.0"]'),
        *('c.ServerApp.ip = ""', "c.ServerApp.ip = '0.0.0.0'", '"ip": "0.0.0.0",', "--NotebookApp.ip='*'"),
        *(
            "--IdentityProvider.token=''",
            '"--IdentityProvider.token="',
            "'--ServerApp.token=',",
            "--ServerApp.token= x",
        ),
        *("--NotebookApp.token ''", "c.IdentityProvider.token = ''", '"token": ""', '["--ServerApp.token", ""]'),
        *("--ServerApp.password=''", '"--PasswordIdentityProvider.hashed_password="', "c.ServerApp.password = ''"),
    ],
)
def test_an_unlocked_jupyterlab_would_be_noticed(line):
    assert UNLOCKED.search(line)


@pytest.mark.parametrize(
    "line",
    [
        *('"--ip=127.0.0.1"', "c.ServerApp.ip = 'localhost'", '["--ip", "127.0.0.1"]', "`--ip` opens it to all"),
        *(
            "zip(*pairs)",
            "skip = 0",
            'f"--ServerApp.token={token}"',
            "lab?token=0123",
            "token = draw()",
            "a token, too",
        ),
    ],
)
def test_a_locked_one_is_not_accused(line):
    assert not UNLOCKED.search(line)


def load_module(path, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    spec = importlib.util.spec_from_file_location(f"{path.stem}_for_security", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command_of_make_lab(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(subprocess, "call", lambda command: commands.append(command) or 0)
    load_module(ROOT / "tools" / "open_lab.py", monkeypatch).main()
    return commands[0]


def catch_command(monkeypatch, start):
    commands = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: commands.append(command) or pytest.fail("end"))
    with pytest.raises(pytest.fail.Exception):
        start()
    return commands[0]


def command_of_the_browser_tests(monkeypatch, tmp_path):
    lab = load_module(ROOT / "tests" / "browser" / "lab.py", monkeypatch)
    return catch_command(monkeypatch, lambda: lab.serve_lab(tmp_path).__enter__())


def command_of_the_benchmark_of_a_class(monkeypatch, tmp_path):
    return catch_command(monkeypatch, load_module(ROOT / "benchmarks" / "classroom.py", monkeypatch).measure_server)


@pytest.mark.parametrize("user", [0, 1000])
@pytest.mark.parametrize(
    "find_command", [command_of_make_lab, command_of_the_browser_tests, command_of_the_benchmark_of_a_class]
)
def test_the_lab_listens_on_loopback_with_a_token_and_as_root_only_for_root(find_command, user, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["open_lab.py"])
    monkeypatch.setattr("os.geteuid", lambda: user)
    command = find_command(monkeypatch, tmp_path)
    assert [option for option in command if "ip=" in option] == ["--ip=127.0.0.1"]
    assert ("--allow-root" in command) == (user == 0)
    tokens = [option.partition("=")[2] for option in command if "token" in option]
    assert all(len(token) >= 32 for token in tokens), "without the option JupyterLab draws a token by itself"
    assert not UNLOCKED.search(" ".join(command))


# --- No pickle --------------------------------------------------------------------------------------------------------


PICKLING = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}  # modules
PICKLES = re.compile(r"torch\.(save|load|serialization\.load|jit\.load|hub\..*|package\..*)|(.*\.)?read_pickle")


def find_pickles(source):
    """Return what would run code from a file, or write a file that does: modules, functions and options.

    A function counts wherever it is named, unless it is called there for weights only.
    """
    tree, names, harmless, found = ast.parse(source), {}, set(), []
    for node in ast.walk(tree):  # what each imported name stands for
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = [name for name in found if name.split(".")[0] in PICKLING]
    for node in ast.walk(tree):  # a call comes before the name of its function
        if isinstance(node, ast.Call):
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            if options.get("allow_pickle", "False") != "False":
                found.append("allow_pickle")
            weights_only = options.get("weights_only") == "True"
            if weights_only or (node.args and ast.unparse(node.args[0]).endswith(".state_dict()")):
                harmless.add(node.func)
        elif isinstance(node, ast.Attribute | ast.Name):
            first, *rest = ast.unparse(node).split(".")
            name = ".".join([names.get(first, first), *rest])
            if PICKLES.fullmatch(name) and node not in harmless:
                found.append(name)
    return found


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_unpickles_nothing(path):
    assert find_pickles(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_notebooks_unpickle_nothing(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert find_pickles(cell.source) == [], cell.id


@pytest.mark.parametrize(
    "source",
    [
        "torch.load('net.pt')",
        "torch.load('net.pt', weights_only=False)",
        "torch.load('net.pt', weights_only=True); torch.load('net.pt')",
        "from torch import load\nload('net.pt')",
        "from torch import load as read\nnets = map(read, paths)",
        "import torch as t\nt.load('net.pt')",
        "read = torch.load\nread('net.pt')",
        "from torch import serialization\nserialization.load('net.pt')",
        "torch.jit.load('net.pt')",
        "from torch import jit\njit.load('net.pt')",
        "torch.hub.load('pytorch/vision', 'resnet18')",
        "from torch.package import PackageImporter as P\nP('net.pt')",
        "torch.save(net, 'net.pt')",
        "from torch import save\nsave(net, 'net.pt')",
        "import pickle",
        "import os, _pickle as p",
        "import marshal",
        "from cloudpickle import loads",
        "from dill import load",
        "import joblib.memory",
        "np.load('a', allow_pickle=True)",
        "pd.read_pickle('a')",
        "from pandas import read_pickle\nread_pickle('a')",
    ],
)
def test_what_unpickles_would_be_noticed(source):
    assert find_pickles(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load('net.pt', weights_only=True)",
        "import torch as t\nt.load('net.pt', weights_only=True)",
        "torch.save(net.state_dict(), 'net.pt')",
        "import numpy as np\nnp.load('a', allow_pickle=False)",
        "import json\njson.load(file)\nself.load()\nload = pick()\nload(1)",
    ],
)
def test_what_reads_and_writes_numbers_alone_is_not_accused(source):
    assert not find_pickles(source)


# --- Text that reaches HTML -------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """The elements of a piece of HTML as a browser would see them, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, text):
        self.texts.append(text)


def assert_harmless(text, scripts=0):
    """Fail if HTML holds more scripts than its own, an image, or an attribute that runs code; return its elements."""
    elements = Elements(text)
    assert elements.tags.count("script") == scripts
    assert not {"img", "iframe", "object", "embed", "link", "base"} & set(elements.tags)
    assert not [name for name, value in elements.attributes if name.startswith("on") or "javascript:" in (value or "")]
    return elements


@pytest.mark.parametrize("attack", ATTACKS[:4])
def test_an_attack_would_be_noticed(attack):
    with pytest.raises(AssertionError):
        assert_harmless(f"<p title='{attack}'>{attack}</p><p title=\"{attack}\"></p>")


def test_only_the_curves_and_the_panel_make_html():
    """So that the tests below are complete: who adds another place adds an injection to them."""
    makers = {p.name for p in CODE if re.search(r"text/html|_repr_html_|\bHTML\(|html\.escape", p.read_text("utf-8"))}
    assert {name for name in makers if (ROOT / "lenet_helpers" / name).exists()} == {"curves.py", "panel.py"}
    assert {p.name for p in (ROOT / "lenet_helpers" / "explorers").glob("*.py") if p.name in makers} == {"net.py"}


def make_loaders():
    dataset = TensorDataset(torch.rand(40, 1, 28, 28), torch.arange(40) % 10)
    return DataLoader(dataset, 32, shuffle=True), DataLoader(dataset, 32)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_exception_and_a_class_of_the_learners_own_stay_text_in_the_panel(attack):
    error = type(attack, (Exception,), {})

    class Broken(nn.Module):
        def forward(self, X):
            raise error(attack)

    panel = TrainPanel(lambda: nn.Sequential(Broken(), make_lenet()), *make_loaders(), num_epochs=1)
    with pytest.raises(error):
        panel.start().wait(20)
    alert = assert_harmless(panel._alert.value)
    assert attack in "".join(alert.texts)
    for shown in (panel._numbers, panel._curves, panel._table):
        assert_harmless(shown.value)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_text_in_place_of_a_number_stays_out_of_the_curves(attack):
    row = {"epoch": 1.0, **{key: 0.5 for key, *_ in CURVES}}
    assert_harmless(draw_svg([row], 2))
    with pytest.raises(TypeError):
        draw_svg([{**row, "loss": attack}], 2)


@pytest.mark.parametrize("attack", ATTACKS)
def test_names_of_classes_layers_and_files_stay_text_in_the_saved_page(attack, tmp_path):
    Named = type(attack, (nn.Identity,), {})
    explorers = [
        explore_net(make_lenet(), torch.rand(2, 28, 28), [0, 1], [attack] * 10),
        explore_net(nn.Sequential(Named(), make_lenet()), torch.rand(2, 28, 28), [0, 1], None),
        explore_net(nn.Sequential(nn.Bilinear(1, 1, 1), Named()), torch.rand(2, 28, 28)),
    ]
    explorers[0].show(torch.rand(28, 28), caption=attack)  # the page gives the name of an uploaded file as caption
    for explorer in explorers:
        explorer.save(tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        elements = assert_harmless(page, scripts=2)
        assert elements.tags.count("title") == 1
    assert "".join(explorers[0].classes) == attack * 10


# --- What the page loads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_scripts_and_styles_load_nothing_and_turn_no_text_into_elements(path):
    source = path.read_text(encoding="utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"'`)]*", source))
    assert addresses <= {"http://www.w3.org/2000/svg"}, "a name space, which nothing loads"
    loading = r"@import|@font-face|\bimport\s*\(|\bimport\b.*\bfrom\b|\bfetch\(|XMLHttpRequest|WebSocket|\burl\((?!#)"
    assert re.findall(loading, source) == []
    as_elements = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc"
    assert re.findall(as_elements, source) == [], "text goes through textContent"
    assert re.findall(r"\beval\(|\bnew Function\b|setAttribute\(\s*[\"']on|javascript:", source) == []


FOREIGN = re.compile(r"<\s*(script|iframe|link|object)\b|!\[[^\]]*\]\(\s*https?:|src\s*=\s*.?https?:")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_notebooks_load_nothing_from_the_network(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not re.search(
            r"<\s*(script|iframe|link|object)\b|!\[[^\]]*\]\(\s*https?:|src\s*=\s*.?https?:", cell.source
        )
        for output in cell.get("outputs", []):
            assert "application/javascript" not in output.get("data", {})
            assert "<script" not in "".join(output.get("data", {}).get("text/html", ""))


# --- What the machine loads -------------------------------------------------------------------------------------------


def test_files_are_fetched_over_tls_only():
    assert data.MIRRORS and all(mirror.startswith("https://") for mirror in data.MIRRORS)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in data.SHA256.values())
    for path in CODE:
        assert set(re.findall(r"http://[\w.]+", path.read_text(encoding="utf-8"))) <= {"http://www.w3.org"}, path


UNVERIFIED = (
    r"_create_unverified_context|_https_verify|CERT_NONE|check_hostname\s*=\s*False|verify\s*=\s*False|--insecure"
)


@pytest.mark.parametrize("path", [*CODE, *TEXTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_certificate_is_taken_unseen(path):
    assert not re.search(UNVERIFIED, path.read_text(encoding="utf-8"))


@pytest.fixture
def self_signed(files, tmp_path):
    """An HTTPS mirror on this machine: an object with its ``url``, its ``certificate`` and what it was ``asked`` for.

    Nobody but the mirror itself vouches for it.
    """
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mirror")])
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    begin, end = datetime.datetime(2000, 1, 1), datetime.datetime(2100, 1, 1)  # whatever the clock says
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).add_extension(x509.SubjectAlternativeName([here]), critical=False)
    builder = builder.not_valid_before(begin).not_valid_after(end)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(*form))
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    asked = []

    class Mirror(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(gzip.compress(files[self.path.strip("/").removesuffix(".gz")]))

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Mirror) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, tmp_path / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"https://127.0.0.1:{server.server_port}/"
        yield SimpleNamespace(url=url, certificate=certificate, asked=asked)
        server.shutdown()


def test_a_mirror_that_only_vouches_for_itself_is_refused(self_signed, mirror, raw, files, monkeypatch):
    monkeypatch.setattr(data, "MIRRORS", (self_signed.url,))
    told = f"the mirror {self_signed.url}: .*certificate verify failed: self.signed certificate"
    with pytest.raises(FileNotFoundError, match=told):
        data.find_data()
    assert listed(raw) == set() and self_signed.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(self_signed.certificate))  # and its certificate was all that is wrong
    monkeypatch.setattr(urllib.request, "_opener", None)  # from Python 3.12 on it keeps the certificates it has read
    assert contents(data.find_data()) == files


@pytest.mark.parametrize("index", range(4))
def test_a_mirror_with_another_file_is_not_believed(index, mirror, raw, files):
    right, files[NAMES[index]] = files[NAMES[index]], files[NAMES[(index + 2) % 4]]
    with pytest.raises(FileNotFoundError, match=rf"{NAMES[index]} is damaged \(the SHA-256 is wrong\)"):
        data.find_data()
    assert not (raw / NAMES[index]).exists()
    files[NAMES[index]] = right
    assert {name: path.read_bytes() for name, path in data.find_data().items()} == files
    assert listed(raw) == set(NAMES)


def walk_requirements(lines, seen):
    """Add the names of requirements, and of all that they require on this machine, to ``seen``."""
    for requirement in map(Requirement, lines):
        for extra in requirement.extras or {""}:
            name = canonicalize_name(requirement.name)
            if (name, extra) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            seen.add((name, extra))
            needed = [Requirement(line) for line in importlib.metadata.requires(name) or []]
            needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": extra})]
            for one in needed:
                one.marker = None
            walk_requirements(map(str, needed), seen)


def test_every_package_that_is_installed_for_the_course_has_a_tested_version():
    seen = set()
    walk_requirements(REQUIREMENTS, seen)
    names = {name for name, _ in seen}
    assert len(names) > 50
    assert sorted(names - set(TESTED)) == [], "run `make constraints` after the tests pass with these packages"
