"""What people do in a real browser: fill in, send, sign in and out, read."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pyotp
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from app.core import clock
from tests.conftest import Someone

SECONDS = 10


def fill(browser: Any, **values: str) -> None:
    """Put values into the fields of these names."""
    for name, value in values.items():
        field = browser.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)


def send(browser: Any, selector: str = "main form button[type=submit]") -> None:
    """Click a button and wait for the page that follows."""
    before = browser.find_element(By.TAG_NAME, "html")
    browser.find_element(By.CSS_SELECTOR, selector).click()
    wait(browser, lambda: gone(before))


def gone(element: Any) -> bool:
    """Return whether the page of an element was left."""
    try:
        element.is_enabled()
    except Exception:  # noqa: BLE001 - any failure to reach it means that the page changed
        return True
    return False


def wait(browser: Any, happens: Callable[[], Any]) -> None:
    """Wait until something happens."""
    WebDriverWait(browser, SECONDS).until(lambda _driver: happens())


def sign_in(browser: Any, url: str, person: Someone) -> None:
    """Sign in with the password, and the authenticator app where there is one."""
    browser.get(f"{url}/auth/login")
    fill(browser, username=person.username, password=person.password)
    send(browser)
    if person.totp_secret:
        fill(browser, code=pyotp.TOTP(person.totp_secret).at(clock.now()))
        send(browser)


def sign_out(browser: Any, url: str) -> None:
    """Sign out by the menu."""
    browser.get(f"{url}/account")
    browser.find_element(By.CSS_SELECTOR, "header details summary").click()
    send(browser, 'form[action="/auth/logout"] button')


def outbox(url: str) -> list[dict[str, str]]:
    """Return what the demo sent, newest first."""
    with urllib.request.urlopen(f"{url}/dev/outbox?format=json") as answer:  # noqa: S310 - loopback
        found: list[dict[str, str]] = json.load(answer)
    return found


def text_of(browser: Any) -> str:
    """Return the words of the page, without header and footer."""
    return str(browser.find_element(By.TAG_NAME, "main").text)
