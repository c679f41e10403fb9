"""Critical events on their way to people: noted with the event, told after commit (M5).

Owns which events wait to be told, and taking them. A noted event is a row of the outbox
with the event's id and no text, written in the event's own transaction. Kinds that were
told a moment ago wait for the end of their window and are told together, so a flood of one
kind is one message and hides no other kind (AT-406). Who is told is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from ..audit.events import CRITICAL
from ..audit.models import IAMAuthLog
from ..audit.services_audit import SUCCESS
from ..core import clock
from ..core.db import after_commit, end_read, keep_evidence, session
from ..core.scoping import unscoped
from .models import NOTED, SENT, WITHDRAWN, IAMOutbox
from .services_outbox import schedule_drain

ALERT = "alert"
SHOWN = 10
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are told together: how many of each kind, and the newest of them."""

    counts: dict[str, int]
    newest: list[UUID]


def note(event: IAMAuthLog) -> None:
    """Note a critical event in its own transaction; kept where the event is kept as evidence."""
    if event.severity != CRITICAL:
        return
    values: dict[str, Any] = {
        "id": event.id,
        "tenant_id": event.tenant_id,
        "channel": ALERT,
        "purpose": event.action,
        "recipient_digest": _NOBODY,
        "status": NOTED,
        "attempts": 0,
        "created_at": event.occurred_at,
        "next_attempt_at": event.occurred_at,
    }
    session().add(IAMOutbox(**values))
    if event.status != SUCCESS:
        keep_evidence(lambda: IAMOutbox(**values), then=schedule_drain)
    after_commit(schedule_drain)


def tenants_waiting() -> list[UUID]:
    """Return the tenants in which noted events are due."""
    statement = select(IAMOutbox.tenant_id).where(*_due(clock.now())).distinct()
    with unscoped("critical events of every tenant are told"):
        found = list(session().scalars(statement))
    end_read()
    return found


def kinds_waiting() -> list[str]:
    """Return the kinds of events that are due in the tenant of this context."""
    found = list(session().scalars(select(IAMOutbox.purpose).where(*_due(clock.now())).distinct()))
    end_read()
    return sorted(found)


def take(kinds: Iterable[str]) -> Batch:
    """Take the events of these kinds, so that nobody else tells them; empty where others did.

    Those that wait for later too: a process that was refused the window may have postponed what
    the one that holds it is about to tell. Joins the caller's transaction: what is made of them
    is committed with it.
    """
    at, counts, newest = clock.now(), {}, []
    for kind in kinds:
        mine = [IAMOutbox.status == NOTED, IAMOutbox.purpose == kind]
        ids = session().scalars(
            select(IAMOutbox.id).where(*mine).order_by(IAMOutbox.id.desc()).limit(SHOWN)
        )
        newest += list(ids)
        count = _settle(mine, status=SENT, sent_at=at)
        if count:
            counts[kind] = count
    return Batch(counts, sorted(newest, reverse=True)[:SHOWN] if counts else [])


def postpone(kind: str, until: datetime) -> None:
    """Let the due events of a kind wait until then; joins the caller's transaction."""
    _settle([*_due(clock.now()), IAMOutbox.purpose == kind], next_attempt_at=until)


def drop() -> None:
    """Forget what is due, where nobody is to be told; joins the caller's transaction."""
    _settle(_due(clock.now()), status=WITHDRAWN)


def _due(at: datetime) -> list[Any]:
    return [IAMOutbox.status == NOTED, IAMOutbox.next_attempt_at <= at]


def _settle(conditions: list[Any], **values: Any) -> int:
    result: Any = session().execute(
        update(IAMOutbox).where(*conditions).values(**values),
        execution_options={"synchronize_session": False},
    )
    return int(result.rowcount)
