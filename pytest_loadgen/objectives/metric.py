"""Metrics: what an objective can be about, and how each is read from a result.

A metric is one class, listed in `METRICS`. All that differs from one metric to another is said here:
which words stand for it, in which unit its bound is written, how its figure is read from a result and
what it counts in each interval, and what it is called in messages.
"""

from __future__ import annotations

import math
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import ClassVar, Literal, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.histogram import Histogram, rank
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import bootstrap, stats
from pytest_loadgen.objectives.sample import Estimated, Facts, Means, Sample, Shares, Trends
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Change, Duration, Rate, Share, Size
from pytest_loadgen.wording import did_you_mean

LOWER_LEVELS = tuple(2 ** (-step / 4) for step in range(1, 5))
"""Bursts are also measured among the requests that are slower than these fractions of the limit."""
# A bucket of a histogram is at most this part of its latency wide.
_BUCKET = 0.001
# A rate over less than this many seconds is chance.
_SHORTEST = 0.5

Bound = Duration | Rate | Share | Size | Change | int
"""What a figure is compared with: a value in its unit, or a change from the baseline's figure."""


@dataclass(frozen=True)
class Metric(ABC):
    """What an objective is about."""

    words: ClassVar[tuple[str, ...]] = ()
    """The words that stand for it, or examples of them; proposed where a word is misspelt."""
    synonyms: ClassVar[Mapping[str, str]] = {}
    """Words that other tools use for it, and what to write here."""
    argument: ClassVar[str] = ""
    """What the word after it must be, as ``a status (503, 5xx)``; empty where none follows."""
    unit: ClassVar[str] = ""
    """The unit to propose where a bound has none: ``ms``, ``/s``; empty where a bound needs no unit."""
    is_latency: ClassVar[bool] = False
    is_count: ClassVar[bool] = False
    """Whether it counts requests: its bound is a count or a share of all requests."""
    is_estimated: ClassVar[bool] = False
    """Whether its figure is an estimate of a true one, whatever the bound; else it is a fact of the run."""
    is_comparable: ClassVar[bool] = False
    """Whether it can be compared with a baseline; then `resampled` is implemented."""
    assumed_burst: ClassVar[int] = 1
    """How many of the requests that it counts are assumed to come in one burst, until a run shows how they cluster."""
    subject: ClassVar[Literal["requests", "generator", "service"]] = "requests"
    """What it describes: requests, and so those of one name, too; or the generator or the service as a whole."""

    @classmethod
    def matches(cls, word: str) -> bool:
        """Return whether a word of an objective, in lower case, stands for this metric."""
        return word in cls.words

    @classmethod
    def read(cls, word: str, argument: str = "") -> Self:  # for those that are more than a word
        """Make the metric from its word and the argument after it. Raises PlanError."""
        return cls()

    @abstractmethod
    def read_bound(self, text: str) -> Bound:
        """Read the bound of an objective. Raises PlanError."""

    @abstractmethod
    def figure(self, result: Result) -> float:
        """Give the figure of a result, in seconds, per second or as a count."""

    @abstractmethod
    def sample(self, result: Result, bound: Bound) -> Sample:
        """Count in each interval what a comparison with this bound needs."""

    def allowed_share(self, bound: Bound) -> float | None:
        """Give the share of requests that may be bad, where the objective is judged as a share; else None."""
        return None

    def bounds(self, result: Result, sample: Estimated, bound: Bound, alpha: float) -> tuple[float, float]:
        """Bound the true figure; each bound alone is wrong with probability alpha."""
        estimate = sample.estimate(alpha)
        return max(0.0, estimate.low), estimate.high

    def view(self, result: Result) -> Result:
        """Give the result with the latency that this metric is about."""
        return result

    def by(self, clock: str) -> Metric:
        """Give the same metric of another latency, such as service time. Raises PlanError where that means nothing."""
        raise PlanError(f"{clock!r} goes with a latency ({clock} p99), not with {self}")

    @property
    def is_response_time(self) -> bool:
        """Whether it is a latency that counts from the schedule, and not from when a request was sent."""
        return False

    @property
    def instead(self) -> str:
        """The words to put before it for a latency that does not count from the schedule; empty if there are none."""
        return ""

    def resampled(self, result: Result, intervals: Sequence[Interval]) -> bootstrap.Resampled:
        """Prepare its figure for drawing intervals again."""
        raise NotImplementedError(f"{self} is not comparable")

    @property
    def comparable_from(self) -> int:
        """Give from how many requests on drawing intervals again shows how much its figure varies."""
        return 1

    def unmeasurable(self, plan: Plan) -> str:
        """Say why no load with this plan can have the figure; empty where it can."""
        return ""

    def unknown_in(self, result: Result) -> str:
        """Say why the figure cannot be known from this result; empty where it can."""
        return ""

    @abstractmethod
    def write(self, value: float) -> str:
        """Write a bound of the figure with its unit."""

    def write_figure(self, result: Result, sample: Sample) -> str:
        """Write the figure of a result, as a verdict shows it."""
        return str(self.figure(result))

    def worst(self, result: Result, sample: Sample, windows: Sequence[slice], sign: int) -> slice:
        """Find the window with the highest figure, or with the lowest where the sign is -1."""
        return max(windows, key=lambda window: sign * sample[window].value)

    def bad_requests(self, bound: Bound) -> str:
        """Name the requests that an objective with this bound counts as bad, for "3 of 400 …"."""
        return "requests"

    def __str__(self) -> str:
        return self.words[0] if self.words else "unknown"


# Latency.


CLOCKS: Mapping[str, Callable[[Result], Result]] = {
    "service": lambda result: result.by_service_time,
    "first byte": lambda result: result.by_first_byte,
}
"""What a latency may be instead of response time, by the words before it, and the result with that as its latency."""


@dataclass(frozen=True, kw_only=True)
class Latency(Metric):
    """A figure of latency: response time, service time, or the time to the first byte."""

    clock: str = ""
    """One of `CLOCKS`; empty for response time."""
    is_latency: ClassVar = True
    unit: ClassVar = "ms"

    def read_bound(self, text: str) -> Bound:
        """Read a duration."""
        return Duration(text)

    def view(self, result: Result) -> Result:
        """Take as the latency what it is about."""
        return CLOCKS[self.clock](result) if self.clock else result

    def by(self, clock: str) -> Metric:
        """Give the same figure of another latency."""
        return replace(self, clock=clock)

    @property
    def is_response_time(self) -> bool:
        """Whether it counts from the schedule."""
        return self.clock != "service"

    @property
    def instead(self) -> str:
        """Service time, which can stand for response time only."""
        return "" if self.clock else "service"

    def unknown_in(self, result: Result) -> str:
        """Say so where the generator does not measure the first byte."""
        if self.clock != "first byte" or (total := result.total).first_byte or total.requests == total.unanswered:
            return ""
        return f"{result.generator} does not measure when the first byte of a response came; use another generator"

    def write(self, value: float) -> str:
        """Write a duration; an infinite one is that of a request without a response."""
        return "no answer" if math.isinf(value) else str(Duration(value))

    def bad_requests(self, bound: Bound) -> str:
        """Name the slow requests."""
        return f"requests took longer than {bound}"

    def __str__(self) -> str:
        return f"{self.clock} {self._name}" if self.clock else self._name

    @property
    def _name(self) -> str:
        return self.words[0]


@dataclass(frozen=True)
class Percentile(Latency):
    """A percentile of latency, which is judged as a share: ``p99 < L`` is P(latency > L) < 1 %."""

    percent: float = 50.0
    words: ClassVar = ("p50", "p90", "p95", "p99", "p99.9")
    synonyms: ClassVar = {"median": "p50"}
    is_estimated: ClassVar = True
    is_comparable: ClassVar = True
    _word: ClassVar = re.compile(r"p(\d{1,2}(?:\.\d{1,4})?)", re.ASCII)

    @classmethod
    def matches(cls, word: str) -> bool:
        """Return whether a word is p and a number below 100."""
        return cls._word.fullmatch(word) is not None

    @classmethod
    def read(cls, word: str, argument: str = "") -> Self:
        """Read the percent from the word."""
        if not (percent := float(word[1:])):
            raise PlanError("p0 is not a useful percentile")
        return cls(percent=percent)

    def figure(self, result: Result) -> float:
        """Give the percentile in seconds."""
        return self.view(result).percentile(self.percent)

    def sample(self, result: Result, bound: Bound) -> Shares:
        """Count the requests that are slower than the bound; those without a response are."""
        intervals = self.view(result).intervals
        slow, *lower_levels = (
            [each.latency.over(float(bound) * part) + each.unanswered for each in intervals]
            for part in (1, *LOWER_LEVELS)
        )
        return Shares(slow, [each.requests for each in intervals], lower_levels)

    def allowed_share(self, bound: Bound) -> float:
        """Give the share of requests beyond the percentile."""
        return 1 - self.percent / 100

    def bounds(self, result: Result, sample: Estimated, bound: Bound, alpha: float) -> tuple[float, float]:
        """Bound the true percentile.

        The bounds are the latencies that the critical shares of the requests exceed (Woodruff 1952), on the side of the
        limit that the verdict says. The upper one is infinite if even a sample without slow requests decides nothing.
        """
        assert isinstance(sample, Shares)
        allowed, limit = self.allowed_share(bound), float(bound)
        result, side = self.view(result), sample.side(allowed, alpha)
        tail = sample.critical_shares(allowed, alpha)
        low = float(result.percentile(100 * (1 - tail.high)))
        high = float(result.percentile(100 * (1 - tail.low))) if tail.low >= 0 else math.inf
        if side < 0:
            low, high = min(low, limit), min(high, limit)
        elif side > 0:
            low, high = max(low, limit), max(high, limit)
        return low, high

    def worst(self, result: Result, sample: Sample, windows: Sequence[slice], sign: int) -> slice:
        """Find the window with the highest or lowest percentile.

        Each window is compared with the worst so far by a count, and its percentile is found only where it
        is worse: in random order that is seldom.
        """
        result = self.view(result)
        requests = [0, *accumulate(each.requests for each in result.intervals)]
        order = random.Random(0).sample(windows, len(windows))  # noqa: S311  # no secret
        found, limit, slow = order[0], math.nan, [0]
        for window in order:
            begin, end = window.start, window.stop
            size = requests[end] - requests[begin]
            if not size:
                continue
            if not math.isnan(limit):
                over = slow[end] - slow[begin] > size - rank(self.percent, size)
                if over == (sign < 0):
                    continue
            figure = float(self.figure(replace(result, intervals=result.intervals[window])))
            if not math.isnan(limit) and sign * figure <= sign * limit:
                continue
            found, limit = window, figure
            # Of the lower one, the bucket below.
            edge = limit if sign > 0 else limit * (1 - 2 * _BUCKET)
            slow = [0, *accumulate(each.latency.over(edge) + each.unanswered for each in result.intervals)]
        return found

    @property
    def comparable_from(self) -> int:
        """Among fewer the percentile is about the slowest of them, and no draw has a slower one."""
        return stats.needed(1 - self.percent / 100)

    def resampled(self, result: Result, intervals: Sequence[Interval]) -> bootstrap.Resampled:
        """Prepare the percentile of intervals that are of its view."""
        return bootstrap.percentile(self.percent, intervals)

    @property
    def _name(self) -> str:
        return f"p{self.percent:g}"


@dataclass(frozen=True)
class MeanLatency(Latency):
    """The mean latency; a request without a response counts with the timeout."""

    words: ClassVar = ("mean",)
    synonyms: ClassVar = {"avg": "mean", "average": "mean"}
    is_estimated: ClassVar = True
    is_comparable: ClassVar = True

    def figure(self, result: Result) -> float:
        """Give the mean in seconds."""
        return self.view(result).mean

    def sample(self, result: Result, bound: Bound) -> Means:
        """Give the mean of each interval, weighted by its number of requests."""
        parts = self.view(result).by_interval
        means = [float(part.mean) if part.requests else 0.0 for part in parts]
        return Means.of_latencies(means, [_with_unanswered(part.intervals[0], part.plan) for part in parts])

    def resampled(self, result: Result, intervals: Sequence[Interval]) -> bootstrap.Resampled:
        """Prepare the mean."""
        requests = [each.requests for each in intervals]
        parts = replace(result, intervals=tuple(intervals)).by_interval
        means = [float(part.mean) * count for part, count in zip(parts, requests, strict=True)]
        return bootstrap.quotient(means, requests)


def _with_unanswered(interval: Interval, plan: Plan) -> Histogram:
    """Give the latencies of an interval, where a request without a response counts with the timeout."""
    if not interval.unanswered:
        return interval.latency
    latencies = Histogram.sum([interval.latency])
    latencies.record(plan.timeout, interval.unanswered)
    return latencies


@dataclass(frozen=True)
class MaxLatency(Latency):
    """The latency of the slowest request, a fact of the run."""

    words: ClassVar = ("max",)

    def figure(self, result: Result) -> float:
        """Give the slowest latency in seconds."""
        return self.view(result).max

    def sample(self, result: Result, bound: Bound) -> Facts:
        """Give the slowest latency of each interval."""
        slowest = [part.max if part.requests else Duration(0) for part in self.view(result).by_interval]
        return Facts(slowest, lambda each: max(each, default=Duration(0)))


# Throughput.


@dataclass(frozen=True)
class ResponseRate(Metric):
    """Responses per second."""

    words: ClassVar = ("rate",)
    synonyms: ClassVar = {"throughput": "rate", "rps": "rate"}
    unit: ClassVar = "/s"
    is_estimated: ClassVar = True
    is_comparable: ClassVar = True

    def read_bound(self, text: str) -> Bound:
        """Read a rate."""
        return Rate(text)

    def figure(self, result: Result) -> float:
        """Give the responses per second."""
        return result.rate

    def sample(self, result: Result, bound: Bound) -> Means:
        """Give the rate of each interval, which weighs as much as it is long."""
        seconds = [each.seconds if each.seconds >= _SHORTEST else 0.0 for each in result.intervals]
        responses = [each.requests - each.unanswered for each in result.intervals]
        return Means([count / (time or 1) for count, time in zip(responses, seconds, strict=True)], seconds)

    def resampled(self, result: Result, intervals: Sequence[Interval]) -> bootstrap.Resampled:
        """Prepare the rate."""
        responses = [each.requests - each.unanswered for each in intervals]
        return bootstrap.quotient(responses, [each.seconds for each in intervals])

    def write(self, value: float) -> str:
        """Write a rate."""
        return str(Rate(value))


# Counts.


@dataclass(frozen=True)
class Count(Metric):
    """A number of requests, or their share of all."""

    is_count: ClassVar = True
    # For example all requests in flight when a process of the service died.
    assumed_burst: ClassVar = 5

    @abstractmethod
    def count(self, interval: Interval, plan: Plan) -> int:
        """Count the requests of an interval by how they ended."""

    def read_bound(self, text: str) -> Bound:
        """Read a count or a share."""
        if text.endswith("%"):
            share = Share(text)
            if share > 1:
                raise PlanError(f"{text} is more than all requests")
            return share
        if not re.fullmatch(r"[\d,_]{1,15}", text, re.ASCII) or not text.strip(",_"):
            raise PlanError(f"{text!r} is neither a count (5) nor a share (0.1%)")
        return int(text.replace(",", "").replace("_", ""))

    def figure(self, result: Result) -> float:
        """Give the count."""
        return sum(self.count(each, result.plan) for each in result.intervals)

    def sample(self, result: Result, bound: Bound) -> Sample:
        """Count in each interval."""
        counts = [self.count(each, result.plan) for each in result.intervals]
        if isinstance(bound, Share):
            return Shares(counts, [each.requests for each in result.intervals], assumed_burst=self.assumed_burst)
        return Facts(counts, sum)

    def bounds(self, result: Result, sample: Estimated, bound: Bound, alpha: float) -> tuple[float, float]:
        """Bound the true share."""
        assert isinstance(sample, Shares)
        estimate = sample.estimate(alpha, float(bound))
        return estimate.low, estimate.high

    def allowed_share(self, bound: Bound) -> float | None:
        """Give the bound, where it is a share."""
        return float(bound) if isinstance(bound, Share) else None

    def write(self, value: float) -> str:
        """Write a share."""
        return str(Share(value))

    def write_figure(self, result: Result, sample: Sample) -> str:
        """Write the count, and out of how many where it is a share."""
        if isinstance(sample, Shares):
            return f"{sum(sample.bad):,} of {sum(sample.requests):,}"
        return f"{self.figure(result):,}"


@dataclass(frozen=True)
class Errors(Count):
    """Requests that failed or got a status that is not expected."""

    words: ClassVar = ("errors",)
    synonyms: ClassVar = {"error": "errors"}

    def count(self, interval: Interval, plan: Plan) -> int:
        """Count the outcomes that are not expected of the requests that had them."""
        return interval.errors(plan)

    def bad_requests(self, bound: Bound) -> str:
        """Name the errors."""
        return "requests failed"


@dataclass(frozen=True)
class Statuses(Count):
    """Responses with one status, or with one of a class."""

    status: str = "5xx"
    words: ClassVar = ("status",)
    argument: ClassVar = "a status (503, 5xx)"

    @classmethod
    def read(cls, word: str, argument: str = "") -> Self:
        """Read the status."""
        if not re.fullmatch(r"[1-5](\d\d|xx)", argument, re.ASCII):
            raise PlanError(f"{argument!r} is not a status: write a status (503) or a class (5xx)")
        return cls(status=argument)

    def count(self, interval: Interval, plan: Plan) -> int:
        """Count the responses with the status."""
        outcomes = interval.outcomes
        if self.status.endswith("xx"):
            return sum(count for outcome, count in outcomes.items() if outcome.startswith(self.status[0]))
        return outcomes.get(self.status, 0)

    def unknown_in(self, result: Result) -> str:
        """Say so where the generator reports the class only, of which one status may or may not be."""
        status_class = f"{self.status[0]}xx"
        if status_class == self.status or status_class not in result.outcomes:
            return ""
        return f"{result.generator} only reports status classes; use 'status {status_class}'"

    def bad_requests(self, bound: Bound) -> str:
        """Name the responses."""
        return f"requests ended with status {self.status}"

    def __str__(self) -> str:
        return f"status {self.status}"


@dataclass(frozen=True)
class Timeouts(Count):
    """Requests without a response within the timeout."""

    words: ClassVar = ("timeouts",)
    synonyms: ClassVar = {"timeout": "timeouts"}

    def count(self, interval: Interval, plan: Plan) -> int:
        """Count the timeouts."""
        return interval.outcomes.get("timeout", 0)

    def bad_requests(self, bound: Bound) -> str:
        """Name the timeouts."""
        return "requests timed out"


# The generator.


@dataclass(frozen=True)
class GeneratorLag(Metric):
    """How late the generator sent: the 99th percentile, as a fact of the run."""

    words: ClassVar = ("lag",)
    unit: ClassVar = "ms"
    subject: ClassVar = "generator"

    def read_bound(self, text: str) -> Bound:
        """Read a duration."""
        return Duration(text)

    def figure(self, result: Result) -> float:
        """Give the lag in seconds; nan where the generator does not report it."""
        return _lag([each.lag for each in result.intervals])

    def sample(self, result: Result, bound: Bound) -> Facts:
        """Give the lags of each interval."""
        return Facts([each.lag for each in result.intervals], _lag)

    def unmeasurable(self, plan: Plan) -> str:
        """Say so where requests have no schedule that one could be late for."""
        return "a load with rate='max' has no schedule, so nothing can be late" if plan.closed else ""

    def write(self, value: float) -> str:
        """Write a duration."""
        return str(Duration(value))


def _lag(each: Sequence[Histogram]) -> float:
    lag = Histogram.sum(each)
    return lag.percentile(99) if lag else math.nan


# The service.


@dataclass(frozen=True)
class OfService(Metric):
    """What the processes of the service used, all together."""

    subject: ClassVar = "service"

    def unknown_in(self, result: Result) -> str:
        """Say so where the service could not be sampled."""
        return result.why_service_unknown

    def write_figure(self, result: Result, sample: Sample) -> str:
        """Write the figure, where it is known."""
        return "-" if math.isnan(figure := self.figure(result)) else self.write(figure)


@dataclass(frozen=True)
class Cpu(OfService):
    """The CPU that the service used, as a share of the cores that it may use."""

    words: ClassVar = ("cpu",)
    synonyms: ClassVar = {"cores": "cpu", "utilization": "cpu"}
    is_estimated: ClassVar = True

    def read_bound(self, text: str) -> Bound:
        """Read a share."""
        if not text.endswith("%"):
            raise PlanError(f"{text} is not a share: write 80%, of the cores that the service may use")
        share = Share(text)
        if not 0 < share <= 1:
            raise PlanError(f"{text} is not between 0% and 100%, which are all cores that the service may use")
        return share

    def figure(self, result: Result) -> float:
        """Give the share of the whole run."""
        found = result.total.service
        return found.cpu_share if found else math.nan

    def sample(self, result: Result, bound: Bound) -> Means:
        """Give the share in each interval, which weighs as much as it is long."""
        used = [(each.service, each.seconds) for each in result.intervals]
        shares = [float(service.cpu_share) if service else 0.0 for service, _ in used]
        return Means(shares, [seconds if service and seconds >= _SHORTEST else 0.0 for service, seconds in used])

    def write(self, value: float) -> str:
        """Write a share."""
        return str(Share(value))


@dataclass(frozen=True)
class Memory(OfService):
    """The most memory that the service had, a fact of the run."""

    words: ClassVar = ("memory",)
    synonyms: ClassVar = {"mem": "memory", "ram": "memory", "rss": "memory", "pss": "memory"}
    unit: ClassVar = "MB"

    def read_bound(self, text: str) -> Bound:
        """Read a size."""
        return Size(text)

    def figure(self, result: Result) -> float:
        """Give the most memory in bytes."""
        found = result.total.service
        return found.memory if found else math.nan

    def sample(self, result: Result, bound: Bound) -> Facts:
        """Give the memory in each interval."""
        known = [each.service.memory if each.service else math.nan for each in result.intervals]
        return Facts(known, lambda each: max((one for one in each if not math.isnan(one)), default=math.nan))

    def write(self, value: float) -> str:
        """Write a size."""
        return str(Size(value))


@dataclass(frozen=True)
class MemoryGrowth(OfService):
    """How much the memory of the service grows per second: the slope of a line through that of the intervals."""

    words: ClassVar = ("memory growth",)
    synonyms: ClassVar = {"growth": "memory growth", "leak": "memory growth"}
    unit: ClassVar = "MB/s"
    is_estimated: ClassVar = True

    def read_bound(self, text: str) -> Bound:
        """Read a size per time."""
        size, _, time = text.partition("/")
        if time not in _SECONDS:
            raise PlanError(f"{text!r} is not a growth of memory: write 1MB/s, 20MB/m or 1GB/h")
        return Size(Size(size) / _SECONDS[time])

    def figure(self, result: Result) -> float:
        """Give the slope in bytes per second."""
        return self.sample(result, 0).value

    def sample(self, result: Result, bound: Bound) -> Trends:
        """Give the memory in each interval, and when that ended."""
        known = [each.service.memory if each.service else math.nan for each in result.intervals]
        return Trends(known, [each.start + each.seconds for each in result.intervals])

    def bounds(self, result: Result, sample: Estimated, bound: Bound, alpha: float) -> tuple[float, float]:
        """Bound the true slope, which may be negative."""
        estimate = sample.estimate(alpha)
        return estimate.low, estimate.high

    def write(self, value: float) -> str:
        """Write a size per second."""
        return f"{Size(value)}/s"


_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class UnknownMetric(Metric):
    """The metric of an objective that cannot be read: a record of a later version may have one."""

    def read_bound(self, text: str) -> Bound:
        """Refuse any bound."""
        raise PlanError(f"{text!r} is the bound of an unknown metric")

    def figure(self, result: Result) -> float:
        """Give nan."""
        return math.nan

    def sample(self, result: Result, bound: Bound) -> Facts:
        """Give what combines to nan."""
        return Facts((), lambda _: math.nan)

    def write(self, value: float) -> str:
        """Write the number."""
        return f"{value:,g}"


METRICS: list[type[Metric]] = [
    Percentile,
    MeanLatency,
    MaxLatency,
    ResponseRate,
    Errors,
    Statuses,
    Timeouts,
    GeneratorLag,
    Cpu,
    Memory,
    MemoryGrowth,
]
"""The metrics that objectives can be about. A metric that is added here is known to all objectives."""


def find_metric(word: str) -> type[Metric]:
    """Find the metric that a word stands for. Raises PlanError, with a proposal."""
    for metric in METRICS:
        if metric.matches(word):
            return metric
    synonyms = {"ttfb": "first byte"}
    synonyms.update(pair for metric in METRICS for pair in metric.synonyms.items())
    words = [*(each for metric in METRICS for each in metric.words), *CLOCKS]
    raise PlanError(f"{word!r} is not a metric: {did_you_mean(synonyms.get(word, word), words)}")
