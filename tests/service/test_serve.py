"""Real programs and applications, served for tests."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from pytest_loadgen import PlanError, ServiceError, serve
from pytest_loadgen.service import output, process, readiness
from pytest_loadgen.service import serve as serving
from tests.conftest import needs, wait_for

HELLO_ASGI = """
import os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("goes down", flush=True)
        return await send({"type": "lifespan.shutdown.complete"})
    status = 503 if scope["path"] == "/ill" else 200
    body = os.environ.get("HELLO", "asgi").encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
def make():
    return app
async def fails(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "RuntimeError: no database"})
"""
HELLO_WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"wsgi"]
"""
# A minimal server in one line of Python: the tests start many.
SERVER = "import http.server, os, sys, signal, subprocess, time\n"
HTTP = "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)"


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", SERVER + textwrap.dedent(code), *(words or ["{port}"])]


def get(url: str, path: str = "/") -> httpx.Response:
    if url.startswith("http+unix://"):
        with httpx.Client(transport=httpx.HTTPTransport(uds=unquote(url.removeprefix("http+unix://")))) as client:
            return client.get(f"http://localhost{path}")
    return httpx.get(url + path, trust_env=False)


def refused(url: str) -> bool:
    parts = urlsplit(url)
    unix = parts.scheme == "http+unix"
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as connection:
        address = unquote(parts.netloc) if unix else (parts.hostname, parts.port)
        if not (failed := connection.connect_ex(address)):
            # A port that nobody listens at may be given to the connection itself, which then meets itself.
            return bool(connection.getsockname() == connection.getpeername())
        return failed in {errno.ECONNREFUSED, errno.ENOENT}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # One that is killed stays until its parent has taken notice.
        return not Path("/proc/self").exists() or "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with applications, which is the working directory."""
    (tmp_path / "hello_asgi.py").write_text(HELLO_ASGI)
    (tmp_path / "hello_wsgi.py").write_text(HELLO_WSGI)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_output_is_left() -> Any:
    """What the services of a test have printed is forgotten with it."""
    yield
    for each in output.outputs():
        each.named = each.kept = False
    output._forget_all()


def test_a_command() -> None:
    """It is up in the with block, and gone after it."""
    with serve("python -m http.server {port} --bind {host}") as url:
        assert url.startswith("http://127.0.0.1:")
        assert get(url).status_code == 200
    assert refused(url)


def test_a_service_that_is_started_twice() -> None:
    """Each has an address of its own, and both end."""
    service = serve("python -m http.server {port}")
    with service as one:
        with service as other:
            assert get(one).status_code == get(other).status_code == 200
        assert refused(other)
        assert get(one).status_code == 200
    assert refused(one)


def test_a_port_in_the_environment() -> None:
    """Placeholders in env= are filled; the rest of the environment is there, too."""
    with serve(["sh", "-c", "exec python -m http.server $PORT"], env={"PORT": "{port}"}) as url:
        assert get(url).status_code == 200


@pytest.mark.parametrize(
    ("what", "scheme"),
    [
        ("uvicorn hello_asgi:app --port {port} --host {host}", "http"),
        ("uvicorn hello_asgi:app --fd {fd}", "http"),
        ("waitress-serve --listen {host}:{port} hello_wsgi:app", "http"),
        ("uvicorn hello_asgi:app --uds {socket}", "http+unix"),
    ],
)
def test_where_a_command_listens(shop: Path, what: str, scheme: str) -> None:
    with serve(what) as url:
        assert url.partition(":")[0] == scheme
        assert get(url).text in {"asgi", "wsgi"}
    assert refused(url)


@pytest.mark.parametrize(
    ("name", "said"),
    [("hello_asgi:app", "asgi"), ("hello_asgi:make()", "asgi"), ("hello_wsgi:app", "wsgi")],
)
def test_an_application_by_its_name(shop: Path, name: str, said: str) -> None:
    """It is imported in a new process, from the working folder, too."""
    with serve(name, ready="/") as url:
        assert get(url).text == said
    assert refused(url)


def test_the_folder_and_the_environment_of_an_application(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    with serve("hello_asgi:app", cwd=shop, env={"HELLO": "env!"}) as url:
        assert get(url).text == "env!"


def test_an_application_may_know_its_address(shop: Path) -> None:
    """Placeholders in env= are filled for applications, too."""
    with serve("hello_asgi:app", env={"HELLO": "http://{host}:{port}"}) as url:
        assert get(url).text == url


@pytest.mark.parametrize("module", ["hello_asgi", "hello_wsgi"])
def test_an_application_object(shop: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """It is found by the name that its module gives it, and served by another process."""
    monkeypatch.syspath_prepend(shop)
    app = __import__(module).app
    try:
        with serve(app) as url:
            assert get(url).text == module[-4:]
            assert output.outputs()[-1].name == f"{module}:app"
    finally:
        del sys.modules[module]


async def asgi_of_this_test(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


def test_an_application_of_a_test_module() -> None:
    """The new process imports the test module."""
    with serve(asgi_of_this_test) as url:
        assert int(get(url).text) != os.getpid()


def wsgi_of(pid: int) -> Callable[..., Any]:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [str(os.getpid() == pid).encode()]

    return app


def test_an_application_in_a_thread() -> None:
    """With process=False, one that nobody can import is served; the thread ends with the block."""
    before = threading.active_count()
    for app in wsgi_of(os.getpid()), asgi_of_this_test:
        with serve(app, process=False, ready="/") as url:
            assert get(url).text in {"True", str(os.getpid())}
        assert refused(url)
    wait_for(lambda: threading.active_count() == before)


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_an_application_in_a_thread_that_does_not_end(monkeypatch: pytest.MonkeyPatch, interface: str) -> None:
    """Nothing can end it: a warning says so."""
    monkeypatch.setattr(serving, "_GRACE", 0.1)
    goes_on, asked = threading.Event(), threading.Event()

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            asked.set()
            goes_on.wait()

    def wsgi(environ: Any, start_response: Any) -> Any:
        asked.set()
        goes_on.wait()
        start_response("200 OK", [])
        return []

    before = threading.active_count()
    service = serve(asgi if interface == "asgi" else wsgi, process=False)
    parts = urlsplit(service.__enter__())
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        asked.wait()
        with pytest.warns(RuntimeWarning, match="process=False does not end"):
            service.__exit__(None, None, None)
    goes_on.set()
    wait_for(lambda: threading.active_count() == before)


def test_an_application_that_cannot_be_imported() -> None:
    with pytest.raises(PlanError, match=r"^this function cannot be served in another process.*process=False"):
        serve(wsgi_of(1))


def test_a_startup_that_fails(shop: Path) -> None:
    """The exit status and the end of the output are told, and where all of it is."""
    with (
        pytest.raises(ServiceError, match="hello_asgi:fails ended with exit status 3 before it was ready") as raised,
        serve("hello_asgi:fails"),
    ):
        pass
    assert "RuntimeError: no database\n" in str(raised.value)
    path = Path(str(raised.value).rpartition("All of it: ")[2])
    assert "RuntimeError: no database\n" in path.read_text()


def test_a_startup_that_fails_in_a_thread(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(shop)
    from hello_asgi import fails  # type: ignore[import-not-found]

    with (
        pytest.raises(ServiceError, match=r"^this function did not start. Its log is in pytest's report$"),
        serve(fails, process=False),
    ):
        pass
    del sys.modules["hello_asgi"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hello_asgi:ap", "hello_asgi:ap: hello_asgi has no 'ap': did you mean 'app'?"),
        ("hello_nobody:app", "no module 'hello_nobody' on sys.path, nor in the working directory\n"),
        ("os:sep", "serve() takes a command, 'module:attribute', or an ASGI or WSGI application, not str"),
    ],
)
def test_a_name_of_nothing(shop: Path, name: str, said: str) -> None:
    with pytest.raises(ServiceError) as raised, serve(name):
        pass
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hello_asgi:app", "to serve an ASGI application, serve() needs uvicorn: pip install 'pytest-loadgen[serve]'"),
        ("hello_wsgi:app", "to serve a WSGI application, serve() needs waitress: pip install 'pytest-loadgen[serve]'"),
    ],
)
def test_a_server_that_is_not_installed(shop: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    """One sentence says what to install."""
    (shop / "uvicorn.py").write_text("raise ImportError")
    (shop / "waitress.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(shop)
    with pytest.raises(ServiceError) as raised, serve(name):
        pass
    assert f"Its output ends with:\n  {said}\nAll of it: " in str(raised.value)


def test_a_service_that_ends_at_once() -> None:
    with (
        pytest.raises(ServiceError, match=r"(?s)exit status 4 before it was ready. .*ends with:\n  boo\nAll of it: /"),
        serve(python("print('boo'); sys.exit(4)")),
    ):
        pass


def test_a_program_that_has_ended_before_anybody_looks() -> None:
    """Its exit status is known all the same."""
    for _ in range(5):
        with pytest.raises(ServiceError, match="ended with exit status 4"), serve(["sh", "-c", "exit 4", "{port}"]):
            pass


def test_a_daemon() -> None:
    """It is ended with what started it, and the message says why."""
    with (
        pytest.raises(ServiceError, match=r"exit status 0 before it was ready\. A service has to stay in the foregr"),
        serve(python("os.fork() and os._exit(0)\nos.setsid()\ntime.sleep(100)")),
    ):
        pass


def test_output_that_is_not_flushed() -> None:
    """What a Python program prints is there at once, without colors, and not lost when the program is killed."""
    with (
        pytest.raises(ServiceError, match="ends with:\n  no database"),
        serve(python("print('\\x1b[31mno database\\x1b[0m'); os.kill(os.getpid(), signal.SIGKILL)")),
    ):
        pass


def test_a_service_that_is_killed() -> None:
    with (
        pytest.raises(ServiceError, match=r"was killed by SIGKILL before it was ready. It printed nothing."),
        serve(python("os.kill(os.getpid(), signal.SIGKILL)")),
    ):
        pass


def test_a_service_that_never_listens(tmp_path: Path) -> None:
    """It is ended, and the message says where it was expected."""
    service = ["sh", "-c", "echo $$ > pid; exec sleep 100", "{port}"]
    said = r"was not ready at http://127.0.0.1:\d+ after 1s: connection refused. Check that it listens there"
    with pytest.raises(ServiceError, match=said), serve(service, timeout="1s", cwd=tmp_path):
        pass
    assert not alive(int((tmp_path / "pid").read_text()))


@contextmanager
def responder(respond: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server for one connection, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with listener.accept()[0] as connection, suppress(OSError):
                connection.recv(4096)
                respond(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()
        thread.join()


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302 Found\r\nlocation: http://other.test\r\n\r\n", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "GET /health has status 503"),
        (b"SSH-2.0-OpenSSH\r\n", "GET /health got no HTTP response"),
        (b"", "GET /health got no response before the connection was closed"),
    ],
)
def test_a_response_that_shows_whether_a_service_is_ready(response: bytes, said: str) -> None:
    with responder(lambda connection: connection.sendall(response)) as address:
        assert readiness.why_not(address, "/health", 30) == said


def test_a_response_that_never_ends() -> None:
    """Slow bytes do not prolong the wait for a service."""

    def drip(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"H")
            time.sleep(0.01)

    with responder(drip) as address:
        assert readiness.why_not(address, "/", 0.2) == "no response to GET /"


def test_a_service_that_is_not_ready() -> None:
    """The message says what it did, and what to check."""
    said = (
        "after 500ms: no response to GET /health. Check ready='/health' (plain HTTP), or wait longer with timeout=. It"
    )
    service = serve(python("time.sleep(100)", "{fd}"), ready="/health", timeout=0.5)
    with pytest.raises(ServiceError, match=re.escape(said)), service:
        pass


def test_an_inherited_socket_of_another_protocol() -> None:
    """Whatever a service sends shows that it is there."""
    code = """
    import socket
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.accept()[0].send(bytes(9))
    time.sleep(100)
    """
    with serve(python(code, "{fd}")) as url:
        assert url.startswith("http://127.0.0.1:")


def test_an_inherited_socket_without_a_service() -> None:
    """A listening socket accepts connections, so it is asked for a response."""
    with (
        pytest.raises(ServiceError, match="after 500ms: no response to GET /"),
        serve(python("time.sleep(100)", "{fd}"), timeout=0.5),
    ):
        pass


def test_a_program_that_is_not_there() -> None:
    with (
        pytest.raises(ServiceError, match=r"^cannot start no-such-program: not found on PATH\. Install it"),
        serve("no-such-program {port}"),
    ):
        pass
    with (
        pytest.raises(ServiceError, match=r"^cannot start .*: No such file or directory: /no/such/folder$"),
        serve("python {port}", cwd="/no/such/folder"),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("#!/bin/sh", 0o600, "permission denied. It has to be an executable file"),
        ("#!/no/such/program", 0o700, "a script whose first line ('#!…') names no file"),
        ("x", 0o700, "A script has to begin with a line such as '#!/bin/sh'"),
    ],
)
def test_a_file_that_is_not_a_program(tmp_path: Path, text: str, mode: int, said: str) -> None:
    """The message says what it lacks."""
    (tmp_path / "server").write_text(text)
    (tmp_path / "server").chmod(mode)
    with pytest.raises(ServiceError) as raised, serve("./server {port}", cwd=tmp_path):
        pass
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("what", "options", "said"),
    [
        ("uvicorn shop:app", {}, "tell the command where to listen"),
        ("server {port} {socket}", {}, "it has {port} and {socket}"),
        ("", {}, "empty command"),
        ("'' {port}", {}, "empty command"),
        ("server 'it {port}", {}, "no closing quotation"),
        ([1, 2], {}, "list of words"),
        (7, {}, "not int"),
        (lambda one: None, {}, "ASGI's is called with (scope, receive, send)"),
        (lambda *any: None, {}, "cannot tell whether this function"),
        ("server {port}", {"env": {"DEBUG": None}}, "env= has NoneType for 'DEBUG': names and values must be"),
        ("server {port}", {"env": ["DEBUG"]}, "env= takes a dict"),
        ("localhost:8000", {}, "tell the command where to listen"),
        ("server {port}", {"ready": True}, "ready=True is not a path"),
        ("server {port}", {"ready": "health"}, "ready='health' is not a path"),
        ("server {port}", {"timeout": 0}, "timeout=0 must be a finite time > 0"),
        ("server {port}", {"process": False}, "process=False is for an application object"),
        (wsgi_of(0), {"process": False, "cwd": "/"}, "env= and cwd= are for a process of its own"),
    ],
)
def test_what_cannot_be_served(what: Any, options: Any, said: str) -> None:
    """It is refused when it is written, before anything starts."""
    with pytest.raises(PlanError) as raised:
        serve(what, **options)
    assert said in str(raised.value)


def test_other_braces_are_left_alone() -> None:
    code = f"assert sys.argv[2] == '{{x}}'; {HTTP}.serve_forever()"
    with serve(python(code, "{port}", "{x}")) as url:
        assert get(url).status_code == 200


# Starts one child beside it and one in a session of its own, which is not in its process group; all ignore SIGTERM.
FAMILY = f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
ignore = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
children = [subprocess.Popen(ignore), subprocess.Popen(ignore, start_new_session=True), subprocess.Popen(sleep)]
open(sys.argv[2], "w").write(" ".join(str(each) for each in [os.getpid(), *(child.pid for child in children)]))
{HTTP}.serve_forever()
"""


def test_all_children_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM goes first; what ignores it is killed after the grace time, and so is what has left the group."""
    monkeypatch.setattr(process, "_GRACE", 0.3)
    with serve(python(FAMILY, "{port}", str(tmp_path / "pids"))):
        pids = list(map(int, (tmp_path / "pids").read_text().split()))
        assert len(pids) == 4
        assert all(map(alive, pids))
    assert not any(alive(pid) for pid in (pids if sys.platform == "linux" else pids[:2]))


def test_children_end_with_a_service_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE", 0.3)
    with serve(python(FAMILY, "{port}", str(tmp_path / "pids"))):
        first, *others = map(int, (tmp_path / "pids").read_text().split())
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: not any(map(alive, others)))


def test_a_service_may_end_in_order(shop: Path) -> None:
    """SIGTERM lets it: it prints its last line."""
    with serve("hello_asgi:app"):
        found = output.outputs()[-1]
    assert "goes down" in found.path.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="ports are reserved on Linux only")
def test_a_port_is_reserved() -> None:
    """While the service starts, nobody else is given its port, and the service can bind it."""
    from pytest_loadgen.service.listener import Listener

    with Listener("port") as listener, socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(listener.address)
        with socket.create_server(tuple(listener.address)):  # sets SO_REUSEADDR
            pass


def test_a_long_folder_for_temporary_files(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a unix socket is short all the same."""
    (long := shop / ("x" * 100)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with serve("uvicorn hello_asgi:app --uds {socket}") as url:
        assert get(url).text == "asgi"


def test_a_server_that_does_not_share_a_port(tmp_path: Path) -> None:
    """Without SO_REUSEADDR it cannot bind a reserved port: it gets one that is only known to be free."""
    server = HTTP.replace("http.server.ThreadingHTTPServer", "Server")
    code = f"""
    class Server(http.server.ThreadingHTTPServer):
        allow_reuse_address = False
    open({str(tmp_path / "tries")!r}, "a").write("x")
    {server}.serve_forever()
    """
    with serve(python(code)) as url:
        assert get(url).status_code == 200
    assert (tmp_path / "tries").read_text() == ("xx" if sys.platform == "linux" else "x")


def test_a_port_that_is_always_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries a few, and gives up."""
    monkeypatch.setattr(serving, "_PORTS", 2)
    with (
        pytest.raises(ServiceError, match="Address already in use"),
        serve(python("sys.exit('OSError: [Errno 98] Address already in use')")),
    ):
        pass


def test_a_fork_of_the_test_process_keeps_no_service_alive() -> None:
    """Nor does it end one."""
    with serve("python -m http.server {port}") as url:
        child = os.fork()
        if not child:
            time.sleep(600)
        assert get(url).status_code == 200
    try:
        assert refused(url)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)", "sys.exit()"])
def test_services_end_with_the_process_that_started_them(tmp_path: Path, how: str) -> None:
    """However that ends, and whoever else holds its files; with all children."""
    script = f"""
    import os, signal, subprocess, sys
    from pytest_loadgen.service import process
    from pytest_loadgen import serve
    process._GRACE = 0.3
    serve({python(FAMILY, "{port}", str(tmp_path / "pids"))!r}).__enter__()
    {how}
    """
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # for what a killed process cannot remove
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, env=environment)
    pids = list(map(int, (tmp_path / "pids").read_text().split()))
    wait_for(lambda: not any(map(alive, pids if sys.platform == "linux" else pids[:2])))


@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal of Linux")
def test_a_service_ends_with_its_keeper() -> None:
    """The process that watches the service may be killed, too."""
    code = f"print(os.getpid(), os.getppid(), flush=True); {HTTP}.serve_forever()"
    with serve(python(code)) as url:
        service, keeper = map(int, output.outputs()[-1].path.read_text().split())
        os.kill(keeper, signal.SIGKILL)
        wait_for(lambda: not alive(service))
    wait_for(lambda: refused(url))  # a thread that ends last closes the socket


def test_a_thread_that_started_a_service_may_end() -> None:
    """The service stays, as the process does."""
    from concurrent.futures import ThreadPoolExecutor

    service = serve("python -m http.server {port}")
    with ThreadPoolExecutor(1) as pool:
        url = pool.submit(service.__enter__).result()
    time.sleep(0.2)
    assert get(url).status_code == 200
    service.__exit__(None, None, None)
    assert refused(url)


def test_time_that_stands_still(shop: Path) -> None:
    """A test that freezes time starts services all the same."""
    import freezegun

    with freezegun.freeze_time("2020-01-01"), serve("hello_asgi:app", ready="/") as url:
        assert get(url).text == "asgi"


GO = """package main
import ("net/http"; "os")
func main() {
    http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("go")) })
    panic(http.ListenAndServe(":"+os.Args[1], nil))
}
"""
NODE = (
    "require('http').createServer((request, response) => response.end('node')).listen(+process.env.PORT, '127.0.0.1')"
)


@needs("go")
def test_a_go_program(tmp_path: Path) -> None:
    """`go run` starts a child, which ends, too."""
    (tmp_path / "main.go").write_text(GO)
    with serve("go run main.go {port}", cwd=tmp_path, timeout="2m", env={"GOFLAGS": "-mod=mod"}) as url:
        assert get(url).text == "go"
    assert refused(url)


@needs("node")
def test_a_node_program() -> None:
    with serve(["node", "-e", NODE], env={"PORT": "{port}"}) as url:
        assert get(url).text == "node"
    assert refused(url)


def test_a_long_command_is_shortened() -> None:
    assert repr(serve("server {port} " + "x" * 200)) == f"<Service server {{port}} {'x' * 85}…>"
