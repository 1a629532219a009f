"""The browser of the tests reaches this machine alone, so that no page can load anything foreign unnoticed."""

import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest

ASK = "address => fetch(address, { mode: 'no-cors' }).then(() => 'an answer', (error) => error.message)"


@pytest.fixture
def port():
    """The port of a server on this machine, which a browser reaches under any name that ends in localhost, too."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_what_is_not_on_this_machine_is_refused_and_noted(page, foreign, port):
    page.goto(f"http://127.0.0.1:{port}")
    for name in ("127.0.0.1", "localhost"):
        assert page.evaluate(ASK, f"http://{name}:{port}/") == "an answer"
    assert foreign == []
    addresses = [f"http://elsewhere.localhost:{port}/", "https://example.org/", "https://192.0.2.1/"]
    assert [page.evaluate(ASK, address) for address in addresses] == ["Failed to fetch"] * 3
    assert foreign == addresses
    foreign.clear()
