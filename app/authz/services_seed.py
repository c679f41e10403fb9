"""Brings a tenant's permissions and system roles to what the catalogue says.

Idempotent: a second run changes nothing, a newer catalogue changes what differs.
Custom roles are never touched.
"""

from __future__ import annotations

import re
from uuid import UUID

from sqlalchemy import delete, select

from ..audit import events
from ..audit.services_audit import record
from ..core import clock
from ..core.actor import Actor
from ..core.db import session
from ..core.errors import InvalidInput
from ..core.i18n import N_
from ..core.scoping import current_tenant_id, tenant_scope
from .catalogue import PERMISSIONS, SYSTEM_ROLES, Permission, SystemRole
from .errors import RoleNameTaken
from .models import IAMPermission, IAMRole, IAMRolePermission
from .neighbours import tenant
from .services_grants import role_permissions
from .services_guards import bump_tenant

_NAME = re.compile(r"[a-z][a-z0-9_]{0,46}:[a-z][a-z0-9_]{0,46}")


def seed_catalogue(tenant_id: UUID, actor: Actor) -> None:
    """Create or renew permissions and system roles of a tenant. Safe to repeat and to race."""
    with tenant_scope(tenant_id):
        _lock()
        known = _permissions()
        added = [_add_permission(item) for item in PERMISSIONS if item.name not in known]
        session().flush()
        changed = [item.name for item in SYSTEM_ROLES if _renew(item)]
        session().flush()
        if added or changed:
            bump_tenant()
            record(
                events.CATALOGUE_SEEDED,
                resource=("tenant", tenant_id),
                actor=actor.acting_as(tenant_id=tenant_id),
                permissions=added,
                roles=changed,
            )
            session().flush()  # in this scope: the caller's may be another


def define_permission(name: str, description: str, *, actor: Actor) -> IAMPermission:
    """Add a host's own permission `resource:action` to the tenant; idempotent.

    Raises InvalidInput for a name of another form: a wildcard is no permission.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(N_("A permission is written resource:action"), field="name")
    _lock()
    known = _permissions().get(name)
    if known is not None:
        return known
    _add_permission(Permission(name, description))
    session().flush()
    record(
        events.CATALOGUE_SEEDED,
        resource=("tenant", current_tenant_id()),
        actor=actor,
        permissions=[name],
        roles=[],
    )
    return _permissions()[name]


def _lock() -> None:
    # Two processes that start at once seed one after the other; the reads that follow
    # lock too, so that the second sees what the first has committed.
    model = tenant()
    session().execute(select(model.id).where(model.id == current_tenant_id()).with_for_update())


def _permissions() -> dict[str, IAMPermission]:
    rows = session().scalars(select(IAMPermission).with_for_update())
    return {row.name: row for row in rows}


def _add_permission(item: Permission) -> str:
    session().add(
        IAMPermission(
            name=item.name,
            resource=item.resource,
            action=item.action,
            description=item.description,
        )
    )
    return item.name


def _role(name: str) -> IAMRole | None:
    return session().scalar(select(IAMRole).where(IAMRole.name == name).with_for_update())


def _renew(item: SystemRole) -> bool:
    role = _role(item.name)
    if role is not None and not role.is_system:
        raise RoleNameTaken(f"{item.name} is a system role now; rename the tenant's own role")
    if role is None:
        role = IAMRole(name=item.name, is_system=True, created_at=clock.now())
        session().add(role)
    parent = _role(item.parent) if item.parent else None
    role.description, role.mfa_policy = item.description, item.mfa_policy
    role.parent_id = parent.id if parent else None
    changed = session().is_modified(role) or role in session().new
    session().flush()
    return _renew_permissions(role, item) or changed


def _renew_permissions(role: IAMRole, item: SystemRole) -> bool:
    wanted = frozenset(item.permissions.items())
    if role_permissions([role.id]).get(role.id, frozenset()) == wanted:
        return False
    known = _permissions()
    session().execute(delete(IAMRolePermission).where(IAMRolePermission.role_id == role.id))
    session().add_all(
        IAMRolePermission(role_id=role.id, permission_id=known[name].id, scope=scope)
        for name, scope in sorted(wanted)
    )
    return True
