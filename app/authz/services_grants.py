"""Resolves what a person may do, once per version, and remembers it per process.

Owns the cache: its key carries the authorization versions of tenant and person,
so a change made anywhere bites at the next request of every process without a
message between them (requirement L3). Changes nothing.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select

from ..core.db import session, transaction_open
from ..core.scoping import tenant_scope
from .catalogue import ADMIN_ACCESS
from .grants import BY_ORGANIZATION, Grants, MfaPolicy, Right
from .hierarchy import MAX_DEPTH, Node, RolePermissions, Tree, lineage, role_rights, strictest
from .models import IAMPermission, IAMRole, IAMRolePermission, IAMUserRole
from .neighbours import account, organization

CACHE_SIZE = 8192

Key = tuple[UUID, UUID, int, int]
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class _Assignment:
    role_id: UUID
    scope: str
    organization_id: UUID | None
    expires_at: datetime | None


class _Cache:
    """A bounded map; the oldest entry goes first. Reads take no lock."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._items: dict[Key, tuple[datetime, Grants]] = {}

    def get(self, key: Key, at: datetime) -> Grants | None:
        found = self._items.get(key)
        if found is None:
            return None
        resolved_at, grants = found
        over = grants.valid_until is not None and grants.valid_until <= at
        return None if over or at < resolved_at else grants

    def put(self, key: Key, at: datetime, grants: Grants) -> None:
        with self._lock:
            self._items.pop(key, None)
            while len(self._items) >= self._size:
                del self._items[next(iter(self._items))]
            self._items[key] = (at, grants)

    def clear(self) -> None:
        with self._lock:
            self._items.clear()

    def __len__(self) -> int:
        return len(self._items)


_cache = _Cache(CACHE_SIZE)


def resolve(
    tenant_id: UUID, user_id: UUID, *, tenant_version: int, user_version: int, at: datetime
) -> Grants:
    """Return what a person may do in a tenant at a time; no query where it is known.

    The versions are those of the caller's own session lookup, so that an entry
    made before a change is never found after it.
    """
    key = (tenant_id, user_id, tenant_version, user_version)
    known = _cache.get(key, at)
    if known is not None:
        return known
    with tenant_scope(tenant_id):
        grants = _resolve(user_id, at)
    # Inside a unit of work the versions may be uncommitted: after a rollback another
    # change would get the same number, and find this entry.
    if not transaction_open():
        _cache.put(key, at, grants)
    return grants


def forget() -> None:
    """Empty the cache of this process (for tests; versions make it needless elsewhere)."""
    _cache.clear()


@dataclass(frozen=True, slots=True)
class _Found:
    """What the tables say of one person at one time."""

    parent_id: UUID | None
    roles: frozenset[str]
    policies: tuple[str | None, ...]
    rights: frozenset[Right]
    valid_until: datetime | None


def rights_of(user_id: UUID, at: datetime) -> tuple[frozenset[str], frozenset[Right], UUID | None]:
    """Return roles, rights and organization of a person as stored now, past the cache."""
    found = _find(user_id, at)
    return found.roles, found.rights, found.parent_id


def _find(user_id: UUID, at: datetime) -> _Found:
    parent_id, held = _assignments(user_id)
    live = [item for item in held if item.expires_at is None or at < item.expires_at]
    if not live:
        return _Found(parent_id, frozenset(), (), frozenset(), None)
    tree = role_tree()
    role_ids = {node.id for item in live for node in lineage(tree, item.role_id)}
    permissions = role_permissions(role_ids)
    rights = frozenset(
        right
        for item in live
        for right in role_rights(
            tree,
            permissions,
            item.role_id,
            scope=item.scope,
            organization_id=item.organization_id,
        )
    )
    return _Found(
        parent_id,
        frozenset(tree[role_id].name for role_id in role_ids),
        tuple(tree[role_id].mfa_policy for role_id in role_ids),
        rights,
        min((item.expires_at for item in live if item.expires_at), default=None),
    )


def _resolve(user_id: UUID, at: datetime) -> Grants:
    found = _find(user_id, at)
    scopes: dict[str, set[str]] = defaultdict(set)
    bound: dict[UUID, set[str]] = defaultdict(set)
    for right in found.rights:
        if right.organization_id is None:
            scopes[right.permission].add(right.scope)
        else:
            bound[right.organization_id].add(right.permission)
    own, reached = _organizations(found, set(bound))
    spread: dict[UUID, set[str]] = defaultdict(set)
    for top, names in bound.items():
        for organization_id in reached[top]:
            spread[organization_id] |= names
    return Grants(
        roles=found.roles,
        permissions=_frozen(scopes),
        mfa_policy=_policy(found),
        organization_ids=own,
        valid_until=found.valid_until,
        organization_permissions=_frozen(spread),
    )


def _policy(found: _Found) -> MfaPolicy:
    # A role of the tenant's own may call itself "off": the pages it opens decide (AT-489).
    if any(right.permission == ADMIN_ACCESS for right in found.rights):
        return "required"
    return strictest(found.policies)


def _organizations(
    found: _Found, bound: set[UUID]
) -> tuple[frozenset[UUID], dict[UUID, frozenset[UUID]]]:
    # Most people hold no right by organization: then the tree is not read at all.
    own = found.parent_id
    if all(right.scope not in BY_ORGANIZATION for right in found.rights):
        own = None
    reached = organizations_below(bound | ({own} if own else set()))
    return (reached[own] if own else frozenset()), reached


def _frozen(sets: Mapping[K, set[str]]) -> Mapping[K, frozenset[str]]:
    return MappingProxyType({key: frozenset(value) for key, value in sets.items()})


def _assignments(user_id: UUID) -> tuple[UUID | None, list[_Assignment]]:
    person = account()
    rows = session().execute(
        select(
            person.parent_id,
            IAMUserRole.role_id,
            IAMUserRole.scope,
            IAMUserRole.organization_id,
            IAMUserRole.expires_at,
        )
        .select_from(person)
        .join(IAMUserRole, IAMUserRole.user_id == person.id)
        .where(person.id == user_id)
    )
    held = [(row[0], _Assignment(*row[1:])) for row in rows]
    return (held[0][0] if held else None), [item for _parent, item in held]


def role_tree(*, lock: bool = False) -> Tree:
    """Return every role of the tenant in scope, by id; one query.

    `lock` reads what is committed by now and holds it: for whoever changes roles.
    """
    query = select(
        IAMRole.id, IAMRole.name, IAMRole.parent_id, IAMRole.mfa_policy, IAMRole.is_system
    ).order_by(IAMRole.id)
    rows = session().execute(query.with_for_update() if lock else query)
    return {row.id: Node(*row) for row in rows}


def role_permissions(role_ids: Iterable[UUID]) -> RolePermissions:
    """Return what each role holds itself, without inheritance; one query."""
    rows = session().execute(
        select(IAMRolePermission.role_id, IAMPermission.name, IAMRolePermission.scope)
        .join(IAMPermission, IAMPermission.id == IAMRolePermission.permission_id)
        .where(IAMRolePermission.role_id.in_(list(role_ids)))
    )
    found: dict[UUID, set[tuple[str, str]]] = defaultdict(set)
    for role_id, name, scope in rows:
        found[role_id].add((name, scope))
    return {role_id: frozenset(items) for role_id, items in found.items()}


def organizations_below(tops: set[UUID]) -> dict[UUID, frozenset[UUID]]:
    """Return each organization with everything below it; one query per level."""
    model = organization()
    reached: dict[UUID, set[UUID]] = {top: {top} for top in tops}
    frontier = {top: {top} for top in tops}
    for _level in range(MAX_DEPTH):
        parents = {item for items in frontier.values() for item in items}
        if not parents:
            break
        children: dict[UUID, set[UUID]] = defaultdict(set)
        query = select(model.id, model.parent_id).where(model.parent_id.in_(list(parents)))
        for child_id, parent_id in session().execute(query):
            children[parent_id].add(child_id)
        for top, items in frontier.items():
            found = {child for item in items for child in children.get(item, ())} - reached[top]
            reached[top] |= found
            frontier[top] = found
    return {top: frozenset(items) for top, items in reached.items()}
