"""Retention: what is old goes, signed proof of it stays, and nothing else can go (M6)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError

from app.audit import events, services_retention, verifier
from app.audit.models import IAMAuthLog
from app.audit.sealing import services_audit_keys, services_checkpoints, services_seal
from app.audit.services_audit import record
from app.audit.services_retention import PruneRefused
from app.audit.settings import AuditSettings
from app.auth.models import IAMAuditCheckpoint, IAMAuditPrune, IAMAuditSeal
from app.core import clock
from app.core.db import engine, session, transaction
from app.core.scoping import tenant_scope
from app.tenancy.services_settings import override
from tests.conftest import empty_database
from tests.functional.test_personal import findings, seal_and_sign
from tests.support.settings import changed
from tests.support.trails import CHECKPOINTS, administrator

DAYS = 2555
YEAR = timedelta(days=365)


@pytest.fixture
def lived(app: Flask, tenant: UUID, actor: Any, scoped: UUID) -> Callable[[timedelta, int], None]:
    """Return a helper that records, seals and signs events as if it were some time ago."""
    session().rollback()
    empty_database(app)  # the first test of a run finds what made the tenants

    def live(ago: timedelta, count: int) -> None:
        with clock.travel(-ago):
            with transaction():
                for number in range(count):
                    record(events.LOGIN_FAILED, actor=actor, attempts=number)
            seal_and_sign(tenant)

    return live


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Delete three events at a time."""
    monkeypatch.setattr(services_retention, "BATCH", 3)
    return


def left() -> int:
    """Return how many failed sign-ins are left."""
    session().rollback()
    failed = sa.select(sa.func.count(IAMAuthLog.id)).where(IAMAuthLog.action == "LOGIN_FAILED")
    return session().scalar(failed) or 0


def test_m6_what_is_older_than_the_policy_goes_and_the_rest_still_verifies(
    lived, actor, tenant, small_batches
) -> None:
    lived(8 * YEAR, 7)
    lived(6 * YEAR, 4)
    found = services_retention.prune(DAYS, actor=actor)
    assert (found.from_seq, found.count) == (0, 7)
    assert left() == 4
    (told,) = session().scalars(sa.select(IAMAuthLog).where(IAMAuthLog.action == "AUDIT_PRUNED"))
    assert told.details.items() >= {"from_seq": 0, "until_seq": 7, "days": DAYS}.items()
    assert session().scalar(sa.select(sa.func.count(IAMAuditSeal.id))) >= 11
    seal_and_sign(tenant)
    assert findings() == []


def test_m6_the_statement_is_signed_and_names_the_link(lived, actor) -> None:
    lived(8 * YEAR, 5)
    services_retention.prune(DAYS, actor=actor)
    (statement,) = session().scalars(sa.select(IAMAuditPrune))
    verifier.check_note(statement.note, services_audit_keys.vkeys())
    stated = verifier.read_prune(statement.note)
    link = session().scalar(sa.select(IAMAuditSeal.chain).where(IAMAuditSeal.seq == 4))
    assert (stated.from_seq, stated.until_seq, stated.days, stated.chain) == (0, 5, DAYS, link)


def test_m6_pruning_goes_on_where_it_ended(lived, actor, tenant, small_batches) -> None:
    lived(9 * YEAR, 4)
    lived(6 * YEAR, 4)
    assert services_retention.prune(DAYS, actor=actor).count == 4
    assert services_retention.prune(DAYS, actor=actor) is None
    with clock.travel(2 * YEAR):
        found = services_retention.prune(DAYS, actor=actor)
        assert (found.from_seq, found.until_seq) == (4, 9)  # the key that signs is an event too
        assert left() == 0
        seal_and_sign(tenant)
    with clock.travel(2 * YEAR):
        assert findings() == []


def test_m6_an_interrupted_run_is_finished_by_the_next(
    lived, actor, tenant, small_batches, monkeypatch
) -> None:
    lived(8 * YEAR, 8)
    batches = services_retention._batches

    def cut_off(*given: int) -> Iterator[list[UUID]]:
        for ids in batches(*given):
            yield ids
            raise KeyboardInterrupt

    monkeypatch.setattr(services_retention, "_batches", cut_off)
    with pytest.raises(KeyboardInterrupt):
        services_retention.prune(DAYS, actor=actor)
    assert left() == 5
    monkeypatch.setattr(services_retention, "_batches", batches)
    assert services_retention.prune(DAYS, actor=actor) is None
    assert left() == 0
    seal_and_sign(tenant)
    assert findings() == []


def test_m6_nothing_goes_that_was_not_signed_before_the_retention_began(
    lived, actor, tenant
) -> None:
    with clock.travel(-8 * YEAR), transaction():
        record(events.LOGIN_FAILED, actor=actor)
    assert services_retention.prune(DAYS, actor=actor) is None
    services_seal.seal_tenant(tenant)
    assert services_retention.prune(DAYS, actor=actor) is None
    services_checkpoints.sign(tenant)
    assert services_retention.prune(DAYS, actor=actor) is None
    assert left() == 1


@pytest.mark.parametrize("lie", ["time", "size", "note"])
def test_m6_a_checkpoint_that_was_made_up_lets_nothing_go(lived, actor, tenant, lie) -> None:
    lived(timedelta(days=1), 5)
    (true,) = session().scalars(sa.select(IAMAuditCheckpoint))
    values = {column.key: getattr(true, column.key) for column in IAMAuditCheckpoint.__table__.c}
    values |= {"id": new_id_like(true.id), "signed_at": clock.now() - 8 * YEAR}
    if lie == "size":
        values["size"] = 3
    if lie == "note":
        values["note"] = true.note.replace("time 20", "time 10")
    with transaction():
        session().add(IAMAuditCheckpoint(**values))
    with pytest.raises(PruneRefused):
        services_retention.prune(DAYS, actor=actor)
    assert left() == 5
    assert session().scalars(sa.select(IAMAuditPrune)).all() == []


def test_at_394_the_guard_lets_go_only_what_a_statement_covers(lived, actor) -> None:
    lived(8 * YEAR, 3)
    lived(YEAR, 3)
    table = IAMAuthLog.__table__
    for _turn in range(2):
        with pytest.raises(DBAPIError, match="append-only"), session().get_bind().begin() as sql:
            sql.execute(sa.delete(table))
        services_retention.prune(DAYS, actor=actor)
    assert left() == 3


def test_m6_each_tenant_has_its_own_policy(app, lived, actor, tenant, other_tenant) -> None:
    lived(2 * YEAR, 3)
    runner = app.test_cli_runner()
    other = actor.acting_as(tenant_id=other_tenant)
    with tenant_scope(other_tenant), transaction():
        override({"AUDIT_RETENTION_DAYS": 2555}, actor=other)
    with clock.travel(-2 * YEAR), tenant_scope(other_tenant):
        with transaction():
            record(events.LOGIN_FAILED, actor=other)
        seal_and_sign(other_tenant)
    with changed(app, AuditSettings, AUDIT_RETENTION_DAYS=365):
        looked = runner.invoke(args=["iam", "audit", "prune"])
    assert looked.exit_code == 0, looked.output
    assert f"Would go   tenant {tenant}: events 0 to" in looked.output
    assert f"Nothing    tenant {other_tenant}" in looked.output
    assert left() == 3
    with changed(app, AuditSettings, AUDIT_RETENTION_DAYS=365):
        done = runner.invoke(args=["iam", "audit", "prune", "--yes"])
    assert done.exit_code == 0, done.output
    assert f"Pruned     tenant {tenant}" in done.output
    assert left() == 0
    with tenant_scope(other_tenant):
        assert left() == 1


def test_m6_a_trail_that_is_refused_does_not_end_the_retention_of_others(
    app, lived, actor, tenant, other_tenant
) -> None:
    with tenant_scope(other_tenant), transaction():
        record(events.LOGIN_FAILED, actor=actor.acting_as(tenant_id=other_tenant))
    with clock.travel(-8 * YEAR):
        lived(timedelta(), 3)
        with tenant_scope(other_tenant):
            seal_and_sign(other_tenant)
    refused, other = services_retention.tenants()
    session().rollback()
    with administrator(engine()) as connection:
        false = CHECKPOINTS.update().where(CHECKPOINTS.c.tenant_id == refused)
        connection.execute(false.values(note="x"))
    session().rollback()
    done = app.test_cli_runner().invoke(args=["iam", "audit", "prune", "--yes"])
    assert done.exit_code == 1
    assert f"Refused    tenant {refused}: " in done.output
    assert f"Pruned     tenant {other}: " in done.output


def test_m6_the_page_of_the_trail_goes_on_without_the_pruned(
    lived, actor, client, make_user, sign_in
) -> None:
    lived(8 * YEAR, 3)
    services_retention.prune(DAYS, actor=actor)
    sign_in(client, make_user("maria", roles=["auditor"], mfa="totp"))
    answer = client.get("/admin/audit/logs/export?format=ndjson")
    actions = [json.loads(line)["action"] for line in answer.text.splitlines()]
    assert "AUDIT_PRUNED" in actions
    assert "LOGIN_FAILED" not in actions


def new_id_like(event_id: UUID) -> UUID:
    """Return another id of the same moment."""
    return UUID(int=event_id.int ^ 1)
