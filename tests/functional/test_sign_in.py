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
