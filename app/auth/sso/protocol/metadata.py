"""Where a provider answers and how it signs (OpenID Connect Discovery 1.0, RFC 8414).

Keeps each document an hour, up to a day while the provider is away. A document that
names another issuer is refused and not kept (AT-183). A connection's own addresses win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ....core import clock
from ..connection import Connection, Metadata
from ..errors_sso import SsoRefused, SsoUnavailable
from . import keys
from .kept import Kept
from .transport import checked_url, get_json

WELL_KNOWN = "/.well-known/openid-configuration"
FRESH = timedelta(hours=1)
STALE = timedelta(hours=24)
# While a provider is away nobody waits for it at each sign-in.
RETRY = timedelta(minutes=1)
PAUSE = timedelta(seconds=10)
_COMPLETE = {"issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"}


@dataclass(frozen=True, slots=True)
class _Document:
    content: Mapping[str, Any]
    fetched_at: datetime
    tried_at: datetime


_documents: Kept[_Document] = Kept()
_failures: Kept[datetime] = Kept()


def discover(connection: Connection, url: str, *, issuer: str | None = None) -> Metadata:
    """Return what the discovery document at `url` says, with the connection's own addresses.

    `issuer` is what the document must call itself, where that is not what `url` implies or
    the connection names. Nothing is fetched where the connection has every address itself.
    Raises SsoRefused for another issuer, SsoUnavailable for what cannot be used.
    """
    if {name for name, value in connection.endpoints.items() if value} >= _COMPLETE:
        return from_addresses(connection, connection.endpoints)
    issuers = _issuers(connection, url, issuer)
    kept, now = _documents.get(connection.id, url), clock.now()
    if kept is not None and now - kept.fetched_at >= STALE:
        kept = None
    if kept is not None and (now - kept.fetched_at < FRESH or now - kept.tried_at < RETRY):
        return _understood(connection, kept.content, issuers)
    if kept is None and _has_just_failed(connection, url, now):
        raise SsoUnavailable("unreachable")
    try:
        content = _fetched(connection, url)
    except SsoUnavailable:
        _failures.put(connection.id, url, now)
        if kept is None:
            raise
        _documents.put(connection.id, url, replace(kept, tried_at=now))
        return _understood(connection, kept.content, issuers)
    found = _understood(connection, content, issuers)
    _documents.put(connection.id, url, _Document(content, now, now))
    return found


def _has_just_failed(connection: Connection, url: str, now: datetime) -> bool:
    # Else everybody who clicks would wait for it, and hold a thread each.
    failed = _failures.get(connection.id, url)
    return failed is not None and timedelta() <= now - failed < PAUSE


def from_addresses(connection: Connection, content: Mapping[str, Any]) -> Metadata:
    """Return metadata of addresses by their names. Raises SsoUnavailable for a bad one."""
    told = {**content, **{name: value for name, value in connection.endpoints.items() if value}}

    def address(name: str) -> str | None:
        return checked_url(connection, told[name]) if told.get(name) is not None else None

    return Metadata(
        issuer=str(told["issuer"]),
        authorization_endpoint=checked_url(connection, told.get("authorization_endpoint")),
        token_endpoint=checked_url(connection, told.get("token_endpoint")),
        userinfo_endpoint=address("userinfo_endpoint"),
        jwks_uri=address("jwks_uri"),
        end_session_endpoint=_usable(connection, told.get("end_session_endpoint")),
        algorithms=_texts(told.get("id_token_signing_alg_values_supported")),
        token_auth_methods=_texts(told.get("token_endpoint_auth_methods_supported"))
        or ("client_secret_basic",),
        iss_parameter=told.get("authorization_response_iss_parameter_supported") is True,
    )


def _usable(connection: Connection, url: object) -> str | None:
    # Nobody must be kept from signing in by an address that is for signing out.
    try:
        return checked_url(connection, url)
    except SsoUnavailable:
        return None


def forget(connection_id: UUID) -> None:
    """Drop what is kept of a connection's provider, its keys included."""
    _documents.forget(connection_id)
    _failures.forget(connection_id)
    keys.forget(connection_id)


def _fetched(connection: Connection, url: str) -> dict[str, Any]:
    content = get_json(connection, url)
    if not isinstance(content, dict):
        raise SsoUnavailable("not_json")
    return content


def _issuers(connection: Connection, url: str, issuer: str | None) -> tuple[str, ...]:
    exact = issuer or connection.endpoints.get("issuer")
    if exact:
        return (exact,)
    implied, found, rest = url.rpartition(WELL_KNOWN)
    if not found or rest:
        raise SsoUnavailable("discovery_url")
    # Discovery 4.1: a slash at the end of an issuer is removed before the path is added, so
    # two issuers have this address. Tokens are held against the one that the document names.
    return implied, f"{implied}/"


def _understood(
    connection: Connection, content: Mapping[str, Any], issuers: tuple[str, ...]
) -> Metadata:
    if content.get("issuer") not in issuers:
        raise SsoRefused("discovery_issuer")
    own = {name: value for name, value in connection.endpoints.items() if name != "issuer"}
    return from_addresses(replace(connection, endpoints=own), content)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
