"""Two tenants prove one domain at once, and one claims it many times: one row, one holder."""

from __future__ import annotations

import threading
from uuid import UUID

from flask import Flask

from app.auth.sso.admin import services_connection_admin as admin
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.errors import IAMError
from app.core.scoping import tenant_scope
from app.tenancy import services_domains as domains
from app.tenancy.settings import TenancySettings
from tests.support.dns_server import DnsServer
from tests.support.races import together
from tests.support.settings import changed
from tests.support.sso import make_connection

NAME = "acme.example"
ROUNDS = 5


def test_at_194_of_two_tenants_that_prove_a_name_at_once_one_wins(
    app: Flask, tenant: UUID, other_tenant: UUID
) -> None:
    tenants = (tenant, other_tenant)
    with DnsServer() as dns, changed(app, TenancySettings, IAM_DNS_SERVERS=(dns.address,)):
        for number in range(ROUNDS):
            name = f"r{number}.{NAME}"
            ids = {}
            for realm in tenants:
                with tenant_scope(realm), transaction():
                    row = domains.claim(name, actor=system_actor(realm, "race"))
                    ids[realm] = row.id
                    place = domains.record_name(row)
                    dns.records.setdefault(place, []).append(domains.record_value(row))
            outcomes = _verify_at_once(app, ids)
            assert outcomes.count("ok") == 1, outcomes
            assert set(outcomes) <= {"ok", "domain.taken", "database.unavailable"}
            session().rollback()
            held = []
            for realm in tenants:
                with tenant_scope(realm):
                    held.append(domains.get_domain(ids[realm]).verified_name)
            assert sorted(held, key=str) == [None, name]


def _verify_at_once(app: Flask, ids: dict[UUID, UUID]) -> list[str]:
    start = threading.Barrier(len(ids))
    outcomes: list[str] = []

    def run(realm: UUID) -> None:
        with app.app_context(), tenant_scope(realm):
            start.wait(30)
            try:
                domains.verify(ids[realm], actor=system_actor(realm, "race"))
                outcomes.append("ok")
            except IAMError as refusal:
                outcomes.append(refusal.code)

    threads = [threading.Thread(target=run, args=(realm,)) for realm in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == len(ids)
    return outcomes


def test_a_domain_claimed_many_times_at_once_is_there_once(app: Flask, tenant: UUID) -> None:
    def work() -> None:
        with transaction():
            domains.claim(NAME, actor=system_actor(tenant, "race"))

    outcomes = together(app, tenant, work, workers=12)
    assert outcomes["ok"] == 1, outcomes
    assert set(outcomes) <= {"ok", "domain.known", "database.unavailable"}


def test_of_many_connections_made_the_default_at_once_one_is(app: Flask, tenant: UUID) -> None:
    ids = [
        make_connection(app, "https://idp.example", slug=f"c{number}", name=f"C{number}").id
        for number in range(8)
    ]
    waiting = list(ids)

    def work() -> None:
        with transaction():
            row = admin.get_connection(waiting.pop())
            admin.make_default(row, actor=system_actor(tenant, "race"))

    outcomes = together(app, tenant, work, workers=8)
    assert outcomes["ok"] >= 1
    assert set(outcomes) <= {"ok", "database.unavailable"}
    session().rollback()
    with tenant_scope(tenant):
        assert sum(row.is_default for row in admin.connections()) == 1
