"""fortio as a server, on this machine or another, by its REST API."""

from __future__ import annotations

import math
import re
import secrets
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator, Running
from pytest_loadgen.generators.command import UNREADABLE, warming, without_secrets
from pytest_loadgen.generators.fortio import Shape, go_duration, read
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import without_password

if TYPE_CHECKING:
    import httpx

_FAILED = "-1"
# In seconds: below a thousand of it buckets are at most a quarter of what they hold wide.
_RESOLUTION = 0.000_02
# The bounds of fortio's buckets, of which the last has no end.
_GRID = (
    *range(13), 14, 16, 18, 20, *range(25, 51, 5), *range(60, 101, 10), *range(120, 201, 20), *range(250, 501, 50),
    *range(600, 1001, 100), 2000, 3000, 4000, 5000, 7500, 10_000, 20_000, 30_000, 40_000, 50_000, 75_000, 100_000,
)  # fmt: skip
_BOUNDS = (*(_RESOLUTION * part for part in _GRID), math.inf)
_GRACE = 10.0
# How long it may take to say that it is there, in seconds.
_ASKED = 2.0
# The last call of a thread may wait so long before the end for a busy machine, in seconds.
_BUSY = 0.05


class FortioServer(LoadGenerator):
    """A running ``fortio server``, which writes down no single calls.

    So latency counts from when a call was sent, and is known to fortio's buckets only; a failure's
    kind is known where it is a time-out.
    """

    name = "fortio-server"
    features = frozenset({"http", "https", "rate", "max", "http2", "body"})
    latency_from = "sent"
    streams_intervals = False
    settings: Mapping[str, type] = {"address": str}

    address: str = "http://127.0.0.1:8080"
    """Where it is; with the path of its pages, where that is not ``/fortio``."""

    def version(self) -> str:
        """Tell nothing: only a result has the server's version. Raises GeneratorError where there is no server."""
        self.call("GET", "status", _ASKED)
        return ""

    def call(self, method: str, what: str, seconds: float, **request: Any) -> httpx.Response:
        """Call the API. Raises PlanError or GeneratorError."""
        import httpx

        said = f"{self.name}: {without_password(self.address)}"
        try:
            base = self.address.rstrip("/") + ("" if urlsplit(self.address.rstrip("/")).path else "/fortio")
            response = httpx.request(method, f"{base}/rest/{what}", timeout=seconds, trust_env=False, **request)
        except (ValueError, httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise PlanError(f"{said} is no address: write 'http://host:port'") from None
        except httpx.ConnectError as error:
            reason = re.sub(r"^\[Errno .*?\] ", "", str(error)).lower()
            raise GeneratorError(f"{said}: {reason}. Is 'fortio server' running there?") from None
        except httpx.HTTPError as error:
            raise GeneratorError(f"{said} does not answer as fortio does ({type(error).__name__})") from None
        if response.status_code not in {200, 400}:
            raise GeneratorError(f"{said} answers {response.status_code}: is it a fortio server's?")
        return response

    def run(self, plan: Plan) -> _Run:
        """Have the server run a plan, when the first interval is asked for."""
        return _Run(self, plan)

    def options(self, plan: Plan, label: str) -> dict[str, Any]:
        """Give what the server is asked for; it takes texts only. Raises PlanError."""
        target, shape = plan.target, Shape.of(plan)
        if isinstance(target.verify, str) or target.cert:
            raise PlanError(f"{self.name} has certificates of its own: verify is True or False there")
        options: dict[str, Any] = {
            "url": target.url + (f"?{query}" if (query := target.path.decode().partition("?")[2]) else ""),
            "qps": "-1" if plan.closed else f"{shape.rate:.9g}",
            "t": go_duration(plan.duration),
            "c": str(shape.threads),
            "r": f"{_RESOLUTION:.6f}",
            "timeout": go_duration(plan.timeout),
            "labels": label,
            "X": target.method,
            "headers": [
                f"{name.decode('latin-1')}: {value.decode('latin-1')}"
                for name, value in target.headers
                if name.lower() != b"content-length"
            ],
            "stdclient": "on",
            "log-errors": "off",
        }
        if target.body:
            options["payload"] = target.body.decode("utf-8", "surrogateescape")
        switches = {"uniform": not plan.closed, "h2": target.http2, "https-insecure": target.verify is False}
        return options | {name: "on" for name, on in switches.items() if on}


class _Run(Running):
    """A load by a server, which tells of it at its end."""

    def __init__(self, generator: FortioServer, plan: Plan) -> None:
        super().__init__()
        self._plan = plan
        self._generator = generator
        self._label = f"pytest-loadgen {secrets.token_hex(8)}"
        self._under_way = threading.Event()

    def finish(self) -> None:
        """Let the server end the load now, and tell what came of it."""
        if self._under_way.is_set():
            with suppress(GeneratorError):
                self._end()

    def _stop(self) -> None:
        self.finish()

    def _run(self) -> Generator[Interval]:
        plan = self._plan
        self._wait_for_start(plan)
        if plan.warmup and not self._stopped.is_set():
            self._ask(warming(plan))
        if self._stopped.is_set():
            return
        text = self._ask(plan)
        if self._stopped.is_set():
            return
        try:
            found = interval(read(text), plan)
        except GeneratorError as error:
            message = without_secrets(str(error), plan.target)
            raise GeneratorError(f"{self._generator.name}: {message}") from None
        except UNREADABLE as error:
            raise GeneratorError(f"{self._generator.name}: this is no result of fortio's: {error!r}") from None
        yield found

    def _ask(self, plan: Plan) -> str:
        """Have the server run a plan, and wait for what came of it."""
        options = self._generator.options(plan, self._label)
        limit = plan.duration + plan.timeout + _GRACE
        self._under_way.set()
        try:
            # A run whose connection breaks goes on: it has to be told.
            return self._generator.call("POST", "run", limit, json=options).text
        except BaseException:
            self.finish()
            raise
        finally:
            self._under_way.clear()

    def _end(self) -> None:
        statuses = self._generator.call("GET", "status", _GRACE).json().get("Statuses") or {}
        for number, status in statuses.items():
            if status.get("RunnerOptions", {}).get("Labels") == self._label:
                self._generator.call("GET", "stop", _GRACE, params={"runid": number})


def interval(result: dict[str, Any], plan: Plan) -> Interval:
    """Read a result, in which there are no single calls.

    Raises LookupError, TypeError or ValueError where it is none.
    """
    outcomes = Counter({str(code): int(count) for code, count in result["RetCodes"].items()})
    failed = outcomes.pop(_FAILED, 0)
    total, errors = (_buckets(result[f"{kind}DurationHistogram"]) for kind in ("", "Errors"))
    # Where there are wrong answers too, it is not told which of the errors they are: the quickest
    # are taken for failures, so that no answer looks quicker than it was.
    lost = errors if failed == errors.total() else _quickest(total, failed)
    timeouts = sum(count for bucket, count in lost.items() if _BOUNDS[bucket + 1] > plan.timeout)
    rate = 0.0 if plan.closed else float(result["RequestedQPS"])
    planned = int(rate * float(plan.duration))
    threads, count = result["NumThreads"], total.total()
    never_sent = max(0, planned - planned % threads - count)
    # A thread that is busy when its last call is due makes it no more; which were is told by how long they usually are.
    busy = 2 * result["DurationHistogram"]["Sum"] / count + _BUSY if count else 0.0
    if never_sent <= min(threads, rate * busy):
        never_sent = 0
    outcomes.update(timeout=timeouts + never_sent, failed=failed - timeouts)
    extremes = result["DurationHistogram"]["Min"], result["DurationHistogram"]["Max"]
    latency = Histogram.from_buckets(
        (max(_BOUNDS[bucket], extremes[0]), min(_BOUNDS[bucket + 1], extremes[1]), count)
        for bucket, count in (total - lost).items()
    )
    seconds = result["ActualDuration"] / 1e9 if plan.closed else float(plan.duration)
    return Interval(0.0, seconds, latency, latency, dict(+outcomes), never_sent=never_sent)


def _buckets(histogram: dict[str, Any]) -> Counter[int]:
    """Count by bucket: the ends of the first and the last are the least and the greatest value, not bounds."""
    counts: Counter[int] = Counter()
    for each in histogram["Data"] or ():
        middle = (each["Start"] + each["End"]) / 2
        counts[bisect_left(_BOUNDS, middle) - 1] += each["Count"]
    return counts


def _quickest(counts: Counter[int], wanted: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for bucket in sorted(counts):
        found[bucket] = min(counts[bucket], wanted - found.total())
    return found
