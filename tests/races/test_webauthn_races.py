"""One challenge, one key, many hands: fifty workers at once, and one of them gets through.

SQLite lets writers through one by one, so these say most on MySQL.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app.auth import services_webauthn
from app.auth.errors import CodeInvalid, PasskeyRefused
from app.auth.mfa import services_mfa_verify
from app.auth.models import (
    IAMAuthSession,
    IAMMfaMethod,
    IAMUserAccount,
    IAMWebauthnChallenge,
    IAMWebauthnCredential,
)
from app.auth.services_mfa import SIGN_IN
from app.auth.sign_in.services_gate import Entry
from app.auth.webauthn import (
    services_passkey,
    services_webauthn_challenges,
    services_webauthn_register,
)
from app.auth.webauthn.services_webauthn_challenges import PASSKEY, Bound
from app.auth.webauthn.services_webauthn_register import Checked
from app.auth.webauthn.webauthn_parsing import read_assertion, read_registration
from app.core.actor import Actor
from app.core.db import session, transaction
from app.risk.models import IAMDevice
from tests.conftest import Someone
from tests.support.authenticator import Authenticator
from tests.support.people import add_key, load, rows_of
from tests.support.races import WORKERS, together

Make = Callable[..., Someone]
BROWSER = b"b" * 32


@pytest.fixture
def ann(scoped: UUID, make_user: Make) -> Someone:
    """Return a person."""
    return make_user("ann")


@pytest.fixture
def device(ann: Someone, actor: Actor) -> Authenticator:
    """Return an authenticator with a key of Ann's."""
    found = Authenticator()
    add_key(load(ann.id), found, actor)
    session().rollback()
    return found


def checked(ann: Someone, device: Authenticator, actor: Actor, **lies: Any) -> Checked:
    """Return a registration that only has to be kept."""
    with transaction():
        asked = services_webauthn_register.begin(
            load(ann.id), session_id=None, browser=BROWSER, actor=actor
        )
    return services_webauthn_register.check(
        load(ann.id),
        read_registration(device.create(asked, **lies)),
        session_id=None,
        browser=BROWSER,
        actor=actor,
    )


def test_at_250_one_assertion_signs_in_once(
    app: Flask, scoped: UUID, device: Authenticator, actor: Actor
) -> None:
    with transaction():
        asked = services_webauthn.passkey_options(BROWSER)
    answer = read_assertion(device.get(asked))
    found = together(
        app, scoped, lambda: services_passkey.sign_in(answer, Entry(BROWSER), actor=actor)
    )
    assert found == {"ok": 1, PasskeyRefused.code: WORKERS - 1}
    assert len(rows_of(IAMAuthSession)) == 1


def test_x3_fifty_passkeys_at_once_are_fifty_sign_ins(
    app: Flask, scoped: UUID, device: Authenticator, actor: Actor
) -> None:
    """The account's row is held in turn; nobody deadlocks on key, account and session."""
    answers = []
    for number in range(WORKERS):
        browser = bytes([number]) * 32
        with transaction():
            asked = services_webauthn.passkey_options(browser)
        answers.append((read_assertion(device.get(asked, sign_count=0)), Entry(browser)))
    turn, lock = iter(answers), threading.Lock()

    def enter() -> None:
        with lock:
            answer, entry = next(turn)
        services_passkey.sign_in(answer, entry, actor=actor)

    assert together(app, scoped, enter) == {"ok": WORKERS}
    assert len(rows_of(IAMDevice)) == WORKERS


def test_at_250_one_assertion_is_one_second_step(
    app: Flask, scoped: UUID, ann: Someone, device: Authenticator, actor: Actor
) -> None:
    with transaction():
        asked = services_webauthn.factor_options(
            load(ann.id), SIGN_IN, session_id=None, browser=BROWSER
        )
    text = json.dumps(device.get(asked))
    attempt = services_mfa_verify.begin_attempt(
        load(ann.id), text, method="webauthn", browser=BROWSER, actor=actor
    )
    session().rollback()

    def redeem() -> None:
        with transaction():
            services_mfa_verify.redeem(attempt, actor=actor)

    assert together(app, scoped, redeem) == {"ok": 1, CodeInvalid.code: WORKERS - 1}
    assert not [row for row in rows_of(IAMWebauthnChallenge) if row.purpose == SIGN_IN]


def test_at_250_one_challenge_is_used_up_by_one(app: Flask, scoped: UUID, ann: Someone) -> None:
    bound = Bound(PASSKEY, BROWSER)
    with transaction():
        challenge = services_webauthn_challenges.issue(bound)
    used: list[bool] = []

    def use() -> None:
        used.append(services_webauthn_challenges.use_up(challenge, bound) is not None)

    assert together(app, scoped, use) == {"ok": WORKERS}
    assert used.count(True) == 1


def test_at_259_one_key_is_registered_once(
    app: Flask, scoped: UUID, ann: Someone, make_user: Make, actor: Actor
) -> None:
    """Twenty-five of Ann, twenty-five of Bob, one credential id."""
    bob = make_user("bob")
    work = [
        (someone, checked(someone, Authenticator(), actor, credential_id=b"same" * 8))
        for someone in (ann, bob)
    ]
    session().rollback()
    turn, lock = iter(work * (WORKERS // 2)), threading.Lock()

    def enrol() -> None:
        with lock:
            someone, found = next(turn)
        with transaction():
            services_webauthn_register.enrol(load(someone.id), found, name="", actor=actor)

    found = together(app, scoped, enrol)
    assert found == {"ok": 1, "webauthn.known": WORKERS - 1}
    assert len(rows_of(IAMWebauthnCredential)) == len(rows_of(IAMMfaMethod)) == 1


def test_d8_ten_keys_are_kept_of_fifty(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    work = [checked(ann, Authenticator(), actor) for _number in range(WORKERS)]
    session().rollback()
    turn, lock = iter(work), threading.Lock()

    def enrol() -> None:
        with lock:
            found = next(turn)
        with transaction():
            services_webauthn_register.enrol(load(ann.id), found, name="", actor=actor)

    found = together(app, scoped, enrol)
    assert found == {"ok": 10, "mfa.too_many_factors": WORKERS - 10}
    assert len(rows_of(IAMWebauthnCredential)) == 10


def test_at_268_first_registrations_at_once_share_one_handle(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    handles: set[str] = set()

    def begin() -> None:
        with transaction():
            asked = services_webauthn_register.begin(
                load(ann.id), session_id=None, browser=BROWSER, actor=actor
            )
        handles.add(asked["user"]["id"])

    assert together(app, scoped, begin) == {"ok": WORKERS}
    assert len(handles) == 1
    [account] = [row for row in rows_of(IAMUserAccount) if row.id == ann.id]
    assert len(account.webauthn_handle) == 64


def test_one_browser_may_ask_fifty_times_at_once(app: Flask, scoped: UUID, ann: Someone) -> None:
    def ask() -> None:
        with transaction():
            services_webauthn.passkey_options(BROWSER)

    assert together(app, scoped, ask) == {"ok": WORKERS}
