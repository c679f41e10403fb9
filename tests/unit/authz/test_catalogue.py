"""The catalogue is whole: names are well formed, roles refer to what exists."""

from __future__ import annotations

import re

from app.authz.catalogue import (
    ADMIN_ACCESS,
    ADMINISTRATORS,
    HARMLESS,
    NAMES,
    PERMISSIONS,
    SYSTEM_ROLES,
    SystemRole,
)
from app.authz.models import SCOPES

BY_NAME = {item.name: item for item in SYSTEM_ROLES}


def test_l2_there_are_ten_system_roles() -> None:
    assert set(BY_NAME) == {
        "super_admin", "partner_admin", "client_admin", "tenant_admin", "user_manager",
        "auditor", "developer", "viewer", "editor", "operator",
    }  # fmt: skip
    assert len(SYSTEM_ROLES) == len(BY_NAME)


def test_permissions_are_resource_and_action_and_described() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for item in PERMISSIONS:
        assert re.fullmatch(r"[a-z_]+:[a-z_]+", item.name)
        assert item.name == f"{item.resource}:{item.action}"
        assert item.description


def test_roles_hold_known_permissions_in_known_scopes_and_parents_come_first() -> None:
    seen: set[str] = set()
    for role in SYSTEM_ROLES:
        assert role.description
        assert set(role.permissions) <= set(NAMES)
        assert set(role.permissions.values()) <= set(SCOPES)
        assert role.parent is None or role.parent in seen
        seen.add(role.name)


def test_d6_whoever_administers_or_reads_the_trail_needs_a_second_factor() -> None:
    required = {role.name for role in SYSTEM_ROLES if role.mfa_policy == "required"}
    assert required == {
        "super_admin", "tenant_admin", "partner_admin", "client_admin", "user_manager", "auditor",
        "operator", "developer",
    }  # fmt: skip
    assert {role.mfa_policy for role in SYSTEM_ROLES} == {"required", "optional"}


def test_at_489_every_role_with_the_administration_pages_requires_a_second_factor() -> None:
    for role in SYSTEM_ROLES:
        above: SystemRole | None = role
        while above is not None:
            if ADMIN_ACCESS in above.permissions:
                assert role.mfa_policy == "required", role.name
            above = BY_NAME[above.parent] if above.parent else None


def test_k4_the_name_of_viewer_alone_opens_nothing() -> None:
    assert {"viewer"} == HARMLESS


def test_k5_only_super_admin_holds_anything_globally() -> None:
    assert [r.name for r in SYSTEM_ROLES if "global" in r.permissions.values()] == ["super_admin"]
    assert set(BY_NAME["super_admin"].permissions) == set(NAMES)
    assert set(BY_NAME["tenant_admin"].permissions) == set(NAMES)
    assert set(BY_NAME) >= ADMINISTRATORS


def test_the_auditor_changes_nothing() -> None:
    verbs = {name.partition(":")[2] for name in BY_NAME["auditor"].permissions}
    assert verbs == {"access", "read", "export"}
