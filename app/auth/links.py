"""Addresses in messages: the host comes from settings, never from the request (AT-090)."""

from __future__ import annotations

from typing import Any

from flask import current_app, has_request_context, request, url_for

from ..core.errors import Misconfigured
from .settings import AuthSettings

_LOCAL = {"127.0.0.1", "localhost", "[::1]"}


def public_url(endpoint: str, **values: Any) -> str:
    """Return the absolute public address of `endpoint`.

    Without IAM_BASE_URL only a loopback address is taken from the request, for
    development. Raises Misconfigured otherwise.
    """
    base = AuthSettings.current().IAM_BASE_URL.rstrip("/")
    return (base or _loopback()) + _path(endpoint, values)


def _path(endpoint: str, values: dict[str, Any]) -> str:
    if has_request_context():
        return url_for(endpoint, _external=False, **values)
    with current_app.test_request_context():
        return url_for(endpoint, _external=False, **values)


def _loopback() -> str:
    if has_request_context() and request.host.rpartition(":")[0] in _LOCAL | {""}:
        return request.host_url.rstrip("/")
    if has_request_context() and request.host in _LOCAL:
        return request.host_url.rstrip("/")
    if not has_request_context():
        return "http://127.0.0.1"
    raise Misconfigured("IAM_BASE_URL must be set: links in messages need a public address")
