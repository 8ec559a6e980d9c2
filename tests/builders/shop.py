"""A shop with logins, for journeys: what a client does is checked as a real service would."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from http import HTTPStatus
from typing import Any, Self


class Shop:
    """Lets users log in, look at items and order.

    ``POST /login`` takes ``{"user": …}`` and gives a token, and a cookie; both are valid for `token_life` seconds.
    ``GET /cart`` wants the token, ``GET /me`` the cookie. ``POST /orders`` gives back its body with ``"accepted"``.
    ``/items/N`` is found, ``/status/N`` answers with that status, ``/delay/S`` after S seconds, ``/moved`` leads to
    ``/items/1``, and ``/silent`` never answers.
    """

    def __init__(self, token_life: float = 60) -> None:
        self.token_life = token_life
        self.logins: Counter[Any] = Counter()
        """How often each user logged in."""
        self.requests: Counter[str] = Counter()
        """How often each method and path was asked for."""
        self.connections = 0
        self._tokens: dict[str, tuple[Any, float]] = {}
        self._ready = threading.Event()
        self._answering: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1000)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        # A connection accepted just now gets its task in the loop's next rounds, and is lost if the server is closed
        # before. What is left open here would be reported in another test.
        self._loop.remove_reader(server.sockets[0].fileno())
        for _ in range(5):
            await asyncio.sleep(0)
        server.close()
        for writer, task in self._answering.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*self._answering.values(), return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in self._answering), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answering[writer] = asyncio.create_task(self._answer_all(reader, writer))

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = head[0].split(" ")
                self.requests[f"{method} {path}"] += 1
                status, more, content = await self._answer(method, path, headers, body)
                lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(content)}", *more]
                writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else content))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[str], bytes]:
        path = path.partition("?")[0]
        first, _, second = path.strip("/").partition("/")
        if (method, path) == ("POST", "/login"):
            user = json.loads(body)["user"]
            self.logins[user] += 1
            token = f"token-{user}"
            self._tokens[token] = user, time.monotonic() + self.token_life
            return 200, [f"Set-Cookie: session={token}; Path=/"], json.dumps({"token": token}).encode()
        if path in {"/cart", "/me"}:
            given = headers.get("authorization", "").removeprefix("bearer ")
            if path == "/me":
                given = headers.get("cookie", "").removeprefix("session=")
            user, until = self._tokens.get(given, (None, 0.0))
            if time.monotonic() > until:
                return 401, [], b'{"error": "log in first"}'
            return 200, [], json.dumps({"user": user, "items": [1, 2]}).encode()
        if (method, path) == ("POST", "/orders"):
            return 201, [], json.dumps({"accepted": True, "order": json.loads(body)}).encode()
        if first == "delay":
            await asyncio.sleep(float(second))
        if first == "silent":
            await asyncio.sleep(3600)  # which, unlike an event that nobody keeps, is not collected
        status = {"status": second, "moved": "302"}.get(first, "200")
        return int(status), ["Location: /items/1"] * (first == "moved"), json.dumps({"path": path}).encode()
