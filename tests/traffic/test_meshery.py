"""Meshery's profiles and SMP tests: both spellings, defaults, and what is not supported."""

import json
import re
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic import meshery
from pytest_loadgen.traffic.options import check, plan_of

PROFILE = {
    "id": "6b5b2d86-0000-0000-0000-000000000000",
    "name": "tea",
    "loadGenerators": ["fortio"],
    "endpoints": ["http://localhost:8000/tea"],
    "serviceMesh": "istio",
    "concurrentRequest": 4,
    "qps": 50,
    "duration": "1m30s",
    "requestHeaders": '{"X-Cup": "two"}',
    "requestCookies": '{"id": "1"}',
    "requestBody": "{}",
    "contentType": "application/json",
    "metadata": {"additional_options": '{"MethodOverride": "PUT"}', "ca_certificate": {"name": "ca", "file": "PEM"}},
}
OLD = {
    "load_generators": ["fortio"],
    "endpoints": ["http://localhost:8000/tea"],
    "concurrent_request": 4,
    "qps": 50,
    "duration": "1m30s",
    "request_headers": {"x_cup": "two"},
    "request_cookies": {"tea_id": "1"},
}
LEGACY = """
test:
  smp_version: v0.0.1
  name: tea
  clients:
  - internal: false
    load_generator: fortio
    protocol: 1
    connections: 2
    rps: 10
    headers: {x_cup: two}
    cookies: {}
    body: ""
    content_type: ""
    endpoint_urls: [http://localhost:2323/tea]
  duration: "60s"
mesh:
  type: 3
"""


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "file.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_profile(tmp_path: Path) -> None:
    """A profile in its new spelling, whole."""
    found = meshery.read(written(tmp_path, PROFILE))
    assert found == meshery.Imported(
        "http://localhost:8000/tea",
        {
            "rate": 50,
            "connections": 4,
            "duration": 90,
            "headers": {"X-Cup": "two", "Content-Type": "application/json"},
            "cookies": {"id": "1"},
            "content": "{}",
            "method": "PUT",
            "generator": "fortio",
        },
        authority="PEM",
    )
    assert str(plan_of(found.traffic, check(found.options, "it"))) == "50/s for 1m30s"


def test_an_old_profile(tmp_path: Path) -> None:
    """A profile in its old spelling; the names of headers are not its own to spell."""
    found = meshery.read(written(tmp_path, OLD))
    assert found.options["connections"] == 4
    assert found.options["headers"] == {"x_cup": "two"}
    assert found.options["cookies"] == {"tea_id": "1"}
    assert meshery.read(written(tmp_path, {"page": 0, "profiles": [OLD, OLD]})).remarks == [
        "only the first of 2 profiles is used."
    ]


def test_an_smp_test(tmp_path: Path) -> None:
    """A test of SMP, in YAML and in the old spelling."""
    found = meshery.read(written(tmp_path, LEGACY))
    assert found.traffic == "http://localhost:2323/tea"
    assert found.options == {
        "rate": 10,
        "connections": 2,
        "duration": 60,
        "headers": {"x_cup": "two"},
        "generator": "fortio",
    }


def test_a_new_smp_test(tmp_path: Path) -> None:
    client = {"loadGenerator": "wrk2", "protocol": "tcp", "endpointUrls": ["localhost:1/", "b"], "rps": 0}
    found = meshery.read(written(tmp_path, {"test": {"clients": [client, client], "duration": "5s"}, "mesh": "istio"}))
    assert found.traffic == "tcp://localhost:1"
    assert found.options == {"rate": "max", "connections": 1, "duration": 5, "generator": "wrk2"}
    assert found.remarks == [
        "only the first of 2 clients is used.",
        "only the first of 2 endpoints is used.",
    ]


def test_what_is_left_out(tmp_path: Path) -> None:
    """Without a rate Meshery goes as fast as it can, on one connection."""
    found = meshery.read(written(tmp_path, {"endpoints": ["http://a"], "duration": "1s", "metadata": None}))
    assert found.options == {"rate": "max", "connections": 1, "duration": 1}


def test_what_is_not_carried_out(tmp_path: Path) -> None:
    profile = {**PROFILE, "metadata": {"additional_options": {"Thread": 3, "MethodOverride": "PUT"}}}
    assert meshery.read(written(tmp_path, profile)).remarks == ["the option Thread is not supported and was ignored."]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("5us", 5e-6), ("5µs", 5e-6), ("7ns", 7e-9)],
)
def test_durations(text: str, seconds: float) -> None:
    assert meshery.go_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "*: neither a Meshery performance profile nor an SMP test: it must be a mapping, or a list *"),
        ("[]", "*: neither a Meshery performance profile nor an SMP test: it must be a mapping, or a list *"),
        ("{", "* is neither JSON nor YAML: *"),
        ({"name": "x"}, "* is neither a Meshery performance profile (endpoints) nor an SMP test (test, clients)"),
        ({"endpoints": [], "duration": "1s"}, "*: endpoints: at least one is required"),
        ({"endpoints": [5], "duration": "1s"}, "*: endpoints [[]5]: must be a list of strings"),
        ({"endpoints": "http://a", "duration": "1s", "loadGenerators": [["x"]]}, "*: load generators *: must be *"),
        ({"endpoints": "http://a", "duration": "1s", "metadata": {"caCertificate": {"file": 5}}}, "*: certificate 5*"),
        ({"endpoints": "http://a", "duration": "1s", "qps": -5}, "*: rate -5: must be a number >= 0"),
        ("endpoints: [http://a]\nduration: 1s\nqps: .nan", "*: rate nan: must be a number >= 0"),
        ("endpoints: [http://a]\ncreated_at: 2020-13-45", "* timestamp: month must be in 1..12*line 2, column 13*"),
        ("a: &a\n- *a\nendpoints: [x]", "* is not a valid Meshery file: it is nested too deeply, or contains itself"),
        ({"endpoints": ["http://a"]}, "* is not a valid Meshery file (KeyError: 'duration')"),
        ({"endpoints": ["http://a"], "duration": "30"}, "*: duration '30': must be in Go's format ('30s', '1m30s')"),
        ({"endpoints": ["http://a"], "duration": "1s", "requestHeaders": "[]"}, "*: [[]]: must be a mapping"),
        ({"endpoints": ["http://a"], "duration": "1s", "requestHeaders": "x"}, "* is not a valid Meshery file *"),
        ({"test": {"clients": [{"protocol": 9, "endpointUrls": ["a"]}], "duration": "1s"}}, "*: protocol 9: must be *"),
    ],
)  # fmt: skip
def test_neither(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(PlanError) as caught:
        meshery.read(written(tmp_path, content))
    assert fnmatch(str(caught.value), said)


def test_as_mesheryctl_prints_it(tmp_path: Path) -> None:
    """A list of profiles, in lower case in YAML; what is not set is null."""
    printed = {key.lower(): value for key, value in PROFILE.items()} | {"schedule": None}
    plain = meshery.read(written(tmp_path, PROFILE))
    assert meshery.read(written(tmp_path, printed)) == plain
    assert meshery.read(written(tmp_path, [printed])) == plain
    assert meshery.read(written(tmp_path, yaml.safe_dump([printed]))) == plain
    assert meshery.read(written(tmp_path, {"page": 0, "page_size": 10, "profiles": [printed]})) == plain
    unset = dict.fromkeys(("qps", "concurrentrequest", "requestbody", "contenttype", "loadgenerators", "metadata"))
    assert meshery.read(written(tmp_path, printed | unset)).options == {
        "rate": "max",
        "connections": 1,
        "duration": 90,
        "headers": {"X-Cup": "two"},
        "cookies": {"id": "1"},
    }


@pytest.mark.parametrize("endpoint", ["http://a/", ["http://a/"]])
def test_an_address_in_the_oldest_spelling(tmp_path: Path, endpoint: Any) -> None:
    client = {"loadGenerator": "fortio", "protocol": "http", "connections": 3, "rps": 10, "endpointUrl": endpoint}
    document = {"smpsVersion": "v0.1", "name": "x", "clients": [client], "duration": "5s"}
    found = meshery.read(written(tmp_path, document))
    assert (found.traffic, found.remarks) == ("http://a/", [])


def test_a_misspelt_key_is_told(tmp_path: Path) -> None:
    """Without its rate, it would be another load."""
    profile = {**PROFILE, "qsp": 5}
    assert meshery.read(written(tmp_path, profile)).remarks == ["the key 'qsp' is unknown and was ignored."]


MERGES = [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], k{n}: 1}}" for n in range(1, 9)]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "a: " + "[" * 5_000,
        "- " * 3_000,
        "\n".join(["a0: &a0 {k: 1}", *MERGES]),
        "a0: &a0 {k: 1}\na1: {<<: [" + "*a0," * 30 + "]}",
        "!!timestamp x",
        "!!int x",
        "!!float x",
        "!!bool x",
        "!!binary é",
        "!!python/object:os.system {}",
        "? [1]\n: 2",
        "qps: " + ":".join(["1"] * 30_000),
        "qps: " + "9" * 30_000,
        "endpoints: [http://a]\nduration: '" + "1" * 100_000 + "'",
        "\0",
        "x" * (5 << 20),
    ],
)
def test_hostile_files(tmp_path: Path, text: str) -> None:
    """Each is refused by its name, in a moment."""
    path = written(tmp_path, text)
    begun = time.process_time()
    with pytest.raises(PlanError, match=re.escape(str(path))):
        meshery.read(path)
    assert time.process_time() - begun < 5


def test_a_bomb(tmp_path: Path) -> None:
    """A small file that would be huge, were its parts written out, is read in a moment."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30))]
    found = meshery.read(written(tmp_path, "\n".join([*lines, "endpoints: [http://a]", "duration: 1s"])))
    assert found.traffic == "http://a"


def test_nowhere() -> None:
    with pytest.raises(PlanError, match=r"cannot read /nowhere/x: No such file"):
        meshery.read(Path("/nowhere/x"))


def test_several_endpoints_are_a_mix(tmp_path: Path) -> None:
    """Of the first one's service; each gets the body, and a name of its own."""
    profile = {**PROFILE, "endpoints": ["http://a/x", "http://A/y?q=1", "http://a/y?q=2", "http://b/z", "http://a/x"]}
    found = meshery.read(written(tmp_path, profile))
    assert found.remarks == ["a load is of one service: 1 endpoint of others will not be loaded."]
    plan = plan_of(found.traffic, check(found.options, "it"))
    assert [each.name for each in plan.mix] == ["PUT /x", "PUT /y", "PUT /y #2"]
    assert {each.body for each in plan.targets} == {b"{}"}
    assert all((b"X-Cup", b"two") in each.headers for each in plan.targets)


def test_several_endpoints_of_another_protocol(tmp_path: Path) -> None:
    found = meshery.read(written(tmp_path, {**PROFILE, "endpoints": ["tcp://a:1", "tcp://a:2"]}))
    assert found.traffic == "tcp://a:1"
    assert found.remarks == ["only the first of 2 endpoints is used."]
