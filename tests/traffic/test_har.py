"""HAR files: what becomes of a browser's recording."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.har import from_har
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.request import Request
from pytest_loadgen.traffic.target import Target

SHOP = "https://shop.example"


def entry(method: str, url: str, body: Any = None, kind: str = "application/json", **headers: str) -> dict[str, Any]:
    listed = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
    recorded: dict[str, Any] = {"method": method, "url": url if "//" in url else SHOP + url, "headers": listed}
    if body is not None:
        text = body if isinstance(body, str) else json.dumps(body)
        recorded["postData"] = {"mimeType": kind, "text": text}
    return {"startedDateTime": "2026-01-01T00:00:00Z", "request": recorded, "response": {"status": 200}}


def read(folder: Path, *entries: Any, keep: Any = ()) -> list[Request]:
    path = folder / "shop.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}), encoding="utf-8")
    return from_har(path, keep=keep)


def target(one: Request) -> Target:
    (found,) = plan_of([one], {}, lambda: "http://localhost:8000").mix
    return found.target


def test_a_recording_becomes_a_mix(tmp_path: Path) -> None:
    """Of the first service only, names by method and path, weights by frequency, addresses relative."""
    found = read(
        tmp_path,
        entry("GET", "/search?q=tea"),
        entry("GET", "https://cdn.example/logo.png"),
        entry("GET", "data:image/png;base64,xx"),
        entry("GET", "/search?q=tea"),
        entry("GET", "https://SHOP.example:443/search?q=coffee"),
        entry("POST", "/orders", {"tea": "green"}),
        entry("GET", "http://shop.example/other-scheme"),
        {**entry("GET", "/cached.js"), "_fromCache": "memory"},
    )
    assert [(each.name, str(each.url), int(each.weight)) for each in found] == [
        ("GET /search", "/search?q=tea", 2),
        ("GET /search #2", "/search?q=coffee", 1),
        ("POST /orders", "/orders", 1),
    ]
    plan = plan_of(found, {}, lambda: "http://localhost:8000/v2")
    assert [each.path for each in plan.targets] == [b"/v2/search?q=tea", b"/v2/search?q=coffee", b"/v2/orders"]
    assert plan.targets[2].body == b'{"tea": "green"}'
    assert dict(plan.targets[2].headers)[b"content-type"] == b"application/json"


SECRETS = {
    "Cookie": "sid=geheim",
    "Authorization": "Bearer geheim",
    "X_Api_Key": "geheim",
    "X_CSRF_Token": "geheim",
    "X_Unsuspicious": "Bearer geheim",
}
BODIES: list[tuple[str, str, str]] = [
    ("application/json", '{"name": "x", "password": "geheim", "n": 1e400}', '{"name": "x","n": 1e400}'),
    ("application/json", ' {"token":{"a":[1,"}"]} , "n" : 12345678901234567890.10}', '{"n" : 12345678901234567890.10}'),
    ("application/json", '{"name": "x", "n": 1.50}', '{"name": "x", "n": 1.50}'),
    ("application/x-www-form-urlencoded", "a=1+2&csrf_token=geheim&b=%7B&pass%77ord=geheim", "a=1+2&b=%7B"),
    (
        "multipart/form-data; boundary=xy",
        '--xy\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        '--xy\r\nContent-Disposition: form-data; name="password"\r\n\r\ngeheim\r\n--xy--\r\n',
        '--xy\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xy--\r\n',
    ),
]


@pytest.mark.parametrize(("kind", "body", "left"), BODIES)
def test_secrets_are_left_out(tmp_path: Path, kind: str, body: str, left: str) -> None:
    found = target(read(tmp_path, entry("POST", "/a?token=geheim&q=1&api%5Fkey=geheim", body, kind, **SECRETS))[0])
    assert b"geheim" not in found.message()
    assert found.path == b"/a?q=1"
    assert found.body.decode() == left


def test_secrets_are_kept_by_name(tmp_path: Path) -> None:
    keep = ["cookie", "Authorization", "token", "password"]
    body = {"password": "geheim4"}
    found = target(read(tmp_path, entry("POST", "/a?token=geheim3", body, **SECRETS), keep=keep)[0])
    headers = {name.lower(): value for name, value in found.headers}
    assert headers[b"cookie"] == b"sid=geheim"
    assert headers[b"authorization"] == b"Bearer geheim"
    assert b"x-api-key" not in headers
    assert (found.path, json.loads(found.body)) == (b"/a?token=geheim3", body)


def test_what_a_browser_computes_is_left_out(tmp_path: Path) -> None:
    headers = {
        ":authority": "shop.example",
        "Host": "shop.example",
        "Connection": "keep-alive",
        "Content_Length": "17",
        "Transfer_Encoding": "chunked",
        "Accept_Encoding": "br",
        "Referer": f"{SHOP}/?token=geheim",
        "sec_ch_ua": "x",
        "If_None_Match": "x",
        "Accept_Language": "de",
    }
    (found,) = read(tmp_path, entry("GET", "/", **headers))
    assert [name.lower() for name, _ in found.options["headers"]] == ["accept-language"]
    (found,) = read(tmp_path, entry("GET", "/", **headers), keep="referer")
    assert [name.lower() for name, _ in found.options["headers"]] == ["referer", "accept-language"]
    assert (b"Host", b"localhost:8000") in target(found).headers


def test_braces_are_literal(tmp_path: Path) -> None:
    """A recording has no fields."""
    found = target(read(tmp_path, entry("POST", "/a?q={id}", {"x": "{id} {{}}"}, x_y="{id}"))[0])
    assert found.path.decode() in {"/a?q=%7Bid%7D", "/a?q={id}"}
    assert found.body == b'{"x": "{id} {{}}"}'
    assert dict(found.headers)[b"x-y"] == b"{id}"


def test_a_form_without_its_text_is_written_anew(tmp_path: Path) -> None:
    recorded = entry("POST", "/login", "", "application/x-www-form-urlencoded")
    fields = [{"name": "user name", "value": "a&b"}, {"name": "password", "value": "geheim"}]
    recorded["request"]["postData"]["params"] = fields
    assert target(read(tmp_path, recorded)[0]).body == b"user+name=a%26b"


def test_a_body_in_base64_is_decoded(tmp_path: Path) -> None:
    recorded = entry("POST", "/orders", "eyJpZCI6MX0=")
    recorded["request"]["postData"]["encoding"] = "base64"
    assert target(read(tmp_path, recorded)[0]).body == b'{"id":1}'
    recorded["request"]["postData"]["text"] = "/w=="
    with pytest.raises(PlanError, match=r"entries\[0\].request.postData: its text is base64, and not of text"):
        read(tmp_path, recorded)


def test_load_adds_what_was_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, entry("GET", "/", accept="text/html"))
    plan = plan_of(found, {"headers": {"Authorization": "Bearer mine"}}, lambda: "http://localhost")
    assert {(b"Authorization", b"Bearer mine"), (b"accept", b"text/html")} <= set(plan.targets[0].headers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "it is nested too deeply"),
        ("[]", "it has no log"),
        ('{"log": []}', "it has no log"),
        ('{"log": {"entries": 5}}', "log.entries: expected a list, not int"),
        ('{"log": {"entries": []}}', "it has no HTTP request"),
        ('{"log": {"entries": [5]}}', "log.entries[0]: expected an object, not int"),
        ('{"log": {"entries": [{}]}}', "log.entries[0].request: expected an object, not nothing"),
        ('{"log": {"entries": [{"request": {}}]}}', "log.entries[0].request.url: expected text, not nothing"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, content: str, message: str) -> None:
    (path := tmp_path / "x.har").write_text(content)
    with pytest.raises(PlanError) as caught:
        from_har(path)
    assert str(caught.value).startswith(f"{path} is not a recording that can be loaded: {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda each: each["request"].update(method="GET /"), "log.entries[1].request.method: 'GET /' is not"),
        (lambda each: each["request"].update(method=None), "log.entries[1].request.method: expected text, not nothing"),
        (lambda each: each["request"].update(url="https://[::1/"), "log.entries[1].request.url: Invalid IPv6"),
        (lambda each: each["request"].update(headers={}), "log.entries[1].request.headers: expected a list, not dict"),
        (
            lambda each: each["request"]["headers"].append({"name": "a b", "value": ""}),
            "log.entries[1].request.headers[0]: HTTP forbids a character",
        ),
        (
            lambda each: each["request"]["headers"].append({"name": "a", "value": "\n"}),
            "log.entries[1].request.headers[0]: HTTP forbids a character",
        ),
        (lambda each: each["request"].update(postData={"text": 5}), "log.entries[1].request.postData.text: expected"),
        (
            lambda each: each["request"].update(postData={"mimeType": "a\nb", "text": "x"}),
            "log.entries[1].request.postData.mimeType has a line break",
        ),
        (
            lambda each: each["request"].update(postData={"mimeType": "image/png"}, bodySize=5),
            "log.entries[1].request.postData has no text: the body of this request was not recorded",
        ),
        (lambda each: each["request"].update(postData={"text": "\ud800"}), "log.entries[1].request: httpx cannot"),
    ],
)
def test_the_place_of_a_mistake_is_told(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    wrong = entry("GET", f"{SHOP}/b")
    change(wrong)
    with pytest.raises(PlanError) as caught:
        read(tmp_path, entry("GET", "data:x//" if "[" in wrong["request"]["url"] else "/a"), wrong)
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"^cannot read .*none.har: No such file"):
        from_har(tmp_path / "none.har")


def test_keep_takes_names(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"^from_har\(keep=5\): expected a list of names"):
        from_har(tmp_path, keep=5)  # type: ignore[arg-type]


def test_too_many_different_requests(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="1,001 different requests, more than 1,000"):
        read(tmp_path, *(entry("GET", f"/{number}") for number in range(1001)))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
headers = st.lists(
    st.fixed_dictionaries({"name": st.text(max_size=9), "value": st.text(max_size=9)}) | anything, max_size=3
)
posted = st.fixed_dictionaries(
    {"mimeType": st.sampled_from(["application/json", "multipart/form-data; boundary=a", "x"]) | anything},
    optional={"text": st.text(max_size=30) | anything, "params": anything},
)
recorded = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST"]) | anything,
        "url": st.builds("https://shop.example{}{}".format, st.sampled_from(["/", "?", ":", "@"]), st.text())
        | anything,
        "headers": headers | anything,
    },
    optional={"postData": posted | anything, "bodySize": anything},
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.lists(st.fixed_dictionaries({"request": recorded | anything}) | anything, max_size=3))
def test_whatever_is_in_the_file(tmp_path: Path, entries: list[Any]) -> None:
    """It becomes requests that can be built, or an error that a person can read."""
    with suppress(PlanError):
        assert plan_of(read(tmp_path, *entries), {}, lambda: "http://localhost").mix
