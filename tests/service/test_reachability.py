"""Finding the service: waiting for it, and never knocking at a door that may be somebody else's."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_loadgen.errors import ServiceError
from pytest_loadgen.service import reachability as service
from pytest_loadgen.service.reachability import find
from pytest_loadgen.traffic.target import Address, Target

PRIVATE = ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1"]
PRIVATE_V6 = ["::1", "fd00::1", "fe80::1", "fe80::1%1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"]
METADATA_V6 = ["fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fe80::a9fe:a9fe", "fe80::a9fe:a9fe%1"]
PUBLIC = ["203.0.113.1", "169.254.169.254", "172.32.0.1", "100.64.0.1", "192.169.0.1", "11.0.0.1", "2001:db8::1"]


def target(host: str, port: int = 80) -> Target:
    return Target.of(f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/")


def local() -> list[str]:
    """Tell what localhost is on this machine: 127.0.0.1, ::1, or both."""
    return list(dict.fromkeys(str(address[0]) for *_, address in socket.getaddrinfo("localhost", 0)))


@pytest.fixture
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """See to it that a test that fails sends nothing either."""

    def connect(self: socket.socket, address: object) -> None:
        pytest.fail(f"a connection to {address} was tried")

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Keep a port at which nothing listens, until a test does."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder


@pytest.mark.usefixtures("no_connection")
@pytest.mark.parametrize("host", PUBLIC)
def test_public_hosts(host: str) -> None:
    """A load at a public host is refused before a packet is sent, without waiting, and the way out named."""
    message = (
        f"{host} ({host}) is neither this machine nor in a private network, and a load there may harm others. "
        f"If it is yours, say so in the ini-file: load_allowed_hosts = {host}"
    )
    with pytest.raises(ServiceError) as caught:
        service._check(target(host), [(host, 80)], ())
    assert str(caught.value) == message
    with pytest.raises(ServiceError, match=re.escape(message)):
        find(target(host), 3600, ["localhost", "10.*", "*.test.example"])


@pytest.mark.parametrize("host", PRIVATE + PRIVATE_V6)
def test_private_hosts(host: str) -> None:
    """This machine and private networks may be loaded, however the address is written."""
    service._check(target("some.name"), [(host, 80)], ())


@pytest.mark.parametrize("address", METADATA_V6)
def test_metadata_of_clouds(address: str) -> None:
    """A cloud's metadata service is refused where it has a private address, too."""
    with pytest.raises(ServiceError, match="is neither this machine"):
        service._check(target("some.name"), [(address, 80)], ())


@pytest.mark.parametrize("mapped", ["::ffff:203.0.113.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"])
def test_mapped_hosts(mapped: str) -> None:
    """A public address stays one in the clothes of IPv6."""
    with pytest.raises(ServiceError, match="is neither this machine"):
        service._check(target("some.name"), [(mapped, 80)], ())


def test_mixed_names() -> None:
    """A name that leads to a public host too is refused, as the load might go there."""
    with pytest.raises(ServiceError, match=r"^some\.name \(203\.0\.113\.1\) is neither"):
        service._check(target("some.name"), [("127.0.0.1", 80), ("203.0.113.1", 80)], ())


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
    """A host that the ini-file lists, by name or pattern, passes; nothing that only looks like it does."""
    address: Address = ("203.0.113.1", 80)
    try:
        service._check(target(host), [address], tuple(patterns))
    except ServiceError:
        assert not allowed
    else:
        assert allowed


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


@pytest.mark.parametrize("host", local())
def test_localhost(host: str) -> None:
    """A service on localhost is found at whichever of its addresses listens."""
    with listen(host) as listening:
        port = listening.getsockname()[1]
        found = find(target("localhost", port), 10)
    assert (found.address, found.host) == ((host, port), "localhost")


def test_the_next_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a name's first address does not listen, the next one is tried."""
    with listen() as listening:
        port = listening.getsockname()[1]
        monkeypatch.setattr(service, "_addresses", lambda _: [("::1", port), ("127.0.0.1", port)])
        assert find(target("localhost", port), 0).address == ("127.0.0.1", port)


def test_waiting(silent: socket.socket) -> None:
    """A service that comes up while it is waited for is found."""
    address = silent.getsockname()
    late = threading.Timer(0.3, silent.listen)
    late.start()
    assert find(target(*address), 30).address == address
    late.join()


@pytest.mark.parametrize(("wait", "waited"), [(0, ""), (0.2, " for 200ms")])
def test_nothing_listens(silent: socket.socket, wait: float, waited: str) -> None:
    """Where nothing comes up, it says where was looked, for how long, and what was in the way."""
    begun, address = time.monotonic(), silent.getsockname()
    with pytest.raises(ServiceError) as caught:
        find(target(*address), wait)
    assert wait <= time.monotonic() - begun
    assert str(caught.value) == (
        f"http://127.0.0.1:{address[1]} accepts no connections{waited}: connection refused. "
        "Is the service up, and is this its address? (ready_timeout= says how long to wait.)"
    )


@pytest.mark.usefixtures("no_connection")
@pytest.mark.parametrize("host", ["nonexistent.invalid", "a..b", "x" * 70])
def test_unknown_names(host: str) -> None:
    """A name that cannot be looked up is said to be the trouble."""
    with pytest.raises(
        ServiceError, match=rf"^http://{host}:80 accepts no connections: the name cannot be looked up \("
    ):
        find(target(host), 0)


def test_unix_socket(tmp_path: Path) -> None:
    """A service behind a unix socket is found by the path, capitals and all."""
    path = str(tmp_path / "My.Sock")
    url = f"http+unix://{path.replace('/', '%2F')}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        assert find(Target.of(url), 10).address == path
    missing = Target.of(f"{url}2")
    with pytest.raises(ServiceError, match="accepts no connections: no such file or directory"):
        find(missing, 0)
