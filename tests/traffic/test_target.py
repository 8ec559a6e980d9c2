"""A target: builds the requests that httpx builds, byte for byte, and shows no secret."""

import json
import pickle
import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.target import Target, absolute, after_origin, join

URL = "http://localhost:8000/search?q=tea"


def headers(target: Target) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in target.headers}


@pytest.mark.parametrize(
    "ingredients",
    [
        {},
        {"params": {"a": "1 2", "b": ["x", "y"]}},
        {"headers": {"X-Test": "yes", "user-agent": "me"}},
        {"headers": [("Accept", "text/html")]},
        {"cookies": {"session": "5"}},
        {"json": {"cart": [1, None]}},
        {"data": {"name": "a b", "also": "ü"}},
        {"content": "ünïcode"},
        {"content": b"\0bytes"},
        {
            "data": {"x": "1"},
            "files": {"f": ("a.txt", b"hi")},
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        },
        {"json": {}, "headers": {"Host": "other.example"}},
    ],
)
def test_ingredients(ingredients: dict[str, Any]) -> None:
    """A request is what httpx builds from the same options; only missing headers are added."""
    target = Target.of(URL, method="PUT", **ingredients)
    request = httpx.Request("PUT", URL, **ingredients)
    assert (target.path, target.body) == (request.url.raw_path, request.read())
    assert headers(target) == {"accept": "*/*", "user-agent": "pytest-loadgen"} | dict(request.headers)


def test_streams() -> None:
    """A streamed body is read once and sent as a whole, with its length."""
    target = Target.of(URL, content=iter([b"a", b"b"]))
    assert target.body == b"ab"
    assert headers(target)["content-length"] == "2"
    assert "transfer-encoding" not in headers(target)


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({}, "GET"),
        ({"params": {"a": 1}}, "GET"),
        ({"json": {}}, "POST"),
        ({"content": b"x"}, "POST"),
        ({"data": {"a": "1"}}, "POST"),
        ({"json": None}, "GET"),
        ({"json": {}, "method": "patch"}, "PATCH"),
    ],
)
def test_method(options: dict[str, Any], method: str) -> None:
    """The method defaults to GET, or to POST if there is a body."""
    assert Target.of(URL, **options).method == method


def sign(request: httpx.Request) -> httpx.Request:
    request.headers["X-Signature"] = f"{request.method} {request.url.path}"
    return request


BASIC = {"authorization": "Basic bWU6c2VjcmV0"}


@pytest.mark.parametrize(
    ("url", "auth", "sent"),
    [
        (URL, ("me", "secret"), BASIC),
        (URL, httpx.BasicAuth("me", "secret"), BASIC),
        ("http://me:secret@localhost/", None, BASIC),
        ("http://me:s%65cret@localhost/", None, BASIC),
        ("http+unix://me:secret@%2Frun%2Fs/", None, BASIC),
        ("http://some:body@localhost/", ("me", "secret"), BASIC),
        (URL, sign, {"x-signature": "GET /search"}),
    ],
)
def test_auth(url: str, auth: Any, sent: dict[str, str]) -> None:
    """Credentials from auth= or from the URL are on the request; auth= wins."""
    assert headers(Target.of(url, auth=auth)).items() >= sent.items()


def log_in(request: httpx.Request) -> httpx.Request:
    return httpx.Request("GET", "http://localhost:8000/login?q=secret")


class AsyncOnly(httpx.Auth):
    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        yield request


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (
            log_in,
            "auth= ends with GET http://localhost:8000/login, which would be loaded instead of GET "
            "http://localhost:8000/search: the last request of its flow has to be the one that it was given",
        ),
        (lambda request: 1 / 0, "httpx cannot build this request: auth= .*<lambda> raised ZeroDivisionError: .*"),
        (AsyncOnly(), ".*: auth= AsyncOnly has an async flow only: define auth_flow or sync_auth_flow"),
        (httpx.DigestAuth("me", "x"), ".*: DigestAuth signs every request separately, and .*"),
    ],
)
def test_auth_that_would_load_something_else(auth: Any, message: str) -> None:
    """What auth= makes is the same request with more headers, or it is refused."""
    with pytest.raises(PlanError) as caught:
        Target.of(URL, auth=auth)
    assert re.fullmatch(message, str(caught.value))


@pytest.mark.parametrize("length", ["2", "100", "+7", "7, 7", ""])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_length_of_another_body_is_refused(length: str, method: str) -> None:
    """The service would take what is left for the next request, or wait for what does not come."""
    with pytest.raises(PlanError, match=r"^headers: Content-Length is .*, and the body has 7 bytes"):
        Target.of(URL, method=method, json={"a": 1}, headers={"content-length": length})


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity", "chunked, chunked"])
def test_a_coding_that_is_not_applied_is_refused(coding: str) -> None:
    with pytest.raises(PlanError, match=r"^headers: Transfer-Encoding '.*' is not applied to the body"):
        Target.of(URL, content=b"x", headers={"Transfer-Encoding": coding})


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ([("Content-Length", "7"), ("content-length", "7")], b'{"a":1}'),
        ([("Transfer-Encoding", "chunked")], b'{"a":1}'),
        ([("Transfer-Encoding", "Chunked"), ("Content-Length", "7")], b'{"a":1}'),
        ([("Transfer-Encoding", "chunked")], b""),
    ],
)
def test_the_length_is_sent_once(given: list[tuple[str, str]], body: bytes) -> None:
    """Whatever was given, a body goes as a whole with its length, as no service understands otherwise."""
    target = Target.of(URL, method="POST", content=body or None, headers=given)
    framing = [(n.lower(), v) for n, v in target.headers if n.lower() in (b"content-length", b"transfer-encoding")]
    assert framing == [(b"content-length", str(len(body)).encode())]


SECRET = "hunter2"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Target.of(f"http://me:{SECRET}@localhost/?token={SECRET}#{SECRET}", auth=None),
        lambda: Target.of(f"http+unix://{SECRET}:{SECRET}@%2Frun%2Fs/?token={SECRET}"),
        lambda: Target.of(URL, auth=(SECRET, SECRET), params={"t": SECRET}, cookies={"c": SECRET}),
        lambda: Target.of(URL, headers={"X-Token": SECRET}, json={"password": SECRET}, cert=(SECRET, SECRET)),
    ],
)
def test_secrets(make: Callable[[], Target]) -> None:
    """Nothing that is shown or written to a file contains a secret."""
    target = make()
    assert SECRET not in f"{target!r} {target.url} {target.name} {target.origin} {target.as_dict()}"


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path"),
    [
        ("http://localhost", "http", "localhost", 80, b"/"),
        ("HTTPS://LocalHost/A", "https", "localhost", 443, b"/A"),
        ("http://10.0.0.1:8080/a%20b?c=d e#f", "http", "10.0.0.1", 8080, b"/a%20b?c=d%20e"),
        ("http://[::1]:8000/x", "http", "::1", 8000, b"/x"),
        ("http://b\u00fccher.example/", "http", "xn--bcher-kva.example", 80, b"/"),
        ("http+unix://%2Ftmp%2FMy.Sock/X?y=1", "http+unix", "/tmp/My.Sock", 0, b"/X?y=1"),
        ("https+unix://%2Ftmp%2Fhttps%2Bunix", "https+unix", "/tmp/https+unix", 0, b"/"),
        ("http+unix://unix/x", "http+unix", "unix", 0, b"/x"),
    ],
)
def test_urls(url: str, scheme: str, host: str, port: int, path: bytes) -> None:
    """A URL is split into what to connect to and what to request."""
    target = Target.of(url)
    assert (target.scheme, target.host, target.port, target.path) == (scheme, host, port, path)
    assert (target.tls, target.unix) == ("https" in scheme, "unix" in scheme)
    assert headers(target)["host"] == httpx.Request("GET", "http://localhost" if target.unix else url).headers["host"]
    back = Target.from_dict(json.loads(json.dumps(target.as_dict())))
    assert (back.url, back.name, back.scheme, back.port) == (target.url, target.name, scheme, port)
    assert pickle.loads(pickle.dumps(target)) == target


def test_digests() -> None:
    """They tell queries and bodies apart in a record, and are too short to guess a secret from."""
    made = [Target.of(URL + query, json=body) for query in ("", "?q=1") for body in (None, 1, 2)]
    assert len({target.digest for target in made}) == len(made)
    assert {len(target.digest) for target in made} == {4}
    assert Target.of(URL, headers={"X-Key": "a"}, auth=("a", "b")).digest == Target.of(URL).digest
    assert Target.from_dict(made[-1].as_dict()).digest == made[-1].digest


def test_names() -> None:
    """The name of a target is its method and path; the origin is scheme, host and port."""
    target = Target.of(URL, json={})
    assert (target.name, target.origin) == ("POST /search", "http://localhost:8000")
    assert Target.of("http+unix://%2Frun%2Fs/a/b").origin == "http+unix://%2Frun%2Fs"


CANNOT = "httpx cannot build this request: "
CHARACTER = "HTTP forbids a character in its name or value"


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("htp://localhost", {}, "unknown scheme htp://: did you mean 'http'?"),
        (
            "ws://localhost",
            {},
            "unknown scheme ws://: choose from grpc, grpcs, http, http+unix, https, https+unix, tcp, udp.",
        ),
        ("http:///x", {}, "the URL has no host: write 'http://localhost:8000/'"),
        ("https://me@:80/", {}, "the URL has no host: write 'https://localhost:8000/'"),
        ("http+unix:///x", {}, "the URL has no socket: write 'http+unix://%2Frun%2Fmy.sock/'"),
        ("http://[::1/", {}, "invalid URL: Invalid IPv6 URL"),
        ("http://localhost:abc/", {}, "invalid URL: the port must be a number from 1 to 65535"),
        ("http://localhost:99999/", {}, "invalid URL: the port must be a number from 1 to 65535"),
        (
            URL,
            {"method": "GET / HTTP/1.1\r\nX"},
            r"'GET / HTTP/1.1\r\nX' is not an HTTP method: write 'GET', 'POST', …",
        ),
        (URL, {"method": 5}, "5 is not an HTTP method: write 'GET', 'POST', …"),
        (URL, {"headers": {"X": "a\r\nEvil: 1"}}, f"headers: invalid header 'X': {CHARACTER}"),
        ("grpc://h:1/", {"headers": {"X": "a\nEvil: 1"}}, f"headers: invalid header 'X': {CHARACTER}"),
        (URL, {"headers": {"X\r\nEvil": "1"}}, rf"headers: invalid header 'X\r\nEvil': {CHARACTER}"),
        (URL, {"headers": {"X ": "1"}}, f"headers: invalid header 'X ': {CHARACTER}"),
        (URL, {"json": {1, 2}}, f"{CANNOT}Object of type set is not JSON serializable"),
        (URL, {"params": 5}, f"{CANNOT}'int' object has no attribute 'items'"),
        (URL, {"auth": lambda request: None}, f"{CANNOT}'NoneType' object has no attribute 'read'"),
        (URL, {"auth": lambda request: httpx.Request("GET", "@other/")}, f"{CANNOT}its URL is relative"),
        (
            URL,
            {"auth": httpx.DigestAuth("me", "secret")},
            f"{CANNOT}DigestAuth signs every request separately, and a service refuses a repeated signature; all "
            "requests of a load are the same. Use another scheme, or load the service behind its authentication",
        ),
        (
            URL,
            {"verify": 5},
            "verify must be True, False or the path of CA certificates, not int: "
            "the generator is another process, and an SSLContext cannot be sent to it.",
        ),
    ],
)
def test_refusing(url: str, options: dict[str, Any], message: str) -> None:
    """A request that cannot be sent as written is refused; the message proposes what can."""
    with pytest.raises(PlanError) as caught:
        Target.of(url, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("scheme", ["http", "https", "http+unix", "tcp", "udp", "grpc"])
@pytest.mark.parametrize("rest", ["#@host", "/@host", "?@host", "#@host:80/x", "\\@host:x", "@host:\u0663"])
def test_a_password_that_is_not_encoded_stays_secret(scheme: str, rest: str) -> None:
    """With a / ? or # in it, it looks like a host and a port."""
    said = ""
    try:
        said = repr(Target.of(f"{scheme}://u:{SECRET}{rest}"))
    except PlanError as error:
        said = str(error)
    assert SECRET not in said


@pytest.mark.parametrize(
    "url", ["grpc://h\x1c:1/", "tcp://a b:1", "http+unix://a%0Ab/", "http+unix://\u202ea/", "grpc://h/\ud800"]
)
def test_what_cannot_be_shown_is_refused(url: str) -> None:
    with pytest.raises(PlanError, match=r"^invalid URL: "):
        Target.of(url)


def test_certificates(tmp_path: Path, authority: trustme.CA, authority_file: Path) -> None:
    """TLS trusts the CAs in verify=, and presents the certificate in cert=."""
    pem = tmp_path / "me.pem"
    authority.issue_cert("me").private_key_and_cert_chain_pem.write_to_path(pem)
    context = Target.of("https://localhost/", verify=str(authority_file), cert=str(pem)).ssl_context()
    assert len(context.get_ca_certs()) == 1
    assert not Target.of("https://localhost/", verify=False).ssl_context().check_hostname


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": "no.pem"}, r"verify='no\.pem': cannot read CA certificates \("),
        ({"verify": __file__}, r"verify='.*': cannot read CA certificates \("),
        ({"cert": ("no.pem", "no.key")}, r"cert: cannot use no\.pem, no\.key as certificate and key \("),
        ({"cert": __file__}, "cert: cannot use .* as certificate and key"),
        ({"cert": ["a", "b", "c", "d"]}, "cert: cannot use a, b as certificate and key"),
    ],
)
def test_unreadable_certificates(options: dict[str, Any], message: str) -> None:
    """The message names a certificate file that cannot be read."""
    with pytest.raises(PlanError, match=message):
        Target.of("https://localhost/", **options).ssl_context()


@pytest.mark.parametrize(
    ("base", "url", "whole"),
    [
        ("http://h", "/x", "http://h/x"),
        ("http://h/", "x", "http://h/x"),
        ("http://h/api", "/x?y", "http://h/api/x?y"),
        ("http://h/api/", "/x/", "http://h/api/x/"),
        ("http://h/api/", "", "http://h/api/"),
        ("http://h", "/go?to=http://other", "http://h/go?to=http://other"),
        ("http://h", "//other/x", "http://h/other/x"),
        ("http://h", "https://other/x", "https://other/x"),
        (None, "http+unix://s/x", "http+unix://s/x"),
    ],
)
def test_joining(base: str | None, url: str, whole: str) -> None:
    """A relative URL continues the base, as with httpx's base_url; an absolute one replaces it."""
    assert join(base, url) == whole
    if base and url and "//" not in url[:9]:
        assert str(httpx.Client(base_url=base).build_request("GET", url).url) == whole


@pytest.mark.parametrize("base", ["http://h/api?token=5", "http://me:pw@h/?token=5", "http://h/#top", "http://h?"])
def test_a_base_that_would_swallow_the_path(base: str) -> None:
    """A query or a fragment at its end is refused, without showing it."""
    with pytest.raises(PlanError, match=r"^the base URL 'http://h.* has a (query|fragment), which would") as caught:
        join(base, "/x")
    assert "token" not in str(caught.value)
    assert "pw" not in str(caught.value)
    assert join(base, "") == base


class Likeness:
    """A URL of another library, such as yarl."""

    scheme = "http"

    def __str__(self) -> str:
        return "http://h/x"


@pytest.mark.parametrize("url", [httpx.URL("http://h/x"), urlsplit("http://h/x"), Likeness()])
def test_urls_of_other_libraries(url: Any) -> None:
    """They are addresses like others, whole or as the base of relative ones."""
    assert absolute(url)
    assert Target.of(url).url == "http://h/x"
    assert join(None, url) == "http://h/x"
    assert join(url, PurePosixPath("/a/b")) == "http://h/x/a/b"
    assert after_origin(url) == "/x"


@pytest.mark.parametrize(
    ("url", "rest"),
    [
        ("http://h", ""),
        ("http://h/", ""),
        ("http://h/?", ""),
        ("http://h#x", ""),
        ("http://h/x?y#z", "/x?y"),
        ("http://h?y=/", "?y=/"),
        ("http://h//x", "//x"),
        ("http+unix://%2Fs/x", "/x"),
    ],
)
def test_what_follows_the_origin(url: str, rest: str) -> None:
    assert after_origin(url) == rest


@pytest.mark.parametrize("base", [None, ""])
def test_no_base(base: str | None) -> None:
    """A relative URL without a base is refused; the message lists the ways to set one."""
    with pytest.raises(PlanError) as caught:
        join(base, "x")
    assert str(caught.value) == (
        "'x' is a relative URL, and no base URL is set: write 'http://localhost:8000/x', "
        "define a load_target fixture that returns the base URL, or use --load-target."
    )
