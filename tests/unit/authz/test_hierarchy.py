"""Inheritance: cycles end, depth is capped, assignments narrow."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest

from app.authz.grants import Right
from app.authz.hierarchy import (
    MAX_DEPTH,
    Node,
    depth_below,
    descendants,
    lineage,
    narrow,
    role_rights,
    strictest,
    would_cycle,
)
from app.core.ids import new_id

ORGANIZATION = new_id()


def chain(length: int) -> tuple[list[UUID], dict[UUID, Node]]:
    ids = [new_id() for _ in range(length)]
    parents = dict(pairwise(ids))
    tree = {item: Node(item, f"r{i}", parents.get(item), None) for i, item in enumerate(ids)}
    return ids, tree


def test_at_373_a_cycle_in_the_data_ends() -> None:
    one, two = new_id(), new_id()
    tree = {one: Node(one, "one", two, None), two: Node(two, "two", one, None)}
    assert [node.name for node in lineage(tree, one)] == ["one", "two"]
    assert role_rights(tree, {two: frozenset({("user:read", "tenant")})}, one) == {
        Right("user:read", "tenant")
    }


def test_at_373_a_role_that_is_its_own_parent_ends() -> None:
    one = new_id()
    tree = {one: Node(one, "one", one, None)}
    assert [node.id for node in lineage(tree, one)] == [one]


def test_at_374_ten_thousand_levels_are_cut_off() -> None:
    ids, tree = chain(10_000)
    assert len(list(lineage(tree, ids[0]))) == MAX_DEPTH


def test_would_cycle_sees_itself_children_and_grandchildren() -> None:
    ids, tree = chain(4)
    top = ids[-1]
    assert all(would_cycle(tree, top, item) for item in ids)
    assert not would_cycle(tree, ids[0], top)


def test_what_hangs_below_is_counted() -> None:
    ids, tree = chain(4)
    assert descendants(tree, ids[3]) == set(ids[:3])
    assert depth_below(tree, ids[3]) == 3
    assert depth_below(tree, ids[0]) == 0


def test_a_parent_that_is_gone_is_no_parent() -> None:
    one = new_id()
    assert [node.id for node in lineage({one: Node(one, "one", new_id(), None)}, one)] == [one]
    assert list(lineage({}, one)) == []


@pytest.mark.parametrize(
    ("held", "scope", "effective"),
    [
        ("tenant", "global", "tenant"),
        ("global", "tenant", "tenant"),
        ("tenant", "tenant", "tenant"),
        ("tenant", "organization", "organization"),
        ("organization", "tenant", "organization"),
        ("own", "tenant", "own"),
        ("global", "own", "own"),
        ("organization", "own", "own"),
    ],
)
def test_an_assignment_narrows_and_never_widens(held: str, scope: str, effective: str) -> None:
    assert narrow("user:read", held, scope, None) == Right("user:read", effective)


def test_an_assignment_for_one_organization_binds_what_it_narrows() -> None:
    for held in ("global", "tenant", "organization", "team"):
        right = narrow("user:read", held, "organization", ORGANIZATION)
        assert right.organization_id == ORGANIZATION
    assert narrow("user:read", "own", "organization", ORGANIZATION) == Right("user:read", "own")
    assert narrow("user:read", "tenant", "tenant", ORGANIZATION).organization_id is None


def test_d6_the_strictest_mfa_policy_wins() -> None:
    assert strictest([]) == "off"
    assert strictest([None, "off"]) == "off"
    assert strictest(["optional", None]) == "optional"
    assert strictest(["off", "required", "optional"]) == "required"
    assert strictest(["a word nobody knows"]) == "required"
