"""What the trail tells of people stands under their keys, reads as before, and can be erased."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from app.audit import events, verifier
from app.audit.events import CATALOGUE
from app.audit.models import IAMAuthLog
from app.audit.personal import keys, services_subject_keys
from app.audit.personal.ciphers import Unreadable, seal, unseal
from app.audit.sealing import services_checkpoints, services_seal
from app.audit.services_audit import record
from app.audit.services_query import AuditLogQuery
from app.auth.accounts import services_account_status as status
from app.auth.invitations import services_invitations
from app.auth.models import IAMInvitation, IAMSubjectKey, IAMUserAccount
from app.core import clock
from app.core.actor import Actor
from app.core.crypto import KeyRing
from app.core.db import engine, session, transaction
from app.core.errors import NotAuthenticated
from app.core.ids import new_id
from app.core.scoping import tenant_scope, unscoped
from app.services_keys import rotate_stored_secrets
from tests.conftest import post
from tests.support.races import together

LOGS = "/admin/audit/logs"
IP, BROWSER = "192.0.2.77", "Seldom/7.7"


@pytest.fixture
def happen(tenant: UUID) -> Callable[..., IAMAuthLog]:
    """Return a helper that records an event somebody did: `happen("LOGOUT", by=person.id)`."""

    def add(
        event: str, /, *, by: UUID | None = None, ip: str | None = IP, **values: Any
    ) -> IAMAuthLog:
        kind = "user" if by else "anonymous"
        actor = Actor(kind, tenant, user_id=by, ip=ip, user_agent=BROWSER)
        with tenant_scope(tenant), transaction():
            return record(CATALOGUE[event], actor=actor, **values)

    return add


def stored(event_id: UUID) -> Any:
    """Return the row of an event as the database has it."""
    table = IAMAuthLog.__table__
    with session().get_bind().connect() as connection:
        return connection.execute(sa.select(table).where(table.c.id == event_id)).one()


def seen(row: Any) -> str:
    """Return everything that a reader of the table sees of a row."""
    return " ".join(
        value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in row
    )


@contextmanager
def key_reads() -> Iterator[list[str]]:
    """Collect the statements that touch the keys of people."""
    engine, found = session().get_bind(), []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "iam_subject_key" in statement:
            found.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


# ------------------------------------------------------------------- what stands in the row


def test_m6_where_somebody_acted_from_is_not_in_clear_and_reads_as_before(happen, scoped) -> None:
    event = happen("LOGOUT", by=new_id())
    row = stored(event.id)
    assert (row.ip, row.user_agent) == (None, None)
    assert IP not in seen(row)
    assert BROWSER not in seen(row)
    session().expire_all()
    assert (event.ip, event.user_agent) == (IP, BROWSER)


def test_m6_what_is_told_of_a_person_is_not_in_clear_and_reads_as_before(happen, scoped) -> None:
    person, admin = new_id(), new_id()
    account = ("user_account", person)
    told = {
        "resource": account,
        "changes": {"first_name": ["Zoë", "Zora"]},
        "reason": "Unpaid rent",
    }
    event = happen("USER_SUSPENDED", by=admin, **told)
    row = stored(event.id)
    for word in ("Zora", "Zo", "Unpaid", IP):
        assert word not in seen(row)
    session().expire_all()
    assert event.changes == {"first_name": ["Zoë", "Zora"]}
    assert event.details == {"reason": "Unpaid rent"}


def test_m6_what_tells_of_nobody_stays_in_clear(happen, scoped) -> None:
    event = happen("LOGIN_FAILED", identifier="nobody@example.com", reason="unknown")
    row = stored(event.id)
    assert (row.ip, row.user_agent) == (IP, BROWSER)
    assert row.metadata == {"identifier": "nobody@example.com", "reason": "unknown"}
    made = happen(
        "ORGANIZATION_CREATED", by=new_id(), changes={"name": [None, "Acme"]}, name="Acme"
    )
    assert stored(made.id).changes == {"name": [None, "Acme"]}


def test_m6_a_refused_sign_in_names_a_known_person_under_their_key_only(
    client, make_user, audit_rows
) -> None:
    person = make_user("petronella")
    post(client, "/auth/login", {"username": "petronella@example.com", "password": "wrong"})
    (event,) = audit_rows("LOGIN_FAILED")
    assert event.subject_id == person.id
    assert "petronella" not in seen(stored(event.id))
    assert event.details["identifier"] == "petronella"


def test_m6_events_are_found_by_their_address_all_the_same(happen, scoped) -> None:
    mine = happen("LOGOUT", by=new_id())
    strange = happen("LOGIN_FAILED", ip="::ffff:192.0.2.77")
    happen("LOGOUT", by=new_id(), ip="192.0.2.78")
    for question in (AuditLogQuery().by_ip(IP), AuditLogQuery().search(IP)):
        assert [row.id for row in question.all()] == [strange.id, mine.id]
    index = stored(mine.id).ip_index
    assert len(index) == 16
    assert happen("LOGOUT", by=new_id(), ip=None).ip_index is None


def test_m6_an_address_is_found_by_something_else_in_every_tenant(
    happen, tenant, other_tenant
) -> None:
    mine = happen("LOGIN_FAILED")
    with tenant_scope(other_tenant):
        assert AuditLogQuery().by_ip(IP).all() == []
        with transaction():
            theirs = record(events.LOGIN_FAILED, actor=Actor("anonymous", other_tenant, ip=IP))
        assert [row.id for row in AuditLogQuery().by_ip(IP).all()] == [theirs.id]
    assert stored(mine.id).ip_index != stored(theirs.id).ip_index


def test_m6_the_catalogue_marks_only_what_an_event_carries() -> None:
    for event in CATALOGUE.values():
        assert event.personal <= event.fields | {"changes"}, event.name


@pytest.mark.parametrize(
    "name", sorted(n for n, e in CATALOGUE.items() if "identifier" in e.fields)
)
def test_m6_no_identifier_is_left_in_clear(name: str) -> None:
    assert "identifier" in CATALOGUE[name].personal


def test_at_474_a_sealed_value_opens_in_its_own_place_only() -> None:
    key, tenant_id, event_id = bytes(32), new_id(), new_id()
    sealed = seal(key, tenant_id, event_id, "origin", {"ip": IP})
    assert unseal(key, tenant_id, event_id, "origin", sealed) == {"ip": IP}
    assert seal(key, tenant_id, event_id, "origin", {"ip": IP}) != sealed
    places = [
        (bytes([1]) * 32, tenant_id, event_id, "origin", sealed),
        (key, new_id(), event_id, "origin", sealed),
        (key, tenant_id, new_id(), "origin", sealed),
        (key, tenant_id, event_id, "personal", sealed),
        (key, tenant_id, event_id, "origin", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (key, tenant_id, event_id, "origin", b"\x02" + sealed[1:]),
        (key, tenant_id, event_id, "origin", sealed[:9]),
    ]
    for place in places:
        with pytest.raises(Unreadable):
            unseal(*place)


def test_an_event_is_never_kept_in_part() -> None:
    with pytest.raises(ValueError, match="too much"):
        seal(bytes(32), new_id(), new_id(), "origin", {"ip": "x" * 1024})


def test_what_an_event_carries_reads_back_the_same_on_both_engines(happen, scoped) -> None:
    given = {"ratio": 0.1, "big": 1 << 63, "least": -(1 << 63), "yes": True, "a\x00b": None}
    event = happen("USER_UPDATED", by=new_id(), changes=given)
    session().expire_all()
    expected = {"ratio": "0.1", "big": str(1 << 63), "least": -(1 << 63), "yes": True}
    assert event.changes == {**expected, "a\ufffdb": None}
    with pytest.raises(TypeError):
        happen("USER_UPDATED", changes={"key": b"bytes"})


# --------------------------------------------------------------------------------- the keys


def test_m6_a_page_of_many_people_reads_their_keys_once(
    client, make_user, sign_in, happen, tenant
) -> None:
    sign_in(client, make_user("maria", roles=["auditor"], mfa="totp"))
    for number in range(12):
        person = new_id()
        happen("USER_SUSPENDED", by=person, ip=f"198.51.100.{number}", reason=f"Reason {number}")
    with key_reads() as reads:
        page = client.get(LOGS, query_string={"action": "USER_SUSPENDED"}).text
    assert all(f"198.51.100.{number}" in page for number in range(12))
    assert len(reads) == 1
    export = client.get(f"{LOGS}/export?format=ndjson&action=USER_SUSPENDED").text
    told = {json.loads(line)["metadata"]["reason"] for line in export.splitlines()}
    assert told == {f"Reason {number}" for number in range(12)}


def test_m6_a_key_that_is_remembered_costs_no_statement(client, make_user, sign_in) -> None:
    person = make_user("ann")
    sign_in(client, person)
    post(client, "/auth/logout", page="/account")
    with key_reads() as reads:
        sign_in(client, person)
    assert reads == []


def test_m6_an_account_has_its_key_from_the_beginning(make_user, tenant, scoped) -> None:
    """Made later, the first events of a crowd would wait for one another."""
    person = make_user("ann")
    made = session().scalars(sa.select(IAMSubjectKey.id)).all()
    assert sorted(made) == sorted([person.id, tenant])


def test_m6_many_first_events_at_once_make_one_key(app, tenant, happen) -> None:
    person = new_id()
    counts = together(app, tenant, lambda: happen("LOGOUT", by=person), workers=8)
    assert counts == {"ok": 8}
    session().rollback()
    with tenant_scope(tenant):
        rows = session().scalars(sa.select(IAMAuthLog).where(IAMAuthLog.actor_id == person)).all()
        assert [row.ip for row in rows] == [IP] * 8
        made = session().scalars(sa.select(IAMSubjectKey.id)).all()
        assert sorted(made) == sorted([person, tenant])


def test_m6_a_key_that_another_made_meanwhile_is_found_at_repeatable_read(
    app, tenant, happen
) -> None:
    """A host's engine may run at MySQL's own level: what is read there stays as it was."""
    if engine().dialect.name != "mysql":
        pytest.skip("SQLite's writers wait for one another")
    person = new_id()
    session().rollback()
    with tenant_scope(tenant), transaction():
        session().connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session().scalars(sa.select(IAMSubjectKey.id)).all()
        assert together(app, tenant, lambda: happen("LOGOUT", by=person), workers=1) == {"ok": 1}
        app.extensions.pop("iam_subject_keys")
        record(events.LOGOUT, actor=Actor("user", tenant, user_id=person, ip=IP))
    with tenant_scope(tenant):
        rows = session().scalars(sa.select(IAMAuthLog).where(IAMAuthLog.actor_id == person)).all()
        assert [row.ip for row in rows] == [IP] * 2


def test_m6_evidence_of_refused_work_outlives_the_key_that_went_with_it(tenant, scoped) -> None:
    actor = Actor("user", tenant, user_id=new_id(), ip=IP, user_agent=BROWSER)
    with suppress(NotAuthenticated), transaction():
        record(events.MFA_FAILED, status="failure", actor=actor)
        raise NotAuthenticated
    (event,) = AuditLogQuery().all()
    assert event.ip == IP


def test_m6_a_key_of_a_savepoint_that_was_rolled_back_is_used_no_more(tenant, scoped) -> None:
    actor = Actor("user", tenant, user_id=new_id(), ip=IP, user_agent=BROWSER)
    with transaction():
        point = session().begin_nested()
        record(events.LOGOUT, actor=actor)
        session().flush()
        point.rollback()
        record(events.LOGOUT, actor=actor)
    assert keys.remembered().find(actor.user_id) is not None
    with transaction():
        record(events.LOGOUT, actor=actor)
    session().expire_all()
    assert [event.ip for event in AuditLogQuery().all()] == [IP, IP]


def test_m6_a_key_of_work_that_was_rolled_back_is_used_no_more(tenant, scoped) -> None:
    actor = Actor("user", tenant, user_id=new_id(), ip=IP, user_agent=BROWSER)
    with suppress(RuntimeError), transaction():
        record(events.LOGOUT, actor=actor)
        raise RuntimeError
    with transaction():
        record(events.LOGOUT, actor=actor)
    session().expire_all()
    assert [event.ip for event in AuditLogQuery().all()] == [IP]


def test_d2_keys_of_people_move_to_the_newest_key(app, happen, actor, scoped, caplog) -> None:
    event = happen("LOGOUT", by=new_id())
    state = app.extensions["iam"]
    before, newest = state.keyring, Fernet.generate_key().decode()
    state.keyring = KeyRing(["signing"], [newest, *before._encryption])
    try:
        rotate_stored_secrets(actor=actor)
        assert [row.id for row in AuditLogQuery().by_ip(IP).all()] == [event.id]
        state.keyring = KeyRing(["signing"], [newest])
        session().rollback()
        assert event.ip == IP
        assert [row.id for row in AuditLogQuery().by_ip(IP).all()] == [event.id]
        state.keyring = KeyRing(["signing"], [Fernet.generate_key().decode()])
        session().rollback()
        assert event.ip == "unreadable"
        keys.remembered().keys.clear()
        assert happen("LOGOUT", by=event.actor_id).ip == "unreadable"
        assert "MFA_ENCRYPTION_KEY" in caplog.text
    finally:
        state.keyring = before


# ---------------------------------------------------------------------------------- erasing


def test_at_408_erasing_a_person_leaves_no_word_of_them_and_the_trail_still_verifies(
    client, make_user, sign_in, happen, tenant, actor
) -> None:
    sign_in(client, make_user("maria", roles=["auditor"], mfa="totp"))
    person = make_user("ann")
    changed = {"first_name": ["Petronella", "Petra"]}
    event_id = happen(
        "USER_UPDATED", by=person.id, resource=("user_account", person.id), changes=changed
    ).id
    account = ("user_account", person.id)
    held = happen("USER_SUSPENDED", by=person.id, resource=account, reason="Unpaid rent").id
    seal_and_sign(tenant)
    with tenant_scope(tenant), transaction():
        services_subject_keys.destroy(person.id, actor=actor)
        services_subject_keys.destroy(person.id, actor=actor)
    pages = [client.get(f"{LOGS}/{item}").text for item in (event_id, held)]
    pages.append(client.get(f"{LOGS}?actor={person.id}").text)
    pages.append(client.get(f"{LOGS}/export?format=ndjson&actor={person.id}").text)
    for page in pages:
        assert "erased" in page.lower()
        for word in ("Petronella", "Petra", "Unpaid rent", IP, BROWSER):
            assert word not in page
    assert "ip=erased" not in "".join(pages)
    seal_and_sign(tenant)
    assert findings() == []
    with tenant_scope(tenant):
        told = AuditLogQuery().by_action("SUBJECT_KEY_DESTROYED").all()
        assert [row.resource_id for row in told] == [person.id]
        (key,) = session().scalars(sa.select(IAMSubjectKey).where(IAMSubjectKey.id == person.id))
        assert key.wrapped_key is None
        assert key.destroyed_at is not None


def test_at_408_what_happens_afterwards_is_unreadable_from_the_start(
    happen, actor, tenant, scoped
) -> None:
    person = new_id()
    happen("LOGOUT", by=person)
    key = keys.remembered().find(person)
    with transaction():
        services_subject_keys.destroy(person, actor=actor)
    assert keys.remembered().find(person) is None
    after = happen("LOGOUT", by=person)
    # Another process may still remember the key for some minutes.
    keys.remembered().keep(person, key)
    late = happen("LOGOUT", by=person)
    for event in (after, late):
        assert IP not in seen(stored(event.id))
        assert (event.ip, event.user_agent) == ("erased", "erased")
    keys.remembered().drop(person)


def test_at_408_a_process_forgets_a_key_after_some_minutes(app, tenant, monkeypatch) -> None:
    held, person, now = keys.Remembered(), new_id(), clock.monotonic()
    held.keep(person, b"k")
    assert held.find(person) == b"k"
    monkeypatch.setattr(clock, "monotonic", lambda: now + 700)
    assert held.find(person) is None


def test_b5_the_command_erases_a_person_from_account_and_trail(app, make_user, happen, audit_rows):
    person = make_user("ann")
    happen("LOGOUT", by=person.id)
    runner = app.test_cli_runner()
    words = ["iam", "users", "erase", "ann", "--reason", "Asked for it"]
    assert runner.invoke(args=words, input="n\n").exit_code != 0
    assert audit_rows("SUBJECT_KEY_DESTROYED") == []
    answer = runner.invoke(args=[*words, "--yes"])
    assert answer.exit_code == 0, answer.output
    assert [row.subject_id for row in audit_rows("USER_DELETED")] == [person.id]
    assert [row.ip for row in audit_rows("LOGOUT")] == ["erased"]
    unknown = runner.invoke(args=["iam", "users", "erase", "nobody"])  # before any question
    assert unknown.exit_code == 1
    assert unknown.output == "Error: no account called nobody\n"
    # Who was deleted without being erased can still be erased, by the name that is left.
    words[3] = f"erased:{person.id}"
    assert runner.invoke(args=[*words, "--yes"]).exit_code == 0
    assert len(audit_rows("SUBJECT_KEY_DESTROYED")) == 1


def test_b5_erasing_a_person_takes_their_invitations(make_user, scoped, actor, tenant) -> None:
    """One that they accepted, and one that waits for their address."""
    with transaction():
        for address in ("ann@example.com", "eve@example.com"):
            services_invitations.invite(address, name="Somebody", actor_grants=None, actor=actor)
    person = make_user("ann")
    with transaction():
        user = (
            session().scalars(sa.select(IAMUserAccount).where(IAMUserAccount.id == person.id)).one()
        )
        status.delete_user(user, reason="Asked for it", actor_grants=None, actor=actor)
    left = session().scalars(sa.select(IAMInvitation.email)).all()
    assert left == ["eve@example.com"]


def test_at_408_whoever_acts_in_two_tenants_has_one_key(
    happen, tenant, other_tenant, actor, scoped
) -> None:
    """As the administrators of the platform do, in an access context."""
    person = new_id()
    happen("LOGOUT", by=person)
    keys.remembered().drop(person)
    abroad = Actor("user", other_tenant, user_id=person, ip=IP)
    with tenant_scope(other_tenant), transaction():
        record(events.LOGOUT, actor=abroad)
    with transaction():
        services_subject_keys.destroy(person, actor=actor)
    with unscoped("the test looks at every tenant"):
        found = session().scalars(sa.select(IAMAuthLog).where(IAMAuthLog.actor_id == person)).all()
        assert [event.ip for event in found] == ["erased", "erased"]


def seal_and_sign(tenant: UUID) -> None:
    """Seal what is there and sign it."""
    services_seal.seal_tenant(tenant)
    services_checkpoints.sign(tenant)


def findings() -> list[str]:
    """Return what the verifier finds in the tables."""
    session().rollback()
    engine = session().get_bind()
    connection = engine.raw_connection()
    try:
        opened = (
            verifier.read_mysql(connection.driver_connection)
            if engine.dialect.name == "mysql"
            else verifier.open_sqlite(engine.url.database)
        )
        with opened as source:
            at = clock.now() + timedelta(seconds=1)
            report = verifier.verify(source, now=at)
    finally:
        connection.close()
    return [f"{item.code} {item.text}" for item in report.findings]
