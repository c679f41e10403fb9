"""Pages and messages in the reader's language (N1): whose word counts, nothing left in English."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_babel import Babel

from app.auth.accounts import services_accounts, services_notices
from app.auth.models import IAMUserAccount
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.i18n import _, speaking
from app.core.scoping import tenant_scope
from app.iam import IAM
from app.notify import messages, services_outbox
from tests.conftest import SETTINGS, Someone, csrf_of, post

ADMIN = {"roles": ["tenant_admin"], "actor_type": "tenant_admin"}
SPOKEN_ATTRIBUTES = {
    "aria-label", "title", "placeholder", "alt", "data-label", "data-wait-label", "data-copied",
    "data-copy-failed", "data-show", "data-hide", "data-show-label", "data-hide-label",
}  # fmt: skip
# Words that are the same in both languages, beside names, numbers, codes and addresses.
SAME = {
    "de": {
        "Administrator", "Browser", "Code", "Domains", "Export", "Filter", "Info", "Link", "Name",
        "Person", "Status", "System", "(optional)",
    },
    "fr": {
        "Actions", "Code", "Description", "Info", "Message", "Pages", "Session", "Sessions",
        "Administration", "Documentation", "Invitations",
    },
}  # fmt: skip
PROPER = {
    "Identity", "English", "Deutsch", "Français", "UTC", "CSV", "JSON", "NDJSON", "API", "WhatsApp",
    "IAM", "QR", "SMS", "Ann", "ann", "eve", "Phone", "Other", "System: tests",
}  # fmt: skip
ADDRESS = re.compile("@|^Werkzeug/")  # mail addresses, and the test client's name
SKIPPED = {"script", "style", "code", "pre"}


class Visible(HTMLParser):
    """Collects what a person sees or hears of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        hidden = "iam-mono" in (values.get("class") or "") or values.get("id") == "timezone"
        if tag not in {"meta", "link", "input", "br", "img", "hr"}:
            self._open.append("code" if hidden else tag)
        self.found |= {values[name] or "" for name in SPOKEN_ATTRIBUTES & set(values)}

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not SKIPPED & set(self._open):
            self.found.add(" ".join(data.split()))


def spoken(page: str) -> set[str]:
    """Return the texts of a page that hold words."""
    reader = Visible()
    reader.feed(page)
    return {text for text in reader.found if re.search(r"[^\W\d_]{2}", text)}


def in_language(client: FlaskClient, url: str, tag: str) -> str:
    """Return a page as a browser with this preference gets it."""
    answer = client.get(url, headers={"Accept-Language": tag})
    assert answer.status_code == 200, (url, answer.status_code)
    assert f'<html lang="{tag}"' in answer.text
    return str(answer.text)


def left_in_english(client: FlaskClient, url: str, tag: str, *known: str) -> set[str]:
    """Return the texts of a page that are the same in English and in `tag`."""
    texts = spoken(in_language(client, url, "en")) & spoken(in_language(client, url, tag))
    # "Sessions · Identity" is a page's title, "eve · 1 min ago" who and when.
    texts = {part.strip(" ,") for text in texts for part in text.split("·")}
    fine = SAME[tag] | PROPER | set(known)
    return {text for text in texts if text and text not in fine and not ADDRESS.search(text)}


def with_language(make_user: Any, tag: str | None, **fields: Any) -> Someone:
    return make_user("ann", language=tag, **fields)


def account(person: Someone) -> IAMUserAccount:
    return session().scalars(sa.select(IAMUserAccount).where(IAMUserAccount.id == person.id)).one()


def last_mail() -> dict[str, Any]:
    return services_outbox.list_recent(1)[0]


# ------------------------------------------------------------ whose word counts


@pytest.mark.parametrize(
    ("accepted", "tag", "button"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de", "Anmelden"),
        ("fr-CA", "fr", "Se connecter"),
        ("es, fr;q=0.5", "fr", "Se connecter"),
        ("es", "en", "Sign in"),
        ("de;q=0, en;q=0.1", "en", "Sign in"),
        ("../../etc, \x80;q=x", "en", "Sign in"),
        (None, "en", "Sign in"),
    ],
)
def test_n1_the_sign_in_page_speaks_the_browser_s_language(
    client: FlaskClient, accepted: str | None, tag: str, button: str
) -> None:
    headers = {"Accept-Language": accepted} if accepted else {}
    page = client.get("/auth/login", headers=headers)
    assert page.status_code == 200
    assert f'<html lang="{tag}"' in page.text
    assert f"<h1>{button}</h1>" in page.text


def test_n1_a_person_s_own_language_wins(client: FlaskClient, make_user: Any, sign_in: Any) -> None:
    ann = with_language(make_user, "de", mfa="totp")
    post(client, "/auth/login", {"username": "ann", "password": ann.password})
    # Known after the password already; the second step is asked for in their language.
    assert "Code eingeben" in client.get("/auth/mfa/verify").text
    sign_in(client, ann)
    page = client.get("/account", headers={"Accept-Language": "fr"}).text
    assert '<html lang="de"' in page
    assert "<h1>Profil</h1>" in page
    assert "Profil de" not in page


def test_n1_a_language_we_lack_leaves_the_browser_s(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, with_language(make_user, "pt-BR"))
    assert '<html lang="fr"' in client.get("/account", headers={"Accept-Language": "fr"}).text
    assert '<html lang="en"' in client.get("/account").text


def test_n1_a_new_language_counts_from_its_own_confirmation_on(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    answer = post(client, "/account", {"display_name": "Ann", "language": "fr", "timezone": ""})
    assert answer.status_code == 303, answer.text
    page = client.get("/account").text
    assert "Votre profil est enregistré." in page
    assert '<html lang="fr"' in page


def test_n1_one_request_s_language_does_not_leak_into_the_next(client: FlaskClient) -> None:
    assert "Anmelden" in in_language(client, "/auth/login", "de")
    assert "Anmelden" not in in_language(client, "/auth/login", "en")


def test_n1_refusals_speak_the_reader_s_language(client: FlaskClient) -> None:
    german = {"Accept-Language": "de"}
    page = client.get("/auth/password/reset/nothing", headers=german)
    assert "Dieser Link funktioniert nicht mehr" in page.text
    page = client.get("/nowhere", headers=german)
    assert (page.status_code, "Hier gibt es keine Seite." in page.text) == (404, True)
    token = csrf_of(client.get("/auth/login", headers=german).text)
    typed = {"username": "ann", "password": "wrong", "csrf_token": token}
    page = client.post("/auth/login", data=typed, headers=german)
    assert "Benutzername und Passwort passen nicht zusammen." in page.text
    problem = client.get("/account", headers={**german, "Accept": "application/json"})
    assert (problem.json["type"], problem.json["title"]) == (
        "urn:iam:auth.required",
        "Bitte melden Sie sich an",
    )


def test_n1_a_host_s_own_selector_decides_where_there_is_one(database_url: str) -> None:
    host = Flask("host")
    host.config.update(SETTINGS, DATABASE_URL=database_url, SECRET_KEY="x" * 40)
    Babel(host, locale_selector=lambda: "fr")
    IAM(host)
    page = host.test_client().get("/auth/login", headers={"Accept-Language": "de"}).text
    assert '<html lang="fr"' in page
    assert "Se connecter" in page


# --------------------------------------------------------- nothing left in English


@pytest.mark.parametrize("tag", ["de", "fr"])
def test_n1_no_page_of_a_sign_in_is_mixed(client: FlaskClient, make_user: Any, tag: str) -> None:
    for url in ("/", "/auth/login", "/auth/password/forgot", "/auth/password/reset/x"):
        status = client.get(url).status_code
        if status == 200:
            assert not left_in_english(client, url, tag), url
    ann = make_user("ann", mfa="totp")
    post(client, "/auth/login", {"username": "ann", "password": ann.password})
    for url in ("/auth/mfa/verify", "/auth/mfa/choose"):
        assert not left_in_english(client, url, tag), url


@pytest.mark.parametrize("tag", ["de", "fr"])
def test_n1_no_page_of_an_account_is_mixed(
    client: FlaskClient, make_user: Any, sign_in: Any, tag: str
) -> None:
    sign_in(client, make_user("ann", mfa="totp"))
    pages = ["", "/security", "/security/password", "/security/totp", "/security/email",
             "/sessions", "/devices"]  # fmt: skip
    for page in pages:
        assert not left_in_english(client, f"/account{page}", tag), page


@pytest.mark.parametrize("tag", ["de", "fr"])
def test_n1_no_page_of_the_administration_is_mixed(
    client: FlaskClient, make_user: Any, sign_in: Any, tag: str
) -> None:
    eve = make_user("eve", mfa="totp", **ADMIN)
    sign_in(client, eve)
    role = re.search(r'href="(/admin/roles/[0-9a-f-]{36})"', client.get("/admin/roles").text)
    event = re.search(
        r'href="(/admin/audit/logs/[0-9a-f-]{36})"', client.get("/admin/audit/logs").text
    )
    assert role
    assert event
    roles = ("auditor", "client_admin", "developer", "editor", "operator", "partner_admin",
             "super_admin", "tenant_admin", "user_manager", "viewer")  # fmt: skip
    for url in ("/admin", "/admin/users", "/admin/users/new", f"/admin/users/{eve.id}",
                f"/admin/users/{eve.id}/suspend", "/admin/roles", "/admin/roles/new", role[1],
                "/admin/sessions", "/admin/audit/logs", event[1]):  # fmt: skip
        assert not left_in_english(client, url, tag, *roles), url


# ------------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    ("tag", "subject", "text"),
    [
        ("de", "Ihr Passwort wurde geändert: ", "Das Passwort Ihres Kontos wurde geändert."),
        ("fr", "Votre mot de passe a été modifié\u00a0: ", "Ce n’était pas moi"),
        ("en", "Your password was changed: ", "This was not me"),
    ],
)
def test_n1_a_notice_is_in_its_recipient_s_language_without_any_request(
    scoped: Any, make_user: Any, actor: Actor, tag: str, subject: str, text: str
) -> None:
    ann = with_language(make_user, tag)
    with transaction():
        services_notices.password_changed(account(ann), at=clock.now(), actor=actor)
    mail = last_mail()
    assert mail["subject"].startswith(subject)
    assert text in mail["body"]
    assert _("Sign in") == "Sign in"


def test_n1_a_mail_that_another_person_causes_is_still_the_recipient_s(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    eve = make_user("eve", mfa="totp", language="fr", **ADMIN)
    ann = with_language(make_user, "de")
    sign_in(client, eve)
    answer = post(
        client, f"/admin/users/{ann.id}/suspend", {"reason": "a test"},
        headers={"Accept-Language": "fr"},
    )  # fmt: skip
    assert answer.status_code == 303, answer.text
    mail = last_mail()
    assert mail["subject"].startswith("Ihr Konto wurde gesperrt")
    assert "suspendu" not in mail["body"]
    assert "suspendu" in client.get(answer.location).text  # and the page stays the reader's


def test_n1_without_a_known_language_a_mail_speaks_as_the_page_did(
    client: FlaskClient, make_user: Any
) -> None:
    make_user("ann")
    german = {"Accept-Language": "de"}
    post(client, "/auth/password/forgot", {"username": "ann"}, headers=german)
    assert last_mail()["subject"].startswith("Setzen Sie Ihr Passwort")


def test_n1_a_mail_names_its_language(app: Flask) -> None:
    with speaking("fr"):
        message = messages.account_suspended("ann@example.com", brand="Shop", at=clock.now())
    assert '<html lang="fr">' in str(message.body_html)


# --------------------------------------------------------------------------- times


def test_n1_times_follow_the_person_s_zone_and_stay_utc_for_programs(
    client: FlaskClient, make_user: Any, sign_in: Any, tenant: Any
) -> None:
    ann = with_language(make_user, "de")
    with tenant_scope(tenant), transaction():
        user = services_accounts.get_user(ann.id)
        user.timezone = "Asia/Kathmandu"
        user.created_at = datetime(2026, 5, 1, 20, 30, tzinfo=UTC)
    sign_in(client, ann)
    page = client.get("/account").text
    shown = re.search(r'<time datetime="(2026-05-01T20:30:00[^"]*)">([^<]+)</time>', page)
    assert shown
    assert datetime.fromisoformat(shown[1]) == datetime(2026, 5, 1, 20, 30, tzinfo=UTC)
    assert shown[2] == "2. Mai 2026, 02:15 UTC+05:45"
