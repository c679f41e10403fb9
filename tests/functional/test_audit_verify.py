"""The trail that the sealer left, checked from outside: command line, bundle, anchors (M3)."""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask

from app.audit import anchors, events, services_bundle, services_retention, verifier
from app.audit.sealing import alarms, sealer, services_checkpoints
from app.audit.sealing.services_audit_keys import public_keys
from app.audit.services_audit import record
from app.audit.settings import AuditSettings
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import Base, engine, session, transaction
from app.core.errors import Misconfigured
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from tests.support.collectors import SECRET, SyslogServer, WebhookServer
from tests.support.loopback import Answer
from tests.support.settings import changed
from tests.support.trails import (
    CHECKPOINTS,
    EVENTS,
    HEADS,
    KEYS,
    START,
    administrator,
    event_row,
)  # fmt: skip


@pytest.fixture
def run(app: Flask):
    runner = app.test_cli_runner()

    def invoke(*words: str):
        session().rollback()
        return runner.invoke(args=["iam", "audit", *words])

    return invoke


def act(tenant: UUID, count: int = 5) -> None:
    """Record what people do, in one tenant."""
    somebody = Actor(
        "user",
        tenant,
        user_id=new_id(),
        session_id=new_id(),
        ip="192.0.2.9",
        user_agent="Zoë\u202e",
    )
    with tenant_scope(tenant), transaction():
        for number in range(count):
            record(events.LOGOUT, actor=somebody)
            record(
                events.LOGIN_FAILED, actor=system_actor(tenant), status="failure", error=str(number)
            )


def seal(*tenants: UUID) -> dict[UUID, str]:
    """Seal and sign, and return the keys."""
    sealer.seal_all(everything=True)
    keys = {}
    for tenant in tenants:
        assert services_checkpoints.sign(tenant) is not None
        with tenant_scope(tenant):
            keys[tenant] = public_keys()[0].vkey
    session().rollback()
    return keys


@pytest.fixture
def keys(tenant: UUID, other_tenant: UUID) -> dict[UUID, str]:
    """Two tenants with a sealed and signed trail."""
    act(tenant)
    act(other_tenant, 2)
    return seal(tenant, other_tenant)


def trusted(keys: dict[UUID, str]) -> list[str]:
    return [word for key in keys.values() for word in ("--key", key)]


# ------------------------------------------------------------------ the sealer's own trail


def test_m3_what_the_sealer_seals_is_what_the_verifier_checks(keys, run, tenant) -> None:
    done = run("verify", *trusted(keys), "--fresh-within", "5m")
    assert done.exit_code == 0, done.output
    assert "intact: " in done.output
    assert "2 tenants" in done.output
    assert "append-only guards stand" in done.output
    assert "note:" not in done.output
    assert "note: no key given" in run("verify").output


def test_m3_the_command_tells_what_is_wrong_and_fails(keys, run, tenant) -> None:
    with administrator(engine()) as connection:
        where = (EVENTS.c.tenant_id == tenant) & (EVENTS.c.error == "3")
        connection.execute(EVENTS.update().where(where).values(action="LOGOUT"))
    done = run("verify", *trusted(keys))
    assert done.exit_code == 1
    assert f"edited               tenant {tenant} seq" in done.output
    assert run("verify", "--tenant", "other", *trusted(keys)).exit_code == 0
    assert run("verify", "--tenant", "default", *trusted(keys)).exit_code == 1


def test_m2_the_command_misses_a_guard(keys, run) -> None:
    with engine().begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER iam_audit_seal_no_update")
    try:
        done = run("verify", *trusted(keys))
        assert (done.exit_code, "trigger iam_audit_seal_no_update" in done.output) == (1, True)
    finally:
        with administrator(engine()):
            pass


@pytest.fixture
def suppressed(app) -> Iterator[None]:
    """A trigger that is none of ours, on the table of events."""
    bodies = {
        "sqlite": "WHEN NEW.action = 'LOGOUT' BEGIN SELECT RAISE(IGNORE); END",
        "mysql": "FOR EACH ROW SET NEW.error = 'none'",
    }
    body = bodies[engine().dialect.name]
    with engine().begin() as connection:
        connection.exec_driver_sql(f"CREATE TRIGGER zz BEFORE INSERT ON iam_auth_log {body}")
    yield
    session().rollback()
    with engine().begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER zz")


def test_m2_the_command_tells_of_a_trigger_of_somebody_else(keys, suppressed, run) -> None:
    done = run("verify", *trusted(keys))
    assert (done.exit_code, "unknown    trigger zz" in done.output) == (1, True)
    assert "guards stand" not in done.output


# ------------------------------------------------------------------ told by the trail itself


def alarms_of(tenant: UUID) -> list[list[str]]:
    """Return the findings of each alarm in a tenant's trail, in order."""
    with engine().connect() as connection:
        where = (EVENTS.c.tenant_id == tenant) & (EVENTS.c.action == "AUDIT_TAMPERING_FOUND")
        found = connection.scalars(sa.select(EVENTS.c.metadata).where(where).order_by(EVENTS.c.id))
        return [row["findings"] for row in found]


def tamper(tenant: UUID, error: str, **values: str) -> None:
    with administrator(engine()) as connection:
        where = (EVENTS.c.tenant_id == tenant) & (EVENTS.c.error == error)
        statement = EVENTS.update().values(**values) if values else EVENTS.delete()
        connection.execute(statement.where(where))


def test_m3_what_is_found_is_recorded_once_where_it_was_found(
    keys, run, tenant, other_tenant
) -> None:
    assert run("verify", *trusted(keys)).exit_code == 0
    assert alarms_of(tenant) == []
    tamper(tenant, "3", action="LOGOUT")
    for _time in range(2):
        assert run("verify", *trusted(keys)).exit_code == 1
    assert alarms_of(tenant) == [["edited"]]
    tamper(tenant, "2")
    for _time in range(2):
        assert run("verify", *trusted(keys)).exit_code == 1
    assert alarms_of(tenant) == [["edited"], ["deleted", "edited"]]
    assert alarms_of(other_tenant) == []
    with engine().connect() as connection:
        where = (EVENTS.c.tenant_id == tenant) & (EVENTS.c.action == "AUDIT_TAMPERING_FOUND")
        found = connection.execute(sa.select(EVENTS.c.severity, EVENTS.c.error).where(where)).all()
    assert set(found) == {("critical", "audit.not_verified")}


@pytest.mark.parametrize("metadata", [{"findings": ["edited"]}, {"findings": 1}, "x"])
def test_m3_an_alarm_that_somebody_put_there_silences_none(tenant, actor, metadata) -> None:
    forged = {
        "action": "AUDIT_TAMPERING_FOUND", "error": alarms.NOT_VERIFIED, "metadata": metadata,
        "mac": bytes(32),
    }  # fmt: skip
    with engine().begin() as connection:
        for event_id in (new_id(), *(UUID(int=(1 << 128) - 1 - number) for number in range(20))):
            connection.execute(EVENTS.insert(), event_row(tenant, 0, **forged, id=event_id))
    for _time in range(2):
        alarms.raise_alarm(alarms.NOT_VERIFIED, ["edited"], actor=actor)
    with engine().connect() as connection:
        where = (EVENTS.c.action == "AUDIT_TAMPERING_FOUND") & (EVENTS.c.mac != bytes(32))
        told = connection.scalars(sa.select(EVENTS.c.metadata).where(where)).all()
    assert [row["findings"] for row in told] == [["edited"]]


def test_m3_what_stands_is_told_again_after_a_day(tenant, actor) -> None:
    for hours in (0, 23, 25, 26):
        with clock.travel(timedelta(hours=hours)):
            alarms.raise_alarm(alarms.NOT_VERIFIED, ["edited"], actor=actor)
    assert alarms_of(tenant) == [["edited"]] * 2


def test_m3_the_sealer_and_the_command_do_not_alarm_each_other(keys, run, tenant, actor) -> None:
    tamper(tenant, "3", action="LOGOUT")
    for _time in range(2):
        run("verify", *trusted(keys))
        alarms.raise_alarm("audit.broken", ["the end does not fit"], actor=actor)
    assert alarms_of(tenant) == [["edited"], ["the end does not fit"]]


def test_m3_what_is_of_no_tenant_is_recorded_by_whoever_looked(keys, run, tenant) -> None:
    """A missing guard, and a trail of a tenant that is not there."""
    stranger = verifier.verifier_key(f"iam-audit/{UUID(int=7)}", bytes(32))
    assert run("verify", "--key", stranger, *trusted(keys)).exit_code == 1
    assert alarms_of(tenant) == [["stale"]]
    with engine().begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER iam_audit_seal_no_update")
    try:
        assert run("verify", *trusted(keys)).exit_code == 1
    finally:
        with administrator(engine()):
            pass
    assert alarms_of(tenant) == [["stale"], ["trigger_missing"]]


def test_m3_a_key_that_was_forgotten_is_no_alarm(keys, run, tenant, other_tenant) -> None:
    assert run("verify", "--key", keys[tenant]).exit_code == 1
    assert alarms_of(tenant) == alarms_of(other_tenant) == []


def test_m3_a_database_that_takes_no_writes_is_verified_all_the_same(keys, run, tenant) -> None:
    tamper(tenant, "3", action="LOGOUT")
    words = {"sqlite": "PRAGMA query_only = ON", "mysql": "SET SESSION TRANSACTION READ ONLY"}
    words_now = words[engine().dialect.name]

    def close(connection, _record) -> None:
        connection.cursor().execute(words_now)

    found = engine()
    session().rollback()
    found.dispose()
    sa.event.listen(found, "connect", close)
    try:
        done = run("verify", *trusted(keys))
    finally:
        sa.event.remove(found, "connect", close)
        session().rollback()
        found.dispose()
    assert done.exit_code == 1
    assert "edited  " in done.output
    assert "not recorded" in done.output
    assert alarms_of(tenant) == []


def test_m3_a_trail_that_went_silent_is_stale(keys, run) -> None:
    with clock.travel(timedelta(hours=3)):
        done = run("verify", *trusted(keys), "--fresh-within", "2h")
    assert done.exit_code == 1
    assert "stale" in done.output


@pytest.mark.parametrize(
    "words",
    [["--key", "nonsense"], ["--fresh-within", "2 hours"], ["--tenant", "nobody"]],
    ids=["key", "time", "tenant"],
)
def test_what_cannot_be_checked_is_said_plainly(keys, run, words) -> None:
    done = run("verify", *words)
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")


def test_m3_a_key_that_was_rotated_leaves_the_trail_intact(keys, run, tenant, actor) -> None:
    services_checkpoints.rotate_key(actor=actor)
    act(tenant, 1)
    seal(tenant)
    with tenant_scope(tenant):
        every = [word for key in public_keys() for word in ("--key", key.vkey)]
    done = run("verify", "--tenant", "default", *every)
    assert done.exit_code == 0, done.output


def test_m3_a_key_that_does_not_open_stops_no_other_tenant(
    keys, tenant, other_tenant, caplog
) -> None:
    with engine().begin() as connection:
        broken = KEYS.update().where(KEYS.c.tenant_id == tenant).values(private_key="x")
        connection.execute(broken)
    with clock.travel(timedelta(days=1)):
        assert services_checkpoints.sign_due() == 1
    assert f"tenant {tenant} was not signed" in caplog.text


# ------------------------------------------------------------------ alone


def alone(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the one file, away from the package."""
    copy = tmp_path / "verifier.py"
    copy.write_bytes(Path(verifier.__file__).read_bytes())
    return subprocess.run(
        [sys.executable, "-I", str(copy), *words], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_m3_the_file_alone_checks_an_exported_bundle(
    keys, run, tmp_path, tenant, audit_rows
) -> None:
    bundle = tmp_path / "trail.ndjson"
    done = run("export", "--bundle", str(bundle))
    assert done.exit_code == 0, done.output
    assert bundle.stat().st_mode & 0o077 == 0
    assert [row.details["format"] for row in audit_rows("AUDIT_EXPORTED")] == ["bundle"]
    assert run("export", "--bundle", str(bundle)).exit_code == 1  # never over another file
    done = alone(tmp_path, str(bundle), *trusted(keys))
    assert (done.returncode, done.stderr) == (0, "")
    lines = bundle.read_text().splitlines()
    changed_lines = [line.replace('"error":"3"', '"error":"4"') for line in lines]
    bundle.write_text("\n".join(changed_lines) + "\n")
    done = alone(tmp_path, str(bundle), *trusted(keys))
    assert done.returncode == 1
    assert done.stdout.startswith("edited ")
    bundle.write_text("\n".join(lines[:-1]) + "\n")
    done = alone(tmp_path, str(bundle))
    assert done.returncode == 2
    assert "cut off" in done.stderr


def test_m3_the_file_alone_checks_the_database(keys, tmp_path) -> None:
    """SQLite as a file that it cannot change; MySQL where pymysql is there."""
    url = engine().url
    if engine().dialect.name == "sqlite":
        done = alone(tmp_path, str(Path(url.database).resolve()), *trusted(keys))
    else:
        address = f"mysql://{url.username}@{url.host}:{url.port}/{url.database}"
        done = alone(tmp_path, address, *trusted(keys), MYSQL_PWD=url.password)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "2 tenants" in done.stdout


def test_m3_the_file_alone_checks_a_proof(keys, run, tmp_path, tenant, audit_rows) -> None:
    """One event, shown to be in the trail to somebody who sees nothing else of it."""
    event = audit_rows("LOGIN_FAILED")[1]
    path = tmp_path / "proof.json"
    path.write_text(run("proof", str(event.id), "--since", str(newest_size(tenant))).output)
    done = alone(tmp_path, str(path), "--key", keys[tenant])
    assert (done.returncode, done.stderr) == (0, "")
    proof = json.loads(path.read_text())
    leaf = base64.b64decode(proof["leaf"]).hex()
    size = verifier.read_checkpoint(proof["checkpoint"]).size
    # Not which event: its id is not bound to the leaf, anybody could write another there.
    said = f"proven: number {proof['index']} with the leaf {leaf} is one of {size}\n"
    assert done.stdout == said
    assert "consistency" in proof
    for wrong in (
        {"index": proof["index"] + 1},
        {"leaf": proof["chain"]},
        {"inclusion": proof["inclusion"][1:]},
        {"checkpoint": proof["checkpoint"].replace("\ntime 2", "\ntime 3")},
    ):
        with pytest.raises(ValueError):
            verifier.check_proof({**proof, **wrong}, vkeys=[keys[tenant]])
    with pytest.raises(verifier.NoteError):
        verifier.check_growth(
            {**proof["consistency"], "path": [proof["leaf"]]}, vkeys=[keys[tenant]]
        )
    with pytest.raises(verifier.NoteError):
        verifier.check_proof(proof, vkeys=[key for key in keys.values() if key != keys[tenant]])


def newest_size(tenant: UUID) -> int:
    with tenant_scope(tenant):
        found = services_checkpoints.newest()
        assert found is not None
        session().rollback()
        return found.size


def test_a_bundle_of_one_tenant_holds_nothing_of_another(
    keys, tmp_path, tenant, other_tenant, actor
) -> None:
    path = tmp_path / "one.ndjson"
    with tenant_scope(tenant):
        services_bundle.write_bundle(path, tenants=[other_tenant], actor=actor)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["event"]["tenant_id"] for line in lines if "event" in line} == {str(other_tenant)}
    assert [line["tenant"] for line in lines if "tenant" in line] == [str(other_tenant)]


# ------------------------------------------------------------------ anchors


def notes_of(app: Flask) -> list[str]:
    with engine().connect() as connection:
        return list(
            connection.scalars(sa.text("SELECT note FROM iam_audit_checkpoint ORDER BY id"))
        )


def test_m3_every_checkpoint_is_anchored_in_every_place(app, keys, run, tenant, tmp_path) -> None:
    file = tmp_path / "anchors.txt"
    with WebhookServer() as hook, SyslogServer() as log:
        places = {
            "AUDIT_ANCHOR_FILE": str(file), "AUDIT_ANCHOR_SYSLOG": log.target,
            "AUDIT_ANCHOR_URL": hook.address, "AUDIT_ANCHOR_SECRET": SECRET,
        }  # fmt: skip
        with changed(app, AuditSettings, **places):
            anchors.deliver_due()
            anchors.deliver_due()
            act(tenant, 1)
            seal(tenant)
            anchors.deliver_due()
            lines = "\n".join(log.line() for _ in range(3))
            done = run("verify", *trusted(keys))  # against the anchor file of the settings
            assert done.exit_code == 0, done.output
        found = [body["note"] for body in hook.bodies]
    assert sorted(verifier.read_notes(file.read_text())) == sorted(notes_of(app))
    assert sorted(found) == sorted(verifier.read_notes(lines)) == sorted(notes_of(app))


@pytest.mark.parametrize("value", ["f" * 32, "x", 5, None, ["x"]])
def test_m3_nobody_ends_anchoring_in_the_database(app, keys, tenant, tmp_path, value) -> None:
    """What is noted as delivered counts only where it is a checkpoint of the trail."""
    file = tmp_path / "anchors.txt"
    with changed(app, AuditSettings, AUDIT_ANCHOR_FILE=str(file)):
        anchors.deliver_due()
        with administrator(engine()) as connection:
            connection.execute(HEADS.update().values(anchored={"file": value}))
        act(tenant, 1)
        seal(tenant)
        anchors.deliver_due()
    assert set(verifier.read_notes(file.read_text())) == set(notes_of(app))


def test_m3_a_place_that_was_away_gets_what_it_missed(app, keys, tenant, tmp_path) -> None:
    file = tmp_path / "anchors.txt"
    with WebhookServer() as hook:
        hook.answers["hook"] = Answer(503)
        places = {
            "AUDIT_ANCHOR_URL": hook.address, "AUDIT_ANCHOR_SECRET": SECRET,
            "AUDIT_ANCHOR_FILE": str(file),
        }  # fmt: skip
        with changed(app, AuditSettings, **places):
            anchors.deliver_due()
            # One refusal is enough for the round; the file is not kept waiting.
            assert len(hook.bodies) == 1
            assert len(verifier.read_notes(file.read_text())) == 2
            act(tenant, 1)
            seal(tenant)
            del hook.answers["hook"]
            anchors.deliver_due()
        assert [body["note"] for body in hook.bodies][1:] == sorted(
            notes_of(app), key=[body["note"] for body in hook.bodies][1:].index
        )
    assert len(verifier.read_notes(file.read_text())) == 3


def put_checkpoint(tenant: UUID, event_id: UUID, note: str) -> None:
    row = {"size": 1, "root": bytes(32), "chain": bytes(32), "note": note, "signed_at": START}
    with engine().begin() as connection:
        connection.execute(CHECKPOINTS.insert(), {"id": event_id, "tenant_id": tenant, **row})


def test_m3_a_checkpoint_of_the_future_does_not_end_anchoring(app, keys, tenant, tmp_path) -> None:
    file = tmp_path / "anchors.txt"
    last = UUID(bytes=b"\xff" * 16)
    put_checkpoint(tenant, last, next(note for note in notes_of(app) if str(tenant) in note))
    with changed(app, AuditSettings, AUDIT_ANCHOR_FILE=str(file)):
        for noted in ({}, {"file": str(last)}):
            with engine().begin() as connection:
                connection.execute(HEADS.update().values(anchored=noted))
            anchors.deliver_due()
            act(tenant, 1)
            seal(tenant)
            anchors.deliver_due()
            assert set(verifier.read_notes(file.read_text())) == set(notes_of(app)[:-1])
            with engine().connect() as connection:
                progress = connection.scalars(sa.select(HEADS.c.anchored)).all()
            assert str(last) not in str(progress)  # else all of it is sent again at every turn


def test_m3_what_is_no_checkpoint_of_ours_goes_nowhere_and_stops_none(
    app, keys, tenant, other_tenant, caplog
) -> None:
    """A place may refuse it for ever: too long, unsigned, or signed for another tenant."""
    true = notes_of(app)
    theirs = next(note for note in true if str(other_tenant) in note)
    ours = next(note for note in true if str(tenant) in note)
    long = ours + "\u2014 nobody AAAAAAAA\n" * 250  # signatures of others are ignored
    for note in (long, ours.partition("\n\n")[0] + "\n", theirs, ""):
        put_checkpoint(tenant, new_id(), note)
    with WebhookServer() as hook:
        places = {"AUDIT_ANCHOR_URL": hook.address, "AUDIT_ANCHOR_SECRET": SECRET}
        with changed(app, AuditSettings, **places):
            anchors.deliver_due()
            anchors.deliver_due()
        assert sorted(body["note"] for body in hook.bodies) == sorted(true)
    assert caplog.text.count(f"no checkpoint of tenant {tenant}") == 4  # and each once


@pytest.mark.parametrize(
    "change",
    [
        "iam_audit_checkpoint SET id = x'01' WHERE size = 1",
        "iam_audit_checkpoint SET note = CAST(note AS BLOB) WHERE size = 1",
        "iam_audit_key SET public_key = 'x' WHERE tenant_id = x'{tenant}'",
    ],
)
def test_m3_a_row_that_nobody_can_read_stops_no_other(app, keys, tenant, tmp_path, change) -> None:
    if engine().dialect.name != "sqlite":
        pytest.skip("the columns have types of their own")
    file = tmp_path / "anchors.txt"
    wanted = notes_of(app)
    put_checkpoint(tenant, UUID(int=1), "")
    with administrator(engine()) as connection:
        statement = f"UPDATE {change.format(tenant=tenant.hex)}"
        assert connection.exec_driver_sql(statement).rowcount == 1
    with changed(app, AuditSettings, AUDIT_ANCHOR_FILE=str(file)):
        anchors.deliver_due()
    assert sorted(verifier.read_notes(file.read_text())) == sorted(wanted)


def test_m3_a_note_that_the_disk_took_in_part_is_not_taken_for_sent(tmp_path) -> None:
    file = tmp_path / "anchors.txt"
    item = anchors.Anchored(new_id(), f"{'a' * 40}\n1\nb\n\n\u2014 name AAAA\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            anchors._append(str(file), item)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.stat().st_size == 20
    anchors._append(str(file), item)
    assert verifier.read_notes(file.read_text()) == [item.note]


def test_m3_an_anchor_finds_what_the_database_cannot_tell(app, keys, run, tenant, tmp_path) -> None:
    file = tmp_path / "anchors.txt"
    with changed(app, AuditSettings, AUDIT_ANCHOR_FILE=str(file)):
        anchors.deliver_due()
    with administrator(engine()) as connection:
        for table in ("iam_auth_log", "iam_audit_seal", "iam_audit_checkpoint", "iam_audit_head"):
            table_of = Base.metadata.tables[table]
            connection.execute(table_of.delete().where(table_of.c.tenant_id == tenant))
    assert run("verify", "--tenant", "default").exit_code == 0
    done = run("verify", "--anchor", str(file), *trusted(keys))
    assert done.exit_code == 1
    assert "cut_tail" in done.output


def test_at_421_an_anchor_that_proves_nothing_is_refused_at_the_start() -> None:
    for wrong in (
        {"AUDIT_ANCHOR_URL": "https://anchors.example"},
        {"AUDIT_ANCHOR_SYSLOG": "tcp://192.0.2.1"},
    ):
        with pytest.raises(Misconfigured):
            AuditSettings.load(wrong, {})


def test_the_sealer_wakes_the_delivery_only_where_there_is_a_place(app, keys, tmp_path) -> None:
    anchors.wake()
    assert "iam_anchors" not in app.extensions
    file = tmp_path / "anchors.txt"
    with changed(app, AuditSettings, AUDIT_ANCHOR_FILE=str(file)):
        anchors.wake()
        background = app.extensions.pop("iam_anchors")
        background.stop()
    assert len(verifier.read_notes(file.read_text())) == 2


def test_m6_what_retention_deletes_leaves_a_trail_that_verifies(keys, run, tenant, actor) -> None:
    with clock.travel(timedelta(days=40)):
        with tenant_scope(tenant):
            assert services_retention.prune(31, actor=actor) is not None
        act(tenant, 1)
        keys |= seal(tenant)
        done = run("verify", "--tenant", "default", *trusted(keys))
    assert done.exit_code == 0, done.output
    assert " pruned" in done.output
