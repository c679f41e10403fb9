"""First sign-ins, links, unlinks and roles by other services, many at once (G3, G4, G5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.auth.accounts.services_directory import get_user
from app.auth.models import IAMUserAccount, IAMUserIdentity, IAMUserRole
from app.auth.sso import services_identities, services_role_rules
from app.auth.sso.connection import Connection
from app.auth.sso.services_sso_accounts import find_or_create_user
from app.auth.sso.userinfo import UserInfo
from app.authz import services_rbac as rbac
from app.core.actor import Actor
from app.core.db import session, transaction
from tests.support.people import load, rows_of
from tests.support.races import together
from tests.support.sso import make_connection

ISSUER = "https://idp.example"
WORKERS = 20
# What an engine that gave up waiting, or was chosen as a deadlock's victim, answers: try again.
AGAIN = {"database.unavailable"}


@pytest.fixture
def connection(app: Flask, scoped: Any) -> Connection:
    found = make_connection(app, "http://127.0.0.1:9", jit="open")
    session().rollback()
    return found


def info(subject: str, **said: Any) -> UserInfo:
    return UserInfo(issuer=ISSUER, subject=subject, email_verified="email" in said, **said)


def count(model: Any) -> int:
    session().rollback()
    return session().scalar(select(func.count(model.id))) or 0


def test_g3_many_first_sign_ins_of_one_identity_make_one_account(
    app: Flask, connection: Connection, scoped: Any, actor: Actor
) -> None:
    found = []

    def enter() -> None:
        with transaction():
            said = info("one", email="ann@example.com", name="Ann")
            found.append(find_or_create_user(said, connection, actor=actor).user_id)

    outcomes = together(app, scoped, enter, WORKERS)
    assert set(outcomes) <= {"ok", *AGAIN}
    assert outcomes["ok"] > 0
    assert len(set(found)) == 1
    assert (count(IAMUserAccount), count(IAMUserIdentity)) == (1, 1)


def test_g3_many_people_of_one_name_get_an_account_each(
    app: Flask, connection: Connection, scoped: Any, actor: Actor
) -> None:
    numbers = iter(range(WORKERS))

    def enter() -> None:
        number = next(numbers)
        said = info(f"s{number}", email=f"ann@d{number}.example.com")
        with transaction():
            find_or_create_user(said, connection, actor=actor)

    outcomes = together(app, scoped, enter, 12)
    assert set(outcomes) <= {"ok", *AGAIN}
    assert count(IAMUserAccount) == count(IAMUserIdentity) == outcomes["ok"]


def test_at_196_of_many_identities_with_one_address_one_gets_the_account(
    app: Flask, scoped: Any, actor: Actor
) -> None:
    made = [make_connection(app, "http://127.0.0.1:9", slug=f"c{n}", jit="open") for n in range(8)]
    waiting = iter(made)

    def enter() -> None:
        with transaction():
            said = info("one", email="ann@example.com")
            find_or_create_user(said, next(waiting), actor=actor)

    outcomes = together(app, scoped, enter, len(made))
    assert outcomes["ok"] == 1
    assert set(outcomes) <= {"ok", "sso.link_required", "account.taken", *AGAIN}
    assert count(IAMUserAccount) == count(IAMUserIdentity) == 1


def test_g3_an_identity_that_two_people_link_at_once_is_one_persons(
    app: Flask, connection: Connection, scoped: Any, make_user: Callable[..., Any], actor: Actor
) -> None:
    people = [make_user(f"p{number}").id for number in range(10)]
    waiting = iter(people)

    def link() -> None:
        user_id = next(waiting)
        with transaction():
            services_identities.link(
                load(user_id), info("one"), connection, linked_by="account", actor=actor
            )

    outcomes = together(app, scoped, link, len(people))
    assert outcomes["ok"] == 1
    assert set(outcomes) <= {"ok", "sso.taken", *AGAIN}
    assert count(IAMUserIdentity) == 1


def test_at_206_the_last_two_ways_in_are_not_taken_at_once(
    app: Flask, connection: Connection, scoped: Any, actor: Actor
) -> None:
    for round_number in range(4):
        with transaction():
            first = find_or_create_user(info(f"a{round_number}"), connection, actor=actor)
            user = load(first.user_id)
            second = services_identities.link(
                user, info(f"b{round_number}"), connection, linked_by="account", actor=actor
            ).id
        waiting = iter([first.identity.id, second])

        def unlink(user_id: Any = first.user_id, waiting: Any = waiting) -> None:
            identity_id = next(waiting)
            with transaction():
                services_identities.unlink(load(user_id), identity_id, actor=actor)

        outcomes = together(app, scoped, unlink, 2)
        assert outcomes["ok"] <= 1
        left = [row for row in rows_of(IAMUserIdentity) if row.user_id == first.user_id]
        assert len(left) == 2 - outcomes["ok"]


def test_g4_many_sign_ins_of_one_person_give_a_role_once(
    app: Flask, connection: Connection, scoped: Any, make_user: Callable[..., Any], actor: Actor
) -> None:
    ann = make_user("ann")
    with transaction():
        role = rbac.find_role("editor")
        assert role is not None
        services_role_rules.add_rule(
            connection.id, "groups", "staff", role, actor_grants=None, actor=actor
        )

    def apply() -> None:
        with transaction():
            said = info("one", claims={"groups": ["staff"]})
            services_role_rules.apply(get_user(ann.id), said, connection, actor=actor)

    outcomes = together(app, scoped, apply, WORKERS)
    assert set(outcomes) <= {"ok", *AGAIN}
    assert outcomes["ok"] > 0
    assert count(IAMUserRole) == 1
