"""A real local server that speaks the breached-password range API, well or badly.

`BreachServer(mode=…)` is a context manager; `url` is its base address, `requests`
what it saw. Modes: ok, error, hang, garbage, oversized, empty, trickle.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


def corpus_digest(password: str) -> str:
    """Return the upper-case SHA-1 under which the corpus lists `password`."""
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


class BreachServer:
    """Knows `breached` passwords (each seen `count` times) and records its requests."""

    def __init__(
        self, breached: Iterable[str] = (), *, count: int = 42, mode: str = "ok", padding: int = 800
    ) -> None:
        self.mode = mode
        self.padding = padding
        self.rows = {corpus_digest(password): count for password in breached}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Return the base address, to be used as PASSWORD_BREACH_CHECK_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def body(self, prefix: str) -> bytes:
        """Return the answer of the current mode for one prefix."""
        if self.mode == "garbage":
            return b"<html><body>Sign in to this network</body></html>"
        if self.mode == "oversized":
            return b"A" * (2 * 1024 * 1024)
        if self.mode == "empty":
            return b""
        rows = {digest: n for digest, n in self.rows.items() if digest.startswith(prefix)}
        lines = [f"{digest[5:]}:{count}" for digest, count in rows.items()]
        return "\r\n".join([*lines, *self._padding(prefix)]).encode()

    def _padding(self, prefix: str) -> list[str]:
        return [f"{corpus_digest(prefix + str(n))[5:]}:0" for n in range(self.padding)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(server: BreachServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.path, dict(self.headers)))
            if server.mode == "hang":
                server.released.wait(30)
                return
            body = server.body(self.path.rpartition("/")[2])
            self.send_response(500 if server.mode == "error" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self._send(body)
            except OSError:
                return  # the client had seen enough, as it should

        def _send(self, body: bytes) -> None:
            step = 1 if server.mode == "trickle" else len(body) or 1
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                if server.mode == "trickle" and server.released.wait(0.1):
                    return

        def log_message(self, *args: object) -> None:
            return None

    return Handler
