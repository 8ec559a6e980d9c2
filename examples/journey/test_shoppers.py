"""Load a shop with whole journeys: log in, look, buy. Run `pytest examples/journey`."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pytest_loadgen import Load, each, step


class Shop(BaseHTTPRequestHandler):
    """Gives a token to each login, and has a cart for each token."""

    protocol_version = "HTTP/1.1"  # keep-alive
    wbufsize = -1  # send head and body together

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers: dict[str, dict[str, Any]] = {
            "/login": {"token": f"token of {sent.get('name')}"},
            "/orders": {"accepted": True},
        }
        self.respond(answers[self.path])

    def do_GET(self) -> None:
        name = self.headers.get("Authorization", "").removeprefix("Bearer token of ")
        self.respond({"owner": name, "items": ["green tea"]} if name else {"error": "log in first"})

    def respond(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(401 if "error" in content else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing, because there are thousands of requests."""


@pytest.fixture(scope="module")
def load_target() -> Iterator[str]:
    """Start the service; relative addresses of the journey's client are relative to this URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


users = each(lambda number: {"name": f"user {number}"})


async def shopper(client: Any) -> None:
    """Do what one user does; each request is a figure of the result."""
    user = next(users)
    token = (await client.post("/login", json=user)).json()["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    cart = (await client.get("/cart")).json()
    assert cart["owner"] == user["name"]
    await client.think(0.01, 0.05)
    async with step("checkout"):
        order = await client.post("/orders", json={"cart": cart["items"]})
        assert order.json()["accepted"]


@pytest.mark.slo("errors < 5%", "p99 of GET /cart < 500ms")
def test_shoppers_come_at_a_rate(load: Load) -> None:
    result = load(shopper, rate=100, duration="4s")

    assert result["checkout"].p50 < "500ms"


def test_each_of_five_shoppers_comes_again_and_again(load: Load) -> None:
    result = load(shopper, users=5, iterations=100)

    assert result.requests == 100
    assert result.errors == 0
