"""One link, one code, one way back, many hands: of fifty workers one succeeds (AT-450).

SQLite lets writers through one by one, so these say most on MySQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from flask import Flask

from app.auth.accounts import services_contact, services_contact_undo
from app.auth.errors import CodeInvalid, InvalidCredentials, LinkInvalid
from app.auth.models import IAMActionToken, IAMAuthSession
from app.auth.sign_in import services_codes, services_sign_in_links, services_sign_in_requests
from app.auth.sign_in.services_codes import EMAIL_CHANGE, SIGN_IN
from app.auth.sign_in.services_sign_in_links import CodeAttempt
from app.auth.sign_in.services_sign_in_requests import LinkRequest, Offer
from app.core.actor import Actor
from app.core.db import session, transaction
from tests.conftest import Someone
from tests.support.mailbox import code_to, link_to, messages, wrong
from tests.support.people import load, rows_of
from tests.support.races import WORKERS, together

Make = Callable[..., Someone]
ANN, NEW = "ann@example.com", "new@example.org"
BROWSER = b"b" * 32
BOTH = Offer("email", link=True, code=True, minutes=10)


@pytest.fixture
def actor(tenant: UUID) -> Actor:
    """Return somebody at a browser."""
    return Actor(kind="anonymous", tenant_id=tenant, ip="192.0.2.7", user_agent="Test/1.0")


@pytest.fixture
def ann(scoped: UUID, make_user: Make) -> Someone:
    """Return a person with a verified address."""
    return make_user("ann")


def ask(actor: Actor, browser: bytes = BROWSER) -> None:
    asked = LinkRequest("ann", BOTH, remember=False, next_url=None, browser=browser)
    services_sign_in_requests.request_link(asked, actor=actor)
    session().rollback()


def test_at_450_one_link_in_fifty_hands(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    ask(actor)
    token = link_to(ANN, "/auth/login/link/").rsplit("/", 1)[1]
    session().rollback()

    def use() -> None:
        services_sign_in_links.sign_in_with_link(token, BROWSER, None, actor=actor)

    found = together(app, scoped, use)
    assert found == {"ok": 1, LinkInvalid.code: WORKERS - 1}
    assert len(rows_of(IAMAuthSession)) == 1


def test_at_450_one_code_in_fifty_hands(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    """Counted before the race, so that all fifty are compared at once."""
    ask(actor)
    attempt = services_codes.begin(ann.id, SIGN_IN, code_to(ANN), browser=BROWSER, actor=actor)
    session().rollback()

    def redeem() -> None:
        with transaction():
            services_codes.redeem(attempt, actor=actor)

    assert together(app, scoped, redeem) == {"ok": 1, CodeInvalid.code: WORKERS - 1}


def test_at_034_fifty_parallel_guesses_are_five(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    ask(actor)
    attempt = CodeAttempt("ann", wrong(code_to(ANN)), BROWSER)
    session().rollback()

    def guess() -> None:
        services_sign_in_links.sign_in_with_code(attempt, actor=actor)

    found = together(app, scoped, guess)
    assert found[InvalidCredentials.code] == 5
    assert found["auth.too_many_attempts"] == WORKERS - 5
    assert rows_of(IAMActionToken)[0].attempts == 5


def test_at_085_fifty_parallel_requests_send_one_mail(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    session().rollback()
    together(app, scoped, lambda: ask(actor), workers=20)
    assert len(messages(ANN)) == 1


def test_at_450_link_and_code_at_once_are_one_sign_in(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    ask(actor)
    token = link_to(ANN, "/auth/login/link/").rsplit("/", 1)[1]
    attempt = CodeAttempt("ann", code_to(ANN), BROWSER)
    session().rollback()
    turn = iter([True, False] * 2)

    def either() -> None:
        if next(turn):
            services_sign_in_links.sign_in_with_link(token, BROWSER, None, actor=actor)
        else:
            services_sign_in_links.sign_in_with_code(attempt, actor=actor)

    assert together(app, scoped, either, workers=4)["ok"] == 1
    assert len(rows_of(IAMAuthSession)) == 1


def changed(ann: Someone, actor: Actor, address: str) -> None:
    where = uuid4()
    with transaction():
        sent = services_contact.begin_email(load(ann.id), address, session_id=where, actor=actor)
    services_codes.deliver(sent)
    code = code_to(address)
    services_contact.confirm(load(ann.id), EMAIL_CHANGE, code, session_id=where, actor=actor)
    session().rollback()


def test_at_450_one_change_of_address_in_fifty_hands(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    where = uuid4()
    with transaction():
        sent = services_contact.begin_email(load(ann.id), NEW, session_id=where, actor=actor)
    services_codes.deliver(sent)
    code = code_to(NEW)
    session().rollback()

    def confirm() -> None:
        services_contact.confirm(load(ann.id), EMAIL_CHANGE, code, session_id=where, actor=actor)

    found = together(app, scoped, confirm)
    assert found["ok"] == 1
    assert sum(found.values()) == WORKERS
    assert load(ann.id).email == NEW
    notices = [item for item in messages(ANN) if re.search("was changed", item["subject"])]
    assert len(notices) == 1


def test_at_450_one_way_back_in_fifty_hands(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    changed(ann, actor, NEW)
    token = link_to(ANN, "/auth/email/undo/").rsplit("/", 1)[1]
    session().rollback()

    def undo() -> None:
        services_contact_undo.redeem(token, actor=actor)

    assert together(app, scoped, undo) == {"ok": 1, LinkInvalid.code: WORKERS - 1}
    assert load(ann.id).email == ANN


def test_at_014_two_people_who_want_one_address_at_once(
    app: Flask, scoped: UUID, ann: Someone, make_user: Make, actor: Actor
) -> None:
    bob = make_user("bob")
    work = []
    for person in (ann, bob):
        where = uuid4()
        with transaction():
            sent = services_contact.begin_email(load(person.id), NEW, session_id=where, actor=actor)
        services_codes.deliver(sent)
        work.append((person.id, code_to(NEW), where))
    session().rollback()
    turn = iter(work)

    def confirm() -> None:
        user_id, code, where = next(turn)
        services_contact.confirm(load(user_id), EMAIL_CHANGE, code, session_id=where, actor=actor)

    found = together(app, scoped, confirm, workers=2)
    # In a table of two rows MySQL locks both: the loser may be a deadlock's victim (503).
    assert found["ok"] == 1
    assert found["account.taken"] + found["database.unavailable"] == 1
    assert sorted([load(ann.id).email, load(bob.id).email]).count(NEW) == 1
