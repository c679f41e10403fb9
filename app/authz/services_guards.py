"""Guards: who may change whose rights. Every refusal is audited before it is raised.

Owns four rules: nobody hands out what they do not hold, nobody changes their own
rights, an administrator is not overruled from below, a tenant keeps an administrator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import select, update

from ..audit import events
from ..audit.services_audit import DENIED, record
from ..core import clock
from ..core.actor import Actor
from ..core.db import session
from ..core.errors import Forbidden, IAMError, NotFound
from ..core.scoping import current_tenant_id
from .catalogue import ADMIN_ACCESS, ADMINISTRATORS, HARMLESS, NAMES, SUPER_ADMIN
from .errors import LastAdministrator, OwnRights, RightsExceeded, SystemRoleFixed
from .grants import GLOBAL, TENANT_WIDE, Grants, Right
from .hierarchy import Tree, lineage
from .models import IAMRole, IAMUserRole
from .neighbours import account, tenant
from .services_grants import rights_of, role_tree

ACTIVE, END_USER = "active", "end_user"


def bump_tenant() -> None:
    """Give the tenant in scope a new authorization version, and hold its row.

    First statement of every change of roles: it serialises such changes, and locks
    are always taken tenant, then person, then role.
    """
    model = tenant()
    statement = (
        update(model)
        .where(model.id == current_tenant_id())
        .values(authz_version=model.authz_version + 1)
    )
    if not session().execute(statement).rowcount:  # type: ignore[attr-defined]
        raise NotFound


def bump_user(user_id: UUID) -> None:
    """Give a person a new authorization version, and hold their row. Raises NotFound.

    Call it too when an account's organization changes: rights depend on it.
    """
    model = account()
    statement = (
        update(model).where(model.id == user_id).values(authz_version=model.authz_version + 1)
    )
    if not session().execute(statement).rowcount:  # type: ignore[attr-defined]
        raise NotFound


def refuse(
    error: IAMError, *, reason: str, actor: Actor, role: str = "", resource: Any = None
) -> NoReturn:
    """Record that a change of rights was refused, and raise `error`."""
    record(
        events.ROLE_CHANGE_REFUSED,
        resource=resource,
        status=DENIED,
        error=error.code,
        actor=actor,
        role=role,
        reason=reason,
    )
    raise error


def require(
    permission: str,
    *,
    role: str = "",
    parent_id: UUID | None = None,
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    """Refuse an acting person without `permission`. Raises Forbidden."""
    if is_system(actor_grants, actor) or (
        actor_grants is not None and actor_grants.allows(permission, parent_id=parent_id)
    ):
        return
    refuse(Forbidden(), reason=f"lacks {permission}", role=role, actor=actor)


def guard_reach(
    permission: str, parent_id: UUID | None, *, actor_grants: Grants | None, actor: Actor
) -> None:
    """Refuse an act on a person of an organization that `permission` does not reach (K4).

    Raises NotFound where the acting person may not even see them, else Forbidden.
    """
    if is_system(actor_grants, actor):
        return
    held = actor_grants or Grants()
    if held.allows(permission, parent_id=parent_id):
        return
    if not held.allows("user:read", parent_id=parent_id):
        raise NotFound
    refuse(Forbidden(), reason=f"lacks {permission}", actor=actor)


def is_system(actor_grants: Grants | None, actor: Actor) -> bool:
    """Return whether a job or the command line acts: no grants and no person behind it."""
    return actor_grants is None and actor.kind == "system" and actor.user_id is None


def guard_editable(role: IAMRole, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Refuse a change of a system role or of one the acting person holds (AT-375)."""
    if role.tenant_id != current_tenant_id():
        raise NotFound
    if role.is_system:
        refuse(SystemRoleFixed(), reason="system role", role=role.name, resource=role, actor=actor)
    if actor_grants is not None and actor_grants.has_role(role.name):
        refuse(OwnRights(), reason="holds the role", role=role.name, resource=role, actor=actor)


def guard_rights(
    rights: Iterable[Right],
    *,
    role: str,
    target_parent_id: UUID | None = None,
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    """Refuse to hand out a right that the acting person does not hold (AT-376)."""
    if is_system(actor_grants, actor):
        return
    held = actor_grants or Grants()
    for right in rights:
        if not held.covers(right, target_parent_id=target_parent_id):
            reason = f"lacks {right.permission} in scope {right.scope}"
            refuse(RightsExceeded(), reason=reason, role=role, actor=actor)


def is_administrator(grants: Grants) -> bool:
    """Return whether a person administers the whole tenant, and so gives any role's name."""
    tenant_wide = grants.organizations_for("role:assign") is None
    return tenant_wide and grants.has_any_role(*ADMINISTRATORS)


def holds_names(grants: Grants, names: Iterable[str]) -> bool:
    """Return whether a person may deal in roles of these names: `guard_names` as a question."""
    return not _names_lacking(grants, names)


def guard_names(
    names: Iterable[str], *, role: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Refuse to deal in a role whose name the acting person lacks (AT-375, K4).

    Hosts ask for roles by name: a role without one permission of ours may open
    everything there. Give it the names of the role and of all it inherits from.
    """
    if is_system(actor_grants, actor):
        return
    for name in _names_lacking(actor_grants or Grants(), names):
        refuse(RightsExceeded(), reason=f"lacks the role {name}", role=role, actor=actor)


def _names_lacking(grants: Grants, names: Iterable[str]) -> list[str]:
    lacking = sorted(set(names) - grants.roles - HARMLESS)
    if is_administrator(grants):
        return [name for name in lacking if name == SUPER_ADMIN]
    return lacking


def guard_super_admin(
    names: Iterable[str], *, role: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Refuse to deal in `super_admin` unless the acting person is one."""
    if SUPER_ADMIN not in names or is_system(actor_grants, actor):
        return
    if actor_grants is None or not actor_grants.has_role(SUPER_ADMIN):
        refuse(RightsExceeded(), reason="super_admin only", role=role, actor=actor)


def guard_outranks(
    user_id: UUID,
    *,
    moved_to: UUID | None = None,
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    """Refuse to administer an account that has a role or a right the actor lacks.

    Otherwise a user manager could reset the password and factors of an administrator,
    or of an editor of the host's, and sign in as them. Rights of the host's own shield
    nobody from an administrator, who holds only ours. `moved_to` asks for an organization
    that they do not belong to yet.
    """
    if is_system(actor_grants, actor) or user_id == actor.user_id:
        return
    roles, rights, parent_id = rights_of(user_id, clock.now())
    guard_super_admin(roles, role="", actor_grants=actor_grants, actor=actor)
    guard_names(roles, role="", actor_grants=actor_grants, actor=actor)
    held = actor_grants or Grants()
    guard_rights(
        (right for right in rights if not _of_the_host(right, held)),
        role="",
        target_parent_id=moved_to or parent_id,
        actor_grants=actor_grants,
        actor=actor,
    )


def _of_the_host(right: Right, held: Grants) -> bool:
    # What an administrator need not hold to administer its holder; never across tenants.
    if right.permission in NAMES or not is_administrator(held):
        return False
    return right.scope != GLOBAL or held.has_role(SUPER_ADMIN)


def is_privileged(user: Any) -> bool:
    """Return whether an account administers anything, as stored now.

    Whoever decides about it without its owner asks here first: another service's word,
    say, does not sign anybody in to it.
    """
    _roles, rights, _parent_id = rights_of(user.id, clock.now())
    return user.actor_type != END_USER or any(item.permission == ADMIN_ACCESS for item in rights)


def guard_last_admin(user_id: UUID, actor: Actor) -> None:
    """Refuse to take the last administrator from a tenant (AT-380, AT-452).

    Call it before any other write when an account is suspended, disabled, deleted
    or loses an administrator role: it holds the tenant's row until the commit, so
    two such changes follow each other, and reads what is committed by then.
    Raises LastAdministrator.
    """
    model = tenant()
    session().execute(select(model.id).where(model.id == current_tenant_id()).with_for_update())
    permanent, temporary = _administrators()
    if user_id not in permanent | temporary:
        return
    if permanent - {user_id} or (user_id not in permanent and permanent | temporary > {user_id}):
        return
    refuse(
        LastAdministrator(),
        reason="last administrator",
        resource=("user_account", user_id),
        actor=actor,
    )


def hold_administrators() -> bool:
    """Hold the tenant's row until the commit; return whether it has an administrator now.

    For a change of many people at once: asked before and after it, as `guard_last_admin`
    asks about one.
    """
    model = tenant()
    session().execute(select(model.id).where(model.id == current_tenant_id()).with_for_update())
    permanent, temporary = _administrators()
    return bool(permanent or temporary)


def administration() -> tuple[bool, bool]:
    """Return whether the tenant in scope is administered for good, and whether at all.

    For a change of what roles inherit: compared before and after it, less than before is a
    refusal. The caller holds the tenant's row.
    """
    permanent, temporary = _administrators()
    return bool(permanent), bool(permanent or temporary)


def administrator_roles(tree: Tree) -> set[UUID]:
    """Return the administrator roles and whatever inherits from them."""
    return {
        role_id
        for role_id in tree
        if any(node.is_system and node.name in ADMINISTRATORS for node in lineage(tree, role_id))
    }


def _administrators() -> tuple[set[UUID], set[UUID]]:
    # Who is an administrator for good, and who until a date: a tenant must not wake
    # up without one, so the second kind does not count as somebody who stays.
    person = account()
    rows = session().execute(
        select(IAMUserRole.user_id, IAMUserRole.expires_at)
        .join(person, person.id == IAMUserRole.user_id)
        .where(
            IAMUserRole.role_id.in_(administrator_roles(role_tree())),
            IAMUserRole.scope.in_(TENANT_WIDE),
            person.status == ACTIVE,
        )
        .order_by(IAMUserRole.user_id)
        .with_for_update()
    )
    found = [(row.user_id, row.expires_at) for row in rows]
    permanent = {user_id for user_id, until in found if until is None}
    at = clock.now()
    temporary = {user_id for user_id, until in found if until is not None and at < until}
    return permanent, temporary - permanent
