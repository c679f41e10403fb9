"""Sessions of everybody in the tenant, for administrators: listed, counted, ended (J4).

A session is shown by its browser, address and times; its token is known to nobody.
Refuses to end a session of somebody whose rights exceed the actor's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from ...authz import services_rbac
from ...authz.grants import Grants
from ...core import clock
from ...core.actor import Actor
from ...core.db import session
from ...core.i18n import _
from ...core.paging import Page, page_by_id
from ...risk.services_devices import describe
from ..accounts import services_directory
from ..accounts.services_names import names_of
from ..accounts.services_reach import EVERYBODY, Reach
from ..models import IAMAuthSession, IAMUserAccount
from . import services_sessions
from .services_session_lookup import ACTIVE

_S = IAMAuthSession


@dataclass(frozen=True, slots=True)
class SessionView:
    """What a page tells about one session."""

    id: UUID
    user_id: UUID
    user_name: str
    device_label: str
    type: str
    ip: str | None
    acr: str
    created_at: Any
    last_active_at: Any
    expires_at: Any
    idle: bool


def page_live(*, cursor: str | None, size: int, reach: Reach = EVERYBODY) -> Page[SessionView]:
    """Return a page of the unexpired sessions within reach, newest first; two queries."""
    statement = select(_S).where(*_live(), *reach.owned_by(_S.user_id))
    found = page_by_id(session(), statement, _S.id, cursor=cursor, size=size)
    names = names_of(row.user_id for row in found.items)
    views = [view(row, names.get(row.user_id, "")) for row in found.items]
    return Page(views, found.next_cursor, found.prev_cursor)


def count_live(reach: Reach = EVERYBODY) -> int:
    """Return how many unexpired sessions there are within reach."""
    query = select(func.count(_S.id)).where(*_live(), *reach.owned_by(_S.user_id))
    return session().scalar(query) or 0


def list_of(user: IAMUserAccount) -> list[SessionView]:
    """Return one person's live sessions, newest first."""
    return [view(row, user.label) for row in services_sessions.list_live(user.id)]


def end(session_id: UUID | None, *, actor_grants: Grants | None, actor: Actor) -> UUID:
    """End one session and return whose it was. Raises NotFound, Forbidden."""
    row = services_sessions.get(session_id)
    _guard_owner(row.user_id, actor_grants, actor)
    services_rbac.guard_outranks(row.user_id, actor_grants=actor_grants, actor=actor)
    services_sessions.revoke(row.id, "admin", actor=actor)
    return row.user_id


def end_all(user_id: UUID | None, *, actor_grants: Grants | None, actor: Actor) -> int:
    """End every session of a person but the actor's own; return how many.

    Raises NotFound, Forbidden.
    """
    user = services_directory.get_user(user_id)
    _guard_owner(user.id, actor_grants, actor)
    services_rbac.guard_outranks(user.id, actor_grants=actor_grants, actor=actor)
    return services_sessions.revoke_all(user.id, "admin", except_id=actor.session_id, actor=actor)


def _guard_owner(user_id: UUID, actor_grants: Grants | None, actor: Actor) -> None:
    owner = services_directory.get_user(user_id)
    services_rbac.guard_reach(
        "session:revoke", owner.parent_id, actor_grants=actor_grants, actor=actor
    )


def view(row: IAMAuthSession, user_name: str) -> SessionView:
    """Return what may be shown of a session."""
    browser, system, kind = describe(row.user_agent)
    idle = clock.now() > row.last_activity_at + timedelta(seconds=row.idle_seconds)
    return SessionView(
        id=row.id,
        user_id=row.user_id,
        user_name=user_name,
        device_label=f"{_(browser)} · {_(system)}",
        type=kind,
        ip=row.ip,
        acr=row.acr,
        created_at=row.login_time,
        last_active_at=row.last_activity_at,
        expires_at=row.expires_at,
        idle=idle,
    )


def _live() -> tuple[Any, ...]:
    return (_S.state == ACTIVE, _S.expires_at > clock.now())
