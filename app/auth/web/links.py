"""Addresses in messages: the host comes from settings and tenants, never from a request (AT-090).

A link of a tenant lies at the tenant's own address. Where a browser is told to come back to
(redirect URIs, the origin of its keys), it is the address it came by, once that was found to be
a tenant's own; else the installation's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import current_app, has_request_context, request, url_for

from ...core.errors import Misconfigured, TenantContextMissing
from ...core.scoping import current_tenant_id
from ...tenancy import services_addresses as addresses
from ...tenancy.services_addresses import Place
from ..settings import AuthSettings
from ..webauthn.settings_webauthn import origin_of
from . import tenant_address
from .redirects import safe_next

_LOCAL = {"127.0.0.1", "localhost", "::1"}


def public_url(endpoint: str, **values: Any) -> str:
    """Return the absolute public address of `endpoint` for the tenant in scope.

    Without IAM_BASE_URL only a loopback address is taken from the request, for
    development. Raises Misconfigured otherwise.
    """
    place, (mount, path) = _place(), _path(endpoint, values)
    if place is None:
        return _base() + mount + path
    return _base_of(place) + mount + addresses.prefix_of(place) + path


def home_of(place: Place) -> str:
    """Return the address of a tenant, to be shown. Raises Misconfigured as `public_url` does."""
    return _base_of(place) + tenant_address.mount() + addresses.prefix_of(place)


def landing_at(place: Place) -> str:
    """Return where people of a tenant land, at its own address; a path where that is unknown."""
    landing = safe_next(AuthSettings.current().IAM_AFTER_LOGIN_URL) or "/"
    try:
        base = _base_of(place)
    except Misconfigured:
        base = ""
    mount = tenant_address.mount()
    return base + mount + addresses.prefix_of(place) + landing.removeprefix(mount)


def here_url(endpoint: str, **values: Any) -> str:
    """Return the absolute address of `endpoint` where this request came by, for its way back.

    Raises Misconfigured as `public_url` does.
    """
    mount, path = _path(endpoint, values)
    return (named_origin() or _base()) + mount + tenant_address.prefix() + path


def public_origin() -> str:
    """Return the origin of the address this request came by: what a browser calls this site.

    Raises Misconfigured as `public_url` does.
    """
    return origin_of(named_origin() or _base())


def public_host() -> str | None:
    """Return the host of that address, as messages name it; None where none is known."""
    return urlsplit(named_origin() or AuthSettings.current().IAM_BASE_URL).hostname


def named_origin() -> str:
    """Return the origin of this request's host where it was found to be a tenant's; "" otherwise.

    Scheme and port are those of the installation, not of the request.
    """
    wanted = tenant_address.named() if has_request_context() else None
    if wanted is None or (wanted.label is None and wanted.host is None):
        return ""
    if tenant_address.place() is None:  # nobody's host
        return ""
    host = addresses.canonical_host(request.host)
    return addresses.at_host(_base(), host) if host else ""


def _place() -> Place | None:
    try:
        return tenant_address.known_place(current_tenant_id())
    except TenantContextMissing:  # a job over all tenants
        return None


def _base_of(place: Place) -> str:
    try:
        return addresses.base_of(place, _base())
    except Misconfigured:  # without IAM_BASE_URL a host of the tenant's own is public as well
        if not place.host:
            raise
        return f"https://{place.host}"


def _base() -> str:
    return AuthSettings.current().IAM_BASE_URL.rstrip("/") or _loopback()


def _path(endpoint: str, values: dict[str, Any]) -> tuple[str, str]:
    """Return where the app lies and the path below it, without that of the request's tenant."""
    if has_request_context():
        path, mount = url_for(endpoint, _external=False, **values), tenant_address.mount()
        return mount, path.removeprefix(mount).removeprefix(tenant_address.prefix())
    with current_app.test_request_context():
        return "", url_for(endpoint, _external=False, **values)


def _loopback() -> str:
    if not has_request_context():
        return "http://127.0.0.1"
    if urlsplit(f"//{request.host}").hostname in _LOCAL:
        return request.host_url.rstrip("/").removesuffix(request.script_root)
    raise Misconfigured("IAM_BASE_URL must be set: links in messages need a public address")
