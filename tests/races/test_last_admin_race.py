"""Two administrators remove each other at once: one stays (AT-380, AT-452)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.auth.models import IAMRole, IAMTenant, IAMUserAccount, IAMUserRole
from app.authz import services_rbac as rbac
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from app.core.scoping import tenant_scope, unscoped
from app.tenancy import services_tenants
from tests.conftest import Someone, make_app

ROUNDS = 6
Outcome = BaseException | None


def at_once(app: Flask, works: list[Callable[[], None]]) -> list[Outcome]:
    """Run each work in a thread and an app context of its own; return what came of it."""
    start = threading.Barrier(len(works))
    outcomes: list[Outcome] = [None] * len(works)

    def run(number: int) -> None:
        with app.app_context():
            start.wait()
            try:
                works[number]()
            except Exception as error:  # noqa: BLE001 - the outcome is what the test looks at
                outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return outcomes


def demote(tenant: uuid.UUID, user_id: uuid.UUID) -> Callable[[], None]:
    """Return the work of taking the administrator role from a person."""

    def work() -> None:
        with tenant_scope(tenant), transaction():
            user = session().scalar(select(IAMUserAccount).where(IAMUserAccount.id == user_id))
            role = rbac.find_role("tenant_admin")
            assert user is not None
            assert role is not None
            rbac.revoke_role(user, role, actor_grants=None, actor=system_actor(tenant, "race"))

    return work


def suspend(tenant: uuid.UUID, user_id: uuid.UUID) -> Callable[[], None]:
    """Return the work of suspending a person, guarded as the account service does."""

    def work() -> None:
        with tenant_scope(tenant), transaction():
            rbac.guard_last_admin(user_id, system_actor(tenant, "race"))
            session().execute(
                update(IAMUserAccount)
                .where(IAMUserAccount.id == user_id)
                .values(status="suspended")
            )

    return work


def administrators(tenant: uuid.UUID) -> int:
    """Return how many active people hold the administrator role."""
    session().rollback()
    with tenant_scope(tenant):
        rows = session().execute(
            select(IAMUserAccount.id)
            .join(IAMUserRole, IAMUserRole.user_id == IAMUserAccount.id)
            .join(IAMRole, IAMRole.id == IAMUserRole.role_id)
            .where(IAMRole.name == "tenant_admin", IAMUserAccount.status == "active")
        )
        return len(rows.all())


WAYS = {"demote": (demote, demote), "suspend": (suspend, suspend), "both": (demote, suspend)}


@pytest.mark.parametrize("way", WAYS)
def test_at_452_two_administrators_remove_each_other_and_one_stays(
    app: Flask, tenant: uuid.UUID, make_user: Callable[..., Someone], way: str
) -> None:
    for number in range(ROUNDS):
        pair = [make_user(f"{way}_{number}_{i}", roles=["tenant_admin"]) for i in range(2)]
        works = [act(tenant, one.id) for act, one in zip(WAYS[way], pair, strict=True)]
        outcomes = at_once(app, works)
        refused = [item for item in outcomes if item is not None]
        assert len(refused) == 1, outcomes
        assert isinstance(refused[0], Conflict | Unavailable), refused
        assert administrators(tenant) == 1
        _retire(tenant, pair)


def test_at_452_of_six_who_leave_at_once_one_stays(
    app: Flask, tenant: uuid.UUID, make_user: Callable[..., Someone]
) -> None:
    people = [make_user(f"leaver_{i}", roles=["tenant_admin"]) for i in range(6)]
    at_once(app, [demote(tenant, one.id) for one in people])
    assert administrators(tenant) >= 1


def test_a_role_given_twice_at_once_is_held_once(
    app: Flask, tenant: uuid.UUID, make_user: Callable[..., Someone]
) -> None:
    person = make_user("otto")

    def give() -> None:
        with tenant_scope(tenant), transaction():
            user = session().scalar(select(IAMUserAccount).where(IAMUserAccount.id == person.id))
            role = rbac.find_role("auditor")
            assert role is not None
            rbac.assign_role(user, role, actor_grants=None, actor=system_actor(tenant, "race"))

    outcomes = at_once(app, [give] * 6)
    assert all(item is None or isinstance(item, Conflict | Unavailable) for item in outcomes)
    with tenant_scope(tenant):
        held = select(IAMUserRole.id).where(IAMUserRole.user_id == person.id)
        assert len(session().scalars(held).all()) == 1


def test_at_373_two_roles_made_each_others_parent_at_once_tie_no_knot(
    app: Flask, tenant: uuid.UUID
) -> None:
    actor = system_actor(tenant, "race")
    for number in range(ROUNDS):
        with tenant_scope(tenant), transaction():
            ids = [
                rbac.create_role(f"knot_{number}_{i}", actor_grants=None, actor=actor).id
                for i in range(2)
            ]

        def put_below(one: uuid.UUID, other: uuid.UUID) -> Callable[[], None]:
            def work() -> None:
                with tenant_scope(tenant), transaction():
                    role = rbac.get_role(one)
                    rbac.update_role(
                        role, name=role.name, description="", parent_id=other, mfa_policy=None,
                        actor_grants=None, actor=actor,
                    )  # fmt: skip

            return work

        outcomes = at_once(app, [put_below(*ids), put_below(*reversed(ids))])
        refused = [item for item in outcomes if item is not None]
        assert len(refused) == 1, outcomes
        assert isinstance(refused[0], InvalidInput | Unavailable)


def test_a_role_is_given_and_deleted_at_once_and_never_both(
    app: Flask, tenant: uuid.UUID, make_user: Callable[..., Someone]
) -> None:
    actor = system_actor(tenant, "race")
    for number in range(ROUNDS):
        person = make_user(f"heir_{number}")
        with tenant_scope(tenant), transaction():
            role_id = rbac.create_role(f"heirloom_{number}", actor_grants=None, actor=actor).id

        def give(person: Someone = person, role_id: uuid.UUID = role_id) -> None:
            with tenant_scope(tenant), transaction():
                user = session().scalar(
                    select(IAMUserAccount).where(IAMUserAccount.id == person.id)
                )
                rbac.assign_role(user, rbac.get_role(role_id), actor_grants=None, actor=actor)

        def drop(role_id: uuid.UUID = role_id) -> None:
            with tenant_scope(tenant), transaction():
                rbac.delete_role(rbac.get_role(role_id), actor_grants=None, actor=actor)

        outcomes = at_once(app, [give, drop])
        refused = [item for item in outcomes if item is not None]
        assert len(refused) == 1, outcomes
        assert isinstance(refused[0], Conflict | NotFound | Unavailable), refused


def test_k2_many_processes_start_at_once_and_make_one_default_tenant(
    app: Flask, database_url: str
) -> None:
    fresh = make_app(database_url, IAM_DEFAULT_TENANT="racecourse")
    made: list[uuid.UUID] = []

    def start() -> None:
        made.append(services_tenants.ensure_default_tenant("race").id)

    outcomes = at_once(fresh, [start] * 8)
    try:
        assert outcomes == [None] * 8
        assert len(set(made)) == 1
    finally:
        with unscoped("tests clean up"), transaction():
            session().execute(
                IAMTenant.__table__.delete().where(IAMTenant.__table__.c.slug == "racecourse")
            )
        with fresh.app_context():
            fresh.extensions["sqlalchemy"].engine.dispose()


def test_l2_many_processes_seed_at_once(app: Flask, tenant: uuid.UUID) -> None:
    with unscoped("the test breaks a system role"), transaction():
        session().execute(
            update(IAMRole)
            .where(IAMRole.name == "auditor", IAMRole.tenant_id == tenant)
            .values(mfa_policy="off")
        )

    def seed() -> None:
        with transaction():
            rbac.seed_catalogue(tenant, system_actor(tenant, "race"))

    outcomes = at_once(app, [seed] * 6)
    assert all(item is None or isinstance(item, Unavailable) for item in outcomes), outcomes
    assert None in outcomes
    with tenant_scope(tenant):
        role: Any = rbac.find_role("auditor")
        assert role.mfa_policy == "required"


def _retire(tenant: uuid.UUID, people: list[Someone]) -> None:
    # Past the guard, so that the next round starts without administrators.
    with tenant_scope(tenant), transaction():
        session().execute(
            update(IAMUserAccount)
            .where(IAMUserAccount.id.in_([one.id for one in people]))
            .values(status="disabled")
        )
