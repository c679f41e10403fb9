"""One code, many hands: fifty workers redeem the same code at once; one succeeds.

SQLite lets writers through one by one, so these say most on MySQL.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import pyotp
import pytest
from flask import Flask

from app.auth import services_mfa
from app.auth.errors import CodeInvalid
from app.auth.factors import Attempt
from app.auth.mfa import services_mfa_changes, services_mfa_enrol, services_mfa_verify
from app.auth.models import IAMAuthSession, IAMMfaChallenge, IAMMfaMethod, IAMRecoveryCode
from app.auth.principal import Principal
from app.auth.sessions import services_session_lookup
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.notify import services_outbox
from tests.conftest import Someone, post
from tests.support.people import add_channel, add_recovery_codes, load, rows_of
from tests.support.races import WORKERS, together

Make = Callable[..., Someone]
ENROLLING = 5


def redeem(attempt: Attempt, actor: Actor) -> Callable[[], Any]:
    """Return work that redeems an attempt: the try itself was counted before the race."""

    def work() -> None:
        with transaction():
            services_mfa_verify.redeem(attempt, actor=actor)

    return work


@pytest.fixture
def ann(scoped: UUID, make_user: Make) -> Someone:
    """Return a person with an authenticator app."""
    return make_user("ann", mfa="totp")


def attempt_for(ann: Someone, code: str, method: str, actor: Actor) -> Attempt:
    found = services_mfa_verify.begin_attempt(load(ann.id), code, method=method, actor=actor)
    session().rollback()
    return found


def test_at_039_one_totp_code_in_fifty_hands(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    code = pyotp.TOTP(ann.totp_secret or "").at(clock.now())
    found = together(app, scoped, redeem(attempt_for(ann, code, "totp", actor), actor))
    assert found == {"ok": 1, CodeInvalid.code: WORKERS - 1}
    assert len([row for row in rows_of(IAMMfaChallenge) if row.consumed_at]) == 1


@pytest.mark.parametrize("method", ["email_otp", "sms_otp", "whatsapp_otp"])
def test_d3_one_sent_code_in_fifty_hands(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor, method: str
) -> None:
    add_channel(load(ann.id), method)
    services_mfa.challenge(load(ann.id), method, services_mfa.SIGN_IN, session_id=None, actor=actor)
    code = re.search(r"\b(\d{6})\b", services_outbox.list_recent(1)[0]["body"])
    assert code
    found = together(app, scoped, redeem(attempt_for(ann, code.group(1), method, actor), actor))
    assert found == {"ok": 1, CodeInvalid.code: WORKERS - 1}


def test_at_053_one_recovery_code_in_fifty_hands(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    codes = add_recovery_codes(load(ann.id), actor)
    attempt = attempt_for(ann, codes[0], "recovery_code", actor)
    found = together(app, scoped, redeem(attempt, actor))
    assert found == {"ok": 1, CodeInvalid.code: WORKERS - 1}
    assert len([row for row in rows_of(IAMRecoveryCode) if row.used_at]) == 1


def test_at_034_fifty_parallel_guesses_are_five(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    """The whole way, counting included: no more than five are compared at all."""
    code = pyotp.TOTP(ann.totp_secret or "").at(clock.now())
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"

    def guess() -> None:
        services_mfa.verify_mfa_code(load(ann.id), wrong, method="totp", actor=actor)

    found = together(app, scoped, guess)
    assert found[CodeInvalid.code] == 5
    assert found["auth.too_many_attempts"] == WORKERS - 5


def test_at_034_fifty_parallel_tries_at_a_sent_code_are_five(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    from app.auth.mfa import services_challenges

    add_channel(load(ann.id), "email_otp")
    issued = services_mfa.challenge(
        load(ann.id), "email_otp", services_mfa.SIGN_IN, session_id=None, actor=actor
    )
    counted: list[bool] = []

    def count() -> None:
        with transaction():
            counted.append(services_challenges.count_try(issued.challenge_id, clock.now()))

    together(app, scoped, count)
    assert counted.count(True) == 5


def test_at_085_fifty_parallel_requests_send_one_code(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    add_channel(load(ann.id), "sms_otp")
    session().rollback()

    def ask() -> None:
        with transaction():
            services_mfa.issue_mfa_challenge(load(ann.id), "sms_otp", "sign_in", actor=actor)

    found = together(app, scoped, ask)
    assert found == {"ok": 1, "mfa.resend_too_soon": WORKERS - 1}
    assert len(rows_of(IAMMfaChallenge)) == 1


def test_d2_one_confirmation_turns_a_factor_on(
    app: Flask, scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = make_user("bob")
    with transaction():
        row = services_mfa_enrol.begin_totp(load(bob.id), session_id=None, actor=actor)
    secret = services_mfa_enrol.totp_setup(load(bob.id), row, session_id=None).secret
    attempt = services_mfa_enrol.begin_confirmation(
        load(bob.id), "totp", pyotp.TOTP(secret).at(clock.now()), session_id=None, actor=actor
    )
    session().rollback()

    def confirm() -> None:
        with transaction():
            services_mfa_enrol.confirm(load(bob.id), attempt, actor=actor)

    found = together(app, scoped, confirm)
    assert found["ok"] == 1
    assert found[CodeInvalid.code] == WORKERS - 1
    assert len(rows_of(IAMRecoveryCode)) == 10


def test_at_075_two_removals_at_once_leave_the_factor_that_policy_demands(
    app: Flask, scoped: UUID, ann: Someone, actor: Actor
) -> None:
    add_channel(load(ann.id), "sms_otp")
    ids = [row.id for row in rows_of(IAMMfaMethod)]
    session().rollback()
    turn = iter(ids * (WORKERS // 2))
    lock = threading.Lock()

    def remove() -> None:
        with lock:
            method_id = next(turn)
        with transaction():
            services_mfa_changes.remove(load(ann.id), method_id, policy="required", actor=actor)

    found = together(app, scoped, remove)
    assert found["ok"] == 1
    assert len(rows_of(IAMMfaMethod)) == 1


def test_at_074_of_sign_ins_that_enrol_at_once_one_gets_in(
    app: Flask, scoped: UUID, make_user: Make, actor: Actor
) -> None:
    """Who knows the password alone must show the factor that another sign-in has enrolled."""
    ann = make_user("ann", roles=["auditor"])
    waiting: SimpleQueue[tuple[Principal, Attempt]] = SimpleQueue()
    for _ in range(ENROLLING):
        client = app.test_client()
        post(client, "/auth/login", {"username": "ann", "password": ann.password})
        cookie = client.get_cookie("iam_session")
        assert cookie is not None
        person = services_session_lookup.find(cookie.value, "127.0.0.1")
        assert person is not None
        assert person.stage == "enrol"
        waiting.put((person, _begun(ann, person, actor)))
    session().rollback()

    def enrol() -> None:
        person, attempt = waiting.get()
        with transaction():
            user = load(ann.id)
            enrolled = services_mfa_enrol.confirm(user, attempt, actor=actor)
            services_mfa.complete_mfa_session(user, enrolled.proved, principal=person, actor=actor)

    found = together(app, scoped, enrol, workers=ENROLLING)
    assert found["ok"] == 1
    assert [row.state for row in rows_of(IAMAuthSession)].count("active") == 1
    assert len([row for row in rows_of(IAMMfaMethod) if row.confirmed_at]) == 1


def _begun(ann: Someone, person: Principal, actor: Actor) -> Attempt:
    with transaction():
        row = services_mfa_enrol.begin_totp(load(ann.id), session_id=person.session_id, actor=actor)
        setup = services_mfa_enrol.totp_setup(load(ann.id), row, session_id=person.session_id)
    attempt = services_mfa_enrol.begin_confirmation(
        load(ann.id), "totp", pyotp.TOTP(setup.secret).at(clock.now()),
        session_id=person.session_id, actor=actor,
    )  # fmt: skip
    session().rollback()
    return attempt
