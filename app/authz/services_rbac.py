"""Role-based access control: the public face of this package (requirements L2, L3).

Resolution and its cache are in `services_grants`, the rules in `services_guards`,
roles in `services_roles`, assignments in `services_assignments`, the catalogue's
way into a tenant in `services_seed`. Callers import from here.
"""

from __future__ import annotations

from .services_assignments import HeldRole, assign_role, revoke_role, roles_of
from .services_grants import forget, resolve
from .services_guards import (
    bump_user,
    guard_last_admin,
    guard_outranks,
    guard_reach,
    holds_names,
    is_privileged,
)
from .services_roles import (
    MFA_POLICIES,
    HeldPermission,
    create_role,
    delete_role,
    find_role,
    get_role,
    list_permissions,
    list_roles,
    member_count,
    member_counts,
    permissions_of,
    roles_within,
    set_role_permissions,
    update_role,
)
from .services_seed import define_permission, seed_catalogue

__all__ = [
    "MFA_POLICIES",
    "HeldPermission",
    "HeldRole",
    "assign_role",
    "bump_user",
    "create_role",
    "define_permission",
    "delete_role",
    "find_role",
    "forget",
    "get_role",
    "guard_last_admin",
    "guard_outranks",
    "guard_reach",
    "holds_names",
    "is_privileged",
    "list_permissions",
    "list_roles",
    "member_count",
    "member_counts",
    "permissions_of",
    "resolve",
    "revoke_role",
    "roles_of",
    "roles_within",
    "seed_catalogue",
    "set_role_permissions",
    "update_role",
]
