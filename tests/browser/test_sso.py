"""Sign-in with another service as people meet it (G1 to G5): two sites, one real browser.

We answer on `localhost`, the provider on 127.0.0.1: another site to the browser, so that its
rules for cookies (SameSite) and for what follows a form (CSP `form-action`) are at work.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from selenium.webdriver.common.by import By

from app.auth.models import IAMAuthSession
from app.core import clock
from app.core.db import session, transaction
from app.core.scoping import unscoped
from tests.support.oidc_peer import OidcPeer
from tests.support.pages import fill, send, sign_in, sign_out, text_of, wait
from tests.support.sso import add_domain
from tests.support.sso_peer import connect

pytestmark = pytest.mark.browser
BUTTON = 'main a[href^="/auth/sso/peer/login"]'
HOUR = timedelta(hours=1)
YES, NO = "main button[value=yes]", "main button[value=no]"


@pytest.fixture(autouse=True)
def nothing_blocked(browser: Any) -> Iterator[None]:
    """Hold that the policy of our pages (CSP) blocked nothing on the way."""
    yield
    assert blocked(browser) == []


@pytest.fixture
def ann(oidc_peer: OidcPeer) -> str:
    """Return somebody at the provider."""
    return oidc_peer.account("ann", name="Ann Bell", email="ann@partner.example")


def blocked(browser: Any) -> list[str]:
    """Return what a policy blocked since the last look."""
    entries = [entry["message"] for entry in browser.get_log("browser")]
    return [message for message in entries if "Content Security Policy" in message]


def leave(browser: Any, peer: OidcPeer, selector: str) -> None:
    """Press what leads to the provider, and wait for its page."""
    browser.find_element(By.CSS_SELECTOR, selector).click()
    wait(browser, lambda: browser.current_url.startswith(f"{peer.issuer}/"))


def sign_in_there(browser: Any, name: str, *, consent: bool = True) -> None:
    """Sign in on the provider's page, and agree to what it asks."""
    fill(browser, login=name)
    send(browser, YES)
    if consent:
        assert "email" in text_of(browser)
        send(browser, YES)


def through_the_button(browser: Any, url: str, peer: OidcPeer, name: str) -> None:
    """Sign in by the button of the sign-in page."""
    browser.get(f"{url}/auth/login")
    leave(browser, peer, BUTTON)
    sign_in_there(browser, name)


def arrived(browser: Any, address: str) -> None:
    """Wait until the browser is at an address."""
    wait(browser, lambda: browser.current_url == address)


def test_g1_the_button_leads_to_the_provider_and_back_signed_in(served, browser, oidc_peer, ann):
    connect(served.app, oidc_peer, jit="open")
    browser.get(f"{served.url}/auth/login?next=/account/sessions")
    assert browser.find_element(By.CSS_SELECTOR, BUTTON).text == "Continue with Peer"
    browser.find_element(By.NAME, "remember_me").click()
    leave(browser, oidc_peer, BUTTON)
    sign_in_there(browser, ann)
    assert "expiry" in browser.get_cookie("iam_session")  # it outlives the window
    assert browser.current_url == f"{served.url}/account/sessions"
    browser.get(f"{served.url}/account/security")
    assert "ann@partner.example" in text_of(browser)


def test_g4_the_domain_of_an_address_leads_to_its_provider(served, browser, oidc_peer, ann):
    connection = connect(served.app, oidc_peer, jit="domains")
    add_domain(served.app, "partner.example", connection)
    browser.get(f"{served.url}/auth/login")
    fill(browser, email="ann@partner.example")
    form = 'form[action="/auth/sso/discover"]'
    leave(browser, oidc_peer, f"{form} button[type=submit]")
    hint = browser.find_element(By.NAME, "login").get_attribute("value")
    assert hint == "ann@partner.example"
    sign_in_there(browser, ann)
    assert browser.current_url == f"{served.url}/account"

    sign_out(browser, served.url)
    browser.get(f"{served.url}/auth/login")
    fill(browser, email="ann@elsewhere.example")
    send(browser, f"{form} button[type=submit]")
    assert "no sign-in of its own here" in text_of(browser)
    assert browser.switch_to.active_element.get_attribute("name") == "email"


def test_g1_a_person_who_cancels_can_try_again_at_once(served, browser, oidc_peer, ann):
    connect(served.app, oidc_peer, jit="open")
    browser.get(f"{served.url}/auth/login?next=/account/sessions")
    leave(browser, oidc_peer, BUTTON)
    send(browser, NO)
    assert browser.current_url.startswith(f"{served.url}/auth/sso/peer/callback")
    assert "cancelled" in text_of(browser)
    assert browser.find_elements(By.CSS_SELECTOR, 'main a[href^="/auth/login"]')
    leave(browser, oidc_peer, BUTTON)
    sign_in_there(browser, ann)
    assert browser.current_url == f"{served.url}/account/sessions"


def test_g5_an_account_elsewhere_is_linked_signs_in_and_is_unlinked(
    served, browser, oidc_peer, ann, make_user
):
    connect(served.app, oidc_peer)
    local = make_user("local")
    sign_in(browser, served.url, local)
    browser.get(f"{served.url}/account/security")
    leave(browser, oidc_peer, 'form[action$="/identities/link"] button')
    sign_in_there(browser, ann)
    assert browser.current_url == f"{served.url}/account/security"
    assert "The account is linked" in text_of(browser)
    assert "ann@partner.example" in text_of(browser)

    sign_out(browser, served.url)
    browser.get(f"{served.url}/auth/login")
    send(browser, BUTTON)  # still signed in over there: nothing is asked
    arrived(browser, f"{served.url}/account")
    sign_out(browser, served.url)

    sign_in(browser, served.url, local)
    browser.get(f"{served.url}/account/security")
    browser.find_element(By.CSS_SELECTOR, "[aria-labelledby=security-identities] summary").click()
    send(browser, "#iam-dialog [data-dialog-ok]")
    assert "no longer signs you in" in text_of(browser)
    assert "ann@partner.example" not in text_of(browser)


def test_g3_a_known_address_is_linked_after_its_owner_signed_in(
    served, browser, oidc_peer, ann, make_user
):
    connect(served.app, oidc_peer, jit="open")
    local = make_user("local", email="ann@partner.example")
    through_the_button(browser, served.url, oidc_peer, ann)
    assert browser.current_url == f"{served.url}/auth/sso/link"
    assert "already have an account here" in text_of(browser)
    send(browser, "main a.iam-button")
    fill(browser, username=local.username, password=local.password)
    send(browser)
    assert browser.current_url == f"{served.url}/auth/sso/link"
    send(browser)
    assert browser.current_url == f"{served.url}/account/security"
    assert "The account is linked" in text_of(browser)


def test_g5_signing_out_here_goes_on_to_sign_out_there(served, browser, oidc_peer, ann):
    connect(served.app, oidc_peer, jit="open", provider_logout=True)
    through_the_button(browser, served.url, oidc_peer, ann)
    browser.find_element(By.CSS_SELECTOR, "header details summary").click()
    leave(browser, oidc_peer, 'form[action="/auth/logout"] button')
    assert "Sign out of the provider?" in text_of(browser)
    send(browser, YES)
    assert browser.current_url.startswith(f"{served.url}/auth/signed-out")
    browser.get(f"{served.url}/auth/login")
    leave(browser, oidc_peer, BUTTON)
    assert browser.find_elements(By.NAME, "login")


def test_g5_signing_out_there_ends_the_session_here(served, browser, oidc_peer, ann):
    connect(served.app, oidc_peer, jit="open")
    through_the_button(browser, served.url, oidc_peer, ann)
    assert browser.current_url == f"{served.url}/account"
    browser.get(f"{oidc_peer.issuer}/session/end")
    send(browser, YES)
    assert "Signed out" in text_of(browser)
    browser.get(f"{served.url}/account")
    assert browser.current_url.startswith(f"{served.url}/auth/login")


def test_f1_who_has_nothing_else_to_show_confirms_at_the_provider(served, browser, oidc_peer, ann):
    connect(served.app, oidc_peer, jit="open")
    through_the_button(browser, served.url, oidc_peer, ann)
    an_hour_later()
    browser.get(f"{served.url}/account/security/passkey")
    assert "Confirm that it is you" in text_of(browser)
    leave(browser, oidc_peer, "main button[type=submit]")
    sign_in_there(browser, ann, consent=False)
    arrived(browser, f"{served.url}/account/security/passkey")


def an_hour_later() -> None:
    """Make every sign-in an hour old; the provider's clock does not travel with ours."""
    with unscoped("tests look at every tenant"), transaction():
        session().execute(sa.update(IAMAuthSession).values(auth_time=clock.now() - HOUR))


def test_g1_what_a_policy_blocks_is_seen(served, browser, oidc_peer):
    """Why a form never answers with a redirect to a provider: the browser would stop there."""
    browser.get(f"{served.url}/auth/login")
    leave_by_form = f"""
    const form = document.createElement("form");
    form.method = "post"; form.action = "{oidc_peer.issuer}/auth";
    document.body.append(form); form.submit();
    """
    browser.execute_script(leave_by_form)
    assert any("form-action" in message for message in blocked(browser))
    assert browser.current_url == f"{served.url}/auth/login"
