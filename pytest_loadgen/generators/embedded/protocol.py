"""What the embedded generator and its worker processes send to each other."""

from __future__ import annotations

from typing import NamedTuple

# To a worker: a pickled environment and plan, or during a run one of these.
STOP, FINISH = b"stop", b"finish"
# From a worker, the first byte of a message: figures, the end of a run, or an error.
FIGURES, DONE, ERROR = b"f", b"d", b"e"

Bucket = int
"""The lower edge of a histogram's bucket, in ns."""


class Figures(NamedTuple):
    """An interval as plain values, which are fast to encode."""

    start: float
    seconds: float
    latency: dict[Bucket, int]
    service_time: dict[Bucket, int]
    outcomes: dict[int | str, int]
    lag: dict[Bucket, int]
    cpu: float
    throttled: float
    stalled: float
    received: int
    retried: int
    never_sent: int
    reasons: dict[str, str]


class Environment(NamedTuple):
    """What relative paths and `verify=True` depend on; a test may change it between loads."""

    folder: str | None
    variables: dict[str, str | None]
