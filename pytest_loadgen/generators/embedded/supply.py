"""Requests filled from data, and how they get from the process that has the data to the one that sends them.

They go in blocks. The worker keeps about a second's worth of them, and asks for another block when it has used one up.
So it does not wait for the process that fills them, as long as that gets some CPU time within a second.
"""

from __future__ import annotations

import marshal
import math
from collections import deque
from collections.abc import Callable
from itertools import islice

from pytest_loadgen.errors import PlanError
from pytest_loadgen.generators.embedded.protocol import FILLED, FILLED_END, NEED, RAN_OUT
from pytest_loadgen.traffic.feed import filled_requests
from pytest_loadgen.traffic.plan import Plan

# A block is what is due in this time, in seconds, but at most this many requests: it takes a fraction of a millisecond
# to fill, and less to receive. It ends early if it is this large, in bytes.
_BLOCK = 0.1
_MOST_REQUESTS = 128
_LARGE = 1 << 18
# A worker keeps what is due in this time, in seconds, but at most this many blocks and bytes.
_AHEAD = 1.0
_MOST_BLOCKS = 128
_MOST_BYTES = 1 << 24
# The same in the closed model, where no request can be late: larger blocks take less CPU time.
_CLOSED_REQUESTS, _CLOSED_BLOCKS = 512, 8


class Feed:
    """The end where requests are filled, whenever the worker asks for them."""

    def __init__(self, plan: Plan) -> None:
        """Fill nothing yet."""
        self._filled = filled_requests(plan)
        most = _CLOSED_REQUESTS if plan.closed else _MOST_REQUESTS
        self._length = math.ceil(min(most, max(1, _highest_rate(plan) * _BLOCK)))
        self._ended = False
        self.wanted = 0
        """How many blocks the worker waits for."""
        self.error: PlanError | None = None
        """Why a request could not be filled; the load fails if it gets to this request."""

    def ask(self, blocks: int) -> None:
        """Note that the worker wants more blocks, unless there are none."""
        if not self._ended:
            self.wanted += blocks

    def block(self) -> bytes:
        """Fill the next block, and return it as a message for the worker."""
        taken: list[bytes] = []
        size = 0
        try:
            for request in islice(self._filled, self._length):
                taken.append(request)
                size += len(request)
                if size > _LARGE:
                    break
            else:
                self._ended = len(taken) < self._length
        except PlanError as error:
            self.error, self._ended = error, True
        self.wanted = 0 if self._ended else self.wanted - 1
        return (FILLED_END if self._ended else FILLED) + marshal.dumps(taken)


class Supply:
    """The end where requests are sent."""

    def __init__(self, plan: Plan, send: Callable[[bytes], None] = lambda _: None) -> None:
        """Ask for nothing yet; `send` takes messages for the process that fills the requests."""
        self._rate = _highest_rate(plan)
        self._most_blocks = _CLOSED_BLOCKS if plan.closed else _MOST_BLOCKS
        self._send = send
        # The rest of the block in use, the next request last, and those after it.
        self._block: list[bytes] = []
        self._blocks: deque[list[bytes]] = deque()
        # How many blocks are here or requested; 0 until the first one has arrived.
        self._window = 0
        # How many of the next requests to leave out.
        self._skipped = 0
        self.ended = not any(request.data for request in plan.mix)
        """Whether the last block has arrived."""
        self.starved = not self.ended
        """Whether the next request has not arrived yet."""

    def begin(self) -> None:
        """Ask for the first block, which shows how large requests are."""
        if not self.ended:
            self._ask(1)

    @property
    def full(self) -> bool:
        """Whether everything that it asked for has arrived."""
        return self.ended or 0 < self._window <= len(self._blocks) + 1

    def add(self, block: list[bytes], *, last: bool) -> None:
        """Take a block; the load ends after the last one."""
        self.ended = last
        if not self._window:
            self._window = self._affordable(block)
            self._ask(self._window - 1)
        block.reverse()
        while self._skipped and block:
            self._skipped -= 1
            block.pop()
        if block:
            self._blocks.append(block)
        else:
            self._ask(1)
        if not self._block:
            self._next_block()

    def take(self) -> bytes | None:
        """Return the next request, empty for one without data; None if it has not arrived, or the data ran out."""
        block = self._block
        if not block:
            if self.ended:
                # The process that has the data may have an error to report.
                self._send(RAN_OUT)
            return None
        request = block.pop()
        if not block:
            self._ask(1)
            self._next_block()
        return request

    def skip(self) -> bool:
        """Leave out the next request, even if it has not arrived yet; return whether there is one."""
        if self.starved:
            self._skipped += 1
            return True
        return self.take() is not None

    def _next_block(self) -> None:
        self._block = self._blocks.popleft() if self._blocks else []
        self.starved = not (self._block or self.ended)

    def _ask(self, blocks: int) -> None:
        if not self.ended:
            self._send(NEED + bytes([blocks]))

    def _affordable(self, block: list[bytes]) -> int:
        """Choose how many blocks like this one to keep."""
        in_time = self._rate * _AHEAD / max(1, len(block))
        in_size = _MOST_BYTES // max(1, sum(map(len, block)))
        return max(2, math.ceil(min(in_time, in_size, self._most_blocks)))


def _highest_rate(plan: Plan) -> float:
    """Return the highest rate of a plan in requests per second; infinite in the closed model."""
    if plan.closed:
        return math.inf
    return float(max(rate for stage in plan.stages for rate in (stage.start, stage.end) if rate is not None))
