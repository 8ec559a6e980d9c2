"""What users see of journeys, in pytest sessions of their own."""

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from tests.builders.shop import Shop

pytestmark = pytest.mark.filterwarnings("default")

IMPORTS = "import asyncio\nimport pytest\nfrom pytest_loadgen import each, step\n\nusers = each(range(1000))\n\n"
SHOPPER = """
async def shopper(client):
    user = next(users)
    token = (await client.post("/login", json={"user": user})).json()["token"]
    cart = await client.get("/cart", headers={"Authorization": f"Bearer {token}"}, name="cart")
    assert cart.json()["user"] == user
    async with step("checkout"):
        await client.post("/orders", json={})
"""


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


@pytest.fixture
def suite(pytester: pytest.Pytester, shop: Shop) -> pytest.Pytester:
    """A folder of tests whose load_target is a shop."""
    pytester.makeini(f"[pytest]\nload_target = {shop.url}\n")
    return pytester


def run(suite: pytest.Pytester, test: str, *args: str) -> pytest.RunResult:
    suite.makepyfile(test_a=IMPORTS + SHOPPER + textwrap.dedent(test))
    return suite.runpytest_inprocess("-p", "no:cacheprovider", *args)


def test_the_summary_has_journeys_and_their_steps(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        def test_it(load):
            result = load(shopper, rate=100, duration=4, slo=["errors < 5%", "p99 of cart < 10s", "p50 < 10s"])
            assert result["checkout"].requests == result.requests
            assert [verdict.outcome for verdict in result.verdicts] == ["met"] * 3
        """,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "test_a.py::test_it  shopper *",
            "* - POST /login *",
            "* - cart *1 met",
            "* - POST /orders *",
            "* - checkout *",
        ]
    )


def test_a_failed_assert_is_reported_with_its_line(suite: pytest.Pytester) -> None:
    """As pytest writes it, in the words for journeys."""
    result = run(
        suite,
        """
        async def fails(client):
            cart = await client.get("/items/1")
            assert cart.status_code == 201

        def test_it(load):
            load(fails, iterations=20, rate=50, slo="errors == 0")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*ServiceError: fails: all 20 journeys failed: 20 × check.*",
            "E*One of 20 journeys that failed a check: test_a.py:* in fails(): *assert 200 == 201*",
        ]
    )


def test_what_failed_is_with_the_assert_of_the_test(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        async def fails(client):
            assert next(users) % 4, "not this one"

        def test_it(load):
            assert load(fails, iterations=20, rate=50).errors == 0
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- Failed requests -*", "fails: One of 5 journeys that failed a check: test_a.py:*"])


def test_an_objective_of_a_step_that_no_journey_makes(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        def test_it(load):
            load(shopper, rate=100, duration=4, max_duration=4, slo="p99 of card < 200ms")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*PlanError: p99 of card < 200ms: no journey made a step named 'card': did you*'cart'?"]
    )


def test_a_broken_step_that_the_function_ignores_fails_the_load(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        async def careless(client):
            await client.get("/status/500")

        def test_it(load):
            load(careless, iterations=20, rate=50)
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*careless: all 20 journeys failed: 20 × 500.*"])


def test_a_load_whose_journeys_take_long_is_not_aborted(suite: pytest.Pytester) -> None:
    """No journey ends within the time after which a silent service aborts a load."""
    result = run(
        suite,
        """
        async def thinks(client):
            await client.get("/items/1")
            await client.think(7)

        def test_it(load):
            result = load(thinks, iterations=20, users=20, timeout=1)
            assert result.requests == 20
        """,
    )
    result.assert_outcomes(passed=1)


def test_marks_and_profiles_have_options_of_journeys(suite: pytest.Pytester) -> None:
    suite.makepyprojecttoml("[tool.pytest-loadgen.profiles.small]\nusers = 2\niterations = 10\n")
    result = run(
        suite,
        """
        @pytest.mark.load(expect=["2xx", 404])
        def test_it(load):
            assert load(shopper).requests == 10

        @pytest.mark.load(rate=50)
        def test_nearer(load):
            assert load(shopper).plan.rate == "50/s"

        @pytest.mark.load(setup=shopper)
        def test_setup(load, request):
            assert load(shopper).errors == 0
        """,
        "--load-profile=small",
    )
    result.assert_outcomes(passed=3)


def test_side_by_side_relative_addresses_go_to_the_other_service(suite: pytest.Pytester, shop: Shop) -> None:
    with Shop() as other:
        result = run(
            suite,
            f"""
            def test_it(load):
                result = load(shopper, rate=50, duration=3, against="{other.url}")
                assert result["cart"].requests and result.against["cart"].requests
            """,
        )
        result.assert_outcomes(passed=1)
        # Each user logs in once at each service.
        for each in (shop, other):
            assert 150 <= sum(each.logins.values()) == len(each.logins)


def test_over_xdist(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        @pytest.mark.parametrize("number", range(2))
        def test_it(load, number):
            load(shopper, users=2, iterations=10)
        """,
        "-n2",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["test_a.py::test_it[[]1[]]  shopper *"])


@pytest.mark.parametrize("extension", ["html", "md", "json", "csv", "om", "hlog"])
def test_reports_have_the_steps(suite: pytest.Pytester, extension: str) -> None:
    result = run(
        suite,
        """
        def test_it(load):
            load(shopper, users=2, iterations=10)
        """,
        f"--load-report=loads.{extension}",
    )
    result.assert_outcomes(passed=1)
    text = (suite.path / f"loads.{extension}").read_text()
    assert "checkout" in text
    assert "shopper" in text


def test_the_page_says_how_journeys_ended(suite: pytest.Pytester) -> None:
    """In words for journeys: an exception is no missing response."""
    result = run(
        suite,
        """
        async def ends(client):
            kind = next(users) % 3
            assert kind != 1
            if kind == 2:
                raise KeyError("price")

        def test_it(load):
            load(ends, iterations=30, rate=100)
        """,
        "--load-report=loads.html",
    )
    result.assert_outcomes(passed=1)
    page = (suite.path / "loads.html").read_text()
    for meaning in ("nothing failed", "an assert failed", "it raised this", "20 of 30 journeys (66.7%) failed"):
        assert meaning in page
    assert "no response" not in page


def test_a_baseline_of_journeys(suite: pytest.Pytester) -> None:
    test = """
        def test_it(load):
            load(shopper, rate=100, duration=4, slo="p50 of cart < baseline + 10000%")
        """
    saved = run(suite, test, "--load-save=main")
    saved.assert_outcomes(passed=1)
    compared = run(suite, test, "--load-compare=main")
    # It is compared; on a busy machine the load is invalid.
    compared.stdout.re_match_lines([r".* - cart .* 1 (met|invalid)$"])


def test_ctrl_c_ends_a_load_during_a_journey(suite: pytest.Pytester, shop: Shop) -> None:
    """Even if a journey catches everything; no process is left."""
    suite.makepyfile(
        test_a=IMPORTS
        + textwrap.dedent(
            """
            async def stubborn(client):
                while True:
                    try:
                        await client.get("/delay/0.01")
                        await asyncio.sleep(60)
                    except BaseException:
                        pass

            def test_it(load):
                load(stubborn, users=3, duration=60, timeout=60)
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=suite.path) as session:
        deadline = time.monotonic() + 30
        while shop.requests["GET /delay/0.01"] < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        session.send_signal(signal.SIGINT)
        output = session.communicate(timeout=15)[0].decode()
    assert "KeyboardInterrupt" in output
    left = subprocess.run(["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in left.splitlines() if line.split()[0] == str(session.pid)]
