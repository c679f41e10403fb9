"""Giving and taking roles: never beyond oneself, never from below, never the last one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.audit.models import IAMAuthLog
from app.auth.models import IAMUserAccount, IAMUserRole
from app.authz import services_rbac as rbac
from app.authz.errors import LastAdministrator, OwnRights, RightsExceeded
from app.core import clock, signals
from app.core.db import session, transaction
from app.core.errors import Forbidden, InvalidInput, NotFound


def names(realm: Any, user: IAMUserAccount) -> set[str]:
    with realm.scope():
        return {held.role.name for held in rbac.roles_of(user)}


def test_l2_an_assignment_says_by_whom_in_which_scope_and_until_when(realm: Any) -> None:
    anna, una = realm.person("anna", "tenant_admin"), realm.person("una")
    until = clock.now() + timedelta(days=1)
    realm.assign(anna, una, "auditor", expires_at=until)
    with realm.scope():
        (held,) = rbac.roles_of(una)
        given = IAMAuthLog.action == "ROLE_ASSIGNED"
        row = session().scalar(select(IAMAuthLog).where(given, IAMAuthLog.actor_id == anna.id))
    assert (held.role.name, held.assignment.scope) == ("auditor", "tenant")
    assert held.assignment.assigned_by == anna.id
    assert held.assignment.expires_at == until
    assert held.is_live(clock.now())
    assert not held.is_live(until)
    assert row is not None
    assert row.details["role"] == "auditor"
    assert row.subject_id == una.id


def test_an_assignment_changes_in_place(realm: Any) -> None:
    anna, una = realm.person("anna", "tenant_admin"), realm.person("una", "auditor")
    realm.assign(anna, una, "auditor", scope="own")
    with realm.scope():
        (held,) = rbac.roles_of(una)
    assert held.assignment.scope == "own"
    realm.revoke(anna, una, "auditor")
    assert names(realm, una) == set()
    with pytest.raises(NotFound):
        realm.revoke(anna, una, "auditor")


@pytest.mark.parametrize("holder", ["viewer", "editor", "auditor", "operator", "developer"])
def test_at_375_giving_roles_needs_the_right_to(realm: Any, holder: str) -> None:
    una, otto = realm.person("una", holder), realm.person("otto", "viewer")
    with pytest.raises(Forbidden):
        realm.assign(una, otto, "viewer")
    with pytest.raises(Forbidden):
        realm.revoke(una, otto, "viewer")


@pytest.mark.parametrize(
    "role",
    ["super_admin", "tenant_admin", "auditor", "operator", "developer", "partner_admin", "editor"],
)
def test_at_375_a_user_manager_gives_nothing_above_their_own(realm: Any, role: str) -> None:
    uma, otto = realm.person("uma", "user_manager"), realm.person("otto")
    with pytest.raises(RightsExceeded):
        realm.assign(uma, otto, role)
    assert names(realm, otto) == set()
    assert realm.refusals()[-1].details["role"] == role


@pytest.mark.parametrize("role", ["viewer", "user_manager"])
def test_at_375_a_user_manager_gives_what_they_hold(realm: Any, role: str) -> None:
    uma, otto = realm.person("uma", "user_manager"), realm.person("otto")
    realm.assign(uma, otto, role)
    assert names(realm, otto) == {role}


def test_at_375_a_user_manager_cannot_give_a_role_whose_name_they_lack(realm: Any) -> None:
    realm.make_role("sub_editor", parent_id=realm.role("editor").id)
    realm.make_role("approver")
    uma, otto = realm.person("uma", "user_manager"), realm.person("otto")
    for role in ("editor", "sub_editor", "approver"):
        with pytest.raises(RightsExceeded):
            realm.assign(uma, otto, role)
        assert realm.refusals()[-1].details["reason"].startswith("lacks the role ")
        with realm.scope():
            assert role not in {item.name for item in rbac.roles_within(realm.grants(uma))}
    assert names(realm, otto) == set()
    both = realm.person("both", "user_manager", "sub_editor")
    for role in ("editor", "sub_editor"):
        realm.assign(both, otto, role)
    with pytest.raises(RightsExceeded):
        realm.assign(both, otto, "approver")


def test_at_375_a_user_manager_cannot_make_an_editor_nobody_first(realm: Any) -> None:
    uma, ed = realm.person("uma", "user_manager"), realm.person("ed", "editor", "viewer")
    for call in (
        lambda: realm.revoke(uma, ed, "editor"),
        lambda: realm.assign(uma, ed, "editor", expires_at=clock.now() + timedelta(seconds=1)),
    ):
        with pytest.raises(RightsExceeded):
            call()
    realm.revoke(uma, ed, "viewer")
    assert names(realm, ed) == {"editor"}


@pytest.mark.parametrize("by", ["tenant_admin", "super_admin", "site_admin"])
def test_k4_an_administrator_gives_roles_they_do_not_hold(realm: Any, by: str) -> None:
    realm.make_role("approver")
    realm.make_role("site_admin", parent_id=realm.role("tenant_admin").id)
    anna, otto = realm.person("anna", by), realm.person("otto")
    given = {"editor", "operator", "viewer", "developer", "auditor", "approver"}
    for role in sorted(given):
        realm.assign(anna, otto, role)
    assert names(realm, otto) == given
    for role in sorted(given):
        realm.revoke(anna, otto, role)


def test_at_375_giving_roles_in_the_whole_tenant_makes_no_administrator(realm: Any) -> None:
    realm.make_role("role_giver", permissions={"role:assign": "tenant"})
    gil, otto = realm.person("gil", "role_giver"), realm.person("otto")
    with pytest.raises(RightsExceeded):
        realm.assign(gil, otto, "editor")


def test_at_375_nobody_promotes_themselves(realm: Any) -> None:
    anna = realm.person("anna", "tenant_admin")
    for role in ("viewer", "auditor", "super_admin"):
        with pytest.raises(Forbidden):
            realm.assign(anna, anna, role)
    with pytest.raises(OwnRights):
        realm.assign(anna, anna, "viewer")


def test_at_375_nobody_lengthens_their_own_assignment(realm: Any) -> None:
    realm.person("root", "tenant_admin")
    anna = realm.person("anna")
    realm.give(anna, "tenant_admin", expires_at=clock.now() + timedelta(hours=1))
    with pytest.raises(OwnRights):
        realm.assign(anna, anna, "tenant_admin")


def test_k5_only_a_super_admin_makes_and_unmakes_one(realm: Any) -> None:
    root, anna, otto = (
        realm.person("root", "super_admin"),
        realm.person("anna", "tenant_admin"),
        realm.person("otto"),
    )
    with pytest.raises(RightsExceeded):
        realm.assign(anna, otto, "super_admin")
    with pytest.raises(RightsExceeded):
        realm.revoke(anna, root, "super_admin")
    with pytest.raises(RightsExceeded):
        realm.assign(anna, otto, "viewer", scope="global")
    realm.assign(root, otto, "super_admin")
    realm.revoke(root, otto, "super_admin")
    assert names(realm, otto) == set()


def test_nobody_is_demoted_from_below(realm: Any) -> None:
    uma = realm.person("uma", "user_manager")
    anna = realm.person("anna", "tenant_admin")
    realm.person("root", "tenant_admin")
    for call in (
        lambda: realm.revoke(uma, anna, "tenant_admin"),
        lambda: realm.assign(uma, anna, "tenant_admin", expires_at=clock.now() + timedelta(1)),
    ):
        with pytest.raises(RightsExceeded):
            call()
    assert names(realm, anna) == {"tenant_admin"}


def test_one_may_lay_down_a_role_of_ones_own(realm: Any) -> None:
    uma = realm.person("uma", "user_manager", "auditor")
    realm.revoke(uma, uma, "auditor")
    assert names(realm, uma) == {"user_manager"}


def test_k4_a_client_admin_gives_roles_to_their_own_people_only(realm: Any) -> None:
    mine, below = realm.organization("Mine"), None
    below = realm.organization("Below", mine)
    other = realm.organization("Other")
    clara = realm.person("clara", "client_admin", parent=mine)
    inside, deeper = realm.person("ina", parent=mine), realm.person("dora", parent=below)
    outside, nowhere = realm.person("ole", parent=other), realm.person("nils")
    realm.assign(clara, inside, "viewer")
    realm.assign(clara, deeper, "client_admin")
    for stranger in (outside, nowhere):
        for role in ("viewer", "client_admin"):
            with pytest.raises(Forbidden):
                realm.assign(clara, stranger, role)
    for role in ("partner_admin", "user_manager", "auditor", "tenant_admin", "super_admin"):
        with pytest.raises(RightsExceeded):
            realm.assign(clara, inside, role)


def test_k4_a_client_admin_binds_a_role_to_their_own_organizations_only(realm: Any) -> None:
    mine, other = realm.organization("Mine"), realm.organization("Other")
    realm.make_role("reader", permissions={"user:read": "tenant"})
    clara = realm.person("clara", "client_admin", parent=mine)
    realm.give(clara, "reader", scope="organization", organization_id=mine)
    inside = realm.person("ina", parent=mine)
    with pytest.raises(RightsExceeded):
        realm.assign(clara, inside, "reader")
    with pytest.raises(NotFound):
        realm.assign(clara, inside, "reader", scope="organization", organization_id=other)
    realm.assign(clara, inside, "reader", scope="organization", organization_id=mine)
    grants = realm.grants(inside)
    assert grants.allows("user:read", parent_id=mine)
    assert not grants.allows("user:read", parent_id=other)


def test_at_393_a_child_of_a_higher_role_is_a_higher_role(realm: Any) -> None:
    realm.make_role("harmless_name", parent_id=realm.role("tenant_admin").id)
    uma, otto = realm.person("uma", "user_manager"), realm.person("otto")
    with pytest.raises(RightsExceeded):
        realm.assign(uma, otto, "harmless_name")


@pytest.mark.parametrize("role", ["super_admin", "tenant_admin"])
@pytest.mark.parametrize("scope", ["organization", "team", "own"])
def test_an_administrator_role_is_held_over_the_whole_tenant_or_not_at_all(
    realm: Any, role: str, scope: str
) -> None:
    here = realm.organization("Here")
    otto = realm.person("otto", parent=here)
    with pytest.raises(InvalidInput):
        realm.give(otto, role, scope=scope)


def test_a_scope_and_its_organization_belong_together(realm: Any) -> None:
    here = realm.organization("Here")
    otto = realm.person("otto")
    for how in (
        {"scope": "universe"},
        {"scope": "organization"},
        {"scope": "tenant", "organization_id": here},
        {"scope": "own", "organization_id": here},
        {"expires_at": clock.now() - timedelta(seconds=1)},
    ):
        with pytest.raises(InvalidInput):
            realm.give(otto, "viewer", **how)


def test_at_369_ids_of_another_tenant_cannot_be_attached(realm: Any, other_realm: Any) -> None:
    anna, otto = realm.person("anna", "tenant_admin"), realm.person("otto")
    foreign_person = other_realm.person("otto")
    foreign_role = other_realm.role("viewer")
    foreign_place = other_realm.organization("There")
    calls = (
        (otto, foreign_role, {}),
        (foreign_person, realm.role("viewer"), {}),
        (foreign_person, foreign_role, {}),
        (otto, realm.role("viewer"), {"scope": "organization", "organization_id": foreign_place}),
    )
    for user, role, how in calls:
        with pytest.raises(NotFound), realm.scope(), transaction():
            rbac.assign_role(user, role, **how, **realm.acting(anna))
    with other_realm.scope():
        assert rbac.roles_of(foreign_person) == []


def test_at_380_the_last_administrator_stays(realm: Any) -> None:
    root, anna = realm.person("root", "super_admin"), realm.person("anna", "tenant_admin")
    realm.revoke(root, anna, "tenant_admin")
    with pytest.raises(LastAdministrator):
        realm.revoke(root, root, "super_admin")
    with pytest.raises(LastAdministrator), realm.scope(), transaction():
        rbac.revoke_role(root, realm.role("super_admin"), actor_grants=None, actor=realm.system)
    assert names(realm, root) == {"super_admin"}
    assert {row.error for row in realm.refusals()} == {"authz.last_admin"}


@pytest.mark.parametrize("status", ["suspended", "disabled", "invited", "locked", "erased"])
def test_at_380_an_administrator_who_cannot_act_does_not_count(realm: Any, status: str) -> None:
    anna, otto = realm.person("anna", "tenant_admin"), realm.person("otto", "tenant_admin")
    realm.set_status(otto, status)
    with pytest.raises(LastAdministrator):
        realm.revoke(otto, anna, "tenant_admin")


def test_at_380_an_administrator_until_friday_does_not_count_as_staying(realm: Any) -> None:
    anna, tim = realm.person("anna", "tenant_admin"), realm.person("tim")
    realm.give(tim, "tenant_admin", expires_at=clock.now() + timedelta(days=1))
    with pytest.raises(LastAdministrator):
        realm.revoke(tim, anna, "tenant_admin")
    with pytest.raises(LastAdministrator):
        realm.give(anna, "tenant_admin", expires_at=clock.now() + timedelta(days=1))
    realm.revoke(anna, tim, "tenant_admin")


def test_at_380_a_child_of_an_administrator_role_counts_as_one(realm: Any) -> None:
    realm.make_role("site_admin", parent_id=realm.role("tenant_admin").id)
    anna, otto = realm.person("anna", "tenant_admin"), realm.person("otto", "site_admin")
    realm.revoke(otto, anna, "tenant_admin")
    with pytest.raises(LastAdministrator):
        realm.revoke(otto, otto, "site_admin")


def test_at_380_a_role_keeps_the_parent_that_makes_the_last_administrator(realm: Any) -> None:
    role = realm.make_role("site_admin", parent_id=realm.role("tenant_admin").id)
    otto, tim = realm.person("otto", "site_admin"), realm.person("tim")
    realm.give(tim, "tenant_admin", expires_at=clock.now() + timedelta(days=1))

    def orphan(**who: Any) -> None:
        with realm.scope(), transaction():
            rbac.update_role(
                rbac.get_role(role.id), name="site_admin", description="", parent_id=None,
                mfa_policy=None, **who,
            )  # fmt: skip

    for who in ({"actor_grants": None, "actor": realm.system}, realm.acting(tim)):
        with pytest.raises(LastAdministrator):
            orphan(**who)
    assert realm.grants(otto).has_role("tenant_admin")
    assert {row.error for row in realm.refusals()} == {"authz.last_admin"}
    realm.person("anna", "tenant_admin")
    orphan(**realm.acting(tim))
    assert not realm.grants(otto).has_role("tenant_admin")


def test_at_380_guarding_an_account_knows_who_is_the_last(realm: Any) -> None:
    anna, una = realm.person("anna", "tenant_admin"), realm.person("una", "viewer")
    with realm.scope(), transaction():
        rbac.guard_last_admin(una.id, realm.system)
    with pytest.raises(LastAdministrator), realm.scope(), transaction():
        rbac.guard_last_admin(anna.id, realm.system)
    realm.person("otto", "tenant_admin")
    with realm.scope(), transaction():
        rbac.guard_last_admin(anna.id, realm.system)


def test_at_380_administrators_of_another_tenant_do_not_count(realm: Any, other_realm: Any) -> None:
    anna = realm.person("anna", "tenant_admin")
    other_realm.person("olga", "tenant_admin")
    with pytest.raises(LastAdministrator), realm.scope(), transaction():
        rbac.guard_last_admin(anna.id, realm.system)


@pytest.mark.parametrize(
    ("by", "of", "allowed"),
    [
        ("user_manager", "viewer", True),
        ("user_manager", "editor", False),
        ("tenant_admin", "editor", True),
        ("super_admin", "editor", True),
        ("user_manager", "user_manager", True),
        ("user_manager", "auditor", False),
        ("user_manager", "tenant_admin", False),
        ("user_manager", "super_admin", False),
        ("tenant_admin", "auditor", True),
        ("tenant_admin", "tenant_admin", True),
        ("tenant_admin", "super_admin", False),
        ("super_admin", "super_admin", True),
    ],
)
def test_at_375_an_account_is_administered_from_above_or_beside_only(
    realm: Any, by: str, of: str, allowed: bool
) -> None:
    one, two = realm.person("one", by), realm.person("two", of)
    if allowed:
        with realm.scope(), transaction():
            rbac.guard_outranks(two.id, **realm.acting(one))
        return
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.guard_outranks(two.id, **realm.acting(one))


def test_at_375_rights_of_the_host_shield_an_account_from_all_but_administrators(
    realm: Any,
) -> None:
    with realm.scope(), transaction():
        rbac.define_permission("document:sign", "", actor=realm.system)
    realm.make_role("signer", permissions={"document:sign": "tenant"})
    uma, sam = realm.person("uma", "user_manager"), realm.person("sam", "signer")
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.guard_outranks(sam.id, **realm.acting(uma))
    named = realm.person("named", "user_manager")
    realm.give(named, "signer", scope="own")
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.guard_outranks(sam.id, **realm.acting(named))
    assert realm.refusals()[-1].details["reason"] == "lacks document:sign in scope tenant"
    for by in ("tenant_admin", "super_admin"):
        with realm.scope(), transaction():
            rbac.guard_outranks(sam.id, **realm.acting(realm.person(f"a_{by}", by)))


def test_k5_a_right_across_tenants_is_above_a_tenant_administrator(realm: Any) -> None:
    with realm.scope(), transaction():
        rbac.define_permission("document:sign", "", actor=realm.system)
    realm.make_role("signer", permissions={"document:sign": "global"})
    sam = realm.person("sam")
    realm.give(sam, "signer", scope="global")
    anna, root = realm.person("anna", "tenant_admin"), realm.person("root", "super_admin")
    with pytest.raises(RightsExceeded), realm.scope(), transaction():
        rbac.guard_outranks(sam.id, **realm.acting(anna))
    with realm.scope(), transaction():
        rbac.guard_outranks(sam.id, **realm.acting(root))


def test_a_change_is_announced_after_the_commit_only(realm: Any) -> None:
    heard: list[str] = []

    def listen(sender: str, **_values: Any) -> None:
        heard.append(sender)

    una = realm.person("una")
    with signals.roles_changed.connected_to(listen):
        with realm.scope(), transaction():
            rbac.assign_role(una, realm.role("viewer"), actor_grants=None, actor=realm.system)
            assert heard == []
        assert heard == [str(una.id)]


def test_a_refusal_leaves_no_assignment_and_no_new_version(realm: Any) -> None:
    uma, otto = realm.person("uma", "user_manager"), realm.person("otto")
    before = realm.versions(otto)
    with pytest.raises(RightsExceeded):
        realm.assign(uma, otto, "tenant_admin")
    assert realm.versions(otto) == before
    with realm.scope():
        held = select(IAMUserRole.id).where(IAMUserRole.user_id == otto.id)
        assert session().scalar(held) is None
