"""Signing in and out over HTTP (C1, C4, C5, J1) and the attacks on it."""

from __future__ import annotations

import pytest

from tests.conftest import PASSWORD, csrf_of, post, totp_code


def test_c1_a_person_signs_in_and_lands_on_the_account_page(client, make_user, sign_in):
    person = make_user("ann")
    answer = sign_in(client, person)
    assert answer.headers["Location"] == "/account"
    assert "ann" in client.get("/account").text


def test_c5_wrong_password_answers_401_with_the_form(client, make_user, audit_rows):
    make_user("ann")
    answer = post(client, "/auth/login", {"username": "ann", "password": "wrong"})
    assert answer.status_code == 401
    assert 'value="ann"' in answer.text
    assert "wrong" not in answer.text.replace("went wrong", "")
    assert [row.details["reason"] for row in audit_rows("LOGIN_FAILED")] == ["wrong_password"]


def test_at_011_unknown_user_and_wrong_password_answer_alike(client, make_user):
    make_user("ann")
    known = post(client, "/auth/login", {"username": "ann", "password": "wrong"})
    unknown = post(client, "/auth/login", {"username": "bob", "password": "wrong"})
    assert known.status_code == unknown.status_code == 401
    strip = lambda text, name: text.replace(name, "X").replace(csrf_of(text), "T")  # noqa: E731
    assert strip(known.text, "ann") == strip(unknown.text, "bob")


def test_at_061_a_protected_page_needs_the_second_factor(client, make_user):
    person = make_user("ann", mfa="totp")
    answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.headers["Location"] == "/auth/mfa/verify"
    assert client.get("/account").headers["Location"] == "/auth/mfa/verify"
    answer = post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
    assert answer.headers["Location"] == "/account"
    assert client.get("/account").status_code == 200


def test_at_116_a_cookie_is_dead_after_logout(client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    cookie = client.get_cookie("iam_session").value
    post(client, "/auth/logout", page="/account")
    client.set_cookie("iam_session", cookie)
    assert client.get("/account").status_code == 303


@pytest.mark.parametrize("field", ["username", "password"])
def test_at_019_nul_and_control_characters_are_refused(client, field):
    data = {"username": "ann", "password": "x", field: "a\x00b"}
    assert post(client, "/auth/login", data).status_code == 400


def test_at_118_logout_during_a_half_finished_sign_in_wipes_it(client, make_user, audit_rows):
    make_user("ann", mfa="totp")
    post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    cookie = client.get_cookie("iam_session").value
    post(client, "/auth/logout", page="/auth/mfa/verify")
    client.set_cookie("iam_session", cookie)
    assert "/auth/login" in client.get("/auth/mfa/verify").headers["Location"]


def test_at_064_a_new_sign_in_replaces_the_pending_person(client, make_user):
    first, second = make_user("ann", mfa="totp"), make_user("bob", mfa="totp")
    post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    post(client, "/auth/login", {"username": "bob", "password": PASSWORD})
    answer = post(client, "/auth/mfa/verify", {"code": totp_code(first.totp_secret)})
    assert answer.status_code == 401
    answer = post(client, "/auth/mfa/verify", {"code": totp_code(second.totp_secret)})
    assert answer.status_code == 303
    assert "bob" in client.get("/account").text


def test_at_114_the_session_id_changes_at_every_step(client, make_user):
    person = make_user("ann", mfa="totp")
    seen = []
    post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    seen.append(client.get_cookie("iam_session").value)
    post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
    seen.append(client.get_cookie("iam_session").value)
    assert len(set(seen)) == 2
    client.set_cookie("iam_session", seen[0])
    assert client.get("/account").status_code == 303


def test_c1_remember_me_keeps_the_cookie_for_thirty_days(client, make_user):
    make_user("ann")
    data = {"username": "ann", "password": PASSWORD, "remember_me": "y"}
    answer = post(client, "/auth/login", data)
    cookie = next(
        value for value in answer.headers.getlist("Set-Cookie") if value.startswith("iam_session=")
    )
    assert "Max-Age=25919" in cookie or "Max-Age=2592000" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_c1_a_person_signs_in_with_the_email_address(client, make_user):
    make_user("ann", email="Ann.Smith@Example.com")
    answer = post(
        client, "/auth/login", {"username": "ann.smith@example.com", "password": PASSWORD}
    )
    assert answer.status_code == 303


def test_at_031_a_repeated_field_is_refused(client, make_user):
    make_user("ann")
    token = csrf_of(client.get("/auth/login").text)
    body = f"username=ann&username=bob&password=x&csrf_token={token}"
    answer = client.post("/auth/login", data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400


def test_at_023_a_huge_password_is_refused_before_hashing(client, make_user):
    make_user("ann")
    answer = post(client, "/auth/login", {"username": "ann", "password": "x" * 5000})
    assert answer.status_code == 422
    answer = post(client, "/auth/login", {"username": "ann", "password": "x" * 2_000_000})
    assert answer.status_code == 413


def test_at_030_credentials_in_the_url_are_ignored(client, make_user):
    make_user("ann")
    answer = client.get(f"/auth/login?username=ann&password={PASSWORD}")
    assert answer.status_code == 200
    assert client.get("/account").status_code == 303


@pytest.mark.parametrize("status", ["suspended", "disabled", "locked", "invited"])
def test_c5_an_account_that_may_not_act_gets_the_same_answer(client, make_user, status):
    make_user("ann", status=status)
    answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 401
    assert "do not match" in answer.text


def test_at_002_guesses_from_many_addresses_are_throttled_per_account(client, make_user):
    make_user("ann")
    token = csrf_of(client.get("/auth/login").text)
    answers = [
        client.post(
            "/auth/login",
            data={"username": "ann", "password": "wrong", "csrf_token": token},
            environ_overrides={"REMOTE_ADDR": f"10.0.0.{number}"},
        )
        for number in range(1, 9)
    ]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
    assert int(answers[-1].headers["Retry-After"]) >= 1


def guess(client, *names, password="wrong"):
    data = [{"username": name, "password": password} for name in names]
    return [post(client, "/auth/login", form).status_code for form in data]


def later(hours):
    from datetime import timedelta

    from app.core import clock

    return clock.travel(timedelta(hours=hours))


def guess_for_days(client, name, times):
    for hour in range(times):
        with later(hour):
            assert guess(client, name) == [401]


def test_at_007_case_form_and_email_share_one_counter(client, make_user, audit_rows):
    make_user("ann")
    assert guess(client, "ann", "ANN", "\uff41nn", "Ann", "aNN") == [401] * 5
    # The address counts with the name, in silence: not even the right password is checked.
    assert guess(client, "ann@example.com", password=PASSWORD) == [401]
    assert guess(client, "ANN", password=PASSWORD) == [429]
    throttled = [row.details["scope"] for row in audit_rows("LOGIN_THROTTLED")]
    assert throttled == ["login.account", "login.name"]


def test_p1_4_the_throttle_does_not_tell_which_names_belong_together(client, make_user):
    make_user("ann")
    known = guess(client, *["ann"] * 5, *["ann@example.com"] * 6, "ann")
    unknown = guess(client, *["bob"] * 5, *["bob@example.com"] * 6, "bob")
    assert known == unknown == [401] * 10 + [429] * 2


def test_p1_4_an_attempt_refused_in_silence_looks_like_a_wrong_password(client, make_user):
    make_user("ann")
    guess(client, *["ann"] * 5)
    data = {"username": "ann@example.com", "password": PASSWORD}
    silent = post(client, "/auth/login", data)
    other = post(client, "/auth/login", {"username": "bob@example.com", "password": PASSWORD})
    strip = lambda text, name: text.replace(name, "X").replace(csrf_of(text), "T")  # noqa: E731
    assert strip(silent.text, "ann") == strip(other.text, "bob")
    assert set(silent.headers.keys()) == set(other.headers.keys())


def test_p1_4_the_silent_refusal_ends_with_the_delay(client, make_user):
    from datetime import timedelta

    from app.core import clock

    make_user("ann")
    guess(client, *["ann"] * 5)
    with clock.travel(timedelta(seconds=29)):
        assert guess(client, "ann@example.com", password=PASSWORD) == [401]
    with clock.travel(timedelta(seconds=31)):
        assert guess(client, "ann@example.com", password=PASSWORD) == [303]


def test_p1_5_strangers_cannot_lock_out_a_known_device(app, client, make_user, sign_in):
    person = make_user("ann")
    sign_in(client, person)
    post(client, "/auth/logout", page="/account")
    stranger = app.test_client()
    guess_for_days(stranger, "ann", 104)
    with later(104):
        assert guess(stranger, "ann", password=PASSWORD) == [401]  # ended, and in silence
        sign_in(client, person)
        post(client, "/auth/logout", page="/account")
        # The success of the known device does not give strangers another hundred.
        assert guess(app.test_client(), "ann@example.com", password=PASSWORD) == [401]


def test_p1_5_the_wait_that_strangers_cause_stays_bounded(client, make_user):
    make_user("ann")
    guess_for_days(client, "ann", 102)
    guess_for_days(client, "bob", 102)
    with later(102):
        for name in ("ann", "bob"):
            assert guess(client, name) == [401]
            answer = post(client, "/auth/login", {"username": name, "password": "wrong"})
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 1801


def test_at_008_a_known_device_signs_in_while_others_guess(app, client, make_user, sign_in):
    person = make_user("ann")
    sign_in(client, person)
    post(client, "/auth/logout", page="/account")
    attacker = app.test_client()
    for _ in range(6):
        post(attacker, "/auth/login", {"username": "ann", "password": "wrong"})
    assert (
        post(attacker, "/auth/login", {"username": "ann", "password": PASSWORD}).status_code == 429
    )
    sign_in(client, person)


def test_c3_an_expired_password_is_replaced_before_the_sign_in_completes(
    app, client, make_user, monkeypatch
):
    from datetime import timedelta

    from app.auth.passwords.settings_password import PasswordSettings
    from app.core import clock

    make_user("ann")
    state = app.extensions["iam"]
    aged = state.settings[PasswordSettings].model_copy(update={"PASSWORD_MAX_AGE_DAYS": 30})
    monkeypatch.setitem(state.settings, PasswordSettings, aged)
    with clock.travel(timedelta(days=31)):
        answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
        assert answer.headers["Location"] == "/auth/password/renew"
        assert client.get("/account").headers["Location"] == "/auth/password/renew"
        new = {"password": "violet ladder under seven moons"}
        answer = post(client, "/auth/password/renew", new | {"password_confirm": new["password"]})
        assert answer.headers["Location"] == "/account"
        assert client.get("/account").status_code == 200


def test_d6_at_074_enrolment_may_be_put_off_for_the_days_of_grace_and_no_longer(
    app, client, make_user, monkeypatch
):
    from datetime import timedelta

    from app.auth.mfa.settings_mfa import MfaSettings
    from app.core import clock

    make_user("ann", roles=["auditor"])
    state = app.extensions["iam"]
    lenient = state.settings[MfaSettings].model_copy(update={"MFA_GRACE_DAYS": 7})
    monkeypatch.setitem(state.settings, MfaSettings, lenient)
    for days, where in ((0, "/account"), (6, "/account"), (8, "/auth/mfa/enrol")):
        with clock.travel(timedelta(days=days)):
            answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
            assert answer.headers["Location"] == where
            client.delete_cookie("iam_session")


def test_at_459_a_password_changed_during_the_check_no_longer_signs_in(
    app, client, make_user, tenant, monkeypatch
):
    from app.auth.accounts.services_directory import get_user
    from app.core import hashing
    from app.core.db import transaction
    from app.core.scoping import tenant_scope

    person = make_user("ann")
    verify = hashing.PasswordHasher.verify
    new_hash = hashing.current().hash("violet ladder under seven moons")

    def slow(self, stored, password):
        found = verify(self, stored, password)
        with tenant_scope(tenant), transaction():
            get_user(person.id).password_hash = new_hash
        return found

    monkeypatch.setattr(hashing.PasswordHasher, "verify", slow)
    answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 401
