"""A tenant's own settings over HTTP (K1, B3 of branding), and how one might abuse them."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import event

from app.auth.accounts import services_notices
from app.auth.mfa.settings_mfa import MfaSettings
from app.auth.passwords.settings_password import PasswordSettings
from app.auth.settings import AuthSettings
from app.auth.sso.settings_sso import SsoSettings
from app.auth.web import accent
from app.config import SECTIONS
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.errors import InvalidInput, Misconfigured
from app.core.scoping import tenant_scope
from app.tenancy import services_settings, setting_words
from app.tenancy.models import IAMTenant
from app.tenancy.services_settings import effective
from tests.conftest import PASSWORD, post
from tests.support.mailbox import messages
from tests.support.settings import changed


@pytest.fixture
def choose(tenant):
    """Return a helper that sets values of the default tenant."""

    def override(tenant_id=tenant, **values):
        with tenant_scope(tenant_id), transaction():
            services_settings.override(values, actor=system_actor(tenant_id, "tests"))

    return override


@pytest.fixture
def stored(tenant):
    """Return a helper: what the tenant has of its own."""

    def own():
        with tenant_scope(tenant):
            session().rollback()
            return services_settings.overrides()

    return own


def save(client, group, **values):
    """Send the form of a group as a browser does, with what it shows and some values changed."""
    page = client.get(f"/admin/settings/{group}").text
    typed = re.findall(r'<input[^>]*name="([A-Z_]+)" type="text" value="([^"]*)"', page)
    form: dict[str, object] = dict(typed)
    return post(client, f"/admin/settings/{group}", {**form, **values})


# ------------------------------------------------------------------ the pages


def test_k1_every_setting_of_a_tenant_has_a_place_and_words(client, admin):
    page = client.get("/admin/settings").text
    names = {name for section in SECTIONS for name in section.per_tenant()}
    assert names <= set(setting_words.LABELS)
    shown = {group: client.get(f"/admin/settings/{group}").text for group in setting_words.GROUPS}
    for name in names:
        assert f'name="{name}"' in shown[setting_words.group_of(name)], name
    for group, (title, _text) in setting_words.GROUPS.items():
        assert title in page, group


def test_n2_the_event_of_a_change_calls_a_setting_by_its_words(client, admin, audit_rows):
    assert save(client, "policies", PASSWORD_MIN_LENGTH="20").status_code == 303
    page = client.get(f"/admin/audit/logs/{audit_rows('TENANT_SETTINGS_CHANGED')[0].id}").text
    assert '<th scope="row">Shortest password</th>' in page
    # One landmark of a name: the table is one, so the panel around it is none.
    assert page.count('aria-label="What changed"') == 1
    assert 'aria-labelledby="audit-changes"' not in page


def test_k1_a_tenant_chooses_and_gives_back(client, admin, stored, audit_rows):
    assert save(client, "policies", PASSWORD_MIN_LENGTH="20").status_code == 303
    assert stored() == {"PASSWORD_MIN_LENGTH": 20}
    page = client.get("/admin/settings").text
    assert re.search(r"20\s+<span class=\"iam-badge iam-badge-info\">Own", page)
    assert save(client, "policies").status_code == 303  # nothing changed, nothing recorded
    assert save(client, "policies", PASSWORD_MIN_LENGTH="").status_code == 303
    assert stored() == {}
    first, second = audit_rows("TENANT_SETTINGS_CHANGED")
    assert first.actor_id == admin.id
    assert first.changes == {"PASSWORD_MIN_LENGTH": [None, 20]}
    assert second.changes == {"PASSWORD_MIN_LENGTH": [20, None]}


def test_k1_methods_are_chosen_one_by_one(client, admin, stored):
    chosen = ["totp", "webauthn"]
    assert save(client, "methods", MFA_METHODS=chosen, SIGN_IN_LINK_ENABLED="on").status_code == 303
    assert stored() == {"MFA_METHODS": chosen, "SIGN_IN_LINK_ENABLED": True}
    assert "Link by e-mail" in client.get("/admin/settings").text
    assert client.application.test_client().get("/auth/login/link").status_code == 200
    page = client.get("/account/security").text
    assert "/account/security/email" not in page
    answer = post(client, "/account/security/phone", {"destination": "+12025550123"})
    assert answer.status_code == 403


def test_at_361_who_may_look_and_who_may_change(app, make_user, sign_in, stored):
    cases = {"auditor": (200, 403), "user_manager": (403, 403), "client_admin": (403, 403)}
    for role, expected in cases.items():
        browser = app.test_client()
        sign_in(browser, make_user(role, roles=[role], mfa="totp"))
        found = tuple(
            browser.get(path).status_code for path in ("/admin/settings", "/admin/settings/audit")
        )
        assert found == expected, role
    assert app.test_client().get("/admin/settings").status_code == 303


def test_k1_an_unknown_group_is_not_there(client, admin):
    assert client.get("/admin/settings/secrets").status_code == 404


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("policies", "PASSWORD_MIN_LENGTH", "many"),
        ("policies", "PASSWORD_MIN_LENGTH", "9" * 4000),
        ("policies", "PASSWORD_MIN_LENGTH", "129"),
        ("policies", "IAM_SESSION_POLICIES", "{"),
        ("policies", "IAM_SESSION_POLICIES", "[]"),
        ("methods", "WEBAUTHN_ATTESTATION", "direct"),
        ("methods", "MFA_METHODS", ["email_otp"]),
        ("methods", "MFA_METHODS", ["password"]),
        ("branding", "IAM_BRAND_ACCENT", "red"),
    ],
)
def test_k1_a_bad_value_is_told_beside_its_field(client, admin, stored, group, name, value):
    answer = save(client, group, **{name: value})
    assert answer.status_code == 422
    assert 'class="iam-alert iam-alert-bad"' in answer.text or "iam-field-bad" in answer.text
    assert stored() == {}


REASONS = {
    "policies": {
        "PASSWORD_MIN_LENGTH": ("8", "Enter a whole number from 15 to "),
        "PASSWORD_MIN_SCORE": ("9", "Enter a whole number from 3 to 4."),
        "PASSWORD_HISTORY": ("\u00b2", "Enter a whole number from 5 to 24."),
        "STEP_UP_MINUTES": ("--5", "Enter a whole number from 1 to 10."),
        "MFA_GRACE_DAYS": ("-1", "Only 0 is possible here."),
        "IAM_INVITATION_DAYS": ("two", "Enter a whole number from 1 to 7."),
        "IAM_SESSION_POLICIES": ("{", "A JSON object: for super_admin"),
    },
    "branding": {
        "IAM_BRAND_NAME": ("evil\u3002com", "without markup, an address"),
        "IAM_BRAND_ACCENT": ("red", "# and six hexadecimal digits"),
        "IAM_SUPPORT_URL": ("example.com", "such as https://example.com/page"),
    },
    "audit": {
        "AUDIT_RETENTION_DAYS": ("30", "Enter a whole number from 2555 to 36500."),
        "AUDIT_NOTIFY_EMAILS": ("nobody", "At most 20 e-mail addresses"),
    },
}


@pytest.mark.parametrize("group", REASONS)
def test_k1_every_wrong_value_is_told_with_its_reason(client, admin, stored, group):
    answer = save(client, group, **{name: wrong[0] for name, wrong in REASONS[group].items()})
    assert answer.status_code == 422
    told = dict(re.findall(r'id="([A-Z_]+)-error">(.*?)</ul>', answer.text, re.DOTALL))
    assert set(told) == set(REASONS[group])
    for name, (_value, reason) in REASONS[group].items():
        assert reason in told[name], (name, told[name])
    assert stored() == {}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_sessions": 0}, "tenant_admin &gt; max_sessions: at least 1."),
        ({"remember_days": 500}, "tenant_admin &gt; remember_days: at most 400."),
        ({"idle_minutes": "5"}, "tenant_admin &gt; idle_minutes: a whole number."),
        ({"mfa_on_new_device": 1}, "tenant_admin &gt; mfa_on_new_device: true or false."),
        ({"networks": []}, "tenant_admin &gt; networks is not known here."),
        ({"allow_networks": []}, "tenant_admin &gt; allow_networks: networks such as"),
        ({"allow_networks": ["10.0.0.7/24"]}, "tenant_admin &gt; allow_networks: networks such as"),
        ([], "tenant_admin: an object in braces."),
        ({"allow_networks": "10.0.0.0/8"}, "allow_networks: a list in square brackets."),
        ({"allow_networks": [10]}, "allow_networks &gt; 0: a text in quotation marks."),
    ],
)
def test_k1_what_is_wrong_inside_limits_of_sessions_is_told_by_its_place(
    client, admin, stored, limits, reason
):
    value = json.dumps({"tenant_admin": limits})
    answer = save(client, "policies", IAM_SESSION_POLICIES=value)
    assert answer.status_code == 422
    assert reason in answer.text
    assert stored() == {}


@pytest.mark.parametrize("text", ["[" * 3000, '{"a":' * 700, '{"a":' * 500 + "1" + "}" * 500])
def test_at_466_limits_nested_too_deeply_are_a_wrong_value(client, admin, stored, text):
    answer = save(client, "policies", IAM_SESSION_POLICIES=text)
    assert answer.status_code == 422
    assert "A JSON object: for super_admin" in answer.text
    assert stored() == {}


def test_at_466_nested_text_stops_the_start_with_a_sentence():
    for section, name in ((AuthSettings, "IAM_SESSION_POLICIES"), (SsoSettings, "SSO_ENDPOINTS")):
        with pytest.raises(Misconfigured, match="JSON object"):
            section.load({name: "[" * 100_000}, {})


def test_j2_nobody_saves_a_list_that_shuts_them_out(client, admin, stored):
    def allow(*networks, kind="tenant_admin"):
        limits = json.dumps({kind: {"allow_networks": list(networks)}})
        return save(client, "policies", IAM_SESSION_POLICIES=limits)

    refused = allow("10.0.0.0/24")
    assert refused.status_code == 422
    assert "would shut you out: your address is 127.0.0.1" in refused.text
    assert stored() == {}
    assert client.get("/admin/settings").status_code == 200  # and is still in
    assert allow("10.0.0.0/24", kind="end_user").status_code == 303
    assert allow("10.0.0.0/24", "127.0.0.0/8").status_code == 303
    assert client.get("/admin/settings").status_code == 200


def test_k1_nothing_but_a_tenants_own_can_be_sent(client, admin, stored):
    answer = save(client, "branding", FLASK_SECRET_KEY="x", MFA_METHODS="totp", IAM_BASE_URL="x")
    assert answer.status_code == 303
    assert stored() == {}


# ------------------------------------------------------------------ floors


LOOSER = {
    "PASSWORD_MIN_LENGTH": 8,
    "PASSWORD_MIN_LENGTH_WITH_MFA": 8,
    "PASSWORD_MIN_SCORE": 0,
    "PASSWORD_HISTORY": 0,
    "STEP_UP_MINUTES": 60,
    "MFA_GRACE_DAYS": 90,
    "MFA_DEFAULT_POLICY": "off",
    "MFA_EMAIL_COUNTS_AS_MFA": True,
    "RECOVERY_WAIT_HOURS": 0,
    "WEBAUTHN_USER_VERIFICATION": "discouraged",
    "AUDIT_RETENTION_DAYS": 30,
    "DEVICE_TRUST_DAYS": 30,
    "RECOVERY_APPROVED_WAIT_HOURS": 0,
    "IAM_INVITATION_DAYS": 30,
}
# What a tenant may choose in both directions, and why that loosens nothing.
FREE = {
    "AUDIT_NOTIFY_EMAILS": "who of the tenant is told; the webhook and the log of all stay",
    "IAM_SESSION_POLICIES": "tightened where it is read, limit by limit",
    "SIGN_IN_CODE_EMAIL_ENABLED": "one factor; the policy asks for the second as before",
    "SIGN_IN_CODE_SMS_ENABLED": "one factor; the policy asks for the second as before",
    "SIGN_IN_LINK_ENABLED": "one factor; the policy asks for the second as before",
    "WEBAUTHN_RESIDENT_KEY": "where a key keeps its name, not what it proves",
}


@pytest.mark.parametrize(("name", "value"), LOOSER.items())
def test_at_466_a_tenant_loosens_no_floor(choose, stored, name, value):
    with pytest.raises(InvalidInput) as refused:
        choose(**{name: value})
    assert refused.value.code == "settings.too_loose"
    assert stored() == {}


def test_at_466_every_policy_of_a_tenant_has_a_floor_or_a_reason():
    free = {
        name
        for section in SECTIONS
        for name in section.per_tenant()
        if section.floor_of(name) is None and setting_words.group_of(name) != "branding"
    }
    assert free == set(FREE)


def test_at_466_what_the_installation_demands_stays_demanded(app, choose, stored):
    demanded = changed(app, PasswordSettings, PASSWORD_BREACH_CHECK=True)
    with demanded, pytest.raises(InvalidInput):
        choose(PASSWORD_BREACH_CHECK=False)
    demanded = changed(app, AuthSettings, EMAIL_VERIFICATION_REQUIRED=True)
    with demanded, pytest.raises(InvalidInput):
        choose(EMAIL_VERIFICATION_REQUIRED=False)
    with changed(app, MfaSettings, MFA_METHODS=("totp", "recovery_code")):
        for methods in (["totp", "sms_otp"], []):
            with pytest.raises(InvalidInput):
                choose(MFA_METHODS=methods)
    assert stored() == {}


def test_at_466_an_installation_that_becomes_stricter_wins(app, choose, client, admin, scoped):
    """Also over what was put into the row past every check."""
    choose(PASSWORD_MIN_LENGTH=16)
    with changed(app, PasswordSettings, PASSWORD_MIN_LENGTH=20):
        assert effective(PasswordSettings).PASSWORD_MIN_LENGTH == 20
        assert "looser than the installation" in client.get("/admin/settings").text
    with transaction():
        row = session().get(IAMTenant, scoped)
        row.details = {
            "settings": {"PASSWORD_MIN_LENGTH": 1, "PASSWORD_HISTORY": 9, "MFA_METHODS": "x"}
        }
    found = effective(PasswordSettings)
    assert (found.PASSWORD_MIN_LENGTH, found.PASSWORD_HISTORY) == (15, 9)
    assert client.get("/admin/settings").status_code == 200


# ------------------------------------------------------------------ read where it is used


def test_k1_a_longer_password_is_asked_for_at_once(client, make_user, sign_in, choose):
    sign_in(client, make_user("ann"))
    choose(PASSWORD_MIN_LENGTH=40)
    page = client.get("/account/security/password").text
    assert "At least 40 characters" in page
    new = "another horse battery staple 43"
    form = {"current": PASSWORD, "password": new, "password_confirm": new}
    assert post(client, "/account/security/password", form).status_code == 422


def test_k1_a_second_factor_is_demanded_at_the_next_request(
    client, make_user, sign_in, choose, other_tenant
):
    sign_in(client, make_user("ann"))
    choose(other_tenant, MFA_DEFAULT_POLICY="required")  # another tenant's is its own affair
    assert client.get("/account").status_code == 200
    choose(MFA_DEFAULT_POLICY="required")
    assert client.get("/account").status_code == 303
    page = client.get("/auth/login").text
    assert "username" in page
    answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.headers["Location"] == "/auth/mfa/enrol"


def test_k1_an_unconfirmed_address_must_be_confirmed(client, make_user, choose):
    make_user("ann", email_verified=False)
    choose(EMAIL_VERIFICATION_REQUIRED=True)
    answer = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.headers["Location"] == "/auth/verify"


def test_l3_settings_cost_a_signed_in_request_no_query(app, client, make_user, sign_in, choose):
    """And a stranger's at most one."""
    sign_in(client, make_user("ann"))
    choose(IAM_BRAND_NAME="Acme", STEP_UP_MINUTES=5)
    client.get("/account")
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_more):
        seen.append(statement)

    engine = app.extensions["sqlalchemy"].engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert "Acme" in client.get("/account").text
        about_tenant = [text for text in seen if re.search(r"FROM .?iam_tenant\b", text)]
        assert not about_tenant
        seen.clear()
        assert "Acme" in app.test_client().get("/auth/login").text
        assert len([text for text in seen if "iam_tenant" in text]) <= 1
    finally:
        event.remove(engine, "before_cursor_execute", note)


# ------------------------------------------------------------------ branding


def test_b3_a_tenant_looks_like_itself(client, choose, make_user, other_tenant, app):
    choose(
        IAM_BRAND_NAME="Acme & Söhne",
        IAM_BRAND_ACCENT="#B00020",
        IAM_BRAND_LOGO_URL="https://cdn.acme.example/logo.svg",
        IAM_SUPPORT_URL="https://acme.example/help?x=1&y=2",
    )
    answer = client.get("/auth/login")
    assert "Acme &amp; Söhne" in answer.text
    assert 'src="https://cdn.acme.example/logo.svg"' in answer.text
    assert "https://acme.example/help?x=1&amp;y=2" in client.get("/auth/signed-out").text
    policy = answer.headers["Content-Security-Policy"]
    assert "img-src 'self' data: https://cdn.acme.example;" in policy
    assert "script-src 'self';" in policy
    assert "/iam-accent/b00020.css" in answer.text
    sheet = client.get("/iam-accent/b00020.css")
    assert sheet.mimetype == "text/css"
    assert "--iam-accent: #b00020;" in sheet.text
    with tenant_scope(other_tenant):
        assert services_notices.brand() == AuthSettings.current().IAM_BRAND_NAME
    make_user("ann")
    post(client, "/auth/password/forgot", {"username": "ann"})
    assert messages("ann@example.com")[0]["subject"] == "Reset your password for Acme & Söhne"


BAD_LOGOS = [
    "http://acme.example/logo.svg",
    "javascript:alert(1)",
    "data:image/svg+xml,<svg/>",
    "//acme.example/logo.svg",
    "https://user:secret@acme.example/x",
    "https://acme.example/x; script-src *",
    "https://acme.example;script-src%20*/x",
    "https://acme.example /x",
    "https://acme.example\r\nSet-Cookie: x=y",
    'https://acme.example/"onerror="x',
    "https://127.0.0.1/x",
    "https://[::1]/x",
    "https://localhost/x",
    "https://acme.example:99999/x",
    "https://*/x",
    "https://*.example/x",
    "https:///x",
    "https:acme.example",
]


@pytest.mark.parametrize("value", BAD_LOGOS)
@pytest.mark.parametrize("name", ["IAM_BRAND_LOGO_URL", "IAM_PRIVACY_URL"])
def test_at_150_an_address_of_a_tenant_is_a_plain_https_one(choose, stored, name, value):
    with pytest.raises(InvalidInput):
        choose(**{name: value})
    assert stored() == {}


@pytest.mark.parametrize(
    "value",
    ["red", "#fff", "#12345g", "#123456;}", "#123456}*{display:none", "url(x)", "#1234567",
     "#123456\n", "＃123456", "#１23456"],
)  # fmt: skip
def test_at_150_an_accent_is_six_digits_and_no_css(client, choose, stored, value):
    with pytest.raises(InvalidInput):
        choose(IAM_BRAND_ACCENT=value)
    assert stored() == {}
    assert client.get(f"/iam-accent/{value[1:].strip()}x.css").status_code in {400, 404}


@pytest.mark.parametrize(
    "value",
    ["Win at evil.com", "https://evil.example", "Acme\r\nBcc: x@y.zz", "<b>Acme</b>", "a@evil.com",
     "x" * 61, "Acme\u202eemca", "Acme\x00", "evil\u3002com", "evil\uff61com", "1.2.3.4",
     "evil.рф", "evil.verm\u00f6gensberatung", "evil.xn--p1ai", "t.me", "+1 900 555 0100 call"],
)  # fmt: skip
def test_at_425_a_brand_is_no_advertisement_and_no_header(choose, stored, value):
    with pytest.raises(InvalidInput):
        choose(IAM_BRAND_NAME=value)
    assert stored() == {}


@pytest.mark.parametrize(
    "value", ["St. Gallen", "F. Meier & Co. KG", "Radio 1055", "Acme 1.2", "24/7 Hilfe", "みんな"]
)
def test_b3_a_brand_with_full_stops_and_numbers_is_a_brand(choose, stored, value):
    choose(IAM_BRAND_NAME=value)
    assert stored() == {"IAM_BRAND_NAME": value}


@pytest.mark.parametrize(
    "colour", ["000000", "ffffff", "ffff00", "0000ff", "777777", "0f5c63", "ff00ff", "00ff7f"]
)
def test_n2_every_accent_can_be_read_on_light_and_dark(colour):
    sheet = accent.stylesheet(accent.parse(colour))
    pages = {0: (245, 246, 246), 1: (24, 32, 37)}
    for number, rule in enumerate(sheet.split("@media")):
        values = {
            name: accent.parse(value)
            for name, value in re.findall(r"--iam-([\w-]+): #(\w+);", rule)
        }
        assert accent.contrast(values["link"], pages[number]) >= 4.5
        assert accent.contrast(values["link"], values["accent-soft"]) >= 4.5
        assert accent.contrast(values["accent"], pages[number]) >= 3
        assert accent.contrast(values["on-accent"], values["accent"]) >= 4.5


def test_at_373_two_changes_at_once_keep_both(choose, stored, scoped):
    """The second reads what the first stored, not what it saw before."""
    with transaction():
        session().get(IAMTenant, scoped)
    choose(IAM_BRAND_NAME="Acme")
    choose(STEP_UP_MINUTES=5)
    assert stored() == {"IAM_BRAND_NAME": "Acme", "STEP_UP_MINUTES": 5}
