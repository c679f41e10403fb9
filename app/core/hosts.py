"""A Host header that no server can have is refused before anything reads it.

The framework fails on some of them outside its own error handling, so the answer
would carry none of our headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?\Z")
_LONGEST = 259
_BODY = b"The Host header is not usable.\n"


class HostCheck:
    """WSGI middleware: 400 for an unusable Host header."""

    def __init__(self, app: WSGIApplication, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = list(headers.items())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the request on, or refuse it."""
        host = environ.get("HTTP_HOST", "")
        if not host or (len(host) <= _LONGEST and _HOST.match(host)):
            return self._app(environ, start_response)
        start_response(
            "400 Bad Request",
            [("Content-Type", "text/plain"), ("Content-Length", str(len(_BODY))), *self._headers],
        )
        return [_BODY]
