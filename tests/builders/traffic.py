"""Plans."""

from typing import Any

from hypothesis import strategies as st

from pytest_loadgen.traffic.plan import Plan, hold, ramp
from pytest_loadgen.traffic.target import Target

HERE = Target.of("http://localhost/")

_RATES = st.integers(0, 20_000).map(lambda tenths: tenths / 10)
_TIMES = st.integers(1, 200).map(lambda tenths: tenths / 10)
_STAGES = st.lists(st.builds(hold, _RATES, _TIMES) | st.builds(ramp, _RATES, _RATES, _TIMES), min_size=1, max_size=4)
OPEN_PLANS = st.builds(
    Plan, st.just(HERE), _STAGES.map(tuple), connections=st.integers(36, 200), arrivals=st.just("constant")
)


def plan(**options: Any) -> Plan:
    return Plan.of(HERE, **options)
