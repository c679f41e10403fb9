"""What a tenant sees of the platform's administrators in it: who, when, why and what (K5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, or_, select

from ...audit.models import IAMAuthLog
from ...audit.services_query import AuditLogQuery
from ...core import clock
from ...core.db import session
from ...core.errors import NotFound
from ...core.paging import Page, page_by_id
from ...core.scoping import current_tenant_id, exempt, unscoped
from ...tenancy.models import IAMAccessContext, IAMTenant
from ..models import IAMAuthSession, IAMUserAccount
from ..sessions.services_session_lookup import ACTIVE

MOST_EVENTS = 200
_C, _S, _T, _U = IAMAccessContext, IAMAuthSession, IAMTenant, IAMUserAccount
_REASON = exempt("a tenant sees who of the platform was in it: its id is in each condition")


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of somebody of the platform in a tenant."""

    id: UUID
    user_id: UUID
    who: str
    tenant_name: str
    outwards: bool
    reason: str
    started_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    is_running: bool


def page(*, cursor: str | None, size: int) -> Page[Visit]:
    """Return a page of the stays in this tenant, and of those that began in it; newest first."""
    statement = _mine()
    with unscoped("a tenant sees who of the platform was in it: its id is in each condition"):
        found = page_by_id(session(), statement, _C.id, cursor=cursor, size=size)
    return Page(_visits(found.items), found.next_cursor, found.prev_cursor)


def find(context_id: UUID | None) -> Visit:
    """Return one stay. Raises NotFound, for one that does not concern this tenant as well."""
    rows = list(session().scalars(_mine().where(_C.id == context_id), execution_options=_REASON))
    if not rows:
        raise NotFound
    return _visits(rows)[0]


def events(visit: Visit) -> list[IAMAuthLog]:
    """Return what this tenant's trail tells of a stay, newest first."""
    last = (visit.ended_at or visit.ends_at) + timedelta(seconds=1)
    query = AuditLogQuery().limit(MOST_EVENTS)
    if visit.outwards:  # at home the person's own affairs are no part of it
        return query.by_resource("access_context", visit.id).all()
    return query.by_actor(visit.user_id).by_date_range(visit.started_at, last).all()


def _mine() -> Select[Any]:
    here = current_tenant_id()
    return select(_C).where(or_(_C.target_tenant_id == here, _C.tenant_id == here))


def _visits(rows: Iterable[IAMAccessContext]) -> list[Visit]:
    rows = list(rows)
    people, places, open_ones = _names(rows), _places(rows), _open(rows)
    here = current_tenant_id()
    return [
        Visit(
            row.id, row.user_id, people.get(row.user_id, ""), places.get(row.target_tenant_id, ""),
            row.tenant_id == here, row.reason, row.started_at, row.ends_at, row.ended_at,
            row.end_reason, row.id in open_ones,
        )
        for row in rows
    ]  # fmt: skip


def _names(rows: list[IAMAccessContext]) -> dict[UUID, str]:
    if not rows:
        return {}
    wanted = or_(*(and_(_U.tenant_id == row.tenant_id, _U.id == row.user_id) for row in rows))
    found = session().scalars(select(_U).where(wanted), execution_options=_REASON)
    return {user.id: user.label for user in found}


def _places(rows: list[IAMAccessContext]) -> dict[UUID, str]:
    wanted = {row.target_tenant_id for row in rows}
    query = select(_T.id, _T.name).where(_T.id.in_(wanted))
    return {row.id: row.name for row in session().execute(query, execution_options=_REASON)}


def _open(rows: list[IAMAccessContext]) -> set[UUID]:
    # A session may end without a word (idle, revoked with its device): its context is over then.
    at = clock.now()
    waiting = {row.id for row in rows if row.ended_at is None and at < row.ends_at}
    query = select(_S.access_context_id).where(
        _S.id.in_({row.session_id for row in rows if row.id in waiting}),
        _S.tenant_id.in_({row.tenant_id for row in rows}),
        _S.state == ACTIVE,
        _S.expires_at > at,
    )
    if not waiting:
        return set()
    return waiting & set(session().scalars(query, execution_options=_REASON))
