"""Journeys: what a request of an async function costs, beside other tools that call functions; and any awaitable."""

import asyncio
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks import nginx, report
from benchmarks.traffic import Cost, _cpu, _process
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running.runner import run as load
from pytest_loadgen.traffic.options import plan_of

USERS = 32
SECONDS = 3
ROUNDS = 5
REQUESTS = 5
LAG_RATE, MOST_LAG = 2_000, 0.0005
LEAST_BARE = 50_000
OURS, ONE, PLAIN_HTTPX = "pytest-loadgen", "one request", "httpx, each user has a client"
# A journey: how many times as fast ours has to be as which other.
EXPECTED = ((OURS, "locust", 2.0), (OURS, "k6", 5.0), (f"{OURS}, {ONE}", f"k9, {ONE}", 1.0))
ON_TRANSPORT, LEAST_HTTPX = "httpx on client.transport", 3.0


async def shopper(client: Any) -> None:
    token = (await client.post("/login", json={"user": 1})).json()["token"]
    own = {"Authorization": f"Bearer {token}"}
    await client.get("/items", headers=own)
    await client.get("/items/1", headers=own)
    await client.post("/cart", json={"item": 1}, headers=own)
    await client.get("/cart", headers=own)


async def with_header(client: Any) -> None:
    token = (await client.post("/login", json={"user": 1})).json()["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    await client.get("/items")
    await client.get("/items/1")
    await client.post("/cart", json={"item": 1})
    await client.get("/cart")


async def with_cookie(client: Any) -> None:
    client.cookies.set("session", (await client.post("/login", json={"user": 1})).json()["token"])
    await client.get("/items")
    await client.get("/items/1")
    await client.post("/cart", json={"item": 1})
    await client.get("/cart")


async def on_transport(client: Any) -> None:
    async with httpx.AsyncClient(transport=client.transport, base_url=client.base_url) as own:
        await shopper(own)


async def one(client: Any) -> None:
    await client.get("/items")


async def bare(_: Any) -> None:
    await asyncio.sleep(0)


def run() -> None:
    with nginx.running() as service, closing(Embedded()) as generator, tempfile.TemporaryDirectory() as folder:
        url = service.http.rstrip("/")
        runs: dict[str, Callable[[], Cost]] = {
            OURS: partial(_ours, generator, shopper, REQUESTS, url),
            f"{OURS}, client.headers": partial(_ours, generator, with_header, REQUESTS, url),
            f"{OURS}, client.cookies": partial(_ours, generator, with_cookie, REQUESTS, url),
            f"{OURS}, {ONE}": partial(_ours, generator, one, 1, url),
            ON_TRANSPORT: partial(_ours, generator, on_transport, REQUESTS, url),
            **_peers(url, Path(folder)),
        }
        _compare(runs)
        _bare(generator, service.http)


def _compare(runs: dict[str, Callable[[], Cost]]) -> None:
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    runs[OURS]()  # starts the process
    for _ in range(ROUNDS):
        for name, once in runs.items():
            costs[name].append(once())

    def times(name: str, other: str) -> float:
        # By CPU time, because other processes on the machine take less from it than from the rate.
        return median(two.cpu / one.cpu for one, two in zip(costs[name], costs[other], strict=True))

    report.table(
        f"Journeys: {USERS} users, {REQUESTS} requests with one JSON extraction each, medians of {ROUNDS} rounds of "
        f"{SECONDS} s",
        ("Client", "requests", "CPU per request", "requests per core", "pytest-loadgen / this"),
        [
            (
                name,
                f"{median(one.rate for one in found):,.0f}/s",
                f"{median(one.cpu for one in found) * 1e6:.1f} us",
                f"{median(1 / one.cpu for one in found):,.0f}/s",
                f"{times(f'{OURS}, {ONE}' if ONE in name else OURS, name):.2f}",
            )
            for name, found in costs.items()
        ],
    )
    for name, other, least in (*EXPECTED, (ON_TRANSPORT, PLAIN_HTTPX, LEAST_HTTPX)):
        if other in costs:
            found = times(name, other)
            report.expected(f"{name} / {other} at least {least:g}, by CPU time", f"{found:.2f}", found >= least)


def _bare(generator: Embedded, url: str) -> None:
    costs = [_ours(generator, bare, 1, "") for _ in range(ROUNDS)]
    rate = median(1 / one.cpu for one in costs)
    lags: dict[str, list[float]] = {"journeys": [], "requests": []}
    for _ in range(ROUNDS):
        # Plain requests beside them show what the machine makes of it.
        for kind, traffic in (("journeys", bare), ("requests", url)):
            options: Any = {"rate": LAG_RATE, "duration": SECONDS, "warmup": 0}
            lags[kind].append(float(load(plan_of(traffic, options), generator).total.lag.percentile(99)))
    late = {kind: median(each) for kind, each in lags.items()}
    rows = [
        (f"{USERS} users", f"{median(one.rate for one in costs):,.0f}/s", f"{rate:,.0f}/s", ""),
        *((f"{LAG_RATE:,} {kind} a second", "", "", report.milliseconds(lag)) for kind, lag in late.items()),
    ]
    title = f"Journeys: await asyncio.sleep(0), medians of {ROUNDS} rounds of {SECONDS} s"
    report.table(title, ("Load", "journeys", "journeys per core", "lag p99"), rows)
    report.expected(f"at least {LEAST_BARE:,} journeys/s per core", f"{rate:,.0f}/s", rate >= LEAST_BARE)
    what = f"lag p99 at {LAG_RATE:,}/s of at most {report.milliseconds(MOST_LAG)}"
    report.expected(what, report.milliseconds(late["journeys"]), late["journeys"] <= MOST_LAG)


def _ours(generator: Embedded, journey: Any, requests: int, url: str) -> Cost:
    options: Any = {"users": USERS, "duration": SECONDS, "warmup": 0}
    process = _process(generator)
    before = _cpu(process)
    result = load(plan_of(journey, options, lambda: url or None), generator)
    used = _cpu(process) - before
    if result.errors:
        raise SystemExit(f"{journey.__name__}: {result.outcomes}")
    return Cost(result.rate * requests, used / result.requests / requests)


# Other tools; those that are not installed are left out. A script that counts its requests prints them, and the CPU
# time of its process.

_COUNTING = """
import time
count, started, busy = 0, 0.0, 0.0
def begin():
    global started, busy
    started, busy = time.perf_counter(), time.process_time()
def end():
    print(f"{count} requests in {time.perf_counter() - started} s, {time.process_time() - busy} s of CPU", flush=True)
"""
_LOCUST = f"""{_COUNTING}
from locust import FastHttpUser, events, task
class Shopper(FastHttpUser):
    @task
    def shop(self):
        global count
        token = self.client.post("/login", json={{"user": 1}}).json()["token"]
        own = {{"Authorization": f"Bearer {{token}}"}}
        self.client.get("/items", headers=own)
        self.client.get("/items/1", headers=own)
        self.client.post("/cart", json={{"item": 1}}, headers=own)
        self.client.get("/cart", headers=own)
        count += {REQUESTS}
events.test_start.add_listener(lambda **_: begin())
events.test_stop.add_listener(lambda **_: end())
"""
_K9 = f"""{_COUNTING}
import k9
options = {{"vus": {USERS}, "duration": "{SECONDS}s"}}
setup, teardown = begin, end
async def default():
    global count
    token = (await k9.http.post("URL/login", json={{"user": 1}})).json()["token"]
    own = {{"Authorization": f"Bearer {{token}}"}}
    await k9.http.get("URL/items", headers=own)
    await k9.http.get("URL/items/1", headers=own)
    await k9.http.post("URL/cart", json={{"item": 1}}, headers=own)
    await k9.http.get("URL/cart", headers=own)
    count += {REQUESTS}
"""
_K9_ONE = f"""{_COUNTING}
import k9
options = {{"vus": {USERS}, "duration": "{SECONDS}s"}}
setup, teardown = begin, end
async def default():
    global count
    await k9.http.get("URL/items")
    count += 1
"""
_HTTPX = f"""{_COUNTING}
import asyncio, httpx
async def user(client):
    global count
    while time.perf_counter() < started + {SECONDS}:
        token = (await client.post("/login", json={{"user": 1}})).json()["token"]
        own = {{"Authorization": f"Bearer {{token}}"}}
        await client.get("/items", headers=own)
        await client.get("/items/1", headers=own)
        await client.post("/cart", json={{"item": 1}}, headers=own)
        await client.get("/cart", headers=own)
        count += {REQUESTS}
async def users():
    clients = [httpx.AsyncClient(base_url="URL") for _ in range({USERS} if OWN else 1)]
    begin()
    await asyncio.gather(*[user(clients[number % len(clients)]) for number in range({USERS})])
    end()
asyncio.run(users())
"""
_K6 = """
import http from "k6/http";
export default function () {
  const json = { headers: { "Content-Type": "application/json" } };
  const token = http.post("URL/login", JSON.stringify({ user: 1 }), json).json("token");
  const own = { headers: { Authorization: `Bearer ${token}` } };
  http.get("URL/items", own);
  http.get("URL/items/1", own);
  http.post("URL/cart", JSON.stringify({ item: 1 }), { headers: Object.assign({}, json.headers, own.headers) });
  http.get("URL/cart", own);
}
"""


def _peers(url: str, folder: Path) -> dict[str, Callable[[], Cost]]:
    def script(name: str, text: str) -> str:
        path = folder / name
        path.write_text(text.replace("URL", url), encoding="utf-8")
        return str(path)

    def httpx_with(name: str, own: str) -> tuple[str, Callable[[], Cost]]:
        return sys.executable, partial(_counting, [sys.executable, script(name, _HTTPX.replace("OWN", own))])

    locust = ["locust", "-f", script("locust_shop.py", _LOCUST), "--headless", f"-u{USERS}", f"-r{USERS}"]
    locust += [f"-t{SECONDS}s", f"--host={url}", "--only-summary"]
    found: dict[str, tuple[str, Callable[[], Cost]]] = {
        "httpx, all users share a client": httpx_with("httpx_shared.py", "False"),
        PLAIN_HTTPX: httpx_with("httpx_own.py", "True"),
        "locust": ("locust", partial(_counting, locust)),
        "k9": ("k9", partial(_counting, ["k9", "run", script("k9_shop.py", _K9)])),
        f"k9, {ONE}": ("k9", partial(_counting, ["k9", "run", script("k9_one.py", _K9_ONE)])),
        "k6": ("k6", partial(_k6, ["k6", "run", "--no-usage-report", f"-u{USERS}"], script("k6_shop.js", _K6))),
    }
    return {peer: once for peer, (program, once) in found.items() if shutil.which(program)}


def _counting(command: Sequence[str]) -> Cost:
    """Run a script that prints what it used."""
    printed, _ = _output(command)
    if (found := re.search(r"(\d+) requests in ([\d.]+) s, ([\d.]+) s of CPU", printed)) is None:
        raise SystemExit(f"{command[0]}: {printed}")
    requests, took, busy = map(float, found.groups())
    return Cost(requests / took, busy / requests)


def _k6(command: Sequence[str], script: str) -> Cost:
    """Run k6, less what it uses to start."""
    _, startup = _output([*command, f"-i{USERS}", script])
    printed, used = _output([*command, f"-d{SECONDS}s", script])
    found = re.search(r"http_reqs\D+(\d+)\s+([\d.]+)/s", printed)
    if found is None or not re.search(r"http_req_failed\D+0\.00%", printed):
        raise SystemExit(f"k6: {printed}")
    return Cost(float(found[2]), (used - startup) / (int(found[1]) - USERS * REQUESTS))


def _output(command: Sequence[str]) -> tuple[str, float]:
    """Return what a program printed, and the CPU time that it used, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with exit status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
