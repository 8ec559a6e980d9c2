"""Open model: how much latency a generator adds at a set rate."""

from functools import partial

from benchmarks import nginx, peers, report

CONNECTIONS = 32
RATES = (1_000, 20_000, 60_000)
SECONDS = 10
ROUNDS = 3
CLOSED = "closed, 1 connection"
HEADERS = ("Load", "Generator", "sent", "p50", "p50 minus closed", "p99", "lag p99", "CPU")
LONGEST_LAG = 0.0005
MOST_ADDED = 0.0002


def run() -> None:
    with nginx.running() as service:
        alone = partial(peers.embedded, service.http, connections=1, seconds=SECONDS // 2)
        runs = {(CLOSED, "embedded"): alone}
        for rate in RATES:
            for name, peer in peers.present(peers.embedded, peers.wrk2).items():
                load = f"{rate:,}/s"
                runs[load, name] = partial(peer, service.http, connections=CONNECTIONS, seconds=SECONDS, rate=rate)
        labels = {f"{load} {name}": (load, name) for load, name in runs}
        found = peers.interleaved({label: runs[key] for label, key in labels.items()}, ROUNDS)
    figures = {key: peers.medians(found[label]) for label, key in labels.items()}
    closed = figures[CLOSED, "embedded"].p50
    report.table(
        f"Open loop: up to {CONNECTIONS} connections, medians of {ROUNDS} rounds of {SECONDS} s",
        HEADERS,
        [
            (
                load,
                name,
                f"{one.rate:,.0f}/s",
                report.milliseconds(one.p50),
                report.milliseconds(one.p50 - closed),
                report.milliseconds(one.p99),
                report.milliseconds(one.lag),
                report.percent(one.cpu),
            )
            for (load, name), one in figures.items()
        ],
    )
    lag = figures[f"{RATES[0]:,}/s", "embedded"].lag
    limit = report.milliseconds(LONGEST_LAG)
    report.expected(f"lag p99 at {RATES[0]:,}/s below {limit}", report.milliseconds(lag), lag < LONGEST_LAG)
    for rate in RATES:
        added = figures[f"{rate:,}/s", "embedded"].p50 - closed
        what = f"p50 at {rate:,}/s within {report.milliseconds(MOST_ADDED)} of the closed model's"
        report.expected(what, report.milliseconds(added), abs(added) <= MOST_ADDED)
