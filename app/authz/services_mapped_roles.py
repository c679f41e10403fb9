"""Roles that another service's word gives and takes: what may be mapped, and who holds it now.

A mapping gives at most what its author could: `ceiling` is what the role came to then, and
a role that has grown is withheld (G4). An assignment made here carries its connection, and
none but those is ever taken back; `super_admin` is never mapped (AT-209).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update

from ..core import clock, signals
from ..core.actor import Actor
from ..core.db import after_commit, session
from ..core.errors import NotFound
from ..core.ids import new_id
from ..core.scoping import current_tenant_id
from .catalogue import SUPER_ADMIN
from .errors import LastAdministrator, RightsExceeded
from .grants import TENANT, TENANT_WIDE, Grants
from .hierarchy import RolePermissions, Tree, lineage, role_rights
from .models import IAMRole, IAMUserRole
from .neighbours import account
from .services_grants import role_permissions, role_tree
from .services_guards import (
    administrator_roles,
    bump_user,
    guard_last_admin,
    guard_names,
    guard_rights,
    guard_super_admin,
    hold_administrators,
    refuse,
    require,
)

GROWN, FORBIDDEN = "grown", "forbidden"
_H = IAMUserRole


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one person's mapped roles: names given, taken, and held back with why."""

    given: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    withheld: Mapping[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Return whether the person's rights are others now."""
        return bool(self.given or self.taken)


def check_mappable(role: IAMRole, *, actor_grants: Grants | None, actor: Actor) -> list[str]:
    """Return the ceiling of a mapping to `role`, which is given for the whole tenant.

    Raises Forbidden where the acting person could not give the role themselves, and for
    `super_admin` whoever acts; NotFound for a foreign role.
    """
    if role.tenant_id != current_tenant_id():
        raise NotFound
    require("role:assign", role=role.name, actor_grants=actor_grants, actor=actor)
    tree = role_tree()
    names = {node.name for node in lineage(tree, role.id)}
    if SUPER_ADMIN in names:
        refuse(RightsExceeded(), reason="never mapped", role=role.name, resource=role, actor=actor)
    guard_names(names, role=role.name, actor_grants=actor_grants, actor=actor)
    held = role_permissions([node.id for node in lineage(tree, role.id)])
    rights = role_rights(tree, held, role.id, scope=TENANT)
    guard_rights(rights, role=role.name, actor_grants=actor_grants, actor=actor)
    return sorted(_content(tree, held, role.id))


def guard_roles(role_ids: Iterable[UUID], *, actor_grants: Grants | None, actor: Actor) -> None:
    """Refuse to decide who gets in with roles that the acting person could not give.

    Raises Forbidden.
    """
    tree = role_tree()
    for role_id in sorted(role_ids):
        names = {node.name for node in lineage(tree, role_id)}
        name = tree[role_id].name
        guard_super_admin(names, role=name, actor_grants=actor_grants, actor=actor)
        guard_names(names, role=name, actor_grants=actor_grants, actor=actor)
        held = role_permissions([node.id for node in lineage(tree, role_id)])
        rights = role_rights(tree, held, role_id, scope=TENANT)
        guard_rights(rights, role=name, actor_grants=actor_grants, actor=actor)


def exceeding(mappings: Iterable[tuple[UUID, Collection[str]]]) -> list[bool]:
    """Return for each role and ceiling whether the role has grown beyond it."""
    pairs = list(mappings)
    tree = role_tree()
    held = role_permissions({node.id for role_id, _c in pairs for node in lineage(tree, role_id)})
    return [not _content(tree, held, role_id) <= set(ceiling) for role_id, ceiling in pairs]


def sync(
    user_id: UUID, connection_id: UUID, wanted: Mapping[UUID, Iterable[list[str]]], *, actor: Actor
) -> Synced:
    """Give a person the wanted roles (each with the ceilings of its rules), take the others.

    Roles held otherwise stay as they are, and so does that of the last administrator.
    A constant number of statements; joins the transaction.
    """
    held = _held(user_id)
    if not wanted and not _given_by(connection_id, held):
        return Synced()
    tree = role_tree()
    withheld = _withheld(tree, wanted)
    reasons = {tree[key].name: reason for key, reason in withheld.items() if key in tree}
    good = wanted.keys() - withheld.keys()
    gone = _given_by(connection_id, held) - good
    if not gone and good <= held.keys():
        return Synced(withheld=reasons)
    kept = _last_administrator(tree, user_id, [held[key] for key in gone], actor)
    if gone == kept and good <= held.keys():
        return Synced(withheld=reasons)
    bump_user(user_id)
    # Read anew, now that the account is held: another sign-in may have been faster.
    held = _held(user_id, locked=True)
    gone = _given_by(connection_id, held) - good - kept
    added = good - held.keys()
    _write(user_id, connection_id, added, [held[key].id for key in gone])
    if added or gone:
        after_commit(lambda: signals.roles_changed.send(str(user_id)))
    return Synced(_names(tree, added), _names(tree, gone), reasons)


def end_of_connection(connection_id: UUID, *, actor: Actor) -> int:
    """Take every role that a connection's rules gave, at once; return how many.

    For a connection that is deleted; the caller records it. Raises LastAdministrator.
    """
    governed = hold_administrators()
    person = account()
    holders = select(_H.user_id).where(_H.connection_id == connection_id)
    bump = (
        update(person).where(person.id.in_(holders)).values(authz_version=person.authz_version + 1)
    )
    session().execute(bump, execution_options={"synchronize_session": False})
    taken = _delete(_H.connection_id == connection_id)
    if governed and not hold_administrators():
        refuse(LastAdministrator(), reason="last administrator", actor=actor)
    return taken


def _content(tree: Tree, held: RolePermissions, role_id: UUID) -> set[str]:
    """Return what a role comes to: its rights, and the names by which code may ask for it."""
    names = {f"role {node.name}" for node in lineage(tree, role_id)}
    rights = role_rights(tree, held, role_id, scope=TENANT)
    return names | {f"{right.permission} {right.scope}" for right in rights}


def _withheld(tree: Tree, wanted: Mapping[UUID, Iterable[list[str]]]) -> dict[UUID, str]:
    held = role_permissions(
        {node.id for role_id in wanted for node in lineage(tree, role_id)} if wanted else ()
    )
    found: dict[UUID, str] = {}
    for role_id, ceilings in wanted.items():
        content = _content(tree, held, role_id)
        if f"role {SUPER_ADMIN}" in content:
            found[role_id] = FORBIDDEN
        elif not any(content <= set(ceiling) for ceiling in ceilings):
            found[role_id] = GROWN
    return found


def _held(user_id: UUID, *, locked: bool = False) -> dict[UUID, IAMUserRole]:
    query = select(_H).where(_H.user_id == user_id)
    if locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    return {row.role_id: row for row in session().scalars(query)}


def _given_by(connection_id: UUID, held: Mapping[UUID, IAMUserRole]) -> set[UUID]:
    return {key for key, row in held.items() if row.connection_id == connection_id}


def _last_administrator(
    tree: Tree, user_id: UUID, going: Iterable[IAMUserRole], actor: Actor
) -> set[UUID]:
    """Return the roles that stay although nothing gives them: a tenant keeps somebody (K4)."""
    administrators = administrator_roles(tree)
    lasting = {
        row.role_id for row in going if row.role_id in administrators and row.scope in TENANT_WIDE
    }
    if lasting:
        try:
            guard_last_admin(user_id, actor)
        except LastAdministrator:  # recorded
            return lasting
    return set()


def _write(
    user_id: UUID, connection_id: UUID, added: Iterable[UUID], gone: Collection[UUID]
) -> None:
    if gone:
        _delete(_H.id.in_(gone))
    session().add_all(
        IAMUserRole(
            id=new_id(),
            user_id=user_id,
            role_id=role_id,
            scope=TENANT,
            connection_id=connection_id,
            assigned_at=clock.now(),
        )
        for role_id in sorted(added)
    )
    session().flush()


def _delete(which: Any) -> int:
    done: Any = session().execute(
        delete(_H).where(which), execution_options={"synchronize_session": False}
    )
    return int(done.rowcount)


def _names(tree: Tree, role_ids: Iterable[UUID]) -> tuple[str, ...]:
    return tuple(sorted(tree[role_id].name for role_id in role_ids if role_id in tree))
