"""Roles: made, changed and deleted only by those who may, and never beyond themselves."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from app.audit.models import IAMAuthLog
from app.auth.models import IAMPermission, IAMRole, IAMRolePermission
from app.authz import services_rbac as rbac
from app.authz.catalogue import PERMISSIONS, SYSTEM_ROLES
from app.authz.errors import (
    OwnRights,
    RightsExceeded,
    RoleCycle,
    RoleInUse,
    RoleNameTaken,
    SystemRoleFixed,
)
from app.authz.hierarchy import MAX_DEPTH
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.errors import Forbidden, InvalidInput, NotFound


def held(role: IAMRole) -> dict[str, str]:
    return {item.permission.name: item.scope for item in rbac.permissions_of(role)}


def test_l2_seeding_twice_changes_nothing(realm: Any) -> None:
    def count() -> list[int]:
        with realm.scope():
            return [
                session().scalar(select(func.count(model.id))) or 0
                for model in (IAMRole, IAMPermission, IAMRolePermission, IAMAuthLog)
            ]

    before = count()
    assert before[:2] == [len(SYSTEM_ROLES), len(PERMISSIONS)]
    with transaction():
        rbac.seed_catalogue(realm.id, realm.system)
    assert count() == before


def test_l2_seeding_repairs_a_system_role_and_leaves_custom_ones(realm: Any) -> None:
    realm.make_role("reporter", permissions={"audit:read": "tenant"})
    user = realm.person("una", "auditor")
    with realm.scope(), transaction():
        role = rbac.find_role("auditor")
        assert role is not None
        role.mfa_policy = "off"
        extra = session().scalar(select(IAMPermission).where(IAMPermission.name == "user:delete"))
        assert extra is not None
        session().add(IAMRolePermission(role_id=role.id, permission_id=extra.id, scope="tenant"))
        rbac.bump_user(user.id)
    assert realm.grants(user).allows("user:delete")
    with transaction():
        rbac.seed_catalogue(realm.id, realm.system)
    grants = realm.grants(user)
    assert not grants.allows("user:delete")
    assert grants.mfa_policy == "required"
    with realm.scope():
        assert held(realm.role("reporter")) == {"audit:read": "tenant"}


def test_a_role_shows_what_it_holds_and_where_it_comes_from(realm: Any) -> None:
    with realm.scope():
        items = rbac.permissions_of(realm.role("partner_admin"))
    found = {(item.permission.name, item.scope): item.source for item in items}
    assert found["organization:create", "organization"] is None
    assert found["user:create", "organization"] == "client_admin"
    assert found["user:read", "own"] == "viewer"


def test_a_tenant_admin_makes_changes_and_deletes_a_role(realm: Any) -> None:
    anna = realm.person("anna", "tenant_admin")
    with realm.scope(), transaction():
        role = rbac.create_role(
            "support_desk",
            description="First line",
            parent_id=realm.role("viewer").id,
            mfa_policy="required",
            permissions={"user:read": "tenant", "session:read": "organization"},
            **realm.acting(anna),
        )
    with realm.scope():
        assert held(role)["session:read"] in {"own", "organization"}
    with realm.scope(), transaction():
        rbac.update_role(
            role, name="help_desk", description="Second line", parent_id=None,
            mfa_policy=None, **realm.acting(anna),
        )  # fmt: skip
        rbac.set_role_permissions(role, {"user:read": "own"}, **realm.acting(anna))
    with realm.scope():
        assert held(realm.role("help_desk")) == {"user:read": "own"}
    with realm.scope(), transaction():
        rbac.delete_role(role, **realm.acting(anna))
    with realm.scope():
        assert rbac.find_role("help_desk") is None
        actions = list(
            session().scalars(
                select(IAMAuthLog.action)
                .where(IAMAuthLog.resource_id == role.id)
                .order_by(IAMAuthLog.id)
            )
        )
    assert actions == ["ROLE_CREATED", "ROLE_UPDATED", "ROLE_UPDATED", "ROLE_DELETED"]


@pytest.mark.parametrize("holder", ["viewer", "auditor", "user_manager", "developer", None])
def test_l2_making_a_role_needs_the_right_to(realm: Any, holder: str | None) -> None:
    user = realm.person("una", *([holder] if holder else []))
    with pytest.raises(Forbidden), realm.scope(), transaction():
        rbac.create_role("mine", **realm.acting(user))
    with realm.scope():
        assert rbac.find_role("mine") is None
    assert [row.status for row in realm.refusals()] == ["denied"]


def test_a_person_without_grants_is_not_the_system(realm: Any) -> None:
    user = realm.person("una", "tenant_admin")
    for kind in ("user", "system", "anonymous"):
        actor = Actor(kind=kind, tenant_id=realm.id, user_id=user.id)
        with pytest.raises(Forbidden), realm.scope(), transaction():
            rbac.create_role("mine", actor_grants=None, actor=actor)


def test_at_376_an_author_cannot_put_in_what_they_lack(realm: Any) -> None:
    realm.make_role(
        "role_author",
        permissions={"role:create": "tenant", "role:update": "tenant", "user:read": "tenant"},
    )
    user = realm.person("una", "role_author")
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.create_role("mine", permissions={"user:delete": "tenant"}, **realm.acting(user))
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.create_role("mine", permissions={"user:read": "global"}, **realm.acting(user))
    with realm.scope(), transaction():
        mine = rbac.create_role(
            "mine", permissions={"user:read": "organization"}, **realm.acting(user)
        )
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.set_role_permissions(mine, {"audit:read": "own"}, **realm.acting(user))
    with realm.scope():
        assert held(mine) == {"user:read": "organization"}


def test_at_376_a_right_by_organization_is_not_enough_for_a_role_of_the_whole_tenant(
    realm: Any,
) -> None:
    realm.make_role("regional", permissions={"role:create": "tenant", "user:read": "organization"})
    user = realm.person("una", "regional", parent=realm.organization("Here"))
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.create_role("mine", permissions={"user:read": "organization"}, **realm.acting(user))


def test_at_393_a_parent_brings_its_rights_along(realm: Any) -> None:
    realm.make_role("role_author", permissions={"role:create": "tenant", "role:update": "tenant"})
    user = realm.person("una", "role_author")
    for parent in ("auditor", "tenant_admin", "super_admin"):
        with pytest.raises(RightsExceeded), realm.scope(), transaction():
            rbac.create_role("mine", parent_id=realm.role(parent).id, **realm.acting(user))
    plain = realm.make_role("plain")
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.update_role(
            plain, name="plain", description="", parent_id=realm.role("auditor").id,
            mfa_policy=None, **realm.acting(user),
        )  # fmt: skip


def test_at_376_a_parent_brings_its_name_along(realm: Any) -> None:
    realm.make_role("role_author", permissions={"role:create": "tenant"})
    user = realm.person("una", "role_author", "viewer")
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.create_role("mine", parent_id=realm.role("editor").id, **realm.acting(user))
    assert realm.refusals()[-1].details["reason"] == "lacks the role editor"
    with realm.scope(), transaction():
        rbac.create_role("mine", parent_id=realm.role("viewer").id, **realm.acting(user))
    realm.give(user, "editor")
    anna = realm.person("anna", "tenant_admin")
    for name, author in (("second", user), ("third", anna)):
        with realm.scope(), transaction():
            rbac.create_role(name, parent_id=realm.role("editor").id, **realm.acting(author))


def test_k5_a_tenant_admin_cannot_inherit_from_super_admin(realm: Any) -> None:
    anna = realm.person("anna", "tenant_admin")
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.create_role("mine", parent_id=realm.role("super_admin").id, **realm.acting(anna))


def test_at_375_nobody_edits_a_role_they_hold(realm: Any) -> None:
    realm.make_role("base_role")
    realm.make_role("child_role", parent_id=realm.role("base_role").id)
    anna = realm.person("anna", "tenant_admin", "child_role")
    for name in ("child_role", "base_role"):
        role = realm.role(name)
        calls: list[Any] = [
            lambda role=role: rbac.set_role_permissions(role, {}, **realm.acting(anna)),
            lambda role=role: rbac.delete_role(role, **realm.acting(anna)),
            lambda role=role: rbac.update_role(
                role, name=role.name, description="x", parent_id=None, mfa_policy=None,
                **realm.acting(anna),
            ),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(OwnRights), realm.scope(), transaction():
                call()
    assert len(realm.refusals()) == 6


def test_nobody_weakens_a_role_above_their_own(realm: Any) -> None:
    realm.make_role("strong", permissions={"user:delete": "tenant"})
    realm.make_role("role_author", permissions={"role:update": "tenant", "role:delete": "tenant"})
    user = realm.person("una", "role_author")
    strong = realm.role("strong")
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.set_role_permissions(strong, {}, **realm.acting(user))
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.delete_role(strong, **realm.acting(user))


def test_l2_system_roles_stay_as_they_are_even_for_the_system(realm: Any) -> None:
    role = realm.role("viewer")
    for how in ({"actor_grants": None, "actor": realm.system},):
        with pytest.raises(SystemRoleFixed), realm.scope(), transaction():
            rbac.set_role_permissions(role, {}, **how)
        with pytest.raises(SystemRoleFixed), realm.scope(), transaction():
            rbac.delete_role(role, **how)
        with pytest.raises(SystemRoleFixed), realm.scope(), transaction():
            rbac.update_role(
                role, name="viewer", description="", parent_id=None, mfa_policy=None, **how
            )


def test_a_role_in_use_is_not_deleted(realm: Any) -> None:
    anna = realm.person("anna", "tenant_admin")
    realm.make_role("held_role")
    realm.make_role("parent_role")
    realm.make_role("child_role", parent_id=realm.role("parent_role").id)
    realm.person("una", "held_role")
    for name in ("held_role", "parent_role"):
        with pytest.raises(RoleInUse), realm.scope(), transaction():
            rbac.delete_role(realm.role(name), **realm.acting(anna))


def test_at_373_a_cycle_of_parents_is_refused(realm: Any) -> None:
    one = realm.make_role("role_one")
    two = realm.make_role("role_two", parent_id=one.id)
    three = realm.make_role("role_three", parent_id=two.id)
    for parent in (one, two, three):
        with pytest.raises(RoleCycle), realm.scope(), transaction():
            rbac.update_role(
                realm.role("role_one"), name="role_one", description="", parent_id=parent.id,
                mfa_policy=None, actor_grants=None, actor=realm.system,
            )  # fmt: skip


def test_at_374_roles_do_not_nest_without_end(realm: Any) -> None:
    parent = None
    for level in range(MAX_DEPTH):
        parent = realm.make_role(f"level_{level}", parent_id=parent and parent.id)
    with pytest.raises(RoleCycle):
        realm.make_role("one_too_deep", parent_id=parent and parent.id)
    top = realm.role("level_0")
    above = realm.make_role("above_all")
    with pytest.raises(RoleCycle), realm.scope(), transaction():
        rbac.update_role(
            top, name="level_0", description="", parent_id=above.id, mfa_policy=None,
            actor_grants=None, actor=realm.system,
        )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["", "ab", "Admin", "admin role", "1role", "role_", "_role", "r\u00f6le", "a" * 65, "ro\nle"],
)
def test_a_role_name_is_plain(realm: Any, name: str) -> None:
    with pytest.raises(InvalidInput):
        realm.make_role(name)


def test_a_role_name_is_taken_once_per_tenant(realm: Any, other_realm: Any) -> None:
    realm.make_role("reporter")
    other_realm.make_role("reporter")
    for taken in ("reporter", "viewer"):
        with pytest.raises(RoleNameTaken):
            realm.make_role(taken)


@pytest.mark.parametrize(
    "permissions",
    [
        {"user:fly": "tenant"}, {"user:*": "tenant"}, {"*": "tenant"},
        {"user:read": "universe"}, {"user:read": ""},
    ],
)  # fmt: skip
def test_at_377_only_known_permissions_in_known_scopes_are_stored(
    realm: Any, permissions: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput):
        realm.make_role("reporter", permissions=permissions)


@pytest.mark.parametrize("name", ["document:*", "*:read", "document", "Document:read", "a:b:c"])
def test_at_377_a_host_cannot_define_a_wildcard(realm: Any, name: str) -> None:
    with pytest.raises(InvalidInput), realm.scope(), transaction():
        rbac.define_permission(name, "", actor=realm.system)


def test_a_host_defines_its_own_permission_once(realm: Any) -> None:
    for _again in range(2):
        with realm.scope(), transaction():
            rbac.define_permission("document:sign", "Sign documents", actor=realm.system)
    realm.make_role("signer", permissions={"document:sign": "own"})
    user = realm.person("una", "signer")
    assert realm.grants(user).allows("document:sign", owner_id=user.id, user_id=user.id)


def test_at_366_and_369_roles_of_another_tenant_are_not_there(realm: Any, other_realm: Any) -> None:
    foreign = other_realm.make_role("reporter")
    anna = realm.person("anna", "tenant_admin")
    with realm.scope(), pytest.raises(NotFound):
        rbac.get_role(foreign.id)
    with pytest.raises(NotFound), realm.scope(), transaction():
        rbac.create_role("mine", parent_id=foreign.id, **realm.acting(anna))
    for call in (
        lambda: rbac.delete_role(foreign, **realm.acting(anna)),
        lambda: rbac.set_role_permissions(foreign, {}, **realm.acting(anna)),
    ):
        with pytest.raises(NotFound), realm.scope(), transaction():
            call()
    with realm.scope():
        assert foreign.id not in {role.id for role in rbac.list_roles()}
        assert foreign.id not in rbac.member_counts()
