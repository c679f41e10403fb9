"""Reading the trail: conditions, order, pages, tenants, numbers, and the index behind them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from app.audit.filters import AuditFilter
from app.audit.models import IAMAuthLog
from app.audit.services_query import AuditLogQuery, find, first_id_at, page, sign_ins_per_day
from app.core import clock
from app.core.db import session
from app.core.errors import BadRequest, InvalidInput, NotFound
from app.core.ids import new_id

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def names(query: AuditLogQuery) -> list[str]:
    return [row.action for row in query.all()]


def test_m4_a_name_that_no_event_has_is_refused_as_by_the_page() -> None:
    with pytest.raises(InvalidInput):
        AuditLogQuery().by_action("LOGOUT", "NOPE")


def test_m4_conditions_are_added_step_by_step_and_leave_the_first_query_alone(trail) -> None:
    stranger = trail.actor.acting_as(user_id=new_id(), ip="198.51.100.7")
    trail.add("LOGIN_FAILED", status="failure", actor=stranger)
    trail.add("USER_DELETED", resource=("user_account", stranger.user_id))
    trail.add("LOGOUT")
    everything = AuditLogQuery()
    assert names(everything.by_action("LOGOUT", "USER_DELETED").limit(1)) in (
        ["LOGOUT"],
        ["USER_DELETED"],
    )
    assert names(everything.critical_only()) == ["USER_DELETED"]
    assert names(everything.by_actor(stranger.user_id)) == ["LOGIN_FAILED"]
    assert names(everything.by_ip("198.51.100.7").by_status("failure", "denied")) == [
        "LOGIN_FAILED"
    ]
    assert names(everything.by_resource("user_account", stranger.user_id)) == ["USER_DELETED"]
    assert names(everything.by_severity("warning").by_action("LOGOUT")) == []
    assert len(everything.all()) == 3


def test_m4_a_range_of_time_holds_its_start_and_not_its_end(trail) -> None:
    for minutes in (-1, 0, 59, 60):
        trail.add("LOGOUT", at=NOON + timedelta(minutes=minutes), status=f"at {minutes}")
    found = AuditLogQuery().by_date_range(NOON - timedelta(seconds=1), NOON + timedelta(minutes=60))
    assert [row.status for row in found.all()] == ["at 59", "at 0"]


def test_m4_pages_hold_every_event_once_in_order_and_lead_back(trail) -> None:
    for minute in range(7):
        trail.add("LOGOUT", at=NOON + timedelta(minutes=minute), status=str(minute))
    nothing = AuditFilter()
    first = page(nothing, cursor=None, size=3)
    second = page(nothing, cursor=first.next_cursor, size=3)
    third = page(nothing, cursor=second.next_cursor, size=3)
    shown = [[row.status for row in found.items] for found in (first, second, third)]
    assert shown == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
    assert (first.prev_cursor, third.next_cursor) == (None, None)
    back = page(nothing, cursor=third.prev_cursor, size=3)
    assert [row.status for row in back.items] == shown[1]


def test_m4_an_event_that_arrives_meanwhile_moves_no_page(trail) -> None:
    trail.add("LOGOUT", at=NOON, count=4)
    first = page(AuditFilter(), cursor=None, size=2)
    trail.add("LOGIN_FAILED", at=NOON + timedelta(hours=1))
    second = page(AuditFilter(), cursor=first.next_cursor, size=2)
    assert [row.action for row in second.items] == ["LOGOUT", "LOGOUT"]


def test_at_405_no_filter_and_no_cursor_shows_another_tenants_events(trail, foreign_trail) -> None:
    [secret] = foreign_trail.add("USER_DELETED")
    trail.add("LOGOUT")
    everything = AuditLogQuery()
    assert names(everything) == ["LOGOUT"]
    for query in (
        everything.by_tenant(foreign_trail.tenant_id),
        everything.by_actor(foreign_trail.person),
        everything.by_request(foreign_trail.actor.request_id),
        everything.search(str(secret.id)),
        everything.by_action("USER_DELETED").critical_only(),
    ):
        assert query.all() == []
    with pytest.raises(NotFound):
        find(secret.id)
    assert sum(day.succeeded + day.failed for day in sign_ins_per_day(7)) == 0


@pytest.mark.parametrize(
    "condition",
    [
        AuditFilter(actor=new_id()),
        AuditFilter(severity="critical"),
        AuditFilter(q="deleted"),
        AuditFilter(from_=datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_at_405_a_foreign_cursor_is_only_a_position(trail, foreign_trail, condition) -> None:
    foreign_trail.add("USER_DELETED", count=3)
    with foreign_trail.scope():
        stolen = page(AuditFilter(), cursor=None, size=1).next_cursor
    assert page(condition, cursor=stolen, size=10).items == []


def test_m4_one_event_is_found_and_an_unknown_one_is_not(trail) -> None:
    [row] = trail.add("LOGOUT")
    assert find(row.id).action == "LOGOUT"
    for unknown in (new_id(), None):
        with pytest.raises(NotFound):
            find(unknown)


@pytest.mark.parametrize("cursor", ["", "x", "YWJj", "a" * 400, "é", "AAAA\x00", "../../etc"])
def test_at_442_a_made_up_cursor_is_a_bad_request(trail, cursor) -> None:
    if not cursor:
        assert page(AuditFilter(), cursor=cursor, size=10).items == []
        return
    with pytest.raises(BadRequest):
        page(AuditFilter(), cursor=cursor, size=10)


@pytest.mark.parametrize("size", [0, -1, 10_001])
def test_at_449_a_limit_out_of_bounds_is_refused(size) -> None:
    with pytest.raises(BadRequest):
        AuditLogQuery().limit(size)


def test_m4_a_search_understands_words_addresses_and_ids(trail) -> None:
    other = trail.actor.acting_as(ip="198.51.100.7", request_id=new_id().hex, user_id=new_id())
    [deleted] = trail.add("USER_DELETED", resource=("user_account", other.user_id))
    [failed] = trail.add("LOGIN_FAILED", actor=other)

    def found(words: str) -> list[str]:
        return sorted(row.action for row in AuditLogQuery().search(words).all())

    assert found("account deleted") == ["USER_DELETED"]
    assert found("LOGIN_FAILED") == ["LOGIN_FAILED"]
    assert found("sign-in refused") == ["LOGIN_FAILED"]
    assert found("198.51.100.7") == ["LOGIN_FAILED"]
    assert found(str(deleted.id)) == ["USER_DELETED"]
    assert found(failed.id.hex) == ["LOGIN_FAILED"]
    assert found(str(other.user_id)) == ["LOGIN_FAILED", "USER_DELETED"]
    assert found(other.request_id) == ["LOGIN_FAILED"]
    assert found("' OR 1=1 --") == []
    assert found("100%") == []


def test_n2_sign_ins_are_counted_by_day_with_quiet_days(trail) -> None:
    at = NOON.replace(hour=3)
    trail.add("LOGIN_SUCCEEDED", at=at, count=3)
    trail.add("LOGIN_FAILED", at=at)
    trail.add("LOGIN_THROTTLED", at=at - timedelta(days=2))
    trail.add("LOGIN_SUCCEEDED", at=at - timedelta(days=3))
    trail.add("LOGOUT", at=at)
    with clock.travel(NOON - clock.now()):
        days = sign_ins_per_day(3)
    assert [(day.day.day, day.succeeded, day.failed) for day in days] == [
        (8, 0, 1),
        (9, 0, 0),
        (10, 3, 1),
    ]


def test_n2_a_day_begins_at_midnight_of_the_readers_zone(trail) -> None:
    trail.add("LOGIN_SUCCEEDED", at=NOON.replace(hour=23))  # the eleventh in Berlin
    with clock.travel(NOON + timedelta(days=1) - clock.now()):
        berlin = sign_ins_per_day(2, zone=ZoneInfo("Europe/Berlin"))
        utc = sign_ins_per_day(2)
    assert [day.succeeded for day in berlin] == [0, 1]
    assert [day.succeeded for day in utc] == [1, 0]


def test_n2_the_longest_chart_is_still_one_query(trail) -> None:
    trail.add("LOGIN_SUCCEEDED", at=clock.now() - timedelta(days=100))
    assert sum(day.succeeded for day in sign_ins_per_day(120)) == 1


@pytest.mark.parametrize("days", [0, -1, 121])
def test_at_449_a_number_of_days_out_of_bounds_is_refused(days) -> None:
    with pytest.raises(BadRequest):
        sign_ins_per_day(days)


def test_m4_the_first_id_of_a_moment_is_not_above_any_id_made_then(trail) -> None:
    before = clock.now()
    made = new_id()
    assert first_id_at(before).int <= made.int < first_id_at(clock.now(), 1).int
    assert first_id_at(datetime(1969, 1, 1, tzinfo=UTC)).int == 0


def test_m4_an_index_serves_each_filter_and_its_order(trail) -> None:
    """No sort and no scan of the table: what keeps a page fast at ten million rows."""
    trail.add("LOGOUT")  # makes the tenant's key for addresses, by which they are found
    person = fill(trail.tenant_id)
    everything = AuditLogQuery().limit(51)
    for query in (
        everything,
        everything.by_action("LOGIN_FAILED"),
        everything.by_actor(person),
        everything.by_resource(None, person),
        everything.by_ip("192.0.2.7"),
        everything.by_status("failure"),
        everything.by_date_range(NOON, NOON + timedelta(minutes=10)),
        everything.by_request(new_id().hex),
    ):
        plan = plan_of(query.all)
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan
        assert "Table scan" not in plan, plan
        assert "ix_iam_auth_log" in plan or "PRIMARY" in plan, plan


def test_m4_a_search_by_id_asks_each_index_for_its_own(trail) -> None:
    person = fill(trail.tenant_id)
    plan = plan_of(AuditLogQuery().search(str(person)).limit(51).all)
    assert "ix_iam_auth_log_actor" in plan, plan
    assert "ix_iam_auth_log_resource" in plan, plan
    assert "Table scan on iam_auth_log" not in plan, plan
    assert "SCAN iam_auth_log" not in plan, plan


def test_n2_sign_ins_are_counted_in_the_index_alone(trail) -> None:
    fill(trail.tenant_id)
    with clock.travel(NOON + timedelta(hours=2) - clock.now()):
        plan = plan_of(sign_ins_per_day)
    assert "ix_iam_auth_log_action" in plan, plan
    for other in ("ix_iam_auth_log_status", "ix_iam_auth_log_tenant", "Table scan on iam_auth"):
        assert other not in plan, plan


def fill(tenant_id: UUID, rows: int = 4000) -> UUID:
    """Put rows of four tenants into the trail, past the service; return a person of them."""
    people = [new_id() for _number in range(40)]
    tenants = [tenant_id, new_id(), new_id(), new_id()]
    values = []
    for number in range(rows):
        at = NOON + timedelta(seconds=number)
        failed = number % 10 == 0
        values.append(
            {
                "id": UUID(int=first_id_at(at).int | (7 << 76) | number),
                "tenant_id": tenants[number % 4],
                "action": "LOGIN_FAILED" if failed else "LOGOUT",
                "severity": "info",
                "status": "failure" if failed else "success",
                "actor_type": "user",
                "actor_id": people[number // 4 % 40],
                "resource_id": people[number // 4 % 40],
                "ip": f"192.0.2.{number // 4 % 250}",
                "request_id": new_id().hex,
                "changes": {},
                "metadata": {},
                "encoding_version": 1,
                "occurred_at": at,
                "recorded_at": at,
            }
        )
    with session().get_bind().begin() as connection:
        connection.execute(IAMAuthLog.__table__.insert(), values)
        update = {"mysql": "ANALYZE TABLE iam_auth_log", "sqlite": "ANALYZE"}
        connection.exec_driver_sql(update[connection.dialect.name])
    return people[0]


def plan_of(ask: Callable[[], object]) -> str:
    """Return how the engine answers the statement that `ask` really sends."""
    engine = session().get_bind()
    sent = []

    def note(_connection, _cursor, statement, parameters, *_more) -> None:
        sent.append((statement, parameters))

    session().rollback()
    event.listen(engine, "before_cursor_execute", note)
    ask()
    event.remove(engine, "before_cursor_execute", note)
    [(statement, parameters)] = [item for item in sent if item[0].startswith("SELECT")]
    explain = {"sqlite": "EXPLAIN QUERY PLAN ", "mysql": "EXPLAIN FORMAT=TREE "}
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(explain[engine.dialect.name] + statement, parameters)
        return "\n".join(str(row[-1]) for row in rows.all())


def test_m4_a_query_counts_up_to_its_limit_and_finds_the_newest(trail) -> None:
    assert AuditLogQuery().first() is None
    trail.add("LOGOUT", count=3)
    trail.add("USER_DELETED", resource=("user_account", trail.person))
    query = AuditLogQuery()
    assert (query.count(), query.limit(2).count()) == (4, 2)
    newest = query.first()
    assert newest is not None
    assert newest.action == "USER_DELETED"
    assert query.by_action("LOGIN_FAILED").count() == 0


def test_m4_each_yields_every_event_once_whatever_the_chunk(trail) -> None:
    trail.add("LOGOUT", count=7)
    for size in (1, 3, 7, 100):
        found = [row.id for row in AuditLogQuery().limit(size).each()]
        assert len(found) == len(set(found)) == 7
        assert found == sorted(found, reverse=True)


def test_m4_what_concerns_a_person_is_found_whoever_did_it(trail) -> None:
    other = new_id()
    trail.add("USER_SUSPENDED", resource=("user_account", other))
    trail.add("LOGOUT")
    assert names(AuditLogQuery().by_subject(other)) == ["USER_SUSPENDED"]
    assert names(AuditLogQuery().by_severity("warning", "info")) == ["LOGOUT", "USER_SUSPENDED"]


def test_at_405_the_steps_of_a_query_never_reach_another_tenant(trail, foreign_trail) -> None:
    foreign_trail.add("USER_DELETED", resource=("user_account", foreign_trail.person))
    query = AuditLogQuery().by_tenant(foreign_trail.tenant_id)
    assert (query.count(), query.first(), list(query.each())) == (0, None, [])
    assert AuditLogQuery().by_subject(foreign_trail.person).all() == []
