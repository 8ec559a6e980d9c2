"""Check that the service under test may be loaded and accepts connections."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace

from pytest_loadgen import clock
from pytest_loadgen.errors import ServiceError
from pytest_loadgen.traffic.hosts import check_allowed
from pytest_loadgen.traffic.target import Address, Target
from pytest_loadgen.units import Duration

# How long to wait between attempts, and for one of them, in seconds.
_RETRY_INTERVAL = 0.05
_CONNECT_TIMEOUT = 2.0


def find(
    target: Target, timeout: float, allowed: Iterable[str] = (), check: Callable[[], None] = lambda: None
) -> Target:
    """Wait until the service accepts connections, and return the target with its address.

    The name is resolved here, once: the load then goes to the address that was checked. Raises
    ServiceError after the timeout, in seconds, or before anything is sent to a host that is
    neither loopback, nor private, nor allowed (a name, or a pattern such as ``*.test.example``). `check` is
    called between attempts, and ends the wait if it raises.
    """
    deadline = clock.monotonic() + timeout
    while True:
        try:
            addresses = _addresses(target)
        except (OSError, UnicodeError) as error:
            unknown, reason = True, (getattr(error, "strerror", None) or str(error)).lower()
        else:
            unknown = False
            check_allowed(target, addresses, allowed)
            for address in addresses:
                reason = _connect(target, address)
                if not reason:
                    return replace(target, address=address)
        if clock.monotonic() >= deadline:
            waited = f" after {Duration(timeout)}" if timeout else ""
            if reason.startswith(_TLS_FAILED):
                raise ServiceError(
                    f"{target.origin} accepts no TLS connection{waited}: {reason}. Check that the service speaks TLS "
                    f"at this address, and which versions; {target.scheme.upper()} needs it."
                )
            if unknown:
                raise ServiceError(
                    f"cannot resolve {target.host}{waited}: {reason}. Check the host name in {target.origin}, or wait "
                    "longer for it with ready_timeout=."
                )
            raise ServiceError(
                f"{target.origin} does not accept connections{waited}: {reason}. "
                "Check that the service is running at this address, or wait longer for it with ready_timeout=."
            )
        check()
        clock.sleep(min(_RETRY_INTERVAL, max(0.0, deadline - clock.monotonic())))


def _addresses(target: Target) -> list[Address]:
    if target.unix:
        return [target.host]
    found = socket.getaddrinfo(target.host.strip("[]"), target.port, type=socket.SOCK_STREAM)
    # Each address is listed once per protocol.
    return list(dict.fromkeys((str(address[0]), target.port) for *_, address in found))


def _connect(target: Target, address: Address) -> str:
    """Connect once; return why that failed, or nothing."""
    if target.scheme == "udp":
        return ""  # there is nothing to connect to
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        # In the try block, because this machine may have no IPv6 although the name has an IPv6 address.
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(_CONNECT_TIMEOUT)
            connection.connect(address)
            if target.tls:
                return _shake_hands(target, connection)
    except OSError as error:
        return "connection timed out" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
    return ""


def _shake_hands(target: Target, connection: socket.socket) -> str:
    """Say why no TLS connection is possible, or nothing; what else may go wrong, the load reports.

    Raises ServiceError for a certificate that is not trusted, as waiting does not change it.
    """
    name = "localhost" if target.unix else target.host.strip("[]")
    try:
        with target.ssl_context().wrap_socket(connection, server_hostname=name):
            pass
    except ssl.SSLCertVerificationError as error:
        raise ServiceError(
            f"the certificate of {target.origin} is not trusted: {error.verify_message}. {_advice(target, error)}"
        ) from None
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        pass
    except ssl.SSLError as error:
        # OpenSSL's reason, such as WRONG_VERSION_NUMBER or TLSV1_ALERT_PROTOCOL_VERSION.
        return f"{_TLS_FAILED}{(error.reason or str(error)).replace('_', ' ').lower()}"
    except OSError:
        pass
    return ""


_TLS_FAILED = "TLS failed: "
# X509_V_ERR_…: of its time, of the names it is for, and of who signed it.
_NOT_NOW = {9, 10, 11, 12}
_OTHER_NAME = {62, 63, 64}
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21, 27}


def _advice(target: Target, error: ssl.SSLCertVerificationError) -> str:
    """Say what helps against OpenSSL's reason."""
    anyway = "verify=False trusts any certificate."
    if error.verify_code in _NOT_NOW:
        return f"Renew the certificate (or that of its CA), or set the clock of this machine; {anyway}"
    if error.verify_code in _OTHER_NAME:
        return f"Use an address that the certificate is for, or one for this address at the service; {anyway}"
    if error.verify_code in _UNKNOWN_ISSUER and isinstance(target.verify, str):
        return f"verify={target.verify!r} does not contain the CA that signed it: use a file that does; {anyway}"
    if error.verify_code in _UNKNOWN_ISSUER:
        return f"Use verify='ca.pem' to trust the CA that signed it; {anyway}"
    return f"Replace the certificate; {anyway}"
