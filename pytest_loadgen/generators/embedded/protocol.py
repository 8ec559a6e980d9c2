"""What the embedded generator and its worker processes send to each other."""

from __future__ import annotations

from typing import NamedTuple

# To a worker: a pickled environment and plan, or during a run one of these.
STOP, FINISH = b"stop", b"finish"
# Or a block of filled requests, marshalled; a request without data is empty. The last block has FILLED_END.
FILLED, FILLED_END = b"data", b"end!"
# The first byte of a message from a worker: figures; the end of a run; an error; a request for more blocks (the next
# byte is their number); that it used the last filled request; what a journey printed; that its process ends after this
# run.
FIGURES, DONE, ERROR, NEED, RAN_OUT, PRINTED, LAST = b"f", b"d", b"e", b"n", b"r", b"p", b"l"

Bucket = int
"""The lower edge of a histogram's bucket, in ns."""


class NamedFigures(NamedTuple):
    """The figures of one name as plain values."""

    latency: dict[Bucket, int]
    service_time: dict[Bucket, int] | None
    """None where it is the same as the latency."""
    outcomes: dict[int | str, int]
    first_byte: dict[Bucket, int] | None
    """Likewise."""
    received: int
    never_sent: int


class Evidence(NamedTuple):
    """What was wrong with a request that failed."""

    name: str
    """Of the request, where there are several."""
    why: str
    """Empty where the status says it."""
    body: str | None = ""
    """How the body of its response begins; None if this is not about a response."""
    is_cut: bool = False
    """Whether the body goes on."""


class Figures(NamedTuple):
    """An interval as plain values, which are fast to encode."""

    start: float
    seconds: float
    latency: dict[Bucket, int]
    service_time: dict[Bucket, int] | None
    outcomes: dict[int | str, int]
    lag: dict[Bucket, int]
    cpu: float
    throttled: float
    stalled: float
    received: int
    connections: int
    retried: int
    never_sent: int
    first_byte: dict[Bucket, int] | None
    names: list[NamedFigures]
    reasons: dict[str, Evidence]
    labels: tuple[str, ...] = ()
    """The names of the figures by name, if the plan does not have them."""


class Environment(NamedTuple):
    """What relative paths and `verify=True` depend on; a test may change it between loads."""

    folder: str | None
    variables: dict[str, str | None]
