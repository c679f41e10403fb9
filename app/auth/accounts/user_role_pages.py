"""The part of an account's page that shows its roles and gives another one (L2, K4).

Offers what the reader could give to this person; `services_rbac` decides what they may.
"""

from __future__ import annotations

from datetime import datetime, time
from typing import Any
from uuid import UUID

from ...authz import services_rbac
from ...authz.forms import SCOPE_LABELS
from ...authz.grants import BY_ORGANIZATION
from ...core import clock, dates
from ...core.i18n import _
from ...core.ids import parse_id
from ..models import IAMUserAccount
from ..web.current import current_user
from .admin_pages import reach
from .forms_admin import RoleForm
from .services_directory import grantable_scopes, list_organizations
from .services_reach import organization_names

_DAYS_END = time(23, 59, 59)


def role_form(user: IAMUserAccount) -> RoleForm:
    """Return the form of a role to give, with what its author could give to this person."""
    form = RoleForm()
    held = {item.role.id for item in services_rbac.roles_of(user)}
    offered = _offered(user)
    roles = [role for role, _scopes in offered if role.id not in held]
    scopes = {scope for role, own in offered if role.id not in held for scope in own}
    places = list_organizations(reach("role:assign")) if roles else []
    form.role.choices = [("", _("Choose a role")), *((str(r.id), r.name) for r in roles)]
    form.scope.choices = [
        ("", _("As usual for the role")),
        *((name, label) for name, label in SCOPE_LABELS.items() if name in scopes),
    ]
    form.organization_id.choices = [
        ("", _("Their own organization")),
        *((str(row.id), row.name) for row in places),
    ]
    return form


def wanted(form: RoleForm, user: IAMUserAccount) -> dict[str, Any]:
    """Return the role that a form names, and how it is to be held. Raises NotFound."""
    role = services_rbac.get_role(parse_id(form.role.data))
    usual = next((own for item, own in _offered(user) if item.id == role.id), None)
    organization_id = parse_id(form.organization_id.data)
    scope = form.scope.data or (usual[0] if usual else None)
    if not form.scope.data and organization_id is not None:
        scope = "organization"  # an organization was named: over it, and no further
    day = form.expires_at.data
    ends = datetime.combine(day, _DAYS_END, dates.zone(current_user.timezone)) if day else None
    return {
        "role": role,
        "scope": scope,
        "organization_id": organization_id,
        "expires_at": ends,
    }


def roles_shown(user: IAMUserAccount) -> list[dict[str, Any]]:
    """Return the roles of a person, and over what they hold each."""
    names = organization_names(reach("user:read"))
    at = clock.now()
    return [
        {
            "id": held.role.id,
            "name": held.role.name,
            "description": held.role.description,
            "scope": held.assignment.scope,
            "over": _over(held.assignment.scope, held.assignment.organization_id, names),
            "expires_at": held.assignment.expires_at,
            "live": held.is_live(at),
            "mapped": held.assignment.connection_id is not None,
        }
        for held in services_rbac.roles_of(user)
    ]


def _offered(user: IAMUserAccount) -> list[Any]:
    if not reach("role:assign").has(user.parent_id):
        return []
    return grantable_scopes(current_user.grants, user.parent_id)


def _over(scope: str, organization_id: UUID | None, names: dict[UUID, str]) -> str:
    if scope in BY_ORGANIZATION and organization_id is not None:
        return names.get(organization_id) or _("Another organization")
    return str(SCOPE_LABELS.get(scope, scope))
