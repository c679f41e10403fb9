"""Every page under axe, in the light and the dark scheme: no violation of WCAG A or AA (N1)."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy import select

from app.audit import events
from app.audit.services_audit import FAILURE, record
from app.auth.invitations import services_invitations
from app.auth.models import IAMAuthSession
from app.auth.sign_in.settings_sign_in import SignInSettings
from app.core import clock
from app.core.db import session, transaction
from app.risk.settings import RiskSettings
from app.tenancy import services_organizations
from app.tenancy.models import IAMAccessContext
from tests.support.chromium import emulate_colour_scheme, set_viewport
from tests.support.loopback import Answer
from tests.support.pages import fill, send, sign_in, sign_out, text_of
from tests.support.recovery import set_phone
from tests.support.settings import changed
from tests.support.sso import add_domain, make_connection

pytestmark = pytest.mark.browser
AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
# This axe is older than the autofill word `webauthn` of the sign-in form (HTML, 4.10.18.7.1).
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
                   rules: {"autocomplete-valid": {enabled: false}}})
   .then(found => done(found.violations.map(
     item => item.id + ": " + item.nodes.map(node => node.target.join(" ")).join(", "))));
"""
ANYBODY = (
    "/auth/login", "/auth/login/link", "/auth/password/forgot", "/auth/signed-out",
    "/auth/sso/link", "/auth/sso/nobody/login",
)  # fmt: skip
PENDING = ("/auth/mfa/verify", "/auth/mfa/choose", "/auth/recovery")
OWN = (
    "", "/email", "/phone", "/security", "/security/password", "/security/passkey",
    "/security/totp", "/security/email", "/security/phone", "/sessions", "/devices",
)  # fmt: skip
ADMIN = (
    "", "/users", "/users/new", "/roles", "/roles/new", "/sessions", "/recovery", "/audit/logs",
    "/connections", "/connections/new", "/domains", "/invitations", "/invitations/new", "/settings",
    "/settings/branding", "/settings/methods", "/settings/policies", "/settings/audit",
    "/audit/statistics",
)  # fmt: skip
LINKS = {"SIGN_IN_LINK_ENABLED": True, "SIGN_IN_CODE_EMAIL_ENABLED": True}


@pytest.fixture(autouse=True)
def everything(served: Any) -> Any:
    """Switch on what adds to a page; return a connection."""
    # A provider that nobody runs: at its button's address stands the page that says so.
    connection = make_connection(served.app, "http://127.0.0.1:9", slug="nobody")
    add_domain(served.app, "nobody.example", connection)
    with (
        changed(served.app, SignInSettings, **LINKS),
        changed(served.app, RiskSettings, DEVICE_TRUST_DAYS=30),
    ):
        yield connection


def faults(browser: Any, served: Any, paths: tuple[str, ...], under: str = "") -> list[str]:
    """Return what axe finds on pages, in both schemes."""
    found = []
    for path in paths:
        for scheme in ("light", "dark"):
            emulate_colour_scheme(browser, scheme)
            browser.get(served.url + under + path)
            assert browser.current_url == served.url + under + path, browser.current_url
            found += [f"{under}{path} ({scheme}) {item}" for item in faults_here(browser)]
    return found


def faults_here(browser: Any) -> list[str]:
    """Return what axe finds on the page that is shown."""
    browser.execute_script(AXE)
    found: list[str] = browser.execute_async_script(RUN)
    return found


def test_n1_what_anybody_sees(served: Any, browser: Any) -> None:
    assert faults(browser, served, ANYBODY) == []


def test_n1_what_a_pending_sign_in_sees(served: Any, browser: Any, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    browser.get(f"{served.url}/auth/login")
    fill(browser, username="ann", password=ann.password)
    send(browser)
    assert faults(browser, served, PENDING) == []


def test_n1_the_codes_of_a_recovery(served: Any, browser: Any, make_user: Any) -> None:
    ann = make_user("ann", mfa="totp")
    set_phone(ann)
    browser.get(f"{served.url}/auth/login")
    fill(browser, username="ann", password=ann.password)
    send(browser)
    browser.get(f"{served.url}/auth/recovery")
    press(browser, "Begin the recovery")
    press(browser, "Send the code by e-mail")
    press(browser, "Send the code by text message")
    assert faults(browser, served, ("/auth/recovery",)) == []
    assert browser.switch_to.active_element.get_attribute("id") == "code-phone"
    browser.find_element("id", "code-email").send_keys("00000x")
    press(browser, "Check the code by e-mail")
    field = browser.switch_to.active_element
    assert field.get_attribute("id") == "code-email"
    told = browser.find_element("id", field.get_attribute("aria-describedby"))
    assert "That code is not right" in told.text
    assert faults_here(browser) == []


def press(browser: Any, name: str) -> None:
    """Press the button of this name, as a screen reader tells it, and wait for the next page."""
    buttons = browser.find_elements("css selector", "main button")
    (button,) = [item for item in buttons if item.accessible_name == name]
    button.click()
    WebDriverWait(browser, 5).until(staleness_of(button))


def test_n1_what_a_person_sees(served: Any, browser: Any, make_user: Any) -> None:
    sign_in(browser, served.url, make_user("ann", mfa="totp"))
    assert faults(browser, served, OWN, "/account") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_n1_the_way_through_another_service(
    served: Any, browser: Any, make_user: Any, lying_provider: Any, scheme: Any
) -> None:
    make_connection(served.app, lying_provider.url, jit="open")
    emulate_colour_scheme(browser, scheme)
    ann = make_user("ann")
    lying_provider.person(sub="sub-ann", email=ann.email, email_verified=True)
    browser.get(f"{served.url}/auth/sso/peer/login")
    assert browser.current_url == f"{served.url}/auth/sso/link"
    assert faults_here(browser) == []
    browser.get(f"{served.url}/auth/login?next=/auth/sso/link")
    fill(browser, username="ann", password=ann.password)
    send(browser)
    assert faults_here(browser) == []
    press(browser, "Link")
    assert browser.current_url == f"{served.url}/account/security"
    assert faults_here(browser) == []
    sign_out(browser, served.url)

    lying_provider.person(sub="sub-bob", email="bob@example.com", email_verified=True)
    browser.get(f"{served.url}/auth/sso/peer/login")
    with clock.travel(timedelta(minutes=20)):
        browser.get(f"{served.url}/account/security/passkey")
        assert faults_here(browser) == []
        # An answer without content: the browser stays on the page that leads on.
        lying_provider.answers["authorize"] = Answer(204)
        press(browser, "Confirm with Peer")
        assert "On to Peer" in text_of(browser)
        assert faults_here(browser) == []


def test_n1_what_an_administrator_sees(
    served: Any, browser: Any, make_user: Any, everything: Any, scoped: Any, actor: Any
) -> None:
    ann = make_user("ann")
    with transaction():
        record(events.LOGIN_FAILED, status=FAILURE, actor=actor.acting_as(ip="192.0.2.9"))
        changed_one = record(
            events.ORGANIZATION_UPDATED, actor=actor, changes={"name": ["North", "South"]}
        ).id
    sign_in(browser, served.url, make_user("root", roles=["tenant_admin"], mfa="totp"))
    filled = (f"/users/{ann.id}", f"/audit/logs/{changed_one}")
    assert faults(browser, served, (*ADMIN, *filled), "/admin") == []
    one = f"/connections/{everything.id}"
    browser.get(f"{served.url}/admin/domains")
    domain = browser.find_element("css selector", 'main a[href*="/admin/domains/"]')
    place = domain.get_attribute("href").removeprefix(f"{served.url}/admin")
    pages = (one, f"{one}/edit", f"{one}/rotate", f"{one}/delete", place)
    assert faults(browser, served, pages, "/admin") == []


def test_n2_both_actions_of_an_invitation_are_whole(
    served: Any, browser: Any, make_user: Any, scoped: Any, actor: Any
) -> None:
    with transaction():
        place = services_organizations.create_organization(
            "Northwind Partners", kind="partner", actor_grants=None, actor=actor
        )
        services_invitations.invite(
            "beatrice.example@northwind.example.com",
            name="Beatrice Example",
            roles=["client_admin", "viewer"],
            parent_id=place.id,
            actor_grants=None,
            actor=actor,
        )
    sign_in(browser, served.url, make_user("root", roles=["tenant_admin"], mfa="totp"))
    browser.get(f"{served.url}/admin/invitations")
    for width in (1280, 390):
        set_viewport(browser, width, 800)
        cut = (
            "const it = document.querySelector('.iam-table-wrap');"
            "return it.scrollWidth - it.clientWidth"
        )
        assert browser.execute_script(cut) <= 0, width
        assert len(browser.find_elements("css selector", ".iam-cell-actions .iam-button")) == 2


def test_n2_long_words_of_a_table_take_another_line(
    served: Any, browser: Any, make_user: Any, scoped: Any, tenant: Any
) -> None:
    """The stays of the platform at every width, and the labels of a table that is cards."""
    root = make_user("root", roles=["tenant_admin"], mfa="totp")
    sign_in(browser, served.url, root)
    at = clock.now()
    with transaction():
        session().add(
            IAMAccessContext(
                target_tenant_id=tenant,
                user_id=root.id,
                session_id=session().scalars(select(IAMAuthSession.id)).first(),
                reason="The customer asked for help with the import of their people, ticket 4711.",
                started_at=at,
                ends_at=at,
            )
        )
    browser.get(f"{served.url}/admin/access")
    for width in (1280, 1024, 768, 390):
        set_viewport(browser, width, 800)
        cut = "const it = document.querySelector('.iam-table-wrap');"
        assert browser.execute_script(f"{cut} return it.scrollWidth - it.clientWidth") <= 0, width
    browser.get(f"{served.url}/admin/users")
    label = "getComputedStyle(document.querySelector('td.iam-nowrap[data-label]'), '::before')"
    assert browser.execute_script(f"return {label}.whiteSpace") == "normal"


@pytest.mark.parametrize("width", [320, 360])
def test_n1_recovery_codes_are_whole_on_a_small_screen(
    served: Any, browser: Any, make_user: Any, width: int
) -> None:
    sign_in(browser, served.url, make_user("ann", mfa="totp"))
    browser.get(f"{served.url}/account/security")
    send(browser, 'form[action="/account/security/recovery-codes"] button')
    set_viewport(browser, width, 800)
    assert faults_here(browser) == []
    hidden = (
        "const it = document.querySelector('.iam-codes'); return it.scrollWidth > it.clientWidth"
    )
    assert not browser.execute_script(hidden)
    assert len(browser.find_elements("css selector", ".iam-codes li")) == 10


def test_n1_axe_finds_what_is_wrong(served: Any, browser: Any) -> None:
    browser.get(f"{served.url}/auth/login")
    browser.execute_script("document.querySelector('label').remove()")
    assert any(item.startswith("label:") for item in faults_here(browser))
