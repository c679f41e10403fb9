"""The sealer: numbers without gaps, a chain, a tree, and checkpoints that others can read (M3)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask

from app.audit import events, services_bundle, verifier
from app.audit.models import IAMAuthLog
from app.audit.sealing import sealer, services_audit_keys, services_checkpoints, services_proofs
from app.audit.sealing.macs import MOST_BYTES
from app.audit.sealing.models_seal import (
    IAMAuditCheckpoint,
    IAMAuditHead,
    IAMAuditKey,
    IAMAuditNode,
    IAMAuditSeal,
)
from app.audit.sealing.services_seal import seal_tenant, stragglers, waiting_tenants
from app.audit.services_audit import DENIED, record
from app.audit.settings import AuditSettings
from app.core import clock
from app.core.actor import Actor
from app.core.crypto import KeyRing, keyring
from app.core.db import engine, session, transaction
from app.core.errors import BadRequest, Forbidden, NotFound
from app.core.ids import new_id
from app.core.scoping import tenant_scope, unscoped
from app.services_keys import rotate_stored_secrets
from tests.conftest import empty_database, make_app
from tests.support.settings import changed
from tests.support.trails import administrator

LOG = IAMAuthLog.__table__
SEAL = IAMAuditSeal.__table__
HEAD = IAMAuditHead.__table__


@pytest.fixture(autouse=True)
def _empty(app: Flask) -> None:
    """Begin without the events of the suite's own start."""
    empty_database(app)


@pytest.fixture
def add(actor: Actor) -> Callable[..., list[UUID]]:
    """Return a helper that records events in one transaction and returns their ids."""

    def make(count: int = 1, *, who: Actor = actor) -> list[UUID]:
        with tenant_scope(who.tenant_id), transaction():
            return [record(events.LOGIN_FAILED, actor=who).id for _number in range(count)]

    return make


@pytest.fixture
def seals(tenant: UUID) -> Callable[[], list[IAMAuditSeal]]:
    """Return a helper that reads the seals of the default tenant, in order."""

    def read() -> list[IAMAuditSeal]:
        with tenant_scope(tenant):
            session().rollback()
            return list(session().scalars(sa.select(IAMAuditSeal).order_by(IAMAuditSeal.seq)))

    return read


def administer(*statements: Any) -> None:
    """Change the tables behind the back of the application, as who owns the database can."""
    session().rollback()
    with administrator(engine()) as connection:
        for statement in statements:
            connection.execute(statement)


def refuse(actor: Actor) -> None:
    """Do work that is refused: it is rolled back, what was recorded stays."""
    with suppress(Forbidden), tenant_scope(actor.tenant_id), transaction():
        record(events.LOGIN_FAILED, status=DENIED, actor=actor)
        raise Forbidden


def rows() -> list[Any]:
    """Return the stored events of every tenant, oldest first."""
    with engine().connect() as connection:
        return list(connection.execute(sa.select(LOG).order_by(LOG.c.id)).mappings())


def alarms() -> list[dict[str, Any]]:
    """Return what was recorded as found wrong."""
    return [row["metadata"] for row in rows() if row["action"] == "AUDIT_TAMPERING_FOUND"]


# ---------------------------------------------------------------- numbers, chain, tree


def test_m3_events_get_numbers_without_gaps_a_chain_and_a_tree(tenant, add, seals) -> None:
    ids = add(300)
    assert seal_tenant(tenant) == 300
    ids += add(7)
    assert seal_tenant(tenant) == 7
    assert seal_tenant(tenant) == 0
    found = seals()
    assert [seal.id for seal in found] == ids
    assert [seal.seq for seal in found] == list(range(307))
    link, tree = verifier.first_link(tenant), verifier.Frontier()
    for seal, row in zip(found, rows(), strict=True):
        assert seal.leaf == verifier.leaf_hash(verifier.encode(dict(row)))
        link = verifier.next_link(link, seal.seq, seal.leaf)
        tree.append(seal.leaf)
        assert seal.chain == link
    with tenant_scope(tenant):
        head = session().scalars(sa.select(IAMAuditHead)).one()
        assert (head.size, head.chain) == (307, link)
        assert head.frontier == tree.to_bytes()
        node = session().scalars(sa.select(IAMAuditNode)).one()
        assert (node.level, node.position) == (8, 0)


def test_m3_each_tenant_has_a_sequence_of_its_own(tenant, other_tenant, actor, add) -> None:
    add(3)
    add(2, who=actor.acting_as(tenant_id=other_tenant))
    assert set(waiting_tenants()) == {tenant, other_tenant}
    assert sealer.seal_all() == 5
    assert waiting_tenants() == []
    with tenant_scope(other_tenant):
        assert session().scalars(sa.select(IAMAuditSeal.seq)).all() == [0, 1]


def test_m3_what_commits_late_is_sealed_later_and_not_lost(tenant, add, seals) -> None:
    add(5)
    seal_tenant(tenant)
    with clock.travel(timedelta(minutes=-9)):
        late = add(1)
    with clock.travel(timedelta(hours=-3)):
        hours = add(1)
    assert seal_tenant(tenant) == 0, "the search begins where the last one ended"
    assert seal_tenant(tenant, since=stragglers()) == 1
    assert sealer.seal_all() == 1, "the first round searches everything"
    assert [seal.id for seal in seals()][-2:] == [*late, *hours]
    with clock.travel(timedelta(hours=-3)):
        add(1)
    assert sealer.seal_all() == 0, "once an hour is enough"
    with clock.travel(timedelta(hours=1, minutes=1)):
        assert sealer.seal_all() == 1


def test_m3_an_event_from_the_future_hides_nothing(tenant, add) -> None:
    with clock.travel(timedelta(days=400)):
        add(1)
    assert seal_tenant(tenant) == 1
    add(2)
    assert seal_tenant(tenant) == 2


# ---------------------------------------------------------------- only our own events


@pytest.fixture
def forged(app: Flask, tenant: UUID) -> Callable[..., UUID]:
    """Return a helper that inserts an event as somebody with the database alone can."""

    def insert(**values: Any) -> UUID:
        row = dict(rows()[-1]) | {"id": new_id(), "mac": None} | values
        administer(LOG.insert().values(**row))
        return row["id"]

    return insert


@pytest.mark.parametrize("mark", [None, bytes(32)], ids=["without", "wrong"])
def test_at_397_an_event_without_our_mark_is_never_sealed(
    tenant, add, seals, forged, mark: bytes | None
) -> None:
    add(1)
    seal_tenant(tenant)
    bad = forged(mac=mark)
    good = add(1)
    assert seal_tenant(tenant) == 1
    assert [seal.id for seal in seals()][-1:] == good
    assert bad not in [seal.id for seal in seals()]


NONSENSE: dict[str, Any] = {
    "broken JSON": {"changes": "{bad"},
    "deep JSON": {"metadata": "[" * 5000},
    "a time that is none": {"occurred_at": "yesterday"},
    "text for an id": {"actor_id": "somebody"},
    "an id of another length": {"id": b"short"},
    "a tenant that is none, in the future": {"tenant_id": "x", "id": b"\xff" * 16},
    "a number for a name": {"encoding_version": "many"},
    "text for a mark": {"mac": "x" * 32},
    "text that is no UTF-8": {"error": b"\xff"},
}


@pytest.mark.parametrize("values", NONSENSE.values(), ids=NONSENSE)
def test_at_397_nonsense_in_the_table_stops_no_trail(
    app, tenant, other_tenant, actor, add, seals, values: dict[str, Any]
) -> None:
    """MySQL refuses it by itself; SQLite takes any value in any column."""
    if engine().dialect.name != "sqlite":
        pytest.skip("the columns have types of their own")
    add(1)
    sealer.seal_all()
    columns = [column.name for column in LOG.columns]
    with engine().begin() as connection:
        names = ", ".join(columns)
        query = sa.text(f"SELECT {names} FROM iam_auth_log LIMIT 1")  # noqa: S608 - our own
        row = {**connection.execute(query).mappings().one(), "id": new_id().bytes, **values}
        as_text = {name for name in values if values is NONSENSE["text that is no UTF-8"]}
        marks = ", ".join(
            f"CAST(:{name} AS TEXT)" if name in as_text else f":{name}" for name in columns
        )
        insert = f"INSERT INTO iam_auth_log ({names}) VALUES ({marks})"  # noqa: S608 - our own
        connection.execute(sa.text(insert), row)
    good = add(1) + add(1, who=actor.acting_as(tenant_id=other_tenant))
    waiting_tenants()
    assert sealer.seal_all(everything=True) == 2
    session().rollback()
    with unscoped("the test looks at everything"):
        found = set(session().scalars(sa.select(IAMAuditSeal.id)))
    assert set(good) <= found
    session().rollback()
    with clock.travel(timedelta(hours=1)):
        told = {flaw.code for flaw in services_bundle.verify().findings}
    assert told & {"inserted", "unsealed"}


def test_at_397_rows_without_an_id_do_not_keep_the_sealer_from_ours(
    app, tenant, add, monkeypatch
) -> None:
    if engine().dialect.name != "sqlite":
        pytest.skip("the columns have types of their own")
    monkeypatch.setattr("app.audit.sealing.services_seal._BATCH", {"sqlite": 3})
    add(1)
    seal_tenant(tenant)
    with engine().begin() as connection:
        columns = ", ".join(column.name for column in LOG.columns if column.name != "id")
        for number in range(4):
            connection.exec_driver_sql(
                f"INSERT INTO iam_auth_log (id, {columns}) "  # noqa: S608 - our own names
                f"SELECT id || x'0{number}', {columns} FROM iam_auth_log WHERE length(id) = 16"
            )
    add(1)
    assert seal_tenant(tenant, since=UUID(int=0)) == 1


def test_at_397_a_huge_row_of_somebody_else_is_not_even_read(tenant, add, seals, forged) -> None:
    add(1)
    bad = forged(mac=bytes(32), metadata={"x": "y" * (5 * MOST_BYTES)})
    good = add(1)
    assert seal_tenant(tenant) == 2
    assert bad not in [seal.id for seal in seals()]
    assert good[0] in [seal.id for seal in seals()]


def test_m3_an_event_that_could_not_be_sealed_is_not_recorded(tenant, actor) -> None:
    huge = {str(number): "y" * 400 for number in range(1000)}
    with tenant_scope(tenant), pytest.raises(ValueError, match="at most"), transaction():
        record(events.USER_UPDATED, changes=huge, actor=actor)


def test_at_397_a_mark_fits_one_event_only(tenant, add, seals, forged) -> None:
    add(1)
    seal_tenant(tenant)
    bad = forged(mac=rows()[-1]["mac"])
    seal_tenant(tenant)
    assert bad not in [seal.id for seal in seals()]


def test_at_397_many_forged_events_do_not_keep_the_sealer_from_ours(
    tenant, add, seals, forged, monkeypatch
) -> None:
    monkeypatch.setattr("app.audit.sealing.services_seal._BATCH", {"sqlite": 3, "mysql": 3})
    add(1)
    seal_tenant(tenant)
    for _number in range(7):
        forged()
    good = add(4)
    assert seal_tenant(tenant) == 4
    assert [seal.id for seal in seals()][-4:] == good


def test_m3_what_an_earlier_version_wrote_is_adopted_where_somebody_asks_for_it(
    app, tenant, add, seals, forged, monkeypatch
) -> None:
    """An upgrade finds events that no version before this one could mark."""
    monkeypatch.setattr("app.audit.sealing.services_seal._BATCH", {"sqlite": 4, "mysql": 4})
    add(1)
    administer(LOG.update().values(mac=None))
    for _number in range(7):
        forged()
    wrong = forged(mac=bytes(32))
    assert seal_tenant(tenant) == 0
    done = app.test_cli_runner().invoke(args=["iam", "audit", "seal", "--adopt"])
    assert "Sealed     8 events" in done.output, done.output
    assert wrong not in [seal.id for seal in seals()]
    late = forged()
    seal_tenant(tenant, since=UUID(int=0), adopting=True)
    assert late not in [seal.id for seal in seals()], "it is signed now"


@pytest.mark.parametrize("kept", ["the checkpoint", "the key"])
def test_at_397_nothing_is_adopted_once_anything_was_signed(tenant, add, forged, kept) -> None:
    """Whoever clears away what was sealed cannot have an invented past signed."""
    add(2)
    seal_tenant(tenant)
    services_checkpoints.sign_due()
    session().rollback()
    gone = IAMAuditCheckpoint if kept == "the key" else IAMAuditKey
    for model in (IAMAuditSeal, IAMAuditNode, IAMAuditHead, gone):
        administer(sa.delete(model.__table__))
    administer(LOG.update().values(mac=None))
    forged()
    assert seal_tenant(tenant, since=UUID(int=0), adopting=True) == 0


def test_at_472_marks_of_an_older_key_still_count(app, tenant, add) -> None:
    ring = keyring()
    old = KeyRing(["x" * 32], [*ring._encryption])
    new = KeyRing(["x" * 32], ["A" * 43 + "=", *ring._encryption])
    state = app.extensions["iam"]
    state.keyring = old
    try:
        add(1)
        state.keyring = new
        add(1)
        assert seal_tenant(tenant) == 2
    finally:
        state.keyring = ring


def test_m1_the_evidence_of_a_refusal_is_marked_and_sealed(tenant, actor) -> None:
    refuse(actor)
    assert seal_tenant(tenant) == 1


# ---------------------------------------------------------------- a trail that was cut


def cut_tail(tenant: UUID) -> list[Any]:
    return [SEAL.delete().where(SEAL.c.seq >= 3)]


def cut_head_row(tenant: UUID) -> list[Any]:
    return [HEAD.delete()]


def turn_back(tenant: UUID) -> list[Any]:
    with engine().connect() as connection:
        chain = connection.scalar(sa.select(SEAL.c.chain).where(SEAL.c.seq == 2))
    frontier = verifier.Frontier()
    return [
        SEAL.delete().where(SEAL.c.seq >= 3),
        HEAD.update().values(size=3, chain=chain, frontier=b"\0" * 32 * frontier.size),
    ]


def start_over(tenant: UUID) -> list[Any]:
    return [SEAL.delete(), HEAD.delete()]


def other_tree(tenant: UUID) -> list[Any]:
    return [HEAD.update().values(frontier=bytes(64))]


@pytest.mark.parametrize("tamper", [cut_tail, cut_head_row, turn_back, start_over, other_tree])
def test_at_396_a_trail_that_was_cut_is_not_continued(tenant, add, seals, tamper) -> None:
    add(6)
    seal_tenant(tenant)
    services_checkpoints.sign_due()
    add(1)
    administer(*tamper(tenant))
    before = [seal.id for seal in seals()]
    for _round in range(2):
        assert seal_tenant(tenant) == 0
    assert services_checkpoints.sign(tenant) is None
    assert [seal.id for seal in seals()] == before
    assert len(alarms()) == 1, "told once"
    assert len(alarms()[0]["findings"]) == 1


def test_at_396_one_broken_trail_does_not_stop_another(tenant, other_tenant, actor, add) -> None:
    add(3)
    add(3, who=actor.acting_as(tenant_id=other_tenant))
    sealer.seal_all()
    administer(SEAL.delete().where(SEAL.c.tenant_id == tenant))
    add(1)
    add(1, who=actor.acting_as(tenant_id=other_tenant))
    assert sealer.seal_all() == 1


# ---------------------------------------------------------------- checkpoints and keys


def test_m3_a_checkpoint_states_size_root_chain_and_time(tenant, add, seals) -> None:
    add(5)
    seal_tenant(tenant)
    assert services_checkpoints.sign_due() == 1
    with tenant_scope(tenant):
        row = services_checkpoints.newest()
        keys = services_audit_keys.vkeys()
    assert row is not None
    verifier.check_note(row.note, keys)
    stated = verifier.read_checkpoint(row.note)
    assert stated.origin == f"iam-audit/{tenant}"
    assert (stated.size, stated.root, stated.chain) == (5, row.root, seals()[-1].chain)
    assert stated.time == row.signed_at
    tree = verifier.Frontier()
    for seal in seals():
        tree.append(seal.leaf)
    assert stated.root == tree.root()


def test_m3_checkpoints_follow_new_events_and_come_when_idle(tenant, add) -> None:
    add(1)
    seal_tenant(tenant)
    made = [services_checkpoints.sign_due(), services_checkpoints.sign_due()]
    seal_tenant(tenant)  # the event that tells of the key
    made.append(services_checkpoints.sign_due())
    with clock.travel(timedelta(seconds=61)):
        made += [services_checkpoints.sign_due(), services_checkpoints.sign_due()]
    with clock.travel(timedelta(minutes=30)):
        made.append(services_checkpoints.sign_due())
    with clock.travel(timedelta(seconds=61, hours=1)):
        made.append(services_checkpoints.sign_due())
    assert made == [1, 0, 0, 1, 0, 0, 1]


def test_at_456_a_small_step_back_of_the_clock_is_no_rollback(tenant, add) -> None:
    add(1)
    seal_tenant(tenant)
    times = []
    for step in (0, -30, -7200):
        with clock.travel(timedelta(seconds=step)):
            row = services_checkpoints.sign(tenant)
            assert row is not None
            times.append(verifier.read_checkpoint(row.note).time)
    assert times[0] == times[1]
    assert times[2] < times[0], "what the clock says is stated; the verifier tells"


def test_m3_a_new_key_is_vouched_for_by_the_old_one(tenant, actor, add) -> None:
    add(1)
    seal_tenant(tenant)
    services_checkpoints.sign(tenant)
    with tenant_scope(tenant):
        (before,) = services_audit_keys.vkeys()
    services_checkpoints.rotate_key(actor=actor)
    with tenant_scope(tenant):
        row = services_checkpoints.newest()
        assert row is not None
        old, new = services_audit_keys.vkeys()
    assert old == before
    for key in (old, new):
        verifier.check_note(row.note, [key])
    seal_tenant(tenant)
    row = services_checkpoints.sign(tenant)
    assert row is not None
    verifier.check_note(row.note, [new])
    with pytest.raises(verifier.NoteError):
        verifier.check_note(row.note, [old])
    assert [row["action"] for row in rows()].count("AUDIT_KEY_CREATED") == 2


def test_at_474_a_signing_key_is_stored_encrypted_and_rotates(app, tenant, actor, add) -> None:
    add(1)
    seal_tenant(tenant)
    services_checkpoints.sign(tenant)
    with tenant_scope(tenant):
        key = session().scalars(sa.select(IAMAuditKey)).one()
        before, row_id = key.private_key, key.id
        assert len(keyring().decrypt(before, f"iam_audit_key:{row_id}")) == 32
        session().rollback()
    ring = keyring()
    fresh = "A" * 43 + "="
    state = app.extensions["iam"]
    state.keyring = KeyRing(["x" * 32], [fresh, *ring._encryption])
    try:
        rotate_stored_secrets(actor=actor)
        state.keyring = KeyRing(["x" * 32], [fresh])
        assert services_checkpoints.sign(tenant) is not None
    finally:
        state.keyring = ring


# ---------------------------------------------------------------- proofs


@pytest.fixture
def grown(tenant: UUID, add: Callable[..., list[UUID]]) -> list[UUID]:
    """Return the ids of 600 sealed events with checkpoints over 3 and over 600."""
    ids = add(3)
    seal_tenant(tenant)
    services_checkpoints.sign(tenant)
    ids += add(596)
    seal_tenant(tenant)
    services_checkpoints.sign(tenant)
    return ids


def test_m3_every_event_is_proven_in_the_newest_checkpoint(tenant, grown) -> None:
    with tenant_scope(tenant):
        newest = services_checkpoints.newest()
        assert newest is not None
        assert newest.size == 600  # the event of the key is one
        for number in (0, 2, 5, 255, 256, 511, 512, 598):
            proof = services_proofs.prove(grown[number])
            assert proof.state == services_proofs.PROVEN
            assert proof.seal is not None
            root = verifier.inclusion_root(proof.seal.leaf, proof.seal.seq, 600, proof.path)
            assert root == newest.root


def test_m3_the_newest_checkpoint_continues_an_older_one(tenant, grown) -> None:
    with tenant_scope(tenant):
        found = services_proofs.prove_growth(3)
        assert (found.old.size, found.new.size) == (3, 600)
        assert found.holds
        assert verifier.consistency_holds(3, found.old.root, 600, found.new.root, found.path)
        assert services_proofs.prove(grown[0]).grown == found
        for size in (4, 601):
            with pytest.raises(BadRequest):
                services_proofs.prove_growth(size)


def test_m3_a_proof_fails_where_the_event_or_the_tree_was_changed(tenant, grown) -> None:
    administer(
        LOG.update().where(LOG.c.id == grown[5]).values(error="other"),
        SEAL.update().where(SEAL.c.seq == 300).values(leaf=bytes(32)),
    )
    with tenant_scope(tenant):
        assert services_proofs.prove(grown[5]).state == services_proofs.BROKEN
        assert services_proofs.prove(grown[299]).state == services_proofs.BROKEN
        assert services_proofs.prove(grown[520]).state == services_proofs.PROVEN


def test_m3_a_proof_of_a_long_trail_reads_few_blocks(tenant, grown) -> None:
    seen: list[str] = []

    def see(*given: Any) -> None:
        seen.append(given[2])

    sa.event.listen(engine(), "before_cursor_execute", see)
    with tenant_scope(tenant):
        session().rollback()
        services_proofs.prove(grown[298])
    sa.event.remove(engine(), "before_cursor_execute", see)
    assert len(seen) < 20


def test_at_405_an_event_of_another_tenant_has_no_proof(tenant, other_tenant, grown) -> None:
    with tenant_scope(other_tenant), pytest.raises(NotFound):
        services_proofs.prove(grown[0])


# ---------------------------------------------------------------- the page and the command line


@pytest.fixture
def auditor(make_user: Any, sign_in: Any, client: Any) -> Any:
    """Return a browser that an auditor is signed in with."""
    sign_in(client, make_user("audrey", roles=["auditor"], mfa="totp"))
    return client


def page_of(client: Any, event_id: UUID, **query: Any) -> Any:
    return client.get(f"/admin/audit/proof/{event_id}", query_string=query)


def test_m3_the_page_of_a_proof_follows_an_event_through_its_states(auditor, tenant, add) -> None:
    (event,) = add(1)
    seen = []
    for act in (
        lambda: None,
        lambda: seal_tenant(tenant),
        lambda: services_checkpoints.sign(tenant),
        lambda: administer(LOG.update().where(LOG.c.id == event).values(error="other")),
    ):
        act()
        answer = page_of(auditor, event)
        assert answer.status_code == 200
        seen.append((page_of(auditor, event, format="json").json["state"], answer.text))
    assert [state for state, _page in seen] == ["waiting", "sealed", "proven", "broken"]
    for (_state, page), words in zip(
        seen, ("Not sealed yet", "not signed yet", "Proven", "The proof fails"), strict=True
    ):
        assert words in page
        assert "&lt;" not in page
    assert f"/admin/audit/proof/{event}" in auditor.get(f"/admin/audit/logs/{event}").text


def test_m3_a_proof_as_json_is_all_that_somebody_else_needs(auditor, tenant, grown) -> None:
    with tenant_scope(tenant):
        first = session().scalar(sa.select(sa.func.min(IAMAuditCheckpoint.size)))
    got = auditor.get(
        f"/admin/audit/proof/{grown[7]}?since={first}", headers={"Accept": "application/json"}
    ).json
    body = verifier.check_note(got["checkpoint"], got["keys"])
    stated = verifier.read_checkpoint(body)

    def raw(items: list[str]) -> list[bytes]:
        return [base64.b64decode(item) for item in items]

    leaf = verifier.leaf_hash(verifier.encode(dict(rows()[got["index"]])))
    assert [leaf] == raw([got["leaf"]])
    path = raw(got["inclusion"])
    assert verifier.inclusion_root(leaf, got["index"], stated.size, path) == stated.root
    grew = got["consistency"]
    old = verifier.read_checkpoint(grew["old_checkpoint"])
    assert verifier.consistency_holds(first, old.root, stated.size, stated.root, raw(grew["path"]))


@pytest.mark.parametrize("since", ["4", "-1", "x", "9" * 30])
def test_m3_a_size_that_no_checkpoint_has_is_refused(auditor, grown, since: str) -> None:
    """Beside its field on the page, which still shows the proof; a program gets a problem."""
    answer = page_of(auditor, grown[0], since=since)
    assert answer.status_code == 422
    assert 'id="since-error"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert "Proven" in answer.text
    assert page_of(auditor, grown[0], since=since, format="json").status_code == 400


def test_at_405_the_page_of_a_proof_is_for_who_may_read_the_trail(
    auditor, client, make_user, sign_in, other_tenant, actor, add
) -> None:
    (foreign,) = add(1, who=actor.acting_as(tenant_id=other_tenant))
    assert page_of(auditor, foreign).status_code == 404
    assert auditor.get("/admin/audit/proof/nonsense").status_code == 404
    (event,) = add(1)
    plain = auditor.application.test_client()
    sign_in(plain, make_user("ann"))
    assert page_of(plain, event).status_code == 403


def test_a8_seal_key_and_proof_by_command_line(app, tenant, add) -> None:
    run = app.test_cli_runner().invoke
    (event,) = add(1)

    def iam(*words: str) -> Any:
        return run(args=["iam", "audit", *words])

    assert "Sealed     1 events, signed 1" in iam("seal").output
    (line,) = iam("key").output.splitlines()
    before = line.split("  #")[0]
    verifier.read_verifier_key(before)
    proof = json.loads(iam("proof", str(event)).output)
    assert proof["state"] == "proven"
    assert proof["keys"] == [before]
    assert len(iam("key", "--rotate").output.splitlines()) == 2
    assert json.loads(iam("proof", "--since", "1").output)["holds"] is True
    assert iam("proof", str(new_id())).exit_code == 1
    assert iam("proof").exit_code == 2
    assert iam("key", "--tenant", "nowhere").exit_code == 1
    administer(LOG.update().where(LOG.c.id == event).values(error="other"))
    assert iam("proof", str(event)).exit_code == 1


# ---------------------------------------------------------------- who seals


def sealed_soon(tenant: UUID, count: int) -> bool:
    for _turn in range(300):
        with tenant_scope(tenant):
            session().rollback()
            size = session().scalar(sa.select(IAMAuditHead.size)) or 0
        if size >= count:
            return True
        threading.Event().wait(0.02)
    return False


@pytest.fixture
def thread_app(app: Flask, database_url: str) -> Iterator[Flask]:
    """Return an app on the suite's database that seals in a thread of its own."""
    made = make_app(database_url, AUDIT_SEAL_MODE="thread")
    yield made
    made.extensions["iam_sealer"].stop()
    with made.app_context():
        made.extensions["sqlalchemy"].engine.dispose()


def test_m3_embedded_an_event_is_sealed_right_after_its_commit(thread_app, tenant, actor) -> None:
    with thread_app.app_context():
        assert not thread_app.extensions["iam_sealer"].alive
        with tenant_scope(tenant), transaction():
            record(events.LOGIN_FAILED, actor=actor)
        assert sealed_soon(tenant, 1)
        refuse(actor)
        assert sealed_soon(tenant, 3), "what a refusal left, and the event of the key"


@pytest.mark.parametrize(("mode", "works"), [("worker", True), ("off", False)])
def test_m3_the_worker_seals_unless_sealing_is_off(app, tenant, add, mode: str, works) -> None:
    stopping = threading.Event()
    add(1)
    assert "iam_sealer" not in app.extensions

    def work() -> None:
        with app.app_context():
            sealer.run_worker(stopping)

    with changed(app, AuditSettings, AUDIT_SEAL_MODE=mode):
        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert sealed_soon(tenant, 1) if works else not thread.join(10)
        finally:
            stopping.set()
            thread.join(10)
    assert not thread.is_alive()
    session().rollback()
    with tenant_scope(tenant):
        assert (session().scalar(sa.select(sa.func.count(IAMAuditCheckpoint.id))) == 1) is works
