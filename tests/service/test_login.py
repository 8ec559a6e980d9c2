"""The auth flow of a request: run as httpx runs it, before the load, and with its last request."""

import threading
from collections import Counter
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import trustme

from pytest_loadgen.errors import LoadError, PlanError, ServiceError
from pytest_loadgen.service import login
from pytest_loadgen.service.login import log_in
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import get
from pytest_loadgen.traffic.target import Target

Flow = Generator[httpx.Request, httpx.Response, None]


class Service(ThreadingHTTPServer):
    """Gives a token at /login, and answers only those who send it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: Counter[tuple[str, str, bytes]] = Counter()
        self.silent = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.seen[self.command, self.path, body] += 1
        if self.path == "/silent":
            self.server.silent.wait(30)
        allowed = self.path == "/login" or self.headers["Authorization"] == "Bearer tea"
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"tea")

    do_POST = do_GET  # noqa: N815  # http.server's name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        yield service
        service.silent.set()
        service.shutdown()
        thread.join()


class Token(httpx.Auth):
    """The scheme of httpx's manual: logs in first."""

    requires_response_body = True

    def __init__(self, address: str) -> None:
        self.address = address

    def auth_flow(self, request: httpx.Request) -> Flow:
        answer = yield httpx.Request("GET", self.address)
        request.headers["Authorization"] = f"Bearer {answer.text}"
        yield request


class Challenge(httpx.Auth):
    """Logs in where it was refused."""

    def sync_auth_flow(self, request: httpx.Request) -> Flow:
        answer = yield request
        if answer.status_code == 401:
            answer = yield httpx.Request("GET", request.url.copy_with(path="/login", query=None))
            request.headers["Authorization"] = f"Bearer {answer.read().decode()}"
            yield request


class Endless(httpx.Auth):
    def auth_flow(self, request: httpx.Request) -> Flow:
        while True:
            yield request


class Broken(httpx.Auth):
    def auth_flow(self, request: httpx.Request) -> Flow:
        yield request
        raise KeyError("token")


class Elsewhere(httpx.Auth):
    def auth_flow(self, request: httpx.Request) -> Flow:
        yield httpx.Request("GET", request.url.copy_with(path="/login"))


def plan(url: str, auth: httpx.Auth, **options: object) -> Plan:
    return Plan.of(Target.of(url, auth=auth, **options), ready_timeout=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["token", "challenge"])
def test_a_flow_that_logs_in(service: Service, scheme: str) -> None:
    """The load is the wanted request with the header of the flow, whole and as often as it is asked for."""
    auth = Token(f"{service.url}/login") if scheme == "token" else Challenge()
    before = plan(f"{service.url}/me?x=1", auth, content=b"cup")
    for _ in range(2):
        after = log_in(before)
        sent = httpx.Headers(list(after.target.headers))
        assert (sent["Authorization"], after.target.path, after.target.body) == ("Bearer tea", b"/me?x=1", b"cup")
        assert after.target.login is None
    assert service.seen["GET", "/login", b""] == 2


def test_nothing_is_sent_before_the_load(service: Service) -> None:
    """Options are read at collection, too."""
    assert plan(f"{service.url}/me", Token(f"{service.url}/login")).target.login
    assert not service.seen


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (Endless(), "auth= Endless sent 20 requests and wanted to send more"),
        (Broken(), "auth= Broken raised KeyError: 'token'"),
        (Elsewhere(), "auth= ends with GET http://127.0.0.1:.*/login, which would be loaded instead of GET .*/me: "),
        (Token("ftp://127.0.0.1/"), "auth= sends a request to ftp://"),
    ],
)
def test_flows_that_lead_nowhere(service: Service, auth: httpx.Auth, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        log_in(plan(f"{service.url}/me", auth))


def test_a_login_that_does_not_answer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error after a while, however the service dawdles."""
    monkeypatch.setattr(login, "_PATIENCE", 0.2)
    with pytest.raises(ServiceError, match=r"GET http://127.0.0.1:.*/silent of its flow got no response within 200ms"):
        log_in(plan(f"{service.url}/me", Token(f"{service.url}/silent")))


@pytest.mark.parametrize("where", ["http://203.0.113.1/login", "http://169.254.169.254/login"])
def test_a_login_at_a_host_that_is_not_allowed(service: Service, where: str) -> None:
    """Nothing is sent there."""
    with pytest.raises(ServiceError, match="is neither this machine nor in a private network"):
        log_in(plan(f"{service.url}/me", Token(where)))


def test_proxies_are_not_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert log_in(plan(f"{service.url}/me", Token(f"{service.url}/login"))).target.login is None


def test_tls(authority: trustme.CA, authority_file: object) -> None:
    """The login is trusted as the service is: by verify=, and under its name."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Service() as service:
        service.socket = context.wrap_socket(service.socket, server_side=True)
        threading.Thread(target=service.serve_forever, args=(0.01,)).start()
        try:
            url = f"https://localhost:{service.server_port}"
            found = log_in(plan(f"{url}/me", Token(f"{url}/login"), verify=str(authority_file)))
            assert b"Bearer tea" in dict(found.target.headers).values()
            with pytest.raises(LoadError, match="is not trusted"):
                log_in(plan(f"{url}/me", Token(f"{url}/login")))
        finally:
            service.shutdown()


def test_each_request_of_a_mix_is_signed(service: Service) -> None:
    """Also those after the first, which is the target; the flow runs for each of them."""
    traffic = [get("/a"), get("/b", auth=("user", "word")), get("/c")]
    plan = log_in(plan_of(traffic, {"auth": Token(f"{service.url}/login")}, lambda: service.url))
    assert plan.target == plan.mix[0].target
    signed = [dict(each.headers)[b"Authorization"][:6] for each in plan.targets]
    assert signed == [b"Bearer", b"Basic ", b"Bearer"]
    assert service.seen["GET", "/login", b""] == 2
