"""Attacks that no single page owns: other paths, headers, cookies, tenants, races of creation."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.auth.accounts import services_accounts
from app.auth.models import IAMUserAccount, IAMUserRole
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.errors import IAMError
from app.core.scoping import tenant_scope, unscoped
from app.notify import services_outbox
from app.risk.settings import RiskSettings
from tests.conftest import PASSWORD, csrf_of, make_app, post

WRONG = {"password": "leaked-somewhere-else"}


def guess(client, name: str, address: str, **headers: str):
    token = csrf_of(client.get("/auth/login").text)
    data = {"username": name, "csrf_token": token, **WRONG}
    return client.post(
        "/auth/login", data=data, headers=headers, environ_overrides={"REMOTE_ADDR": address}
    )


@pytest.fixture
def strict(app, monkeypatch):
    """Let ten failures from one address be enough."""
    settings = app.extensions["iam"].settings
    few = settings[RiskSettings].model_copy(update={"LOGIN_FAILURES_PER_IP": 10})
    monkeypatch.setitem(settings, RiskSettings, few)


def test_at_004_stuffing_many_accounts_from_one_address_is_throttled(client, strict):
    codes = [guess(client, f"person{n}", "10.9.9.9").status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert guess(client, "person99", "10.9.9.8").status_code == 401


def test_at_429_a_forged_forwarding_header_does_not_reset_the_limit(client, strict):
    codes = []
    for number in range(12):
        claimed = f"1.2.3.{number}"
        headers = {"X-Forwarded-For": claimed, "X-Real-IP": claimed, "Forwarded": f"for={claimed}"}
        answer = guess(client, f"person{number}", "10.9.9.9", **headers)
        codes.append(answer.status_code)
    assert codes == [401] * 10 + [429] * 2


def test_at_434_addresses_of_one_ipv6_network_are_one(client, strict):
    codes = [guess(client, f"p{n}", f"2001:db8:1:2::{n:x}").status_code for n in range(1, 13)]
    assert codes == [401] * 10 + [429] * 2


def test_at_010_no_other_path_lets_a_suspended_person_in(client, make_user, tenant):
    person = make_user("ann")
    post(client, "/auth/password/forgot", {"username": "ann"})
    with tenant_scope(tenant), transaction():
        session().execute(
            sa.update(IAMUserAccount).where(IAMUserAccount.id == person.id).values(status="locked")
        )
    sign = post(client, "/auth/login", {"username": "ann", "password": PASSWORD})
    mail = post(client, "/auth/login", {"username": person.email, "password": PASSWORD})
    assert [sign.status_code, mail.status_code] == [401, 401]
    body = services_outbox.list_recent(1)[0]["body"]
    link = body[body.index("/auth/password/reset/") :].split()[0]
    assert client.get(link).status_code == 404
    new = "violet ladder under seven moons"
    both = {"password": new, "password_confirm": new}
    assert post(client, link, both, page="/auth/login").status_code == 404


def test_at_028_a_fresh_installation_has_no_account(app):
    with unscoped("tests look at every tenant"):
        assert session().scalar(sa.select(sa.func.count()).select_from(IAMUserAccount)) == 0


def test_at_070_a_forged_device_cookie_gains_no_budget(app, client, make_user, sign_in):
    sign_in(client, make_user("ann"))
    known = client.get_cookie("iam_device").value
    stranger = app.test_client()
    for forged in (known[:-3] + "AAA", "x" * 40, known.split(".")[0] + ".." + "A" * 27):
        stranger.set_cookie("iam_device", forged)
        for _ in range(3):
            post(stranger, "/auth/login", {"username": "ann", **WRONG})
    answer = post(stranger, "/auth/login", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 429


def test_at_070_another_persons_device_is_not_mine(app, client, make_user, sign_in):
    sign_in(client, make_user("bob"))
    device = client.get_cookie("iam_device").value
    make_user("ann")
    thief = app.test_client()
    thief.set_cookie("iam_device", device)
    for _ in range(6):
        answer = post(thief, "/auth/login", {"username": "ann", **WRONG})
    assert answer.status_code == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "iam_session=\xff\xfe"},
        {"Cookie": "iam_session=" + "A" * 6000},
        {"Cookie": 'iam_session="quoted; iam_session=x'},
        {"Cookie": "$Version=1; iam_session=x"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Accept": "application/json;q=nan, */*;q=-1"},
        {"X-HTTP-Method-Override": "GET", "X-Original-URL": "/healthz"},
    ],
)
def test_at_080_a_malformed_header_or_cookie_lets_nobody_in(app, headers):
    client = app.test_client(use_cookies=False)  # one that keeps cookies drops the header
    answer = client.get("/admin/users", headers=headers)
    assert answer.status_code in {303, 401, 400}


def test_at_083_a_route_above_its_decorator_would_be_seen(app, database_url):
    from app.auth.security import POLICY, requires_login

    found = make_app(database_url)

    @requires_login
    @found.get("/h/open")
    def view():
        return "open"

    registered = found.view_functions["view"]
    assert not getattr(registered, POLICY, ())  # what the walk over the url map fails on
    with found.app_context():
        found.extensions["sqlalchemy"].engine.dispose()


def test_at_073_neither_reset_nor_invitation_skips_the_factor_a_role_demands(client, app, tenant):
    with tenant_scope(tenant), transaction():
        services_accounts.create_user(
            username="new", email="new@example.com", roles=("auditor",),
            actor_grants=None, actor=system_actor(tenant, "tests"),
        )  # fmt: skip
    body = services_outbox.list_recent(1)[0]["body"]
    link = body[body.index("/auth/password/reset/") :].split()[0]
    both = {"password": "violet ladder under seven moons"}
    post(client, link, both | {"password_confirm": both["password"]})
    answer = post(client, "/auth/login", {"username": "new", **both})
    assert answer.headers["Location"] == "/auth/mfa/enrol"
    assert client.get("/admin/audit/logs").status_code == 303


@pytest.mark.parametrize(
    "request_",
    [
        {"headers": {"X-Tenant": "other", "X-Tenant-ID": "other"}},
        {"query_string": {"tenant": "other", "tenant_id": "other"}},
        {"headers": {"Host": "other.localhost"}},
    ],
)
def test_at_367_a_client_does_not_choose_the_tenant(
    client, make_user, other_tenant, audit_rows, request_
):
    make_user("ann", tenant_id=other_tenant)
    token = csrf_of(client.get("/auth/login").text)
    data = {"username": "ann", "password": PASSWORD, "tenant_id": str(other_tenant)}
    answer = client.post("/auth/login", data=data | {"csrf_token": token}, **request_)
    assert answer.status_code in {401, 403}
    assert all(row.tenant_id != other_tenant for row in audit_rows("LOGIN_FAILED"))


def test_at_453_a_refused_role_leaves_no_half_made_account(app, tenant):
    with tenant_scope(tenant):
        with pytest.raises(IAMError), transaction():
            services_accounts.create_user(
                username="half", email="half@example.com", roles=("no_such_role",),
                actor_grants=None, actor=system_actor(tenant, "tests"),
            )  # fmt: skip
        assert session().scalar(sa.select(sa.func.count()).select_from(IAMUserAccount)) == 0
        assert session().scalar(sa.select(sa.func.count()).select_from(IAMUserRole)) == 0
