"""One recovery, many hands: each step happens once, whoever comes first (AT-450).

SQLite lets writers through one by one, so these say most on MySQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import cycle
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from app.auth.models import IAMAuthSession, IAMMfaMethod, IAMRecoveryRequest
from app.auth.principal import Principal
from app.auth.recovery import (
    services_recovery,
    services_recovery_decisions,
    services_recovery_links,
)
from app.auth.sessions import services_session_lookup
from app.auth.sign_in import services_codes
from app.auth.sign_in.services_gate import Entry
from app.core import clock, rng
from app.core.actor import Actor
from app.core.db import session, transaction
from tests.conftest import Someone
from tests.support.people import load, rows_of
from tests.support.races import WORKERS, together
from tests.support.recovery import (
    begin,
    begin_waiting,
    give_password,
    last_code,
    link,
    messages,
    set_phone,
    the_request,
)

A_DAY = timedelta(hours=24)
CLOSED = "recovery.closed"


@pytest.fixture
def ann(scoped: UUID, make_user: Callable[..., Someone]) -> Someone:
    """Return somebody with an authenticator app, a confirmed address and a confirmed number."""
    person = make_user("ann", mfa="totp")
    set_phone(person)
    return person


def principal_of(client: FlaskClient) -> Principal:
    """Return the person of a browser's pending sign-in."""
    cookie = client.get_cookie("iam_session")
    assert cookie is not None
    found = services_session_lookup.find(cookie.value, "127.0.0.1")
    session().rollback()
    assert found is not None
    return found


def token_of(path: str) -> str:
    return path.rpartition("/")[2]


def in_turn(*works: Callable[[], Any]) -> Callable[[], Any]:
    """Return work that does one of `works` after the other, thread by thread."""
    turn, lock = cycle(works), threading.Lock()

    def work() -> None:
        with lock:
            mine = next(turn)
        mine()

    return work


def use_link(actor: Actor) -> Callable[[], Any]:
    token = token_of(link("continue"))

    def work() -> None:
        entry = Entry(browser=rng.random_bytes(32))
        services_recovery_links.complete(token, entry, actor=actor)

    return work


def test_at_450_one_personal_link_in_fifty_hands(app, scoped, client, ann, actor) -> None:
    begin_waiting(client, ann)
    with clock.travel(A_DAY):
        found = together(app, scoped, use_link(actor))
    assert found == {"ok": 1, CLOSED: WORKERS - 1}
    opened = [row for row in rows_of(IAMAuthSession) if "recovery" in row.amr]
    assert [(row.state, row.stage) for row in opened] == [("pending", "enrol")]
    assert len(messages("email", "was recovered")) == 1


def test_at_450_stopped_or_used_but_never_both(app, scoped, client, ann, actor) -> None:
    begin_waiting(client, ann)
    token = token_of(link("cancel"))

    def stop() -> None:
        services_recovery_links.cancel(token, actor=actor)

    with clock.travel(A_DAY):
        found = together(app, scoped, in_turn(stop, use_link(actor)))
    assert found == {"ok": 1, CLOSED: WORKERS - 1}
    stopped = the_request(ann).status == "cancelled"
    assert bool(rows_of(IAMMfaMethod)) == stopped
    assert len(messages("email", "was stopped")) == stopped


def test_at_450_both_proofs_at_once_start_one_wait(app, scoped, client, ann, actor) -> None:
    begin(client, ann)
    person = principal_of(client)
    for name in ("email", "phone"):
        services_recovery.send_code(person, name, actor=actor)
    codes = {"email": last_code("email"), "phone": last_code("sms")}
    session().rollback()

    def prove(name: str) -> Callable[[], None]:
        return lambda: services_recovery.prove(person, name, codes[name], actor=actor)

    found = together(app, scoped, in_turn(prove("email"), prove("phone")), workers=4)
    assert found["ok"] == 2
    row = the_request(ann)
    assert row.status == "waiting"
    assert row.email_proved_at
    assert row.phone_proved_at
    assert len(messages("email", "Works from")) == 1


def test_i1_fifty_openings_are_one_request(app, scoped, client, ann, actor) -> None:
    give_password(client, ann)
    person = principal_of(client)

    def ask() -> None:
        services_recovery.open_own(person, actor=actor)

    together(app, scoped, ask)
    assert len(rows_of(IAMRecoveryRequest)) == 1
    assert len(messages("email", "was asked for")) == 1


def test_at_450_one_decision(app, scoped, client, ann, actor) -> None:
    with transaction():
        row = services_recovery_decisions.open_for(
            load(ann.id).id, reason="x", actor_grants=None, actor=actor
        )
        request_id = row.id

    def decide(how: Callable[..., None]) -> Callable[[], None]:
        def work() -> None:
            with transaction():
                how(request_id, reason="x", actor_grants=None, actor=actor)

        return work

    both = (services_recovery_decisions.approve, services_recovery_decisions.refuse)
    together(app, scoped, in_turn(*(decide(how) for how in both)))
    assert the_request(ann).status == "refused"  # a refusal also stops what was approved
    assert len(messages("email", "was refused")) == 1
    assert len(messages("email", "Works from")) <= 1


def test_at_034_fifty_guesses_at_a_proof_are_five(app, scoped, client, ann, actor) -> None:
    begin(client, ann)
    person = principal_of(client)
    services_recovery.send_code(person, "email", actor=actor)
    wrong = f"{(int(last_code('email')) + 1) % 1_000_000:06d}"
    session().rollback()

    def guess() -> None:
        services_recovery.prove(person, "email", wrong, actor=actor)

    found = together(app, scoped, guess)
    assert found["mfa.code_invalid"] == 5
    assert found["auth.too_many_attempts"] == WORKERS - 5
    current = services_codes.current(
        ann.id, services_codes.RECOVERY_EMAIL, session_id=person.session_id
    )
    assert current is None or current.attempts == 5
