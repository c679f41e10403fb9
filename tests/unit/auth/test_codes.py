"""Codes to an address that is no factor: bound, counted, good once (D3, attack group B)."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from app.auth.errors import CodeDead, CodeInvalid
from app.auth.models import IAMActionToken
from app.auth.sign_in import services_codes
from app.auth.sign_in.services_codes import EMAIL_CHANGE, SIGN_IN, VERIFY_EMAIL
from app.core import clock
from app.core.db import session, transaction
from app.core.errors import TooManyAttempts
from app.notify import messages
from app.notify.messages import EMAIL
from tests.support.mailbox import code_to, wrong
from tests.support.mailbox import messages as sent_to
from tests.support.people import load, rows_of

SESSION = uuid4()


@pytest.fixture
def ann(scoped, make_user):
    return make_user("ann")


def issue(person, actor, purpose=VERIFY_EMAIL, **bound):
    build = lambda code, _token: messages.otp_code(  # noqa: E731
        EMAIL, person.email, code=code, minutes=10, brand="Test"
    )
    with transaction():
        sent = services_codes.issue(
            load(person.id), purpose, channel=EMAIL, destination=person.email, build=build,
            minutes=10, actor=actor, **{"session_id": SESSION, **bound},
        )  # fmt: skip
    services_codes.deliver(sent)
    return code_to(person.email)


def redeem(person, code, actor, purpose=VERIFY_EMAIL, **bound):
    attempt = services_codes.begin(
        person.id, purpose, code, actor=actor, **{"session_id": SESSION, **bound}
    )
    with transaction():
        return services_codes.redeem(attempt, actor=actor)


def test_d3_a_code_works_once(ann, actor):
    code = issue(ann, actor, payload={"to": "x@example.com"})
    row = redeem(ann, code, actor)
    assert services_codes.payload_of(row) == {"to": "x@example.com"}
    with pytest.raises(CodeInvalid):
        redeem(ann, code, actor)


def test_at_043_a_code_is_bound_to_session_person_and_purpose(ann, actor, make_user):
    other = make_user("bob")
    code = issue(ann, actor)
    for attempt in (
        lambda: redeem(ann, code, actor, session_id=uuid4()),
        lambda: redeem(ann, code, actor, session_id=None, browser=b"b" * 32),
        lambda: redeem(ann, code, actor, purpose=EMAIL_CHANGE),
        lambda: redeem(other, code, actor),
    ):
        with pytest.raises(CodeInvalid):
            attempt()
    assert redeem(ann, code, actor).consumed_at is not None


def test_at_034_a_code_dies_after_five_tries(ann, actor):
    code = issue(ann, actor)
    for _ in range(4):
        with pytest.raises(CodeInvalid):
            redeem(ann, wrong(code), actor)
    with pytest.raises(CodeInvalid):
        redeem(ann, "12", actor)
    with clock.travel(timedelta(minutes=5)), pytest.raises(CodeDead):
        redeem(ann, code, actor)


def test_at_035_a_new_code_does_not_refresh_the_accounts_count(ann, actor):
    for days in range(3):
        with clock.travel(timedelta(minutes=days * 2)):
            code = issue(ann, actor)
            for _ in range(2):
                try:
                    redeem(ann, wrong(code), actor)
                except TooManyAttempts:
                    return
                except CodeInvalid:
                    continue
    raise AssertionError("six wrong codes in a row and no delay")


def test_at_045_only_the_newest_code_works(ann, actor):
    first = issue(ann, actor)
    with clock.travel(timedelta(minutes=2)):
        second = issue(ann, actor)
        if first != second:
            with pytest.raises(CodeInvalid):
                redeem(ann, first, actor)
        assert redeem(ann, second, actor)


def test_at_085_codes_are_sent_after_a_pause_only(ann, actor):
    issue(ann, actor)
    with pytest.raises(TooManyAttempts):
        issue(ann, actor)
    assert len(sent_to(ann.email)) == 1
    assert services_codes.seconds_until_resend(ann.id, VERIFY_EMAIL) > 0


def test_a_strangers_browser_does_not_take_the_owners_code_away(ann, actor):
    mine, theirs = b"m" * 32, b"t" * 32
    code = issue(ann, actor, session_id=None, browser=mine)
    issue(ann, actor, session_id=None, browser=theirs)
    with pytest.raises(CodeInvalid):
        redeem(ann, code, actor, session_id=None, browser=theirs)
    assert redeem(ann, code, actor, session_id=None, browser=mine)


def test_an_expired_code_is_refused(ann, actor):
    code = issue(ann, actor)
    with clock.travel(timedelta(minutes=11)), pytest.raises(CodeInvalid):
        redeem(ann, code, actor)


def test_at_094_neither_code_nor_payload_is_stored_in_clear(ann, actor):
    code = issue(ann, actor, payload={"to": "secret@example.com"})
    (row,) = rows_of(IAMActionToken)
    stored = repr([getattr(row, column.key) for column in IAMActionToken.__table__.columns])
    assert code not in stored
    assert "secret@example.com" not in stored


def test_a_message_to_another_address_than_the_checked_one_is_refused(ann, actor):
    build = lambda code, _token: messages.otp_code(  # noqa: E731
        EMAIL, "eve@example.com", code=code, minutes=10, brand="Test"
    )
    with pytest.raises(ValueError, match="another address"), transaction():
        services_codes.issue(
            load(ann.id), VERIFY_EMAIL, channel=EMAIL, destination=ann.email, build=build,
            minutes=10, session_id=SESSION, actor=actor,
        )  # fmt: skip
    session().rollback()
    assert sent_to() == []


def test_at_008_tries_at_a_code_that_was_never_sent_cost_the_owner_nothing(ann, actor):
    for _ in range(10):
        with pytest.raises(CodeInvalid):
            redeem(ann, "123456", actor, purpose=SIGN_IN, session_id=None, browser=b"e" * 32)
    assert redeem(ann, issue(ann, actor), actor)


def test_at_008_strangers_who_guess_at_a_sign_in_close_no_other_code(ann, actor):
    theirs = {"purpose": SIGN_IN, "session_id": None, "browser": b"e" * 32}
    code = issue(ann, actor, **theirs)
    for _ in range(5):
        with pytest.raises(CodeInvalid):
            redeem(ann, wrong(code), actor, **theirs)
    with pytest.raises(TooManyAttempts):
        redeem(ann, wrong(code), actor, **theirs)
    assert redeem(ann, issue(ann, actor), actor)
