"""What a database administrator can do to the trail, and that each of it is found (M3).

Every case tampers with the real tables, guards taken away, and is then looked for twice: in
the tables, and in a bundle exported from them by whoever tampered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask

from app.audit import services_bundle, verifier
from app.audit.verifier import BundleSource, Report, SourceError, bundle_lines, verify
from app.core.db import engine, session
from tests.support.trails import (
    CHECKPOINTS,
    EVENTS,
    HEADS,
    KEYS,
    PRUNES,
    SEALS,
    START,
    SealedTrail,
    administrator,
    event_id,
    event_row,
)  # fmt: skip

# Twelve events a minute apart; checkpoints after 5, 9 and 12 of them; a neighbour with five.
NOW = START + timedelta(minutes=11, seconds=30)
LATER = NOW + timedelta(days=1)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


@pytest.fixture
def trails(app: Flask, tenant: UUID, other_tenant: UUID) -> tuple[SealedTrail, SealedTrail]:
    """Two tenants' trails, committed."""
    session().rollback()
    with administrator(engine()) as connection:
        connection.execute(EVENTS.delete())  # what making the database left
    with engine().begin() as connection:
        ours = SealedTrail(connection, tenant)
        for count in (5, 4, 3):
            ours.grow(count)
            ours.checkpoint()
        ours.head()
        theirs = SealedTrail(connection, other_tenant)
        theirs.grow(5)
        theirs.checkpoint()
        theirs.head()
    return ours, theirs


def check(*trails: SealedTrail, now=NOW, anchors=(), **asked: Any) -> Report:
    """Verify the tables, in pages of any size, and a bundle of them: all must tell the same."""
    vkeys = [trail.vkey for trail in trails]
    with services_bundle.open_database() as source:
        found = verify(source, now=now, vkeys=vkeys, anchors=anchors, **asked)
    with services_bundle.open_database() as source:
        lines = list(bundle_lines(source, made=now))
    again = verify(BundleSource(lines), now=now, vkeys=vkeys, anchors=anchors, **asked)
    assert again == found
    with mock.patch.object(verifier, "_PAGE", 2), services_bundle.open_database() as source:
        paged = verify(source, now=now, vkeys=vkeys, anchors=anchors, **asked)
    assert paged == found
    return found


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def rebuild(connection: sa.Connection, trail: SealedTrail) -> None:
    """Seal everything anew, as whoever knows the format but not the key would."""
    connection.execute(SEALS.delete().where(SEALS.c.tenant_id == trail.tenant_id))
    fresh = SealedTrail.__new__(SealedTrail)
    vars(fresh).update(vars(trail), connection=connection, size=0, frontier=verifier.Frontier())
    fresh.link = verifier.first_link(trail.tenant_id)
    fresh.links = [fresh.link]
    rows = connection.execute(
        sa.select(EVENTS).where(EVENTS.c.tenant_id == trail.tenant_id).order_by(EVENTS.c.id)
    )
    for row in rows.mappings().all():
        fresh.seal(dict(row))


def test_m3_an_untouched_trail_is_intact(trails) -> None:
    report = check(*trails, anchors=trails[0].notes, fresh_within=timedelta(minutes=10))
    assert report.intact, report.findings
    assert (report.events, report.checkpoints, report.tenants) == (17, 4, 2)


def test_m3_the_tables_are_read_as_they_were_sealed(trails) -> None:
    """Engines reorder JSON and keep times in their own way; the bytes must come back the same."""
    ours, _theirs = trails
    with services_bundle.open_database() as source:
        (trail,) = source.trails([ours.tenant_id])
        for number, sealed in enumerate(trail.sealed):
            assert verifier.pack(sealed.parts) == verifier.encode(event_row(ours.tenant_id, number))


def test_m3_a_check_leaves_the_pool_of_connections_as_it_was(trails) -> None:
    if engine().dialect.name != "mysql":
        pytest.skip("SQLite is read through a connection of its own")
    level = sa.text("SELECT @@SESSION.transaction_isolation")
    with engine().connect() as connection:
        before = connection.scalar(level)
    check(*trails)
    with engine().connect() as one, engine().connect() as other:
        assert [one.scalar(level), other.scalar(level)] == [before] * 2 == ["READ-COMMITTED"] * 2


# ------------------------------------------------------------------ events

Case = Callable[[sa.Connection, SealedTrail, SealedTrail], Any]
CASES: dict[str, tuple[Case, set[str], int | None]] = {}


def case(name: str, *expected: str, seq: int | None = None) -> Callable[[Case], Case]:
    """Register one way to tamper, what must be found, and at which number."""

    def register(function: Case) -> Case:
        CASES[name] = (function, set(expected), seq)
        return function

    return register


def of(trail: SealedTrail, number: int) -> Any:
    return EVENTS.c.id == event_id(trail.tenant_id, number)


def sealed(trail: SealedTrail, number: int) -> Any:
    return (SEALS.c.tenant_id == trail.tenant_id) & (SEALS.c.seq == number)


def noted(trail: SealedTrail, number: int) -> Any:
    return CHECKPOINTS.c.id == event_id(trail.tenant_id, number)


for _column, _value in {
    "action": "LOGOUT", "severity": "info", "status": "success", "actor_type": "user",
    "actor_id": UUID(int=7), "on_behalf_of_id": UUID(int=7), "resource_type": "x",
    "resource_id": UUID(int=7), "subject_id": None, "changes": {"name": []}, "ip": "192.0.2.8",
    "user_agent": None, "request_id": "x", "session_hash": "x", "error": "x", "metadata": {"z": 1},
    "ip_index": None, "origin_sealed": b"", "personal_sealed": b"x", "encoding_version": 2,
    "occurred_at": START, "recorded_at": START + timedelta(minutes=7, seconds=1),
}.items():  # fmt: skip

    @case(f"edit {_column}", "edited", seq=7)
    def _edit(connection, ours, theirs, column=_column, value=_value) -> None:
        connection.execute(EVENTS.update().where(of(ours, 7)).values({column: value}))


@case("edit and hash anew", "edited", seq=7)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.update().where(of(ours, 7)).values(action="LOGOUT"))
    leaf = verifier.leaf_hash(verifier.encode(event_row(ours.tenant_id, 7, action="LOGOUT")))
    connection.execute(SEALS.update().where(sealed(ours, 7)).values(leaf=leaf))


@case("edit and seal everything anew", "edited", seq=5)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.update().where(of(ours, 7)).values(action="LOGOUT"))
    rebuild(connection, ours)


@case("put an event there that cannot be encoded", "edited", seq=7)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.update().where(of(ours, 7)).values(metadata={"x": 1.5}))


@case("exchange the contents of two events", "edited", seq=3)
def _(connection, ours, theirs) -> None:
    spare = UUID(int=1)
    for old, new in ((3, spare), (4, event_id(ours.tenant_id, 3))):
        connection.execute(EVENTS.update().where(of(ours, old)).values(id=new))
    four = event_id(ours.tenant_id, 4)
    connection.execute(EVENTS.update().where(EVENTS.c.id == spare).values(id=four))


@case("delete an event", "deleted", seq=7)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.delete().where(of(ours, 7)))


@case("delete an event and its seal", "gap", seq=7)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.delete().where(of(ours, 7)))
    connection.execute(SEALS.delete().where(sealed(ours, 7)))


@case("delete an event and seal everything anew", "edited", "cut_tail", seq=5)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.delete().where(of(ours, 7)))
    rebuild(connection, ours)


@case("insert an event without a seal", "inserted")
def _(connection, ours, theirs) -> None:
    row = event_row(ours.tenant_id, 50, recorded_at=START - timedelta(hours=1))
    connection.execute(EVENTS.insert(), row)


@case("insert an event from the future", "inserted")
def _(connection, ours, theirs) -> None:
    row = event_row(ours.tenant_id, 50, recorded_at=LATER)
    connection.execute(EVENTS.insert(), row)


@case("insert an event in the middle and seal everything anew", "edited", seq=0)
def _(connection, ours, theirs) -> None:
    row = event_row(ours.tenant_id, 3)
    row["id"] = UUID(int=event_id(ours.tenant_id, 3).int + 1)
    connection.execute(EVENTS.insert(), row)
    rebuild(connection, ours)


@case("exchange the numbers of two events", "reordered", seq=6)
def _(connection, ours, theirs) -> None:
    for old, new in ((6, -1), (8, 6), (-1, 8)):
        connection.execute(SEALS.update().where(sealed(ours, old)).values(seq=new))


@case("exchange the numbers of neighbours", "reordered", seq=6)
def _(connection, ours, theirs) -> None:
    for old, new in ((6, -1), (7, 6), (-1, 7)):
        connection.execute(SEALS.update().where(sealed(ours, old)).values(seq=new))


@case("exchange two events under their numbers and links", "reordered", seq=6)
def _(connection, ours, theirs) -> None:
    links = {number: ours.links[number + 1] for number in (6, 8)}
    for old, new in ((6, -1), (8, 6), (-1, 8)):
        connection.execute(SEALS.update().where(sealed(ours, old)).values(seq=new))
    for number, link in links.items():
        connection.execute(SEALS.update().where(sealed(ours, number)).values(chain=link))


@case("delete a seal", "gap", seq=7)
def _(connection, ours, theirs) -> None:
    connection.execute(SEALS.delete().where(sealed(ours, 7)))


@case("cut the tail", "cut_tail", seq=10)
def _(connection, ours, theirs) -> None:
    for number in (10, 11):
        connection.execute(EVENTS.delete().where(of(ours, number)))
        connection.execute(SEALS.delete().where(sealed(ours, number)))


@case("cut the tail and its checkpoint, forgetting the head", "cut_tail", seq=9)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.delete().where(EVENTS.c.id >= event_id(ours.tenant_id, 9)))
    connection.execute(SEALS.delete().where(SEALS.c.seq >= 9))
    connection.execute(CHECKPOINTS.delete().where(CHECKPOINTS.c.size > 9))


@case("cut the events of the head", "cut_head", seq=0)
def _(connection, ours, theirs) -> None:
    for number in range(3):
        connection.execute(EVENTS.delete().where(of(ours, number)))


@case("cut the head", "cut_head", seq=0)
def _(connection, ours, theirs) -> None:
    for number in range(3):
        connection.execute(EVENTS.delete().where(of(ours, number)))
        connection.execute(SEALS.delete().where(sealed(ours, number)))


@case("move an event to another tenant", "moved", seq=7)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.update().where(of(ours, 7)).values(tenant_id=theirs.tenant_id))


@case("move an event and its seal to another tenant", "moved", "edited", "gap", seq=5)
def _(connection, ours, theirs) -> None:
    connection.execute(EVENTS.update().where(of(ours, 7)).values(tenant_id=theirs.tenant_id))
    change = {"tenant_id": theirs.tenant_id, "seq": 5}
    connection.execute(SEALS.update().where(sealed(ours, 7)).values(change))


# ------------------------------------------------------------------ checkpoints


@case("change a checkpoint's row", "checkpoint_replaced", seq=9)
def _(connection, ours, theirs) -> None:
    connection.execute(CHECKPOINTS.update().where(noted(ours, 2)).values(root=bytes(32)))


@case("put an older checkpoint in the place of a newer", "checkpoint_replaced", seq=5)
def _(connection, ours, theirs) -> None:
    connection.execute(CHECKPOINTS.update().where(noted(ours, 2)).values(note=ours.notes[0]))


@case("put another tenant's checkpoint there", "checkpoint_replaced", seq=9)
def _(connection, ours, theirs) -> None:
    connection.execute(CHECKPOINTS.update().where(noted(ours, 2)).values(note=theirs.notes[0]))


@case("change what a checkpoint states", "checkpoint_signature", seq=9)
def _(connection, ours, theirs) -> None:
    note = ours.notes[1].replace("\n9\n", "\n8\n")
    connection.execute(CHECKPOINTS.update().where(noted(ours, 2)).values(note=note))


@case("put a checkpoint of a key of one's own there", "checkpoint_signature", seq=9)
def _(connection, ours, theirs) -> None:
    mine = STRANGER
    public = mine.public_key().public_bytes_raw()
    body = verifier.split_note(ours.notes[1])[0]
    note = verifier.sign_note(body, ours.origin, mine.sign, public)
    connection.execute(CHECKPOINTS.update().where(noted(ours, 2)).values(note=note))
    connection.execute(KEYS.update().where(KEYS.c.name == ours.origin).values(public_key=public))


@case("put nonsense in the place of a checkpoint", "checkpoint_signature", seq=9)
def _(connection, ours, theirs) -> None:
    connection.execute(CHECKPOINTS.update().where(noted(ours, 2)).values(note="nonsense"))


@case("sign two roots for one size", "fork", seq=9)
def _(connection, ours, theirs) -> None:
    body = verifier.checkpoint_body(
        ours.origin, 9, bytes(32), bytes(32), START + timedelta(minutes=8, seconds=2)
    )
    note = ours.sign(body)
    row = connection.execute(sa.select(CHECKPOINTS).where(noted(ours, 2))).mappings().one()
    stated = verifier.read_checkpoint(note)
    changed = {
        "id": UUID(int=row["id"].int + 1),
        "note": note,
        "root": stated.root,
        "chain": stated.chain,
    }
    connection.execute(CHECKPOINTS.insert(), {**row, **changed})


@case("begin again from an earlier size", "fork", "cut_tail", seq=9)
def _(connection, ours, theirs) -> None:
    body = verifier.checkpoint_body(ours.origin, 9, bytes(32), bytes(32), NOW)
    again = {"id": event_id(ours.tenant_id, 90), "tenant_id": ours.tenant_id, "signed_at": NOW}
    values = {"size": 9, "root": bytes(32), "chain": bytes(32), "note": ours.sign(body)}
    connection.execute(SEALS.delete().where(SEALS.c.seq >= 9))
    connection.execute(EVENTS.delete().where(EVENTS.c.id >= event_id(ours.tenant_id, 9)))
    connection.execute(CHECKPOINTS.insert(), {**again, **values})


# ------------------------------------------------------------------ clocks


def _redated(connection, ours, seconds: int) -> None:
    stated = verifier.read_checkpoint(ours.notes[1])
    at = stated.time + timedelta(seconds=seconds)
    note = ours.sign(verifier.checkpoint_body(ours.origin, 9, stated.root, stated.chain, at))
    connection.execute(CHECKPOINTS.update().where(noted(ours, 2)).values(note=note))


@case("turn the clock back before signing", "clock", seq=9)
def _(connection, ours, theirs) -> None:
    _redated(connection, ours, -60 * 60)


@case("turn the clock forward before signing", "clock", seq=9)
def _(connection, ours, theirs) -> None:
    _redated(connection, ours, 60 * 60 * 24)


# ------------------------------------------------------------------ pruning


@case("claim that events were pruned", "prune_invalid", "cut_head", seq=5)
def _(connection, ours, theirs) -> None:
    mine = STRANGER
    body = verifier.prune_body(ours.origin, 0, 5, ours.links[5], 1, LATER)
    note = verifier.sign_note(body, ours.origin, mine.sign, mine.public_key().public_bytes_raw())
    _claim(connection, ours, note, 0, 5)
    connection.execute(EVENTS.delete().where(EVENTS.c.id < event_id(ours.tenant_id, 5)))


def _claim(connection, ours, note: str, start: int, until: int) -> None:
    row = {"id": UUID(int=5), "tenant_id": ours.tenant_id, "note": note, "pruned_at": NOW}
    connection.execute(PRUNES.insert(), {**row, "from_seq": start, "until_seq": until})


def found(trails, name: str) -> None:
    """Tamper as a case says, and look whether exactly that is told."""
    ours, theirs = trails
    tamper, expected, seq = CASES[name]
    with administrator(engine()) as connection:
        tamper(connection, ours, theirs)
    report = check(*trails)
    assert codes(report) == expected, [str(finding) for finding in report.findings]
    if seq is not None:
        assert seq in {finding.seq for finding in report.findings}, report.findings


CHANGES, CUTS, ORDERS = ("edit", "put an event", "delete", "move"), ("cut",), ("exchange", "insert")
OTHERS = [name for name in CASES if not name.startswith(CHANGES + CUTS + ORDERS)]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(CHANGES)])
def test_at_394_an_event_that_was_changed_deleted_or_moved_is_found(trails, name) -> None:
    found(trails, name)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(CUTS)])
def test_at_396_a_cut_head_or_tail_is_found(trails, name) -> None:
    found(trails, name)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(ORDERS)])
def test_at_397_events_that_were_exchanged_or_inserted_are_found(trails, name) -> None:
    found(trails, name)


@pytest.mark.parametrize("name", OTHERS)
def test_m3_a_false_checkpoint_statement_or_clock_is_found(trails, name) -> None:
    found(trails, name)


def test_m3_every_finding_has_a_case() -> None:
    """What needs an anchor, a question or a wait has a test of its own below."""
    shown = set().union(*(expected for _tamper, expected, _seq in CASES.values()))
    assert set(verifier.CODES) - shown == {"unsealed", "stale", "no_key"}


def test_m3_a_trail_whose_key_was_not_given_is_told_and_checked_by_its_own(trails) -> None:
    ours, theirs = trails
    report = check(theirs)
    assert [(item.code, item.tenant_id) for item in report.findings] == [("no_key", ours.tenant_id)]
    with administrator(engine()) as connection:
        connection.execute(EVENTS.update().where(of(ours, 7)).values(action="LOGOUT"))
    assert codes(check(theirs)) == {"no_key", "edited"}


def test_m3_a_key_row_that_is_no_key_stops_no_check(trails) -> None:
    ours, theirs = trails
    others = {"tenant_id": ours.tenant_id, "private_key": "", "created_at": START}
    with engine().begin() as connection:
        for number, name in enumerate(("a b", "", "a+b")):
            row = {"id": UUID(int=number), "name": name, "public_key": bytes([number]) * 32}
            connection.execute(KEYS.insert(), {**others, **row})
        if engine().dialect.name == "sqlite":
            row = {"id": UUID(int=9), "name": ours.origin, "public_key": b"short"}
            connection.execute(KEYS.insert(), {**others, **row})
    with services_bundle.open_database() as source:
        assert [trail.vkeys for trail in source.trails([ours.tenant_id])] == [[ours.vkey]]
    assert check(ours, theirs).intact


def test_m3_a_checkpoint_with_an_endless_number_is_a_finding(trails) -> None:
    ours, theirs = trails
    with administrator(engine()) as connection:
        note = ours.notes[1].replace("\n9\n", f"\n{'9' * 5000}\n")
        connection.execute(CHECKPOINTS.update().where(noted(ours, 2)).values(note=note))
    assert "checkpoint_signature" in codes(check(ours, theirs))


def test_m3_an_error_of_the_database_is_told_as_unreadable(trails) -> None:
    """By the pool's connection and by the driver's own."""
    with pytest.raises(SourceError), services_bundle.open_database() as source:
        source._run("SELECT nothing FROM nowhere", ())
    if engine().dialect.name == "mysql":
        own = engine().raw_connection()
        with (
            closing(own),
            pytest.raises(SourceError),
            verifier.read_mysql(own.driver_connection) as source,
        ):
            source._run("SELECT nothing FROM nowhere", ())


def test_m3_an_error_of_a_database_in_memory_is_told_as_unreadable(app, monkeypatch) -> None:
    memory = sa.create_engine("sqlite://")
    monkeypatch.setattr(services_bundle, "engine", lambda: memory)
    with pytest.raises(SourceError), services_bundle.open_database() as source:
        source.tenants()  # no table is there
    memory.dispose()


def test_m3_keys_are_read_from_a_file_as_the_command_prints_them(trails) -> None:
    ours, theirs = trails
    text = f"# kept since March\n{ours.vkey}  # since 2026-03-04, in use\n\n{theirs.vkey}\n"
    assert verifier.read_keys(text) == [ours.vkey, theirs.vkey]


# ------------------------------------------------------------------ hidden from the application

_AHEAD = "strftime('%Y-%m-%d %H:%M:', datetime(occurred_at, '+23 hours'))"
SPELLINGS = {
    "tenant as text": ("tenant_id", "CAST(tenant_id AS TEXT)"),
    "subject as text": ("subject_id", "CAST(subject_id AS TEXT)"),
    "address as text": ("ip_index", "CAST(ip_index AS TEXT)"),
    "action as bytes": ("action", "CAST(action AS BLOB)"),
    "details as bytes": ("metadata", "CAST(metadata AS BLOB)"),
    "number as bytes": ("encoding_version", "CAST(encoding_version AS BLOB)"),
    "number with a fraction": ("encoding_version", "1.5"),
    "time with an offset": ("occurred_at", f"{_AHEAD} || substr(occurred_at, 18) || '+23:00'"),
    "time with a letter": ("occurred_at", "replace(occurred_at, ' ', 'T')"),
    "time with a zone": ("recorded_at", "recorded_at || 'Z'"),
    "time without signs": ("occurred_at", "replace(replace(occurred_at, '-', ''), ':', '')"),
    "time in other digits": ("occurred_at", "substr(occurred_at, 1, 25) || '\u0667'"),
    "time as bytes": ("recorded_at", "CAST(recorded_at AS BLOB)"),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_at_394_a_value_the_application_reads_otherwise_is_found(trails, name) -> None:
    """SQLite keeps anything in any column: the same bytes as text are never found again."""
    if engine().dialect.name != "sqlite":
        pytest.skip("the columns have types of their own")
    ours, _theirs = trails
    column, value = SPELLINGS[name]
    event = event_id(ours.tenant_id, 7)
    with administrator(engine()) as connection:
        statement = f"UPDATE iam_auth_log SET {column} = {value} WHERE id = ?"  # noqa: S608
        assert connection.exec_driver_sql(statement, (event.bytes,)).rowcount == 1
    report = check(*trails)
    assert [(item.code, item.seq, item.event_id) for item in report.findings] == [
        ("edited", 7, event)
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("iam_audit_seal SET tenant_id = CAST(tenant_id AS TEXT)", {"cut_tail"}),
        ("iam_audit_seal SET seq = CAST(seq AS BLOB)", {"cut_tail"}),
        ("iam_audit_seal SET leaf = CAST(leaf AS TEXT)", {"edited"}),
        ("iam_audit_seal SET chain = CAST(chain AS TEXT)", {"edited"}),
        ("iam_audit_seal SET id = CAST(id AS TEXT)", {"cut_head"}),
        ("iam_audit_checkpoint SET root = CAST(root AS TEXT)", {"checkpoint_replaced"}),
        ("iam_audit_checkpoint SET size = CAST(size AS BLOB)", {"checkpoint_replaced"}),
        ("iam_audit_checkpoint SET note = CAST(note AS BLOB)", {"checkpoint_signature"}),
    ],
)
def test_at_394_a_seal_or_checkpoint_of_another_kind_is_found(trails, change, expected) -> None:
    if engine().dialect.name != "sqlite":
        pytest.skip("the columns have types of their own")
    with administrator(engine()) as connection:
        connection.exec_driver_sql(f"UPDATE {change}")
    assert codes(check(*trails)) >= expected


def test_at_397_an_inserted_event_does_not_hide_behind_others(trails) -> None:
    """Events that may still wait for the sealer, as many as a reader might give up after."""
    ours, _theirs = trails
    fresh = event_row(ours.tenant_id, 0, recorded_at=NOW)
    forged = event_row(ours.tenant_id, 50, recorded_at=START - timedelta(hours=1))
    with administrator(engine()) as connection:
        fillers = [{**fresh, "id": UUID(int=number)} for number in range(1, 5002)]
        connection.execute(EVENTS.insert(), [*fillers, forged])
    report = check(*trails)
    assert [(item.code, item.event_id) for item in report.findings] == [("inserted", forged["id"])]


def test_at_397_a_seal_of_nobody_does_not_vouch_for_an_event(trails) -> None:
    """A seal that no walk over the event's own trail meets is none."""
    ours, _theirs = trails
    forged = event_row(ours.tenant_id, 50, recorded_at=START - timedelta(hours=1))
    elsewhere = {"id": forged["id"], "tenant_id": UUID(int=9), "seq": 0}
    hashes = {"leaf": verifier.leaf_hash(verifier.encode(forged)), "chain": bytes(32)}
    with administrator(engine()) as connection:
        connection.execute(EVENTS.insert(), forged)
        connection.execute(SEALS.insert(), {**elsewhere, **hashes})
    asked = {"vkeys": [ours.vkey], "wanted": [ours.tenant_id], "now": NOW}
    with services_bundle.open_database() as source:
        assert codes(verify(source, **asked)) == {"inserted"}


def test_at_397_two_seals_of_one_number_are_both_read() -> None:
    """Whoever takes the unique index away can put a second one where a page ends."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE iam_audit_seal (id, tenant_id, seq, leaf, chain)")
    connection.execute(f"CREATE TABLE iam_auth_log ({', '.join(verifier.FIELDS)})")
    connection.execute("CREATE TABLE iam_audit_head (tenant_id, size)")
    connection.execute("CREATE TABLE iam_audit_key (tenant_id, name, public_key)")
    connection.execute("CREATE TABLE iam_audit_prune (tenant_id, from_seq, until_seq, note)")
    tenant = UUID(int=9)
    rows = [(UUID(int=number).bytes, tenant.bytes, (number + 1) // 2) for number in range(10_100)]
    connection.executemany("INSERT INTO iam_audit_seal VALUES (?, ?, ?, x'', x'')", rows)
    (trail,) = verifier.SqlSource(connection.execute).trails([tenant])
    assert len(list(trail.sealed)) == len(rows)
    connection.close()


# ------------------------------------------------------------------ with an anchor


def test_at_396_a_tail_cut_without_a_trace_is_found_by_an_anchor(trails) -> None:
    """Events, seals, checkpoint and head: within the database nothing is left that tells."""
    ours, _theirs = trails
    with administrator(engine()) as connection:
        connection.execute(EVENTS.delete().where(EVENTS.c.id >= event_id(ours.tenant_id, 9)))
        connection.execute(SEALS.delete().where(SEALS.c.seq >= 9))
        connection.execute(CHECKPOINTS.delete().where(CHECKPOINTS.c.size > 9))
        connection.execute(HEADS.update().where(HEADS.c.id == ours.tenant_id).values(size=9))
    assert check(*trails).intact
    assert codes(check(*trails, now=LATER, fresh_within=timedelta(hours=2))) == {"stale"}
    report = check(*trails, anchors=ours.notes)
    assert codes(report) == {"cut_tail"}
    assert report.findings[0].seq == 9


def test_m3_a_history_signed_anew_is_found_by_an_anchor(trails) -> None:
    """Whoever has the key as well can sign another past; what was published stays."""
    ours, _theirs = trails
    with administrator(engine()) as connection:
        connection.execute(EVENTS.update().where(of(ours, 7)).values(action="LOGOUT"))
        connection.execute(SEALS.delete().where(SEALS.c.tenant_id == ours.tenant_id))
        connection.execute(CHECKPOINTS.delete().where(CHECKPOINTS.c.tenant_id == ours.tenant_id))
        connection.execute(KEYS.delete().where(KEYS.c.tenant_id == ours.tenant_id))
        forged = SealedTrail(connection, ours.tenant_id)
        for number in range(12):
            changed = {"action": "LOGOUT"} if number == 7 else {}
            forged.seal(event_row(ours.tenant_id, number, **changed))
            if number in {4, 8, 11}:
                forged.checkpoint()
    assert check(*trails).intact
    report = check(*trails, anchors=ours.notes)
    assert codes(report) == {"fork"}
    assert report.findings[0].seq == 9


def test_m3_a_checkpoint_that_was_published_and_is_gone_is_found(trails) -> None:
    ours, _theirs = trails
    with administrator(engine()) as connection:
        connection.execute(CHECKPOINTS.delete().where(noted(ours, 2)))
    assert check(*trails).intact
    assert codes(check(*trails, anchors=ours.notes)) == {"checkpoint_replaced"}


def test_at_395_a_truncated_table_is_found(trails) -> None:
    """TRUNCATE fires no trigger, and leaves nothing behind."""
    ours, theirs = trails
    with administrator(engine()) as connection:
        for table in (EVENTS, SEALS, CHECKPOINTS):
            verb = "TRUNCATE TABLE" if connection.dialect.name == "mysql" else "DELETE FROM"
            connection.exec_driver_sql(f"{verb} {table.name}")
        for table in (HEADS, KEYS):
            connection.execute(table.delete())
    assert codes(check(ours, theirs)) == {"stale"}
    assert codes(check(ours, theirs, anchors=ours.notes)) == {"cut_tail", "stale"}


def test_m3_an_anchor_of_a_stranger_counts_for_nothing(trails) -> None:
    ours, _theirs = trails
    mine = STRANGER
    body = verifier.split_note(ours.notes[1])[0]
    note = verifier.sign_note(body, ours.origin, mine.sign, mine.public_key().public_bytes_raw())
    assert codes(check(*trails, anchors=[note])) == {"checkpoint_signature"}
    with pytest.raises(verifier.NoteError):
        check(*trails, anchors=[note.replace(ours.origin, "nobody")])


# ------------------------------------------------------------------ waiting


def test_m3_an_event_that_waits_is_told_from_one_that_was_inserted(trails) -> None:
    ours, _theirs = trails
    with engine().begin() as connection:
        row = event_row(ours.tenant_id, 12)
        connection.execute(EVENTS.insert(), row)
    assert check(*trails, now=row["recorded_at"] + timedelta(minutes=9)).intact
    assert codes(check(*trails, now=LATER)) == {"unsealed"}


def test_m3_a_bundle_that_was_kept_for_years_verifies_as_it_did(trails) -> None:
    """What waited for the sealer when it was made waits there for ever."""
    ours, _theirs = trails
    with engine().begin() as connection:
        row = event_row(ours.tenant_id, 12)
        connection.execute(EVENTS.insert(), row)
    made = row["recorded_at"] + timedelta(minutes=1)
    with services_bundle.open_database() as source:
        lines = list(bundle_lines(source, made=made))
    later = made + timedelta(days=700)
    vkeys = [trail.vkey for trail in trails]
    assert verify(BundleSource(lines), now=later, vkeys=vkeys).intact
    assert not verify(
        BundleSource(lines), now=later, vkeys=vkeys, fresh_within=timedelta(hours=1)
    ).intact


def test_m3_an_anchor_that_is_fed_no_more_is_stale(trails) -> None:
    ours, theirs = trails
    asked = {"fresh_within": timedelta(minutes=6), "wanted": [ours.tenant_id]}
    assert check(ours, theirs, anchors=ours.notes, **asked).intact
    report = check(ours, theirs, anchors=ours.notes[:1], **asked)
    assert codes(report) == {"stale"}


def test_m3_seals_that_no_checkpoint_covers_are_found(trails) -> None:
    ours, _theirs = trails
    with engine().begin() as connection:
        ours.connection = connection
        ours.grow(3)
    assert check(*trails, now=START + timedelta(minutes=20)).intact
    report = check(*trails, now=LATER)
    assert codes(report) == {"unsealed"}
    assert report.findings[0].seq == 12


def test_m3_without_checkpoints_nothing_passes_for_signed(trails) -> None:
    ours, _theirs = trails
    with administrator(engine()) as connection:
        connection.execute(CHECKPOINTS.delete().where(CHECKPOINTS.c.tenant_id == ours.tenant_id))
    assert codes(check(*trails, now=LATER)) == {"unsealed"}


def test_m3_events_dated_back_or_ahead_are_found(trails) -> None:
    ours, _theirs = trails
    with engine().begin() as connection:
        ours.connection = connection
        back = event_row(ours.tenant_id, 12, recorded_at=START - timedelta(hours=2))
        ahead = event_row(ours.tenant_id, 13, recorded_at=START + timedelta(hours=2))
        for row in (back, ahead):
            connection.execute(EVENTS.insert(), row)
            ours.seal(row)
        ours.checkpoint(START + timedelta(minutes=20))
    report = check(*trails, now=LATER)
    assert codes(report) == {"clock"}
    assert report.findings[0].seq == 12


# ------------------------------------------------------------------ pruning


def test_m6_a_pruned_range_verifies_and_what_lies_beyond_is_missed(trails) -> None:
    ours, _theirs = trails
    with engine().begin() as connection:
        ours.connection = connection
        ours.prune(0, 5, days=1, at=START + timedelta(days=2))
    report = check(*trails, now=START + timedelta(days=3))
    assert report.intact, report.findings
    assert (report.events, report.pruned) == (12, 5)
    with administrator(engine()) as connection:
        connection.execute(EVENTS.delete().where(of(ours, 5)))
    report = check(*trails, now=START + timedelta(days=3))
    assert codes(report) == {"deleted"}
    assert report.findings[0].seq == 5


@pytest.mark.parametrize(
    ("start", "until", "days", "link", "place"),
    [(1, 5, 1, 5, 5), (0, 5, 30, 5, 5), (0, 5, 1, 4, 5), (0, 13, 1, 12, 13), (0, 5, 1, 5, 4)],
    ids=["not from the first", "not old enough", "another link", "not signed", "another row"],
)
def test_m6_a_prune_statement_must_hold(trails, start, until, days, link, place) -> None:
    ours, _theirs = trails
    at = START + timedelta(days=2)
    body = verifier.prune_body(ours.origin, start, until, ours.links[link], days, at)
    with engine().begin() as connection:
        _claim(connection, ours, ours.sign(body), start, place)
    assert codes(check(*trails, now=START + timedelta(days=3))) == {"prune_invalid"}


# ------------------------------------------------------------------ bundles


@pytest.mark.parametrize("kept", [0, 1, 2, 9, -1])
def test_a_bundle_that_was_cut_off_is_refused(trails, kept) -> None:
    with services_bundle.open_database() as source:
        lines = list(bundle_lines(source, made=NOW))
    with pytest.raises(verifier.SourceError):
        verify(BundleSource(lines[:kept]), now=NOW)


def test_a_bundle_with_a_line_less_is_refused_or_found(trails) -> None:
    """Whatever line is taken out, the check does not pass."""
    with services_bundle.open_database() as source:
        lines = list(bundle_lines(source, made=NOW))
    vkeys = [trail.vkey for trail in trails]
    for number in range(len(lines)):
        cut = lines[:number] + lines[number + 1 :]
        try:
            report = verify(BundleSource(cut), now=NOW, vkeys=vkeys)
        except (verifier.SourceError, KeyError):
            continue
        assert not report.intact, lines[number]
