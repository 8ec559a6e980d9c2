"""Finding the service under test: may it be loaded, and does it accept connections."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch

from pytest_loadgen.errors import ServiceError
from pytest_loadgen.traffic.target import Address, Target
from pytest_loadgen.units import Duration

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 1918, RFC 4193 and link-local IPv6. Not 169.254.0.0/16: a cloud's metadata service lives there.
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")))
# Nor where it lives by IPv6: at AWS, Google, Oracle and OpenStack.
_METADATA = tuple(
    map(ipaddress.IPv6Network, ("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fe80::a9fe:a9fe"))
)
_BETWEEN_TRIES = 0.05
_ONE_TRY = 2.0


class NotAllowedError(ServiceError):
    """The service is neither here, nor private, nor allowed."""

    def __init__(self, host: str, ip: object) -> None:
        """Take its host, and where that is."""
        self.host = host
        self.found = f"{host} ({ip}) is neither this machine nor in a private network, and a load there may harm others"
        super().__init__(f"{self.found}. If it is yours, say so in the ini-file: load_allowed_hosts = {host}")


def find(target: Target, wait: float, allowed: Iterable[str] = ()) -> Target:
    """Wait so many seconds until the service accepts connections, and say at which address.

    The name is looked up here, once: the load then goes to the address that was found allowed.
    Raises ServiceError, before anything is sent to a host that is neither loopback, nor private,
    nor allowed (a name, or a pattern such as ``*.test.example``).
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            addresses = _addresses(target)
        except (OSError, UnicodeError) as error:
            trouble = f"the name cannot be looked up ({getattr(error, 'strerror', None) or error})"
        else:
            _check(target, addresses, tuple(allowed))
            for address in addresses:
                trouble = _try(target, address)
                if not trouble:
                    return replace(target, address=address)
        if time.monotonic() >= deadline:
            waited = f" for {Duration(wait)}" if wait else ""
            raise ServiceError(
                f"{target.origin} accepts no connections{waited}: {trouble}. "
                "Is the service up, and is this its address? (ready_timeout= says how long to wait.)"
            )
        time.sleep(min(_BETWEEN_TRIES, max(0.0, deadline - time.monotonic())))


def _addresses(target: Target) -> list[Address]:
    if target.unix:
        return [target.host]
    found = socket.getaddrinfo(target.host.strip("[]"), target.port, type=socket.SOCK_STREAM)
    # The same address comes once per protocol.
    return list(dict.fromkeys((str(address[0]), target.port) for *_, address in found))


def _check(target: Target, addresses: list[Address], allowed: tuple[str, ...]) -> None:
    if any(fnmatch(target.host.strip("[]").lower(), pattern.lower().strip("[]")) for pattern in allowed):
        return
    for address in addresses:
        if isinstance(address, str):
            continue
        ip = ipaddress.ip_address(address[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        private = _within(ip, _PRIVATE) and not _within(ip, _METADATA)
        if not (private or ip.is_loopback or ip.is_unspecified):
            raise NotAllowedError(target.host, ip)


def _within(ip: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(ip in network for network in networks if network.version == ip.version)


def _try(target: Target, address: Address) -> str:
    """Connect once; say what was in the way, or nothing."""
    if target.scheme == "udp":
        return ""  # there is nothing to connect to
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        # A machine may have no IPv6, and a name an address of it.
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ONE_TRY)
            connection.connect(address)
            if target.tls:
                _shake_hands(target, connection)
    except OSError as error:
        return "it does not answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
    return ""


def _shake_hands(target: Target, connection: socket.socket) -> None:
    """Refuse a certificate now that would fail each request; what else fails, the load will tell."""
    name = "localhost" if target.unix else target.host.strip("[]")
    try:
        with target.ssl_context().wrap_socket(connection, server_hostname=name):
            pass
    except ssl.SSLCertVerificationError as error:
        raise ServiceError(
            f"the certificate of {target.origin} is not to be trusted: {error.verify_message}. "
            "Use verify='ca.pem' to trust the authority that signed it, or verify=False to trust any."
        ) from None
    except OSError:
        pass
