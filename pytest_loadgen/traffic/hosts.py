"""Where a load may go: to this machine, to private networks, and to hosts that are allowed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from fnmatch import fnmatch

from pytest_loadgen.errors import ServiceError
from pytest_loadgen.traffic.target import Address, Target

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 1918, RFC 4193 and link-local IPv6. Not 169.254.0.0/16: cloud metadata services are there.
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")))
# Nor their IPv6 addresses: at AWS, Google, Oracle and OpenStack.
_METADATA = tuple(
    map(ipaddress.IPv6Network, ("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fe80::a9fe:a9fe"))
)


class NotAllowedError(ServiceError):
    """The service is neither on this machine, nor in a private network, nor allowed."""

    def __init__(self, host: str, ip: object) -> None:
        """Take the service's host and its IP address."""
        self.host = host
        self.reason = f"{host} ({ip}) is neither this machine nor in a private network, and a load may harm others"
        self._ip = ip
        super().__init__(f"{self.reason}. If it is yours, allow it in the ini file: load_allowed_hosts = {host}")

    def __reduce__(self) -> tuple[type[NotAllowedError], tuple[str, object]]:
        return type(self), (self.host, self._ip)


def check_allowed(target: Target, addresses: Iterable[Address], allowed: Iterable[str]) -> None:
    """Refuse a host at one of these addresses unless a load there is allowed. Raises NotAllowedError."""
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
