"""A running ``fortio server``, on this machine or another, by its REST API."""

from __future__ import annotations

import json
import re
import secrets
import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from pytest_loadgen import clock
from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import PARSE_ERRORS, LoadGenerator, Running
from pytest_loadgen.generators.fortio_options import Shape, duration, headers
from pytest_loadgen.generators.fortio_result import interval, read
from pytest_loadgen.redaction import redact, without_password
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import one_line

# Of the histograms, in seconds: up to a thousand times this, no bucket is wider than a quarter of its values.
_RESOLUTION = 0.000_02
# How long the server may take beyond the plan, and to answer whether it is there, in seconds.
_GRACE = 10.0
_STATUS_TIMEOUT = 2.0
# For each of the two calls that stop a load; Ctrl-C waits for them.
_STOP_TIMEOUT = 0.75
# How long to wait until a load is looked for again, in seconds.
_BETWEEN_TRIES = 0.05
_MAX_RESPONSE = 16 << 20
# fortio's codes: of HTTP, and -1. What else a server sends would be printed.
_CODE = re.compile(r"-1|\d{1,3}", re.ASCII)
_MAX_CODE = 20
_MAX_COUNT = 1 << 53
_MAX_MESSAGE = 1000


class FortioServer(LoadGenerator):
    """A running ``fortio server``, which does not report single calls.

    So latency is measured from when a call was sent, with the precision of fortio's buckets; of
    failures, only timeouts are told from the others.
    """

    name = "fortio-server"
    features = frozenset({"http", "https", "rate", "max", "http2", "body"})
    latency_from = "sent"
    streams_intervals = False
    settings: Mapping[str, type] = {"address": str}

    address: str = "http://127.0.0.1:8080"
    """Its URL; with the path of its UI, if that is not ``/fortio``."""

    def version(self) -> str:
        """Return nothing: only a result has the server's version. Raises GeneratorError if there is no server."""
        self.call("GET", "status", _STATUS_TIMEOUT)
        return ""

    def call(self, method: str, endpoint: str, seconds: float, **request: Any) -> bytes:
        """Call the REST API; the whole response has to be there in time. Raises PlanError or GeneratorError."""
        import httpx

        server = f"{self.name}: {without_password(self.address)}"
        deadline = _Deadline(seconds)
        try:
            base = self.address.rstrip("/") + ("" if urlsplit(self.address.rstrip("/")).path else "/fortio")
            with (
                deadline,
                httpx.Client(timeout=seconds, trust_env=False, headers={"Accept-Encoding": "identity"}) as client,
                client.stream(
                    method, f"{base}/rest/{endpoint}", extensions={"trace": deadline.trace}, **request
                ) as response,
            ):
                body = bytearray()
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > _MAX_RESPONSE:
                        raise GeneratorError(f"{server} sent more than {_MAX_RESPONSE >> 20} MiB")
        except (ValueError, httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise PlanError(f"{server} is not a URL (expected 'http://host:port')") from None
        except httpx.ConnectError as error:
            reason = re.sub(r"^\[Errno .*?\] ", "", str(error)).lower()
            raise GeneratorError(f"{server}: {reason}. Is 'fortio server' running there?") from None
        except httpx.HTTPError as error:
            deadline.check(server)
            raise GeneratorError(f"{server} is not a fortio server, or was lost ({type(error).__name__})") from None
        deadline.check(server)
        if response.status_code not in {200, 400}:
            raise GeneratorError(f"{server} is not a fortio server (its status is {response.status_code})")
        return bytes(body)

    def run(self, plan: Plan) -> FortioServerRun:
        """Return a run that calls the server when its first interval is asked for."""
        return FortioServerRun(self, plan)

    def options(self, plan: Plan, label: str) -> dict[str, Any]:
        """Return the body of the call, in which all values are strings. Raises PlanError."""
        target, shape = plan.target, Shape.of(plan)
        if isinstance(target.verify, str) or target.cert:
            raise PlanError(
                f"{self.name} uses certificates of its own: verify= can only be True or False, without cert="
            )
        options: dict[str, Any] = {
            "url": target.url + (f"?{query}" if (query := target.path.decode().partition("?")[2]) else ""),
            "qps": "-1" if plan.closed else f"{shape.rate:.9g}",
            "t": duration(plan.duration),
            "c": str(shape.threads),
            "r": f"{_RESOLUTION:.6f}",
            "timeout": duration(plan.timeout),
            "labels": label,
            "X": target.method,
            "headers": list(headers(target)),
            "stdclient": "on",
            "log-errors": "off",
        }
        if target.body:
            options["payload"] = target.body.decode("utf-8", "surrogateescape")
        switches = {"uniform": not plan.closed, "h2": target.http2, "https-insecure": target.verify is False}
        return options | {name: "on" for name, on in switches.items() if on}


class FortioServerRun(Running):
    """A load that a fortio server carries out; its interval comes at the end."""

    def __init__(self, generator: FortioServer, plan: Plan) -> None:
        """Start nothing yet."""
        super().__init__()
        self._plan = plan
        self._generator = generator
        self._label = f"pytest-loadgen {secrets.token_hex(8)}"
        self._under_way = threading.Event()

    def finish(self) -> None:
        """Make the server end the load now and report."""
        deadline = clock.monotonic() + 2 * _STOP_TIMEOUT
        # A load that has only just begun is not in the server's list yet.
        while self._under_way.is_set() and clock.monotonic() < deadline:
            with suppress(GeneratorError, *PARSE_ERRORS):
                if self._stop_on_server():
                    return
            clock.sleep(_BETWEEN_TRIES)

    def _stop(self) -> None:
        self.finish()

    def _run(self) -> Generator[Interval]:
        plan, name = self._plan, self._generator.name
        self._wait_for_start(plan)
        if plan.warmup and not self._stopped.is_set():
            self._execute(plan.warmup_only())
        if self._stopped.is_set():
            return
        text = self._execute(plan)
        if self._stopped.is_set():
            return
        try:
            result = read(text)
            if unknown := next((code for code in result["RetCodes"] if not _CODE.fullmatch(code)), None):
                raise ValueError(f"the return code {unknown[:_MAX_CODE]!r}")
            _check_counts(result)
            found = interval(result, plan, _RESOLUTION)
        except GeneratorError as error:
            message = redact(one_line(str(error)), plan.target.secrets)[:_MAX_MESSAGE]
            raise GeneratorError(f"{name}: {message}") from None
        except PARSE_ERRORS as error:
            message = redact(one_line(repr(error)), plan.target.secrets)[:_MAX_MESSAGE]
            raise GeneratorError(f"{name}: its response is not a fortio result: {message}") from None
        yield found

    def _execute(self, plan: Plan) -> str:
        """Run a plan on the server, and return its result."""
        options = self._generator.options(plan, self._label)
        limit = plan.duration + plan.timeout + _GRACE
        self._under_way.set()
        try:
            return self._generator.call("POST", "run", limit, json=options).decode("utf-8", "replace")
        except BaseException:
            # A load continues when its connection breaks: it has to be stopped.
            self.finish()
            raise
        finally:
            self._under_way.clear()

    def _stop_on_server(self) -> bool:
        """Stop the load; return whether the server has it."""
        found = False
        statuses = json.loads(self._generator.call("GET", "status", _STOP_TIMEOUT)).get("Statuses") or {}
        for number, status in statuses.items():
            if status.get("RunnerOptions", {}).get("Labels") == self._label:
                self._generator.call("GET", "stop", _STOP_TIMEOUT, params={"runid": number})
                found = True
        return found


def _check_counts(result: dict[str, Any]) -> None:
    """Refuse counts that nothing can have counted. Raises ValueError, or what a malformed result raises."""
    histograms = (result[f"{kind}DurationHistogram"]["Data"] or () for kind in ("", "Errors"))
    for count in (*result["RetCodes"].values(), *(each["Count"] for data in histograms for each in data)):
        if not (isinstance(count, int) and 0 <= count < _MAX_COUNT):
            raise ValueError("an impossible count")


class _Deadline:
    """Ends a call at a moment, whatever its peer does: httpx limits each read only, and a peer may send slowly."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._socket: socket.socket | None = None
        self._passed = False

    def check(self, server: str) -> None:
        """Raise GeneratorError if the moment has passed."""
        if self._passed:
            raise GeneratorError(f"{server} did not respond completely within {Duration(self._seconds)}")

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the socket; httpx calls this at each step."""
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._socket = info["return_value"].get_extra_info("socket")

    def _end(self) -> None:
        self._passed = True
        if found := self._socket:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
