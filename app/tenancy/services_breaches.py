"""Finds attempts to reach what belongs to another tenant, and tells both (K5, AT-366).

Asked once a signed-in person was answered 404. Walks every table that has tenants, by primary
key. Neither side learns a name of the other: their events meet in the id of the request.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import CompoundSelect, bindparam, literal, select, union_all

from ..audit import events
from ..audit.services_audit import DENIED, record
from ..core.actor import Actor
from ..core.db import Base, run_prepared, session, transaction
from ..core.errors import TooManyAttempts
from ..core.ids import parse_id
from ..core.scoping import tenant_scope
from ..core.types import GUID
from ..risk import services_limits
from ..risk.services_limits import NO_TENANT

MOST_IDS, MOST_TENANTS, MOST_TEXTS = 20, 5, 400
ID, LINK, FLOOD = "id", "id, by a link on another site", "many ids"
_BORROWED = {"subject_key", "audit_seal"}  # their ids are those of accounts and events
_REASON = "the asking tenant, the one left out, is a parameter"


def ids_in(texts: Iterable[str]) -> list[UUID]:
    """Return the ids among texts that a request carried, each once, at most MOST_IDS."""
    found: dict[UUID, None] = {}
    for text, _place in zip(texts, range(MOST_TEXTS), strict=False):
        wanted = parse_id(text.strip()) if len(text) < 64 else None
        if wanted is not None:
            found[wanted] = None
        if len(found) == MOST_IDS:
            break
    return list(found)


def report(
    wanted: list[UUID], *, endpoint: str, method: str, by_link: bool = False, actor: Actor
) -> int:
    """Record it where one of the ids exists in another tenant; return how many tenants were meant.

    `by_link` says that another site led the browser there: the person may know nothing of it.
    Owns its transactions: the work that asked was refused. A person who asks for ids without
    end is recorded once in a while, and no longer looked up.
    """
    if not wanted:
        return 0
    try:
        services_limits.charge("breach", actor.user_id, actor=actor)
    except TooManyAttempts:
        _report_flood(endpoint, method, actor)
        return 0
    aimed = _aimed_at(wanted, actor.tenant_id)
    if aimed:
        _record(aimed, LINK if by_link else ID, endpoint, method, actor)
    return len(aimed)


def _report_flood(endpoint: str, method: str, actor: Actor) -> None:
    try:
        services_limits.charge("breach.flood", actor.user_id, actor=actor)
    except TooManyAttempts:
        return
    _record({}, FLOOD, endpoint, method, actor)


def _aimed_at(wanted: list[UUID], own: UUID) -> dict[UUID, tuple[str, UUID]]:
    table_count = len(Base.metadata.tables)
    rows = run_prepared(_statement(table_count), {"ids": wanted, "own": own}, reason=_REASON)
    found: dict[UUID, tuple[str, UUID]] = {}
    for row in sorted(rows, key=lambda row: row.kind in _BORROWED):
        if row.tenant_id != NO_TENANT and len(found) < MOST_TENANTS:
            found.setdefault(row.tenant_id, (row.kind, row.id))
    return found


def _record(
    aimed: dict[UUID, tuple[str, UUID]], reason: str, endpoint: str, method: str, actor: Actor
) -> None:
    with transaction():
        _record_one(None, reason, endpoint, method, actor)
        for tenant_id, resource in aimed.items():
            # Of the person the tenant learns nothing: they are another's.
            stranger = Actor("foreign", tenant_id, request_id=actor.request_id)
            _record_one(resource, reason, endpoint, method, stranger)


def _record_one(resource: Any, reason: str, endpoint: str, method: str, actor: Actor) -> None:
    with tenant_scope(actor.tenant_id):
        record(
            events.TENANT_ISOLATION_BREACH_ATTEMPT,
            resource=resource,
            status=DENIED,
            actor=actor,
            endpoint=endpoint,
            method=method,
            reason=reason,
        )
        session().flush()


@lru_cache(maxsize=4)
def _statement(_count: int) -> CompoundSelect[Any]:
    ids = bindparam("ids", type_=GUID(), expanding=True)
    own = bindparam("own", type_=GUID())
    parts = []
    for name, table in sorted(Base.metadata.tables.items()):
        if "tenant_id" not in table.c or "id" not in table.c:
            continue
        kind = literal(name.removeprefix("iam_")[:32]).label("kind")
        foreign = (table.c.id.in_(ids), table.c.tenant_id != own)
        parts.append(select(kind, table.c.tenant_id, table.c.id).where(*foreign))
    return union_all(*parts)
