"""Tenants: one without asking, others with care."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, func, select

from app.audit.models import IAMAuthLog
from app.auth.models import IAMOrganization, IAMTenant
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.errors import Forbidden, InvalidInput, NotFound
from app.core.ids import new_id
from app.core.scoping import tenant_scope, unscoped
from app.tenancy import services_tenants as tenants
from app.tenancy.errors import OrganizationCycle, SlugRefused, SlugTaken


class Allowing:
    """Grants of a person who may do something in some organizations."""

    def __init__(self, permission: str, *places: Any) -> None:
        self.permission = permission
        self.places = places

    def allows(self, permission: str, *, parent_id: Any = None) -> bool:
        """Return whether the one permission is asked, in one of the places."""
        return permission == self.permission and parent_id in self.places


@pytest.fixture
def home(app: Flask) -> Iterator[IAMTenant]:
    """Return the default tenant, in scope; other tenants of a test go afterwards."""
    with unscoped("tests remember which tenants there were"):
        before = list(session().scalars(select(IAMTenant.id)))
    tenant = tenants.ensure_default_tenant("test")
    with tenant_scope(tenant.id):
        yield tenant
    session().rollback()
    with unscoped("tests clean up"), transaction():
        made = [item for item in session().scalars(select(IAMTenant.id)) if item not in before]
        for column in (IAMOrganization.tenant_id, IAMTenant.id):
            session().execute(
                delete(column.class_).where(column.in_(made)),
                execution_options={"synchronize_session": False},
            )


@pytest.fixture
def actor(home: IAMTenant) -> Actor:
    return system_actor(home.id, "test")


def make(name: str, actor: Actor, parent: Any = None, **how: Any) -> IAMOrganization:
    how = {"kind": "client", "actor_grants": None} | how
    with transaction():
        return tenants.create_organization(name, parent_id=parent, actor=actor, **how)


def move(row: IAMOrganization, parent: Any, actor: Actor, grants: Any = None) -> None:
    with transaction():
        tenants.update_organization(
            row, name=row.name, kind=row.type, parent_id=parent, actor_grants=grants, actor=actor
        )


def test_k2_the_default_tenant_is_made_once(home: IAMTenant) -> None:
    again = tenants.ensure_default_tenant("test")
    assert again.id == home.id == tenants.default_tenant_id()
    assert (home.slug, home.type, home.status) == ("default", "platform", "active")
    assert home.tenant_id == home.id
    with unscoped("counting"):
        assert session().scalar(select(func.count(IAMTenant.id)).where(
            IAMTenant.slug == "default")) == 1  # fmt: skip


def test_a_tenant_is_found_by_its_exact_slug(home: IAMTenant) -> None:
    found = tenants.find_by_slug("default")
    assert found is not None
    assert found.id == home.id
    for slug in ("Default", "default ", "defaul", "", "%"):
        assert tenants.find_by_slug(slug) is None


def test_k1_a_tenant_is_made_below_another_and_audited_in_its_own_trail(
    home: IAMTenant, actor: Actor
) -> None:
    with transaction():
        made = tenants.create_tenant(
            "acme-works", " Acme ", kind="partner", parent_id=home.id, actor=actor
        )
    assert (made.name, made.type, made.parent_id) == ("Acme", "partner", home.id)
    with tenant_scope(made.id):
        rows = list(session().scalars(select(IAMAuthLog)))
    assert [row.action for row in rows] == ["TENANT_CREATED"]
    assert rows[0].tenant_id == made.id


@pytest.mark.parametrize("slug", ["admin", "www", "xn--acme", "adm1n", "Acme", "", "a", "d3fault"])
def test_at_392_a_reserved_or_confusable_slug_is_refused(
    home: IAMTenant, actor: Actor, slug: str
) -> None:
    with pytest.raises(SlugRefused), transaction():
        tenants.create_tenant(slug, "Acme", actor=actor)


def test_at_392_a_slug_that_looks_like_another_tenant_is_refused(
    home: IAMTenant, actor: Actor
) -> None:
    with transaction():
        tenants.create_tenant("globex", "Globex", actor=actor)
    with pytest.raises(SlugTaken), transaction():
        tenants.create_tenant("globex", "Globex", actor=actor)
    for slug in ("gl0bex", "glo-bex", "g1obex", "glo8ex"):
        with pytest.raises(SlugRefused, match="looks like that of another"), transaction():
            tenants.create_tenant(slug, "Globex", actor=actor)


def test_a_tenant_has_a_known_type_a_name_and_a_real_parent(home: IAMTenant, actor: Actor) -> None:
    for how in ({"kind": "platform"}, {"kind": "galaxy"}):
        with pytest.raises(InvalidInput), transaction():
            tenants.create_tenant("globex", "Globex", actor=actor, **how)
    for name in ("", "  ", "x" * 121):
        with pytest.raises(InvalidInput), transaction():
            tenants.create_tenant("globex", name, actor=actor)
    with pytest.raises(NotFound), transaction():
        tenants.create_tenant("globex", "Globex", parent_id=new_id(), actor=actor)


def test_k3_organizations_form_a_tree(home: IAMTenant, actor: Actor) -> None:
    top = make("Top", actor, kind="partner")
    below = make("Below", actor, top.id)
    assert below.parent_id == top.id
    assert [row.name for row in tenants.list_organizations()] == ["Below", "Top"]
    assert tenants.get_organization(below.id).name == "Below"
    with pytest.raises(NotFound):
        tenants.get_organization(new_id())


def test_k3_an_organization_never_lies_below_itself(home: IAMTenant, actor: Actor) -> None:
    one = make("One", actor)
    two = make("Two", actor, one.id)
    three = make("Three", actor, two.id)
    for target in (one, two, three):
        with pytest.raises(OrganizationCycle):
            move(one, target.id, actor)
    move(three, one.id, actor)
    assert tenants.get_organization(three.id).parent_id == one.id


def test_at_374_organizations_do_not_nest_without_end(home: IAMTenant, actor: Actor) -> None:
    parent = None
    for level in range(32):
        parent = make(f"Level {level}", actor, parent and parent.id)
    with pytest.raises(OrganizationCycle):
        make("Too deep", actor, parent and parent.id)
    chain = tenants.list_organizations()
    top = next(row for row in chain if row.parent_id is None)
    above = make("Above", actor)
    with pytest.raises(OrganizationCycle):
        move(top, above.id, actor)


def test_l3_a_new_organization_gives_the_tenant_a_new_version(
    home: IAMTenant, actor: Actor
) -> None:
    def version() -> int | None:
        return session().scalar(select(IAMTenant.authz_version))

    before = version()
    row = make("Top", actor)
    assert version() == (before or 0) + 1
    move(row, None, actor)
    assert version() == (before or 0) + 2


def test_at_369_an_organization_of_another_tenant_is_no_parent(
    home: IAMTenant, actor: Actor
) -> None:
    with transaction():
        other = tenants.create_tenant("globex", "Globex", actor=actor)
    with tenant_scope(other.id):
        foreign = make("Theirs", system_actor(other.id, "test"))
    mine = make("Mine", actor)
    with pytest.raises(NotFound):
        make("Below", actor, foreign.id)
    with pytest.raises(NotFound):
        move(mine, foreign.id, actor)
    with pytest.raises(NotFound):
        tenants.get_organization(foreign.id)
    assert [row.id for row in tenants.list_organizations()] == [mine.id]


@pytest.mark.parametrize(("name", "kind"), [("", "client"), (" ", "client"), ("A", "galaxy")])
def test_an_organization_has_a_name_and_a_known_type(
    home: IAMTenant, actor: Actor, name: str, kind: str
) -> None:
    with pytest.raises(InvalidInput):
        make(name, actor, kind=kind)


def test_k4_organizations_are_made_and_moved_within_ones_reach(
    home: IAMTenant, actor: Actor
) -> None:
    mine, other = make("Mine", actor), make("Other", actor)
    child = make("Child", actor, mine.id)
    person = Actor(kind="user", tenant_id=home.id, user_id=new_id())
    create = Allowing("organization:create", mine.id)
    make("Inside", person, mine.id, actor_grants=create)
    for place in (other.id, None):
        with pytest.raises(Forbidden):
            make("Outside", person, place, actor_grants=create)
    with pytest.raises(Forbidden):
        make("Nobody", person, mine.id)
    change = Allowing("organization:update", mine.id, child.id)
    for place in (other.id, None):
        with pytest.raises(Forbidden):
            move(child, place, person, change)
    with pytest.raises(Forbidden):
        move(other, mine.id, person, change)
