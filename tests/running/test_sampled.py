"""When intervals were, and what the service used in them."""

from dataclasses import replace

import pytest

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.running.sampled import Arrival, Sampled, spans, used, with_resources
from pytest_loadgen.service.resources import Sample, Watch
from pytest_loadgen.traffic.target import Target


def arrivals(*each: tuple[float, float]) -> list[Arrival]:
    """Make intervals of these lengths that came at these moments."""
    return [Arrival(Interval(0, seconds), at) for at, seconds in each]


@pytest.mark.parametrize(
    ("each", "found"),
    [
        ([(11, 1), (12, 1), (13, 1)], [(10, 11), (11, 12), (12, 13)]),
        ([(11.02, 1), (12.01, 1)], [(10.02, 11.02), (11.01, 12.01)]),  # as they come
        ([(13, 1), (13, 1), (13.01, 1)], [(10.01, 11.01), (11.01, 12.01), (12.01, 13.01)]),  # all at the end
        ([(12, 2), (17, 2), (17, 1)], [(10, 12), (14, 16), (16, 17)]),  # two rounds, with a pause between
        ([(11, 1), (11.3, 0.3)], [(10, 11), (11, 11.3)]),  # a short last one
        ([(12, 1), (12, 1), (12.4, 0)], [(10, 11), (11, 12), (12.4, 12.4)]),  # late responses
        ([(11.9, 1), (12, 1), (13, 1)], [(10, 11), (11, 12), (12, 13)]),  # one that was delayed
        ([], []),
    ],
)
def test_spans(each: list[tuple[float, float]], found: list[tuple[float, float]]) -> None:
    """An interval ends when it comes, or before those that came together with it."""
    assert [pytest.approx(span) for span in spans(arrivals(*each))] == found


def sample(at: float, cpu: float = 0, **rest: float) -> Sample:
    figures = {"busiest": cpu / 2, "throttled": 0.0, "cores": 2.0, "memory": 100, "threads": 3, "files": 4, **rest}
    return Sample(at=at, process="shop", cpu=cpu, files_share=0.1, **figures)  # type: ignore[arg-type]


# Half a core until 12, then one and a half.
SAMPLES = [sample(10), sample(11, 0.5), sample(12, 1), sample(13, 2.5, memory=300), sample(14, 4, throttled=0.5)]


@pytest.mark.parametrize(
    ("begin", "end", "cpu"),
    [(10, 11, 0.5), (11, 13, 1), (11.5, 12.5, 1), (12.2, 12.4, 1.5), (9.6, 10.6, 0.5), (13.5, 14.4, 1.5)],
)
def test_cpu_between_samples(begin: float, end: float, cpu: float) -> None:
    """CPU time is taken from the line between two samples; what is before the first or after the last is left out."""
    found = used(SAMPLES, begin, end)
    assert found
    assert found.cpu == pytest.approx(cpu)
    assert found.busiest == pytest.approx(cpu / 2)
    assert found.cpu_share == pytest.approx(cpu / 2)


def test_figures_of_a_moment() -> None:
    """Memory and the like are the most of the samples in the interval, else those of the last one before its end."""
    most, before = used(SAMPLES, 11.5, 14), used(SAMPLES, 12.2, 12.4)
    assert most
    assert before
    assert [float(each.memory) for each in (most, before)] == [300, 100]
    assert [each.throttled for each in (most, before)] == [pytest.approx(0.5), 0]
    assert (most.process, most.threads, most.files) == ("shop", 3, 4)


@pytest.mark.parametrize("span", [(8, 9), (9, 10.4), (13.7, 15), (15, 16), (11, 11)])
def test_too_few_samples(span: tuple[float, float]) -> None:
    """Of a time that samples do not cover by half, nothing is known."""
    assert used(SAMPLES, *span) is None
    assert used([], *span) is None
    assert used(SAMPLES[:1], *span) is None


class Recorded(Watch):
    """A watch that has taken these samples before."""

    def __init__(self) -> None:
        super().__init__(Target.of("http://127.0.0.1:9/"))
        self._samples = [sample(at / 4, at / 8) for at in range(800)]


@pytest.mark.parametrize("together", [True, False])
def test_intervals_have_their_figures_as_they_come(together: bool) -> None:
    """Where objectives need them at once, they are there for all but the last of many that come together."""
    sampled = Sampled(Recorded(), live=True)
    for second in range(100):
        sampled.add(Interval(second, 1), 101 if together else second + 2)
        missing = sum(not each.service for each in sampled.intervals)
        assert missing <= len(sampled.intervals) / 10
        assert all(each.service.cpu == pytest.approx(0.5) for each in sampled.intervals if each.service)
    assert all(each.service for each in sampled.complete())


def test_intervals_have_their_figures_at_the_end() -> None:
    sampled = Sampled(Recorded(), live=False)
    for second in range(3):
        sampled.add(Interval(second, 1), second + 2)
    assert not any(each.service for each in sampled.intervals)
    assert [each.service and each.service.cpu for each in sampled.complete()] == [pytest.approx(0.5)] * 3


def test_an_interval_in_which_nothing_was_sent_has_none() -> None:
    one, other = with_resources(arrivals((11, 1), (11.5, 0)), SAMPLES)
    assert one.service
    assert other == replace(other, service=None)
