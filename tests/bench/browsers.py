"""A WSGI caller that costs next to nothing, so that what is measured is the application."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import create_environ

_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def token_of(page: str) -> str:
    """Return the form token of a page."""
    found = _TOKEN.search(page)
    if found is None:
        raise RuntimeError("the page has no form token")
    return found.group(1)


def cookies_of(client: FlaskClient) -> str:
    """Return the Cookie header that the client would send."""
    jar = client._cookies.values()
    return "; ".join(f"{item.key}={item.value}" for item in jar)


def requester(
    app: Flask,
    path: str,
    *,
    cookie: str = "",
    form: dict[str, str] | None = None,
    data: dict[str, Any] | None = None,
    token: str = "",
    address: str = "127.0.0.1",
    expected: int = 200,
) -> Callable[[], None]:
    """Return a function that sends this request and raises unless it is answered as expected.

    `form` is sent as a form, `data` as JSON with `token` as the form token.
    """
    body = json.dumps(data).encode() if data else urlencode(form or {}).encode()
    environ = create_environ(
        path,
        method="POST" if form or data else "GET",
        headers={"Cookie": cookie, "User-Agent": AGENT, "X-CSRFToken": token},
        environ_base={"REMOTE_ADDR": address},
    )
    if form or data:
        kind = "application/json" if data else "application/x-www-form-urlencoded"
        environ["CONTENT_TYPE"] = kind
        environ["CONTENT_LENGTH"] = str(len(body))

    def send() -> None:
        status = 0

        def start_response(line: str, _headers: Any, _error: Any = None) -> Any:
            nonlocal status
            status = int(line[:3])

        answer: Any = app.wsgi_app({**environ, "wsgi.input": BytesIO(body)}, start_response)
        b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        if status != expected:
            raise RuntimeError(f"{path} answered {status}, not {expected}")

    return send


AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
