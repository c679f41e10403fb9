"""Role hierarchy, pure: who inherits from whom, and what that comes to.

Owns parents, cycles, depth and the narrowing of a right by the scope of an
assignment. Reads no table: `services_grants` hands the rows in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from .grants import BY_ORGANIZATION, WIDTH, MfaPolicy, Right

MAX_DEPTH = 32
MAX_ROLES = 1000
_STRENGTH: dict[str, int] = {"off": 0, "optional": 1, "required": 2}
_POLICIES: tuple[MfaPolicy, ...] = ("off", "optional", "required")


@dataclass(frozen=True, slots=True)
class Node:
    """What the hierarchy needs of a role."""

    id: UUID
    name: str
    parent_id: UUID | None
    mfa_policy: str | None
    is_system: bool = False


Tree = Mapping[UUID, Node]
RolePermissions = Mapping[UUID, frozenset[tuple[str, str]]]


def lineage(tree: Tree, role_id: UUID) -> Iterator[Node]:
    """Yield a role and its ancestors; ends at a cycle or at the depth cap (AT-373, AT-374)."""
    seen: set[UUID] = set()
    current: UUID | None = role_id
    while current is not None and current in tree and current not in seen:
        if len(seen) == MAX_DEPTH:
            return
        seen.add(current)
        yield tree[current]
        current = tree[current].parent_id


def would_cycle(tree: Tree, role_id: UUID, parent_id: UUID) -> bool:
    """Return whether `parent_id` is `role_id` itself or already inherits from it."""
    return any(node.id == role_id for node in lineage(tree, parent_id))


def depth_below(tree: Tree, role_id: UUID) -> int:
    """Return how many levels hang below a role."""
    below = [len(list(lineage(tree, item))) for item in descendants(tree, role_id)]
    return max(below, default=0) - len(list(lineage(tree, role_id))) if below else 0


def descendants(tree: Tree, role_id: UUID) -> set[UUID]:
    """Return the roles that inherit from a role."""
    return {
        item
        for item in tree
        if item != role_id and any(node.id == role_id for node in lineage(tree, item))
    }


def strictest(policies: Iterable[str | None]) -> MfaPolicy:
    """Return the strictest of several MFA policies."""
    return _POLICIES[max((_STRENGTH.get(item or "off", 2) for item in policies), default=0)]


def narrow(permission: str, held: str, scope: str, organization_id: UUID | None) -> Right:
    """Return a role's right as an assignment in `scope` leaves it: the narrower of both."""
    effective = held if WIDTH[held] <= WIDTH[scope] else scope
    bound = organization_id if scope in BY_ORGANIZATION and effective in BY_ORGANIZATION else None
    return Right(permission, effective, bound)


def role_rights(
    tree: Tree,
    held: RolePermissions,
    role_id: UUID,
    *,
    scope: str = "global",
    organization_id: UUID | None = None,
) -> set[Right]:
    """Return everything a role comes to, inherited rights included, narrowed by `scope`."""
    return {
        narrow(name, own_scope, scope, organization_id)
        for node in lineage(tree, role_id)
        for name, own_scope in held.get(node.id, ())
    }
