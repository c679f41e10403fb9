"""Roles of a tenant: find, create, change, delete, and what they hold.

Every change starts with a new authorization version of the tenant, so that it
bites at the next request of everybody (requirement L3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import IntegrityError

from ..audit import events
from ..audit.services_audit import changes_of, record
from ..core import clock
from ..core.actor import Actor
from ..core.db import session
from ..core.errors import InvalidInput, NotFound
from ..core.i18n import N_
from .errors import LastAdministrator, RoleCycle, RoleInUse, RoleNameTaken
from .grants import Grants, Right
from .hierarchy import (
    MAX_DEPTH,
    MAX_ROLES,
    Tree,
    depth_below,
    descendants,
    lineage,
    role_rights,
    would_cycle,
)
from .models import SCOPES, IAMPermission, IAMRole, IAMRolePermission, IAMUserRole
from .neighbours import account
from .services_grants import role_permissions, role_tree
from .services_guards import (
    administration,
    bump_tenant,
    guard_editable,
    guard_names,
    guard_rights,
    guard_super_admin,
    holds_names,
    refuse,
    require,
)

MFA_POLICIES = ("off", "optional", "required")
_NAME = re.compile(r"[a-z][a-z0-9_]{1,62}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class HeldPermission:
    """A permission of a role; `source` names the ancestor it comes from, if not its own."""

    permission: IAMPermission
    scope: str
    source: str | None


def list_roles() -> list[IAMRole]:
    """Return the roles of the tenant, system roles first, then by name."""
    query = select(IAMRole).order_by(IAMRole.is_system.desc(), IAMRole.name)
    return list(session().scalars(query))


def get_role(role_id: UUID | None) -> IAMRole:
    """Return one role. Raises NotFound."""
    found = session().scalar(select(IAMRole).where(IAMRole.id == role_id))
    if found is None:
        raise NotFound
    return found


def find_role(name: str) -> IAMRole | None:
    """Return the role called exactly `name`, or None."""
    return session().scalar(select(IAMRole).where(IAMRole.name == name))


def list_permissions() -> list[IAMPermission]:
    """Return every permission known to the tenant, by resource and action."""
    return list(session().scalars(select(IAMPermission).order_by(IAMPermission.name)))


def member_counts(organizations: frozenset[UUID] | None = None) -> dict[UUID, int]:
    """Return how many people, of some organizations or of all, hold each role directly."""
    query = select(IAMUserRole.role_id, func.count(IAMUserRole.id)).group_by(IAMUserRole.role_id)
    if organizations is not None:
        query = query.where(_member_of(organizations))
    return {row[0]: row[1] for row in session().execute(query)}


def member_count(role: IAMRole, organizations: frozenset[UUID] | None = None) -> int:
    """Return how many people, of some organizations or of all, hold a role directly."""
    query = select(func.count(IAMUserRole.id)).where(IAMUserRole.role_id == role.id)
    if organizations is not None:
        query = query.where(_member_of(organizations))
    return session().scalar(query) or 0


def _member_of(organizations: frozenset[UUID]) -> ColumnElement[bool]:
    person = account()
    people = select(person.id).where(person.parent_id.in_(sorted(organizations)))
    return IAMUserRole.user_id.in_(people)


def permissions_of(role: IAMRole) -> list[HeldPermission]:
    """Return what a role holds, inherited permissions with the role they come from."""
    names = {node.id: node.name for node in lineage(role_tree(), role.id)}
    rows = session().execute(
        select(IAMRolePermission.role_id, IAMPermission, IAMRolePermission.scope)
        .join(IAMPermission, IAMPermission.id == IAMRolePermission.permission_id)
        .where(IAMRolePermission.role_id.in_(names))
        .order_by(IAMPermission.name, IAMRolePermission.scope)
    )
    return [
        HeldPermission(permission, scope, None if owner == role.id else names[owner])
        for owner, permission, scope in rows
    ]


def roles_within(actor_grants: Grants, *, parent_of: IAMRole | None = None) -> list[IAMRole]:
    """Return the roles that a person holds, or administers, with all rights: those they may give.

    With `parent_of`, those that this role could inherit from without a cycle.
    """
    tree = role_tree()
    held = role_permissions(tree)
    barred = {parent_of.id} | descendants(tree, parent_of.id) if parent_of else set()

    def fits(role: IAMRole) -> bool:
        names = {node.name for node in lineage(tree, role.id)}
        if not holds_names(actor_grants, names):
            return False
        return all(actor_grants.covers(right) for right in role_rights(tree, held, role.id))

    return [role for role in list_roles() if role.id not in barred and fits(role)]


def create_role(
    name: str,
    *,
    description: str = "",
    parent_id: UUID | None = None,
    mfa_policy: str | None = None,
    permissions: Mapping[str, str] | None = None,
    actor_grants: Grants | None,
    actor: Actor,
) -> IAMRole:
    """Create a role; `permissions` maps names to scopes.

    Raises Forbidden where the author lacks a right it would have, InvalidInput,
    RoleNameTaken.
    """
    require("role:create", role=name, actor_grants=actor_grants, actor=actor)
    _check_values(name, mfa_policy)
    bump_tenant()
    tree = role_tree(lock=True)
    if len(tree) >= MAX_ROLES:
        raise InvalidInput(N_("This tenant has as many roles as it may have"), field="name")
    if any(node.name == name for node in tree.values()):
        raise RoleNameTaken(field="name")
    _guard_parent(tree, None, parent_id, role=name, actor_grants=actor_grants, actor=actor)
    wanted = _wanted(permissions or {})
    _guard_own(wanted, role=name, actor_grants=actor_grants, actor=actor)
    role = IAMRole(
        name=name,
        description=description,
        parent_id=parent_id,
        mfa_policy=mfa_policy,
        created_at=clock.now(),
    )
    session().add(role)
    _flush_name()
    _store(role, wanted)
    record(
        events.ROLE_CREATED,
        resource=role,
        changes=changes_of({}, _described(role) | {"permissions": _listed(wanted)}),
        actor=actor,
        role=name,
    )
    return role


def update_role(
    role: IAMRole,
    *,
    name: str,
    description: str,
    parent_id: UUID | None,
    mfa_policy: str | None,
    actor_grants: Grants | None,
    actor: Actor,
) -> IAMRole:
    """Change a role.

    Raises Forbidden, RoleCycle, RoleNameTaken, SystemRoleFixed, LastAdministrator where its
    members administered the tenant through the parent that it had.
    """
    require("role:update", role=role.name, actor_grants=actor_grants, actor=actor)
    guard_editable(role, actor_grants=actor_grants, actor=actor)
    _check_values(name, mfa_policy)
    bump_tenant()
    tree = role_tree(lock=True)
    if any(node.name == name and node.id != role.id for node in tree.values()):
        raise RoleNameTaken(field="name")
    if name != role.name and member_count(role):  # its holders would get the name's rights
        guard_names([name], role=name, actor_grants=actor_grants, actor=actor)
    _guard_whole(tree, role, actor_grants=actor_grants, actor=actor)
    _guard_parent(tree, role.id, parent_id, role=name, actor_grants=actor_grants, actor=actor)
    before, administered = _described(role), administration()
    role.name, role.description = name, description
    role.parent_id, role.mfa_policy = parent_id, mfa_policy
    _flush_name()
    if administration() < administered:
        refuse(
            LastAdministrator(field="parent_id"),
            reason="last administrator",
            role=name,
            resource=role,
            actor=actor,
        )
    changes = changes_of(before, _described(role))
    record(events.ROLE_UPDATED, resource=role, changes=changes, actor=actor, role=name)
    return role


def set_role_permissions(
    role: IAMRole,
    permissions: Mapping[str, str],
    *,
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    """Replace what a role holds itself by `permissions` (name to scope).

    Raises Forbidden where the author lacks one of the rights before or after,
    SystemRoleFixed, InvalidInput for an unknown name or scope.
    """
    require("role:update", role=role.name, actor_grants=actor_grants, actor=actor)
    guard_editable(role, actor_grants=actor_grants, actor=actor)
    bump_tenant()
    tree = role_tree(lock=True)
    _guard_whole(tree, role, actor_grants=actor_grants, actor=actor)
    wanted = _wanted(permissions)
    _guard_own(wanted, role=role.name, actor_grants=actor_grants, actor=actor)
    before = sorted(f"{name} ({scope})" for name, scope in _own_permissions(role))
    session().execute(delete(IAMRolePermission).where(IAMRolePermission.role_id == role.id))
    _store(role, wanted)
    changes = changes_of({"permissions": before}, {"permissions": _listed(wanted)})
    record(events.ROLE_UPDATED, resource=role, changes=changes, actor=actor, role=role.name)


def delete_role(role: IAMRole, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Delete a role nobody holds. Raises RoleInUse, SystemRoleFixed, Forbidden."""
    require("role:delete", role=role.name, actor_grants=actor_grants, actor=actor)
    guard_editable(role, actor_grants=actor_grants, actor=actor)
    bump_tenant()
    tree = role_tree(lock=True)
    _guard_whole(tree, role, actor_grants=actor_grants, actor=actor)
    if member_count(role) or any(node.parent_id == role.id for node in tree.values()):
        raise RoleInUse
    before = changes_of({}, _described(role))
    session().execute(delete(IAMRolePermission).where(IAMRolePermission.role_id == role.id))
    session().delete(role)
    try:
        session().flush()
    except IntegrityError:  # given to somebody since: the foreign key saw it
        raise RoleInUse from None
    changes = {key: [new, None] for key, (_old, new) in before.items()}
    record(events.ROLE_DELETED, resource=role, changes=changes, actor=actor, role=role.name)


def _check_values(name: str, mfa_policy: str | None) -> None:
    if not _NAME.fullmatch(name):
        text = N_("3 to 64 small letters, digits and underscores, a letter first.")
        raise InvalidInput(text, field="name")
    if mfa_policy is not None and mfa_policy not in MFA_POLICIES:
        raise InvalidInput(field="mfa_policy")


def _guard_parent(
    tree: Tree,
    role_id: UUID | None,
    parent_id: UUID | None,
    *,
    role: str,
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    # Whoever names a parent hands out what the parent comes to (AT-393).
    if parent_id is None:
        return
    if parent_id not in tree:
        raise NotFound
    if role_id is not None and would_cycle(tree, role_id, parent_id):
        raise RoleCycle(field="parent_id")
    above = list(lineage(tree, parent_id))
    if len(above) + 1 + (depth_below(tree, role_id) if role_id else 0) > MAX_DEPTH:
        raise RoleCycle(N_("Roles cannot inherit over so many levels"), field="parent_id")
    names = {node.name for node in above}
    guard_super_admin(names, role=role, actor_grants=actor_grants, actor=actor)
    guard_names(names, role=role, actor_grants=actor_grants, actor=actor)
    held = role_permissions([node.id for node in above])
    rights = role_rights(tree, held, parent_id)
    guard_rights(rights, role=role, actor_grants=actor_grants, actor=actor)


def _guard_whole(tree: Tree, role: IAMRole, *, actor_grants: Grants | None, actor: Actor) -> None:
    # A role that can do more than its editor is above them: they may not weaken it either.
    above = list(lineage(tree, role.id))
    guard_super_admin(
        {node.name for node in above}, role=role.name, actor_grants=actor_grants, actor=actor
    )
    rights = role_rights(tree, role_permissions([node.id for node in above]), role.id)
    guard_rights(rights, role=role.name, actor_grants=actor_grants, actor=actor)


def _guard_own(
    wanted: Iterable[tuple[IAMPermission, str]],
    *,
    role: str,
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    rights = [Right(permission.name, scope) for permission, scope in wanted]
    guard_rights(rights, role=role, actor_grants=actor_grants, actor=actor)


def _wanted(permissions: Mapping[str, str]) -> list[tuple[IAMPermission, str]]:
    known = {item.name: item for item in list_permissions()}
    if not set(permissions) <= set(known) or not set(permissions.values()) <= set(SCOPES):
        raise InvalidInput(N_("There is no such permission or scope"), field="permissions")
    return [(known[name], scope) for name, scope in sorted(permissions.items())]


def _store(role: IAMRole, wanted: Iterable[tuple[IAMPermission, str]]) -> None:
    session().add_all(
        IAMRolePermission(role_id=role.id, permission_id=permission.id, scope=scope)
        for permission, scope in wanted
    )
    session().flush()


def _own_permissions(role: IAMRole) -> frozenset[tuple[str, str]]:
    return role_permissions([role.id]).get(role.id, frozenset())


def _listed(wanted: Iterable[tuple[IAMPermission, str]]) -> list[str]:
    return [f"{permission.name} ({scope})" for permission, scope in wanted]


def _described(role: IAMRole) -> dict[str, object]:
    return {
        "name": role.name,
        "description": role.description,
        "parent_id": str(role.parent_id) if role.parent_id else None,
        "mfa_policy": role.mfa_policy,
    }


def _flush_name() -> None:
    try:
        session().flush()
    except IntegrityError:
        raise RoleNameTaken(field="name") from None
