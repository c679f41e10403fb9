"""Hooks, signals and the demo's outbox page (A7, X1)."""

from __future__ import annotations

import pytest

from app import Hooks, signals
from app.auth.accounts.services_directory import get_user
from app.core.errors import Forbidden
from app.core.scoping import tenant_scope
from app.tenancy import services_tenants
from tests.conftest import PASSWORD, make_app, post


def test_a7_a_hook_may_refuse_a_sign_in(app, client, make_user, monkeypatch, audit_rows):
    class Closed(Hooks):
        def may_sign_in(self, user):
            if user.username == "ann":
                raise Forbidden("The office is closed")

    make_user("ann")
    make_user("bob")
    monkeypatch.setattr(app.extensions["iam"], "hooks", Closed())
    answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 403
    assert "The office is closed" in answer.text
    assert client.get("/account").status_code == 303
    answer = post(client, "/auth/login", {"username": "bob", "password": PASSWORD})
    assert answer.status_code == 303


def test_at_465_a_hook_that_fails_denies(app, client, make_user, monkeypatch):
    class Broken(Hooks):
        def may_sign_in(self, user):
            raise ZeroDivisionError

    make_user("ann")
    monkeypatch.setattr(app.extensions["iam"], "hooks", Broken())
    monkeypatch.setitem(app.config, "TESTING", False)
    app.testing = False
    try:
        answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    finally:
        app.testing = True
    assert answer.status_code == 500
    assert client.get("/account").status_code == 303


def test_a7_signals_are_sent_after_commit_and_not_on_refusal(app, client, make_user):
    heard = []

    def listen(sender, **details):
        heard.append((sender, details))

    person = make_user("ann")
    with signals.user_signed_in.connected_to(listen):
        post(client, "/auth/login", {"username": "ann", "password": "wrong"})
        assert heard == []
        post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert [sender for sender, _details in heard] == [str(person.id)]


def test_a7_a_listener_that_fails_does_not_undo_the_sign_in(app, client, make_user):
    def fail(_sender, **_details):
        raise ZeroDivisionError

    make_user("ann")
    with signals.user_signed_in.connected_to(fail):
        answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 303
    assert client.get("/account").status_code == 200


@pytest.fixture
def demo(app, database_url):
    found = make_app(database_url, IAM_ENV="demo", TESTING=False)
    yield found
    with found.app_context():
        found.extensions["sqlalchemy"].engine.dispose()


def test_x1_the_outbox_page_exists_in_the_demo_and_for_this_machine_only(demo, client):
    assert client.get("/dev/outbox").status_code == 404
    browser = demo.test_client()
    assert browser.get("/dev/outbox").status_code == 200
    assert browser.get("/dev/outbox?format=json").json == []
    away = {"REMOTE_ADDR": "10.0.0.9"}
    assert browser.get("/dev/outbox", environ_overrides=away).status_code == 404
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert browser.get("/dev/outbox", headers={name: "127.0.0.1"}).status_code == 404
    rebound = {"Host": "evil.example"}
    assert browser.get("/dev/outbox", headers=rebound).status_code == 404


def test_a7_a_hook_may_change_or_refuse_a_new_account(app, make_user, monkeypatch):
    class Renaming(Hooks):
        def before_user_created(self, values):
            if values["email"].endswith("@evil.example.com"):
                raise Forbidden("not from there")
            return {**values, "display_name": f"{values['username']} of the office"}

    monkeypatch.setattr(app.extensions["iam"], "hooks", Renaming())
    person = make_user("ann")
    with pytest.raises(Forbidden):
        make_user("eve", email="eve@evil.example.com")
    with tenant_scope(services_tenants.default_tenant_id()):
        assert get_user(person.id).display_name == "ann of the office"
