"""Connections, managed: made, changed, enabled, disabled, deleted, and listed for people.

A secret goes in and never comes out. Whoever sends it elsewhere must know it. Where answers come
from is fixed once people, rules or domains depend on it: another address could speak for them.
What the settings of the installation set up keeps its provider, client and addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from ....audit import events
from ....audit.services_audit import changes_of, record
from ....authz import services_mapped_roles
from ....authz.grants import Grants
from ....core import clock
from ....core.actor import Actor
from ....core.crypto import keyring
from ....core.db import after_commit, session
from ....core.errors import Conflict, InvalidInput, NotFound
from ....core.i18n import N_
from ....core.ids import new_id
from ....tenancy import services_domains
from ...models import (
    IAMDomain,
    IAMSsoConnection,
    IAMSsoFlow,
    IAMSsoLogoutToken,
    IAMSsoRoleRule,
    IAMSsoSession,
    IAMUserIdentity,
)
from ...providers import providers
from .. import services_identities, services_role_rules, services_sso_sessions
from ..configured import configured
from ..protocol import metadata
from ..services_connections import adopt_configured, secret_context
from ..settings_sso import SsoSettings
from .connection_values import (
    Values,
    check_secret,
    check_slug,
    checked_flags,
    checked_protocol,
)

_C = IAMSsoConnection
_OF_CONNECTION: tuple[Any, ...] = (
    IAMSsoFlow,
    IAMSsoLogoutToken,
    IAMSsoSession,
    IAMUserIdentity,
    IAMSsoRoleRule,
)
# A change of these sends the secret somewhere else, or in another's name.
_WHERE_FROM = {"discovery_url", "endpoints"}
_WHERE_TO = ("client_id", "discovery_url", "endpoints", "options")


@dataclass(frozen=True, slots=True)
class Use:
    """How many people are linked to a connection, and when one of them came last."""

    people: int = 0
    last_login_at: datetime | None = None


def connections() -> list[IAMSsoConnection]:
    """Return every connection of this tenant, those of the settings included; by name."""
    adopt_configured()
    return list(session().scalars(select(_C).order_by(_C.is_default.desc(), _C.name, _C.id)))


def uses() -> dict[UUID, Use]:
    """Return the use of each connection of this tenant that has any; one query."""
    people = IAMUserIdentity
    query = select(
        people.connection_id,
        func.count(func.distinct(people.user_id)),
        func.max(people.last_login_at),
    ).group_by(people.connection_id)
    return {row[0]: Use(row[1], row[2]) for row in session().execute(query)}


def get_connection(connection_id: UUID | None) -> IAMSsoConnection:
    """Return one connection, enabled or not. Raises NotFound."""
    found = session().scalar(select(_C).where(_C.id == connection_id))
    if found is None:
        raise NotFound
    return found


def create(
    provider: str, slug: str, values: Values, *, client_secret: str, actor: Actor
) -> IAMSsoConnection:
    """Set a connection up, disabled until somebody has looked at its test.

    Raises InvalidInput, Conflict.
    """
    if provider not in providers():
        raise InvalidInput(field="provider")
    if slug in configured():  # else it would hide what the settings set up, and be taken for it
        raise _taken()
    chosen = _checked(provider, values)
    at, row_id = clock.now(), new_id()
    row = _C(
        id=row_id,
        slug=check_slug(slug),
        provider=provider,
        client_secret=_sealed(row_id, check_secret(client_secret)),
        secret_changed_at=at,
        created_by=actor.user_id,
        created_at=at,
        updated_at=at,
        **chosen,
    )
    try:
        with session().begin_nested():
            session().add(row)
    except IntegrityError:
        raise _taken() from None
    changes = changes_of({}, {"slug": row.slug, "provider": provider, **chosen})
    record(
        events.SSO_CONNECTION_CREATED,
        resource=row,
        changes=changes,
        actor=actor,
        connection=row.slug,
        provider=provider,
    )
    return row


def change(
    row: IAMSsoConnection,
    values: Values,
    *,
    client_secret: str = "",
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    """Change a connection.

    Raises InvalidInput, also where a new address lacks the secret, Conflict where that address
    would speak for people known here, Forbidden where the acting person could not give the
    roles that are at stake.
    """
    chosen = (
        checked_flags(values, may_be_private=_may_be_private())
        if row.from_settings
        else _checked(row.provider, values)
    )
    before = {name: getattr(row, name) for name in chosen}
    if _leads_elsewhere(before, chosen) and not client_secret:
        raise InvalidInput(
            N_("Enter the secret again: it goes to the new address"), field="client_secret"
        )
    _guard(row, {name for name in chosen if before[name] != chosen[name]}, actor_grants, actor)
    if _leads_elsewhere(before, chosen):
        # What is under way was asked of the old address, and must not be told to the new one.
        session().execute(sql_delete(IAMSsoFlow).where(IAMSsoFlow.connection_id == row.id))
    for name, value in chosen.items():
        setattr(row, name, value)
    if client_secret:
        rotate_secret(row, client_secret, actor=actor)
    changes = changes_of(before, chosen)
    if changes:
        _changed(row, events.SSO_CONNECTION_CHANGED, actor, changes)


def rotate_secret(row: IAMSsoConnection, client_secret: str, *, actor: Actor) -> None:
    """Replace the secret at once. Raises InvalidInput, Conflict for one from the settings."""
    if row.from_settings:
        raise _from_settings()
    row.client_secret = _sealed(row.id, check_secret(client_secret))
    row.secret_changed_at = clock.now()
    _changed(row, events.SSO_SECRET_ROTATED, actor, {})


def enable(row: IAMSsoConnection, *, actor: Actor) -> None:
    """Offer a connection on the sign-in page."""
    if row.enabled:
        return
    row.enabled = True
    _changed(row, events.SSO_CONNECTION_ENABLED, actor, {"enabled": [False, True]})


def disable(row: IAMSsoConnection, *, actor: Actor) -> int:
    """Close a connection at once; end its sessions where its policy says so. Return how many."""
    if not row.enabled:
        return 0
    row.enabled = row.is_default = False
    row.updated_at = clock.now()
    session().flush()  # first, so that no sign-in through it comes after the sessions ended
    ended = services_sso_sessions.end_of_connection(row.id, actor=actor) if row.end_sessions else 0
    record(
        events.SSO_CONNECTION_DISABLED,
        resource=row,
        changes={"enabled": [True, False]},
        actor=actor,
        connection=row.slug,
        provider=row.provider,
        count=ended,
    )
    return ended


def make_default(row: IAMSsoConnection, *, actor: Actor) -> None:
    """Make a connection the one of `/auth/sso/login`. Raises Conflict for a disabled one."""
    if not row.enabled:
        raise Conflict(N_("Enable the connection first"), code="sso.disabled")
    if row.is_default:
        return
    session().execute(
        select(_C.id).order_by(_C.id).with_for_update()
    )  # one default, also in a race
    session().execute(update(_C).where(_C.id != row.id).values(is_default=False))
    row.is_default = True
    _changed(row, events.SSO_CONNECTION_CHANGED, actor, {"is_default": [False, True]})


def delete(
    row: IAMSsoConnection, *, typed_name: str, actor_grants: Grants | None, actor: Actor
) -> int:
    """Delete a connection with its identities, rules and the roles that its rules gave.

    Its sessions end where its policy says so. Returns how many people were linked to it.
    Raises InvalidInput where `typed_name` is not its name, Conflict for one from the settings,
    Forbidden where the acting person could not give those roles.
    """
    if row.from_settings:
        raise _from_settings()
    if typed_name != row.name:
        raise InvalidInput(N_("That is not the name of the connection"), field="name")
    services_role_rules.guard_roles_by(row.id, actor_grants=actor_grants, actor=actor)
    row.enabled = False
    session().flush()  # held from here on: no sign-in through it comes after what follows
    row_id, people = row.id, people_of(row.id)
    if row.end_sessions:
        services_sso_sessions.end_of_connection(row_id, actor=actor)
    services_mapped_roles.end_of_connection(row_id, actor=actor)
    for domain in session().scalars(select(IAMDomain).where(IAMDomain.connection_id == row_id)):
        services_domains.choose_connection(domain, None, actor=actor)
    record(
        events.SSO_CONNECTION_DELETED,
        resource=row,
        changes={"slug": [row.slug, None], "name": [row.name, None]},
        actor=actor,
        connection=row.slug,
        provider=row.provider,
        count=people,
    )
    session().flush()
    for model in _OF_CONNECTION:
        session().execute(sql_delete(model).where(model.connection_id == row_id))
    session().delete(row)
    session().flush()
    after_commit(lambda: metadata.forget(row_id))
    return people


def people_of(connection_id: UUID) -> int:
    """Return how many people are linked to a connection."""
    counted = func.count(func.distinct(IAMUserIdentity.user_id))
    query = select(counted).where(IAMUserIdentity.connection_id == connection_id)
    return session().scalar(query) or 0


def _checked(provider: str, values: Values) -> dict[str, object]:
    form = providers().get(provider).form
    flags = checked_flags(values, may_be_private=_may_be_private())
    return {**flags, **checked_protocol(values, form)}


def _may_be_private() -> bool:
    return SsoSettings.current().SSO_ALLOW_PRIVATE


def _guard(
    row: IAMSsoConnection, changed: set[str], actor_grants: Grants | None, actor: Actor
) -> None:
    if changed & _WHERE_FROM and _is_relied_on(row.id):
        raise Conflict(
            N_(
                "People, rules or domains depend on where this connection leads. "
                "Set up another connection for the new address"
            ),
            code="sso.in_use",
        )
    if changed & {"client_id", "options"}:
        # Another client or tenant of the provider says other things of people.
        services_role_rules.guard_roles_by(row.id, actor_grants=actor_grants, actor=actor)
    if "options" in changed or ("trusts_mfa" in changed and not row.trusts_mfa):
        # Their second step would be the provider's to tell of.
        services_identities.guard_roles_of(row.id, actor_grants=actor_grants, actor=actor)


def _is_relied_on(connection_id: UUID) -> bool:
    return any(
        session().scalar(select(model.id).where(model.connection_id == connection_id).limit(1))
        is not None
        for model in (IAMUserIdentity, IAMSsoRoleRule, IAMDomain)
    )


def _leads_elsewhere(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return any(name in after and before[name] != after[name] for name in _WHERE_TO)


def _sealed(row_id: UUID, secret: str) -> str:
    return keyring().encrypt(secret.encode(), secret_context(row_id))


def _changed(
    row: IAMSsoConnection, event: events.Event, actor: Actor, changes: Mapping[str, Any]
) -> None:
    row.updated_at = clock.now()
    session().flush()
    row_id = row.id
    after_commit(lambda: metadata.forget(row_id))
    record(
        event,
        resource=row,
        changes=changes,
        actor=actor,
        connection=row.slug,
        provider=row.provider,
    )


def _taken() -> Conflict:
    return Conflict(
        N_("Another connection has this short name"), code="sso.slug_taken", field="slug"
    )


def _from_settings() -> Conflict:
    return Conflict(
        N_("The settings of the installation hold this connection. Change it there."),
        code="sso.from_settings",
    )
