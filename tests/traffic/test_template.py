"""Requests filled from rows: what is filled in comes out again at the service, as it was."""

import json
import pickle
import threading
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.template import Template

URL = "http://localhost:8000"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


class Received:
    """A request as a service's parser reads it."""

    def __init__(self, message: bytes) -> None:
        self.url, self.body, self.headers, self.complete = b"", b"", dict[str, bytes](), False
        httptools.HttpRequestParser(self).feed_data(message)
        assert self.complete

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def sent(url: str, row: Any, **options: Any) -> Received:
    return Received(Template(URL + url, options, row).render(row))


@given(TEXTS, TEXTS)
def test_values_in_the_address_come_out_as_they_were(one: str, other: str) -> None:
    received = sent("/items/{id}/x?q={query}&n=1", {"id": one, "query": other})
    path, query = urlsplit(received.url.decode()).path, urlsplit(received.url.decode()).query
    assert [unquote(part) for part in path.split("/")] == ["", "items", one, "x"]
    assert parse_qsl(query, keep_blank_values=True) == [("q", other), ("n", "1")]


@given(TEXTS, TEXTS)
def test_values_in_a_body_come_out_as_they_were(one: str, other: str) -> None:
    row = {"a": one, "b": other}
    assert json.loads(sent("/", row, json={"x": ["{a}", {"y-{b}": 1}]}).body) == {"x": [one, {f"y-{other}": 1}]}
    form = sent("/", row, data={"a": "{a}", "b": "{b}"}).body.decode()
    assert parse_qsl(form, keep_blank_values=True, strict_parsing=False) == [("a", one), ("b", other)]
    assert sent("/", row, content="{a} and {b}").body.decode() == f"{one} and {other}"


@given(TEXTS)
def test_the_length_is_that_of_the_body(text: str) -> None:
    received = sent("/", {"a": text}, content="<{a}>")
    assert int(received.headers["content-length"]) == len(f"<{text}>".encode())


@given(st.recursive(st.none() | st.integers() | TEXTS, lambda each: st.lists(each) | st.dictionaries(TEXTS, each)))
def test_a_function_of_the_row_gives_the_body(row: Any) -> None:
    received = sent("/", row, json=lambda each: {"row": each})
    assert json.loads(received.body) == {"row": row}
    assert received.headers["content-type"] == b"application/json"


@dataclass
class User:
    name: str


@pytest.mark.parametrize(
    ("row", "url", "path"),
    [
        (5, "/{}", b"/5"),
        ("a b", "/{row}", b"/a%20b"),
        (["x", "y"], "/{1}/{0}", b"/y/x"),
        (User("tea"), "/{name}", b"/tea"),
        ({"id": 5}, "/{{id}}/{id}", b"/%7Bid%7D/5"),
        ({"id": "../admin?x#y"}, "/{id}", b"/..%2Fadmin%3Fx%23y"),
    ],
)
def test_fields(row: Any, url: str, path: bytes) -> None:
    assert sent(url, row).url == path


def test_headers_cookies_and_params() -> None:
    received = sent("/", {"t": "a:b"}, headers={"X-Token": "<{t}>"}, params={"q": "{t}"})
    assert received.headers["x-token"] == b"<a:b>"
    assert received.url == b"/?q=a%3Ab"


def test_functions_of_the_row_may_give_any_option() -> None:
    received = sent("/", 5, headers=lambda n: {"X": str(n)}, params=lambda n: {"n": n}, data=lambda n: {"d": n})
    assert received.headers["x"] == b"5"
    assert (received.url, received.body) == (b"/?n=5", b"d=5")


def test_what_a_function_gives_has_no_fields() -> None:
    received = sent("/", 5, headers=lambda n: {"X": f"{{{n}}}"}, json=lambda n: f"{{{n}}}")
    assert received.headers["x"] == b"{5}"
    assert received.body == b'"{5}"'


def test_the_name_shows_the_fields() -> None:
    template = Template(f"{URL}/items/{{id}}?key={{secret}}", {}, {"id": 1, "secret": 2})
    assert template.target.name == "GET /items/{id}"


@pytest.mark.parametrize(
    ("url", "options", "row", "message"),
    [
        ("/{id}", {}, {"it": 1}, "no field {id}; it has it"),
        ("/{id}", {}, 5, "no field {id} in a int"),
        ("/{3}", {}, [1], "no field {3} in a list"),
        ("/", {"headers": {"X": "{a}"}}, {"a": "b\r\nY: 1"}, "headers: a value has a line break or a null byte"),
        ("/", {"headers": {"X-{}": "1"}}, "a: b", "headers: HTTP forbids a character in a name"),
        ("/{id}", {}, {"id": None}, "field {id} is None: expected text or a number"),
        ("/{}", {}, b"a", "field {} is bytes: expected text or a number"),
        ("/{}", {}, "\ud800", "a value cannot be sent: UnicodeEncodeError: *"),
        ("/", {"json": lambda row: row["x"]}, {}, "json=: KeyError: 'x'"),
        ("/", {"json": lambda row: row}, {1, 2}, "*Object of type set is not JSON serializable"),
        ("/", {"content": lambda row: row}, 5, "*Unexpected type for 'content', *"),
    ],
)
def test_what_cannot_be_filled(url: str, options: Any, row: Any, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        Template(URL + url, options, row).render(row)
    assert fnmatch(str(caught.value), message.replace("[", "[[]"))


def test_the_host_is_not_filled() -> None:
    with pytest.raises(PlanError, match="data cannot fill the host"):
        Template("http://{host}/", {}, {"host": "localhost"})


def test_functions_go_to_other_machines() -> None:
    """Those of the data and of options, with what they refer to; what cannot go says so."""
    limit = 7
    rows = pickle.loads(pickle.dumps(each(lambda number: {"id": number % limit})))
    options: dict[str, Any] = {"method": "POST", "json": lambda row: [row["id"] + limit], "headers": {"X": "{id}"}}
    template = pickle.loads(pickle.dumps(Template("http://localhost/{id}", options, rows.row(0))))
    message = template.render(rows.row(9))
    assert message.startswith(b"POST /2 HTTP/1.1\r\n")
    assert message.endswith(b"\r\n\r\n[9]")
    lock = threading.Lock()
    with pytest.raises(PlanError, match=r"^each='<lambda>' cannot be sent to other machines \(TypeError: .*: use only"):
        pickle.dumps(each(lambda number: [number, lock]))
