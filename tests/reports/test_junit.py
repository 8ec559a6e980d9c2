"""JUnit: the figures and verdicts of each load, as properties with unique names."""

from pytest_loadgen.reports.junit import properties
from tests.reports.examples import ILL, MIX, NOTHING, WELL


def test_one_load() -> None:
    """The properties of one load are its figures and verdicts."""
    assert properties([WELL]) == [
        ("requests", "3,000"),
        ("rate", "500/s"),
        ("p50", "2.82ms"),
        ("p99", "18.3ms"),
        ("error_rate", "0%"),
        ("slo: p99 < 30ms", "met 18.3ms (95% sure of 22.4ms or less)"),
        ("slo: errors == 0", "met 0"),
        ("slo: rate >= 495/s", "met 500/s (95% sure of 500/s or more)"),
    ]


def test_several_loads() -> None:
    """With several loads, each name begins with the number and request of its load."""
    found = properties([WELL, ILL, ILL])
    assert found[0] == ("1 GET /search: requests", "3,000")
    assert (
        "2 POST /checkout: slo: p50 < 40ms",
        "unclear 37.2ms (90% sure of 31ms to 46ms; a run 4x longer would decide)",
    ) in found
    assert len({name for name, _ in found}) == len(found)


def test_by_name() -> None:
    """The figures of each name of a mix begin with it."""
    found = dict(properties([MIX]))
    assert (found["requests"], found["error_rate"]) == ("600", "1.5%")
    assert (found["order: requests"], found["order: error_rate"]) == ("120", "7.5%")
    assert found["order: p50"] == found["order: first_byte_p99"].replace("no answer", "14ms")
    assert "2 mix of 3 requests: order: p99" in dict(properties([WELL, MIX]))


def test_no_requests() -> None:
    """A load without requests has a dash for its latencies."""
    assert dict(properties([NOTHING]))["p99"] == "-"
    assert properties([]) == []
