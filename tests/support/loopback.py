"""A loopback HTTP server for stand-ins of other services, whose answers can be made worse.

A subclass names its endpoints and answers honestly. `answers[endpoint]` puts another
`Answer` in place of the honest one, or a function that spoils it. Every request is counted
and kept. Bounded: one body, one wait and one trickle each have an end.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

HOST: Final = "127.0.0.1"
_MAX_BODY = 256 * 1024
_MAX_SECONDS = 20.0


@dataclass(frozen=True)
class Request:
    """One request as the server saw it; header names in lower case."""

    method: str
    path: str
    query_text: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """Return the query's parameters. Raises Refused where one comes twice."""
        return _single(self.query_text)

    @property
    def form(self) -> dict[str, str]:
        """Return the form's fields. Raises Refused for another type and for doubles."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise Refused(oauth_error("invalid_request", "not a form"))
        return _single(self.body.decode("utf-8", "replace"))

    @property
    def bearer(self) -> str:
        """Return the bearer token of the Authorization header, or nothing."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True)
class Answer:
    """One answer: bytes and text are sent as they are, anything else as JSON.

    `pace` is the pause before each byte, `wait` the pause before the first; `drop` closes
    the connection without a word.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    pace: float = 0.0
    wait: float = 0.0
    drop: bool = False

    @property
    def content(self) -> bytes:
        """Return the body's bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()

    @property
    def all_headers(self) -> dict[str, str]:
        """Return the headers, with the type that the body has unless another is named."""
        text = isinstance(self.body, str | bytes)
        kind = "text/html; charset=utf-8" if text else "application/json"
        return {"Content-Type": kind, "Cache-Control": "no-store", **self.headers}


Spoiled = Answer | Callable[[Answer], Answer]
"""What stands in for an honest answer, or makes it worse."""


class Refused(Exception):
    """A request that an honest server refuses, with its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def oauth_error(error: str, description: str = "", status: int = 400) -> Answer:
    """Return an error of a token endpoint (RFC 6749, 5.2)."""
    return Answer(status, {"error": error, "error_description": description})


HTML = Answer(200, "<!doctype html><title>Sign in to this network</title>")
NOT_JSON = Answer(200, b"{'this': is not JSON", {"Content-Type": "application/json"})
EMPTY = Answer(200, b"", {"Content-Type": "application/json"})
BROKEN = Answer(500, "<!doctype html><title>Internal Server Error</title>")
HUGE = Answer(200, b'"' + b"A" * (2 * 1024 * 1024) + b'"', {"Content-Type": "application/json"})
DEEP = Answer(200, b"[" * 100_000, {"Content-Type": "application/json"})
DROPPED = Answer(drop=True)
HANGING = Answer(wait=_MAX_SECONDS)


def slow(answer: Answer) -> Answer:
    """Send the honest answer byte by byte."""
    return replace(answer, pace=0.05)


def gzipped(answer: Answer) -> Answer:
    """Send the honest answer compressed, though nobody asked for that."""
    headers = {**answer.all_headers, "Content-Encoding": "gzip"}
    return replace(answer, body=gzip.compress(answer.content), headers=headers)


def redirect_to(url: str, status: int = 302) -> Answer:
    """Send whoever asks to another address."""
    return Answer(status, b"", {"Location": url})


class LoopbackServer:
    """An HTTP server on a free loopback port, in threads; a context manager."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.seen: list[tuple[str, Request]] = []
        self.answers: dict[str, Spoiled] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Return the base address, without a slash at its end."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def endpoint(self, request: Request) -> str | None:
        """Return the name of the endpoint that a request is for."""
        raise NotImplementedError

    def honest(self, endpoint: str, request: Request) -> Answer:
        """Answer as the published interface says. Raises Refused."""
        raise NotImplementedError

    def last(self, endpoint: str) -> Request:
        """Return the latest request to an endpoint."""
        return [request for name, request in self.seen if name == endpoint][-1]

    def answer(self, request: Request) -> Answer:
        """Count a request and answer it, spoiled where `answers` says so."""
        endpoint = self.endpoint(request) or "other"
        with self._lock:
            self.requests[endpoint] += 1
            self.seen.append((endpoint, request))
            spoiled = self.answers.get(endpoint)
            if isinstance(spoiled, Answer):
                return spoiled
            answer = self._honestly(endpoint, request)
        return spoiled(answer) if spoiled else answer

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[Any, bytes]:
        """Fetch an address of this server as a browser does, redirects left alone."""
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == self.url, "the address is another server's"
        connection = HTTPConnection(HOST, parts.port, timeout=_MAX_SECONDS)
        try:
            connection.request("GET", url.removeprefix(self.url), headers=dict(headers or {}))
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def _honestly(self, endpoint: str, request: Request) -> Answer:
        if endpoint == "other":
            return Answer(404, "<!doctype html><title>Not Found</title>")
        try:
            return self.honest(endpoint, request)
        except Refused as refusal:
            return refusal.answer

    def pause(self, seconds: float) -> bool:
        """Wait, but not beyond the server's end; return whether it ended."""
        return self._closing.wait(min(seconds, _MAX_SECONDS))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering: from now on nobody listens at this address. Twice is once."""
        if not self._closing.is_set():
            self._closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(_Handler):
            loopback = server

        return Handler


class _Handler(BaseHTTPRequestHandler):
    loopback: LoopbackServer
    timeout = _MAX_SECONDS

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = min(int(self.headers.get("Content-Length", 0)), _MAX_BODY)
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command or "", path, query, headers, self.rfile.read(length))
        answer = self.loopback.answer(request)
        if answer.wait and self.loopback.pause(answer.wait):
            return
        if answer.drop:
            self.close_connection = True
            return
        try:
            self._send(answer)
        except OSError:
            self.close_connection = True  # the client had seen enough

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.all_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        for piece in _pieces(answer):
            if answer.pace and self.loopback.pause(answer.pace):
                return
            self.wfile.write(piece)

    def log_message(self, *_: Any) -> None:
        """Stay silent: the log of a test shows our own lines only."""


def _pieces(answer: Answer) -> Iterable[bytes]:
    if not answer.pace:
        return [answer.content]
    bounded = answer.content[: int(_MAX_SECONDS / answer.pace)]
    return (bounded[at : at + 1] for at in range(len(bounded)))


def _single(text: str) -> dict[str, str]:
    """Read parameters, none of which may come twice (RFC 6749, 3.1 and 3.2)."""
    pairs = parse_qsl(text, keep_blank_values=True)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused(oauth_error("invalid_request", "a parameter came twice"))
    return found
