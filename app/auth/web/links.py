"""Addresses in messages: the host comes from settings, never from the request (AT-090)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import current_app, has_request_context, request, url_for

from ...core.errors import Misconfigured
from ..settings import AuthSettings
from ..webauthn.settings_webauthn import origin_of

_LOCAL = {"127.0.0.1", "localhost", "::1"}


def public_url(endpoint: str, **values: Any) -> str:
    """Return the absolute public address of `endpoint`.

    Without IAM_BASE_URL only a loopback address is taken from the request, for
    development. Raises Misconfigured otherwise.
    """
    base = AuthSettings.current().IAM_BASE_URL.rstrip("/")
    return (base or _loopback()) + _path(endpoint, values)


def public_origin() -> str:
    """Return the origin of the public address: what a browser there calls this site.

    Raises Misconfigured as `public_url` does.
    """
    return origin_of(AuthSettings.current().IAM_BASE_URL or _loopback())


def public_host() -> str | None:
    """Return the host of the public address, as messages name it; None where none is known."""
    return urlsplit(AuthSettings.current().IAM_BASE_URL).hostname


def _path(endpoint: str, values: dict[str, Any]) -> str:
    if has_request_context():
        return url_for(endpoint, _external=False, **values)
    with current_app.test_request_context():
        return url_for(endpoint, _external=False, **values)


def _loopback() -> str:
    if not has_request_context():
        return "http://127.0.0.1"
    if urlsplit(f"//{request.host}").hostname in _LOCAL:
        return request.host_url.rstrip("/")
    raise Misconfigured("IAM_BASE_URL must be set: links in messages need a public address")
