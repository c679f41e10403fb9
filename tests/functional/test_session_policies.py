"""Session policies by actor type and tenant, and allow-lists of addresses (J2, AT-466)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as sa_event
from sqlalchemy import select

from app.auth.models import IAMAuthSession
from app.auth.settings import AuthSettings
from app.core import clock
from app.core.db import session, transaction
from app.core.errors import InvalidInput, Misconfigured
from app.core.parsing import networks
from app.core.scoping import tenant_scope, unscoped
from app.tenancy.services_settings import override
from tests.conftest import PASSWORD, csrf_of, make_app, post
from tests.support.settings import changed

HOME = "127.0.0.0/8"
ELSEWHERE = "192.0.2.0/24"


def come_from(client: Any, ip: str) -> None:
    client.environ_base["REMOTE_ADDR"] = ip


def policies(**by_type: dict[str, Any]) -> dict[str, Any]:
    return {"IAM_SESSION_POLICIES": by_type}


def tenant_sets(tenant: Any, actor: Any, **by_type: dict[str, Any]) -> None:
    with tenant_scope(tenant), transaction():
        override(policies(**by_type), actor=actor)
    session().rollback()


def stored_session() -> Any:
    with unscoped("tests look at every tenant"):
        session().rollback()
        query = select(IAMAuthSession).order_by(IAMAuthSession.id.desc())
        return session().scalars(query, execution_options={"populate_existing": True}).first()


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize(
    ("actor_type", "sessions", "minutes", "days"),
    [
        ("super_admin", 3, 30, 0),
        ("partner_admin", 5, 480, 0),
        ("client_admin", 5, 480, 0),
        ("tenant_admin", 5, 480, 0),
        ("end_user", 10, 1440, 30),
    ],
)
def test_j2_defaults_by_actor_type(actor_type, sessions, minutes, days):
    policy = AuthSettings().session_policy(actor_type)
    assert (policy.max_sessions, policy.absolute_minutes) == (sessions, minutes)
    assert (policy.remember_days, policy.idle_minutes) == (days, 30)
    assert policy.mfa_on_new_device is (actor_type == "super_admin")
    assert policy.allow_lists == ()


def test_j2_super_admins_are_held_to_their_networks():
    found = AuthSettings.load({"IAM_SUPER_ADMIN_NETWORKS": "192.0.2.0/24, 2001:db8::/32"}, {})
    policy = found.session_policy("super_admin")
    assert policy.admits("192.0.2.7")
    assert policy.admits("2001:db8::1")
    assert not policy.admits("198.51.100.1")
    assert found.session_policy("tenant_admin").admits("198.51.100.1")


def test_j2_an_administrator_by_role_is_held_to_an_administrators_limits(
    app, client, make_user, sign_in
):
    """The name of the account's kind is no way round the networks and limits of a role."""
    rose = make_user("rose", roles=["super_admin"], actor_type="end_user", mfa="totp")
    with changed(app, AuthSettings, IAM_SUPER_ADMIN_NETWORKS=(ELSEWHERE,)):
        data = {"username": rose.username, "password": rose.password}
        assert post(client, "/auth/login", data).status_code == 401
        come_from(client, "192.0.2.7")
        sign_in(client, rose, remember_me="y")
        row = stored_session()
        assert row.expires_at - row.login_time <= timedelta(minutes=31)
        assert client.get("/account").status_code == 200
        come_from(client, "127.0.0.1")
        assert client.get("/account").status_code == 303


@pytest.mark.parametrize(
    "written",
    [
        '{"end_user": {"allow_networks": []}}',
        '{"end_user": {"allow_networks": "10.0.0.0/8"}}',
        '{"end_user": {"allow_networks": ["10.0.0.1/8"]}}',
        '{"end_user": {"allow_networks": ["10.0.0.0/33"]}}',
        '{"end_user": {"allow_networks": ["10.0.0.0/8", "office"]}}',
        '{"end_user": {"allow_networks": ["::ffff:10.0.0.0/104"]}}',
        '{"end_user": {"allow_networks": ["fe80::%eth0/64"]}}',
        '{"end_user": {"allow_network": ["10.0.0.0/8"]}}',
        '{"end_users": {"max_sessions": 1}}',
        '{"end_user": {"max_sessions": 0}}',
        '{"end_user": {"max_sessions": "5"}}',
        '{"end_user": {"max_sessions": true}}',
        '{"end_user": {"idle_minutes": -1}}',
        '{"end_user": {"mfa_on_new_device": "false"}}',
        '{"end_user": []}',
        '["end_user"]',
        "end_user",
    ],
)
def test_at_466_a_bad_policy_stops_the_start(written):
    with pytest.raises(Misconfigured, match="IAM_SESSION_POLICIES"):
        AuthSettings.load({}, {"IAM_SESSION_POLICIES": written})


@pytest.mark.parametrize("written", [" , ", "10.0.0.1/8", "office", "::ffff:1.2.3.4"])
def test_at_466_bad_networks_stop_the_start(written):
    with pytest.raises(Misconfigured, match="IAM_SUPER_ADMIN_NETWORKS"):
        AuthSettings.load({}, {"IAM_SUPER_ADMIN_NETWORKS": written})


@pytest.mark.parametrize(
    ("ip", "admitted"),
    [
        ("192.0.2.1", True),
        ("::ffff:192.0.2.1", True),
        ("::FFFF:c000:0201", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.3.1", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("2001:db8::1%eth0", True),
        ("::192.0.2.1", False),
        ("0300.0.2.1", False),
        ("", False),
        (None, False),
        ("unknown", False),
    ],
)
def test_j2_an_address_is_compared_as_what_it_is(ip, admitted):
    allowed = networks.parse_networks(["192.0.2.0/24", "2001:db8::/32"])
    assert networks.admits(allowed, ip) is admitted


# ---------------------------------------------------------------- signing in


def try_sign_in(client: Any, person: Any, password: str = PASSWORD) -> Any:
    return post(client, "/auth/login", {"username": person.username, "password": password})


def test_j2_a_foreign_address_is_refused_as_a_wrong_password_is(app, client, make_user, audit_rows):
    ann = make_user("ann")
    with changed(app, AuthSettings, **policies(end_user={"allow_networks": [ELSEWHERE]})):
        refused = try_sign_in(client, ann)
        wrong = try_sign_in(client, ann, "not the password")
        assert refused.status_code == wrong.status_code == 401
        assert _without_tokens(refused.text) == _without_tokens(wrong.text)
        assert stored_session() is None
        come_from(client, "192.0.2.9")
        assert try_sign_in(client, ann).status_code == 303
    rows = audit_rows("IP_REFUSED")
    assert [(row.details["reason"], row.subject_id, row.ip) for row in rows] == [
        ("sign_in", ann.id, "127.0.0.1")
    ]


def _without_tokens(page: str) -> str:
    return page.replace(csrf_of(page), "")


def test_j2_another_actor_type_is_not_concerned(app, client, make_user):
    boss = make_user("boss", actor_type="tenant_admin")
    with changed(app, AuthSettings, **policies(end_user={"allow_networks": [ELSEWHERE]})):
        assert try_sign_in(client, boss).status_code == 303


def test_j2_a_forwarded_address_counts_behind_trusted_proxies_only(
    app, client, make_user, database_url
):
    """Without a trusted proxy the header is what a client says of itself."""
    ann = make_user("ann")
    claim = {"X-Forwarded-For": "192.0.2.9"}
    limits = policies(end_user={"allow_networks": [ELSEWHERE]})
    with changed(app, AuthSettings, **limits):
        token = csrf_of(client.get("/auth/login", headers=claim).text)
        data = {"username": "ann", "password": ann.password, "csrf_token": token}
        assert client.post("/auth/login", data=data, headers=claim).status_code == 401
    proxied = make_app(database_url, IAM_TRUSTED_PROXIES=1, **limits).test_client()
    token = csrf_of(proxied.get("/auth/login", headers=claim).text)
    data["csrf_token"] = token
    assert proxied.post("/auth/login", data=data, headers=claim).status_code == 303
    double = {"X-Forwarded-For": "192.0.2.9, 198.51.100.1"}  # the proxy adds what it saw
    assert proxied.get("/account", headers=double).status_code == 303
    proxied.application.extensions["sqlalchemy"].session.remove()
    with proxied.application.app_context():
        proxied.application.extensions["sqlalchemy"].engine.dispose()


# ---------------------------------------------------------------- going on


def test_j2_a_session_from_a_foreign_address_ends_and_is_told_once(
    app, client, make_user, sign_in, audit_rows
):
    ann = make_user("ann")
    with changed(app, AuthSettings, **policies(end_user={"allow_networks": [HOME]})):
        sign_in(client, ann)
        assert client.get("/account").status_code == 200
        come_from(client, "198.51.100.1")
        assert client.get("/account").status_code == 303
        assert client.get("/account").status_code == 303
        come_from(client, "127.0.0.1")
        assert client.get("/account").status_code == 303
    assert [row.details["reason"] for row in audit_rows("IP_REFUSED")] == ["session"]
    assert stored_session().revoke_reason == "address"


def test_j2_a_pending_sign_in_is_held_to_the_list_as_well(app, client, make_user, audit_rows):
    ann = make_user("ann", mfa="totp")
    with changed(app, AuthSettings, **policies(end_user={"allow_networks": [HOME]})):
        assert try_sign_in(client, ann).headers["Location"].endswith("/auth/mfa/verify")
        come_from(client, "198.51.100.1")
        assert client.get("/auth/mfa/verify").status_code == 303
    assert len(audit_rows("IP_REFUSED")) == 1


def test_j2_a_tenants_own_list_bites_at_the_next_request_without_a_query(
    app, client, make_user, sign_in, tenant, actor
):
    sign_in(client, make_user("ann"))
    before = _queries(app, client)
    tenant_sets(tenant, actor, end_user={"allow_networks": [HOME]})
    assert _queries(app, client) == before
    tenant_sets(tenant, actor, end_user={"allow_networks": [ELSEWHERE]})
    assert client.get("/account").status_code == 303


def _queries(app: Any, client: Any) -> list[str]:
    found: list[str] = []

    def watch(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        found.append(statement)

    engine = app.extensions["sqlalchemy"].engine
    sa_event.listen(engine, "before_cursor_execute", watch)
    try:
        assert client.get("/account/sessions").status_code == 200
    finally:
        sa_event.remove(engine, "before_cursor_execute", watch)
    return found


# ---------------------------------------------------------------- a tenant's own policy


def test_j2_a_tenant_tightens_and_never_loosens(app, client, make_user, sign_in, tenant, actor):
    tenant_sets(
        tenant, actor, end_user={"max_sessions": 100, "idle_minutes": 5, "absolute_minutes": 60}
    )
    sign_in(client, make_user("ann"))
    row = stored_session()
    assert row.idle_seconds == 300
    assert row.expires_at - row.login_time == timedelta(minutes=60)
    own = policies(end_user={"max_sessions": 100, "remember_days": 365})
    policy = AuthSettings().session_policy("end_user", own)
    assert (policy.max_sessions, policy.remember_days) == (10, 30)
    own = policies(super_admin={"mfa_on_new_device": False})
    assert AuthSettings().session_policy("super_admin", own).mfa_on_new_device is True


def test_j2_both_lists_must_admit_an_address():
    """A tenant's list cannot let in whom the installation's keeps out."""
    settings = AuthSettings.load(
        {"IAM_SESSION_POLICIES": json.dumps({"end_user": {"allow_networks": ["10.0.0.0/8"]}})}, {}
    )
    own = policies(end_user={"allow_networks": ["10.1.0.0/16", ELSEWHERE]})
    policy = settings.session_policy("end_user", own)
    assert policy.admits("10.1.2.3")
    assert not policy.admits("10.2.0.1")
    assert not policy.admits("192.0.2.1")


def test_j2_a_tenants_limit_of_sessions_holds(app, client, make_user, sign_in, tenant, actor):
    tenant_sets(tenant, actor, end_user={"max_sessions": 1})
    ann = make_user("ann")
    sign_in(client, ann)
    second = app.test_client()
    sign_in(second, ann)
    assert client.get("/account").status_code == 303
    assert second.get("/account").status_code == 200


def test_j2_another_tenant_keeps_the_installations_policy(
    app, client, make_user, sign_in, tenant, other_tenant, actor
):
    tenant_sets(other_tenant, actor.acting_as(tenant_id=other_tenant), end_user={"idle_minutes": 1})
    sign_in(client, make_user("ann"))
    with clock.travel(timedelta(minutes=20)):
        assert client.get("/account").status_code == 200


@pytest.mark.parametrize(
    "value", [{"end_user": {"allow_networks": []}}, {"nobody": {}}, {"end_user": {"x": 1}}, "{"]
)
def test_j2_a_tenant_cannot_store_a_policy_that_does_not_hold(tenant, actor, value):
    with tenant_scope(tenant), pytest.raises(InvalidInput), transaction():
        override({"IAM_SESSION_POLICIES": value}, actor=actor)
