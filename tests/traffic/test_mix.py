"""Which request of a mix comes when."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.traffic.mix import sequence


@pytest.mark.parametrize(
    ("weights", "first"),
    [
        ([1], [0, 0, 0]),
        ([1, 1], [0, 1, 0, 1]),
        ([2, 1], [0, 1, 0, 0, 1, 0]),
        ([8, 2], [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]),
        ([10, 20], [1, 0, 1, 1, 0, 1]),  # as 1 and 2
    ],
)
def test_requests_are_spread_evenly(weights: list[int], first: list[int]) -> None:
    assert list(islice(sequence(weights), len(first))) == first


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 5))
def test_weights_are_exact_over_each_period(weights: list[int], periods: int) -> None:
    period = sum(weights)
    numbers = list(islice(sequence(weights), period * periods))
    for start in range(0, len(numbers), period):
        counts = Counter(numbers[start : start + period])
        assert [counts[number] for number in range(len(weights))] == weights


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=8), st.integers(1, 3000))
def test_every_stretch_is_nearly_exact(weights: list[int], length: int) -> None:
    counts = Counter(islice(sequence(weights), length))
    for number, weight in enumerate(weights):
        assert abs(counts[number] - length * weight / sum(weights)) <= len(weights)


def test_a_seed_draws_them_independently() -> None:
    drawn = list(islice(sequence([3, 1], seed=7), 10_000))
    assert drawn == list(islice(sequence([3, 1], seed=7), 10_000))
    assert drawn != list(islice(sequence([3, 1], seed=8), 10_000))
    assert 0.72 < drawn.count(0) / len(drawn) < 0.78
