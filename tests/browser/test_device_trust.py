"""A browser that its person trusts (F2): the box beside the second step, a passkey's too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from app.risk.settings import RiskSettings
from tests.support.pages import fill, send, sign_in, sign_out, text_of
from tests.support.settings import changed
from tests.support.virtual_authenticator import Authenticator

pytestmark = pytest.mark.browser
START = "[data-webauthn-start]"
NO_SUGGESTIONS = "PublicKeyCredential.isConditionalMediationAvailable = async () => false"


@pytest.fixture
def trusting(served: Any) -> Iterator[None]:
    """Let people trust their browsers for thirty days."""
    with changed(served.app, RiskSettings, DEVICE_TRUST_DAYS=30):
        yield


@pytest.mark.parametrize("ticked", [True, False])
def test_f2_the_box_beside_a_passkey_trusts_the_browser(
    served: Any, browser: Any, make_user: Any, trusting: None, ticked: bool
) -> None:
    url, ann = served.url, make_user("ann")
    Authenticator(browser)
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NO_SUGGESTIONS})
    sign_in(browser, url, ann)
    browser.get(f"{url}/account/security/passkey")
    send(browser, START)
    browser.find_element(By.NAME, "confirm").click()
    send(browser, ".iam-panel-foot button[type=submit]")
    sign_out(browser, url)
    sign_in(browser, url, ann)
    assert browser.current_url == f"{url}/auth/mfa/verify"
    if ticked:
        browser.find_element(By.NAME, "remember_device").click()
    send(browser, START)
    assert browser.current_url == f"{url}/account"
    sign_out(browser, url)
    sign_in(browser, url, ann)
    assert browser.current_url == f"{url}/{'account' if ticked else 'auth/mfa/verify'}"


def test_f2_a_person_trusts_the_browser_in_use_and_ends_it(
    served: Any, browser: Any, make_user: Any, trusting: None
) -> None:
    url = served.url
    sign_in(browser, url, make_user("ann", mfa="totp"))
    browser.get(f"{url}/account/devices")
    for label, word in (("Trust", "Trusted until"), ("End trust", "no longer trusted")):
        unfold = f"//summary[starts-with(normalize-space(), '{label}')]"
        browser.find_element(By.XPATH, unfold).click()
        send(browser, "dialog[open] .iam-button-primary")
        assert word in text_of(browser)
    rename = "//summary[starts-with(normalize-space(), 'Rename')]"
    browser.find_element(By.XPATH, rename).click()
    fill(browser, name="Desk at home")
    send(browser, ".iam-confirm[open] button[type=submit]")
    assert "Desk at home" in text_of(browser)
