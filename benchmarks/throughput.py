"""Closed model: how many requests per second a generator sends on one core."""

from functools import partial
from statistics import median

from benchmarks import nginx, peers, report

CONNECTIONS = 32
SECONDS = 2
ROUNDS = 7
LEAST = 1.0


def run() -> None:
    with nginx.running() as service:
        for name, url in zip(("plain", "TLS"), service, strict=True):
            _compare(name, url)


def _compare(name: str, url: str) -> None:
    present = peers.present(peers.embedded, peers.wrk, peers.hey)
    runs = {peer: partial(go, url, connections=CONNECTIONS, seconds=SECONDS) for peer, go in present.items()}
    found = peers.interleaved(runs, ROUNDS)
    rates = {peer: peers.medians(figures).rate for peer, figures in found.items()}
    # Each round on its own: what else runs on the machine changes from one to the next.
    ratios = {
        peer: median(mine.rate / theirs.rate for mine, theirs in zip(found["embedded"], figures, strict=True))
        for peer, figures in found.items()
    }
    rows = []
    for peer, figures in found.items():
        low, *_, high = sorted(one.rate for one in figures)
        cpu, each = peers.medians(figures).cpu, median(one.cpu / one.rate for one in figures)
        rows.append(
            (
                peer,
                f"{rates[peer]:,.0f}/s",
                f"{low:,.0f} to {high:,.0f}",
                f"{ratios[peer]:.2f}",
                report.percent(cpu),
                f"{each * 1e6:.1f} us",
            )
        )
    title = f"Throughput, {name}: {CONNECTIONS} connections, medians of {ROUNDS} rounds of {SECONDS} s"
    report.table(title, ("Generator", "throughput", "rounds", "embedded / this", "CPU", "CPU per request"), rows)
    if "wrk" in rates:
        ratio = ratios["wrk"]
        report.expected(f"embedded / wrk at least {LEAST}", f"{ratio:.2f}", ratio >= LEAST)
