"""Connections, found: by slug, by default, by domain, for the sign-in page.

Changing them is `services_connection_admin.py`. What is disabled does not exist here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ...audit import events
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import system_actor
from ...core.crypto import keyring
from ...core.db import session, transaction
from ...core.errors import NotFound
from ...core.ids import new_id
from ...core.scoping import current_tenant_id
from ...tenancy.models import IAMDomain
from ...tenancy.services_tenants import default_tenant_id
from ..models import IAMSsoConnection
from ..providers import providers
from .configured import Configured, configured
from .connection import Connection
from .errors_sso import SsoRefused
from .settings_sso import SsoSettings

_C = IAMSsoConnection


@dataclass(frozen=True, slots=True)
class Offer:
    """A button on the sign-in page."""

    slug: str
    name: str
    provider: str


def offered() -> list[Offer]:
    """Return the enabled connections of this tenant, the default one first; one query."""
    rows = list(session().scalars(select(_C).order_by(_C.is_default.desc(), _C.name)))
    by_settings = _by_settings()
    found = [
        Offer(row.slug, row.name, row.provider) for row in rows if _is_usable(row, by_settings)
    ]
    known = {row.slug for row in rows}
    found += [
        Offer(item.provider, item.name, item.provider)
        for item in by_settings.values()
        if item.provider not in known
    ]
    return found


def find(slug: str) -> Connection:
    """Return an enabled connection. Raises NotFound."""
    row = session().scalar(select(_C).where(_C.slug == slug))
    if row is None and slug in _by_settings():
        row = _adopt(slug)
    return _usable([row] if row is not None else [])


def get(connection_id: UUID) -> Connection:
    """Return an enabled connection by its id. Raises NotFound."""
    return _usable(session().scalars(select(_C).where(_C.id == connection_id)))


def default() -> Connection:
    """Return the connection of `/auth/sso/login`: the default one, or the only one.

    Raises NotFound where neither is there.
    """
    offers = offered()
    row = session().scalar(select(_C).where(_C.is_default.is_(True), _C.enabled.is_(True)))
    if row is not None:
        return find(row.slug)
    if len(offers) != 1:
        raise NotFound
    return find(offers[0].slug)


def for_domain(name: str) -> Connection | None:
    """Return the connection that signs in the people of a verified domain of this tenant."""
    found = session().scalar(select(IAMDomain.connection_id).where(IAMDomain.verified_name == name))
    try:
        return get(found) if found is not None else None
    except NotFound:
        return None


def has_domains() -> bool:
    """Return whether an e-mail address can lead to a connection of this tenant; one query."""
    query = select(IAMDomain.id).where(
        IAMDomain.verified_name.is_not(None), IAMDomain.connection_id.is_not(None)
    )
    return session().scalar(query.limit(1)) is not None


def hold(connection: Connection, *, alone: bool = False) -> None:
    """Hold a connection while a transaction lets somebody in by it.

    Whoever disables it waits, and then ends that session too. Shared, but for first sign-ins:
    those follow one another (`alone`), and a shared lock could not become theirs. Raises
    SsoRefused where it was disabled meanwhile.
    """
    enabled = session().scalar(
        select(_C.enabled).where(_C.id == connection.id).with_for_update(read=not alone)
    )
    if enabled is None or (connection.enabled and not enabled):
        raise SsoRefused("connection_disabled")


def adopt_configured() -> None:
    """Make the rows of the connections that the settings set up; owns its transactions."""
    known = set(session().scalars(select(_C.slug)))
    for provider in _by_settings():
        if provider not in known:
            _adopt(provider)


def as_value(row: IAMSsoConnection) -> Connection | None:
    """Return a row, enabled or not, ready to use; None where its settings are gone."""
    source = _by_settings().get(row.provider) if row.from_settings else None
    if row.provider not in providers() or (row.from_settings and source is None):
        return None
    return Connection(
        id=row.id,
        tenant_id=row.tenant_id,
        slug=row.slug,
        provider=row.provider,
        name=row.name,
        enabled=row.enabled,
        is_default=row.is_default,
        client_id=source.client_id if source else row.client_id or "",
        client_secret=source.client_secret if source else _secret(row),
        discovery_url=(source.discovery_url if source else row.discovery_url) or None,
        endpoints=_endpoints(row, source),
        scopes=tuple(row.scopes),
        options={**row.options, **(source.options if source else {})},
        attributes=row.attributes,
        jit=row.jit,
        trusts_mfa=row.trusts_mfa,
        # The operator has the last word, also about connections that are there already.
        allow_private=row.allow_private and SsoSettings.current().SSO_ALLOW_PRIVATE,
        end_sessions=row.end_sessions,
        provider_logout=row.provider_logout,
    )


def secret_context(connection_id: UUID) -> str:
    """Return what a connection's secret is encrypted for."""
    return f"sso_connection.client_secret:{connection_id.hex}"


def _usable(rows: Iterable[IAMSsoConnection]) -> Connection:
    for row in rows:
        value = as_value(row) if row.enabled else None
        if value is not None:
            return value
    raise NotFound


def _is_usable(row: IAMSsoConnection, by_settings: dict[str, Configured]) -> bool:
    known = row.provider in providers()
    return row.enabled and known and (not row.from_settings or row.provider in by_settings)


def _by_settings() -> dict[str, Configured]:
    """Return what the settings set up, in the tenant it belongs to."""
    found = configured()
    return found if found and current_tenant_id() == default_tenant_id() else {}


def _adopt(provider: str) -> IAMSsoConnection | None:
    settings, at = SsoSettings.current(), clock.now()
    try:
        with transaction():
            row = IAMSsoConnection(
                id=new_id(),
                slug=provider,
                provider=provider,
                name=_by_settings()[provider].name,
                enabled=True,
                from_settings=True,
                jit=settings.SSO_JIT,
                allow_private=settings.SSO_ALLOW_PRIVATE,
                created_at=at,
                updated_at=at,
            )
            session().add(row)
            session().flush()
            actor = system_actor(current_tenant_id(), "settings")
            record(
                events.SSO_CONNECTION_CREATED,
                resource=row,
                actor=actor,
                connection=provider,
                provider=provider,
            )
    except IntegrityError:  # somebody else was first
        session().rollback()
    return session().scalar(select(_C).where(_C.slug == provider))


def _secret(row: IAMSsoConnection) -> str:
    if not row.client_secret:
        return ""
    return keyring().decrypt(row.client_secret, secret_context(row.id)).decode()


def _endpoints(row: IAMSsoConnection, source: Configured | None) -> dict[str, str]:
    own = SsoSettings.current().SSO_ENDPOINTS.get(row.provider, {}) if source else {}
    return {**own, **row.endpoints}
