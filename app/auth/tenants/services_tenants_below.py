"""The tenants below the one in scope: one by its id, the whole tree, how much each holds.

Core statements over all tenants: each starts from the tenant in scope and reaches what lies
below it, nothing beside or above (AT-366).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, func, literal, or_, select

from ...core import clock
from ...core.db import run_prepared
from ...core.errors import NotFound
from ...core.scoping import current_tenant_id
from ...tenancy.models import IAMOrganization, IAMTenant
from ...tenancy.services_addresses import Place
from ...tenancy.services_tenants import MAX_DEPTH
from ..models import IAMAuthSession, IAMUserAccount

MOST = 500
_T = cast(Table, IAMTenant.__table__)
_SHOWN = tuple(
    _T.c[name]
    for name in ("id", "parent_id", "slug", "host", "name", "type", "status", "created_at")
)
_REASON = "starts from the tenant in scope and reaches only what lies below it"


@dataclass(frozen=True, slots=True)
class TenantRow:
    """One tenant as the pages show it; `depth` counts from the tenant in scope."""

    id: UUID
    parent_id: UUID | None
    slug: str
    host: str | None
    name: str
    type: str
    status: str
    created_at: datetime
    depth: int = 0

    @property
    def place(self) -> Place:
        """Return what addresses are made of."""
        return Place(self.id, self.slug, self.host, self.name, self.status)


@dataclass(frozen=True, slots=True)
class Held:
    """How much a tenant holds."""

    people: int = 0
    sessions: int = 0
    organizations: int = 0


def own() -> TenantRow:
    """Return the tenant in scope."""
    return get(current_tenant_id())


def get(tenant_id: UUID | None) -> TenantRow:
    """Return the tenant in scope or one below it. Raises NotFound for any other."""
    query, _depth = _rows_below()
    found = _read(query.where(_T.c.id == tenant_id))
    if not found:
        raise NotFound
    return found[0]


def get_below(tenant_id: UUID | None) -> TenantRow:
    """Return a tenant that lies below the one in scope. Raises NotFound for that one, too."""
    found = get(tenant_id)
    if found.depth == 0:
        raise NotFound
    return found


def way_to(row: TenantRow) -> list[TenantRow]:
    """Return the tenants between the one in scope and `row`, the highest first."""
    way: list[TenantRow] = []
    while row.depth > 0 and len(way) < MAX_DEPTH:
        row = get(row.parent_id)
        way.insert(0, row)
    return way


def tree(text: str = "") -> tuple[list[TenantRow], bool]:
    """Return the tenant in scope and those below it as a tree is read, and whether all are there.

    With a text those whose name, short name or host contain it, by name.
    """
    query, depth = _rows_below()
    if text:
        query = query.where(_contains(text))
    found = _read(query.order_by(depth, _T.c.name, _T.c.id).limit(MOST + 1))
    rows = found[:MOST]
    if text:
        rows = [replace(row, depth=0) for row in rows]
        return sorted(rows, key=lambda row: row.name.casefold()), len(found) <= MOST
    return list(_as_read(rows)), len(found) <= MOST


def children_of(row: TenantRow) -> list[TenantRow]:
    """Return the tenants directly below one that `get` returned, by name."""
    query: Select[Any] = select(*_SHOWN, literal(row.depth + 1)).where(_T.c.parent_id == row.id)
    return _read(query.order_by(_T.c.name, _T.c.id).limit(MOST))


def held_by(rows: Iterable[TenantRow]) -> dict[UUID, Held]:
    """Return how many people, sessions and organizations tenants of this module hold."""
    ids = [row.id for row in rows]
    people = _counts(IAMUserAccount, ids, IAMUserAccount.status != "erased")
    live = (IAMAuthSession.state == "active", IAMAuthSession.expires_at > clock.now())
    sessions = _counts(IAMAuthSession, ids, *live)
    organizations = _counts(IAMOrganization, ids)
    return {
        item: Held(people.get(item, 0), sessions.get(item, 0), organizations.get(item, 0))
        for item in ids
    }


def _rows_below() -> tuple[Select[Any], ColumnElement[int]]:
    start = select(_T.c.id, literal(0).label("depth")).where(_T.c.id == current_tenant_id())
    tree = start.cte("below", recursive=True)
    step = select(_T.c.id, tree.c.depth + 1).where(
        _T.c.parent_id == tree.c.id, tree.c.depth < MAX_DEPTH
    )
    below = tree.union_all(step)
    query: Select[Any] = select(*_SHOWN, below.c.depth).join(below, below.c.id == _T.c.id)
    return query, below.c.depth


def _read(query: Select[Any]) -> list[TenantRow]:
    rows: Iterable[Any] = run_prepared(query, {}, reason=_REASON)
    return [TenantRow(*row) for row in rows]


def _contains(text: str) -> Any:
    wanted = text.lower()
    return or_(
        *(
            func.lower(_T.c[name]).contains(wanted, autoescape=True)
            for name in ("name", "slug", "host")
        )
    )


def _as_read(rows: list[TenantRow]) -> Iterator[TenantRow]:
    below: dict[UUID | None, list[TenantRow]] = defaultdict(list)
    for row in rows:
        below[row.parent_id if row.depth else None].append(row)
    waiting = below[None]
    while waiting:
        row = waiting.pop(0)
        yield row
        waiting = below[row.id] + waiting


def _counts(model: Any, ids: list[UUID], *conditions: Any) -> dict[UUID, int]:
    table = model.__table__
    query: Select[Any] = (
        select(table.c.tenant_id, func.count())
        .where(table.c.tenant_id.in_(ids), *conditions)
        .group_by(table.c.tenant_id)
    )
    rows: Any = run_prepared(query, {}, reason=_REASON).all()
    return dict(rows)
