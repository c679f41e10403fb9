"""Which sessions came through which provider, and ending them together (G5, AT-203).

A row names a session by id, which stays when its token changes. Sessions are ended by one
UPDATE over these rows, never by a list that was read before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, case, literal, select, update

from ...audit import events
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import Actor
from ...core.crypto import keyring, token_digest
from ...core.db import session
from ...core.ids import new_id
from ..models import IAMAuthSession, IAMSsoSession, IAMUserIdentity
from ..sessions import services_sessions
from .connection import Connection

_W, _I, _S = IAMSsoSession, IAMUserIdentity, IAMAuthSession
ENDED_BY_PROVIDER, CONNECTION_ENDED = "provider_logout", "connection_disabled"


def keep(
    session_id: UUID,
    user_id: UUID,
    identity_id: UUID,
    connection: Connection,
    sid: str | None,
    id_token: str | None,
) -> None:
    """Note that a session came through a connection; joins the transaction.

    The ID token is kept, encrypted, only where it will be a hint at sign-out.
    """
    row_id = new_id()
    hint = id_token if connection.provider_logout else None
    session().add(
        IAMSsoSession(
            id=row_id,
            user_id=user_id,
            session_id=session_id,
            identity_id=identity_id,
            connection_id=connection.id,
            sid_digest=_sid_digest(connection.id, sid) if sid else None,
            id_token=keyring().encrypt(hint.encode(), _hint(row_id)) if hint else None,
            created_at=clock.now(),
        )
    )
    session().flush()


def date_back(session_id: UUID, auth_time: datetime | None) -> None:
    """Let a session be as old as the provider says its person's sign-in is; joins.

    Signing in through a provider that asked nothing must not count as fresh proof (AT-200).
    """
    if auth_time is None or auth_time >= clock.now():
        return
    of_mfa = case((_S.mfa_time.is_(None), None), else_=literal(auth_time, _S.mfa_time.type))
    session().execute(
        update(_S).where(_S.id == session_id).values(auth_time=auth_time, mfa_time=of_mfa),
        execution_options={"synchronize_session": False},
    )


def of_session(session_id: UUID) -> tuple[UUID, str | None] | None:
    """Return the connection that a session came through, and its ID token where kept."""
    row = session().scalar(select(_W).where(_W.session_id == session_id))
    if row is None:
        return None
    hint = keyring().decrypt(row.id_token, _hint(row.id)).decode() if row.id_token else None
    return row.connection_id, hint


def end_of_connection(connection_id: UUID, *, actor: Actor) -> int:
    """End every live session that came through a connection; return how many. Joins."""
    ended = _end(_W.connection_id == connection_id, reason=CONNECTION_ENDED)
    if ended:
        _record(("sso_connection", connection_id), CONNECTION_ENDED, ended, actor)
    return ended


def end_by(connection: Connection, *, sub: str | None, sid: str | None, actor: Actor) -> int:
    """End the sessions that a provider names; return how many. Joins the transaction.

    With `sid` that session of the provider's, with `sub` alone all of that person's
    (OpenID Connect Back-Channel Logout 1.0, 2.7). Neither ends nothing.
    """
    which: list[ColumnElement[bool]] = []
    if sid is not None:
        which.append(_W.sid_digest == _sid_digest(connection.id, sid))
    if sub is not None:
        own = select(_I.id).where(_I.connection_id == connection.id, _I.subject == sub)
        which.append(_W.identity_id.in_(own))
    if not which:
        return 0
    ended = _end(*which, reason=ENDED_BY_PROVIDER)
    if ended:
        _record(("sso_connection", connection.id), ENDED_BY_PROVIDER, ended, actor)
    return ended


def _end(*which: ColumnElement[bool], reason: str) -> int:
    people = list(session().scalars(select(_W.user_id).where(*which).distinct()))
    return services_sessions.end_among(select(_W.session_id).where(*which), people, reason)


def _record(resource: tuple[str, UUID], reason: str, count: int, actor: Actor) -> None:
    details: dict[str, Any] = {"reason": reason, "count": count}
    record(events.SESSION_REVOKED, resource=resource, actor=actor, **details)


def _sid_digest(connection_id: UUID, sid: str) -> bytes:
    return token_digest(f"{connection_id.hex}:{sid}")


def _hint(row_id: UUID) -> str:
    return f"sso_session.id_token:{row_id.hex}"
