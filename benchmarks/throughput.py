"""Closed model: how many requests per second a generator sends on one core."""

from functools import partial

from benchmarks import nginx, peers, report

CONNECTIONS = 32
SECONDS = 4
ROUNDS = 5
LEAST = 0.8


def run() -> None:
    with nginx.running() as service:
        for name, url in zip(("plain", "TLS"), service, strict=True):
            _compare(name, url)


def _compare(name: str, url: str) -> None:
    present = peers.present(peers.embedded, peers.wrk, peers.hey)
    runs = {peer: partial(go, url, connections=CONNECTIONS, seconds=SECONDS) for peer, go in present.items()}
    found = peers.interleaved(runs, ROUNDS)
    rates = {peer: peers.medians(figures).rate for peer, figures in found.items()}
    rows = []
    for peer, figures in found.items():
        low, *_, high = sorted(one.rate for one in figures)
        ratio = rates["embedded"] / rates[peer]
        cpu = report.percent(peers.medians(figures).cpu)
        rows.append((peer, f"{rates[peer]:,.0f}/s", f"{low:,.0f} to {high:,.0f}", f"{ratio:.2f}", cpu))
    title = f"Throughput, {name}: {CONNECTIONS} connections, median of {ROUNDS} rounds of {SECONDS} s"
    report.table(title, ("Generator", "throughput", "rounds", "embedded / this", "CPU"), rows)
    if "wrk" in rates:
        ratio = rates["embedded"] / rates["wrk"]
        report.expected(f"embedded / wrk at least {LEAST}", f"{ratio:.2f}", ratio >= LEAST)
