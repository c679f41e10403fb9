"""One event and the change it tells of: together or not at all, and clean."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from app.audit import events
from app.audit.models import IAMAuthLog
from app.audit.services_audit import (
    DENIED,
    FAILURE,
    SUCCESS,
    changes_of,
    record,
    session_hash,
)
from app.auth.models import IAMThrottle
from app.core import clock
from app.core.db import session, transaction
from app.core.errors import Conflict, InvalidInput, NotAuthenticated, Unavailable
from app.core.ids import new_id
from app.core.scoping import unscoped


def actions() -> list[str]:
    return list(session().scalars(select(IAMAuthLog.action).order_by(IAMAuthLog.id)))


def counters() -> list[str]:
    return list(session().scalars(select(IAMThrottle.scope)))


def work(trail, *recorded, ends_in: Exception | type[Exception] | None = None) -> None:
    """Change something and record it in one unit of work that may end in a refusal."""
    with trail.scope(), transaction():
        count_something()
        session().flush()
        for event in recorded:
            record(event, status=SUCCESS if ends_in is None else FAILURE, actor=trail.actor)
        if ends_in is not None:
            raise ends_in


def count_something(scope: str = "test") -> None:
    """Write a row that stands for any change."""
    session().add(IAMThrottle(scope=scope, count=1, updated_at=clock.now()))


# ------------------------------------------------------------ together or not at all


def test_m1_the_change_and_its_evidence_are_committed_together(trail) -> None:
    work(trail, events.LOGOUT)
    assert (counters(), actions()) == (["test"], ["LOGOUT"])


def test_m1_a_failure_takes_both_away(trail) -> None:
    with pytest.raises(RuntimeError, match="in the middle"):
        work(trail, events.LOGOUT, ends_in=RuntimeError("in the middle"))
    assert (counters(), actions()) == ([], [])


@pytest.mark.parametrize("refusal", [NotAuthenticated, Conflict])
def test_m1_a_refusal_keeps_its_evidence_and_loses_its_work(trail, refusal) -> None:
    with pytest.raises(refusal):
        work(trail, events.LOGIN_FAILED, ends_in=refusal)
    assert (counters(), actions()) == ([], ["LOGIN_FAILED"])


def test_m1_what_succeeded_in_work_that_was_refused_did_not_happen(trail) -> None:
    def refused() -> None:
        with trail.scope(), transaction():
            record(events.USER_CREATED, actor=trail.actor)
            record(events.LOGIN_FAILED, status=DENIED, actor=trail.actor)
            raise NotAuthenticated

    with pytest.raises(NotAuthenticated):
        refused()
    assert actions() == ["LOGIN_FAILED"]


def test_m1_evidence_of_a_nested_block_is_kept_as_well(trail) -> None:
    def outer() -> None:
        with transaction():
            record(events.LOGIN_FAILED, status=FAILURE, actor=trail.actor)
            work(trail, events.MFA_FAILED, ends_in=NotAuthenticated)

    with pytest.raises(NotAuthenticated):
        outer()
    assert counters() == []
    assert sorted(actions()) == ["LOGIN_FAILED", "MFA_FAILED"]


def test_m1_a_refusal_without_evidence_keeps_nothing(trail) -> None:
    with pytest.raises(InvalidInput):
        work(trail, events.LOGOUT, ends_in=InvalidInput)
    assert actions() == []


def test_m1_evidence_is_not_kept_for_the_next_piece_of_work(trail) -> None:
    work(trail, events.LOGOUT)
    with pytest.raises(NotAuthenticated):
        work(trail, ends_in=NotAuthenticated)
    assert actions() == ["LOGOUT"]


@pytest.fixture
def broken_trail(trail) -> Iterator[None]:
    """A trail that takes no rows, as with a full disk or a missing right."""
    mysql = session().get_bind().dialect.name == "mysql"
    body = (
        "FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no room'"
        if mysql
        else "BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    # A name of its own: a pooled connection of SQLite's may still know the one before.
    name = f"broken_{new_id().hex}"
    with unscoped("the test breaks the trail"):
        session().execute(text(f"CREATE TRIGGER {name} BEFORE INSERT ON iam_auth_log {body}"))
        session().commit()
        yield
        session().execute(text(f"DROP TRIGGER {name}"))
        session().commit()


def test_at_404_an_act_whose_audit_row_cannot_be_written_fails(trail, broken_trail) -> None:
    with pytest.raises((DBAPIError, Unavailable)):
        work(trail, events.USER_DELETED)
    assert counters() == []


def test_at_404_a_refusal_whose_evidence_cannot_be_written_is_still_no_grant(
    trail, broken_trail
) -> None:
    with pytest.raises((DBAPIError, NotAuthenticated)):
        work(trail, events.LOGIN_FAILED, ends_in=NotAuthenticated)
    session().rollback()
    assert counters() == []


# -------------------------------------------------------------------------- clean


@pytest.mark.parametrize(
    "poison",
    [
        "\r\nFORGED 200 OK",
        "\x1b[2J\x1b]0;title\x07",
        "\u202egnp.exe\u202c",
        "\u2066isolated\u2069",
        "nul\x00byte",
        "line\u2028paragraph\u2029",
        "\x85next\x9bline",
        "lone \ud800 surrogate",
    ],
)
def test_at_401_control_and_bidirectional_characters_are_encoded(trail, poison) -> None:
    with transaction():
        row = record(
            events.LOGIN_FAILED,
            actor=trail.actor.acting_as(user_agent=f"Browser {poison}"),
            changes={"name": [poison, {"deep": [poison]}]},
            identifier=poison,
        )
    session().expire_all()
    stored = f"{row.user_agent} {row.details} {row.changes}"
    assert stored.isprintable(), ascii(stored)
    assert "\ufffd" in row.details["identifier"]


def test_at_448_what_a_client_sends_is_cut_to_size(trail) -> None:
    with transaction():
        row = record(
            events.LOGIN_FAILED,
            actor=trail.actor.acting_as(user_agent="x" * 9000),
            identifier="y" * 9000,
        )
    session().expire_all()
    assert (len(row.user_agent), len(row.details["identifier"])) == (400, 400)


def test_at_407_time_actor_and_tenant_are_the_servers_own(trail) -> None:
    with clock.travel(timedelta(days=3)), transaction():
        row = record(events.LOGOUT, actor=trail.actor)
    session().expire_all()
    ahead = row.occurred_at - clock.now()
    assert timedelta(days=2, hours=23) < ahead <= timedelta(days=3)
    assert (row.tenant_id, row.actor_id) == (trail.tenant_id, trail.person)


def test_at_402_a_session_stands_in_the_trail_as_a_digest(trail) -> None:
    with transaction():
        row = record(events.LOGOUT, actor=trail.actor)
    session().expire_all()
    stored = " ".join(str(getattr(row, column.key)) for column in row.__mapper__.column_attrs)
    assert row.session_hash == session_hash(trail.actor.session_id)
    assert trail.actor.session_id.hex not in stored.replace("-", "")


def test_m1_changes_name_the_fields_that_differ() -> None:
    before, after = {"status": "active", "name": "A"}, {"status": "disabled", "name": "A"}
    assert changes_of(before, after) == {"status": ["active", "disabled"]}
