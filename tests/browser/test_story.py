"""The story the product is for, in a real browser on both engines (the acceptance line).

An administrator creates a user; the user sets a password, enrols a second factor
and signs in with it; the administrator sees it all in the audit trail.
"""

from __future__ import annotations

import json
import re
import urllib.request
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from app.core import clock
from tests.conftest import Someone

pytestmark = pytest.mark.browser
NEW_PASSWORD = "violet ladder under seven moons"
SECRET = re.compile(r"\b(?:[A-Z2-7]{4}[ \u00a0]?){8}\b")


def fill(browser: Any, **values: str) -> None:
    for name, value in values.items():
        field = browser.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)


def send(browser: Any, selector: str = "main form button[type=submit]") -> None:
    before = browser.find_element(By.TAG_NAME, "html")
    browser.find_element(By.CSS_SELECTOR, selector).click()
    WebDriverWait(browser, 10).until(lambda _driver: gone(before))


def gone(element: Any) -> bool:
    try:
        element.is_enabled()
    except Exception:  # noqa: BLE001 - any failure to reach it means that the page changed
        return True
    return False


def sign_in(browser: Any, url: str, person: Someone) -> None:
    browser.get(f"{url}/auth/login")
    fill(browser, username=person.username, password=person.password)
    send(browser)
    if person.totp_secret:
        fill(browser, code=pyotp.TOTP(person.totp_secret).at(clock.now()))
        send(browser)


def sign_out(browser: Any, url: str) -> None:
    browser.get(f"{url}/account")
    browser.find_element(By.CSS_SELECTOR, "header details summary").click()
    send(browser, 'form[action="/auth/logout"] button')


def outbox(url: str) -> list[dict[str, str]]:
    with urllib.request.urlopen(f"{url}/dev/outbox?format=json") as answer:  # noqa: S310 - loopback
        found: list[dict[str, str]] = json.load(answer)
    return found


def text_of(browser: Any) -> str:
    return str(browser.find_element(By.TAG_NAME, "main").text)


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
    browser.get(link.replace("http://localhost", served.url))
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
