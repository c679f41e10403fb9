"""Resolution: right, cached by version, cheap, and never stale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import current_app
from sqlalchemy import event, select, update

from app.auth.models import IAMRole, IAMUserAccount, IAMUserRole
from app.authz import services_grants
from app.authz import services_rbac as rbac
from app.authz.grants import EMPTY
from app.core import clock
from app.core.db import session, transaction
from app.core.errors import TenantContextMissing
from app.core.ids import new_id


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements that reach the database."""
    engine = current_app.extensions["sqlalchemy"].engine
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if not statement.startswith(("BEGIN", "SAVEPOINT", "RELEASE")):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_l2_every_system_role_resolves_to_its_catalogue(realm: Any) -> None:
    admin = realm.grants(realm.person("root", "super_admin"))
    assert admin.roles == {"super_admin", "tenant_admin", "viewer"}
    assert admin.permissions["user:read"] == {"global", "tenant", "own"}
    assert admin.mfa_policy == "required"
    viewer = realm.grants(realm.person("vera", "viewer"))
    assert viewer.roles == {"viewer"}
    assert viewer.permissions["user:read"] == {"own"}
    assert viewer.mfa_policy == "optional"
    assert realm.grants(realm.person("nobody")) == EMPTY


@pytest.mark.parametrize("policy", ["off", "optional", None])
def test_at_489_admin_access_demands_a_second_factor(realm: Any, policy: str | None) -> None:
    realm.make_role("desk", permissions={"admin:access": "own"}, mfa_policy=policy)
    realm.make_role("sub_desk", parent_id=realm.role("desk").id, mfa_policy=policy)
    realm.make_role("plain", mfa_policy=policy)
    for number, role in enumerate(("desk", "sub_desk", "operator", "developer")):
        assert realm.grants(realm.person(f"una{number}", role)).mfa_policy == "required", role
    assert realm.grants(realm.person("paul", "plain")).mfa_policy == (policy or "off")


def test_l3_a_cold_resolve_takes_three_queries_a_warm_one_none(realm: Any) -> None:
    user = realm.person("una", "user_manager", "auditor", "operator")
    tenant_version, user_version = realm.versions(user)
    call = {"tenant_version": tenant_version, "user_version": user_version, "at": clock.now()}
    with statements() as seen:
        cold = rbac.resolve(realm.id, user.id, **call)
    assert len(seen) == 3, seen
    with statements() as seen:
        assert rbac.resolve(realm.id, user.id, **call) is cold
    assert seen == []


def test_l3_organizations_cost_one_query_per_level(realm: Any) -> None:
    top = realm.organization("Top")
    below = realm.organization("Below", top)
    user = realm.person("pia", parent=top)
    realm.give(user, "partner_admin")
    tenant_version, user_version = realm.versions(user)
    with statements() as seen:
        grants = rbac.resolve(
            realm.id, user.id, tenant_version=tenant_version, user_version=user_version,
            at=clock.now(),
        )  # fmt: skip
    assert len(seen) == 3 + 2, seen
    assert grants.organization_ids == {top, below}


def test_l3_fifty_roles_with_two_hundred_permissions_still_take_three_queries(realm: Any) -> None:
    with realm.scope(), transaction():
        for number in range(200):
            rbac.define_permission(f"thing{number}:read", "", actor=realm.system)
    names = {f"thing{number}:read": "tenant" for number in range(200)}
    user = realm.person("max")
    for number in range(50):
        realm.make_role(f"role_{number}", permissions=names)
        realm.give(user, f"role_{number}")
    tenant_version, user_version = realm.versions(user)
    with statements() as seen:
        grants = rbac.resolve(
            realm.id, user.id, tenant_version=tenant_version, user_version=user_version,
            at=clock.now(),
        )  # fmt: skip
    assert len(seen) == 3
    assert len(grants.roles) == 50
    assert all(grants.allows(name) for name in names)


def test_l3_an_assignment_bites_at_the_next_request(realm: Any) -> None:
    user = realm.person("una")
    assert not realm.grants(user).has_role("auditor")
    realm.give(user, "auditor")
    assert realm.grants(user).allows("audit:read")
    with realm.scope(), transaction():
        rbac.revoke_role(user, realm.role("auditor"), actor_grants=None, actor=realm.system)
    assert not realm.grants(user).allows("audit:read")


def test_l3_a_change_of_a_role_bites_at_the_next_request_of_its_holders(realm: Any) -> None:
    realm.make_role("reporter", permissions={"audit:read": "tenant"})
    realm.make_role("junior_reporter", parent_id=realm.role("reporter").id)
    user = realm.person("una", "junior_reporter")
    assert realm.grants(user).allows("audit:read")
    with realm.scope(), transaction():
        rbac.set_role_permissions(realm.role("reporter"), {}, actor_grants=None, actor=realm.system)
    assert not realm.grants(user).allows("audit:read")


def test_at_388_an_assignment_ends_at_its_time_without_anybody_doing_anything(realm: Any) -> None:
    user = realm.person("tim", "viewer")
    end = clock.now() + timedelta(hours=1)
    realm.give(user, "auditor", expires_at=end)
    grants = realm.grants(user)
    assert grants.allows("audit:read")
    assert grants.valid_until == end
    assert realm.grants(user, end - timedelta(microseconds=1)).allows("audit:read")
    over = realm.grants(user, end)
    assert not over.allows("audit:read")
    assert over.has_role("viewer")
    assert over.mfa_policy == "optional"


def test_at_388_an_entry_made_later_is_not_used_for_an_earlier_time(realm: Any) -> None:
    user = realm.person("tim")
    end = clock.now() + timedelta(hours=1)
    realm.give(user, "auditor", expires_at=end)
    assert not realm.grants(user, end).allows("audit:read")
    assert realm.grants(user).allows("audit:read")


def test_at_370_the_cache_tells_tenants_and_people_apart(realm: Any, other_realm: Any) -> None:
    mine = realm.person("una", "tenant_admin")
    theirs = other_realm.person("una", "viewer")
    assert realm.grants(mine).allows("user:read")
    assert not other_realm.grants(theirs).allows("user:read")
    crossed = rbac.resolve(
        other_realm.id, mine.id, tenant_version=99, user_version=99, at=clock.now()
    )
    assert crossed == EMPTY


def test_a_rolled_back_change_leaves_nothing_in_the_cache(realm: Any) -> None:
    user = realm.person("una", "viewer")
    tenant_version, user_version = realm.versions(user)

    def raise_and_fail() -> None:
        rbac.assign_role(user, realm.role("auditor"), actor_grants=None, actor=realm.system)
        raised = rbac.resolve(
            realm.id, user.id, tenant_version=tenant_version, user_version=user_version + 1,
            at=clock.now(),
        )  # fmt: skip
        assert raised.allows("audit:read")
        raise RuntimeError

    with pytest.raises(RuntimeError), realm.scope(), transaction():
        raise_and_fail()
    realm.give(user, "operator")  # takes the version number that was rolled back
    assert realm.versions(user)[1] == user_version + 1
    assert not realm.grants(user).allows("audit:read")


def test_the_cache_is_bounded_and_forgets_the_oldest(realm: Any) -> None:
    cache = services_grants._Cache(3)
    at = clock.now()
    keys = [(realm.id, new_id(), 1, 1) for _ in range(5)]
    for key in keys:
        cache.put(key, at, EMPTY)
    assert len(cache) == 3
    assert [cache.get(key, at) is not None for key in keys] == [False, False, True, True, True]


def test_resolving_needs_no_scope_and_leaves_none_behind(realm: Any) -> None:
    user = realm.person("una", "viewer")
    realm.grants(user)
    with pytest.raises(TenantContextMissing):
        session().execute(select(IAMRole.id)).all()


def test_at_373_a_cycle_made_past_the_services_does_not_hang(realm: Any) -> None:
    one, two = realm.make_role("role_one"), realm.make_role("role_two")
    user = realm.person("una", "role_one")
    with realm.scope(), transaction():
        for role, parent in ((one, two), (two, one)):
            session().execute(
                update(IAMRole).where(IAMRole.id == role.id).values(parent_id=parent.id)
            )
        rbac.bump_user(user.id)
    assert realm.grants(user).roles == {"role_one", "role_two"}


def test_k3_a_right_by_organization_reaches_what_lies_below(realm: Any) -> None:
    top = realm.organization("Top")
    middle = realm.organization("Middle", top)
    bottom = realm.organization("Bottom", middle)
    beside = realm.organization("Beside", top)
    user = realm.person("clara", parent=middle)
    realm.give(user, "client_admin")
    grants = realm.grants(user)
    assert grants.organization_ids == {middle, bottom}
    assert grants.allows("user:update", parent_id=bottom)
    assert not grants.allows("user:update", parent_id=top)
    assert not grants.allows("user:update", parent_id=beside)
    assert not grants.allows("user:update")
    assert grants.allows("admin:access")


def test_k3_an_assignment_for_one_organization_stays_there(realm: Any) -> None:
    home, away = realm.organization("Home"), realm.organization("Away")
    below = realm.organization("Below", away)
    user = realm.person("clara", parent=home)
    realm.give(user, "user_manager", scope="organization", organization_id=away)
    grants = realm.grants(user)
    assert grants.allows("user:update", parent_id=away)
    assert grants.allows("user:update", parent_id=below)
    assert not grants.allows("user:update", parent_id=home)
    assert not grants.allows("user:update")
    assert grants.organizations_for("user:update") == {away, below}


def test_k3_rights_of_two_organizations_do_not_mix(realm: Any) -> None:
    one, two = realm.organization("One"), realm.organization("Two")
    realm.make_role("reader", permissions={"user:read": "tenant"})
    user = realm.person("clara")
    realm.give(user, "user_manager", scope="organization", organization_id=one)
    realm.give(user, "reader", scope="organization", organization_id=two)
    grants = realm.grants(user)
    assert grants.allows("user:suspend", parent_id=one)
    assert grants.allows("user:read", parent_id=two)
    assert not grants.allows("user:suspend", parent_id=two)


def test_a_role_given_over_ones_own_only_is_narrowed_to_it(realm: Any) -> None:
    user = realm.person("otto")
    realm.give(user, "auditor", scope="own")
    grants = realm.grants(user)
    assert not grants.allows("user:read")
    assert grants.allows("user:read", owner_id=user.id, user_id=user.id)


def test_moving_a_person_changes_their_reach_once_the_account_is_bumped(realm: Any) -> None:
    one, two = realm.organization("One"), realm.organization("Two")
    user = realm.person("clara", parent=one)
    realm.give(user, "client_admin")
    assert realm.grants(user).organization_ids == {one}
    with realm.scope(), transaction():
        rbac.bump_user(user.id)
        session().execute(
            update(IAMUserAccount).where(IAMUserAccount.id == user.id).values(parent_id=two)
        )
    assert realm.grants(user).organization_ids == {two}


def test_an_assignment_row_in_another_tenant_counts_for_nothing(
    realm: Any, other_realm: Any
) -> None:
    user = realm.person("una")
    twin = other_realm.person("una", "tenant_admin")
    with other_realm.scope():
        assert session().scalar(select(IAMUserRole.id).where(IAMUserRole.user_id == twin.id))
    assert realm.grants(user) == EMPTY
