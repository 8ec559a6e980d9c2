"""What the clients of all journeys of a load share."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_loadgen.errors import ServiceError
from pytest_loadgen.generators.embedded.http1 import Endpoint, Kind
from pytest_loadgen.generators.embedded.pool import Pool, Service
from pytest_loadgen.traffic.hosts import check_allowed
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.target import NO_SERVICE, SCHEMES, Target

if TYPE_CHECKING:
    import httpx

    from pytest_loadgen.traffic.plan import Plan

Headers = dict[str, tuple[str, str]]
"""Headers by their names in small letters: the name as it is sent, and the value."""

NAME = "load_name"
"""The extension of a request (see httpx) that says what it is counted as."""

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
# A relative address that goes into the request line as it is (RFC 3986, 3.3 and 3.4).
_PLAIN = re.compile(r"/(?!/)(?:[\w\-~!$&'()*+,;=:@?]|/(?![/.])|(?<!/)\.|%[0-9A-Fa-f]{2})*", re.ASCII)
# A part of a path that is taken for the number, the UUID or the hash of something.
_IDENTIFIER = re.compile(r"\d+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=.*\d)[0-9a-fA-F]{16,}")
# How many addresses are remembered with their names.
_REMEMBERED = 10_000


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
        self.kinds = {method: Kind(method, name=method, whole=True) for method in METHODS}
        self._services: dict[tuple[str, str, int], Service] = {}
        self._names: dict[tuple[str, str], str] = {}
        self.headers: Headers = {}
        self.prefix = ""
        self.base_url = ""
        """What relative addresses are relative to, as httpx writes it; empty if there is nothing."""
        self.domains: frozenset[str] = frozenset()
        if self.base:
            host = "localhost" if target.unix else target.host.strip("[]")
            # Python's jar writes a name without a dot with one (http.cookiejar.eff_request_host).
            self.domains = frozenset({host, f"{host}.local"})
            self.headers = {
                name.decode().lower(): (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in target.headers
            }
            self.prefix = target.path.decode().partition("?")[0].rstrip("/")
            scheme = target.scheme.removesuffix("+unix")
            self.base_url = f"{scheme}://localhost{self.prefix}" if target.unix else f"{target.origin}{self.prefix}"
            self.service = self._services[self._key(target)] = pool.service(_endpoint(target))

    @staticmethod
    def _key(target: Target) -> tuple[str, str, int]:
        return target.scheme, target.host, target.port

    def service_of(self, url: httpx.URL) -> Service:
        """Find the service that a request goes to. Raises ServiceError where no load may go there."""
        if self.base and self.base.unix and url.host in {"localhost", ""}:
            return self.service
        scheme, host = url.scheme, url.raw_host.decode()
        port = url.port or SCHEMES.get(scheme, 0)
        if (scheme, host, port) not in self._services:
            verify = self.base.verify if self.base else True
            target = Target.of(f"{scheme}://{url.netloc.decode()}", verify=verify)
            try:
                # It holds up the other journeys, once for each host.
                found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise ServiceError(f"cannot resolve {host}: {error.strerror}") from None
            addresses = [(str(address[0]), port) for *_, address in found]
            check_allowed(target, addresses, self._allowed_hosts)
            endpoint = _endpoint(replace(target, address=addresses[0]))
            self._services[scheme, host, port] = self.pool.service(endpoint)
        return self._services[scheme, host, port]

    def is_plain(self, method: str, url: object) -> bool:
        """Whether a request line can be written with an address as it is."""
        return (
            self.base is not None
            and not self.follow_redirects
            and method in METHODS
            and url.__class__ is str
            and _PLAIN.fullmatch(str(url)) is not None
        )

    def kind(self, method: str) -> Kind:
        """Give what requests of a method have in common."""
        if method not in self.kinds:
            self.kinds[method] = Kind(method, name=method, whole=True)
        return self.kinds[method]

    def name(self, method: str, path: str) -> str:
        """Name a request by its method and path, with a {} for each identifier."""
        if found := self._names.get((method, path)):
            return found
        parts = path.partition("?")[0].partition("#")[0].split("/")
        name = f"{method} {'/'.join('{}' if _IDENTIFIER.fullmatch(part) else part for part in parts) or '/'}"
        if len(self._names) < _REMEMBERED:
            self._names[method, path] = name
        return name


def _endpoint(target: Target) -> Endpoint:
    return Endpoint(target, [NamedRequest("", target)])
