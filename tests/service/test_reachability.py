"""Waiting for the service, and refusing hosts that may be somebody else's."""

import datetime
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from pytest_loadgen.errors import ServiceError
from pytest_loadgen.service import reachability
from pytest_loadgen.service.reachability import find
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.hosts import check_allowed
from pytest_loadgen.traffic.target import Address, Target

PRIVATE = ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1"]
PRIVATE_V6 = ["::1", "fd00::1", "fe80::1", "fe80::1%1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"]
METADATA_V6 = ["fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fe80::a9fe:a9fe", "fe80::a9fe:a9fe%1"]
PUBLIC = ["203.0.113.1", "169.254.169.254", "172.32.0.1", "100.64.0.1", "192.169.0.1", "11.0.0.1", "2001:db8::1"]


def target(host: str, port: int = 80) -> Target:
    return Target.of(f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/")


def local() -> list[str]:
    """Return what localhost is on this machine: 127.0.0.1, ::1, or both."""
    return list(dict.fromkeys(str(address[0]) for *_, address in socket.getaddrinfo("localhost", 0)))


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that a failing test sends nothing either."""

    def connect(self: socket.socket, address: object) -> None:
        pytest.fail(f"tried to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Reserve a port on which nothing listens until the test does."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder


@pytest.mark.usefixtures("no_connection")
@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_host_is_refused(host: str) -> None:
    """At once, before a packet is sent; the message says how to allow it."""
    message = (
        f"{host} ({host}) is neither this machine nor in a private network, and a load may harm others. "
        f"If it is yours, allow it in the ini file: load_allowed_hosts = {host}"
    )
    with pytest.raises(ServiceError) as caught:
        check_allowed(target(host), [(host, 80)], ())
    assert str(caught.value) == message
    with pytest.raises(ServiceError, match=re.escape(message)):
        find(target(host), 3600, ["localhost", "10.*", "*.test.example"])


@pytest.mark.parametrize("host", PRIVATE + PRIVATE_V6)
def test_private_hosts_are_allowed(host: str) -> None:
    """However the address is written."""
    check_allowed(target("some.name"), [(host, 80)], ())


@pytest.mark.parametrize("address", METADATA_V6)
def test_cloud_metadata_services_are_refused(address: str) -> None:
    """Although their addresses are private."""
    with pytest.raises(ServiceError, match="is neither this machine"):
        check_allowed(target("some.name"), [(address, 80)], ())


@pytest.mark.parametrize("mapped", ["::ffff:203.0.113.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"])
def test_mapped_public_addresses_are_refused(mapped: str) -> None:
    """An IPv4 address written as IPv6 is judged as the IPv4 address."""
    with pytest.raises(ServiceError, match="is neither this machine"):
        check_allowed(target("some.name"), [(mapped, 80)], ())


def test_a_name_with_a_public_address_is_refused() -> None:
    """Even if its other addresses are private: the load might go there."""
    with pytest.raises(ServiceError, match=r"^some\.name \(203\.0\.113\.1\) is neither"):
        check_allowed(target("some.name"), [("127.0.0.1", 80), ("203.0.113.1", 80)], ())


@pytest.mark.parametrize(
    ("host", "patterns", "allowed"),
    [
        ("api.test.example", ["api.test.example"], True),
        ("API.test.example", ["other", "*.TEST.example"], True),
        ("203.0.113.1", ["203.0.113.*"], True),
        ("2001:db8::1", ["[2001:db8::1]"], True),
        ("2001:db8::1", ["2001:db8::1"], True),
        ("test.example", ["*.test.example"], False),
        ("evil-test.example", ["test.example"], False),
        ("test.example.evil", ["test.example"], False),
        ("api.test.example", [""], False),
        ("api.test.example", [], False),
    ],
)
def test_allowed_hosts(host: str, patterns: list[str], allowed: bool) -> None:
    """A host is allowed by name or pattern, ignoring case; similar names are not."""
    address: Address = ("203.0.113.1", 80)
    try:
        check_allowed(target(host), [address], tuple(patterns))
    except ServiceError:
        assert not allowed
    else:
        assert allowed


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


@pytest.mark.parametrize("host", local())
def test_localhost_is_found_at_the_address_that_listens(host: str) -> None:
    with listen(host) as listening:
        port = listening.getsockname()[1]
        found = find(target("localhost", port), 10)
    assert (found.address, found.host) == ((host, port), "localhost")


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may have several addresses, and the service may listen on one of them."""
    with listen() as listening:
        port = listening.getsockname()[1]
        monkeypatch.setattr(reachability, "_addresses", lambda _: [("::1", port), ("127.0.0.1", port)])
        assert find(target("localhost", port), 0).address == ("127.0.0.1", port)


def test_a_service_that_starts_late_is_found(silent: socket.socket) -> None:
    address = silent.getsockname()
    late = threading.Timer(0.3, silent.listen)
    late.start()
    assert find(target(*address), 30).address == address
    late.join()


@pytest.mark.parametrize(("wait", "waited"), [(0, ""), (0.2, " after 200ms")])
def test_a_service_that_does_not_start(silent: socket.socket, wait: float, waited: str) -> None:
    """The message says where, after how long, why, and what to do."""
    begun, address = time.monotonic(), silent.getsockname()
    with pytest.raises(ServiceError) as caught:
        find(target(*address), wait)
    assert wait <= time.monotonic() - begun
    assert str(caught.value) == (
        f"http://127.0.0.1:{address[1]} does not accept connections{waited}: connection refused. "
        "Check that the service is running at this address, or wait longer for it with ready_timeout=."
    )


@pytest.mark.usefixtures("no_connection")
@pytest.mark.parametrize("host", ["nonexistent.invalid", "a..b", "x" * 70])
def test_a_name_that_cannot_be_resolved(host: str) -> None:
    with pytest.raises(
        ServiceError, match=rf"^cannot resolve {host}: .+\. Check the host name in http://{host}:80, or wait"
    ):
        find(target(host), 0)


def test_unix_socket(tmp_path: Path) -> None:
    """The path may contain capital letters."""
    path = str(tmp_path / "My.Sock")
    url = f"http+unix://{path.replace('/', '%2F')}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        assert find(Target.of(url), 10).address == path
    missing = Target.of(f"{url}2")
    with pytest.raises(ServiceError, match="does not accept connections: no such file or directory"):
        find(missing, 0)


def context_of(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


PAST = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
FUTURE = datetime.datetime(2101, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("certificate", "given", "said"),
    [
        ((["localhost"], {"not_after": PAST}), "right", r"certificate has expired\. Renew the certificate \(or"),
        (
            (["localhost"], {"not_before": FUTURE, "not_after": FUTURE}),
            "right",
            r"not yet valid\. Renew the certificate",
        ),
        ((["other.example"], {}), "right", r"not valid for 'localhost'\.+ Use an address that the certificate is for"),
        ((["localhost"], {}), "wrong", r"issuer certificate\. verify='.*' does not contain the CA that signed it: use"),
        (
            (["localhost"], {}),
            None,
            r"issuer certificate\. Use verify='ca\.pem' to trust the CA that signed it; verify=",
        ),
    ],
)
def test_why_a_certificate_is_not_trusted(
    tmp_path: Path, authority: trustme.CA, certificate: Any, given: str | None, said: str
) -> None:
    """OpenSSL's reason, and what helps against this one: the given CA is not asked for again."""
    file, (names, options) = tmp_path / "ca.pem", certificate
    (authority if given == "right" else trustme.CA()).cert_pem.write_to_path(file)
    verify = str(file) if given else True
    with Server(tls=context_of(authority, *names, **options), host="127.0.0.1") as server:
        address = Target.of(server.url.replace("127.0.0.1", "localhost"), verify=verify)
        with pytest.raises(ServiceError, match=f"^the certificate of {address.origin} is not trusted: .*{said}"):
            find(address, 0)


def test_a_service_without_tls() -> None:
    """OpenSSL's reason is in the message, as the load would only count failures."""
    with Server() as server, pytest.raises(ServiceError) as caught:
        find(Target.of(server.url.replace("http", "https"), verify=False), 0)
    # OpenSSL calls it so in all versions.
    assert "accepts no TLS connection: TLS failed: wrong version number. Check that" in str(caught.value)


def test_a_service_that_refuses_the_handshake() -> None:
    """Its alert is named."""
    with listen() as listening:

        def refuse() -> None:
            with listening.accept()[0] as connection:
                connection.recv(1 << 16)
                connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal: handshake_failure

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(ServiceError, match=r"accepts no TLS connection: TLS failed: .*handshake failure"):
            find(Target.of(f"https://127.0.0.1:{listening.getsockname()[1]}/", verify=False), 0)
        thread.join()
