"""nginx with one process on one core: a service that is faster than most generators."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme

from benchmarks import machine

# A single process that is its own worker, so that killing it leaves nothing behind.
_CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr crit;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/cert.pem;
        default_type application/json;
        location / {{ default_type text/plain; return 200 "hello world\\n"; }}
        location = /login {{ return 200 '{{"user": 1, "token": "2f1b7c9e04d84f6a"}}'; }}
        location /items {{ return 200 '{{"items": [{{"id": 1, "name": "tea", "price": 3.5}}, {{"id": 2}}]}}'; }}
        location = /cart {{ return 200 '{{"cart": [{{"id": 1, "count": 2}}], "total": 7.0}}'; }}
    }}
}}
"""


class Addresses(NamedTuple):
    """Where the service is."""

    http: str
    https: str


@contextmanager
def running() -> Iterator[Addresses]:
    """Run nginx on free ports."""
    if not (program := shutil.which("nginx")):
        raise SystemExit("This benchmark needs nginx on PATH: install it (apt install nginx).")
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        http, https = _free_ports(2)
        trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "cert.pem")
        config = folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=folder, http=http, https=https), encoding="utf-8")
        with machine.on(machine.SERVICE):
            process = subprocess.Popen([program, "-e", "stderr", "-p", name, "-c", str(config)])
        try:
            _wait_for(http, process)
            yield Addresses(f"http://127.0.0.1:{http}/", f"https://127.0.0.1:{https}/")
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise SystemExit(f"nginx ended at once, with exit status {process.returncode}.")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("nginx did not accept connections within 5 s.")
