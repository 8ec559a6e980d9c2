"""What users see of mixes, data and checks, in pytest sessions of their own."""

import textwrap
from collections.abc import Iterator

import pytest

from tests.builders.recorder import Recorder

pytestmark = pytest.mark.filterwarnings("default")

UNNAMED = "wrk2 cannot tell the requests of a mix apart: use the same objectives and expect= for all of them"
IMPORTS = "import pytest\nfrom pytest_loadgen import each, from_har, get, post, put, request\n\n"


@pytest.fixture
def service() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture
def suite(pytester: pytest.Pytester, service: Recorder) -> pytest.Pytester:
    """A folder of tests whose load_target is a service that records what it gets."""
    pytester.makeini(f"[pytest]\nload_target = {service.url}\n")
    pytester.makepyprojecttoml('[tool.pytest-loadgen.profiles.small]\nrate = 100\nduration = "1s"\nconnections = 8\n')
    return pytester


def run(suite: pytest.Pytester, test: str, *args: str) -> pytest.RunResult:
    suite.makepyfile(test_a=IMPORTS + textwrap.dedent(test))
    return suite.runpytest_inprocess("--load-profile=small", "-p", "no:cacheprovider", *args)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mix_with_data_and_checks(suite: pytest.Pytester, service: Recorder, workers: int) -> None:
    """Weights are exact, every row comes once, options of a mark are for all requests, results are had by name."""
    result = run(
        suite,
        """
        @pytest.mark.load(headers={"X-Test": "all"})
        def test_it(load):
            result = load([
                get("/items/{}", each(range(1000)), weight=8),
                post("/orders", each([{"id": n} for n in range(1000)]), json={"order": "{id}"}, name="order",
                     check=lambda response: response.json()["order"].isdigit()),
                get("/status/404", expect=404),
            ])
            assert result.errors == 0
            assert result["order"].p99 < "10s"
            assert [result[name].requests for name in result.names] == [80, 10, 10]
            assert set(result.names) == {"GET /items/{}", "order", "GET /status/404"}
        """,
        f"--load-workers={workers}",
    )
    result.assert_outcomes(passed=1)
    assert service.paths() == {"/orders": 10, "/status/404": 10, **{f"/items/{number}": 1 for number in range(80)}}
    bodies = {body for method, _, body in service.requests if method == "POST"}
    assert bodies == {b'{"order":"%d"}' % number for number in range(10)}


@pytest.mark.parametrize("rate", ["100", "'max'"])
def test_rounds_go_on_with_the_rows(suite: pytest.Pytester, service: Recorder, rate: str) -> None:
    result = run(
        suite,
        f"""
        def test_it(load):
            traffic = [get("/a/{{}}", each(range(100_000)), weight=2), get("/b")]
            assert load(traffic, rate={rate}, rounds=4).errors == 0
        """,
    )
    result.assert_outcomes(passed=1)
    paths = service.paths()
    assert paths.pop("/b") > 30
    assert set(paths.values()) == {1}


def test_two_services_side_by_side_get_the_same_rows(suite: pytest.Pytester, service: Recorder) -> None:
    """Each row comes once to each of them, whatever the slices."""
    with Recorder() as other:
        result = run(
            suite,
            f"""
            def test_it(load):
                traffic = [get("/a/{{}}", each(range(1000)), weight=2), get("{service.url}/b")]
                result = load(traffic, against="{other.url}/v1", duration=3, rate=50)
                assert result.errors == result.against.errors == 0
                assert result.requests == result.against.requests == 150
            """,
        )
        result.assert_outcomes(passed=1)
        mine, theirs = service.paths(), other.paths()
    assert {f"/v1{path}": count for path, count in mine.items()} == theirs
    assert mine.pop("/b") >= 50
    assert set(mine.values()) == {1}
    assert len(mine) >= 100


def test_a_cross_check_sends_no_row_twice(suite: pytest.Pytester, service: Recorder) -> None:
    suite.makeconftest(
        """
        from pytest_loadgen.generators.embedded import Embedded

        def pytest_loadgen_generators():
            other = Embedded()
            other.name = "other"
            return [other]
        """
    )
    result = run(
        suite,
        """
        def test_it(load):
            results = load(post("/", each(range(1000)), content="{}"), generator=["embedded", "other"])
            assert [result.requests for result in results.values()] == [100, 100]
        """,
    )
    result.assert_outcomes(passed=1)
    assert {body for _, _, body in service.requests} == {b"%d" % number for number in range(200)}
    assert service.requests.total() == 200


def test_data_for_exactly_as_many_requests(suite: pytest.Pytester, service: Recorder) -> None:
    """It does not run out, however it is given, and whatever is to happen if it did."""
    result = run(
        suite,
        """
        @pytest.mark.parametrize("exhausted", ["again", "stop", "error"])
        @pytest.mark.parametrize("rows", [list, iter])
        def test_it(load, rows, exhausted):
            assert load(get("/{}", each(rows(range(100)), exhausted=exhausted))).requests == 100
        """,
    )
    result.assert_outcomes(passed=6)
    assert service.paths() == {f"/{number}": 6 for number in range(100)}


def test_an_iterator_goes_on_in_the_next_load(suite: pytest.Pytester, service: Recorder) -> None:
    result = run(
        suite,
        """
        from itertools import count

        def test_it(load):
            rows = each(count())
            for _ in range(2):
                assert load(get("/{}", rows)).errors == 0
        """,
    )
    result.assert_outcomes(passed=1)
    assert service.paths() == {f"/{number}": 1 for number in range(200)}


def test_a_failed_check_is_an_error(suite: pytest.Pytester) -> None:
    """In the summary and the objectives, and where all fail, the test fails."""
    result = run(
        suite,
        """
        def test_some(load):
            result = load([post("/", each(range(100)), content="{}", check=lambda r: int(r.text) < 30), get("/fine")])
            assert result.outcomes == {"200": 80, "check": 20}
            assert result["POST /"].errors == 20
            assert result["GET /fine"].errors == 0

        @pytest.mark.slo("errors < 50%")
        def test_objective(load):
            load("/", check="thanks")

        def test_none(load):
            load("/", check="thanks")
        """,
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*test_a.py::test_none*100%: 100 × check", "*test_a.py::test_some*20%: 20 × check"])


def test_figures_are_kept_where_data_ends_the_load(suite: pytest.Pytester, service: Recorder) -> None:
    result = run(
        suite,
        """
        def test_it(load):
            load(get("/{}", each(iter(range(150)))), duration=5)
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*load(get(*",
            "E *PlanError: GET /{}: its data has only 150 rows: exhausted='stop' ends the load there*",
            "test_a.py::test_it *150*",
        ]
    )
    assert service.paths() == {f"/{number}": 1 for number in range(150)}


def test_hooks_get_the_mix(suite: pytest.Pytester, service: Recorder) -> None:
    suite.makeconftest(
        """
        from dataclasses import replace

        def pytest_loadgen_plan(item, plan):
            return replace(plan, mix=tuple(replace(each, weight=1) for each in plan.mix))

        def pytest_loadgen_finished(item, run):
            assert {name: run.result[name].requests for name in run.result.names} == {"GET /a": 50, "GET /b": 50}
        """
    )
    run(suite, 'def test_it(load):\n    load([get("/a", weight=9), get("/b")])\n').assert_outcomes(passed=1)


def test_a_recording_is_loaded(suite: pytest.Pytester, service: Recorder) -> None:
    suite.makefile(
        ".har",
        shop='{"log": {"entries": [{"request": {"method": "GET", "url": "https://shop.example/tea?q=1"}}, '
        '{"request": {"method": "POST", "url": "https://shop.example/orders", "postData": {"text": "x"}}}]}}',
    )
    run(suite, 'def test_it(load):\n    load(from_har("shop.har"))\n').assert_outcomes(passed=1)
    assert service.requests == {("GET", "/tea?q=1", b""): 50, ("POST", "/orders", b"x"): 50}


def test_a_profile_with_several_endpoints(suite: pytest.Pytester, service: Recorder) -> None:
    """A generator that cannot send a mix is replaced, and it is said so."""
    suite.makefile(
        ".json",
        profile=f'{{"endpoints": ["{service.url}/a", "{service.url}/b"], "duration": "1s", "qps": 100, '
        '"loadGenerators": ["fortio"]}',
    )
    result = run(
        suite,
        """
        def test_it(load):
            requests, options = load.from_meshery("profile.json")
            assert set(load(requests, **options).names) == {"GET /a", "GET /b"}
        """,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*profile.json: fortio cannot send several requests; using the default*"])
    assert service.paths() == {"/a": 50, "/b": 50}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("[]", "load([]): a list of requests needs at least one"),
        ('[get("/{id}", each([{"name": 1}]))]', "GET /{id}: row 0: no field {id}; it has name"),
        ('[get("/{id}", each([{"id": 1}] * 9 + [{}]))]', "GET /{id}: row 9: no field {id}*"),
        ('[get("/", weight=-1)]', "weight=-1: expected a number from 0.001 to 1,000,000"),
        ('[get("/"), get("/?q")]', "two requests are named 'GET /': give one of them name="),
        (
            '["/", get("http://127.0.0.1:9/x")]',
            "GET /x: all requests of a load go to one service: http://127.0.0.1:*, and not http://127.0.0.1:9 too",
        ),
        ('[get("/", jsn={})]', "a request has no option 'jsn': did you mean 'json'?*"),
        ('["/"], json={}', "json= belongs to one request of the list, as in post('/orders', json=…)"),
        ('"/orders", json=lambda row: {}', "json= is a function, and there are no rows for it: post('http://*"),
        (
            '[post("/orders", json=lambda row: {})]',
            "POST /orders: json= is a function, and there are no rows for it: *",
        ),
        ('"/{}", each([1])', "load() takes one address, one request, or a list of them: load(['/a', '/b']); rows *"),
        ('"/a", "/b"', "load() takes one address, one request, or a list of them: *"),
        ('(get(path) for path in "ab")', "load() takes a list of requests, which can be read again, not a generator"),
        ('[get("/a", rate=5)]', "rate= belongs to the load, not to a request: load([…], rate=…)"),
        ('["/"], chekc="x"', "load has no option 'chekc': did you mean 'check'?*"),
        (
            'get("/{}", each([1])), generator="fortio"',
            "fortio does not support: data (each()). Supported by: embedded.",
        ),
        (
            '["/a", "/b"], generator="fortio"',
            "fortio cannot send several requests in one load: use one request, or another generator: embedded, *wrk2.",
        ),
        (
            '["/a", "/b"], generator="nighthawk"',
            "nighthawk cannot send several requests in one load: use one request, or another generator: embedded, *",
        ),
        (
            '["/a", "/b"], rate="max", generator="fortio-server"',
            "fortio-server cannot send several requests in one load: *, or another generator: embedded, wrk.",
        ),
        (
            '["/a", "/b"], generator="fortio", slo="p99 of GET /a < 1s"',
            "fortio does not support: mixes of several requests, figures by name. Supported by: embedded*.",
        ),
        *(
            (f"{traffic}, {option}generator={generator}", f"{UNNAMED}, or another generator: embedded*.")
            for traffic, option, generator in [
                ('["/a", "/b"]', 'slo="p99 of GET /a < 1s", ', '["embedded", "wrk2"]'),
                ('["/a", "/b"]', 'abort_if="errors of GET /a > 50% over last 5s", ', '"wrk2"'),
                ('["/a", get("/b", slo="errors == 0")]', "", '"wrk2"'),
                ('["/a", get("/b", expect=404)]', "", '"wrk2"'),
            ]
        ),
        (
            '[get("/{}", each([1])), "/b"], generator="wrk2"',
            "wrk2 does not support: data (each()). Supported by: embedded.",
        ),
        ('["/a", "/b"], check="x", generator="wrk2"', "wrk2 does not support: checks of responses (check=)*"),
        ('"/", check="x", generator="wrk2"', "wrk2 does not support: checks of responses (check=)*"),
        ('get("/", each([])), rate=5', "each() got no rows"),
        ('post("/", each(["a"]), headers={"X": "{}\\n"})', "POST /: headers: invalid header 'X'*"),
        ('from_har("none.har")', "cannot read none.har: No such file or directory"),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is(
    suite: pytest.Pytester, service: Recorder, call: str, message: str
) -> None:
    result = run(suite, f"def test_it(load):\n    load({call})\n")
    result.assert_outcomes(failed=1)
    escaped = message.replace("[", "[[]")
    result.stdout.fnmatch_lines([f">   *load({call.replace('[', '[[]')})", f"E *PlanError: {escaped}"])
    assert not service.requests
