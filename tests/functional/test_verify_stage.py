"""The stage of a sign-in that confirms a mailbox: an unverified address, a new device (B2, J2)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.auth.settings import AuthSettings
from app.core import clock
from app.core.db import session
from tests.conftest import PASSWORD, post, totp_code
from tests.support.mailbox import code_to, messages, wrong
from tests.support.people import load
from tests.support.settings import changed

PAGE, SEND = "/auth/verify", "/auth/verify/send"
ASKS_ON_NEW_DEVICES = {"IAM_SESSION_POLICIES": {"end_user": {"mfa_on_new_device": True}}}


@pytest.fixture
def waiting(scoped, make_user):
    """Return a person whose address still waits for its verification."""
    return make_user("ann", status="pending_verification", email_verified=False)


def enter(client, name="ann"):
    return post(client, "/auth/login", {"username": name, "password": PASSWORD})


def send(client):
    return post(client, SEND, page=PAGE)


def test_b2_an_unverified_account_confirms_its_address_first(client, waiting, audit_rows):
    assert enter(client).headers["Location"] == PAGE
    assert client.get("/account").headers["Location"] == PAGE
    assert send(client).headers["Location"] == PAGE
    answer = post(client, PAGE, {"code": code_to(waiting.email)})
    assert answer.headers["Location"] == "/account"
    assert client.get("/account").status_code == 200
    session().rollback()
    user = load(waiting.id)
    assert (user.status, user.email_verified) == ("active", True)
    assert len(audit_rows("EMAIL_VERIFIED")) == 1


def test_b2_a_look_at_the_page_sends_nothing(client, waiting):
    enter(client)
    client.get(PAGE)
    assert messages(waiting.email) == []


def test_at_034_wrong_codes_are_counted_and_the_code_dies(client, waiting):
    enter(client)
    send(client)
    code = code_to(waiting.email)
    for _ in range(4):
        assert post(client, PAGE, {"code": wrong(code)}).status_code == 401
    assert post(client, PAGE, {"code": wrong(code)}).status_code == 401
    with clock.travel(timedelta(minutes=5)):
        assert post(client, PAGE, {"code": code}).status_code == 401
    assert client.get("/account").status_code == 303


def test_at_034_too_many_tries_are_told_on_the_page_with_the_time_to_wait(client, waiting):
    enter(client)
    for _ in range(4):
        send(client)
        code = code_to(waiting.email)
        for _ in range(5):
            answer = post(client, PAGE, {"code": wrong(code)})
            if answer.status_code == 429:
                break
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "You can try again in" in answer.text
    assert 'name="code"' in answer.text


def test_at_043_the_code_of_one_sign_in_is_refused_in_another(app, client, waiting):
    enter(client)
    send(client)
    code = code_to(waiting.email)
    thief = app.test_client()
    enter(thief)
    assert 'name="code"' not in thief.get(PAGE).text
    token = client.get(PAGE)
    assert token.status_code == 200
    assert post(thief, PAGE, {"code": code}).status_code == 401
    assert post(client, PAGE, {"code": code}).headers["Location"] == "/account"


def test_at_085_another_code_is_sent_after_a_pause(client, waiting):
    enter(client)
    send(client)
    page = post(client, SEND, page=PAGE, follow_redirects=True)
    assert "wait" in page.text
    assert len(messages(waiting.email)) == 1


def test_at_074_the_mailbox_is_no_second_factor(client, make_user, scoped):
    person = make_user("ann", status="pending_verification", email_verified=False, mfa="totp")
    enter(client)
    send(client)
    answer = post(client, PAGE, {"code": code_to(person.email)})
    assert answer.headers["Location"] == "/auth/mfa/verify"
    answer = post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
    assert answer.headers["Location"] == "/account"


def test_b2_an_active_account_with_an_unverified_address_is_asked_where_settings_say(
    app, client, make_user, scoped
):
    make_user("ann", email_verified=False)
    assert enter(client).headers["Location"] == "/account"
    with changed(app, AuthSettings, EMAIL_VERIFICATION_REQUIRED=True):
        assert enter(app.test_client()).headers["Location"] == PAGE


def test_j2_a_new_device_is_confirmed_by_mail_where_there_is_no_factor(
    app, client, make_user, scoped
):
    person = make_user("ann")
    with changed(app, AuthSettings, **ASKS_ON_NEW_DEVICES):
        assert enter(client).headers["Location"] == PAGE
        assert "device" in client.get(PAGE).text
        send(client)
        answer = post(client, PAGE, {"code": code_to(person.email)})
        assert answer.headers["Location"] == "/account"
        client.delete_cookie("iam_session")
        assert enter(client).headers["Location"] == "/account"


def test_j2_a_new_device_needs_the_second_factor_even_where_policy_is_off(
    app, client, make_user, scoped, monkeypatch
):
    from app.auth.mfa.settings_mfa import MfaSettings

    person = make_user("ann", mfa="totp")
    off = changed(app, MfaSettings, MFA_DEFAULT_POLICY="off")
    with off, changed(app, AuthSettings, **ASKS_ON_NEW_DEVICES):
        assert enter(client).headers["Location"] == "/auth/mfa/verify"
        post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
        client.delete_cookie("iam_session")
        assert enter(client).headers["Location"] == "/account"


def test_an_account_without_an_address_is_told_whom_to_ask(app, client, make_user, scoped):
    make_user("ann", status="pending_verification", email=None, email_verified=False)
    enter(client)
    assert "administrator" in client.get(PAGE).text


def test_the_stage_is_nobody_elses(client, make_user, sign_in):
    assert client.get(PAGE).status_code == 303
    sign_in(client, make_user("ann"))
    assert client.get(PAGE).status_code == 303
