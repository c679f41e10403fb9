"""Forgotten, first and changed passwords over HTTP (C3, C6, B3) and the attacks on them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import event

from app.auth.accounts import services_account_status, services_accounts, services_directory
from app.core import clock
from app.core.actor import system_actor
from app.core.db import transaction
from app.core.scoping import tenant_scope
from app.notify import services_outbox
from app.notify.settings import NotifySettings
from tests.conftest import PASSWORD, post, totp_code

NEW = "violet ladder under seven moons"
BOTH = {"password": NEW, "password_confirm": NEW}


def mails(to: str | None = None) -> list[dict]:
    return [item for item in services_outbox.list_recent(100) if to in {None, item["to"]}]


def link_to(address: str) -> str:
    for item in mails(address):
        found = re.search(r"http://localhost(/auth/password/reset/\S+)", item["body"])
        if found:
            return found.group(1)
    raise AssertionError(f"no link was sent to {address}")


def ask(client, identifier: str):
    return post(client, "/auth/password/forgot", {"username": identifier})


def test_c6_a_reset_link_sets_a_new_password_and_signs_nobody_in(client, make_user, audit_rows):
    make_user("ann")
    ask(client, "ann")
    answer = post(client, link_to("ann@example.com"), BOTH)
    assert answer.headers["Location"].startswith("/auth/login")
    assert client.get("/account").status_code == 303
    old = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    new = post(client, "/auth/login", {"username": "ann", "password": NEW})
    assert (old.status_code, new.status_code) == (401, 303)
    assert audit_rows("PASSWORD_RESET_COMPLETED")
    assert any("password" in item["subject"].lower() for item in mails("ann@example.com"))


def test_at_097_a_reset_never_skips_the_second_factor(client, make_user):
    person = make_user("ann", mfa="totp")
    ask(client, "ann")
    post(client, link_to("ann@example.com"), BOTH)
    answer = post(client, "/auth/login", {"username": "ann", "password": NEW})
    assert answer.headers["Location"] == "/auth/mfa/verify"
    answer = post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
    assert answer.status_code == 303


def test_at_091_a_reset_link_works_once(client, make_user):
    make_user("ann")
    ask(client, "ann")
    link = link_to("ann@example.com")
    token_page = client.get(link)
    assert token_page.status_code == 200
    post(client, link, BOTH)
    assert client.get(link).status_code == 404
    again = post(client, link, BOTH, page="/auth/login")
    assert again.status_code == 404


def test_at_092_an_older_link_dies_with_a_newer_one_and_with_a_change(client, make_user, sign_in):
    person = make_user("ann")
    ask(client, "ann")
    first = link_to("ann@example.com")
    ask(client, "ann")
    second = link_to("ann@example.com")
    assert first != second
    assert client.get(first).status_code == 404
    sign_in(client, person)
    change = {"current": PASSWORD, **BOTH}
    assert post(client, "/account/security/password", change).status_code == 303
    assert client.get(second).status_code == 404


def test_at_101_looking_at_a_link_does_not_use_it(client, make_user):
    make_user("ann")
    ask(client, "ann")
    link = link_to("ann@example.com")
    for _ in range(3):
        assert client.get(link).status_code == 200
        assert client.head(link).status_code == 200
    assert post(client, link, BOTH).status_code == 303


def test_c6_a_link_is_dead_after_an_hour(client, make_user):
    make_user("ann")
    ask(client, "ann")
    link = link_to("ann@example.com")
    with clock.travel(timedelta(minutes=61)):
        assert client.get(link).status_code == 404


def test_at_011_forgot_answers_alike_for_everybody(client, make_user):
    make_user("ann")
    make_user("eve", status="suspended")
    pages = [ask(client, name) for name in ("ann", "eve", "nobody", "x" * 200)]
    assert {page.status_code for page in pages} == {200}
    assert len({page.text for page in pages}) == 1
    assert [item["to"] for item in mails()] == ["ann@example.com"]


def statements_of(app, work) -> list[str]:
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_more):
        seen.append(statement)

    engine = app.extensions["sqlalchemy"].engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    # Verbs alone: what stands in for the link's row goes to another table, and is taken back.
    verbs = [text.split()[0] for text in seen]
    return ["END" if verb in {"RELEASE", "ROLLBACK"} else verb for verb in verbs]


def test_p1_3_forgot_costs_the_same_statements_for_everybody(app, make_user, monkeypatch):
    make_user("ann")
    make_user("eve", status="suspended")
    settings = app.extensions["iam"].settings
    worker = settings[NotifySettings].model_copy(update={"IAM_OUTBOX_MODE": "worker"})
    monkeypatch.setitem(settings, NotifySettings, worker)
    client = app.test_client()
    ask(client, "warm-up")
    costs = [statements_of(app, lambda n=n: ask(client, n)) for n in ("ann", "eve", "nobody")]
    for _ in range(5):
        ask(client, "ann")
    costs.append(statements_of(app, lambda: ask(client, "ann@example.com")))  # past the cap
    assert costs[0] == costs[1] == costs[2]
    assert costs[3] == statements_of(app, lambda: ask(client, "nobody"))
    assert costs[0].count("INSERT") >= 3
    assert {item["to"] for item in mails()} == {"ann@example.com"}


def test_p2_4_the_cap_of_resets_counts_the_account_not_the_name(client, make_user):
    make_user("ann")
    for name in ("ann", "ann@example.com", "ANN", "Ann@Example.com", "ann", "ann@example.com"):
        assert ask(client, name).status_code == 200
    assert len(mails("ann@example.com")) == 5


def test_p1_5_a_reset_frees_the_account_its_names_and_its_devices(client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    post(client, "/auth/logout", page="/account")
    wrong = {"username": "ann", "password": "wrong"}
    codes = [post(client, "/auth/login", wrong).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    client.delete_cookie("iam_device")
    codes = [post(client, "/auth/login", wrong).status_code for _ in range(6)]
    assert codes[-1] == 429
    ask(client, "ann")
    post(client, link_to("ann@example.com"), BOTH)
    new = post(client, "/auth/login", {"username": "ann", "password": NEW})
    assert new.status_code == 303


def test_at_090_the_host_of_a_link_comes_from_settings(client, make_user):
    make_user("ann")
    page = client.get("/auth/password/forgot")
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text).group(1)
    client.post(
        "/auth/password/forgot",
        data={"username": "ann", "csrf_token": token},
        headers={
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "host=evil.example",
            "X-Host": "evil.example",
        },
    )
    assert "evil.example" not in mails("ann@example.com")[0]["body"]
    assert link_to("ann@example.com")


def test_at_095_at_096_the_link_goes_to_the_stored_address_alone(client, make_user):
    make_user("mike", email="mike@example.org")
    ask(client, "mike@example.org,evil@example.com")
    ask(client, "m\u0131ke@example.org")
    assert mails() == []
    ask(client, "MIKE@EXAMPLE.ORG")
    assert [item["to"] for item in mails()] == ["mike@example.org"]


def test_at_122_a_password_change_ends_the_other_sessions(app, client, make_user, sign_in):
    person = make_user("ann")
    other = app.test_client()
    sign_in(client, person)
    sign_in(other, person)
    before = client.get_cookie("iam_session").value
    change = {"current": PASSWORD, **BOTH}
    assert post(client, "/account/security/password", change).status_code == 303
    assert client.get("/account").status_code == 200
    assert other.get("/account").status_code == 303
    assert client.get_cookie("iam_session").value != before


def test_at_032_the_password_change_is_no_unlimited_oracle(client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    change = {"current": "wrong", **BOTH}
    codes = [post(client, "/account/security/password", change).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]


def test_at_211_a_reset_ends_every_session(app, client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    other = app.test_client()
    ask(other, "ann")
    post(other, link_to("ann@example.com"), BOTH)
    assert client.get("/account").status_code == 303


def test_at_102_an_account_without_a_password_gets_no_reset(client, make_user, scoped):
    person = make_user("ann")
    with transaction():
        services_directory.get_user(person.id).password_hash = None
    ask(client, "ann")
    assert mails() == []


def test_at_120_a_suspended_person_cannot_use_a_link_and_loses_the_session(
    client, app, make_user, sign_in, tenant, actor
):
    person = make_user("ann")
    sign_in(client, person)
    other = app.test_client()
    ask(other, "ann")
    link = link_to("ann@example.com")
    with tenant_scope(tenant), transaction():
        services_account_status.suspend(
            services_directory.get_user(person.id), reason="left", actor_grants=None, actor=actor
        )
    assert client.get("/account").status_code == 303
    assert other.get(link).status_code == 404


def test_b3_an_invited_person_sets_the_first_password(client, app, tenant):
    with tenant_scope(tenant), transaction():
        services_accounts.create_user(
            username="new",
            email="new@example.com",
            actor_grants=None,
            actor=system_actor(tenant, "tests"),
        )
    link = link_to("new@example.com")
    assert "new" in client.get(link).text
    assert post(client, link, BOTH).status_code == 303
    answer = post(client, "/auth/login", {"username": "new", "password": NEW})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "password", ["short", "aaaaaaaaaaaaaaaaaaaa", "password1234567", "ann@example.com"]
)
def test_c3_a_weak_password_is_refused_beside_its_field(client, make_user, password):
    make_user("ann")
    ask(client, "ann")
    link = link_to("ann@example.com")
    answer = post(client, link, {"password": password, "password_confirm": password})
    assert answer.status_code == 422
    assert "iam-field-error" in answer.text or "error" in answer.text
    assert client.get(link).status_code == 200


def test_c3_the_last_passwords_are_not_taken_again(client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    change = {"current": PASSWORD, "password": PASSWORD, "password_confirm": PASSWORD}
    answer = post(client, "/account/security/password", change)
    assert answer.status_code == 422
    assert "used this password before" in answer.text


def test_at_094_only_a_digest_of_the_link_is_stored(app, client, make_user):
    make_user("ann")
    ask(client, "ann")
    token = link_to("ann@example.com").rsplit("/", 1)[1]
    with app.extensions["sqlalchemy"].engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM iam_action_token").all()
    assert rows
    assert token not in repr(rows)


def test_at_093_the_reset_page_sends_no_referrer(client, make_user):
    make_user("ann")
    ask(client, "ann")
    assert client.get(link_to("ann@example.com")).headers["Referrer-Policy"] == "no-referrer"
