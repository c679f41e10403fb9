"""E-mail domains: claimed, proved under DNS, looked at again, given up (G4, AT-194).

A real name server on loopback answers; two tenants want one name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from app.auth.models import IAMDomain
from app.auth.sso import services_connections
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.errors import Conflict, InvalidInput, NotFound
from app.core.network.dns import DnsFailed
from app.core.scoping import tenant_scope
from app.tenancy import services_domains as domains
from app.tenancy.mail_domains import canonical_domain
from app.tenancy.settings import TenancySettings
from tests.bench.measure import statements
from tests.conftest import Someone, csrf_of, post
from tests.support.dns_server import DnsServer
from tests.support.settings import changed
from tests.support.sso import make_connection

NAME = "acme.example"
DAY = timedelta(hours=25)


@pytest.fixture
def dns(app: Flask) -> Iterator[DnsServer]:
    """Return the name server that the app asks."""
    with (
        DnsServer() as server,
        changed(app, TenancySettings, IAM_DNS_SERVERS=(server.address,)),
    ):
        yield server


@pytest.fixture
def browser_of(
    app: Flask, make_user: Callable[..., Someone], sign_in: Callable[..., Any]
) -> Callable[..., FlaskClient]:
    """Return a factory of browsers in which somebody with these roles is signed in."""

    def enter(username: str, *roles: str) -> FlaskClient:
        browser = app.test_client()
        sign_in(browser, make_user(username, roles=roles, mfa="totp"))
        return browser

    return enter


@pytest.fixture
def admin(browser_of: Callable[..., FlaskClient]) -> FlaskClient:
    """Return the browser of a tenant administrator."""
    return browser_of("root", "tenant_admin")


def claim(tenant: UUID, name: str = NAME) -> UUID:
    """Claim a domain past the pages."""
    with tenant_scope(tenant), transaction():
        return domains.claim(name, actor=system_actor(tenant, "tests")).id


def prove(dns: DnsServer, tenant: UUID, domain_id: UUID) -> None:
    """Put the record of a domain into the DNS."""
    row = stored(tenant, domain_id)
    dns.records.setdefault(domains.record_name(row), []).append(domains.record_value(row))


def verify(tenant: UUID, domain_id: UUID) -> None:
    """Check a domain past the pages."""
    with tenant_scope(tenant):
        domains.verify(domain_id, actor=system_actor(tenant, "tests"))


def verified(dns: DnsServer, tenant: UUID, name: str = NAME) -> UUID:
    """Claim, prove and verify a domain."""
    found = claim(tenant, name)
    prove(dns, tenant, found)
    verify(tenant, found)
    return found


def stored(tenant: UUID, domain_id: UUID) -> IAMDomain:
    """Return a domain as stored now."""
    session().rollback()
    with tenant_scope(tenant):
        return domains.get_domain(domain_id)


def status(tenant: UUID, domain_id: UUID) -> str:
    """Return how a domain stands now."""
    return domains.status_of(stored(tenant, domain_id))


# ------------------------------------------------------------------ by the pages


def test_g4_a_domain_is_claimed_proved_bound_and_released(
    app: Flask, admin: FlaskClient, dns: DnsServer, tenant: UUID, audit_rows: Any
) -> None:
    connection = make_connection(app, "https://idp.example")
    assert "No domain yet" in admin.get("/admin/domains").text
    answer = post(admin, "/admin/domains", {"name": "@Acme.Example."})
    assert answer.status_code == 303
    home = answer.location
    page = admin.get(home).text
    name = re.search(r'id="record-name"[^>]*>([^<]+)<', page)
    value = re.search(r'id="record-value"[^>]*>([^<]+)<', page)
    assert name
    assert value
    assert name.group(1) == "_iam-challenge.acme.example"
    assert re.fullmatch(r"iam-domain-verification=[\w-]{43}", value.group(1))

    early = post(admin, f"{home}/check", page=home)
    assert early.status_code == 422
    assert "not found yet" in early.text
    assert services_for(tenant, NAME) is None

    dns.records[name.group(1)] = ["v=spf1 -all", value.group(1)]
    assert post(admin, f"{home}/check", page=home).status_code == 303
    assert "Verified" in admin.get(home).text
    assert services_for(tenant, NAME) is None
    bound = post(admin, f"{home}/connection", {"connection_id": str(connection.id)}, page=home)
    assert bound.status_code == 303
    assert services_for(tenant, NAME) == connection.slug
    listed = admin.get("/admin/domains").text
    assert "Peer" in listed
    assert "acme.example" in admin.get(f"/admin/connections/{connection.id}").text

    assert post(admin, f"{home}/release", page=home).status_code == 303
    assert services_for(tenant, NAME) is None
    assert admin.get(home).status_code == 404
    actions = [row.action for row in audit_rows() if row.action.startswith("DOMAIN_")]
    assert actions == ["DOMAIN_CLAIMED", "DOMAIN_VERIFIED", "DOMAIN_CHANGED", "DOMAIN_RELEASED"]


def services_for(tenant: UUID, name: str) -> str | None:
    """Return the connection that signs in the people of a domain."""
    session().rollback()
    with tenant_scope(tenant):
        found = services_connections.for_domain(name)
        session().rollback()
    return found.slug if found else None


def test_l1_each_act_asks_for_its_right(
    admin: FlaskClient, browser_of: Callable[..., FlaskClient], tenant: UUID
) -> None:
    found = claim(tenant)
    home = f"/admin/domains/{found}"
    reader = browser_of("grace", "auditor")
    assert reader.get("/admin/domains").status_code == 200
    page = reader.get(home)
    assert page.status_code == 200
    assert f"{home}/check" not in page.text
    token = csrf_of(reader.get("/account").text)
    for url in ("/admin/domains", f"{home}/check", f"{home}/connection", f"{home}/release"):
        assert reader.post(url, data={"csrf_token": token, "name": "x.example"}).status_code == 403
    assert browser_of("vic", "viewer").get("/admin/domains").status_code == 403
    assert status(tenant, found) == domains.WAITING


def test_at_194_another_tenants_domain_is_not_there(
    admin: FlaskClient, other_tenant: UUID, dns: DnsServer
) -> None:
    found = verified(dns, other_tenant)
    home = f"/admin/domains/{found}"
    assert NAME not in admin.get("/admin/domains").text
    assert admin.get(home).status_code == 404
    for act in ("check", "connection", "release"):
        assert post(admin, f"{home}/{act}", page="/admin/domains").status_code == 404, act
    assert status(other_tenant, found) == domains.VERIFIED


def test_at_194_a_domain_is_not_bound_to_another_tenants_connection(
    app: Flask, admin: FlaskClient, tenant: UUID, other_tenant: UUID
) -> None:
    theirs = make_connection(app, "https://idp.example", tenant_id=other_tenant)
    home = f"/admin/domains/{claim(tenant)}"
    answer = post(admin, f"{home}/connection", {"connection_id": str(theirs.id)}, page=home)
    assert answer.status_code in {404, 422}
    assert stored(tenant, UUID(home.rpartition("/")[2])).connection_id is None


def test_name_servers_that_do_not_answer_get_a_page(
    admin: FlaskClient, dns: DnsServer, tenant: UUID
) -> None:
    home = f"/admin/domains/{claim(tenant)}"
    dns.mode = "refused"
    answer = post(admin, f"{home}/check", page=home)
    assert answer.status_code == 503
    assert "name servers did not answer" in answer.text
    assert "record-value" in answer.text


def test_m4_the_list_costs_the_same_however_long(
    app: Flask, admin: FlaskClient, tenant: UUID
) -> None:
    def cost() -> int:
        admin.get("/admin/domains")
        with statements(app.extensions["sqlalchemy"].engine) as found:
            assert admin.get("/admin/domains").status_code == 200
        return len(found)

    claim(tenant, "d0.example")
    before = cost()
    for number in range(1, 12):
        claim(tenant, f"d{number}.example")
    assert cost() == before


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Acme.Example", "acme.example"),
        ("@acme.example", "acme.example"),
        ("acme.example.", "acme.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("STRAẞE.example", "xn--strae-oqa.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("mail.acme.example", "mail.acme.example"),
    ],
)
def test_at_096_a_domain_has_one_form(typed: str, meant: str) -> None:
    assert canonical_domain(typed) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "", "com", "localhost", "acme", "a..example", "-a.example", "a_b.example", "192.0.2.1",
        "2001:db8::1", "acme.1", "ann@acme.example", "acme.example/x", "*.acme.example",
        "a" * 64 + ".example", ".".join(["abcdefgh"] * 30), "acme .example", "xn--a.example",
        "acme.example\u0000",
    ],
)  # fmt: skip
def test_what_is_no_domain_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        canonical_domain(typed)
    assert refused.value.field == "name"


@pytest.mark.parametrize("name", ["gmail.com", "GMAIL.com", "outlook.com", "web.de"])
def test_a_domain_where_anybody_has_an_address_is_nobodys(
    admin: FlaskClient, name: str, tenant: UUID
) -> None:
    answer = post(admin, "/admin/domains", {"name": name})
    assert answer.status_code == 422
    assert "Anybody can have an address there" in answer.text


def test_a_domain_is_claimed_once(admin: FlaskClient, tenant: UUID) -> None:
    claim(tenant)
    answer = post(admin, "/admin/domains", {"name": NAME.upper()})
    assert answer.status_code == 409
    assert "in the list already" in answer.text


# ------------------------------------------------------------------ proof


def test_only_the_tenants_own_token_proves(
    dns: DnsServer, tenant: UUID, other_tenant: UUID
) -> None:
    """The record of one tenant does nothing for another, nor does a part of it."""
    mine, theirs = claim(tenant), claim(other_tenant)
    prove(dns, other_tenant, theirs)
    token = stored(tenant, mine).token
    place = f"_iam-challenge.{NAME}"
    dns.records[place] += [token, f"iam-domain-verification={token[:-1]}", f"x={token}"]
    dns.records[NAME] = [domains.record_value(stored(tenant, mine))]
    with pytest.raises(domains.ProofMissing):
        verify(tenant, mine)
    assert status(tenant, mine) == domains.WAITING


def test_at_194_a_name_is_one_tenants_until_it_lets_go(
    dns: DnsServer, tenant: UUID, other_tenant: UUID, audit_rows: Any
) -> None:
    mine = verified(dns, tenant)
    theirs = claim(other_tenant)  # told nothing yet
    with pytest.raises(domains.ProofMissing):
        verify(other_tenant, theirs)
    prove(dns, other_tenant, theirs)
    with pytest.raises(domains.DomainTaken) as refused:
        verify(other_tenant, theirs)
    assert isinstance(refused.value, Conflict)
    assert str(tenant) not in str(refused.value.title)
    assert status(other_tenant, theirs) == domains.WAITING
    denied = audit_rows("DOMAIN_VERIFIED")[-1]
    assert (denied.tenant_id, denied.status) == (other_tenant, "denied")

    with tenant_scope(tenant), transaction():
        domains.release(domains.get_domain(mine), actor=system_actor(tenant, "tests"))
    verify(other_tenant, theirs)
    assert status(other_tenant, theirs) == domains.VERIFIED


def test_a_new_claim_has_a_new_token(dns: DnsServer, tenant: UUID) -> None:
    """A record that was left behind does not bring a released domain back."""
    first = verified(dns, tenant)
    with tenant_scope(tenant), transaction():
        domains.release(domains.get_domain(first), actor=system_actor(tenant, "tests"))
    again = claim(tenant)
    with pytest.raises(domains.ProofMissing):
        verify(tenant, again)


def test_a_domain_released_while_dns_was_asked_stays_released(
    app: Flask, dns: DnsServer, tenant: UUID
) -> None:
    found = claim(tenant)
    prove(dns, tenant, found)
    answer = dns.answer

    def release_first(wire: bytes, transport: str) -> bytes | None:
        with app.app_context(), tenant_scope(tenant), transaction():
            domains.release(domains.get_domain(found), actor=system_actor(tenant, "tests"))
        return answer(wire, transport)

    dns.answer = release_first  # type: ignore[method-assign]
    with pytest.raises(NotFound):
        verify(tenant, found)


def test_no_transaction_is_open_while_dns_is_asked(
    app: Flask, dns: DnsServer, tenant: UUID
) -> None:
    """A slow name server must not hold a connection of the database's pool."""
    found = verified(dns, tenant)
    pool = app.extensions["sqlalchemy"].engine.pool
    held: list[int] = []
    answer = dns.answer

    def look(wire: bytes, transport: str) -> bytes | None:
        held.append(pool.checkedout())
        return answer(wire, transport)

    dns.answer = look  # type: ignore[method-assign]
    session().rollback()
    verify(tenant, found)
    with clock.travel(DAY):
        assert domains.check_due().checked == 1
    assert held == [0, 0]


# ------------------------------------------------------------------ looked at again


def test_g4_a_proof_is_looked_at_every_day(dns: DnsServer, tenant: UUID) -> None:
    found = verified(dns, tenant)
    dns.asked.clear()
    assert domains.check_due() == domains.Round()
    assert not dns.asked
    with clock.travel(DAY):
        assert domains.check_due() == domains.Round(checked=1)
        assert domains.check_due() == domains.Round()
    assert status(tenant, found) == domains.VERIFIED


def test_g4_a_proof_that_stays_away_three_days_is_lost(
    app: Flask, dns: DnsServer, tenant: UUID, audit_rows: Any
) -> None:
    connection = make_connection(app, "https://idp.example")
    found = verified(dns, tenant)
    with tenant_scope(tenant), transaction():
        row = domains.get_domain(found)
        domains.choose_connection(row, connection.id, actor=system_actor(tenant, "tests"))
    dns.records.clear()
    states = []
    for hours in (25, 26, 96, 98):
        with clock.travel(timedelta(hours=hours)):
            domains.check_due()
            states.append(status(tenant, found))
            assert (services_for(tenant, NAME) is None) == (states[-1] == domains.LOST)
    assert states == [domains.MISSING, domains.MISSING, domains.MISSING, domains.LOST]
    with clock.travel(timedelta(hours=99)):
        assert domains.check_due() == domains.Round()
    assert stored(tenant, found).verified_name is None
    (event,) = audit_rows("DOMAIN_LOST")
    assert event.actor_type == "system"


def test_g4_a_proof_that_comes_back_is_as_if_it_had_stayed(
    dns: DnsServer, tenant: UUID, audit_rows: Any
) -> None:
    found = verified(dns, tenant)
    kept = dict(dns.records)
    dns.records.clear()
    with clock.travel(DAY):
        assert domains.check_due() == domains.Round(missing=1)
    dns.records.update(kept)
    with clock.travel(2 * DAY):
        assert domains.check_due() == domains.Round(checked=1)
    assert status(tenant, found) == domains.VERIFIED
    dns.records.clear()
    with clock.travel(4 * DAY):
        assert domains.check_due() == domains.Round(missing=1)
    assert not audit_rows("DOMAIN_LOST")


def test_g4_name_servers_that_stutter_take_nothing_away(dns: DnsServer, tenant: UUID) -> None:
    found = verified(dns, tenant)
    dns.mode = "refused"
    for days in range(1, 9):
        with clock.travel(days * DAY):
            assert domains.check_due() == domains.Round(unanswered=1)
    assert status(tenant, found) == domains.VERIFIED
    assert stored(tenant, found).missing_since is None
    with pytest.raises(DnsFailed):
        verify(tenant, found)


def test_g4_a_lost_domain_is_proved_again(dns: DnsServer, tenant: UUID) -> None:
    found = verified(dns, tenant)
    kept = dict(dns.records)
    dns.records.clear()
    for hours in (25, 100):
        with clock.travel(timedelta(hours=hours)):
            domains.check_due()
    assert status(tenant, found) == domains.LOST
    with pytest.raises(domains.ProofMissing):
        verify(tenant, found)
    dns.records.update(kept)
    verify(tenant, found)
    assert status(tenant, found) == domains.VERIFIED


def test_checking_by_hand_does_not_hasten_the_loss(dns: DnsServer, tenant: UUID) -> None:
    found = verified(dns, tenant)
    dns.records.clear()
    for _try in range(3):
        with pytest.raises(domains.ProofMissing):
            verify(tenant, found)
    assert status(tenant, found) == domains.MISSING


def test_g4_the_job_serves_every_tenant(
    app: Flask, dns: DnsServer, tenant: UUID, other_tenant: UUID
) -> None:
    verified(dns, tenant)
    theirs = verified(dns, other_tenant, "theirs.example")
    dns.records.pop("_iam-challenge.theirs.example")
    session().rollback()
    with clock.travel(DAY):
        answer = app.test_cli_runner().invoke(args=["iam", "domains", "check"])
        assert answer.exit_code == 0, answer.output
        assert "Checked    2" in answer.output
        assert "Missing    1" in answer.output
    assert status(other_tenant, theirs) == domains.MISSING


# ------------------------------------------------------------------ settings


def test_servers_that_are_no_addresses_are_refused_at_start() -> None:
    from app.core.errors import Misconfigured

    with pytest.raises(Misconfigured, match="IAM_DNS_SERVERS"):
        TenancySettings.load({"IAM_DNS_SERVERS": "dns.example"}, {})
    loaded = TenancySettings.load({}, {"IAM_DNS_SERVERS": "192.0.2.1, [2001:db8::1]:5353"})
    assert loaded.IAM_DNS_SERVERS == ("192.0.2.1", "[2001:db8::1]:5353")


def test_the_number_of_domains_has_an_end(
    tenant: UUID, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domains, "MOST", 2)
    claim(tenant, "a.example")
    claim(tenant, "b.example")
    with pytest.raises(Conflict) as refused:
        claim(tenant, "c.example")
    assert refused.value.code == "domain.too_many"
    with tenant_scope(tenant):
        assert len(session().scalars(select(IAMDomain.id)).all()) == 2
        session().rollback()
