"""Identities of other services: found, linked to accounts, unlinked (G3, G5).

An identity is (connection, issuer, subject) and nothing else: addresses and names change
hands (AT-192, AT-196). Every link and unlink is told to the person and audited; the last
way in stays. Who may be linked to whom without asking is `services_sso_accounts`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Delete, delete, select
from sqlalchemy.exc import IntegrityError

from ...audit import events
from ...audit.services_audit import record
from ...authz import services_mapped_roles
from ...authz.grants import Grants
from ...authz.models import IAMUserRole
from ...core import clock
from ...core.actor import Actor
from ...core.crypto import token_digest
from ...core.db import session
from ...core.errors import Conflict, Forbidden, InvalidInput, NotFound
from ...core.i18n import _, speaking
from ...core.ids import new_id
from ...notify import messages_sso
from ...notify.messages import Message
from ...risk import services_devices
from ..accounts import services_notices, services_ways_in
from ..identity import check_display_name, check_email
from ..mfa import services_recovery_codes
from ..models import IAMSsoConnection, IAMSsoSession, IAMUserAccount, IAMUserIdentity
from ..passwords import services_links
from ..sessions import services_sessions
from ..web.links import public_url
from . import services_connections, services_sso_flow
from .connection import Connection
from .errors_sso import SsoRefused
from .userinfo import UserInfo

# How an identity came to an account.
ACCOUNT, CONFIRMED, DOMAIN, INVITATION, CREATED = (
    "account", "confirmed", "domain", "invitation", "created",
)  # fmt: skip
MAX_ISSUER, MAX_SUBJECT, MAX_LABEL = 500, 255, 120
MOST = 20
_I, _C, _W = IAMUserIdentity, IAMSsoConnection, IAMSsoSession


@dataclass(frozen=True, slots=True)
class Linked:
    """An identity as its owner and administrators see it."""

    id: UUID
    label: str
    service: str
    slug: str
    enabled: bool
    linked_at: datetime
    last_login_at: datetime | None


def identity_digest(connection_id: UUID, issuer: str, subject: str) -> bytes:
    """Return the one key of an identity; no part of it can flow into another."""
    return token_digest(json.dumps([connection_id.hex, issuer, subject]))


def find(info: UserInfo, connection: Connection, *, locked: bool = False) -> IAMUserIdentity | None:
    """Return the stored identity of a person at a provider; `locked` reads what is newest."""
    digest = identity_digest(connection.id, info.issuer, info.subject)
    query = select(_I).where(_I.identity_digest == digest)
    if locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session().scalar(query)


def identities_of(user_id: UUID) -> list[tuple[IAMUserIdentity, IAMSsoConnection]]:
    """Return a person's identities with their connections, oldest first; one query."""
    rows = session().execute(
        select(_I, _C).join(_C, _C.id == _I.connection_id).where(_I.user_id == user_id)
        .order_by(_I.id)
    )  # fmt: skip
    return [(identity, connection) for identity, connection in rows]


def list_of(user_id: UUID) -> list[Linked]:
    """Return a person's identities as pages show them, oldest first; one query."""
    return [
        Linked(
            identity.id,
            identity.label,
            connection.name,
            connection.slug,
            connection.enabled,
            identity.linked_at,
            identity.last_login_at,
        )
        for identity, connection in identities_of(user_id)
    ]


def check_may_link(user: IAMUserAccount) -> None:
    """Refuse an account whose address nobody proved: it may be somebody else's (AT-212).

    Raises Forbidden; Conflict where a person has as many identities as allowed.
    """
    if user.email and not user.email_verified:
        raise Forbidden(
            _("Please confirm your e-mail address first"), code="account.email_unverified"
        )
    if len(identities_of(user.id)) >= MOST:
        raise Conflict(_("Remove one of your linked accounts first"), code="sso.too_many")


def link(
    user: IAMUserAccount, info: UserInfo, connection: Connection, *, linked_by: str, actor: Actor
) -> IAMUserIdentity:
    """Let an identity sign in to an account, and tell its owner; joins the transaction.

    Linked to this account already, it stays as it is. Raises Conflict where it is somebody
    else's, Forbidden where the account's own address is not verified.
    """
    services_recovery_codes.lock_account(user)
    found = find(info, connection, locked=True)
    if found is None:
        check_may_link(user)
        return add(user, info, connection, linked_by=linked_by, actor=actor)
    if found.user_id != user.id:
        raise _taken()
    return found


def add(
    user: IAMUserAccount, info: UserInfo, connection: Connection, *, linked_by: str, actor: Actor
) -> IAMUserIdentity:
    """Store an identity that is new here; for callers that have checked whose it is.

    Raises Conflict where another transaction stored it first, SsoRefused.
    """
    _check_size(info)
    row = IAMUserIdentity(
        id=new_id(),
        user_id=user.id,
        connection_id=connection.id,
        issuer=info.issuer,
        subject=info.subject,
        identity_digest=identity_digest(connection.id, info.issuer, info.subject),
        linked_at=clock.now(),
        linked_by=linked_by,
    )
    _describe(row, info)
    try:
        with session().begin_nested():
            session().add(row)
            session().flush()
    except IntegrityError:
        raise _taken() from None
    record(
        events.IDENTITY_LINKED,
        resource=user,
        actor=actor,
        connection=connection.slug,
        provider=connection.provider,
        reason=linked_by,
    )
    if linked_by != CREATED:
        _tell(user, messages_sso.identity_linked, connection.name, actor)
    return row


def seen(row: IAMUserIdentity, info: UserInfo, at: datetime) -> None:
    """Note a sign-in by an identity, and what its provider says of it by now."""
    row.last_login_at = at
    _describe(row, info)


def label_of(info: UserInfo) -> str:
    """Return by what a person recognises an identity: its address or name there; may be empty."""
    return _email(info) or _name(info.username) or _name(info.name)


def guard_roles_of(connection_id: UUID, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Refuse to whoever could not give the roles of the people linked. Raises Forbidden."""
    held = (
        select(IAMUserRole.role_id)
        .join(_I, _I.user_id == IAMUserRole.user_id)
        .where(_I.connection_id == connection_id)
        .distinct()
    )
    services_mapped_roles.guard_roles(
        set(session().scalars(held)), actor_grants=actor_grants, actor=actor
    )


def unlink(user: IAMUserAccount, identity_id: UUID | None, *, actor: Actor) -> None:
    """Take an identity from its account; sessions that came through it end.

    Raises NotFound for another person's, Conflict where it is the last way in (AT-206).
    """
    # One after the other: two at once must not take the last two.
    services_recovery_codes.lock_account(user)
    row = session().scalar(
        select(_I).where(_I.id == identity_id, _I.user_id == user.id).with_for_update()
    )
    if row is None:
        raise NotFound
    services_ways_in.guard_last(user, identity_id=row.id, actor=actor)
    _remove(user, row, "account", actor)


def confirm(user: IAMUserAccount, flow_id: UUID | None, browser: bytes, *, actor: Actor) -> None:
    """Link the identity that waits in a browser to the account whose owner confirms it.

    The caller has made sure of the owner. Raises NotFound where it is gone, disabled or
    another account's, and what `link` raises.
    """
    services_recovery_codes.lock_account(user)
    pending = flow_id and services_sso_flow.take_pending(flow_id, browser, user.id)
    if not pending:
        raise NotFound
    connection = services_connections.get(pending.connection_id)
    link(user, pending.info, connection, linked_by=CONFIRMED, actor=actor)


def drop_planted(user: IAMUserAccount, *, session_id: UUID | None, actor: Actor) -> None:
    """Take from an account what was there before its address was first proved (group I).

    Identities (AT-212), other sessions with what they began (AT-211), pending changes (AT-213):
    whoever put them there had not shown whose account it is. `session_id` is the one in which
    the proof was given; what it came through stays.
    """
    services_recovery_codes.lock_account(user)
    own = session().scalar(select(_W.identity_id).where(_W.session_id == session_id))
    for row in session().scalars(select(_I).where(_I.user_id == user.id)).all():
        if row.id != own:
            _remove(user, row, "address proved", actor)
    services_links.drop(user)
    services_devices.end_trust(user.id)
    services_sessions.revoke_all(user.id, "address_proved", except_id=session_id, actor=actor)


def _remove(user: IAMUserAccount, row: IAMUserIdentity, reason: str, actor: Actor) -> None:
    connection = session().scalar(select(_C).where(_C.id == row.connection_id))
    assert connection is not None  # noqa: S101 - narrows the type: a foreign key holds it
    through = select(_W.session_id).where(_W.identity_id == row.id)
    services_sessions.end_among(through, [user.id], "identity_unlinked")
    # Not left to the cascade: a host's own SQLite engine may not enforce foreign keys.
    _delete(delete(_W).where(_W.identity_id == row.id))
    session().delete(row)
    session().flush()
    record(
        events.IDENTITY_UNLINKED,
        resource=user,
        actor=actor,
        connection=connection.slug,
        provider=connection.provider,
        reason=reason,
    )
    _tell(user, messages_sso.identity_unlinked, connection.name, actor)


def _tell(user: IAMUserAccount, build: Callable[..., Message], service: str, actor: Actor) -> None:
    if user.email:
        with speaking(user.language):
            message = build(
                user.email,
                service=service,
                brand=services_notices.brand(),
                at=clock.now(),
                link=public_url("iam_account.security"),
            )
        services_notices.send(user, message, actor=actor)


def _check_size(info: UserInfo) -> None:
    # Cut to fit, two subjects could become one.
    if not 0 < len(info.issuer) <= MAX_ISSUER or not 0 < len(info.subject) <= MAX_SUBJECT:
        raise SsoRefused("subject_size")


def _describe(row: IAMUserIdentity, info: UserInfo) -> None:
    row.email = _email(info)
    row.email_verified = info.email_verified and row.email is not None
    row.label = label_of(info)


def _email(info: UserInfo) -> str | None:
    try:
        return check_email(info.email) if info.email else None
    except InvalidInput:
        return None


def _name(text: str | None) -> str:
    try:
        return check_display_name(text or "", longest=MAX_LABEL)
    except InvalidInput:
        return ""


def _delete(statement: Delete) -> None:
    session().execute(statement, execution_options={"synchronize_session": False})


def _taken() -> Conflict:
    return Conflict(_("That account is already linked to another person here"), code="sso.taken")
