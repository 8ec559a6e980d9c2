"""The target of a load: one request to one service."""

from __future__ import annotations

import inspect
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from pytest_loadgen.errors import PlanError
from pytest_loadgen.redaction import without_password
from pytest_loadgen.wording import did_you_mean

if TYPE_CHECKING:
    import httpx

SCHEMES = {"http": 80, "https": 443, "http+unix": 0, "https+unix": 0, "grpc": 80, "grpcs": 443, "tcp": 0, "udp": 0}
NO_SERVICE = "async"
"""The scheme of a load without an address: its journeys connect to services by themselves."""
_RAW = {"grpc", "grpcs", "tcp", "udp"}
# Every other header may carry a secret.
_PUBLIC_HEADERS = frozenset(
    (b"host", b"accept", b"accept-encoding", b"connection", b"user-agent", b"content-length", b"content-type")
)

Address = tuple[str, int] | str
"""Where to connect: an IP address and port, or the path of a Unix socket."""


class URLObject(Protocol):
    """A URL as a library of URLs holds it: `httpx.URL`, `yarl.URL` and others."""

    @property
    def scheme(self) -> Any:
        """The scheme, empty for a relative URL."""


URL = str | os.PathLike[str] | URLObject
"""Everything that is taken for an address."""


@dataclass(frozen=True)
class Login:
    """An auth flow of httpx that is still to be run: it may send requests of its own, for example to log in."""

    auth: httpx.Auth = field(repr=False)
    request: httpx.Request = field(repr=False)
    """The request as it is without the flow."""


@dataclass(frozen=True)
class Target:
    """One HTTP request, ready to be sent any number of times.

    Whatever may be secret (headers, body, query, user name, password) is left out of its repr and its ``url``.
    """

    url: str
    """The URL for display: without user name, password, query and fragment."""
    method: str
    scheme: str
    host: str
    port: int
    path: bytes = field(repr=False)
    """Path and query as in the request line, percent-encoded."""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    verify: bool | str = True
    cert: tuple[str, ...] | None = field(default=None, repr=False)
    http2: bool = False
    address: Address | None = None
    """Where to connect; None until the host name is resolved."""
    login: Login | None = field(default=None, repr=False, compare=False)
    """What has to be done before the request is complete; None where it is."""
    digest: str = field(default="", compare=False)
    """A hash of its query and body, to tell them apart in a record, which has neither; empty if not known."""

    @classmethod
    def of(
        cls,
        url: URL,
        *,
        method: str | None = None,
        auth: Any = None,
        verify: bool | str | os.PathLike[str] = True,
        cert: str | tuple[str, ...] | None = None,
        http2: bool = False,
        **ingredients: Any,
    ) -> Target:
        """Build the request as httpx does: the options have the same names and the same meaning.

        The method defaults to GET, or to POST if there is a body. Raises PlanError.
        """
        url = text_of(url)
        scheme, socket_path = _split(url)
        if not isinstance(http2, bool):
            raise PlanError(f"http2={http2!r}: expected True or False")
        for name, value in ingredients.items():
            if callable(value) and not hasattr(value, "read"):
                raise PlanError(
                    f"{name}= is a function, and there are no rows for it: post({url!r}, each(rows), {name}=…) has some"
                )
        if not isinstance(ingredients.get("data"), Mapping | None):
            raise PlanError("data= takes the fields of a form ({'name': 'value'}); use content= for text or bytes")
        if scheme in _RAW:
            return cls._raw(scheme, url, method=method, auth=auth, verify=verify, cert=cert, **ingredients)
        netloc = urlsplit(url).netloc
        import httpx

        if socket_path is not None:
            user = netloc.rpartition("@")[0]
            url = urlsplit(url)._replace(scheme=scheme.removesuffix("+unix"), netloc=f"{user}@localhost").geturl()
        has_body = any(ingredients.get(key) is not None for key in ("content", "data", "files", "json"))
        if method is None or (isinstance(method, str) and not method):
            method = "POST" if has_body else "GET"
        if not isinstance(method, str) or not re.fullmatch(r"[A-Za-z!#$%&'*+.^_`|~0-9-]+", method):
            raise PlanError(f"{method!r} is not an HTTP method: write 'GET', 'POST', …")
        try:
            parsed = httpx.URL(url)
            request = httpx.Request(method, parsed.copy_with(fragment=None), **ingredients)
            in_url = (parsed.username, parsed.password) if parsed.userinfo else None
            # Before authentication: a signature in the query would differ each time.
            query = request.url.query
            request, login = _authenticated(request, auth if auth is not None else in_url)
            body = request.read()
            # auth may return another request; without the slash, its path would become part of the host name.
            if not request.url.raw_path.startswith(b"/"):
                raise ValueError("its URL is relative")
        except httpx.InvalidURL as error:
            # httpx quotes what it cannot read, which may be a part of the password.
            why = _ENCODE if "@" in url else str(error)
            raise PlanError(f"invalid URL: {why}") from None
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise PlanError(f"httpx cannot build this request: {error}") from error
        wanted = method.upper(), parsed
        if wrong := _goes_elsewhere(wanted, request):
            raise PlanError(wrong)
        # Percent-encoded, so that it brings no line break into a table.
        shown_path = request.url.raw_path.decode().partition("?")[0]
        return cls(
            url=f"{scheme}://{netloc.rpartition('@')[2]}{shown_path}",
            method=request.method,
            scheme=scheme,
            host=socket_path if socket_path is not None else request.url.raw_host.decode(),
            port=request.url.port or SCHEMES[scheme],
            path=request.url.raw_path,
            headers=_headers(request, body),
            body=body,
            verify=_verify(verify),
            cert=_cert(cert),
            http2=http2,
            login=login,
            digest=digest_of(query, body, request.headers.raw),
        )

    @classmethod
    def none(cls, name: str) -> Target:
        """Return the target of a journey without a base URL."""
        return cls(url=f"{NO_SERVICE}:///{name}", method="", scheme=NO_SERVICE, host="", port=0, path=b"")

    def authenticated(self, request: httpx.Request) -> Target:
        """Return the target with the request that its auth flow ended with. Raises PlanError."""
        assert self.login is not None
        before = self.login.request
        if wrong := _goes_elsewhere((before.method, before.url), request):
            raise PlanError(wrong)
        body = request.read()
        return replace(self, path=request.url.raw_path, headers=_headers(request, body), body=body, login=None)

    @classmethod
    def _raw(cls, scheme: str, url: str, *, verify: Any, cert: Any, **ingredients: Any) -> Target:
        """Build a request of another protocol: metadata and JSON for gRPC, bytes for TCP and UDP."""
        grpc = scheme.startswith("grpc")
        takes = {"headers", "json", "content"} if grpc else {"content"}
        given = {name: value for name, value in ingredients.items() if value is not None}
        if wrong := given.keys() - takes:
            raise PlanError(f"{scheme}:// does not support {min(wrong)}=: it supports {', '.join(sorted(takes))}")
        parts = urlsplit(url)
        port = parts.port or SCHEMES[scheme]
        if not re.fullmatch("[!-~]*", parts.path) or not url.isprintable():
            raise PlanError("invalid URL: its path has a character other than ASCII letters, digits and signs")
        if not port or parts.username is not None or parts.query or (parts.path.strip("/") and not grpc):
            path = "/shop.Orders/Get" if grpc else ""
            raise PlanError(f"invalid {scheme}:// URL: write '{scheme}://localhost:8000{path}'")
        import httpx

        try:
            # httpx encodes the body, as for HTTP.
            request = httpx.Request("POST", "http://localhost", **given)
            body, metadata = request.read(), httpx.Headers(given.get("headers")).raw
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise PlanError(f"httpx cannot build this request: {error}") from error
        _check_headers(metadata)
        return cls(
            url=f"{scheme}://{parts.netloc}{parts.path or '/'}",
            method=scheme.removesuffix("s").upper() if grpc else scheme.upper(),
            scheme=scheme,
            host=parts.hostname or "",
            port=port,
            path=parts.path.encode(),
            headers=tuple(metadata),
            body=body,
            verify=_verify(verify),
            cert=_cert(cert),
            digest=digest_of(b"", body),
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port: the service without the path."""
        return "/".join(self.url.split("/", 3)[:3])

    @property
    def name(self) -> str:
        """The name of the request in tables: ``GET /search``."""
        return f"{self.method} /{self.url.split('/', 3)[3]}"

    def message(self) -> bytes:
        """Return the request as it is sent by HTTP/1.1."""
        lines = [f"{self.method} ".encode() + self.path + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show: values of headers, body and query."""
        return _secrets(self.path, self.headers, self.body)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.startswith(("https", "grpcs"))

    @property
    def unix(self) -> bool:
        """Whether the host is the path of a Unix socket."""
        return self.scheme.endswith("+unix")

    def ssl_context(self) -> ssl.SSLContext:
        """Build the TLS settings. They trust what httpx trusts (certifi, ``SSL_CERT_FILE``), or the CAs in `verify`.

        Raises PlanError if a certificate file cannot be read.
        """
        import httpx

        try:
            if isinstance(self.verify, str):
                folder = Path(self.verify).is_dir()
                context = ssl.create_default_context(
                    cafile=None if folder else self.verify, capath=self.verify if folder else None
                )
            else:
                context = httpx.create_ssl_context(verify=self.verify)
        except (OSError, ssl.SSLError) as error:
            raise PlanError(f"verify={self.verify!r}: cannot read CA certificates ({error})") from None
        try:
            if self.cert:
                # Without a password, OpenSSL would prompt for one at the terminal and wait.
                certificate, key, password = (*self.cert, None, None)[:3]
                context.load_cert_chain(certificate or "", key, password or (lambda: ""))
        except (OSError, ssl.SSLError, TypeError) as error:
            files = ", ".join(self.cert[:2]) if self.cert else ""
            raise PlanError(f"cert: cannot use {files} as certificate and key ({error})") from None
        context.set_alpn_protocols(["http/1.1"])
        return context

    def as_dict(self) -> dict[str, Any]:
        """Return what may be shown: no headers, no body, no query."""
        return {"url": self.url, "method": self.method, "digest": self.digest}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Target:
        """Read the output of `as_dict`; such a target describes a request but cannot be sent."""
        if data["url"].startswith(f"{NO_SERVICE}:"):
            return cls.none(data["url"].rpartition("/")[2])
        scheme, socket_path = _split(data["url"])
        parts = urlsplit(data["url"])
        return cls(
            url=data["url"],
            method=data["method"],
            scheme=scheme,
            host=socket_path if socket_path is not None else parts.hostname or "",
            port=(0 if socket_path is not None else parts.port) or SCHEMES[scheme],
            path=b"",
            digest=data["digest"],
        )


def digest_of(query: bytes, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> str:
    """Return a hash of a query and a body, with four hexadecimal digits: too few to find out a secret."""
    kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
    # For a form with files, httpx draws a random boundary.
    if boundary := kind.partition(b"boundary=")[2]:
        body = body.replace(boundary, b"")
    return blake2b(query + b"\0" + body, digest_size=2).hexdigest()


def message_secrets(message: bytes) -> tuple[str, ...]:
    """Give what no message may show of a request as it is sent by HTTP/1.1."""
    head, _, body = message.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = (line.partition(b": ") for line in lines)
    return _secrets(first.split(b" ")[1], [(name, value) for name, _, value in fields], body)


def _secrets(path: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> tuple[str, ...]:
    values = [value for name, value in headers if name.lower() not in _PUBLIC_HEADERS]
    values += [body, path.partition(b"?")[2]]
    return tuple(value.decode(errors="replace") for value in values)


def text_of(url: object) -> str:
    """Give an address as text, whichever library holds it. Raises PlanError where it is none."""
    if isinstance(url, str):
        return str(url)
    if isinstance(url, os.PathLike):
        return os.fsdecode(url)
    if callable(geturl := getattr(url, "geturl", None)):  # of urllib.parse
        return os.fsdecode(geturl())
    if hasattr(url, "scheme"):
        return str(url)
    if inspect.iscoroutine(url):
        url.close()
        raise PlanError(f"{url.__name__}() was called: give load() the function itself, load({url.__name__}, rate=…)")
    if hasattr(url, "__enter__"):
        raise PlanError(f"{url!r} is not a URL: write 'with … as url', which gives one")
    raise PlanError(f"{url!r} is not a URL: write a string such as 'http://localhost:8000/'")


def absolute(url: URL) -> bool:
    """Return whether a URL is absolute. Raises PlanError if it is not a URL."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text_of(url)) is not None


def join(base: URL | None, url: URL) -> str:
    """Make a URL absolute: a relative one continues the base, as with httpx's base_url. Raises PlanError."""
    url = text_of(url)
    try:
        base = "" if base is None else text_of(base)
    except PlanError:
        kind = type(base).__name__
        raise PlanError(f"load_target must return a string ('http://localhost:8000'), not {kind}") from None
    for address in (url, base):
        if re.match(r"[\w.-]+:\d+(/|$)", address):
            raise PlanError(f"{address!r} has no scheme: write 'http://{address}'")
    if re.fullmatch(r"[\w.]+:[^\W\d][\w.]*(\(\))?", base):
        raise PlanError(f"load_target is {base!r}, which is not a URL: return serve({base!r}), which gives one")
    if absolute(url):
        return url
    if not base:
        raise PlanError(
            f"{url!r} is a relative URL, and no base URL is set: write 'http://localhost:8000/{url.lstrip('/')}', "
            "define a load_target fixture that returns the base URL, or use --load-target."
        )
    if not url:
        return base
    if mark := re.search("[?#]", base):
        what = "query" if mark[0] == "?" else "fragment"
        # The query may be a token.
        raise PlanError(
            f"the base URL {without_password(base[: mark.start()])!r} has a {what}, which would swallow {url!r}: "
            f"end it before the {mark[0]!r}" + (", and give the query in params=" if what == "query" else "")
        )
    return f"{base.rstrip('/')}/{url.lstrip('/')}"


def after_origin(url: URL) -> str:
    """Give path and query of an absolute URL; nothing where it has only scheme, host and port."""
    found = re.sub(r"^[^:/]*://[^/?#]*", "", text_of(url)).partition("#")[0]
    return found if found.strip("/?") else ""


def _split(url: str) -> tuple[str, str | None]:
    """Return the scheme and, for a Unix socket, its path. Raises PlanError for an invalid URL."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise PlanError(f"invalid URL: {_ENCODE if '@' in url else error}") from None
    if parts.scheme not in SCHEMES:
        if not parts.scheme:
            raise PlanError(f"the URL has no scheme: write 'http://{without_password(url).lstrip('/')}'")
        # Nearly each letter has to be right: ftp is not a misspelt tcp.
        raise PlanError(f"unknown scheme {parts.scheme}://: {did_you_mean(parts.scheme, SCHEMES, cutoff=0.75)}")
    host = parts.netloc.rpartition("@")[2]
    unix = parts.scheme.endswith("+unix")
    # With one of / ? # in a password, what is left of it looks like a host.
    if "@" in parts.fragment or (unix and ":" in host):
        raise PlanError(f"invalid URL: {_ENCODE if '@' in url else 'the path of a socket must be percent-encoded'}")
    if not parts.netloc.isprintable() or " " in host:
        raise PlanError("invalid URL: its host has a space or a character that cannot be shown")
    if unix:
        if not host:
            raise PlanError(f"the URL has no socket: write '{parts.scheme}://%2Frun%2Fmy.sock/'")
        if not (path := unquote(host)).isprintable():
            raise PlanError("invalid URL: the path of its socket has a character that cannot be shown")
        return parts.scheme, path
    try:
        port = parts.port
    except ValueError:
        port = -1
    if port is not None and not 0 < port < 2**16:
        why = f"{_ENCODE}, and " if "@" in url else ""
        raise PlanError(f"invalid URL: {why}the port must be a number from 1 to 65535")
    if not parts.hostname:
        raise PlanError(f"the URL has no host: write '{parts.scheme}://localhost:8000/'")
    return parts.scheme, None


_ENCODE = "user name and password must be percent-encoded"


def _cert(cert: Any) -> tuple[str, ...] | None:
    files = (cert,) if isinstance(cert, (str, os.PathLike)) else cert
    if files is None or (isinstance(files, (str, tuple, list)) and not files):
        return None
    if not isinstance(files, (tuple, list)) or not all(isinstance(file, (str, os.PathLike)) for file in files):
        raise PlanError("cert must be the path of a file, or (certificate, key)")
    return tuple(os.fsdecode(file) for file in files)


def _verify(verify: bool | str | os.PathLike[str]) -> bool | str:
    if isinstance(verify, os.PathLike):
        return os.fsdecode(verify)
    if not isinstance(verify, (bool, str)):
        raise PlanError(
            f"verify must be True, False or the path of CA certificates, not {type(verify).__name__}: "
            "the generator is another process, and an SSLContext cannot be sent to it."
        )
    return verify


def _authenticated(request: httpx.Request, auth: Any) -> tuple[httpx.Request, Login | None]:
    """Let httpx's auth add its header, once for all requests; or say that its flow has to be run for that."""
    import httpx

    if auth is None:
        return request, None
    if callable(auth) and not isinstance(auth, httpx.Auth):
        try:
            return auth(request), None
        except Exception as error:
            name = getattr(auth, "__qualname__", type(auth).__name__)
            raise ValueError(f"auth= {name} raised {type(error).__name__}: {error}") from error
    if isinstance(auth, (tuple, list)):  # TOML has no tuples
        auth = httpx.BasicAuth(*auth)
    if not isinstance(auth, httpx.Auth):
        raise TypeError(
            f"auth must be (user, password), a function or an httpx.Auth such as BasicAuth, not {type(auth).__name__}"
        )
    if isinstance(auth, httpx.DigestAuth):
        raise TypeError(
            "DigestAuth signs every request separately, and a service refuses a repeated signature; all requests of "
            "a load are the same. Use another scheme, or load the service behind its authentication"
        )
    kind = type(auth)
    sync = (kind.sync_auth_flow, kind.auth_flow) != (httpx.Auth.sync_auth_flow, httpx.Auth.auth_flow)
    if not sync and kind.async_auth_flow is not httpx.Auth.async_auth_flow:
        raise TypeError(f"auth= {kind.__name__} has an async flow only: define auth_flow or sync_auth_flow")
    if kind in (httpx.Auth, httpx.BasicAuth, httpx.NetRCAuth):  # they send nothing of their own
        return next(auth.sync_auth_flow(request)), None
    request.read()
    return request, Login(auth, request)


def _goes_elsewhere(wanted: tuple[str, httpx.URL], request: httpx.Request) -> str:
    """Say where a request goes if auth= made it another one: that would be loaded instead."""

    def where(method: str, url: httpx.URL) -> tuple[object, ...]:
        port = url.port or SCHEMES.get(url.scheme)
        return method, url.scheme, url.host, port, url.raw_path.partition(b"?")[0]

    method, url = wanted
    if where(method, url) == where(request.method, request.url):
        return ""
    of, instead = (without_password(str(each).partition("?")[0]) for each in (url, request.url))
    return (
        f"auth= ends with {request.method} {instead}, which would be loaded instead of {method} {of}: "
        "the last request of its flow has to be the one that it was given"
    )


def _headers(request: httpx.Request, body: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Add the headers that are missing. Raises PlanError for one that would smuggle in another request."""
    _check_headers(request.headers.raw)
    _check_framing(request, body)
    headers = [pair for pair in request.headers.raw if pair[0].lower() not in _FRAMING]
    if body or request.method in ("POST", "PUT", "PATCH"):
        headers.append((b"Content-Length", str(len(body)).encode()))
    present = {name.lower() for name, _ in headers}
    if b"user-agent" not in present:
        headers.append((b"User-Agent", b"pytest-loadgen"))
    if b"accept" not in present:
        headers.append((b"Accept", b"*/*"))
    return tuple(headers)


def _check_headers(headers: Iterable[tuple[bytes, bytes]]) -> None:
    for name, value in headers:
        if not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(rb"[\r\n\0]", value):
            shown = name.decode(errors="replace")
            raise PlanError(f"headers: invalid header {shown!r}: HTTP forbids a character in its name or value")


# The body is sent as a whole, with its length, whatever the headers say.
_FRAMING = (b"content-length", b"transfer-encoding")


def _check_framing(request: httpx.Request, body: bytes) -> None:
    """Refuse headers that describe another body: the service would take the rest for the next request."""
    for name, value in request.headers.raw:
        text = value.decode("latin-1").strip(" \t")
        if name.lower() == b"content-length" and text != str(len(body)):
            raise PlanError(
                f"headers: Content-Length is {text[:40]!r}, and the body has {len(body):,} bytes: leave the header out"
            )
        if name.lower() == b"transfer-encoding" and text.lower() != "chunked":
            raise PlanError(
                f"headers: Transfer-Encoding {text[:40]!r} is not applied to the body: leave the header out"
            )
