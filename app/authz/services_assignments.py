"""Who holds which role: give it, take it, list it.

Every change starts with a new authorization version of the person (after the
tenant's row where an administrator role is at stake), so that it bites at their
next request.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from ..audit import events
from ..audit.services_audit import changes_of, record
from ..core import clock, signals
from ..core.actor import Actor
from ..core.db import after_commit, session
from ..core.errors import Conflict, InvalidInput, NotFound
from ..core.i18n import N_
from ..core.scoping import current_tenant_id
from .catalogue import SUPER_ADMIN
from .errors import OwnRights
from .grants import BY_ORGANIZATION, GLOBAL, TENANT, TENANT_WIDE, Grants, Right
from .hierarchy import Tree, lineage, role_rights
from .models import SCOPES, IAMRole, IAMUserRole
from .neighbours import organization
from .services_grants import role_permissions, role_tree
from .services_guards import (
    administrator_roles,
    bump_user,
    guard_last_admin,
    guard_names,
    guard_rights,
    guard_super_admin,
    is_system,
    refuse,
    require,
)


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role and how one person holds it."""

    role: IAMRole
    assignment: IAMUserRole

    def is_live(self, at: datetime) -> bool:
        """Return whether the assignment has not ended."""
        return self.assignment.expires_at is None or at < self.assignment.expires_at


def roles_of(user: Any) -> list[HeldRole]:
    """Return the roles a person holds directly, ended ones included, by name."""
    rows = session().execute(
        select(IAMRole, IAMUserRole)
        .join(IAMUserRole, IAMUserRole.role_id == IAMRole.id)
        .where(IAMUserRole.user_id == user.id)
        .order_by(IAMRole.name)
    )
    return [HeldRole(role, assignment) for role, assignment in rows]


def assign_role(
    user: Any,
    role: IAMRole,
    *,
    scope: str | None = None,
    organization_id: UUID | None = None,
    expires_at: datetime | None = None,
    actor_grants: Grants | None,
    actor: Actor,
) -> IAMUserRole:
    """Give a person a role, or change how they hold it; `scope` is the whole tenant at first.

    Raises Forbidden where the acting person lacks its name, or one of its rights in
    that scope, or is the person themselves, NotFound for a foreign id, InvalidInput,
    LastAdministrator where the change would demote the last one.
    """
    tree = _guard_actor(user, role, actor_grants=actor_grants, actor=actor)
    scope = scope or (GLOBAL if role.name == SUPER_ADMIN and role.is_system else TENANT)
    _check_scope(user, scope, organization_id, expires_at)
    if organization_id is not None and not is_system(actor_grants, actor):
        _check_reach(organization_id, actor_grants)
    _check_administrator(tree, role, scope)
    if scope == GLOBAL:
        guard_super_admin([SUPER_ADMIN], role=role.name, actor_grants=actor_grants, actor=actor)
    guard_rights(
        _rights(tree, role, scope, organization_id),
        role=role.name,
        target_parent_id=user.parent_id,
        actor_grants=actor_grants,
        actor=actor,
    )
    held = _assignment(user.id, role.id)
    if held is not None:
        _guard_taking(
            user, role, tree, held, lasting=expires_at is None,
            actor_grants=actor_grants, actor=actor,
        )  # fmt: skip
    bump_user(user.id)
    before = _described(held)
    if held is None:
        held = IAMUserRole(user_id=user.id, role_id=role.id)
        session().add(held)
    held.scope, held.organization_id, held.expires_at = scope, organization_id, expires_at
    held.assigned_by, held.assigned_at = actor.user_id, clock.now()
    try:
        session().flush()
    except IntegrityError:  # given by somebody else at the same moment, or deleted
        raise Conflict from None
    _record_assigned(user, role, held, before, actor)
    return held


def revoke_role(user: Any, role: IAMRole, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Take a role from a person.

    Raises NotFound where they do not hold it, Forbidden where it is above the
    acting person, LastAdministrator.
    """
    tree = _guard_actor(user, role, actor_grants=actor_grants, actor=actor, taking=True)
    held = _assignment(user.id, role.id)
    if held is None:
        raise NotFound
    _guard_taking(user, role, tree, held, lasting=False, actor_grants=actor_grants, actor=actor)
    bump_user(user.id)
    before = _described(held)
    statement = delete(IAMUserRole).where(IAMUserRole.id == held.id)
    if not session().execute(statement).rowcount:  # type: ignore[attr-defined]
        raise NotFound  # somebody was faster
    changes = {key: [value, None] for key, value in before.items() if value is not None}
    record(
        events.ROLE_REVOKED,
        resource=("user_account", user.id),
        changes=changes,
        actor=actor,
        role=role.name,
    )
    _announce(user.id)


def _guard_actor(
    user: Any,
    role: IAMRole,
    *,
    actor_grants: Grants | None,
    actor: Actor,
    taking: bool = False,
) -> Tree:
    if user.tenant_id != current_tenant_id() or role.tenant_id != current_tenant_id():
        raise NotFound
    require(
        "role:assign",
        role=role.name,
        parent_id=user.parent_id,
        actor_grants=actor_grants,
        actor=actor,
    )
    if actor.user_id == user.id and not taking:
        refuse(OwnRights(), reason="self-promotion", role=role.name, actor=actor)
    tree = role_tree()
    names = {node.name for node in lineage(tree, role.id)}
    guard_super_admin(names, role=role.name, actor_grants=actor_grants, actor=actor)
    # Taking counts too: an editor made nobody first could be taken over after that.
    if actor.user_id != user.id:
        guard_names(names, role=role.name, actor_grants=actor_grants, actor=actor)
    return tree


def _guard_taking(
    user: Any,
    role: IAMRole,
    tree: Tree,
    held: IAMUserRole,
    *,
    lasting: bool,
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    # Taking a role away, or narrowing it, needs the rights it gives: nobody is demoted
    # from below. Laying down one's own is always possible, unless it is the last.
    if actor.user_id != user.id:
        guard_rights(
            _rights(tree, role, held.scope, held.organization_id),
            role=role.name,
            target_parent_id=user.parent_id,
            actor_grants=actor_grants,
            actor=actor,
        )
    if not lasting and held.scope in TENANT_WIDE and role.id in administrator_roles(tree):
        guard_last_admin(user.id, actor)


def _check_scope(
    user: Any, scope: str, organization_id: UUID | None, expires_at: datetime | None
) -> None:
    if scope not in SCOPES:
        raise InvalidInput(field="scope")
    if expires_at is not None and expires_at <= clock.now():
        raise InvalidInput(N_("The end must lie in the future"), field="expires_at")
    if scope not in BY_ORGANIZATION:
        if organization_id is not None:
            raise InvalidInput(
                N_("Choose “Their organization and below” or “Their team” above, or leave this "
                   "at “Their own organization”"),
                field="organization_id",
            )  # fmt: skip
        return
    if organization_id is None and user.parent_id is None:
        raise InvalidInput(N_("Choose an organization"), field="organization_id")
    if organization_id is not None:
        model = organization()
        if session().scalar(select(model.id).where(model.id == organization_id)) is None:
            raise NotFound


def _check_reach(organization_id: UUID, actor_grants: Grants | None) -> None:
    # One beyond the giver's organizations is as one that is not there (AT-369).
    if not (actor_grants or Grants()).allows("role:assign", parent_id=organization_id):
        raise NotFound


def _check_administrator(tree: Tree, role: IAMRole, scope: str) -> None:
    # Code asks for these by name: held over a part only, they would open the whole.
    if scope not in TENANT_WIDE and role.id in administrator_roles(tree):
        raise InvalidInput(N_("An administrator role is given for the whole tenant"), field="scope")


def _rights(tree: Tree, role: IAMRole, scope: str, organization_id: UUID | None) -> set[Right]:
    held = role_permissions([node.id for node in lineage(tree, role.id)])
    return role_rights(tree, held, role.id, scope=scope, organization_id=organization_id)


def _assignment(user_id: UUID, role_id: UUID) -> IAMUserRole | None:
    return session().scalar(
        select(IAMUserRole).where(IAMUserRole.user_id == user_id, IAMUserRole.role_id == role_id)
    )


def _described(held: IAMUserRole | None) -> dict[str, Any]:
    if held is None:
        return {}
    return {
        "scope": held.scope,
        "organization_id": held.organization_id,
        "expires_at": held.expires_at,
    }


def _record_assigned(
    user: Any, role: IAMRole, held: IAMUserRole, before: dict[str, Any], actor: Actor
) -> None:
    record(
        events.ROLE_ASSIGNED,
        resource=("user_account", user.id),
        changes=changes_of(before, _described(held)),
        actor=actor,
        role=role.name,
        scope=held.scope,
        expires_at=held.expires_at,
    )
    _announce(user.id)


def _announce(user_id: UUID) -> None:
    def send() -> None:
        signals.roles_changed.send(str(user_id))

    after_commit(send)
