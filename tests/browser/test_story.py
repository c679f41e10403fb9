"""The story the product is for, in a real browser on both engines (the acceptance line).

An administrator creates a user; the user sets a password, enrols a second factor
and signs in with it; the administrator sees it all in the audit trail.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pyotp
import pytest

from app.core import clock
from tests.support.pages import fill, outbox, send, sign_in, sign_out, text_of

pytestmark = pytest.mark.browser
NEW_PASSWORD = "violet ladder under seven moons"
SECRET = re.compile(r"\b(?:[A-Z2-7]{4}[ \u00a0]?){8}\b")


def test_an_admin_creates_a_user_who_enrols_and_signs_in_and_the_trail_shows_it(
    served, browser, make_user
):
    admin = make_user("admin", roles=["tenant_admin"], mfa="totp", actor_type="tenant_admin")
    sign_in(browser, served.url, admin)

    browser.get(f"{served.url}/admin/users/new")
    fill(browser, username="grace", email="grace@example.com", first_name="Grace")
    send(browser)
    assert "grace" in text_of(browser)
    sign_out(browser, served.url)

    mail = next(item for item in outbox(served.url) if item["to"] == "grace@example.com")
    link = re.search(r"http://\S+/auth/password/reset/\S+", mail["body"]).group(0)
    browser.get(link)
    fill(browser, password=NEW_PASSWORD, password_confirm=NEW_PASSWORD)
    send(browser)
    assert browser.current_url.startswith(f"{served.url}/auth/login")

    fill(browser, username="grace", password=NEW_PASSWORD)
    send(browser)
    browser.get(f"{served.url}/account/security/totp")
    if "secret" not in browser.page_source.lower() or not SECRET.search(text_of(browser)):
        send(browser)
    secret = SECRET.search(text_of(browser)).group(0).replace(" ", "").replace("\u00a0", "")
    fill(browser, code=pyotp.TOTP(secret).at(clock.now()))
    send(browser)
    assert len(re.findall(r"\b(?:[A-Z2-7]{4}-){5}[A-Z2-7]{4}\b", text_of(browser))) == 10

    sign_out(browser, served.url)
    browser.get(f"{served.url}/auth/login")
    fill(browser, username="grace", password=NEW_PASSWORD)
    send(browser)
    assert browser.current_url == f"{served.url}/auth/mfa/verify"
    with clock.travel(timedelta(seconds=30)):
        fill(browser, code=pyotp.TOTP(secret).at(clock.now()))
        send(browser)
        assert "/account" in browser.current_url
        sign_out(browser, served.url)

    with clock.travel(timedelta(seconds=30)):
        sign_in(browser, served.url, admin)
        browser.get(f"{served.url}/admin/audit/logs")
        page = text_of(browser)
    for words in ("account was created", "second factor was enrolled", "signed in"):
        assert words in page, page
