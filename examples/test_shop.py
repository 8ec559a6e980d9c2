"""Load tests of a small shop: run `pytest examples`."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pytest_loadgen import Load, each, get, hold, post, ramp


class Shop(BaseHTTPRequestHandler):
    """Searches for tea in about 2 ms, and takes orders."""

    protocol_version = "HTTP/1.1"  # keep-alive
    wbufsize = -1  # send head and body together

    def do_GET(self) -> None:
        time.sleep(0.002)
        self.respond(200, b'["green", "black"]')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.respond(201, b"{}")

    def respond(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: there will be thousands of requests."""


@pytest.fixture(scope="session")
def load_target() -> Iterator[str]:
    """Start the service; relative addresses of load() are relative to this URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_search_is_fast(load: Load) -> None:
    result = load("/search?q=tea", rate=100, duration="3s", warmup="0.5s")

    assert result.p99 < "500ms"
    assert result.error_rate == 0


@pytest.mark.load(rate="50/s", duration="2s")
def test_orders_are_taken(load: Load) -> None:
    result = load("/orders", json={"tea": "green"}, expect=201)

    assert result.errors == 0


def test_a_rush_is_survived(load: Load) -> None:
    result = load("/search?q=tea", stages=[hold(20, "1s"), ramp(20, 150, "1s"), hold(150, "1s")])

    assert result.error_rate < "1%"


def test_a_busy_day(load: Load) -> None:
    """Mostly searches, each for another tea; and orders, no two of which are the same."""
    searches = get("/search", each(["green", "black", "white"]), params={"q": "{}"}, check="green", weight=4)
    orders = post("/orders", each(lambda number: {"id": number}), json={"order": "{id}"}, expect=201, name="order")
    result = load([searches, orders], rate=50, duration="2s")

    assert result["order"].p99 < "500ms"
    assert result.errors == 0


def test_how_much_it_can_take(load: Load) -> None:
    result = load("/search?q=tea", rate="max", connections=4, duration="2s")

    assert result.rate > "20/s"
