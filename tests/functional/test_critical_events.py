"""Critical events are told at once to those who watch, and a flood is no flood of mail (M5)."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import pymysql
import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app import services_alerts
from app.audit import events
from app.audit.services_audit import DENIED, record
from app.authz import services_roles
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import Base, engine, session, transaction
from app.core.errors import Conflict, InvalidInput, Misconfigured
from app.core.scoping import tenant_scope, unscoped
from app.notify import critical, services_outbox
from app.notify.models import NOTED, IAMOutbox
from app.notify.settings import NotifySettings
from app.risk import services_limits
from app.tenancy import services_settings
from tests.conftest import post
from tests.support import mailbox
from tests.support.collectors import SECRET, SyslogServer, WebhookServer
from tests.support.settings import changed

WATCH = "security@example.com"
M5 = (
    "SUPER_ADMIN_ACCESS", "TENANT_ISOLATION_BREACH_ATTEMPT", "LOGIN_FAILURES_REPEATED",
    "USER_DELETED", "ROLE_DELETED", "PASSWORD_RESET", "MFA_DISABLED",
)  # fmt: skip


@pytest.fixture
def watched(app):
    """Have the critical events of the installation mailed."""
    with changed(app, NotifySettings, AUDIT_NOTIFY_EMAILS=(WATCH,)):
        yield WATCH


def happen(event, tenant, **values):
    actor = values.pop("actor", None) or Actor("anonymous", tenant, ip="192.0.2.9")
    with tenant_scope(tenant), transaction():
        return record(event, actor=actor, **values).id


def refused(error, event, tenant) -> None:
    with suppress(error), tenant_scope(tenant), transaction():
        record(event, status=DENIED, actor=system_actor(tenant))
        raise error


def waiting() -> list[str]:
    with unscoped("a test"):
        session().rollback()
        rows = session().scalars(select(IAMOutbox).where(IAMOutbox.status == NOTED))
        return [row.purpose for row in rows]


def mails(to: str = WATCH) -> list[dict]:
    return [item for item in mailbox.messages(to) if item["channel"] == "email"]


@contextmanager
def later(minutes: float):
    with clock.travel(timedelta(minutes=minutes)):
        yield


@pytest.mark.parametrize("name", M5)
def test_m5_what_must_be_told_is_critical(name) -> None:
    assert events.CATALOGUE[name].severity == events.CRITICAL
    assert len(name) <= IAMOutbox.__table__.c.purpose.type.length


def test_m5_a_critical_event_is_mailed_with_what_who_and_where(tenant, make_user, watched) -> None:
    boss = make_user("boss", display_name="Bo Boss")
    actor = Actor("user", tenant, user_id=boss.id, ip="192.0.2.9")
    event_id = happen(events.ROLE_DELETED, tenant, actor=actor, role="writers")
    (mail,) = mails()
    assert mail["subject"].startswith("A role was deleted")
    for told in ("Bo Boss", "192.0.2.9", f"/admin/audit/logs/{event_id}"):
        assert told in mail["body"]
    assert not waiting()


def test_m5_a_deletion_over_the_service_is_told(scoped, actor, watched) -> None:
    with transaction():
        role = services_roles.create_role("writers", actor_grants=None, actor=actor)
    with transaction():
        services_roles.delete_role(role, actor_grants=None, actor=actor)
    assert [mail["subject"].partition(":")[0] for mail in mails()] == ["A role was deleted"]


def test_m5_ordinary_events_are_not_told(tenant, watched) -> None:
    happen(events.LOGIN_FAILED, tenant, reason="x")
    assert mails() == []


def test_m5_the_mail_is_in_the_language_of_its_reader(tenant, make_user, watched) -> None:
    make_user("sec", email=WATCH, language="de")
    happen(events.ROLE_DELETED, tenant)
    assert "wurde" in mails()[0]["subject"]


def test_m5_what_was_rolled_back_is_not_told(tenant, watched) -> None:
    refused(InvalidInput, events.ROLE_DELETED, tenant)
    services_alerts.tell()
    assert mails() == []


def test_m5_the_evidence_of_a_refusal_is_told(tenant, watched) -> None:
    refused(Conflict, events.TENANT_ISOLATION_BREACH_ATTEMPT, tenant)
    assert len(mails()) == 1


def test_at_406_a_flood_is_two_mails_and_hides_no_other_kind(tenant, watched) -> None:
    for _number in range(5):
        happen(events.SUPER_ADMIN_ACCESS, tenant)
    happen(events.ROLE_DELETED, tenant)
    subjects = [mail["subject"].partition(":")[0] for mail in mails()]
    assert len(subjects) == 2, "the first of each kind is told at once, nothing else"
    assert waiting() == ["SUPER_ADMIN_ACCESS"] * 4
    with later(14):
        services_outbox.drain()
        assert len(mails()) == 2
    with later(16):
        services_outbox.drain()
    newest = mails()[0]
    assert newest["subject"].startswith("4 critical events")
    assert "4 x" in newest["body"]
    assert not waiting()


def test_at_406_a_digest_lists_the_newest_and_counts_the_rest(tenant, watched) -> None:
    happen(events.SUPER_ADMIN_ACCESS, tenant)
    for _number in range(13):
        happen(events.SUPER_ADMIN_ACCESS, tenant)
    with later(16):
        services_outbox.drain()
    body = mails()[0]["body"]
    assert body.count("192.0.2.9") == 10
    assert "3 more" in body


def test_at_418_a_tenant_is_told_of_its_own_events_only(tenant, other_tenant) -> None:
    for home, address in ((tenant, "here@example.com"), (other_tenant, "there@example.com")):
        with tenant_scope(home), transaction():
            services_settings.override({"AUDIT_NOTIFY_EMAILS": [address]}, actor=system_actor(home))
    happen(events.ROLE_DELETED, other_tenant)
    assert mails("here@example.com") == []
    assert len(mails("there@example.com")) == 1


def test_m5_a_tenant_that_cannot_be_told_keeps_no_other_from_it(
    app, tenant, other_tenant, caplog
) -> None:
    with changed(app, NotifySettings, IAM_OUTBOX_MODE="worker", AUDIT_NOTIFY_EMAILS=(WATCH,)):
        for home in (tenant, other_tenant):
            happen(events.ROLE_DELETED, home)
        first, _last = critical.tenants_waiting()
        tenants = Base.metadata.tables["iam_tenant"]
        with engine().begin() as connection:
            broken = tenants.update().where(tenants.c.id == first)
            connection.execute(broken.values(metadata="x"))
        services_outbox.drain()
    assert f"the critical events of tenant {first} were not told" in caplog.text
    assert len(mails()) == 1


def test_m5_where_nobody_watches_nothing_waits(tenant) -> None:
    happen(events.ROLE_DELETED, tenant)
    assert not waiting()


def test_m5_webhook_and_system_log_get_numbers_and_ids(app, tenant, make_user) -> None:
    boss = make_user("boss", display_name="Bo Boss")
    actor = Actor("user", tenant, user_id=boss.id, ip="192.0.2.9")
    with ExitStack() as stack:
        hook, log = stack.enter_context(WebhookServer()), stack.enter_context(SyslogServer())
        values = {
            "AUDIT_NOTIFY_URL": hook.address,
            "AUDIT_NOTIFY_SECRET": SECRET,
            "AUDIT_NOTIFY_SYSLOG": log.target,
        }
        stack.enter_context(changed(app, NotifySettings, **values))
        app.extensions.pop("iam_gateways", None)
        event_id = happen(events.ROLE_DELETED, tenant, actor=actor, role="writers")
        line = log.line()
        (body,) = hook.bodies
    app.extensions.pop("iam_gateways", None)
    assert body["type"] == "audit.critical"
    assert body["data"]["tenant_id"] == str(tenant)
    assert body["data"]["counts"] == {"ROLE_DELETED": 1}
    assert body["data"]["events"][0]["id"] == str(event_id)
    # AT-418: no name, no address, nothing that was typed.
    assert not any(word in str(body) for word in ("Bo", "192.0.2.9", "writers"))
    assert line.startswith("<106>1 ")
    assert f"tenant={tenant} critical=1 kinds=ROLE_DELETED*1 newest={event_id}" in line
    assert hook.requests["hook"] == 1


def test_m5_a_webhook_that_fails_is_tried_again(app, tenant) -> None:
    from tests.support.loopback import BROKEN

    with WebhookServer() as hook:
        values = {"AUDIT_NOTIFY_URL": hook.address, "AUDIT_NOTIFY_SECRET": SECRET}
        with changed(app, NotifySettings, **values):
            app.extensions.pop("iam_gateways", None)
            hook.answers["hook"] = BROKEN
            happen(events.ROLE_DELETED, tenant)
            del hook.answers["hook"]
            with later(1):
                services_outbox.drain()
    app.extensions.pop("iam_gateways", None)
    first, second = (request.headers for _name, request in hook.seen)
    assert first["webhook-id"] == second["webhook-id"], "a repetition is known by its id"
    assert first["webhook-timestamp"] != second["webhook-timestamp"]


def test_m5_many_processes_tell_an_event_once(app, tenant, watched) -> None:
    with changed(app, NotifySettings, IAM_OUTBOX_MODE="worker", AUDIT_NOTIFY_EMAILS=(WATCH,)):
        happen(events.ROLE_DELETED, tenant)
        start = threading.Barrier(4)

        def tell() -> None:
            with app.app_context():
                start.wait()
                services_outbox.drain()

        workers = [threading.Thread(target=tell) for _number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        services_outbox.drain()
    assert len(mails()) == 1


def test_m5_a_process_that_is_refused_the_window_does_not_hold_up_the_one_that_has_it(
    app, tenant, watched, monkeypatch
) -> None:
    charge, other = services_limits.charge, []

    def tell() -> None:
        with app.app_context():
            services_alerts.tell()

    def charged_while_another_tells(*args, **values) -> None:
        charge(*args, **values)
        if not other:
            other.append(threading.Thread(target=tell))
            other[0].start()
            other[0].join()

    with changed(app, NotifySettings, IAM_OUTBOX_MODE="worker", AUDIT_NOTIFY_EMAILS=(WATCH,)):
        happen(events.ROLE_DELETED, tenant)
        monkeypatch.setattr(services_limits, "charge", charged_while_another_tells)
        services_outbox.drain()
    assert other
    assert len(mails()) == 1
    assert not waiting()


@pytest.mark.parametrize(("code", "told"), [(1213, 1), (2013, 0)], ids=["a deadlock", "away"])
def test_m5_a_lost_race_does_not_let_the_window_pass(
    app, tenant, watched, monkeypatch, code, told
) -> None:
    take, lost = critical.take, []

    def lose_once(kinds):
        if not lost:
            lost.append(kinds)
            raise OperationalError("UPDATE", {}, pymysql.OperationalError(code, "lost"))
        return take(kinds)

    with changed(app, NotifySettings, IAM_OUTBOX_MODE="worker", AUDIT_NOTIFY_EMAILS=(WATCH,)):
        happen(events.ROLE_DELETED, tenant)
        monkeypatch.setattr(critical, "take", lose_once)
        services_outbox.drain()
    assert lost == [["ROLE_DELETED"]]
    assert len(mails()) == told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIT_NOTIFY_EMAILS", "no address"),
        ("AUDIT_NOTIFY_EMAILS", "a@example.com,b@example.com\nBcc: c@example.com"),
        ("AUDIT_NOTIFY_SYSLOG", "tcp://logs.example.com"),
        ("AUDIT_NOTIFY_SYSLOG", "/dev/log"),
    ],
)
def test_at_466_a_setting_that_leads_nowhere_stops_the_start(name, value) -> None:
    with pytest.raises(Misconfigured):
        NotifySettings.load({name: value}, {})


# ------------------------------------------------------------------ repeated failures


def guess(client, name: str, minute: int) -> None:
    with later(minute * 40):
        post(client, "/auth/login", {"username": name, "password": "wrong"})


@pytest.mark.parametrize("name", ["ann", "nobody-here"])
def test_m5_ten_failures_in_a_row_are_one_critical_event(
    client, make_user, audit_rows, watched, name
) -> None:
    person = make_user("ann")
    for minute in range(12):
        guess(client, name, minute)
        expected = 1 if minute >= 9 else 0
        assert len(audit_rows("LOGIN_FAILURES_REPEATED")) == expected
    (event,) = audit_rows("LOGIN_FAILURES_REPEATED")
    assert event.details["count"] == 10
    assert event.resource_id == (person.id if name == "ann" else None)
    assert len(mails()) == 1


def test_m5_a_success_in_between_starts_the_count_anew(
    client, make_user, sign_in, audit_rows
) -> None:
    person = make_user("ann")
    for minute in range(9):
        guess(client, "ann", minute)
    with later(9 * 40):
        sign_in(client.application.test_client(), person)
    for minute in range(10, 15):
        guess(client, "ann", minute)
    assert audit_rows("LOGIN_FAILURES_REPEATED") == []


def test_m5_many_failures_from_one_address_are_one_critical_event(
    app, client, audit_rows, watched
) -> None:
    with changed(
        app, NotifySettings, AUDIT_NOTIFY_LOGIN_FAILURES_PER_IP=4, AUDIT_NOTIFY_EMAILS=(WATCH,)
    ):
        for number in range(6):
            post(client, "/auth/login", {"username": f"name{number}", "password": "wrong"})
    (event,) = audit_rows("LOGIN_FAILURES_REPEATED")
    assert (event.details["scope"], event.details["count"]) == ("login.ip", 4)
    assert event.resource_id is None
    assert len(mails()) == 1
