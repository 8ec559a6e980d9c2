"""A service that records the requests that it gets."""

from __future__ import annotations

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Recorder:
    """Answers ``/status/404`` with that status, ``/stream/0.2`` in two parts, and everything else with its body.

    ``/chunked/0.2`` and ``/events/0.2`` (server-sent events) come in two chunks.
    Bodies are sent back; without one the response is "fine".
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, bytes]] = Counter()
        """How often each request came: method, path with query, and body."""
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with recorder._lock:
                    recorder.requests[self.command, self.path, body] += 1
                kind, _, value = self.path.strip("/").partition("/")
                self.send_response(int(value) if kind == "status" else 200)
                content = b"" if self.command == "HEAD" else body or b"fine"
                if kind in ("chunked", "events"):
                    self.send_chunks(kind, float(value))
                    return
                self.send_header("Content-Length", str(len(content) + (kind == "stream")))
                self.end_headers()
                if kind == "stream":
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(float(value))
                self.wfile.write(content)
                self.wfile.flush()

            def send_chunks(self, kind: str, pause: float) -> None:
                self.send_header("Transfer-Encoding", "chunked")
                self.send_header("Content-Type", "text/event-stream" if kind == "events" else "text/plain")
                self.end_headers()
                for chunk in (b"data: 1\n\n", b"data: 2\n\n", b""):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                    self.wfile.flush()
                    if chunk.endswith(b"1\n\n"):
                        time.sleep(pause)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.handle_any
                raise AttributeError(name)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        class Service(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: Any) -> None:
                """Say nothing of clients that end without reading."""

        self._lock = threading.Lock()
        self._server = Service(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def paths(self) -> Counter[str]:
        """How often each path was asked for."""
        found: Counter[str] = Counter()
        for (_, path, _), count in self.requests.items():
            found[path] += count
        return found

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
