"""Passkeys as people meet them (E1, E3): real pages, a real browser, a virtual authenticator."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from app.core import clock
from tests.support.chromium import command
from tests.support.pages import fill, gone, send, sign_in, sign_out, text_of, wait
from tests.support.virtual_authenticator import Authenticator

pytestmark = pytest.mark.browser
BUTTON = "[data-webauthn-start]"
NO_SUGGESTIONS = "PublicKeyCredential.isConditionalMediationAvailable = async () => false"
# A ceremony by hand, as an attacker's script would run it: what the page asks for, changed.
BY_HAND = """
const [body, change, done] = arguments;
const token = document.querySelector("[name=csrf_token]").value;
const post = async (path, sent) => {
  const headers = {"Content-Type": "application/json", "X-CSRFToken": token};
  const answer = await fetch(path, {method: "POST", headers, body: JSON.stringify(sent)});
  return [answer.status, await answer.json()];
};
(async () => {
  const [, {publicKey}] = await post("/auth/webauthn/login/options", body);
  const options = PublicKeyCredential.parseRequestOptionsFromJSON({...publicKey, ...change});
  const credential = (await navigator.credentials.get({publicKey: options})).toJSON();
  done(await post("/auth/webauthn/login/verify", {...body, credential}));
})().catch((error) => done([0, String(error)]));
"""


@pytest.fixture
def device(browser) -> Authenticator:
    """Return the browser's own authenticator, which answers at once."""
    return Authenticator(browser)


@pytest.fixture
def ann(make_user) -> Any:
    """Return a person with a password."""
    return make_user("ann")


def add_key(browser: Any, url: str, name: str = "") -> None:
    """Add a passkey on the security page, and save the recovery codes of the first."""
    browser.get(f"{url}/account/security/passkey")
    fill(browser, name=name)
    send(browser, BUTTON)
    if "recovery codes" in text_of(browser):
        save_codes(browser)
    assert browser.current_url == f"{url}/account/security", text_of(browser)


def save_codes(browser: Any) -> None:
    """Say that the recovery codes are saved, and go on."""
    browser.find_element(By.NAME, "confirm").click()
    send(browser, ".iam-panel-foot button[type=submit]")


def without_suggestions(browser: Any) -> None:
    """Keep the sign-in page from asking by itself, so that only the button does."""
    command(browser, "Page.addScriptToEvaluateOnNewDocument", source=NO_SUGGESTIONS)


def use_key(browser: Any) -> None:
    """Press the passkey button and wait for the page that follows."""
    send(browser, BUTTON)


def press(browser: Any) -> str:
    """Press the passkey button and return the sentence that the page ends up with."""
    browser.find_element(By.CSS_SELECTOR, BUTTON).click()
    wait(browser, lambda: said(browser) and not busy(browser))
    return said(browser)


def said(browser: Any, kind: str = "") -> str:
    """Return the sentence that the passkey part shows, of one kind or any."""
    which = f'="{kind}"' if kind else ""
    boxes = browser.find_elements(By.CSS_SELECTOR, f"[data-webauthn-says{which}]")
    return " ".join(box.text for box in boxes if box.is_displayed())


def busy(browser: Any) -> bool:
    """Return whether the passkey button waits for an answer."""
    button = browser.find_element(By.CSS_SELECTOR, BUTTON)
    return bool(button.get_attribute("aria-disabled") == "true")


def by_hand(browser: Any, body: dict[str, Any], **change: Any) -> tuple[int, dict[str, Any]]:
    """Run a ceremony with changed options; return status and answer of the server."""
    browser.set_script_timeout(15)
    status, answer = browser.execute_async_script(BY_HAND, body, change)
    return status, answer


def as_allowed(key: dict[str, Any]) -> list[dict[str, str]]:
    """Return an allowCredentials list that names one key."""
    plain = key["credentialId"].replace("+", "-").replace("/", "_").rstrip("=")
    return [{"type": "public-key", "id": plain}]


def signed_in(browser: Any, url: str) -> bool:
    """Return whether the browser has a full session."""
    browser.get(f"{url}/account")
    return bool(browser.current_url == f"{url}/account")


def test_e1_a_passkey_signs_in_without_a_password(served, browser, device, ann):
    without_suggestions(browser)
    sign_in(browser, served.url, ann)
    add_key(browser, served.url, "My laptop")
    assert "My laptop" in text_of(browser)
    assert "On this device only" in text_of(browser)
    sign_out(browser, served.url)

    browser.get(f"{served.url}/auth/login?next=/account/sessions")
    use_key(browser)
    assert browser.current_url == f"{served.url}/account/sessions"
    assert len(device.keys()) == 1


def test_e1_a_passkey_is_suggested_in_the_name_field(served, browser, device, ann):
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    sign_out(browser, served.url)
    # The authenticator answers the waiting request as if its owner had picked the suggestion.
    browser.get(f"{served.url}/auth/login")
    wait(browser, lambda: browser.current_url == f"{served.url}/account")


def test_e1_the_button_works_while_a_suggestion_waits(served, browser, device, ann):
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    sign_out(browser, served.url)
    device.answer(False)
    browser.get(f"{served.url}/auth/login")
    assert not said(browser)
    device.answer(True)
    use_key(browser)
    assert browser.current_url == f"{served.url}/account"


def test_e1_a_suggestion_that_waited_too_long_asks_once_more(served, browser, device, ann):
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    sign_out(browser, served.url)
    # Each look at the clock is an hour after the one before.
    hours = "{const now = Date.now(); let n = 0; Date.now = () => now + 3600000 * n++;}"
    command(browser, "Page.addScriptToEvaluateOnNewDocument", source=hours)
    browser.get(f"{served.url}/auth/login")
    wait(browser, lambda: browser.current_url == f"{served.url}/account")


def test_e1_a_passkey_is_the_second_factor_after_the_password(served, browser, device, ann):
    without_suggestions(browser)
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    sign_out(browser, served.url)
    sign_in(browser, served.url, ann)
    assert browser.current_url == f"{served.url}/auth/mfa/verify"
    assert not browser.find_elements(By.NAME, "code")
    assert browser.switch_to.active_element.text == "Use your passkey or security key"
    use_key(browser)
    assert browser.current_url == f"{served.url}/account"


def test_at_266_a_key_is_added_only_after_the_first_is_shown_again(served, browser, device, ann):
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    with clock.travel(timedelta(minutes=20)):
        browser.get(f"{served.url}/account/security/passkey")
        assert "/auth/mfa/verify" in browser.current_url
        assert "change how you sign in" in text_of(browser)
        use_key(browser)
        assert browser.current_url == f"{served.url}/account/security/passkey"


def test_f1_a_proof_that_ran_out_on_the_page_is_asked_for_again(served, browser, device, ann):
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    browser.get(f"{served.url}/account/security/passkey")
    with clock.travel(timedelta(minutes=20)):
        send(browser, BUTTON)
        assert "/auth/mfa/verify" in browser.current_url


def test_e1_two_keys_each_sign_in_and_a_device_holds_one(served, browser, device, ann):
    without_suggestions(browser)
    sign_in(browser, served.url, ann)
    add_key(browser, served.url, "Laptop")
    browser.get(f"{served.url}/account/security/passkey")
    assert "already has a passkey" in press(browser)
    device.remove()
    synced = {"defaultBackupEligibility": True, "defaultBackupState": True}
    phone = Authenticator(browser, **synced)
    with clock.travel(timedelta(seconds=1)):
        add_key(browser, served.url, "Phone")
    words = text_of(browser)
    for expected in ("Laptop", "On this device only", "Phone", "Synced"):
        assert expected in words
    sign_out(browser, served.url)
    browser.get(f"{served.url}/auth/login")
    use_key(browser)
    assert browser.current_url == f"{served.url}/account"
    assert len(phone.keys()) == 1


def test_d8_a_removed_key_is_refused(served, browser, device, ann):
    without_suggestions(browser)
    sign_in(browser, served.url, ann)
    add_key(browser, served.url, "Laptop")
    browser.find_element(By.CSS_SELECTOR, ".iam-list summary").click()
    send(browser, "#iam-dialog [data-dialog-ok]")
    assert "Laptop" not in text_of(browser)
    sign_out(browser, served.url)
    browser.get(f"{served.url}/auth/login")
    sentence = press(browser)
    assert sentence
    assert sentence == said(browser, "alert")
    assert not signed_in(browser, served.url)


def test_at_067_anothers_key_is_refused_as_second_factor_and_in_step_up(
    served, browser, device, ann, make_user
):
    eve = make_user("eve")
    sign_in(browser, served.url, eve)
    add_key(browser, served.url)
    eves = device.keys()[0]
    sign_out(browser, served.url)
    device.forget(eves)
    without_suggestions(browser)
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    sign_out(browser, served.url)
    device.add(eves)

    sign_in(browser, served.url, ann)
    status, _answer = by_hand(browser, {"flow": "mfa"}, allowCredentials=as_allowed(eves))
    assert 400 <= status < 500
    assert not signed_in(browser, served.url)

    browser.get(f"{served.url}/auth/mfa/verify")
    use_key(browser)
    with clock.travel(timedelta(minutes=20)):
        browser.get(f"{served.url}/account/security/passkey")
        step_up = {"flow": "step_up", "purpose": "account.security"}
        status, _answer = by_hand(browser, step_up, allowCredentials=as_allowed(eves))
        assert 400 <= status < 500
        browser.get(f"{served.url}/account/security/passkey")
        assert "/auth/mfa/verify" in browser.current_url


def test_at_255_a_copied_key_is_raised_as_a_risk(served, browser, device, ann, audit_rows):
    without_suggestions(browser)
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    sign_out(browser, served.url)
    key = device.keys()[0]
    browser.get(f"{served.url}/auth/login")
    use_key(browser)
    assert not audit_rows("WEBAUTHN_CLONE_SUSPECTED")
    sign_out(browser, served.url)
    device.forget(key)
    device.add({**key, "signCount": 0})
    browser.get(f"{served.url}/auth/login")
    use_key(browser)
    assert audit_rows("WEBAUTHN_CLONE_SUSPECTED")


def test_at_253_a_passkey_without_user_verification_signs_nobody_in(served, browser, device, ann):
    without_suggestions(browser)
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    sign_out(browser, served.url)
    device.recognise(False)
    browser.get(f"{served.url}/auth/login")
    assert press(browser).startswith("You are not signed in")
    status, _answer = by_hand(browser, {"flow": "sign_in"}, userVerification="discouraged")
    assert 400 <= status < 500
    assert not signed_in(browser, served.url)


def test_d6_a_sign_in_that_needs_a_factor_is_completed_with_a_passkey(
    served, browser, device, make_user
):
    admin = make_user("admin", roles=["tenant_admin"], actor_type="tenant_admin")
    sign_in(browser, served.url, admin)
    assert browser.current_url == f"{served.url}/auth/mfa/enrol"
    browser.find_element(By.CSS_SELECTOR, 'a[href="/auth/mfa/enrol/webauthn"]').click()
    fill(browser, name="Office key")
    send(browser, BUTTON)
    assert "recovery codes" in text_of(browser)
    save_codes(browser)
    browser.get(f"{served.url}/admin/users")
    assert browser.current_url == f"{served.url}/admin/users"


def test_e3_cancelling_is_no_error_and_the_button_can_be_used_again(served, browser, device, ann):
    sign_in(browser, served.url, ann)
    device.recognise(False)
    browser.get(f"{served.url}/account/security/passkey")
    button = browser.find_element(By.CSS_SELECTOR, BUTTON)
    assert press(browser).startswith("Nothing was added")
    assert said(browser, "status")
    assert not said(browser, "alert")
    assert browser.switch_to.active_element == button
    device.recognise(True)
    use_key(browser)
    assert len(device.keys()) == 1


def test_e3_a_double_click_makes_one_key(served, browser, device, ann):
    sign_in(browser, served.url, ann)
    browser.get(f"{served.url}/account/security/passkey")
    button = browser.find_element(By.CSS_SELECTOR, BUTTON)
    ActionChains(browser).double_click(button).perform()
    wait(browser, lambda: gone(button))
    assert len(device.keys()) == 1


def test_e3_a_server_out_of_reach_is_said_in_words(served, browser, device, ann):
    sign_in(browser, served.url, ann)
    browser.get(f"{served.url}/account/security/passkey")
    nothing = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    command(browser, "Network.enable")
    command(browser, "Network.emulateNetworkConditions", offline=True, **nothing)
    assert "out of reach" in press(browser)
    assert said(browser, "alert")


@pytest.mark.parametrize(
    ("page", "words"),
    [("/auth/login", ""), ("/account/security/passkey", "This browser cannot make passkeys")],
)
def test_e3_a_browser_without_passkeys_is_told(served, browser, ann, page, words):
    gone_from = "delete window.PublicKeyCredential"
    if page != "/auth/login":
        sign_in(browser, served.url, ann)
    command(browser, "Page.addScriptToEvaluateOnNewDocument", source=gone_from)
    browser.get(served.url + page)
    assert not browser.find_element(By.CSS_SELECTOR, BUTTON).is_displayed()
    assert said(browser).startswith(words)
    assert bool(said(browser)) == bool(words)


def test_e3_an_older_browser_adds_and_uses_a_passkey(served, browser, device, ann):
    """Without the JSON methods of WebAuthn Level 3 the page reads and writes the bytes itself."""
    without_suggestions(browser)
    older = ";".join(
        f"delete PublicKeyCredential.{name}"
        for name in (
            "parseCreationOptionsFromJSON",
            "parseRequestOptionsFromJSON",
            "prototype.toJSON",
        )
    )
    command(browser, "Page.addScriptToEvaluateOnNewDocument", source=older)
    sign_in(browser, served.url, ann)
    add_key(browser, served.url)
    sign_out(browser, served.url)
    browser.get(f"{served.url}/auth/login")
    use_key(browser)
    assert browser.current_url == f"{served.url}/account"


def test_e3_without_javascript_the_pages_say_so_and_passwords_work(served, browser, ann):
    command(browser, "Emulation.setScriptExecutionDisabled", value=True)
    browser.get(f"{served.url}/auth/login")
    assert "needs JavaScript" in text_of(browser)
    assert not browser.find_element(By.CSS_SELECTOR, BUTTON).is_displayed()
    fill(browser, username=ann.username, password=ann.password)
    browser.find_element(By.CSS_SELECTOR, "main form button[type=submit]").click()
    wait(browser, lambda: browser.current_url == f"{served.url}/account")
    browser.get(f"{served.url}/account/security/passkey")
    assert "needs JavaScript" in text_of(browser)
