"""Second factors over HTTP: signing in, stepping up, enrolling, changing (D1-D8, F1, F2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pyotp
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.auth.models import IAMAuthSession, IAMMfaChallenge, IAMMfaMethod, IAMRecoveryCode
from app.core import clock
from app.core.db import session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope, unscoped
from app.notify import services_outbox
from app.risk.models import IAMDevice
from tests.conftest import Someone, csrf_of, post, totp_code
from tests.support.people import rows_of

Answer = Any
ADMIN = {"roles": ["tenant_admin"], "actor_type": "tenant_admin"}
LATER = timedelta(seconds=31)
STALE = timedelta(minutes=11)


def password_only(client: FlaskClient, person: Someone, **form: Any) -> Answer:
    """Give the password and stop there."""
    return post(
        client, "/auth/login", {"username": person.username, "password": person.password, **form}
    )


def verify(client: FlaskClient, code: str, **query: str) -> Answer:
    """Type a code into the second step's page."""
    page = "/auth/mfa/verify"
    token = csrf_of(client.get(page, query_string=query).text)
    return client.post(page, data={**query, "code": code, "csrf_token": token})


def ask(client: FlaskClient, method: str, **query: str) -> Answer:
    """Choose a factor on the page that lists them."""
    token = csrf_of(client.get("/auth/mfa/choose", query_string=query).text)
    return client.post("/auth/mfa/challenge", data={**query, "method": method, "csrf_token": token})


def add_factor(person: Someone, method: str, destination: str) -> str:
    """Enrol a channel for a person past the pages; return its id."""
    at = clock.now()
    with unscoped("the test writes for any tenant"), transaction():
        row = IAMMfaMethod(
            id=new_id(), tenant_id=tenant_of(person), user_id=person.id, method=method,
            name=method, destination=destination, created_at=at, confirmed_at=at,
        )  # fmt: skip
        session().add(row)
        return str(row.id)


def tenant_of(person: Someone) -> Any:
    from app.auth.models import IAMUserAccount

    return session().scalar(
        sa.select(IAMUserAccount.tenant_id).where(IAMUserAccount.id == person.id)
    )


def rows(model: Any, *where: Any) -> list[Any]:
    with unscoped("tests look at every tenant"):
        session().rollback()
        return list(session().scalars(sa.select(model).where(*where).order_by(model.id)))


def count(model: Any, *where: Any) -> int:
    return len(rows(model, *where))


def sent(channel: str | None = None) -> list[dict[str, Any]]:
    """Return the messages that were sent, oldest first."""
    found = services_outbox.list_recent(50)[::-1]
    return [item for item in found if channel in (None, item["channel"])]


def last_code(channel: str | None = None) -> str:
    """Return the code in the newest message."""
    for message in reversed(sent(channel)):
        found = re.search(r"\b(\d{6})\b", message["body"])
        if found:
            return found.group(1)
    raise AssertionError("no code was sent")


def wrong(code: str) -> str:
    """Return six digits that differ from `code`."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


def is_signed_in(client: FlaskClient) -> bool:
    return bool(client.get("/account").status_code == 200)


@contextmanager
def setting(app: Flask, **values: Any) -> Iterator[None]:
    """Change settings of second factors for a while."""
    from app.auth.mfa.settings_mfa import MfaSettings

    state = app.extensions["iam"]
    before = state.settings[MfaSettings]
    state.settings[MfaSettings] = before.model_copy(update=values)
    try:
        yield
    finally:
        state.settings[MfaSettings] = before


def enrol_totp(client: FlaskClient, page: str = "/account/security/totp") -> tuple[str, Answer]:
    """Enrol an authenticator app through its page; return the secret and the last answer."""
    answer = post(client, page, {"action": "start"})
    assert answer.status_code == 303, answer.text
    shown = client.get(page).text
    secret = re.search(r'data-copy-text="([A-Z2-7]{32})"', shown)
    assert secret, shown
    return secret.group(1), post(
        client, page, {"code": totp_code(secret.group(1)), "name": "Pixel"}
    )


def codes_on(page: str) -> list[str]:
    return re.findall(r"<li>((?:[A-Z2-7]{4}-){5}[A-Z2-7]{4})</li>", page)


# --------------------------------------------------------------- signing in


def test_d7_password_and_totp_make_a_full_session(client: FlaskClient, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    answer = password_only(client, ann)
    assert (answer.status_code, answer.location) == (303, "/auth/mfa/verify")
    page = client.get("/auth/mfa/verify")
    assert page.status_code == 200
    assert "authenticator app" in page.text
    answer = verify(client, totp_code(ann.totp_secret))
    assert (answer.status_code, answer.location) == (303, "/account")
    assert is_signed_in(client)
    [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert (row.acr, row.amr) == ("aal2", ["pwd", "otp"])


def test_at_061_protected_pages_stay_closed_after_the_password_only(
    client: FlaskClient, make_user: Any
) -> None:
    password_only(client, make_user("ann", mfa="totp"))
    for path in ("/account", "/account/security", "/account/security/totp", "/account/sessions"):
        answer = client.get(path)
        assert (answer.status_code, answer.location) == (303, "/auth/mfa/verify"), path
    answer = client.get("/account", headers={"Accept": "application/json"})
    assert answer.status_code == 401


def test_at_062_the_pending_session_is_no_session_for_json_either(
    client: FlaskClient, make_user: Any
) -> None:
    password_only(client, make_user("ann", mfa="totp"))
    token = csrf_of(client.get("/auth/mfa/verify").text)
    for path in ("/account/security/recovery-codes", "/auth/mfa/recovery-codes/download"):
        answer = client.post(
            path, data={"csrf_token": token}, headers={"Accept": "application/json"}
        )
        assert answer.status_code == 401, path


def test_at_069_flags_in_the_request_prove_nothing(client: FlaskClient, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    password_only(client, ann, mfa="true", amr="otp", acr="aal3", stage="done")
    assert not is_signed_in(client)
    answer = verify(client, "", mfa="true", verified="1")
    assert answer.status_code == 422
    assert not is_signed_in(client)


def test_at_037_a_totp_code_works_once(app: Flask, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    code = totp_code(ann.totp_secret)
    first, second = app.test_client(), app.test_client()
    password_only(first, ann)
    password_only(second, ann)
    assert verify(first, code).status_code == 303
    answer = verify(second, code)
    assert answer.status_code == 401
    assert "used before" in answer.text
    assert not is_signed_in(second)


def test_at_034_guessing_is_slowed_and_recorded(
    client: FlaskClient, make_user: Any, audit_rows: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    password_only(client, ann)
    bad = wrong(totp_code(ann.totp_secret))
    statuses = [verify(client, bad).status_code for _try in range(6)]
    assert statuses == [401] * 5 + [429]
    # Even the right code has to wait now.
    answer = client.post(
        "/auth/mfa/verify",
        data={
            "code": totp_code(ann.totp_secret),
            "csrf_token": csrf_of(client.get("/auth/mfa/verify").text),
        },
    )
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    failed = audit_rows("MFA_FAILED")
    assert len(failed) == 7
    assert {row.details["reason"] for row in failed} == {"wrong", "throttled"}
    assert bad not in str([row.details for row in failed])


def test_at_035_a_new_sign_in_does_not_refresh_the_counter(app: Flask, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    bad = wrong(totp_code(ann.totp_secret))
    for _try in range(5):
        browser = app.test_client()
        password_only(browser, ann)
        assert verify(browser, bad).status_code == 401
    browser = app.test_client()
    password_only(browser, ann)
    assert verify(browser, totp_code(ann.totp_secret)).status_code == 429


def test_at_035_a_success_with_one_factor_does_not_refresh_anothers_counter(
    app: Flask, make_user: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    add_factor(ann, "email_otp", ann.email)
    bad = wrong(totp_code(ann.totp_secret))
    for _round in range(2):
        browser = app.test_client()
        password_only(browser, ann)
        for _try in range(2):
            assert verify(browser, bad).status_code == 401
        assert ask(browser, "email_otp").status_code == 303
        assert verify(browser, last_code("email")).status_code == 303
    browser = app.test_client()
    password_only(browser, ann)
    assert verify(browser, bad).status_code == 401
    assert verify(browser, totp_code(ann.totp_secret)).status_code == 429


def test_at_041_spaces_in_a_code_are_read(client: FlaskClient, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    password_only(client, ann)
    code = totp_code(ann.totp_secret)
    assert verify(client, f"{code[:3]} {code[3:]}").status_code == 303


@pytest.mark.parametrize(
    "code", ["0", "null", "true", "[]", "12345", "1234567", "abcdef", "+12345"]
)
def test_at_046_values_that_are_no_code_are_refused(
    client: FlaskClient, make_user: Any, code: str
) -> None:
    password_only(client, make_user("ann", mfa="totp"))
    assert verify(client, code).status_code == 401
    assert not is_signed_in(client)


# --------------------------------------------------------------- sent codes


def test_d3_a_sent_code_completes_the_sign_in(
    client: FlaskClient, make_user: Any, audit_rows: Any
) -> None:
    ann = make_user("ann")
    add_factor(ann, "sms_otp", "+12025550123")
    password_only(client, ann)
    # A look at the page sends nothing.
    assert client.get("/auth/mfa/verify").location == "/auth/mfa/choose"
    page = client.get("/auth/mfa/choose")
    assert "…0123" in page.text
    assert "+12025550123" not in page.text
    assert sent() == []
    answer = ask(client, "sms_otp")
    assert (answer.status_code, answer.location) == (303, "/auth/mfa/verify")
    assert verify(client, last_code("sms")).status_code == 303
    assert is_signed_in(client)
    assert [row.details["method"] for row in audit_rows("MFA_CODE_SENT")] == ["sms_otp"]


def test_at_034_a_sent_code_dies_after_five_tries(app: Flask, make_user: Any) -> None:
    ann = make_user("ann")
    add_factor(ann, "sms_otp", "+12025550123")
    browser = app.test_client()
    password_only(browser, ann)
    ask(browser, "sms_otp")
    code = last_code("sms")
    statuses = [verify(browser, wrong(code)).status_code for _try in range(5)]
    assert statuses == [401] * 5
    # Past the account's delay too, the code stays dead.
    with clock.travel(timedelta(minutes=2)):
        assert verify(browser, code).status_code == 401
    assert not is_signed_in(browser)


def test_at_043_a_code_of_one_session_is_refused_in_another(app: Flask, make_user: Any) -> None:
    ann = make_user("ann")
    method = add_factor(ann, "email_otp", ann.email)
    first, second = app.test_client(), app.test_client()
    password_only(first, ann)
    password_only(second, ann)
    ask(first, method)
    code = last_code("email")
    # The second browser awaits no code, so it is sent to ask for its own.
    token = csrf_of(second.get("/auth/mfa/choose").text)
    answer = second.post("/auth/mfa/verify", data={"code": code, "csrf_token": token})
    assert (answer.status_code, answer.location) == (303, "/auth/mfa/choose")
    assert not is_signed_in(second)
    with clock.travel(timedelta(seconds=61)):
        ask(second, method)
        assert verify(second, code).status_code == 401


def test_at_043_a_code_of_one_person_is_refused_for_another(app: Flask, make_user: Any) -> None:
    ann, bob = make_user("ann"), make_user("bob")
    for person in (ann, bob):
        add_factor(person, "email_otp", person.email)
    first, second = app.test_client(), app.test_client()
    password_only(first, ann)
    ask(first, "email_otp")
    anns = last_code("email")
    password_only(second, bob)
    ask(second, "email_otp")
    assert last_code("email") != anns
    assert verify(second, anns).status_code == 401
    assert not is_signed_in(second)


def test_at_045_only_the_newest_code_works(client: FlaskClient, make_user: Any) -> None:
    ann = make_user("ann")
    add_factor(ann, "email_otp", ann.email)
    password_only(client, ann)
    ask(client, "email_otp")
    older = last_code("email")
    with clock.travel(timedelta(seconds=61)):
        ask(client, "email_otp")
        newer = last_code("email")
        assert older != newer
        assert verify(client, older).status_code == 401
        assert verify(client, newer).status_code == 303


def test_d3_one_code_lives_for_a_purpose_whatever_the_browser(app: Flask, make_user: Any) -> None:
    ann = make_user("ann")
    add_factor(ann, "email_otp", ann.email)
    first, second = app.test_client(), app.test_client()
    for browser in (first, second):
        password_only(browser, ann)
    ask(first, "email_otp")
    older = last_code("email")
    token = csrf_of(first.get("/auth/mfa/verify").text)
    with clock.travel(timedelta(seconds=61)):
        ask(second, "email_otp")
        form = {"code": older, "csrf_token": token}
        assert first.post("/auth/mfa/verify", data=form).location == "/auth/mfa/choose"
        assert not is_signed_in(first)
        assert verify(second, last_code("email")).status_code == 303


def test_d3_a_code_expires_after_ten_minutes(client: FlaskClient, make_user: Any) -> None:
    ann = make_user("ann")
    add_factor(ann, "email_otp", ann.email)
    password_only(client, ann)
    ask(client, "email_otp")
    code = last_code("email")
    token = csrf_of(client.get("/auth/mfa/verify").text)
    with clock.travel(timedelta(minutes=10, seconds=1)):
        answer = client.post("/auth/mfa/verify", data={"code": code, "csrf_token": token})
        assert answer.location == "/auth/mfa/choose"
        assert not is_signed_in(client)


def test_at_085_a_second_code_has_to_wait(client: FlaskClient, make_user: Any) -> None:
    ann = make_user("ann")
    add_factor(ann, "email_otp", ann.email)
    password_only(client, ann)
    assert ask(client, "email_otp").status_code == 303
    answer = ask(client, "email_otp")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 61
    assert "wait" in answer.text
    assert len(sent("email")) == 1


def test_at_044_a_code_is_kept_nowhere_in_clear(
    client: FlaskClient, make_user: Any, audit_rows: Any, caplog: Any
) -> None:
    ann = make_user("ann")
    add_factor(ann, "sms_otp", "+12025550123")
    password_only(client, ann)
    answer = ask(client, "sms_otp")
    code = last_code("sms")
    page = client.get("/auth/mfa/verify")
    assert code not in answer.text + str(answer.headers) + page.text + str(page.headers)
    stored = rows(IAMMfaChallenge) + audit_rows()
    values = [
        str(getattr(row, name.key)) for row in stored for name in sa.inspect(row).mapper.attrs
    ]
    assert not [value for value in values if code in value and "-" not in value]
    assert code not in caplog.text


def test_at_057_no_code_goes_to_an_unverified_number(client: FlaskClient, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    method = add_factor(ann, "sms_otp", "+12025550123")
    with unscoped("the test writes for any tenant"), transaction():
        session().execute(
            sa.update(IAMMfaMethod)
            .where(IAMMfaMethod.method == "sms_otp")
            .values(confirmed_at=None)
        )
    password_only(client, ann)
    for name in (method, "sms_otp"):
        assert ask(client, name).status_code == 404
    assert sent("sms") == []


def test_at_068_a_weaker_factor_than_policy_demands_is_refused(
    client: FlaskClient, make_user: Any
) -> None:
    boss = make_user("boss", mfa="totp", **ADMIN)
    method = add_factor(boss, "email_otp", boss.email)
    password_only(client, boss)
    assert "E-mail codes" not in client.get("/auth/mfa/choose").text
    for name in (method, "email_otp"):
        assert ask(client, name).status_code == 403
    assert sent("email") == []
    assert verify(client, totp_code(boss.totp_secret)).status_code == 303


def test_d1_mail_alone_does_not_satisfy_a_required_policy(
    client: FlaskClient, make_user: Any
) -> None:
    boss = make_user("boss", **ADMIN)
    add_factor(boss, "email_otp", boss.email)
    password_only(client, boss)
    ask(client, "email_otp")
    answer = verify(client, last_code("email"))
    assert (answer.status_code, answer.location) == (303, "/auth/mfa/enrol")
    assert not is_signed_in(client)
    page = client.get("/auth/mfa/enrol").text
    assert "/auth/mfa/enrol/totp" in page
    assert "/auth/mfa/enrol/email_otp" not in page


def test_d1_mail_serves_as_second_step_where_policy_is_optional(
    client: FlaskClient, make_user: Any
) -> None:
    ann = make_user("ann")
    add_factor(ann, "email_otp", ann.email)
    password_only(client, ann)
    ask(client, "email_otp")
    assert verify(client, last_code("email")).status_code == 303
    [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert row.acr == "aal1"


def test_d1_a_factor_no_longer_allowed_is_asked_for_and_does_not_count(
    app: Flask, client: FlaskClient, make_user: Any
) -> None:
    ann = make_user("ann")
    add_factor(ann, "sms_otp", "+12025550123")
    with setting(app, MFA_METHODS=("totp", "recovery_code")):
        password_only(client, ann)
        assert not is_signed_in(client)
        ask(client, "sms_otp")
        assert verify(client, last_code("sms")).status_code == 303
        [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
        assert row.acr == "aal1"


# ------------------------------------------------------- forced enrolment


def test_d6_required_and_not_enrolled_leads_to_enrolment_and_nothing_else(
    client: FlaskClient, make_user: Any
) -> None:
    boss = make_user("boss", **ADMIN)
    answer = password_only(client, boss)
    assert (answer.status_code, answer.location) == (303, "/auth/mfa/enrol")
    for path in ("/account", "/account/security", "/account/security/totp", "/admin"):
        found = client.get(path)
        assert (found.status_code, found.location) == (303, "/auth/mfa/enrol"), path
    secret, page = enrol_totp(client, "/auth/mfa/enrol/totp")
    assert page.status_code == 200
    assert len(codes_on(page.text)) == 10
    assert is_signed_in(client)
    assert rows(IAMAuthSession, IAMAuthSession.state == "active")[0].acr == "aal2"
    assert secret not in page.text


def test_at_074_forced_enrolment_cannot_be_skipped(client: FlaskClient, make_user: Any) -> None:
    boss = make_user("boss", **ADMIN)
    password_only(client, boss)
    for query in ("skip=1", "later=true", "next=/account", "done=1"):
        assert client.get(f"/auth/mfa/enrol?{query}").status_code == 200
        assert not is_signed_in(client)
    token = csrf_of(client.get("/auth/mfa/enrol").text)
    assert client.post("/auth/mfa/enrol", data={"csrf_token": token}).status_code == 405
    answer = client.post("/auth/mfa/verify", data={"csrf_token": token, "code": "123456"})
    assert answer.location == "/auth/mfa/enrol"
    # A weak factor does not end it.
    assert client.get("/auth/mfa/enrol/email_otp").status_code == 404
    assert client.get("/auth/mfa/enrol/recovery_code").status_code == 404
    assert not is_signed_in(client)


def test_d6_a_phone_ends_forced_enrolment(client: FlaskClient, make_user: Any) -> None:
    boss = make_user("boss", **ADMIN)
    password_only(client, boss)
    page = "/auth/mfa/enrol/sms_otp"
    assert post(client, page, {"destination": "+12025550123"}).location == page
    assert "…0123" in client.get(page).text
    answer = post(client, page, {"code": last_code("sms")})
    assert answer.status_code == 200
    assert codes_on(answer.text)
    assert is_signed_in(client)


# ------------------------------------------------------------------ step-up


def test_f1_a_stale_session_is_asked_again_and_led_back(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    with clock.travel(STALE):
        answer = client.get("/account/security/totp")
        assert answer.status_code == 303
        assert answer.location.startswith("/auth/step-up?purpose=account.security")
        answer = client.get(answer.location)
        assert answer.location.startswith("/auth/mfa/verify?purpose=account.security")
        page = client.get(answer.location).text
        assert "change how you sign in" in page
        answer = verify(
            client,
            totp_code(ann.totp_secret),
            purpose="account.security",
            next="/account/security/totp",
        )
        assert (answer.status_code, answer.location) == (303, "/account/security/totp")
        assert client.get("/account/security/totp").status_code == 200


def test_f1_without_a_factor_the_password_serves_what_allows_it(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann")
    sign_in(client, ann)
    with clock.travel(STALE):
        page = "/auth/step-up?purpose=account.security&next=/account/security/totp"
        assert "Confirm your password" in client.get(page).text
        token = csrf_of(client.get(page).text)
        form = {"purpose": "account.security", "next": "/account/security/totp"}
        answer = client.post(
            "/auth/step-up", data={**form, "password": "wrong", "csrf_token": token}
        )
        assert answer.status_code == 401
        answer = client.post(
            "/auth/step-up", data={**form, "password": ann.password, "csrf_token": token}
        )
        assert (answer.status_code, answer.location) == (303, "/account/security/totp")
        assert client.get("/account/security/totp").status_code == 200


def test_f1_the_password_is_not_enough_once_a_factor_is_enrolled(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    with clock.travel(STALE):
        token = csrf_of(client.get("/account").text)
        answer = client.post(
            "/auth/step-up",
            data={"purpose": "account.security", "password": ann.password, "csrf_token": token},
        )
        assert answer.location.startswith("/auth/mfa/verify")
        assert client.get("/account/security/totp").status_code == 303


def test_f1_a_purpose_that_demands_aal2_is_not_met_by_the_password(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    answer = client.get("/auth/step-up?purpose=admin.users")
    assert answer.location == "/account/security"


def test_at_068_mail_never_satisfies_a_step_up_that_demands_aal2(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann")
    method = add_factor(ann, "email_otp", ann.email)
    password_only(client, ann)
    ask(client, method)
    verify(client, last_code("email"))
    assert is_signed_in(client)
    with clock.travel(timedelta(minutes=2)):
        assert client.get("/auth/step-up?purpose=admin.users").location == "/account/security"
        answer = ask(client, method, purpose="admin.users")
        assert answer.status_code == 403


def test_at_068_a_step_up_asks_for_the_best_the_person_has(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    method = add_factor(ann, "email_otp", ann.email)
    sign_in(client, ann)
    with clock.travel(STALE):
        page = client.get("/auth/mfa/choose?purpose=account.security").text
        assert "Authenticator app" in page
        assert "E-mail codes" not in page
        assert ask(client, method, purpose="account.security").status_code == 403
    assert sent("email") == []


def test_f2_at_072_a_trusted_browser_satisfies_no_step_up(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    from app.auth.models import IAMDevice

    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    with unscoped("the test writes for any tenant"), transaction():
        session().execute(
            sa.update(IAMDevice).values(trusted_until=clock.now() + timedelta(days=30))
        )
    with clock.travel(STALE):
        assert client.get("/account/security/totp").location.startswith("/auth/step-up")
        assert client.get("/auth/step-up?purpose=account.security").location.startswith(
            "/auth/mfa/verify"
        )


def test_at_079_a_proof_for_one_purpose_does_not_serve_another(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    boss = make_user("boss", mfa="totp", **ADMIN)
    sign_in(client, boss)
    with clock.travel(STALE):
        answer = verify(client, totp_code(boss.totp_secret), purpose="account.security")
        assert answer.status_code == 303
        proofs = rows(IAMAuthSession, IAMAuthSession.state == "active")[0].proofs
        assert set(proofs) == {"account.security"}


def test_f1_an_unknown_purpose_is_not_found(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann", mfa="totp"))
    for path in ("/auth/step-up", "/auth/mfa/verify", "/auth/mfa/choose"):
        assert client.get(f"{path}?purpose=none.such").status_code == 404


def test_at_082_head_is_a_look_and_proves_nothing(
    client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    ann, bob = make_user("ann", mfa="totp"), make_user("bob")
    sign_in(client, bob)
    with clock.travel(STALE):
        # Neither a password nor a code is ever read from an address (AT-030).
        query = {"purpose": "account.security", "password": bob.password}
        for method in ("HEAD", "GET"):
            answer = client.open("/auth/step-up", method=method, query_string=query)
            assert answer.status_code == 200, method
        assert audit_rows("STEP_UP_SUCCEEDED") == []
        for path in ("/account/security/recovery-codes", "/account/security/totp"):
            assert client.head(path).status_code == 303
    client.delete_cookie("iam_session")
    password_only(client, ann)
    for method in ("HEAD", "GET"):
        client.open(
            "/auth/mfa/verify", method=method, query_string={"code": totp_code(ann.totp_secret)}
        )
        assert not is_signed_in(client)
    verify(client, totp_code(ann.totp_secret))
    assert client.head("/account/security/recovery-codes").status_code == 303
    assert client.head("/account/security/totp").status_code == 200
    assert count(IAMRecoveryCode) == 0
    assert count(IAMMfaMethod) == 1


def test_m1_a_failed_step_up_leaves_its_evidence(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    ann, bob = make_user("ann", mfa="totp"), make_user("bob")
    sign_in(client, ann)
    with clock.travel(STALE):
        verify(client, wrong(totp_code(ann.totp_secret)), purpose="account.security")
        other = app.test_client()
        sign_in(other, bob)
        form = {"purpose": "account.security", "password": "wrong"}
        post(other, "/auth/step-up", form, page="/auth/step-up?purpose=account.security")
    found = [row.details for row in audit_rows("STEP_UP_FAILED")]
    assert [(row["method"], row["purpose"]) for row in found] == [
        ("totp", "account.security"),
        ("pwd", "account.security"),
    ]


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_f1_a_step_up_leads_to_this_site_only(
    client: FlaskClient, make_user: Any, sign_in: Any, target: str
) -> None:
    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    with clock.travel(STALE):
        answer = verify(client, totp_code(ann.totp_secret), purpose="account.security", next=target)
        assert (answer.status_code, answer.location) == (303, "/account")


def test_at_065_a_pending_sign_in_is_asked_for_itself_whatever_the_address_says(
    app: Flask, make_user: Any
) -> None:
    ann, bob = make_user("ann", mfa="totp"), make_user("bob", mfa="totp")
    browser = app.test_client()
    password_only(browser, ann)
    password_only(browser, bob)
    answer = verify(browser, totp_code(ann.totp_secret), purpose="account.security")
    assert answer.status_code == 401
    answer = verify(browser, totp_code(bob.totp_secret))
    assert answer.status_code == 303
    [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert row.user_id == bob.id


def test_at_064_a_second_sign_in_does_not_inherit_the_first_ones_factor(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    eve, ann = make_user("eve", mfa="totp"), make_user("ann", mfa="totp")
    sign_in(client, eve)
    token = csrf_of(client.get("/account").text)
    client.post(
        "/auth/login",
        data={"username": ann.username, "password": ann.password, "csrf_token": token},
    )
    assert not is_signed_in(client)
    assert verify(client, totp_code(eve.totp_secret)).status_code == 401


def test_d7_a_new_token_after_the_factor(client: FlaskClient, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    password_only(client, ann)
    before = client.get_cookie("iam_session")
    verify(client, totp_code(ann.totp_secret))
    after = client.get_cookie("iam_session")
    assert before is not None
    assert after is not None
    assert before.value != after.value


# ------------------------------------------------------- enrolling, changing


def test_d2_an_authenticator_app_is_enrolled_and_used(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    ann = make_user("ann")
    sign_in(client, ann)
    secret, page = enrol_totp(client)
    assert page.status_code == 200
    codes = codes_on(page.text)
    assert len(codes) == 10
    [row] = rows(IAMMfaMethod)
    assert (row.name, row.confirmed_at is not None) == ("Pixel", True)
    assert secret not in row.secret
    assert [item.details["method"] for item in audit_rows("MFA_ENROLLED")] == ["totp"]
    assert any("sign-in method was added" in item["subject"] for item in sent("email"))
    other = app.test_client()
    with clock.travel(LATER):
        password_only(other, ann)
        assert verify(other, pyotp.TOTP(secret).at(clock.now())).status_code == 303
    assert "Pixel" in client.get("/account/security").text


def test_at_051_the_key_is_shown_while_unconfirmed_only_and_made_by_post_only(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    page = "/account/security/totp"
    assert "data-copy-text" not in client.get(page).text
    assert count(IAMMfaMethod) == 0
    assert client.post(page, data={"action": "start"}).status_code == 403
    assert count(IAMMfaMethod) == 0
    secret, _answer = enrol_totp(client)
    shown = client.get(page)
    assert secret not in shown.text
    assert "data-copy-text" not in shown.text
    assert shown.headers["Cache-Control"] == "no-store"


def shown_key(client: FlaskClient, page: str) -> str | None:
    """Return the secret that an enrolment page shows, if any."""
    found = re.search(r'data-copy-text="([A-Z2-7]{32})"', client.get(page).text)
    return found.group(1) if found else None


@pytest.mark.parametrize(
    ("page", "pending"), [("/auth/mfa/enrol/totp", True), ("/account/security/totp", False)]
)
def test_at_043_an_unconfirmed_key_is_bound_to_its_session(
    app: Flask, make_user: Any, page: str, pending: bool
) -> None:
    ann = make_user("ann", **(ADMIN if pending else {}))
    mine, other = app.test_client(), app.test_client()
    for browser in (mine, other):
        password_only(browser, ann)
    post(mine, page, {"action": "start"})
    assert shown_key(other, page) is None
    post(other, page, {"action": "start"})
    first, second = shown_key(mine, page), shown_key(other, page)
    assert first
    assert second
    assert first != second
    # Starting again replaces the row of one's own session only.
    post(mine, page, {"action": "start"})
    again = shown_key(mine, page)
    assert again
    assert again not in (first, second)
    assert shown_key(other, page) == second
    assert count(IAMMfaMethod) == 2
    # A code for the key of one session confirms nothing in the other.
    assert post(other, page, {"code": totp_code(again)}).status_code == 401
    assert all(row.confirmed_at is None for row in rows(IAMMfaMethod))
    token = csrf_of(other.get(page).text)
    assert post(mine, page, {"code": totp_code(again)}).status_code == 200
    [row] = rows(IAMMfaMethod)
    assert (row.confirmed_at is not None, row.session_id) == (True, None)
    # What the other session had begun is gone, and it sees nothing of what was confirmed.
    assert shown_key(other, page) is None
    answer = other.post(page, data={"code": totp_code(second), "csrf_token": token})
    assert "data-copy-text" not in answer.text
    assert count(IAMMfaMethod) == 1


def test_at_074_a_sign_in_left_at_enrolment_adds_nothing_once_a_factor_is_there(
    app: Flask, make_user: Any
) -> None:
    boss = make_user("boss", **ADMIN)
    mine, other = app.test_client(), app.test_client()
    for browser in (mine, other):
        password_only(browser, boss)
    page = "/auth/mfa/enrol/totp"
    token = csrf_of(other.get(page).text)
    secret, answer = enrol_totp(mine, page)
    assert answer.status_code == 200
    other.post(page, data={"action": "start", "csrf_token": token})
    assert count(IAMMfaMethod) == 1
    assert not is_signed_in(other)
    # It goes on with the factor that is there now.
    with clock.travel(LATER):
        assert verify(other, totp_code(secret)).status_code == 303
    assert is_signed_in(other)


def test_at_043_an_unconfirmed_key_stays_with_its_session_through_a_step_up(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann")
    sign_in(client, ann)
    page = "/account/security/totp"
    post(client, page, {"action": "start"})
    secret = shown_key(client, page)
    query = {"purpose": "account.security"}
    with clock.travel(STALE):
        token = csrf_of(client.get("/auth/step-up", query_string=query).text)
        data = {**query, "password": ann.password, "csrf_token": token}
        assert client.post("/auth/step-up", data=data).status_code == 303
        assert secret
        assert shown_key(client, page) == secret


def test_at_085_another_session_does_not_pass_by_the_pause_between_two_codes(
    app: Flask, make_user: Any
) -> None:
    ann = make_user("ann")
    mine, other = app.test_client(), app.test_client()
    for browser in (mine, other):
        password_only(browser, ann)
    page = "/account/security/phone"
    assert post(mine, page, {"destination": "+12025550123"}).status_code == 303
    assert "…0123" not in other.get(page).text
    assert post(other, page, {"destination": "+12025550199"}).status_code == 429
    assert len(sent("sms")) == 1


@pytest.mark.parametrize(
    "name", ["see https://evil.example", "evil.com", "a<b>", "tab\there", "\u200b\u202e"]
)
def test_at_425_a_name_of_a_factor_or_device_holds_no_address(
    client: FlaskClient, make_user: Any, sign_in: Any, name: str
) -> None:
    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    [before] = rows(IAMMfaMethod)
    answer = post(client, f"/account/security/factors/{before.id}/rename", {"name": name})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert rows(IAMMfaMethod)[0].name == before.name
    [device] = rows(IAMDevice)
    url = f"/account/devices/{device.id}/rename"
    answer = post(client, url, {"name": name}, page="/account/devices")
    assert answer.status_code == 303
    assert rows(IAMDevice)[0].name == device.name
    assert "The device is renamed" not in client.get("/account/devices").text


def test_at_425_a_name_given_at_enrolment_is_refused_beside_its_field(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    page = "/account/security/totp"
    post(client, page, {"action": "start"})
    secret = shown_key(client, page)
    assert secret
    answer = post(client, page, {"code": totp_code(secret), "name": "www.evil.example"})
    assert answer.status_code == 422
    assert rows(IAMMfaMethod)[0].confirmed_at is None
    answer = post(client, page, {"code": totp_code(secret), "name": "Pi\u202exel"})
    assert answer.status_code == 200
    assert rows(IAMMfaMethod)[0].name == "Pixel"


def test_d2_a_wrong_first_code_turns_nothing_on(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    page = "/account/security/totp"
    post(client, page, {"action": "start"})
    secret = re.search(r'data-copy-text="([A-Z2-7]{32})"', client.get(page).text)
    assert secret
    answer = post(client, page, {"code": wrong(totp_code(secret.group(1)))})
    assert answer.status_code == 401
    assert rows(IAMMfaMethod)[0].confirmed_at is None
    assert count(IAMRecoveryCode) == 0


def test_d2_the_qr_code_is_svg_without_style(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    post(client, "/account/security/totp", {"action": "start"})
    page = client.get("/account/security/totp").text
    svg = re.search(r"<svg[^>]*segno.*?</svg>", page, re.DOTALL)
    assert svg
    assert "style=" not in svg.group(0)
    assert "<script" not in svg.group(0)


def test_at_049_a_stale_session_enrols_nothing(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    token = csrf_of(client.get("/account/security/totp").text)
    with clock.travel(STALE):
        for path, data in (
            ("/account/security/totp", {"action": "start"}),
            ("/account/security/email", {"destination": "eve@example.com"}),
            ("/account/security/phone", {"destination": "+12025550123"}),
            ("/account/security/phone/whatsapp", {"destination": "+12025550123"}),
        ):
            answer = client.post(path, data={**data, "csrf_token": token})
            assert answer.status_code == 303, path
            assert answer.location.startswith("/auth/step-up"), path
    assert count(IAMMfaMethod) == 0
    assert [item for item in sent() if "code" in item["subject"]] == []


def test_at_050_an_unverified_address_enrols_nothing(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann", email_verified=False))
    answer = post(client, "/account/security/totp", {"action": "start"})
    assert answer.status_code == 403
    assert count(IAMMfaMethod) == 0


@pytest.mark.parametrize(
    ("page", "method", "destination", "channel"),
    [
        ("/account/security/email", "email_otp", "ann.codes@example.com", "email"),
        ("/account/security/phone", "sms_otp", "+12025550123", "sms"),
        ("/account/security/phone/whatsapp", "whatsapp_otp", "+12025550123", "whatsapp"),
    ],
)
def test_d8_a_channel_is_enrolled_by_the_code_sent_to_it(
    client: FlaskClient, make_user: Any, sign_in: Any, page: str, method: str, destination: str,
    channel: str,
) -> None:  # fmt: skip
    sign_in(client, make_user("ann"))
    answer = post(client, page, {"destination": destination})
    assert (answer.status_code, answer.location) == (303, page)
    assert sent(channel)[-1]["to"] == destination
    assert rows(IAMMfaMethod)[0].confirmed_at is None
    code = last_code(channel)
    assert post(client, page, {"code": wrong(code)}).status_code == 401
    answer = post(client, page, {"code": code})
    assert answer.status_code == 200
    assert len(codes_on(answer.text)) == 10
    [row] = rows(IAMMfaMethod)
    assert (row.method, row.destination) == (method, destination)
    assert row.confirmed_at is not None


def test_at_422_a_number_that_may_not_be_written_to_is_refused_beside_its_field(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    for number in ("+881612345678", "12025550123", "hello"):
        answer = post(client, "/account/security/phone", {"destination": number})
        assert answer.status_code == 422, number
    assert sent("sms") == []


def test_d8_a_factor_is_renamed_and_removed(
    client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    factor = rows(IAMMfaMethod)[0].id
    page = f"/account/security/factors/{factor}/rename"
    assert post(client, page, {"name": "Old phone"}).status_code == 303
    assert rows(IAMMfaMethod)[0].name == "Old phone"
    answer = post(client, f"/account/security/factors/{factor}/remove", page="/account/security")
    assert answer.status_code == 303
    assert count(IAMMfaMethod) == 0
    assert [row.details["name"] for row in audit_rows("MFA_REMOVED")] == ["Old phone"]
    assert any("method was removed" in item["subject"] for item in sent("email"))


def test_at_075_no_factor_is_removed_without_the_factor(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    factor = rows(IAMMfaMethod)[0].id
    path = f"/account/security/factors/{factor}/remove"
    assert client.post(path).status_code == 403
    token = csrf_of(client.get("/account/security").text)
    assert client.get(path).status_code == 405
    with clock.travel(STALE):
        answer = client.post(path, data={"csrf_token": token})
        assert answer.location.startswith("/auth/step-up")
    assert count(IAMMfaMethod) == 1


def test_at_075_a_sign_in_by_mail_does_not_remove_the_app_it_passed_by(
    client: FlaskClient, make_user: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    add_factor(ann, "email_otp", ann.email)
    password_only(client, ann)
    ask(client, "email_otp")
    assert verify(client, last_code("email")).status_code == 303
    totp = next(row.id for row in rows(IAMMfaMethod) if row.method == "totp")
    answer = post(client, f"/account/security/factors/{totp}/remove", page="/account/security")
    assert answer.status_code == 303
    assert answer.location.startswith("/auth/step-up")
    assert client.get("/account/security/totp").location.startswith("/auth/step-up")
    token = csrf_of(client.get("/account/security").text)
    answer = client.post("/account/security/recovery-codes", data={"csrf_token": token})
    assert answer.location.startswith("/auth/step-up")
    assert count(IAMMfaMethod) == 2


def test_d6_the_last_factor_stays_where_policy_demands_one(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    boss = make_user("boss", mfa="totp", **ADMIN)
    sign_in(client, boss)
    [row] = rows(IAMMfaMethod)
    post(client, f"/account/security/factors/{row.id}/remove", page="/account/security")
    assert count(IAMMfaMethod) == 1
    assert "required" in client.get("/account/security").text


def test_k1_a_factor_of_somebody_else_is_not_found(
    client: FlaskClient, make_user: Any, sign_in: Any, other_tenant: Any
) -> None:
    ann, bob = make_user("ann", mfa="totp"), make_user("bob", mfa="totp")
    far = make_user("far", mfa="totp", tenant_id=other_tenant)
    sign_in(client, ann)
    for person in (bob, far):
        [row] = rows(IAMMfaMethod, IAMMfaMethod.user_id == person.id)
        assert client.get(f"/account/security/factors/{row.id}/rename").status_code == 404
        answer = post(
            client, f"/account/security/factors/{row.id}/remove", page="/account/security"
        )
        assert answer.status_code == 404
    assert client.get("/account/security/factors/none/rename").status_code == 404
    assert count(IAMMfaMethod) == 3


# --------------------------------------------------------- recovery codes


def recovered(client: FlaskClient, sign_in: Any, person: Someone) -> list[str]:
    """Return fresh recovery codes of a signed-in person."""
    sign_in(client, person)
    token = csrf_of(client.get("/account/security").text)
    page = client.post("/account/security/recovery-codes", data={"csrf_token": token})
    assert page.status_code == 200
    return codes_on(page.text)


def test_d5_at_053_a_recovery_code_signs_in_once(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    codes = recovered(client, sign_in, ann)
    first, second = app.test_client(), app.test_client()
    for browser in (first, second):
        password_only(browser, ann)
        assert ask(browser, "recovery_code").status_code == 303
    assert verify(first, codes[0].lower().replace("-", " ")).status_code == 303
    assert is_signed_in(first)
    assert verify(second, codes[0]).status_code == 401
    assert not is_signed_in(second)
    assert [row.details["remaining"] for row in audit_rows("RECOVERY_CODE_USED")] == [9]
    subjects = [item["subject"] for item in services_outbox.list_recent(10)]
    assert any("recovery code was used" in subject for subject in subjects)
    assert "Unused codes left: 9" in first.get("/account/security").text


def test_d5_new_codes_replace_the_old(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    old = recovered(client, sign_in, ann)
    token = csrf_of(client.get("/account/security").text)
    page = client.post("/account/security/recovery-codes", data={"csrf_token": token})
    assert not set(old) & set(codes_on(page.text))
    assert count(IAMRecoveryCode) == 10
    browser = app.test_client()
    password_only(browser, ann)
    ask(browser, "recovery_code")
    assert verify(browser, old[0]).status_code == 401


def test_d5_codes_are_downloaded_from_their_page_and_kept_nowhere(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    token = csrf_of(client.get("/account/security").text)
    page = client.post("/account/security/recovery-codes", data={"csrf_token": token})
    codes = codes_on(page.text)
    assert page.headers["Cache-Control"] == "no-store"
    sealed = re.search(r'name="sealed"[^>]*value="([^"]+)"', page.text)
    assert sealed
    assert codes[0] not in sealed.group(1)
    form = {"sealed": sealed.group(1), "csrf_token": csrf_of(page.text)}
    answer = client.post("/auth/mfa/recovery-codes/download", data=form)
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.mimetype == "text/plain"
    assert all(code in answer.text for code in codes)
    with clock.travel(timedelta(minutes=16)):
        assert client.post("/auth/mfa/recovery-codes/download", data=form).status_code == 404
    stored = " ".join(str(row.code_digest) for row in rows(IAMRecoveryCode))
    assert codes[0] not in stored


def test_d5_codes_are_saved_in_a_sign_in_that_still_needs_a_new_password(
    app: Flask, client: FlaskClient, make_user: Any
) -> None:
    from app.auth.passwords.settings_password import PasswordSettings

    boss = make_user("boss", **ADMIN)
    settings = app.extensions["iam"].settings
    before = settings[PasswordSettings]
    settings[PasswordSettings] = before.model_copy(update={"PASSWORD_MAX_AGE_DAYS": 1})
    try:
        with clock.travel(timedelta(days=3)):
            password_only(client, boss)
            _secret, page = enrol_totp(client, "/auth/mfa/enrol/totp")
            assert len(codes_on(page.text)) == 10
            assert not is_signed_in(client)
            sealed = re.search(r'name="sealed"[^>]*value="([^"]+)"', page.text)
            assert sealed
            assert 'action="/auth/mfa/enrol/recovery-codes/download"' in page.text
            form = {"sealed": sealed.group(1), "csrf_token": csrf_of(page.text), "confirm": "y"}
            answer = client.post("/auth/mfa/enrol/recovery-codes/download", data=form)
            assert codes_on(page.text)[0] in answer.text
            answer = client.post("/auth/mfa/enrol/recovery-codes/saved", data=form)
            assert (answer.status_code, answer.location) == (303, "/auth/password/renew")
    finally:
        settings[PasswordSettings] = before


def test_d5_sealed_codes_open_for_their_owner_only(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann, bob = make_user("ann", mfa="totp"), make_user("bob", mfa="totp")
    sign_in(client, ann)
    token = csrf_of(client.get("/account/security").text)
    page = client.post("/account/security/recovery-codes", data={"csrf_token": token})
    sealed = re.search(r'name="sealed"[^>]*value="([^"]+)"', page.text)
    assert sealed
    other = app.test_client()
    sign_in(other, bob)
    token = csrf_of(other.get("/account/security").text)
    for value in (sealed.group(1), sealed.group(1)[:-4], "", "x"):
        answer = other.post(
            "/auth/mfa/recovery-codes/download", data={"sealed": value, "csrf_token": token}
        )
        assert answer.status_code == 404


def test_d5_the_person_confirms_that_the_codes_are_saved(
    client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    sign_in(client, ann)
    token = csrf_of(client.get("/account/security").text)
    page = client.post("/account/security/recovery-codes", data={"csrf_token": token})
    sealed = re.search(r'name="sealed"[^>]*value="([^"]+)"', page.text)
    assert sealed
    form = {"sealed": sealed.group(1), "csrf_token": csrf_of(page.text)}
    answer = client.post("/auth/mfa/recovery-codes/saved", data=form)
    assert answer.status_code == 422
    assert codes_on(answer.text) == codes_on(page.text)
    answer = client.post("/auth/mfa/recovery-codes/saved", data={**form, "confirm": "y"})
    assert answer.status_code == 303
    assert all(row.confirmed_at for row in rows(IAMRecoveryCode))
    assert len(audit_rows("RECOVERY_CODES_CONFIRMED")) == 1


def test_at_056_a_recovery_code_is_no_password_and_a_reset_still_asks_for_the_factor(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    ann = make_user("ann", mfa="totp")
    codes = recovered(client, sign_in, ann)
    browser = app.test_client()
    answer = post(browser, "/auth/login", {"username": "ann", "password": codes[0]})
    assert answer.status_code == 401
    answer = post(browser, f"/auth/password/reset/{codes[0]}", page="/auth/login")
    assert answer.status_code == 404
    assert count(IAMRecoveryCode, IAMRecoveryCode.used_at.is_not(None)) == 0


def test_at_097_a_password_reset_does_not_pass_the_second_factor(
    app: Flask, make_user: Any
) -> None:
    make_user("ann", mfa="totp")
    browser = app.test_client()
    post(browser, "/auth/password/forgot", {"username": "ann"})
    link = re.search(r"/auth/password/reset/[\w-]+", sent("email")[-1]["body"])
    assert link
    new = "a completely different passphrase 77"
    answer = post(browser, link.group(0), {"password": new, "password_confirm": new})
    assert answer.status_code == 303
    assert not is_signed_in(browser)
    answer = post(browser, "/auth/login", {"username": "ann", "password": new})
    assert answer.location == "/auth/mfa/verify"
    assert not is_signed_in(browser)


def test_i2_there_are_no_security_questions(app: Flask) -> None:
    rules = " ".join(rule.rule for rule in app.url_map.iter_rules())
    assert "question" not in rules
    assert "hint" not in rules
    assert not [name for name in sa.inspect(IAMMfaMethod).columns if "question" in name.key]


# ------------------------------------------------------------ edges of pages


@pytest.mark.parametrize(
    "path", ["/auth/mfa/verify", "/auth/mfa/choose", "/auth/mfa/enrol", "/auth/mfa/enrol/totp"]
)
def test_at_062_nobody_sees_pages_of_the_second_step_without_a_sign_in(
    client: FlaskClient, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.location.startswith("/auth/login")


def test_d4_a_failed_delivery_is_said_on_the_page(
    app: Flask, client: FlaskClient, make_user: Any
) -> None:
    from app.notify.settings import NotifySettings

    ann = make_user("ann")
    add_factor(ann, "sms_otp", "+12025550123")
    state = app.extensions["iam"]
    before = state.settings[NotifySettings]
    # No gateway of this kind sends text messages: a fault that no retry mends at once.
    state.settings[NotifySettings] = before.model_copy(update={"SMS_PROVIDER": "twilio"})
    try:
        password_only(client, ann)
        assert ask(client, "sms_otp").status_code == 303
        page = client.get("/auth/mfa/verify").text
    finally:
        state.settings[NotifySettings] = before
    assert "could not be sent yet" in page or "could not be delivered" in page


def test_at_043_a_person_of_another_tenant_cannot_use_our_challenge(
    app: Flask, make_user: Any, other_tenant: Any
) -> None:
    from app.auth.mfa import services_factors
    from app.core.errors import NotFound

    ann = make_user("ann", mfa="totp")
    [row] = rows(IAMMfaMethod)
    from app.auth.models import IAMUserAccount

    with unscoped("the test loads across tenants"):
        user = session().scalar(sa.select(IAMUserAccount).where(IAMUserAccount.id == ann.id))
    assert user is not None
    with tenant_scope(other_tenant), pytest.raises(NotFound):
        services_factors.find_method(user, row.id)


def test_at_071_sessions_that_rest_on_a_removed_factor_end(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any, scoped: Any
) -> None:
    ann, other = make_user("ann", mfa="totp"), app.test_client()
    sign_in(client, ann)
    with clock.travel(timedelta(minutes=1)):
        sign_in(other, ann)
        factor = rows_of(IAMMfaMethod)[0].id
        post(client, f"/account/security/factors/{factor}/remove", page="/account/security")
        assert is_signed_in(client)
        assert not is_signed_in(other)
