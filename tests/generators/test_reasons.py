"""What the embedded generator says of responses that failed: status, why, and how the body begins; no secrets."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pytest_loadgen.figures.problems import explained
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running import runner
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.request import get, head, post
from pytest_loadgen.workers.distributed import Distributed

Answer = Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes, dict[str, str]]]


@contextmanager
def serving(answer: Answer, *, parts: int = 1) -> Iterator[str]:
    """Answer each request with what a function says, in one write or in several."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body, headers = answer(self, sent)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            whole = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode()
            whole += b"" if self.command == "HEAD" else body
            size = -(-len(whole) // parts)
            for begin in range(0, len(whole), size):
                self.wfile.write(whole[begin : begin + size])
                if parts > 1:
                    threading.Event().wait(0.005)

        do_POST = do_GET  # noqa: N815
        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    class Service(ThreadingHTTPServer):
        daemon_threads = True

    with Service(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def run(embedded: Embedded, url: str, traffic: Any, workers: int = 1, **options: Any) -> Result:
    given: Any = {"rate": 40, "duration": 0.5, "connections": 4, **options}
    return runner.run(plan_of(traffic, given, lambda: url), Distributed(embedded, workers) if workers > 1 else embedded)


def always(status: int, body: bytes, **headers: str) -> Answer:
    return lambda *_: (status, body, {name.replace("_", "-"): value for name, value in headers.items()})


LONG = "é" * 300


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (always(503, b"no capacity"), "its body is 'no capacity'"),
        (always(503, b""), "its body is empty"),
        (always(503, b"two\nlines \x1b[31m\xff"), r"its body is 'two\nlines \x1b[31m�'"),
        (always(503, LONG.encode()), f"its body begins {LONG[:200]!r}…"),
        (always(503, b"x" * 300_000), f"its body begins {'x' * 200!r}…"),
        (always(503, gzip.compress(b"no capacity"), Content_Encoding="gzip"), "its body is 'no capacity'"),
        (always(503, b"\x1f\x8b", Content_Encoding="br"), "its body is '2 bytes of br'"),
        (always(503, b"plain", Content_Encoding="gzip"), "its body is '5 bytes that are not gzip'"),
    ],
)
def test_unexpected_statuses(embedded: Embedded, answer: Answer, said: str, parts: int) -> None:
    """The first response with an unexpected status says what the service says."""
    with serving(answer, parts=parts) as url:
        result = run(embedded, url, "/")
    assert explained(result) == [f"One of 20 responses with status 503: {said}."]


def test_expected_ones_are_not_kept(embedded: Embedded) -> None:
    with serving(lambda request, _: (int(request.path[1:]), b"fine", {})) as url:
        assert run(embedded, url, "/404", expect=404).total.reasons == {}
        assert run(embedded, url, get("/404", expect=404)).errors == 0
        result = run(embedded, url, [get("/404", expect=404), get("/500", name="broken"), head("/501")], rate=60)
    assert explained(result) == [
        "One of 10 responses with status 500: its body is 'fine' (broken).",
        "One of 10 responses with status 501: its body is empty (HEAD /501).",
    ]


@pytest.mark.parametrize("parts", [1, 3])
def test_failed_checks(embedded: Embedded, parts: int) -> None:
    """A failed check says why, the status, and how the body begins."""
    with serving(always(202, b"<h1>Sorry</h1>"), parts=parts) as url:
        by_text = run(embedded, url, [get("/", check="order")])
        by_function = run(embedded, url, [get("/", check=lambda response: response.json())])
    (said,) = explained(by_text)
    assert said == (
        "One of 20 responses that failed the check: the body lacks 'order'; its status is 202 and its body is "
        "'<h1>Sorry</h1>'."
    )
    (said,) = explained(by_function)
    assert said.startswith("One of 20 responses that failed the check: JSONDecodeError: Expecting value")


def echo(request: BaseHTTPRequestHandler, sent: bytes) -> tuple[int, bytes, dict[str, str]]:
    fields = json.loads(sent) if sent else {}
    return 401, f"bad {fields.get('password')} {request.headers['Authorization']} {request.path}".encode(), {}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_secrets(embedded: Embedded, workers: int) -> None:
    """Headers, the query and fields of the body are left out, those of rows too."""
    rows = each([{"password": f"geheim-{number}"} for number in range(20)])
    fixed = post("/a?key=geheim-q", json={"password": "geheim-b"}, headers={"Authorization": "Bearer geheim-h"})
    filled = post("/a?key={password}", rows, json={"password": "{password}"}, auth=("user", "geheim-a"))
    for request in fixed, filled:
        with serving(echo) as url:
            (said,) = explained(run(embedded, url, [request], workers))
        assert said.startswith("One of 20 responses with status 401: its body is 'bad [...] ")
        assert "geheim" not in said


def before(length: int) -> Answer:
    return lambda _, sent: (400, b"x" * length + sent, {})


@pytest.mark.parametrize("filled", [False, True])
def test_no_beginning_of_a_secret(embedded: Embedded, filled: bool) -> None:
    """Where the body is cut within a secret, its beginning is left out too."""
    secret = "geheim" * 50
    rows = each([{"text": secret}]) if filled else None
    request = post("/", rows, content="{text}" if filled else secret)
    for length in (150, 8000, 8192 - 4, 8192 - 100):
        with serving(before(length)) as url:
            (said,) = explained(run(embedded, url, [request]))
        assert "geh" not in said


def test_large_filled_requests(embedded: Embedded) -> None:
    """A large request is not searched for secrets: nothing of the response is shown."""
    rows = each([{"text": "geheim" * 12_000}] * 3, exhausted="stop")
    with serving(lambda _, sent: (400, sent, {})) as url:
        result = run(embedded, url, [post("/", rows, content="{text}")])
    assert explained(result) == ["One of 3 responses with status 400: its body is '[...]'."]
