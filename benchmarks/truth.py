"""Truth: what generators report for a service whose latencies are known.

The steady service responds after d = 5 ms: p50 = p99 = d.

The other one does nothing for S = 1 s in every T = 10 s. Let a stall last from 0 to S. A request due
at t in the stall is read at S and gets its response at S + d: its latency is S - t + d. One due less
than d before the stall waits for its response until S: its latency is above S. All others take d. So
latencies above a limit L between d and S belong to requests due from -d to S + d - L, which is a
share of (S + 2 d - L) / T. p99 is where that share is 1 %: L = S + 2 d - T / 100 = 0.91 s. 90 % take
d, so p50 = d.
"""

from collections.abc import Callable
from functools import partial

from benchmarks import delayed, peers, report
from benchmarks.peers import Figures, Peer

RATE = 500
STALL = 1.0
ROUNDS = 3
WITHIN = 0.05
# The open model needs as many connections as requests are due in a stall. A closed-model generator
# keeps about this rate with as many connections as requests are in flight.
OPEN_CONNECTIONS = 600
CLOSED_CONNECTIONS = 3
HEADERS = ("Generator", "sent", "p50", "p50 off by", "p99", "p99 off by", "service late, p50", "p99")


def run() -> None:
    _compare("Truth: responses after 5 ms", 0.0, 10, delayed.DELAY)
    tail = STALL + 2 * delayed.DELAY - delayed.PERIOD / 100
    _compare("Truth: responses after 5 ms, and stalls of 1 s in every 10 s", STALL, 20, tail)


def _compare(title: str, stall: float, seconds: int, p99: float) -> None:
    lateness: dict[str, list[float]] = {}

    def once(name: str, go: Callable[[str], Figures]) -> Figures:
        with delayed.running(stall) as service:
            figures = go(service.url)
        lateness.setdefault(name, []).extend(service.lateness)
        return figures

    def bound(peer: Peer) -> Callable[[str], Figures]:
        connections = CLOSED_CONNECTIONS if peer is peers.wrk else 5 if peer is peers.hey else OPEN_CONNECTIONS
        return partial(peer, connections=connections, seconds=seconds, rate=RATE)

    present = peers.present(peers.embedded, peers.wrk2, peers.wrk, peers.hey)
    runs = {name: partial(once, name, bound(peer)) for name, peer in present.items()}
    found = {name: peers.medians(figures) for name, figures in peers.interleaved(runs, ROUNDS).items()}
    off = {name: (one.p50 / delayed.DELAY - 1, one.p99 / p99 - 1) for name, one in found.items()}
    rows: list[tuple[str, ...]] = [("arithmetic", f"{RATE:,}/s", *_cells(delayed.DELAY, 0.0, p99, 0.0), "", "")]
    for name, one in found.items():
        late = sorted(lateness[name])
        own = (report.milliseconds(late[len(late) * percent // 100]) for percent in (50, 99))
        rows.append((name, f"{one.rate:,.0f}/s", *_cells(one.p50, off[name][0], one.p99, off[name][1]), *own))
    report.table(f"{title}, at {RATE:,}/s for {seconds} s, medians of {ROUNDS} rounds", HEADERS, rows)
    worst = max(off["embedded"], key=abs)
    report.expected(f"embedded within {WITHIN:.0%} of the arithmetic", report.percent(worst, "+"), abs(worst) <= WITHIN)


def _cells(p50: float, p50_off: float, p99: float, p99_off: float) -> tuple[str, str, str, str]:
    return (
        report.milliseconds(p50),
        report.percent(p50_off, "+"),
        report.milliseconds(p99),
        report.percent(p99_off, "+"),
    )
