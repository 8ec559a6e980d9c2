"""Clustering: bursts and slow times inflate the variance of a share."""

import random

import pytest

from pytest_loadgen.objectives.clustering import Clustering, inflation

SECONDS = 20


def test_independent_requests() -> None:
    """The variance of independent requests is not inflated."""
    draw = random.Random(1)
    found = [
        inflation([sum(draw.random() < 0.05 for _ in range(200)) for _ in range(SECONDS)], [200] * SECONDS)
        for _ in range(40)
    ]
    assert 1 <= sum(found) / len(found) < 1.6


@pytest.mark.parametrize(
    ("bad", "bursts", "persistence"),
    [
        ([0] * 5, (1, 1), (1, 1)),
        ([10] * 5, (1, 1), (1, 1)),
        ([5] * 20, (1, 1), (1, 1)),
        ([100] + [0] * 19, (100, 110), (1, 1.1)),  # all in one second
        (([0] * 5 + [20] * 5) * 2, (10, 12), (2, 10)),  # slow for five seconds at a time
        ([0, 20] * 10, (10, 12), (1, 1)),  # neighbours that are not correlated
    ],
)
def test_bursts_and_slow_times(bad: list[int], bursts: tuple[float, float], persistence: tuple[float, float]) -> None:
    """Bursts inflate the variance between seconds, slow times that between several seconds even more."""
    found = Clustering.seen([bad], [100] * len(bad))
    assert bursts[0] <= found.bursts <= bursts[1]
    assert persistence[0] <= found.persistence <= persistence[1]
    assert found.inflation == found.bursts * found.persistence


def test_where_bursts_are_measured() -> None:
    """At the first level with enough events; those of the bad requests themselves count if they are larger."""
    requests = [1000] * 10
    few, some, many = [1] * 10, [0, 40] * 5, [0, 400] * 5
    assert Clustering.seen([few, some, many], requests).bursts == inflation(some, requests)
    assert Clustering.seen([few, some, many], requests, 24).bursts == inflation(many, requests)
    assert Clustering.seen([some, few, few], requests).bursts == inflation(some, requests)


def test_where_persistence_is_measured() -> None:
    """At the lowest level that does not hold nearly all requests, as these do not show when they are slow."""
    slow_times = ([0] * 5 + [20] * 5) * 2
    alone = Clustering.seen([slow_times], [100] * 20).persistence
    assert alone > 2
    assert Clustering.seen([slow_times, [100] * 20], [100] * 20).persistence == alone
    assert Clustering.seen([[1] * 20, slow_times, [99] * 20], [100] * 20).persistence == alone


def test_batches_without_requests() -> None:
    """Seconds in which nothing was sent are no batches."""
    bad, requests = [0, 20] * 10, [100] * 20
    with_pauses = [[each for pair in zip(counts, [0] * 20, strict=True) for each in pair] for counts in (bad, requests)]
    assert Clustering.seen([with_pauses[0]], with_pauses[1]) == Clustering.seen([bad], requests)
