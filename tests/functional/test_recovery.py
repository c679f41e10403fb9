"""Account recovery over HTTP: its owner's way back in, and the attacks on it (I1, I2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from app.auth.accounts import services_accounts
from app.auth.models import IAMActionToken, IAMMfaMethod, IAMRecoveryCode, IAMTenant
from app.auth.recovery.settings_recovery import RecoverySettings
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.scoping import unscoped
from app.notify.settings import NotifySettings
from app.risk.models import IAMDevice
from tests.conftest import Someone, csrf_of, post, totp_code
from tests.support.people import add_recovery_codes, load
from tests.support.recovery import (
    PAGE,
    begin,
    begin_waiting,
    change,
    follow,
    give_password,
    last_code,
    link,
    messages,
    press,
    prove,
    requests_of,
    set_phone,
    the_request,
)

A_DAY = timedelta(hours=24)
NEW = "another horse battery staple 43"


@pytest.fixture
def ann(make_user: Any) -> Someone:
    """Return somebody with an authenticator app, a confirmed address and a confirmed number."""
    person: Someone = make_user("ann", mfa="totp")
    set_phone(person)
    return person


@contextmanager
def setting(app: Flask, section: Any, **values: Any) -> Iterator[None]:
    """Change settings for a while."""
    settings = app.extensions["iam"].settings
    before = settings[section]
    settings[section] = before.model_copy(update=values)
    try:
        yield
    finally:
        settings[section] = before


def is_signed_in(client: FlaskClient) -> bool:
    return client.get("/account").status_code == 200


def rows(model: Any, person: Someone) -> list[Any]:
    with unscoped("tests look at every tenant"):
        session().rollback()
        return list(session().scalars(select(model).where(model.user_id == person.id)))


def enrol(client: FlaskClient) -> Any:
    """Set up an authenticator app in a sign-in that can do nothing else."""
    page = "/auth/mfa/enrol/totp"
    assert post(client, page, {"action": "start"}).status_code == 303
    secret = re.search(r'data-copy-text="([A-Z2-7]{32})"', client.get(page).text)
    assert secret
    return post(client, page, {"code": totp_code(secret.group(1)), "name": "New phone"})


# ------------------------------------------------------------------ the whole way


def test_i1_a_lost_factor_is_replaced(app, client, ann, sign_in, audit_rows) -> None:
    sign_in(app.test_client(), ann)
    give_password(client, ann)
    assert PAGE in client.get("/auth/mfa/verify").text
    assert PAGE in client.get("/auth/mfa/choose").text
    assert "Begin the recovery" in client.get(PAGE).text
    assert press(client, PAGE).status_code == 303
    assert "Prove that it is you" in client.get(PAGE).text
    prove(client, "email")
    assert the_request(ann).status == "proofs"
    prove(client, "phone")
    assert "We sent you a link" in client.get(PAGE).text
    assert not is_signed_in(client)

    path, phone = link("continue"), app.test_client()
    assert "Not yet" in phone.get(path).text
    with clock.travel(A_DAY):
        page = phone.get(path).text
        assert "Authenticator app: Phone" in page
        answer = follow(phone, path)
        assert answer.headers["Location"] == "/auth/mfa/enrol"
        assert "Your old second steps are removed" in phone.get("/auth/mfa/enrol").text
        assert not rows(IAMMfaMethod, ann)
        enrol(phone)
        assert [row.name for row in rows(IAMMfaMethod, ann)] == ["New phone"]
    names = [row.action for row in audit_rows() if row.action.startswith("RECOVERY_")]
    assert names[:4] == ["RECOVERY_OPENED", "RECOVERY_PROVED", "RECOVERY_PROVED",
                         "RECOVERY_COMPLETED"]  # fmt: skip
    (done,) = audit_rows("RECOVERY_COMPLETED")
    assert (done.severity, done.details["methods"]) == ("critical", ["totp"])
    assert not audit_rows("MFA_DISABLED")


def recovered(client: FlaskClient, person: Someone) -> FlaskClient:
    """Take a person up to the limited session; return the browser that has it."""
    begin_waiting(client, person)
    phone: FlaskClient = client.application.test_client()
    assert follow(phone, link("continue")).headers["Location"] == "/auth/mfa/enrol"
    return phone


def test_i2_a_recovery_never_signs_in_the_person_does(app, client, ann) -> None:
    with setting(app, RecoverySettings, RECOVERY_WAIT_HOURS=0):
        phone = recovered(client, ann)
    shown = enrol(phone)
    secret = rows(IAMMfaMethod, ann)[0]
    assert secret.confirmed_at
    sealed = re.search(r'name="sealed"[^>]*value="([^"]+)"', shown.text)
    assert sealed
    saved = {"sealed": sealed.group(1), "confirm": "y", "csrf_token": csrf_of(shown.text)}
    answer = phone.post("/auth/mfa/enrol/recovery-codes/saved", data=saved)
    assert answer.headers["Location"] == "/auth/recovery/finished"
    assert "Sign in" in phone.get("/auth/recovery/finished").text
    assert not is_signed_in(phone)
    for url in ("/account/security", "/auth/mfa/enrol", "/auth/mfa/verify"):
        assert phone.get(url).status_code == 303
    assert give_password(phone, ann).headers["Location"] == "/auth/mfa/verify"


def test_i1_a_recovery_left_half_way_leaves_no_account_without_a_factor(app, client, ann) -> None:
    with setting(app, RecoverySettings, RECOVERY_WAIT_HOURS=0):
        recovered(client, ann)
    assert not rows(IAMMfaMethod, ann)
    later = app.test_client()
    # The password alone does not open the place of the factor that was removed.
    assert give_password(later, ann).headers["Location"] == "/auth/verify"
    assert later.get("/auth/mfa/enrol").status_code == 303
    press(later, "/auth/verify/send", page="/auth/verify")
    answer = press(later, "/auth/verify", page="/auth/verify", code=last_code("email"))
    assert answer.headers["Location"] == "/auth/mfa/enrol"
    assert not is_signed_in(later)
    enrol(later)
    assert give_password(app.test_client(), ann).headers["Location"] == "/auth/mfa/verify"


def test_i1_notices_go_to_every_channel(client, ann) -> None:
    begin_waiting(client, ann)
    opened, waiting = messages("email", "was asked for"), messages("email", "Works from")
    texts = messages("sms", "Stop it")
    assert (len(opened), len(waiting), len(texts)) == (1, 1, 2)
    row = the_request(ann)
    assert f"{row.available_at:%Y-%m-%d %H:%M} UTC" in waiting[0]["body"]
    assert f"{row.available_at:%Y-%m-%d %H:%M} UTC" in texts[1]["body"]
    assert f"{row.expires_at:%Y-%m-%d %H:%M} UTC" in waiting[0]["body"]
    for message in (*opened, *waiting, *texts):
        assert link("cancel") in message["body"]
        assert ("/auth/recovery/continue/" in message["body"]) == (message in waiting)


def test_i1_the_notice_lists_what_was_removed(app, client, ann, scoped, actor) -> None:
    add_recovery_codes(load(ann.id), actor)
    begin_waiting(client, ann)
    with clock.travel(A_DAY):
        follow(app.test_client(), link("continue"))
    (mail,) = messages("email", "was recovered")
    assert "Authenticator app: Phone" in mail["body"]
    assert "Recovery code" in mail["body"]
    assert messages("sms", "was recovered")
    assert not rows(IAMRecoveryCode, ann)


def test_at_120_a_recovery_ends_sessions_links_and_trust(app, client, ann, sign_in) -> None:
    elsewhere = app.test_client()
    sign_in(elsewhere, ann)
    change_device(ann, trusted_until=clock.now() + timedelta(days=30))
    begin_waiting(client, ann)
    post(app.test_client(), "/auth/password/forgot", {"username": "ann"})
    with clock.travel(timedelta(minutes=1)):  # the session would end by itself in a day
        with_zero_wait(ann)
        follow(app.test_client(), link("continue"))
        assert not is_signed_in(elsewhere)
    assert all(row.trusted_until is None for row in rows(IAMDevice, ann))
    assert not rows(IAMActionToken, ann)


def change_device(person: Someone, **values: Any) -> None:
    with unscoped("the test writes for any tenant"), transaction():
        for row in session().scalars(select(IAMDevice).where(IAMDevice.user_id == person.id)):
            for name, value in values.items():
                setattr(row, name, value)


def with_zero_wait(person: Someone) -> None:
    """End the waiting time of a request past the services."""
    row = the_request(person)
    with unscoped("the test writes for any tenant"), transaction():
        session().merge(row).available_at = clock.now()


# ------------------------------------------------------------------ it is no way round


def test_at_073_a_recovery_opens_nothing_but_enrolment(app, client, ann) -> None:
    begin_waiting(client, ann)
    phone = app.test_client()
    with clock.travel(A_DAY):
        follow(phone, link("continue"))
        for url in ("/account", "/account/security", "/admin", "/auth/mfa/choose", PAGE):
            assert phone.get(url).headers["Location"].startswith("/auth/mfa/enrol"), url


def test_at_097_a_password_reset_passes_neither_factor_nor_wait(app, client, ann) -> None:
    begin_waiting(client, ann)
    post(app.test_client(), "/auth/password/forgot", {"username": "ann"})
    path = re.search(r"/auth/password/reset/[\w-]{43}", messages("email", "Reset")[0]["body"])
    assert path
    other = app.test_client()
    post(other, path.group(), {"password": NEW, "password_confirm": NEW})
    answer = give_password(other, ann, NEW)
    assert answer.headers["Location"] == "/auth/mfa/verify"
    assert not is_signed_in(other)
    assert the_request(ann).status == "waiting"
    assert "Not yet" in other.get(link("continue")).text


def test_i2_a_stranger_learns_nothing(client, ann) -> None:
    answer = client.get(PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (
        303, "/auth/login?next=/auth/recovery",
    )  # fmt: skip
    for kind in ("cancel", "continue"):
        assert client.get(f"{PAGE}/{kind}/{'x' * 43}").status_code == 404


def test_i2_a_full_session_has_no_use_for_it(client, ann, sign_in) -> None:
    sign_in(client, ann)
    assert client.get(PAGE).status_code == 303


@pytest.mark.parametrize("early", [timedelta(0), A_DAY - timedelta(minutes=5)])
def test_i1_the_link_waits(app, client, ann, early, audit_rows) -> None:
    begin_waiting(client, ann)
    phone, path = app.test_client(), link("continue")
    token = csrf_of(phone.get("/auth/login").text)
    with clock.travel(early):
        answer = phone.post(path, data={"csrf_token": token})
        assert answer.headers["Location"] == path
        assert not phone.get("/auth/mfa/enrol").text.count("Set up")
    assert rows(IAMMfaMethod, ann)
    assert the_request(ann).status == "waiting"
    assert audit_rows("RECOVERY_FAILED")[0].details["reason"] == "too early"


def test_i1_the_link_ends(app, client, ann) -> None:
    begin_waiting(client, ann)
    path, phone = link("continue"), app.test_client()
    token = csrf_of(phone.get("/auth/login").text)
    with clock.travel(A_DAY + timedelta(hours=72)):
        assert phone.get(path).status_code == 404
        assert phone.post(path, data={"csrf_token": token}).status_code == 404
    assert rows(IAMMfaMethod, ann)


def test_i1_the_link_works_once(app, client, ann, audit_rows) -> None:
    begin_waiting(client, ann)
    path = link("continue")
    with clock.travel(A_DAY):
        follow(app.test_client(), path)
        thief = app.test_client()
        assert thief.get(path).status_code == 404
        token = csrf_of(thief.get("/auth/login").text)
        assert thief.post(path, data={"csrf_token": token}).status_code == 404
    assert audit_rows("RECOVERY_FAILED")[0].details["reason"] == "completed"


def test_at_101_a_look_at_the_links_changes_nothing(app, client, ann, audit_rows) -> None:
    begin_waiting(client, ann)
    before, scanner = len(audit_rows()), app.test_client()
    with clock.travel(A_DAY):
        for path in (link("continue"), link("cancel")):
            for _time in range(2):
                answer = scanner.get(path)
                assert answer.status_code == 200
                assert answer.headers["Referrer-Policy"] == "no-referrer"
            scanner.head(path)
    assert len(audit_rows()) == before
    assert the_request(ann).status == "waiting"


def test_the_store_holds_digests_only(client, ann) -> None:
    begin_waiting(client, ann)
    row = the_request(ann)
    stored = b" ".join(value for value in vars(row).values() if isinstance(value, bytes))
    for kind in ("cancel", "continue"):
        assert link(kind).rpartition("/")[2].encode() not in stored


# ------------------------------------------------------------------ stopping it


@pytest.mark.parametrize("channel", ["email", "sms"])
@pytest.mark.parametrize("late", [False, True])
def test_i1_a_notice_stops_it(app, client, ann, channel, late, audit_rows) -> None:
    if late:
        begin_waiting(client, ann)
    else:
        begin(client, ann)
        prove(client, "email")
    owner = app.test_client()
    assert "Stop the recovery?" in owner.get(link("cancel", channel)).text
    assert follow(owner, link("cancel", channel)).status_code == 303
    assert "The recovery is stopped" in owner.get(link("cancel", channel)).text
    assert the_request(ann).status == "cancelled"
    assert audit_rows("RECOVERY_CANCELLED")[0].details["reason"] == "link"
    assert messages("email", "was stopped")
    assert messages("sms", "was stopped")
    assert not rows(IAMActionToken, ann)
    if late:
        with clock.travel(A_DAY):
            assert owner.get(link("continue")).status_code == 404
    assert "Begin the recovery" in client.get(PAGE).text


def test_i1_the_security_page_stops_it(app, client, ann, sign_in, audit_rows) -> None:
    owner = app.test_client()
    sign_in(owner, ann)
    assert "Somebody asked" not in owner.get("/account/security").text
    begin_waiting(client, ann)
    assert "Somebody asked to recover your account" in owner.get("/account/security").text
    url = "/account/security/recovery/cancel"
    assert press(owner, url, "/account/security").status_code == 303
    assert the_request(ann).status == "cancelled"
    assert "Somebody asked" not in owner.get("/account/security").text
    assert press(owner, url, "/account/security").status_code == 404
    assert audit_rows("RECOVERY_CANCELLED")[0].details["reason"] == "account page"


def test_at_135_nobody_stops_anothers(app, client, ann, make_user, sign_in) -> None:
    begin_waiting(client, ann)
    other = app.test_client()
    sign_in(other, make_user("bob", mfa="totp"))
    assert press(other, "/account/security/recovery/cancel", "/account/security").status_code == 404
    assert the_request(ann).status == "waiting"


@pytest.mark.parametrize("act", ["suspend", "disable"])
def test_b2_an_account_that_is_closed_is_not_recovered(client, ann, act, scoped, actor) -> None:
    begin_waiting(client, ann)
    with transaction():
        getattr(services_accounts, act)(
            load(ann.id), reason="a test", actor_grants=None, actor=actor
        )
    assert the_request(ann).status == "cancelled"
    with clock.travel(A_DAY):
        assert client.get(link("continue")).status_code == 404


@pytest.mark.parametrize("status", ["suspended", "locked", "disabled"])
def test_b2_the_account_is_asked_again_at_the_end(app, client, ann, status) -> None:
    begin_waiting(client, ann)
    path, phone = link("continue"), app.test_client()
    with clock.travel(A_DAY):
        token = csrf_of(phone.get(path).text)
        change(ann, status=status)
        assert phone.post(path, data={"csrf_token": token}).status_code == 404
    assert rows(IAMMfaMethod, ann)


def test_b2_a_suspended_tenant_recovers_nobody(app, client, ann, tenant) -> None:
    begin_waiting(client, ann)
    path, phone = link("continue"), app.test_client()
    with clock.travel(A_DAY):
        token = csrf_of(phone.get(path).text)
        try:
            with unscoped("the test closes a tenant"), transaction():
                session().get(IAMTenant, tenant).status = "suspended"
            assert phone.post(path, data={"csrf_token": token}).status_code == 404
        finally:
            with unscoped("the test closes a tenant"), transaction():
                session().get(IAMTenant, tenant).status = "active"
    assert rows(IAMMfaMethod, ann)


@pytest.mark.parametrize("value", [{"email": "else@example.com"}, {"phone_number": "+12025550188"}])
def test_at_213_another_address_stops_it(client, ann, value, scoped, actor, audit_rows) -> None:
    begin_waiting(client, ann)
    with transaction():
        services_accounts.update_user(load(ann.id), actor_grants=None, actor=actor, **value)
    assert the_request(ann).status == "cancelled"
    assert audit_rows("RECOVERY_CANCELLED")[0].details["reason"] == "address changed"


def test_d8_reset_factors_leave_no_link_behind(app, client, ann, scoped, actor) -> None:
    begin_waiting(client, ann)
    with transaction():
        services_accounts.reset_factors(
            load(ann.id), reason="a test", actor_grants=None, actor=actor
        )
    assert the_request(ann).status == "cancelled"
    with clock.travel(A_DAY):
        assert app.test_client().get(link("continue")).status_code == 404


# ------------------------------------------------------------------ proofs


def test_i1_one_proof_is_not_enough(client, ann) -> None:
    begin(client, ann)
    prove(client, "email")
    assert the_request(ann).status == "proofs"
    assert not [item for item in messages() if "/continue/" in item["body"]]


@pytest.mark.parametrize(
    ("values", "channel"),
    [({"phone_verified": False}, "email"), ({"email_verified": False}, "phone")],
)
def test_i1_with_one_channel_a_second_person_decides(client, ann, values, channel) -> None:
    change(ann, **values)
    begin(client, ann)
    prove(client, channel)
    assert the_request(ann).status == "approval"
    assert "An administrator decides" in client.get(PAGE).text
    kind = "email" if channel == "phone" else "sms"
    assert not messages(kind)


def test_i1_no_text_messages_means_no_phone_channel(app, client, ann) -> None:
    with setting(app, NotifySettings, SMS_PROVIDER="none"):
        begin(client, ann)
        prove(client, "email")
    assert the_request(ann).status == "approval"
    assert not messages("sms")


def test_i1_somebody_who_cannot_be_told_is_not_recovered_here(client, ann) -> None:
    change(ann, phone_verified=False, email_verified=False)
    assert begin_is_refused(client, ann)
    assert not requests_of(ann)
    assert not messages()


def begin_is_refused(client: FlaskClient, person: Someone) -> bool:
    give_password(client, person)
    assert "Please ask your administrator" in client.get(PAGE).text
    token = csrf_of(client.get("/auth/mfa/verify").text)
    client.post(PAGE, data={"csrf_token": token})
    return "no confirmed e-mail address" in client.get(PAGE).text


def test_i1_a_lost_channel_needs_one_proof_and_a_decision(client, ann) -> None:
    begin(client, ann)
    assert "cannot receive the other code" not in client.get(PAGE).text
    press(client, f"{PAGE}/approval")
    assert the_request(ann).status == "proofs"
    prove(client, "email")
    assert "cannot receive the other code" in client.get(PAGE).text
    press(client, f"{PAGE}/approval")
    assert the_request(ann).status == "approval"
    press(client, f"{PAGE}/send", "/auth/mfa/verify", channel="phone")
    assert len(messages("sms")) == 1  # the notice, no code


def test_i1_a_wrong_code_proves_nothing(client, ann, audit_rows) -> None:
    begin(client, ann)
    press(client, f"{PAGE}/send", channel="email")
    wrong = f"{(int(last_code('email')) + 1) % 1_000_000:06d}"
    answer = press(client, f"{PAGE}/proof", channel="email", code=wrong)
    assert answer.status_code == 401
    assert "That code is not right" in answer.text
    assert press(client, f"{PAGE}/proof", channel="email", code="").status_code == 422
    assert the_request(ann).email_proved_at is None
    failed = audit_rows("RECOVERY_FAILED")[0]
    assert (failed.details["reason"], failed.details["channel"]) == ("code", "email")


def test_n1_each_code_field_has_its_own_label_and_error(client, ann) -> None:
    begin(client, ann)
    for channel in ("email", "phone"):
        press(client, f"{PAGE}/send", channel=channel)
    shown = client.get(PAGE).text
    for channel in ("email", "phone"):
        assert f'<label for="code-{channel}">' in shown
        assert shown.count(f'id="code-{channel}"') == 1
    assert focused(shown) == "code-phone"  # the one that was sent last
    answer = press(client, f"{PAGE}/proof", channel="email", code="00000x")
    assert focused(answer.text) == "code-email"
    assert answer.text.count('aria-describedby="code-email-error"') == 1
    assert 'id="code-email-error"' in answer.text
    assert 'id="code-phone-error"' not in answer.text


def focused(page: str) -> str:
    """Return the id of the one field that has the focus."""
    (field,) = re.findall(r"<input[^>]* autofocus[^>]*>", page)
    return re.search(r' id="([\w-]+)"', field)[1]


def test_i1_back_to_a_proof_shows_how_far_it_is(client, ann) -> None:
    begin(client, ann)
    assert client.get(f"{PAGE}/proof").headers["Location"] == PAGE


def test_i1_somebody_with_one_channel_is_told_their_own_way(client, ann) -> None:
    change(ann, phone_verified=False)
    give_password(client, ann)
    shown = client.get(PAGE).text
    assert "After the approval it takes 24 hours" in shown
    assert "both codes" not in shown


def test_i1_the_link_offers_an_objection(app, client, ann) -> None:
    begin_waiting(client, ann)
    shown = app.test_client().get(link("continue")).text
    assert "This was not me" in shown
    assert link("cancel") in shown


def test_i1_the_asker_passed_some_first_step(app, client, ann, audit_rows) -> None:
    begin(client, ann)
    assert audit_rows("RECOVERY_OPENED")[0].details["amr"] == ["pwd"]
    assert "knows your password" not in messages("email")[0]["body"]
    press(client, f"{PAGE}/send", channel="email")
    assert "stop the recovery" in messages("email")[-1]["body"]
    follow(app.test_client(), link("cancel"))
    assert "may know your password" in app.test_client().get(link("cancel")).text


def test_d8_somebody_without_a_factor_is_told_why(app, client, ann, scoped, actor) -> None:
    with transaction():
        services_accounts.reset_factors(
            load(ann.id), reason="a test", actor_grants=None, actor=actor
        )
    if give_password(client, ann).headers["Location"] == "/auth/verify":
        press(client, "/auth/verify/send", "/auth/verify")
        press(client, "/auth/verify", "/auth/verify", code=last_code("email"))
    shown = client.get("/auth/mfa/enrol").text
    assert "Your second steps were removed. Please set up a new one." in shown


def test_at_035_guessing_ends(client, ann) -> None:
    begin(client, ann)
    press(client, f"{PAGE}/send", channel="email")
    wrong = f"{(int(last_code('email')) + 1) % 1_000_000:06d}"
    answers = [press(client, f"{PAGE}/proof", channel="email", code=wrong) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    right = last_code("email")
    assert press(client, f"{PAGE}/proof", channel="email", code=right).status_code == 429
    assert the_request(ann).email_proved_at is None


def test_at_043_a_code_belongs_to_its_channel_and_its_sign_in(app, client, ann) -> None:
    begin(client, ann)
    press(client, f"{PAGE}/send", channel="email")
    code = last_code("email")
    assert press(client, f"{PAGE}/proof", channel="phone", code=code).status_code == 401
    assert press(client, f"{PAGE}/proof", channel="other", code=code).status_code == 404
    other = app.test_client()
    give_password(other, ann)
    assert press(other, f"{PAGE}/proof", channel="email", code=code).status_code == 401
    assert the_request(ann).email_proved_at is None
    assert press(client, f"{PAGE}/proof", channel="email", code=code).status_code == 303
    assert the_request(ann).email_proved_at is not None


def test_at_085_codes_are_not_sent_at_will(client, ann) -> None:
    begin(client, ann)
    for _time in range(4):
        press(client, f"{PAGE}/send", channel="phone")
    assert len(messages("sms", "code")) == 1


def test_at_085_the_cap_of_a_number_silences_no_notice(app, client, ann) -> None:
    """Whoever uses up the text messages of a number must not go on unseen, nor stop the owner."""
    with setting(app, NotifySettings, IAM_SMS_PER_DESTINATION_PER_HOUR=1):
        begin(client, ann)  # the notice of it is the one message
        assert len(messages("sms", "Stop it")) == 1
        press(client, f"{PAGE}/send", channel="phone")
        shown = client.get(PAGE).text
        assert "Too many messages were sent" in shown
        assert "You can try again in 60 minutes" in shown
        assert "ask your administrator" in shown
    prove(client, "email")
    press(client, f"{PAGE}/send", channel="phone")
    with setting(app, NotifySettings, IAM_SMS_PER_DESTINATION_PER_HOUR=1):
        answer = press(client, f"{PAGE}/proof", channel="phone", code=last_code("sms"))
        assert answer.status_code == 303
        assert the_request(ann).status == "waiting"
        assert len(messages("sms", "Stop it")) == 2
        with clock.travel(A_DAY), setting(app, NotifySettings, IAM_SMS_PER_DESTINATION_PER_HOUR=0):
            follow(app.test_client(), link("continue"))
        assert messages("sms", "was recovered")


def test_at_085_a_notice_that_opens_is_not_left_out(app, client, ann) -> None:
    begin(client, ann)
    follow(app.test_client(), link("cancel"))
    before = len(messages())
    with setting(app, NotifySettings, IAM_SMS_PER_TENANT_PER_DAY=2):
        begin(client, ann)
        assert "Too many messages were sent" in client.get(PAGE).text
    assert [row.status for row in requests_of(ann)] == ["cancelled"]
    assert len(messages()) == before


def test_at_085_a_silenced_notice_stops_the_request(app, client, ann) -> None:
    """Other caps hold for notices too: nothing begins, and the right code stays right."""
    begin(client, ann)
    prove(client, "email")
    press(client, f"{PAGE}/send", channel="phone")
    with setting(app, NotifySettings, IAM_SMS_PER_TENANT_PER_DAY=2):
        answer = press(client, f"{PAGE}/proof", channel="phone", code=last_code("sms"))
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 3600
        assert 'id="code-phone"' in answer.text
        assert "You can try again in" in answer.text
    row = the_request(ann)
    assert (row.status, row.phone_proved_at) == ("proofs", None)
    answer = press(client, f"{PAGE}/proof", channel="phone", code=last_code("sms"))
    assert answer.status_code == 303
    assert the_request(ann).status == "waiting"


# ------------------------------------------------------------------ opening


def test_i1_opening_again_shows_the_one_there_is(app, client, ann) -> None:
    begin(client, ann)
    prove(client, "email")
    other = app.test_client()
    begin(other, ann)
    assert len(requests_of(ann)) == 1
    assert "Done" in other.get(PAGE).text
    assert len(messages("email", "was asked for")) == 1


def test_i1_three_requests_a_day(app, client, ann, audit_rows) -> None:
    for _time in range(3):
        begin(client, ann)
        follow(app.test_client(), link("cancel"))
    begin(client, ann)
    assert "Too many attempts" in client.get(PAGE).text
    assert [row.status for row in requests_of(ann)] == ["cancelled"] * 3
    assert audit_rows("RECOVERY_FAILED")[0].details["reason"] == "throttled"
    with clock.travel(timedelta(days=1, minutes=1)):
        begin(client, ann)
    assert the_request(ann).status == "proofs"


def test_i1_a_request_ends_by_itself(client, ann) -> None:
    begin(client, ann)
    with clock.travel(timedelta(hours=73)):
        begin(client, ann)
        assert [row.status for row in requests_of(ann)] == ["expired", "proofs"]


def test_at_456_a_clock_set_back_revives_nothing(client, ann) -> None:
    begin_waiting(client, ann)
    path = link("continue")
    with clock.travel(timedelta(hours=100)):
        begin(client, ann)
    assert [row.status for row in requests_of(ann)] == ["expired", "proofs"]
    with clock.travel(A_DAY):
        assert client.get(path).status_code == 404


def test_i1_a_tenant_has_a_wait_of_its_own(app, client, ann, scoped, actor: Actor) -> None:
    from app.tenancy.services_settings import override

    with transaction():
        override({"RECOVERY_WAIT_HOURS": 48}, actor=actor)
    try:
        begin_waiting(client, ann)
    finally:
        with transaction():
            override({"RECOVERY_WAIT_HOURS": None}, actor=actor)
    row = the_request(ann)
    assert row.available_at is not None
    assert timedelta(hours=47) < row.available_at - row.created_at < timedelta(hours=49)
    assert row.expires_at - row.available_at == timedelta(hours=72)


def test_i1_no_wait_where_the_setting_says_so(app, client, ann) -> None:
    with setting(app, RecoverySettings, RECOVERY_WAIT_HOURS=0):
        begin_waiting(client, ann)
    answer = follow(app.test_client(), link("continue"))
    assert answer.headers["Location"] == "/auth/mfa/enrol"


def test_i1_a_dead_factor_leaves_the_way_here(client, ann) -> None:
    give_password(client, ann)
    for _time in range(6):
        answer = post(client, "/auth/mfa/verify", {"code": "000000"})
    assert answer.status_code == 429
    assert PAGE in answer.text
    assert "You can try again in" in answer.text
    assert begin(client, ann).status_code == 303


def test_at_106_no_questions_are_asked(client, ann) -> None:
    begin(client, ann)
    press(client, f"{PAGE}/send", channel="email")
    names = set(re.findall(r'name="(\w+)"', client.get(PAGE).text))
    assert names <= {"csrf_token", "channel", "code", "viewport", "color", "robots"}
