"""Administration of single sign-on over HTTP: connections, their secrets, tests and rules (G4).

AT-194 and AT-197 on the administrator's side; what happens at a sign-in is tested elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from app.audit.models import IAMAuthLog
from app.auth.models import (
    IAMDomain,
    IAMSsoConnection,
    IAMSsoRoleRule,
    IAMSsoSession,
    IAMUserAccount,
    IAMUserIdentity,
    IAMUserRole,
)
from app.auth.sso import services_connections
from app.auth.sso.admin import services_connection_admin as admin
from app.auth.sso.settings_sso import SsoSettings
from app.auth.sso.userinfo import UserInfo
from app.authz import services_rbac
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope, unscoped
from tests.bench.measure import statements
from tests.conftest import Someone, csrf_of, post
from tests.support.lying_provider import LyingProvider, no_keys
from tests.support.settings import changed
from tests.support.social_servers import GitHubServer
from tests.support.sso import (
    add_domain,
    leave_and_return,
    link_identity,
    make_connection,
    path_of,
    sign_in_through,
    start,
)

SECRET = "canary-secret-of-the-connection-4711"
NEW_SECRET = "canary-secret-number-two-0815"
DISCOVERY = "https://idp.acme.example/.well-known/openid-configuration"
FORM = {
    "name": "Acme",
    "slug": "acme",
    "client_id": "our-client",
    "client_secret": SECRET,
    "discovery_url": DISCOVERY,
    "jit": "off",
    "end_sessions": "y",
}
OF_ONE = ("edit", "rotate", "delete", "enable", "disable", "default", "test", "try", "rules")


class Desk:
    """An administrator at the pages of connections."""

    def __init__(self, client: FlaskClient, person: Someone, tenant: UUID) -> None:
        self.client = client
        self.person = person
        self.tenant = tenant

    def create(self, provider: str = "oidc", **data: str) -> Any:
        """Send the form of a new connection."""
        values = {name: value for name, value in {**FORM, **data}.items() if value != "-"}
        return post(self.client, f"/admin/connections/new?provider={provider}", values)

    def made(self, **data: str) -> str:
        """Set a connection up; return the address of its page."""
        answer = self.create(**data)
        assert answer.status_code == 303, answer.text
        return str(answer.location)

    def act(self, home: str, act: str, **data: str) -> Any:
        """Press a button of a connection's page, offered or not."""
        return post(self.client, f"{home}/{act}", data, page="/admin/connections")

    def edit(self, home: str, **data: str) -> Any:
        """Send the form of a change, without a secret unless one is given."""
        values = {name: value for name, value in FORM.items() if name not in {"slug"}}
        values = {**values, "client_secret": "", **data}
        kept = {name: value for name, value in values.items() if value != "-"}
        return post(self.client, f"{home}/edit", kept)

    def row(self, slug: str = "acme") -> IAMSsoConnection:
        """Return a connection as stored now."""
        session().rollback()
        with tenant_scope(self.tenant):
            found = session().scalar(select(IAMSsoConnection).where(IAMSsoConnection.slug == slug))
            assert found is not None
            return found

    def text(self, url: str) -> str:
        """Return the words of a page."""
        answer = self.client.get(url)
        assert answer.status_code == 200, answer.text
        return str(answer.text)


@pytest.fixture
def desk_of(
    app: Flask, tenant: UUID, make_user: Callable[..., Someone], sign_in: Callable[..., Any]
) -> Callable[..., Desk]:
    """Return a factory of signed-in people: `desk_of("tenant_admin")`."""

    def enter(*roles: str, username: str = "root") -> Desk:
        person = make_user(username, roles=roles, mfa="totp")
        client = app.test_client()
        sign_in(client, person)
        return Desk(client, person, tenant)

    return enter


@pytest.fixture
def desk(desk_of: Callable[..., Desk]) -> Desk:
    """Return a tenant administrator."""
    return desk_of("tenant_admin")


@pytest.fixture
def provider() -> Iterator[LyingProvider]:
    """Return a provider on loopback."""
    with LyingProvider() as running:
        yield running


@pytest.fixture(autouse=True)
def as_delivered(app: Flask) -> Iterator[None]:
    """Let no connection reach inner networks, as an installation does that says nothing."""
    with changed(app, SsoSettings, SSO_ALLOW_PRIVATE=False):
        yield


@pytest.fixture
def private(app: Flask) -> Iterator[None]:
    """Let connections reach loopback."""
    with changed(app, SsoSettings, SSO_ALLOW_PRIVATE=True):
        yield


def local(provider: LyingProvider, **data: str) -> dict[str, str]:
    """Return the form of a connection to a provider on loopback."""
    return {
        "client_id": provider.client_id,
        "client_secret": provider.client_secret,
        "discovery_url": provider.discovery_url,
        "allow_private": "y",
        **data,
    }


def steps_of(page: str) -> list[tuple[str, str]]:
    """Return (label, result) of each step on a page."""
    found = re.findall(
        r'class="iam-step-(\w+)">.*?iam-list-title"><span>([^<]+)</span>', page, re.DOTALL
    )
    return [(label, state) for state, label in found]


# ------------------------------------------------------------------ who may


def test_l1_each_page_asks_for_its_right(desk: Desk, desk_of: Callable[..., Desk]) -> None:
    home = desk.made()
    reader = desk_of("auditor", username="grace")
    assert reader.client.get("/admin/connections").status_code == 200
    page = reader.text(home)
    for act in OF_ONE:
        assert f"{home}/{act}" not in page
    token = csrf_of(reader.client.get("/account").text)
    for act in OF_ONE:
        answer = reader.client.post(f"{home}/{act}", data={"csrf_token": token})
        assert answer.status_code == 403, act
    assert reader.client.get("/admin/connections/new").status_code == 403
    assert reader.client.get(f"{home}/tried").status_code == 403
    assert desk_of("viewer", username="vic").client.get(home).status_code == 403
    assert not desk.row().enabled


def test_l1_changes_need_fresh_proof(desk: Desk, app: Flask) -> None:
    home = desk.made()
    with clock.travel(timedelta(minutes=20)):
        token = csrf_of(desk.client.get("/account").text)
        answer = desk.client.post(f"{home}/enable", data={"csrf_token": token})
        assert answer.status_code == 303
        assert "purpose=admin.connections" in answer.location
        page = desk.client.get(answer.location, follow_redirects=True)
        assert "change connections" in page.text
    assert not desk.row().enabled


def test_at_194_another_tenants_connection_is_not_there(
    app: Flask, desk: Desk, other_tenant: UUID
) -> None:
    theirs = make_connection(app, "https://idp.example", tenant_id=other_tenant, name="Theirs")
    home = f"/admin/connections/{theirs.id}"
    for url in (home, f"{home}/edit", f"{home}/rotate", f"{home}/delete", f"{home}/tried"):
        assert desk.client.get(url).status_code == 404, url
    data = {"name": "Theirs", "client_secret": NEW_SECRET, "claim": "groups", "value": "x"}
    data |= {"role": role_id(desk, "viewer")}
    for act in (*OF_ONE, f"rules/{theirs.id}/remove"):
        answer = desk.act(home, act, **data)
        assert answer.status_code == 404, act
        assert "Theirs" not in answer.text
    assert "Theirs" not in desk.text("/admin/connections")
    with tenant_scope(other_tenant):
        (row,) = admin.connections()
        assert (row.enabled, row.name) == (True, "Theirs")
        assert services_connections.as_value(row) == theirs
        session().rollback()


def test_a_rule_of_another_connection_is_not_removed_by_this_one(desk: Desk, tenant: UUID) -> None:
    one, other = desk.made(), desk.made(slug="other", name="Other")
    role = role_id(desk, "viewer")
    assert desk.act(one, "rules", claim="groups", value="staff", role=role).status_code == 303
    with tenant_scope(tenant):
        rule = session().scalars(select(IAMSsoRoleRule.id)).one()
        session().rollback()
    assert desk.act(other, f"rules/{rule}/remove").status_code == 404
    assert desk.act(one, f"rules/{rule}/remove").status_code == 303
    assert desk.act(one, f"rules/{rule}/remove").status_code == 404


# ------------------------------------------------------------------ set up


def test_g4_a_connection_is_set_up_disabled_and_shows_what_to_copy(
    desk: Desk, audit_rows: Any
) -> None:
    page = desk.text("/admin/connections/new")
    for title in ("OpenID Connect", "Microsoft Entra ID", "Google", "GitHub", "Facebook", "Apple"):
        assert title in page
    home = desk.made()
    page = desk.text(home)
    assert "http://localhost/auth/sso/acme/callback" in page
    assert "http://localhost/auth/sso/acme/backchannel-logout" in page
    assert DISCOVERY in page
    row = desk.row()
    assert (row.enabled, row.is_default, row.from_settings, row.jit) == (False, False, False, "off")
    assert "Acme" not in desk.client.get("/auth/login").text
    (event,) = audit_rows("SSO_CONNECTION_CREATED")
    assert event.actor_id == desk.person.id
    assert event.changes["client_id"] == [None, "our-client"]
    assert event.changes["discovery_url"] == [None, DISCOVERY]


@pytest.mark.parametrize("slug", ["login", "discover", "link", "Acme", "a_b", "-a", "a-", "a" * 64])
def test_a_short_name_that_would_not_do_is_refused(desk: Desk, slug: str) -> None:
    """`/auth/sso/login` and its like are routes; the rest would not stand in a path as it is."""
    answer = desk.create(slug=slug)
    assert answer.status_code == 422
    assert "iam-field-bad" in answer.text


def test_a_short_name_is_one_connections_and_never_changes(desk: Desk) -> None:
    home = desk.made()
    answer = desk.create(name="Another")
    assert answer.status_code == 409
    assert "Another connection has this short name" in answer.text
    assert 'name="slug"' not in desk.text(f"{home}/edit")
    assert desk.edit(home, slug="changed").status_code == 303
    assert desk.row("acme").name == "Acme"


def test_two_tenants_may_use_one_short_name(app: Flask, desk: Desk, other_tenant: UUID) -> None:
    make_connection(app, "https://idp.example", tenant_id=other_tenant, slug="acme")
    assert desk.made()


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.acme.example/.well-known/openid-configuration",
        "https://user:secret@idp.acme.example/.well-known/openid-configuration",
        "https://idp.acme.example/.well-known/openid-configuration#x",
        "ftp://idp.acme.example/.well-known/openid-configuration",
        "javascript:alert(1)//.well-known/openid-configuration",
        "https:///.well-known/openid-configuration",
        "https://idp.acme.example:99999/.well-known/openid-configuration",
        "https://idp.acme.example/elsewhere",
        "-",
    ],
)
def test_an_address_that_would_not_do_is_refused(desk: Desk, url: str) -> None:
    answer = desk.create(discovery_url=url)
    assert answer.status_code == 422
    assert SECRET not in answer.text


def test_what_a_provider_asks_for_is_asked_for(desk: Desk) -> None:
    page = desk.text("/admin/connections/new?provider=azure")
    assert 'name="option_tenants"' in page
    refused = desk.create("azure", discovery_url="-")
    assert refused.status_code == 422
    tenants = "11111111-2222-3333-4444-555555555555"
    answer = desk.create("azure", discovery_url="-", option_tenants=tenants)
    assert answer.status_code == 303
    assert desk.row().options == {"tenants": tenants}
    assert tenants in desk.text(answer.location)


def test_what_no_provider_asks_for_is_not_stored(desk: Desk) -> None:
    home = desk.made(
        option_tenants="x", endpoint_emails_endpoint="https://x.example", tenant_id="x"
    )
    assert desk.client.get(home).status_code == 200
    assert (desk.row().options, desk.row().endpoints) == ({}, {})


def test_an_apple_key_of_many_lines_is_taken(desk: Desk) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIGTAgEAMBMG\nByqGSM49\n-----END PRIVATE KEY-----"
    page = desk.text("/admin/connections/new?provider=apple")
    assert "Private key (PEM)" in page
    answer = desk.create(
        "apple", discovery_url="-", client_secret=pem, option_team_id="T1", option_key_id="K1"
    )
    assert answer.status_code == 303, answer.text
    row = desk.row()
    with tenant_scope(desk.tenant):
        value = services_connections.as_value(row)
    assert value is not None
    assert value.client_secret.splitlines() == pem.splitlines()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scopes", "email profile"),
        ("scopes", 'openid "quoted"'),
        ("client_id", "with space"),
        ("attribute_display_name", "two words"),
        ("jit", "everybody"),
        ("name", ""),
        ("name", "https://evil.example"),
    ],
)
def test_a_value_that_would_not_do_is_refused_at_its_field(
    desk: Desk, name: str, value: str
) -> None:
    answer = desk.create(**{name: value})
    assert answer.status_code == 422
    assert "iam-field-bad" in answer.text
    assert SECRET not in answer.text


# ------------------------------------------------------------------ AT-197: inner addresses


def test_at_197_a_tenant_cannot_let_a_connection_reach_inner_networks(
    desk: Desk, provider: LyingProvider
) -> None:
    """Only the installation's setting can; the box is not offered and not taken."""
    page = desk.text("/admin/connections/new?provider=oidc")
    assert 'name="allow_private"' not in page
    assert "SSO_ALLOW_PRIVATE" in page
    answer = desk.create(**local(provider))
    assert answer.status_code == 422
    assert "does not let connections reach private networks" in answer.text
    assert not provider.seen


def test_at_197_with_the_setting_it_may_be_ticked(
    desk: Desk, provider: LyingProvider, private: None
) -> None:
    assert 'name="allow_private"' in desk.text("/admin/connections/new?provider=oidc")
    home = desk.made(**local(provider))
    assert desk.row().allow_private
    assert "May reach private networks" in desk.text(home)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "localhost"])
def test_at_197_an_inner_address_is_not_connected_to(desk: Desk, host: str) -> None:
    home = desk.made(discovery_url=f"https://{host}/.well-known/openid-configuration")
    page = desk.act(home, "test").text
    assert steps_of(page)[0] == ("Address", "bad")
    assert "private network" in page


def test_at_197_an_override_is_held_to_the_same_rules(desk: Desk) -> None:
    answer = desk.create(endpoint_jwks_uri="http://169.254.169.254/latest/meta-data")
    assert answer.status_code == 422
    home = desk.made(endpoint_jwks_uri="https://keys.acme.example/jwks")
    assert desk.edit(home, endpoint_jwks_uri="http://10.0.0.1/").status_code == 422
    assert desk.row().endpoints == {"jwks_uri": "https://keys.acme.example/jwks"}


# ------------------------------------------------------------------ change


def test_g4_a_connection_is_changed(desk: Desk, audit_rows: Any) -> None:
    home = desk.made()
    answer = desk.edit(
        home, name="Acme staff", jit="domains", trusts_mfa="y", end_sessions="-",
        provider_logout="y", attribute_display_name="name", attribute_organization="company",
    )  # fmt: skip
    assert answer.status_code == 303, answer.text
    row = desk.row()
    assert (row.name, row.jit, row.trusts_mfa, row.end_sessions, row.provider_logout) == (
        "Acme staff", "domains", True, False, True,
    )  # fmt: skip
    assert row.attributes == {"display_name": "name", "organization": "company"}
    (event,) = audit_rows("SSO_CONNECTION_CHANGED")
    assert event.changes["name"] == ["Acme", "Acme staff"]
    assert "client_id" not in event.changes
    page = desk.text(f"{home}/edit")
    assert 'value="company"' in page


def test_saving_without_a_change_leaves_no_trace(desk: Desk, audit_rows: Any) -> None:
    home = desk.made()
    assert desk.edit(home).status_code == 303
    assert not audit_rows("SSO_CONNECTION_CHANGED")


@pytest.mark.parametrize(
    "change",
    [
        {"discovery_url": "https://evil.example/.well-known/openid-configuration"},
        {"endpoint_token_endpoint": "https://evil.example/token"},
        {"client_id": "another-client"},
        {"option_mfa_acr": "strong"},
    ],
)
def test_who_leads_a_connection_elsewhere_must_know_its_secret(
    desk: Desk, change: dict[str, str]
) -> None:
    """Otherwise the stored secret would be sent to whatever token endpoint somebody types."""
    home = desk.made()
    answer = desk.edit(home, **change)
    assert answer.status_code == 422
    assert "Enter the secret again" in answer.text
    assert (desk.row().discovery_url, desk.row().client_id) == (DISCOVERY, "our-client")
    assert desk.edit(home, **change, client_secret=NEW_SECRET).status_code == 303


def linked(app: Flask, tenant: UUID, person: Someone) -> None:
    """Link somebody to the connection `acme`."""
    with app.app_context(), tenant_scope(tenant):
        connection = services_connections.find("acme")
        session().rollback()
    info = UserInfo("https://idp.acme.example", person.username, email=person.email)
    link_identity(app, connection, person.id, info)


@pytest.mark.parametrize("what", ["identity", "rule", "domain"])
@pytest.mark.parametrize(
    "change",
    [
        {"discovery_url": "https://evil.example/.well-known/openid-configuration"},
        {"endpoint_jwks_uri": "https://evil.example/keys"},
        {"endpoint_issuer": "https://evil.example"},
    ],
)
def test_at_194_where_answers_come_from_is_fixed_once_something_depends_on_it(
    app: Flask, desk: Desk, make_user: Callable[..., Someone], tenant: UUID, what: str,
    change: dict[str, str],
) -> None:  # fmt: skip
    """Otherwise another provider would speak for the people linked, and give the rules' roles."""
    home = desk.made()
    desk.act(home, "enable")
    if what == "identity":
        linked(app, tenant, make_user("ann"))
    elif what == "rule":
        data = {"claim": "groups", "value": "staff", "role": role_id(desk, "viewer")}
        assert desk.act(home, "rules", **data).status_code == 303
    else:
        with app.app_context(), tenant_scope(tenant):
            connection = services_connections.find("acme")
            session().rollback()
        add_domain(app, "acme.example", connection)
    answer = desk.edit(home, **change, client_secret=NEW_SECRET)
    assert answer.status_code == 409
    assert "Set up another connection for the new address" in answer.text
    assert (desk.row().discovery_url, desk.row().endpoints) == (DISCOVERY, {})
    assert desk.edit(home, name="Acme staff").status_code == 303


def test_at_194_trust_for_two_factors_needs_the_rights_of_the_people_linked(
    app: Flask, desk: Desk, desk_of: Callable[..., Desk], make_user: Callable[..., Someone],
    tenant: UUID,
) -> None:  # fmt: skip
    home = desk.made()
    desk.act(home, "enable")
    linked(app, tenant, make_user("ann", roles=("tenant_admin",)))
    assert desk.edit(home, trusts_mfa="y").status_code == 303
    assert desk.edit(home).status_code == 303
    linked(app, tenant, make_user("boss", roles=("super_admin",)))
    assert desk.edit(home, trusts_mfa="y").status_code == 403
    assert desk.edit(home, option_mfa_acr="gold", client_secret=NEW_SECRET).status_code == 403
    assert (desk.row().trusts_mfa, desk.row().options) == (False, {})
    above = desk_of("super_admin", username="chief")
    assert above.edit(home, trusts_mfa="y").status_code == 303


def test_at_194_another_client_is_named_by_who_could_give_the_roles_of_the_rules(
    desk: Desk, desk_of: Callable[..., Desk], tenant: UUID, actor: Actor
) -> None:
    connector(actor, tenant)
    home = desk.made()
    data = {"claim": "groups", "value": "staff", "role": role_id(desk, "user_manager")}
    assert desk.act(home, "rules", **data).status_code == 303
    lesser = desk_of("connector", username="conn")
    change = {"client_id": "another", "client_secret": NEW_SECRET}
    assert lesser.edit(home, **change).status_code == 403
    assert desk.row().client_id == "our-client"
    assert lesser.edit(home, name="Acme staff").status_code == 303
    assert desk.edit(home, **change).status_code == 303


def connector(actor: Actor, tenant: UUID, *more: str) -> None:
    """Make a role that may change connections, and no more than is named."""
    names = ("admin:access", "connection:read", "connection:update", *more)
    with tenant_scope(tenant), transaction():
        role = services_rbac.create_role("connector", actor_grants=None, actor=actor)
        services_rbac.set_role_permissions(
            role, dict.fromkeys(names, "tenant"), actor_grants=None, actor=actor
        )


def test_at_194_a_connection_is_deleted_by_who_could_take_its_rules_roles(
    desk: Desk, desk_of: Callable[..., Desk], tenant: UUID, actor: Actor
) -> None:
    connector(actor, tenant, "connection:delete")
    home = desk.made()
    data = {"claim": "groups", "value": "staff", "role": role_id(desk, "user_manager")}
    assert desk.act(home, "rules", **data).status_code == 303
    lesser = desk_of("connector", username="conn")
    assert lesser.act(home, "delete", name="Acme").status_code == 403
    assert desk.row()
    assert desk.act(home, "delete", name="Acme").status_code == 303


def test_at_181_what_is_under_way_does_not_come_back_to_another_address(
    desk: Desk, client: FlaskClient, provider: LyingProvider, private: None
) -> None:
    """The code and its verifier would be sent there."""
    home = desk.made(**local(provider))
    desk.act(home, "enable")
    callback = path_of(provider.authorize(start(client, "acme")))
    with LyingProvider() as other:
        assert desk.edit(home, **local(other)).status_code == 303
        assert client.get(callback).status_code == 400
        assert not other.requests["token"]


def test_at_197_the_operator_has_the_last_word_on_private_networks(
    app: Flask, desk: Desk, client: FlaskClient, provider: LyingProvider, private: None
) -> None:
    home = desk.made(**local(provider))
    desk.act(home, "enable")
    assert "May reach private networks" in desk.text(home)
    asked = provider.requests["discovery"]
    with changed(app, SsoSettings, SSO_ALLOW_PRIVATE=False):
        assert "May reach private networks" not in desk.text(home)
        assert client.get("/auth/sso/acme/login").status_code == 503
    assert provider.requests["discovery"] == asked


def test_a_short_name_of_the_settings_is_taken(app: Flask, desk: Desk) -> None:
    """Else it would hide the button that the operator set up, and be taken for it."""
    with changed(app, SsoSettings, GITHUB_CLIENT_ID="id", GITHUB_CLIENT_SECRET="secret"):
        answer = desk.create(slug="github")
        assert answer.status_code == 409
        assert "Another connection has this short name" in answer.text
    assert desk.create(slug="github").status_code == 303


def test_the_address_after_logout_is_shown_where_the_provider_is_told(desk: Desk) -> None:
    home = desk.made()
    assert "/auth/signed-out" not in desk.text(home)
    assert desk.edit(home, provider_logout="y").status_code == 303
    assert "http://localhost/auth/signed-out" in desk.text(home)


def test_m4_the_trail_names_the_connection(desk: Desk) -> None:
    home = desk.made()
    desk.act(home, "enable")
    words = " ".join(re.sub(r"<[^>]+>", " ", desk.text("/admin/audit/logs")).split())
    assert "A connection for single sign-on was enabled Connection: acme" in words


# ------------------------------------------------------------------ secrets


def test_a_secret_is_never_shown_logged_or_recorded(
    desk: Desk, tenant: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    refused = desk.create(slug="login")
    home = desk.made()
    bad = desk.act(home, "rotate", client_secret=NEW_SECRET + "\u20ac")
    pages = [refused.text, bad.text]
    pages += [desk.text(url) for url in (home, f"{home}/edit", f"{home}/rotate", f"{home}/delete")]
    pages.append(desk.act(home, "test").text)
    assert desk.act(home, "rotate", client_secret=NEW_SECRET).status_code == 303
    pages += [desk.text(url) for url in ("/admin/connections", home, "/admin/audit/logs")]
    with unscoped("the test looks at every row"):
        rows = session().scalars(select(IAMAuthLog)).all()
        trail = json.dumps([[row.changes, row.details, row.error] for row in rows], default=str)
        stored = session().scalars(select(IAMSsoConnection.client_secret)).one()
        session().rollback()
    for secret in (SECRET, NEW_SECRET):
        assert not [page for page in pages if secret in page]
        assert secret not in trail
        assert secret not in (stored or "")
        assert secret not in caplog.text
    assert "Stored, changed" in desk.text(home)


def test_the_field_of_the_secret_is_no_place_for_a_browser_to_fill(desk: Desk) -> None:
    page = desk.text("/admin/connections/new?provider=oidc")
    field = re.search(r"<textarea[^>]*name=\"client_secret\"[^>]*>", page)
    assert field
    assert 'autocomplete="off"' in field.group()


def test_g4_a_new_secret_counts_at_once(desk: Desk, audit_rows: Any) -> None:
    home = desk.made()
    before = desk.row().secret_changed_at
    assert desk.act(home, "rotate", client_secret="").status_code == 422
    assert desk.act(home, "rotate", client_secret=NEW_SECRET).status_code == 303
    row = desk.row()
    with tenant_scope(desk.tenant):
        value = services_connections.as_value(row)
    assert value is not None
    assert value.client_secret == NEW_SECRET
    assert before is not None
    assert row.secret_changed_at is not None
    assert row.secret_changed_at > before
    (event,) = audit_rows("SSO_SECRET_ROTATED")
    assert event.changes == {}


def test_a_secret_of_another_row_does_not_decrypt(desk: Desk, tenant: UUID) -> None:
    """AT-474: what was encrypted for one connection is worth nothing in another."""
    from app.core.crypto import DecryptionFailed

    desk.made()
    desk.made(slug="other", name="Other")
    moved = desk.row("acme").client_secret
    with tenant_scope(tenant):
        row = desk.row("other")
        row.client_secret = moved
        with pytest.raises(DecryptionFailed):
            services_connections.as_value(row)
        session().rollback()


# ------------------------------------------------------------------ enable, default, disable


def test_g4_a_connection_is_enabled_and_made_the_default(desk: Desk, audit_rows: Any) -> None:
    home, other = desk.made(), desk.made(slug="other", name="Other")
    assert desk.act(home, "default").status_code == 409
    for page in (home, other):
        assert desk.act(page, "enable").status_code == 303
        assert desk.act(page, "default").status_code == 303
    assert [desk.row(slug).is_default for slug in ("acme", "other")] == [False, True]
    assert "Acme" in desk.client.application.test_client().get("/auth/login").text
    assert len(audit_rows("SSO_CONNECTION_ENABLED")) == 2
    assert desk.act(home, "enable").status_code == 303
    assert len(audit_rows("SSO_CONNECTION_ENABLED")) == 2
    assert desk.act(other, "disable").status_code == 303
    assert not desk.row("other").is_default


def signed_in_by(app: Flask, provider: LyingProvider, person: Someone, **changes: Any) -> Any:
    """Return a browser signed in through a connection, and the connection."""
    connection = make_connection(app, provider.url, **changes)
    info = UserInfo(provider.issuer, "ann-1", email=person.email, email_verified=True)
    link_identity(app, connection, person.id, info)
    browser = app.test_client()
    answer = sign_in_through(browser, provider, sub="ann-1", email=person.email)
    assert answer.status_code == 303, answer.text
    assert browser.get("/account").status_code == 200
    return browser, connection


@pytest.mark.usefixtures("private")
def test_g4_disabling_ends_its_sessions_at_once(
    app: Flask, desk: Desk, make_user: Callable[..., Someone], provider: LyingProvider,
    sign_in: Callable[..., Any], audit_rows: Any,
) -> None:  # fmt: skip
    ann = make_user("ann")
    by_password = app.test_client()
    sign_in(by_password, ann)
    browser, connection = signed_in_by(app, provider, ann)
    home = f"/admin/connections/{connection.id}"
    assert desk.act(home, "disable").status_code == 303
    assert browser.get("/account").status_code == 303
    assert by_password.get("/account").status_code == 200
    assert app.test_client().get("/auth/sso/peer/login").status_code == 404
    (event,) = audit_rows("SSO_CONNECTION_DISABLED")
    assert event.details["count"] == 1
    assert desk.act(home, "enable").status_code == 303
    assert browser.get("/account").status_code == 303


@pytest.mark.usefixtures("private")
def test_g4_where_the_policy_says_so_sessions_stay(
    app: Flask, desk: Desk, make_user: Callable[..., Someone], provider: LyingProvider,
    audit_rows: Any,
) -> None:  # fmt: skip
    browser, connection = signed_in_by(app, provider, make_user("ann"), end_sessions=False)
    assert desk.act(f"/admin/connections/{connection.id}", "disable").status_code == 303
    assert browser.get("/account").status_code == 200
    assert audit_rows("SSO_CONNECTION_DISABLED")[0].details["count"] == 0


# ------------------------------------------------------------------ delete


@pytest.mark.usefixtures("private")
def test_g4_deleting_says_how_many_are_linked_and_takes_everything_along(
    app: Flask, desk: Desk, make_user: Callable[..., Someone], provider: LyingProvider,
    tenant: UUID, audit_rows: Any,
) -> None:  # fmt: skip
    ann = make_user("ann")
    browser, connection = signed_in_by(app, provider, ann)
    add_domain(app, "acme.example", connection)
    home = f"/admin/connections/{connection.id}"
    role = role_id(desk, "viewer")
    assert desk.act(home, "rules", claim="groups", value="staff", role=role).status_code == 303
    provider.person(sub="ann-1", email=ann.email, groups=["staff"])
    other = app.test_client()
    assert sign_in_through(other, provider).status_code == 303
    assert roles_of(tenant, ann.id) == {"viewer"}

    page = desk.text(f"{home}/delete")
    assert "Linked people: 1." in page
    assert desk.act(home, "delete", name="peer").status_code == 422
    assert browser.get("/account").status_code == 200
    assert desk.act(home, "delete", name="Peer").status_code == 303

    assert browser.get("/account").status_code == 303
    assert desk.client.get(home).status_code == 404
    assert roles_of(tenant, ann.id) == set()
    with tenant_scope(tenant):
        session().rollback()
        for model in (IAMUserIdentity, IAMSsoSession, IAMSsoRoleRule, IAMSsoConnection):
            assert not session().scalars(select(model)).all(), model
        assert session().scalars(select(IAMDomain.connection_id)).one() is None
        assert session().scalars(select(IAMUserAccount.status)).all() == ["active", "active"]
    (event,) = audit_rows("SSO_CONNECTION_DELETED")
    assert event.details["count"] == 1


# ------------------------------------------------------------------ from the settings


@pytest.fixture
def configured(app: Flask) -> Iterator[None]:
    """Set GitHub up by the settings."""
    with changed(app, SsoSettings, GITHUB_CLIENT_ID="of-settings", GITHUB_CLIENT_SECRET=SECRET):
        yield


def test_a_connection_of_the_settings_keeps_its_client(
    desk: Desk, configured: None, tenant: UUID
) -> None:
    page = desk.text("/admin/connections")
    assert "GitHub" in page
    home = f"/admin/connections/{desk.row('github').id}"
    page = desk.text(home)
    assert "of-settings" in page
    assert SECRET not in page
    assert f"{home}/rotate" not in page
    assert f"{home}/delete" not in page
    assert 'name="client_id"' not in desk.text(f"{home}/edit")
    answer = desk.edit(home, name="Our GitHub", jit="invited", client_id="changed")
    assert answer.status_code == 303, answer.text
    row = desk.row("github")
    assert (row.name, row.jit, row.client_id, row.client_secret) == (
        "Our GitHub", "invited", None, None,
    )  # fmt: skip
    assert desk.client.get(f"{home}/rotate").status_code == 404
    assert desk.act(home, "rotate", client_secret=NEW_SECRET).status_code == 404
    assert desk.act(home, "delete", name="Our GitHub").status_code == 409
    assert desk.act(home, "disable").status_code == 303
    assert not desk.row("github").enabled


def test_a_connection_whose_settings_are_gone_says_so(
    app: Flask, desk: Desk, configured: None
) -> None:
    desk.text("/admin/connections")
    home = f"/admin/connections/{desk.row('github').id}"
    with changed(app, SsoSettings, GITHUB_CLIENT_ID=""):
        assert "no longer hold this connection" in desk.text(home)
        assert "Settings are gone" in desk.text("/admin/connections")
        for act in ("test", "try"):
            answer = desk.act(home, act)
            assert answer.status_code == 409


def test_the_settings_belong_to_the_default_tenant(
    app: Flask, tenant: UUID, other_tenant: UUID, configured: None
) -> None:
    for realm, slugs in ((other_tenant, []), (tenant, ["github"])):
        with tenant_scope(realm):
            assert [row.slug for row in admin.connections()] == slugs


# ------------------------------------------------------------------ the test button


def test_g4_a_test_shows_each_step_and_its_result(
    desk: Desk, provider: LyingProvider, private: None, audit_rows: Any
) -> None:
    home = desk.made(**local(provider))
    page = desk.act(home, "test")
    assert page.status_code == 200
    assert steps_of(page.text) == [
        ("Address", "ok"), ("Discovery document", "ok"), ("Issuer", "ok"), ("Endpoints", "ok"),
        ("Signing keys", "ok"), ("Client and secret", "ok"),
    ]  # fmt: skip
    assert provider.issuer in page.text
    assert provider.client_secret not in page.text
    assert "http://localhost/auth/sso/acme/callback" in page.text
    (event,) = audit_rows("SSO_CONNECTION_TESTED")
    assert (event.status, event.details["reason"]) == ("success", "ok")


@pytest.mark.parametrize(
    ("lie", "failed", "reason"),
    [
        ({"discovery": {"issuer": "https://evil.example"}}, "Issuer", "discovery_issuer"),
        ({"discovery": {"token_endpoint": None}}, "Endpoints", "address"),
        ({"discovery": {"jwks_uri": "ftp://x.example/"}}, "Endpoints", "address"),
        (
            {"discovery": {"id_token_signing_alg_values_supported": ["HS256", "none"]}},
            "Signing keys",
            "alg",
        ),
        ({"jwks": no_keys}, "Signing keys", "no_keys"),
    ],
)
def test_g4_a_test_tells_which_step_failed(
    desk: Desk, provider: LyingProvider, private: None, audit_rows: Any,
    lie: dict[str, Any], failed: str, reason: str,
) -> None:  # fmt: skip
    home = desk.made(**local(provider))
    for name, value in lie.items():
        setattr(provider.lies, name, value)
    page = desk.act(home, "test").text
    steps = steps_of(page)
    assert (failed, "bad") in steps
    assert steps[-1] == ("Client and secret", "skipped")
    assert all(state == "ok" for _label, state in steps[: steps.index((failed, "bad"))])
    assert reason in page
    (event,) = audit_rows("SSO_CONNECTION_TESTED")
    assert (event.status, event.details["reason"]) == ("failure", reason)


def test_g4_a_test_believes_nothing_that_was_kept(
    desk: Desk, provider: LyingProvider, private: None
) -> None:
    home = desk.made(**local(provider))
    assert "bad" not in dict(steps_of(desk.act(home, "test").text)).values()
    provider.lies.discovery = {"issuer": "https://evil.example"}
    assert ("Issuer", "bad") in steps_of(desk.act(home, "test").text)


def test_g4_a_wrong_secret_shows_before_anybody_signs_in(
    desk: Desk, provider: LyingProvider, private: None
) -> None:
    home = desk.made(**local(provider, client_secret="not-the-secret"))
    page = desk.act(home, "test").text
    assert steps_of(page)[-1] == ("Client and secret", "bad")
    assert "refuses client or secret" in page


def test_g4_a_provider_that_is_away_is_said_to_be(
    desk: Desk, provider: LyingProvider, private: None
) -> None:
    home = desk.made(**local(provider))
    provider.stop()
    page = desk.act(home, "test")
    assert page.status_code == 200
    assert steps_of(page.text)[0] == ("Address", "bad")


def test_g4_a_provider_without_discovery_is_tested_by_its_endpoints(
    desk: Desk, private: None
) -> None:
    with GitHubServer() as server:
        endpoints = {f"endpoint_{name}": url for name, url in server.endpoints.items()
                     if name not in {"jwks_uri", "end_session_endpoint"}}  # fmt: skip
        data = {
            "client_id": server.client_id, "client_secret": server.client_secret,
            "allow_private": "y", "discovery_url": "-", **endpoints,
        }  # fmt: skip
        answer = desk.create("github", **data)
        assert answer.status_code == 303, answer.text
        steps = steps_of(desk.act(answer.location, "test").text)
    assert steps[:2] == [("Endpoints", "ok"), ("Provider", "ok")]
    assert steps[2][0] == "Client and secret"
    assert steps[2][1] in {"ok", "unsure"}


# ------------------------------------------------------------------ a trial sign-in


def tried(desk: Desk, provider: LyingProvider, home: str) -> str:
    """Go on a trial sign-in and return the page that it ends at."""
    onwards = desk.act(home, "try")
    assert onwards.status_code == 200, onwards.text
    url = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', onwards.text)
    assert url
    back = leave_and_return(desk.client, provider, url.group(1).replace("&amp;", "&"))
    assert back.status_code == 303, back.text
    return str(back.location)


def test_g4_a_trial_sign_in_shows_what_came_back_and_signs_nobody_in(
    desk: Desk, provider: LyingProvider, private: None, tenant: UUID
) -> None:
    home = desk.made(**local(provider, jit="open"))
    role = role_id(desk, "viewer")
    assert desk.act(home, "rules", claim="groups", value="staff", role=role).status_code == 303
    provider.person(
        sub="new-1", email="new@acme.example", email_verified=True, name="New Person",
        groups=["staff"],
    )  # fmt: skip
    url = tried(desk, provider, home)
    page = desk.text(url)
    for text in ("new-1", "new@acme.example", "Verified", "groups", "viewer", "would be made"):
        assert text in page, text
    assert "staff" not in page
    with tenant_scope(tenant):
        session().rollback()
        assert session().scalars(select(IAMUserAccount.id)).all() == [desk.person.id]
        assert not session().scalars(select(IAMUserIdentity)).all()
        assert (
            not session()
            .scalars(select(IAMUserRole).where(IAMUserRole.connection_id.is_not(None)))
            .all()
        )
    assert desk.row().enabled is False
    assert desk.client.get("/admin").status_code == 200


@pytest.mark.parametrize(
    ("jit", "email", "verified", "text"),
    [
        ("off", "new@acme.example", True, "none would be made"),
        ("open", "root@example.com", True, "would be asked to sign in once to link"),
        ("open", "new@acme.example", True, "would be made"),
    ],
)
def test_g3_a_trial_says_what_would_become_of_the_account(
    desk: Desk, provider: LyingProvider, private: None, jit: str, email: str, verified: bool,
    text: str,
) -> None:  # fmt: skip
    home = desk.made(**local(provider, jit=jit))
    provider.person(sub="x-1", email=email, email_verified=verified)
    assert text in desk.text(tried(desk, provider, home))


def test_at_014_a_trial_tells_of_accounts_to_those_who_may_see_them(
    desk: Desk, desk_of: Callable[..., Desk], make_user: Callable[..., Someone], tenant: UUID,
    actor: Actor, provider: LyingProvider, private: None,
) -> None:  # fmt: skip
    connector(actor, tenant)
    ann = make_user("ann")
    home = desk.made(**local(provider))
    provider.person(sub="x-1", email=ann.email, email_verified=True)
    assert "What a sign-in would do" in desk.text(tried(desk, provider, home))
    lesser = desk_of("connector", username="conn")
    page = lesser.text(tried(lesser, provider, home))
    assert "What the provider said" in page
    assert "What a sign-in would do" not in page
    assert "asked to sign in once" not in page


def test_a_trial_that_fails_says_where(desk: Desk, provider: LyingProvider, private: None) -> None:
    home = desk.made(**local(provider))
    provider.lies.claims = {"nonce": "another"}
    page = desk.text(tried(desk, provider, home))
    assert steps_of(page)[-1] == ("Its tokens were checked", "bad")
    assert "nonce" in page


def test_what_a_trial_brought_back_is_its_own_sessions(
    desk: Desk, desk_of: Callable[..., Desk], provider: LyingProvider, private: None
) -> None:
    home = desk.made(**local(provider))
    url = tried(desk, provider, home)
    colleague = desk_of("tenant_admin", username="carol")
    assert colleague.client.get(url).status_code == 404
    assert desk.client.get(f"{home}/tried").status_code == 404
    assert desk.client.get(f"{home}/tried?test=nonsense").status_code == 404


# ------------------------------------------------------------------ rules


def test_g4_nobody_maps_more_than_they_hold(
    desk: Desk, desk_of: Callable[..., Desk], tenant: UUID
) -> None:
    home = desk.made()
    page = desk.text(home)
    assert "super_admin" not in page
    answer = desk.act(home, "rules", claim="groups", value="all", role=role_id(desk, "super_admin"))
    assert answer.status_code in {403, 422}
    with tenant_scope(tenant):
        assert not session().scalars(select(IAMSsoRoleRule)).all()
        session().rollback()


def test_g4_a_rule_is_added_and_shown(desk: Desk, audit_rows: Any) -> None:
    home = desk.made()
    role = role_id(desk, "viewer")
    data = {"claim": "groups", "value": "staff", "role": role}
    assert desk.act(home, "rules", **data).status_code == 303
    page = desk.text(home)
    assert "<code>groups</code> = <code>staff</code>" in page
    assert desk.act(home, "rules", **data).status_code == 409
    assert desk.act(home, "rules", **{**data, "claim": ""}).status_code == 422
    assert [row.details["role"] for row in audit_rows("SSO_RULE_ADDED")] == ["viewer"]


# ------------------------------------------------------------------ size


def test_m4_the_list_costs_the_same_however_long(
    app: Flask, desk: Desk, make_user: Callable[..., Someone], provider: LyingProvider
) -> None:
    def cost(url: str) -> int:
        desk.text(url)
        with statements(app.extensions["sqlalchemy"].engine) as found:
            desk.text(url)
        return len(found)

    one = make_connection(app, provider.url, slug="c0", name="C0")
    home = f"/admin/connections/{one.id}"
    before = cost("/admin/connections"), cost(home)
    for number in range(1, 8):
        more = make_connection(app, provider.url, slug=f"c{number}", name=f"C{number}")
        person = make_user(f"p{number}")
        link_identity(app, more, person.id, UserInfo(provider.issuer, f"s{number}"))
        link_identity(app, one, person.id, UserInfo(provider.issuer, f"s{number}"))
    assert (cost("/admin/connections"), cost(home)) == before


def test_the_navigation_shows_what_the_reader_may_open(
    desk: Desk, desk_of: Callable[..., Desk]
) -> None:
    assert 'href="/admin/connections"' in desk.text("/admin")
    manager = desk_of("user_manager", username="mia")
    assert "/admin/connections" not in manager.client.get("/admin/users").text


def test_a_service_is_asked_past_the_pages(desk: Desk, tenant: UUID) -> None:
    """The command line and a host call the same functions as the pages."""
    desk.made()
    with tenant_scope(tenant):
        rows = admin.connections()
        assert [row.slug for row in rows] == ["acme"]
        assert admin.people_of(rows[0].id) == 0
        assert system_actor(tenant, "tests").kind == "system"
        session().rollback()


def role_id(desk: Desk, name: str) -> str:
    """Return the id of a role."""
    from app.authz.services_rbac import find_role

    with tenant_scope(desk.tenant):
        role = find_role(name)
        assert role is not None
        found = str(role.id)
        session().rollback()
    return found


def roles_of(tenant: UUID, user_id: UUID) -> set[str]:
    """Return the roles that a person holds."""
    from app.authz.models import IAMRole

    with tenant_scope(tenant):
        session().rollback()
        query = (
            select(IAMRole.name)
            .join(IAMUserRole, IAMUserRole.role_id == IAMRole.id)
            .where(IAMUserRole.user_id == user_id)
        )
        return set(session().scalars(query))
