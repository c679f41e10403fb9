"""Ends access contexts, once, and tells the platform and the tenant alike (K5).

Knows no session service: sessions end contexts, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select, update

from ...audit import events
from ...audit.events import Event
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import Actor, system_actor
from ...core.db import session, transaction
from ...core.scoping import exempt, tenant_scope
from ...tenancy.models import IAMAccessContext, IAMTenant
from ..models import IAMAuthSession

LEFT, EXPIRED, SIGNED_OUT, REFUSED = "left", "expired", "signed_out", "refused"
PLATFORM_ACTOR = "platform"
"""The kind of actor that a tenant sees: somebody of the platform, not one of its own."""
_C = IAMAccessContext
_BATCH = 200
_EXEMPT = exempt("the contexts of every platform are ended when their time is over")


@dataclass(frozen=True, slots=True)
class Place:
    """A context, and the tenant it leads to."""

    context_id: UUID
    target_id: UUID
    slug: str


def end(row: IAMAccessContext, reason: str, *, actor: Actor) -> bool:
    """End a context of the platform in scope; False where it was ended before.

    `actor` acts in the platform. Joins the transaction.
    """
    at = clock.now()
    statement = (
        update(_C)
        .where(_C.id == row.id, _C.ended_at.is_(None))
        .values(ended_at=min(at, row.ends_at), end_reason=reason)
        .execution_options(synchronize_session=False)
    )
    if not session().execute(statement).rowcount:  # type: ignore[attr-defined]
        return False
    place = Place(row.id, row.target_tenant_id, _slug(row.target_tenant_id))
    tell_both(events.ACCESS_CONTEXT_ENDED, place, actor=actor, reason=reason)
    return True


def end_with_session(held: IAMAuthSession, *, actor: Actor) -> None:
    """End the context that a session holds, as the session itself ended."""
    if held.access_context_id is None:
        return
    own = (_C.id == held.access_context_id, _C.session_id == held.id)
    row = session().scalar(select(_C).where(*own))
    if row is not None:
        end(row, SIGNED_OUT, actor=actor)


def end_with_sessions(which: ColumnElement[bool], *, actor: Actor) -> None:
    """End the contexts of sessions that were ended together; `which` is about sessions.

    Locking, so that a context opened meanwhile is read, too.
    """
    ended = (IAMAuthSession.state == "revoked", _C.ended_at.is_(None))
    query = select(_C).join(IAMAuthSession, IAMAuthSession.id == _C.session_id).where(which, *ended)
    for row in session().scalars(query.with_for_update()).all():
        end(row, SIGNED_OUT, actor=actor)


def end_expired() -> int:
    """End every context whose time is over; return how many. Owns its transactions."""
    due = (
        select(_C.id, _C.tenant_id)
        .where(_C.ended_at.is_(None), _C.ends_at <= clock.now())
        .limit(_BATCH)
    )
    ended = 0
    for context_id, tenant_id in session().execute(due, execution_options=_EXEMPT).all():
        with tenant_scope(tenant_id), transaction():
            row = session().scalar(select(_C).where(_C.id == context_id))
            if row is not None:
                ended += end(row, EXPIRED, actor=system_actor(tenant_id, "access contexts"))
    return ended


def tell_both(event: Event, place: Place, *, actor: Actor, **details: Any) -> None:
    """Record an event in the platform and in the tenant, in one transaction (K5).

    Flushed in each scope: a row of one tenant cannot be written in the other's.
    """
    kind = PLATFORM_ACTOR if actor.kind == "user" else actor.kind
    for tenant_id, told in ((actor.tenant_id, actor.kind), (place.target_id, kind)):
        with tenant_scope(tenant_id):
            record(
                event,
                resource=("access_context", place.context_id),
                actor=actor.acting_as(tenant_id=tenant_id, kind=told),
                context=str(place.context_id),
                tenant=place.slug,
                **details,
            )
            session().flush()


def _slug(tenant_id: UUID) -> str:
    with tenant_scope(tenant_id):
        found = session().scalar(select(IAMTenant.slug).where(IAMTenant.id == tenant_id))
    return found or ""
