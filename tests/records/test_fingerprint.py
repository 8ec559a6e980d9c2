"""A machine is recognized, and has a name for a folder."""

import json

from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.store import check_name
from tests.builders.records import HERE, THERE


def test_json() -> None:
    """A fingerprint is the same after a round trip through JSON."""
    assert Fingerprint.from_dict(json.loads(json.dumps(HERE.as_dict()))) == HERE


def test_name() -> None:
    """Machines have different names, which are safe as file names."""
    assert HERE.name != THERE.name
    assert check_name(Fingerprint.here().name)


def test_here() -> None:
    """This machine has at least one core."""
    assert Fingerprint.here().cores >= 1


def test_differences() -> None:
    """The differences name what the machine of a baseline was, and what this one is."""
    assert HERE.differences(HERE) == []
    assert HERE.differences(THERE) == ["processor was Slow 100, now Quick 9000", "cores were 4, now 2"]
