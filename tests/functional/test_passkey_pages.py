"""Pages that show and ask for passkeys, as the server renders them (D8, E1, N1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.auth.mfa.settings_mfa import MfaSettings
from app.core import clock
from tests.bench.measure import statements
from tests.conftest import post
from tests.support.authenticator import Authenticator
from tests.support.passkeys import register
from tests.support.settings import changed

ICLOUD = UUID("fbfc3007-154e-4ecc-8c0b-6e020557d7bd")
BUTTON = "data-webauthn-start"


@pytest.fixture
def ann(client, make_user, sign_in) -> Any:
    """Return a person who is signed in by password."""
    person = make_user("ann")
    sign_in(client, person)
    return person


def security_page(client) -> str:
    return client.get("/account/security").text


def test_e1_a_key_is_listed_with_its_authenticator_and_whether_it_is_synced(client, ann):
    register(client, Authenticator(synced=True, aaguid=ICLOUD), "Phone")
    register(client, Authenticator(), "Office key")
    page = security_page(client)
    phone, office = page.index("Phone"), page.index("Office key")
    assert phone < page.index("iCloud Keychain") < office
    assert phone < page.index("Synced") < office
    assert page.index("On this device only") > office
    assert "Never used" in page


def test_x3_a_list_of_keys_costs_no_statement_more(app, client, ann):
    def cost() -> int:
        with statements(app.extensions["sqlalchemy"].engine) as found:
            security_page(client)
        return len(found)

    register(client, Authenticator(), "One")
    one = cost()
    for name in ("Two", "Three"):
        register(client, Authenticator(), name)
    assert cost() == one


def test_at_269_a_name_is_text_on_the_page_and_markup_is_no_name(client, ann):
    assert register(client, Authenticator(), "<img src=x>").status_code == 422
    register(client, Authenticator(), 'Ann\'s "key" & more')
    page = security_page(client)
    assert "<img" not in page
    assert page.count("Ann&#39;s &#34;key&#34; &amp; more") == page.count("s &#34;key") > 0


def test_e1_two_keys_are_one_way_to_choose(client, ann, make_user):
    for name in ("Laptop", "Phone"):
        register(client, Authenticator(), name)
    post(client, "/auth/logout", page="/account")
    post(client, "/auth/login", {"username": "ann", "password": ann.password})
    asked = client.get("/auth/mfa/verify").text
    assert BUTTON in asked
    assert 'name="code"' not in asked
    chosen = client.get("/auth/mfa/choose").text
    assert chosen.count("Passkey or security key") == 1
    assert "Laptop, Phone" in chosen


def test_e1_a_code_sent_where_a_key_is_asked_for_is_no_way_in(client, ann):
    register(client, Authenticator())
    post(client, "/auth/logout", page="/account")
    post(client, "/auth/login", {"username": "ann", "password": ann.password})
    answer = post(client, "/auth/mfa/verify", {"code": "123456"})
    assert answer.status_code == 200
    assert BUTTON in answer.text
    assert client.get("/account").status_code == 303


def test_d1_where_policy_leaves_passkeys_out_no_page_offers_them(app, client, ann):
    without = tuple(name for name in MfaSettings.current().MFA_METHODS if name != "webauthn")
    with changed(app, MfaSettings, MFA_METHODS=without):
        assert "passkey" not in security_page(client).lower()
        post(client, "/auth/logout", page="/account")
        page = client.get("/auth/login").text
        assert "webauthn" not in page
        assert 'autocomplete="username"' in page


def test_e1_the_sign_in_page_offers_a_passkey_and_suggestions(client):
    page = client.get("/auth/login").text
    assert BUTTON in page
    assert 'autocomplete="username webauthn"' in page
    assert "<noscript>" in page


def test_at_266_the_page_for_a_new_key_asks_for_a_fresh_proof(client, ann):
    register(client, Authenticator())
    with clock.travel(timedelta(minutes=20)):
        answer = client.get("/account/security/passkey")
        assert answer.status_code == 303
        assert "/auth/step-up" in answer.location


def test_l1_a_new_key_leads_back_to_what_wanted_it(client, ann):
    answer = register(client, Authenticator(), next="/reports?year=1").get_json()
    sealed = {"sealed": answer["codes"]["sealed"], "csrf_token": answer["csrf_token"]}
    assert answer["next"] == "/reports?year=1"
    shown = client.post(answer["codes"]["action"], data={**sealed, "next": "/reports?year=1"})
    assert 'value="/reports?year=1"' in shown.text
    assert register(client, Authenticator(), next="//evil.example").get_json()["next"] == (
        "/account/security"
    )
