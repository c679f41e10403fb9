"""What a set of rights allows, covers and reaches: pure, exact, fast."""

from __future__ import annotations

import timeit
from dataclasses import FrozenInstanceError
from uuid import UUID

import pytest

from app.authz.grants import EMPTY, Grants, Right
from app.core.ids import new_id

ME, SOMEBODY = new_id(), new_id()
HERE, THERE = new_id(), new_id()


def grants(**scopes: str) -> Grants:
    permissions = {
        name.replace("__", ":"): frozenset(value.split()) for name, value in scopes.items()
    }
    return Grants(permissions=permissions, organization_ids=frozenset({HERE}))


@pytest.mark.parametrize(
    "asked",
    [
        "user", "user:", "user:rea", "user:read ", " user:read", "user:reads", "USER:READ",
        "user:read:all", "user:*", "*:*", "*", "", "user%", "user:rea_", "user:read\x00",
    ],
)  # fmt: skip
def test_at_377_a_permission_matches_exactly_or_not_at_all(asked: str) -> None:
    held = grants(user__read="tenant")
    assert held.allows("user:read")
    assert not held.allows(asked)
    assert not held.holds(asked)


@pytest.mark.parametrize("stored", ["*", "user:*", "*:read", "user:", ".*"])
def test_at_377_a_stored_wildcard_means_nothing(stored: str) -> None:
    assert not Grants(permissions={stored: frozenset({"tenant"})}).allows("user:read")


@pytest.mark.parametrize("scope", ["global", "tenant"])
def test_a_right_over_the_tenant_needs_no_object(scope: str) -> None:
    held = grants(user__read=scope)
    assert held.allows("user:read")
    assert held.allows("user:read", owner_id=SOMEBODY, parent_id=THERE, user_id=ME)


@pytest.mark.parametrize("scope", ["organization", "team"])
def test_a_right_by_organization_holds_for_its_objects_only(scope: str) -> None:
    held = grants(user__read=scope)
    assert held.allows("user:read", parent_id=HERE)
    assert not held.allows("user:read", parent_id=THERE)
    assert not held.allows("user:read", parent_id=None)
    assert not held.allows("user:read")


def test_a_right_over_ones_own_needs_the_owner_to_be_known() -> None:
    held = grants(user__read="own")
    assert held.allows("user:read", owner_id=ME, user_id=ME)
    assert not held.allows("user:read", owner_id=SOMEBODY, user_id=ME)
    assert not held.allows("user:read", owner_id=None, user_id=None)
    assert not held.allows("user:read", parent_id=HERE, user_id=ME)


def test_an_unknown_scope_allows_nothing() -> None:
    held = grants(user__read="everything")
    assert not held.allows("user:read", owner_id=ME, parent_id=HERE, user_id=ME)


def test_a_right_given_for_one_organization_is_not_added_to_another() -> None:
    held = Grants(
        organization_permissions={
            HERE: frozenset({"user:read", "user:update"}),
            THERE: frozenset({"user:read"}),
        }
    )
    assert held.allows("user:update", parent_id=HERE)
    assert held.allows("user:read", parent_id=THERE)
    assert not held.allows("user:update", parent_id=THERE)
    assert held.organizations_for("user:read") == {HERE, THERE}
    assert held.organizations_for("user:update") == {HERE}
    assert held.holds("user:update")


def test_the_reach_of_a_right_tells_a_list_what_to_show() -> None:
    assert grants(user__read="tenant").organizations_for("user:read") is None
    assert grants(user__read="organization").organizations_for("user:read") == {HERE}
    assert grants(user__read="own").organizations_for("user:read") == frozenset()
    assert EMPTY.organizations_for("user:read") == frozenset()


@pytest.mark.parametrize(
    ("held", "given", "covered"),
    [
        ("global", "global", True),
        ("tenant", "global", False),
        ("tenant", "tenant", True),
        ("tenant", "organization", True),
        ("tenant", "own", True),
        ("organization", "tenant", False),
        ("organization", "organization", False),
        ("own", "own", True),
        ("own", "organization", False),
    ],
)
def test_at_376_a_right_is_covered_by_a_wider_one_only(
    held: str, given: str, covered: bool
) -> None:
    assert grants(user__read=held).covers(Right("user:read", given)) is covered


@pytest.mark.parametrize(
    ("right", "target", "covered"),
    [
        (Right("user:read", "organization", HERE), None, True),
        (Right("user:read", "organization", THERE), None, False),
        (Right("user:read", "organization", THERE), HERE, False),
        (Right("user:read", "organization"), HERE, True),
        (Right("user:read", "organization"), THERE, False),
        (Right("user:read", "own"), HERE, True),
        (Right("user:read", "own"), THERE, False),
        (Right("user:read", "tenant"), HERE, False),
    ],
)
def test_at_376_a_right_by_organization_covers_its_own_people_only(
    right: Right, target: UUID | None, covered: bool
) -> None:
    held = grants(user__read="organization")
    assert held.covers(right, target_parent_id=target) is covered


def test_roles_are_asked_by_exact_name() -> None:
    held = Grants(roles=frozenset({"tenant_admin"}))
    assert held.has_role("tenant_admin")
    assert held.has_any_role("nobody", "tenant_admin")
    assert not held.has_any_role()
    assert not held.has_role("admin")
    assert not held.has_role("Tenant_Admin")


def test_grants_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        EMPTY.roles = frozenset({"super_admin"})  # type: ignore[misc]
    with pytest.raises(TypeError):
        EMPTY.permissions["user:read"] = frozenset({"tenant"})  # type: ignore[index]


def test_a_check_stays_below_two_microseconds_at_200_permissions() -> None:
    held = Grants(
        roles=frozenset(f"role_{i}" for i in range(50)),
        permissions={f"thing_{i}:read": frozenset({"organization", "own"}) for i in range(200)},
        organization_ids=frozenset(new_id() for _ in range(50)) | {HERE},
        organization_permissions={THERE: frozenset({"thing_7:read"})},
    )

    def ask() -> None:
        held.allows("thing_7:read", owner_id=SOMEBODY, parent_id=THERE, user_id=ME)

    assert min(timeit.repeat(ask, number=2000, repeat=7)) / 2000 <= 2e-6


@pytest.mark.parametrize(
    ("scope", "reaches", "delegated"),
    [
        ("global", True, False),
        ("tenant", True, False),
        ("organization", True, True),
        ("team", True, True),
        ("own", False, False),
        ("own organization", True, True),
        ("organization tenant", True, False),
    ],
)
def test_k4_a_right_reaches_others_or_only_oneself(
    scope: str, reaches: bool, delegated: bool
) -> None:
    held = grants(user__read=scope)
    assert held.reaches("user:read") is reaches
    assert held.delegated("user:read") is delegated
    assert not held.reaches("user:update")
    assert not held.delegated("user:update")


def test_k4_a_right_by_organization_without_one_reaches_nobody() -> None:
    nowhere = Grants(permissions={"user:read": frozenset({"organization"})})
    assert not nowhere.reaches("user:read")
    assert nowhere.delegated("user:read")
    bound = Grants(organization_permissions={HERE: frozenset({"user:read"})})
    assert bound.reaches("user:read")
    assert bound.delegated("user:read")
    assert not bound.reaches("user:update")
