"""What the clients of all journeys of a load share."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pytest_loadgen.errors import ServiceError
from pytest_loadgen.generators.embedded.head import Head
from pytest_loadgen.generators.embedded.http1 import Endpoint, Kind
from pytest_loadgen.generators.embedded.pool import Pool, Service
from pytest_loadgen.traffic.hosts import check_allowed
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.target import NO_SERVICE, SCHEMES, Target

if TYPE_CHECKING:
    import httpx

    from pytest_loadgen.traffic.plan import Plan

NAME = "load_name"
"""The request extension (see httpx) with the name that a request is counted as."""

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
# A relative address that goes into the request line as it is (RFC 3986, 3.3 and 3.4).
_PLAIN = re.compile(r"/(?!/)(?:[\w\-~!$&'()*+,;=:@?]|/(?![/.])|(?<!/)\.|%[0-9A-Fa-f]{2})*", re.ASCII)
# A part of a path that looks like a number, a UUID or a hash.
_IDENTIFIER = re.compile(r"\d+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=.*\d)[0-9a-fA-F]{16,}")
# How many addresses are remembered with their request lines, and how many names with what their requests share.
_ADDRESSES, _NAMES = 10_000, 1000


class Begin(NamedTuple):
    """How requests of a method to an address begin: their first line, and what they have in common."""

    line: bytes
    kind: Kind


class Session:
    """What the clients of all journeys of a load share."""

    def __init__(self, plan: Plan, pool: Pool) -> None:
        """Build what all requests have in common. Raises PlanError."""
        target, journey = plan.target, plan.journey
        assert journey
        self.pool = pool
        self.follow_redirects = journey.follow_redirects
        self._allowed_hosts = journey.allowed_hosts
        self.base: Target | None = None if target.scheme == NO_SERVICE else target
        self._services: dict[tuple[str, str, int], Service] = {}
        # An address costs much more to check and to name than to look up, and so does a kind of requests.
        self.begin = lru_cache(_ADDRESSES)(self._begin)
        self.kind = lru_cache(_NAMES)(_kind)
        self.headers: list[tuple[bytes, bytes]] = []
        """Those of all requests, but for a Host that is that of their address."""
        self._host = b""
        self.head: Head | None = None
        """How these are sent to the base URL; None where httpx has to write them."""
        self.tls = False
        self.service: Service | None = None
        """That of the base URL."""
        self.prefix = ""
        self.base_url = ""
        """The base URL of relative addresses, as httpx writes it; empty if there is none."""
        self.domains: frozenset[str] = frozenset()
        if self.base:
            host = "localhost" if target.unix else target.host.strip("[]")
            # http.cookiejar adds ".local" to a host name without a dot (eff_request_host).
            self.domains = frozenset({host, f"{host}.local"})
            self.prefix = target.path.decode().partition("?")[0].rstrip("/")
            scheme = target.scheme.removesuffix("+unix")
            self.base_url = f"{scheme}://localhost{self.prefix}" if target.unix else f"{target.origin}{self.prefix}"
            self._host = self.base_url.split("/")[2].encode()
            self.headers = [pair for pair in target.headers if pair != (b"Host", self._host)]
            self.head = self.head_of(self.headers, b"")
            self.tls = target.tls
            self.service = self._services[self._key(target)] = pool.service(_endpoint(target))

    @staticmethod
    def _key(target: Target) -> tuple[str, str, int]:
        return target.scheme, target.host, target.port

    def service_of(self, url: httpx.URL) -> Service:
        """Find the service that a request goes to. Raises ServiceError if no load is allowed there."""
        if self.service and self.base and self.base.unix and url.host in {"localhost", ""}:
            return self.service
        scheme, host = url.scheme, url.raw_host.decode()
        port = url.port or SCHEMES.get(scheme, 0)
        if (scheme, host, port) not in self._services:
            verify = self.base.verify if self.base else True
            target = Target.of(f"{scheme}://{url.netloc.decode()}", verify=verify)
            try:
                # This blocks the other journeys, once for each host.
                found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise ServiceError(f"cannot resolve {host}: {error.strerror}") from None
            addresses = [(str(address[0]), port) for *_, address in found]
            check_allowed(target, addresses, self._allowed_hosts)
            endpoint = _endpoint(replace(target, address=addresses[0]))
            self._services[scheme, host, port] = self.pool.service(endpoint)
        return self._services[scheme, host, port]

    def head_of(self, headers: Sequence[tuple[bytes, bytes]], cookies: bytes) -> Head | None:
        """Write the headers and cookies of requests to the base URL; None where httpx has to."""
        names = {name.lower() for name, _ in headers}
        if cookies and b"cookie" in names:
            return None
        host = [] if b"host" in names else [(b"Host", self._host)]
        return Head.of([*host, *headers, *([(b"Cookie", cookies)] if cookies else [])])

    def _begin(self, method: str, url: object) -> Begin | None:
        """Write the request line with an address as it is; None where httpx has to."""
        if self.base is None or self.follow_redirects or method not in METHODS or url.__class__ is not str:
            return None
        if not _PLAIN.fullmatch(path := str(url)):
            return None
        return Begin(f"{method} {self.prefix}{path} HTTP/1.1\r\n".encode(), self.kind(method, name_of(method, path)))


def name_of(method: str, path: str) -> str:
    """Name a request by its method and path, with a {} for each identifier."""
    parts = path.partition("?")[0].partition("#")[0].split("/")
    return f"{method} {'/'.join('{}' if _IDENTIFIER.fullmatch(part) else part for part in parts) or '/'}"


def _kind(method: str, name: str) -> Kind:
    return Kind(method, name=name, whole=True)


def _endpoint(target: Target) -> Endpoint:
    return Endpoint(target, [NamedRequest("", target)])
