"""Retention: events older than the policy go, and a signed statement of it stays (M6).

Owns which events may go: whole ranges that were sealed and signed before the retention
began. Their seals stay, so chain, tree and every proof hold on. The append-only guard lets
go only of what a statement covers, and statements are append-only themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select

from ..core import clock
from ..core.actor import Actor
from ..core.db import run_prepared, session, transaction
from ..core.errors import Conflict
from ..core.i18n import N_
from ..core.ids import new_id
from . import events
from .models import IAMAuthLog
from .sealing.models_seal import IAMAuditCheckpoint, IAMAuditHead, IAMAuditPrune, IAMAuditSeal
from .sealing.services_audit_keys import current_key, sign, vkeys
from .services_audit import record
from .verifier import NoteError, check_note, prune_body, read_checkpoint

BATCH = 1000
_TENANTS = select(IAMAuditCheckpoint.__table__.c.tenant_id).distinct()


class PruneRefused(Conflict):
    """What is stored does not prove that these events may go; verify the trail first."""

    code = "audit.prune_refused"
    title = N_("The sealed audit trail does not prove that these events may be deleted")


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers of events that may go (`until_seq` excluded), and when they were signed."""

    from_seq: int
    until_seq: int
    signed_at: datetime

    @property
    def count(self) -> int:
        """Return how many events it has."""
        return self.until_seq - self.from_seq


def tenants() -> list[UUID]:
    """Return the tenants whose trail was ever signed."""
    found = run_prepared(_TENANTS, {}, reason="retention is looked at in every tenant")
    return [row[0] for row in found]


def due(days: int) -> Range | None:
    """Return what may go from the trail of the tenant in scope after `days` days, if anything.

    Raises PruneRefused where the checkpoint that would prove it does not fit the trail.
    """
    begin = clock.now() - timedelta(days=days)
    from_seq = _pruned_until()
    newest = session().scalar(
        select(IAMAuditCheckpoint)
        .where(IAMAuditCheckpoint.signed_at <= begin, IAMAuditCheckpoint.size > from_seq)
        .order_by(IAMAuditCheckpoint.size.desc(), IAMAuditCheckpoint.id)
        .limit(1)
    )
    if newest is None:
        return None
    _check(newest, begin)
    return Range(from_seq, newest.size, newest.signed_at)


def prune(days: int, *, actor: Actor) -> Range | None:
    """Delete the events that are due in the tenant in scope; return which, or None.

    The signed statement and its audit event are committed first; a run that was
    interrupted is finished by the next. Owns its transactions. Raises PruneRefused.
    """
    _delete(_last_statement())
    with transaction():
        # Sealers go away from a head that is held; another pruner waits here.
        session().execute(select(IAMAuditHead.id).with_for_update())
        found = due(days)
        if found is not None:
            _state(found, days, actor)
    if found is not None:
        _delete((found.from_seq, found.until_seq))
    return found


def _state(found: Range, days: int, actor: Actor) -> None:
    at, key = clock.now(), current_key(actor=actor)
    link = _seal(found.until_seq - 1).chain
    body = prune_body(key.name, found.from_seq, found.until_seq, link, days, at)
    statement = IAMAuditPrune(
        id=new_id(),
        from_seq=found.from_seq,
        until_seq=found.until_seq,
        note=sign(body, key),
        pruned_at=at,
    )
    session().add(statement)
    session().flush()
    record(
        events.AUDIT_PRUNED,
        resource=statement,
        actor=actor,
        from_seq=found.from_seq,
        until_seq=found.until_seq,
        days=days,
    )


def _check(checkpoint: IAMAuditCheckpoint, begin: datetime) -> None:
    # The row can be made by whoever writes to the database; the signature cannot.
    try:
        check_note(checkpoint.note, vkeys())
        stated = read_checkpoint(checkpoint.note)
    except NoteError as error:
        raise PruneRefused from error
    last = _seal(checkpoint.size - 1)
    if (stated.size, stated.chain) != (checkpoint.size, last.chain) or stated.time > begin:
        raise PruneRefused


def _seal(seq: int) -> IAMAuditSeal:
    found = session().scalar(select(IAMAuditSeal).where(IAMAuditSeal.seq == seq))
    if found is None:
        raise PruneRefused
    return found


def _pruned_until() -> int:
    return session().scalar(select(func.max(IAMAuditPrune.until_seq))) or 0


def _last_statement() -> tuple[int, int]:
    newest = select(IAMAuditPrune).order_by(IAMAuditPrune.until_seq.desc()).limit(1)
    found = session().scalar(newest)
    return (found.from_seq, found.until_seq) if found else (0, 0)


def _delete(covered: tuple[int, int]) -> int:
    deleted = 0
    for ids in _batches(*covered):
        statement = delete(IAMAuthLog).where(IAMAuthLog.id.in_(ids))
        with transaction():
            done: Any = session().execute(
                statement, execution_options={"synchronize_session": False}
            )
            deleted += done.rowcount
    return deleted


def _batches(from_seq: int, until_seq: int) -> Iterator[list[UUID]]:
    for start in range(from_seq, until_seq, BATCH):
        end = min(start + BATCH, until_seq)
        seals = select(IAMAuditSeal.id).join(IAMAuthLog, IAMAuthLog.id == IAMAuditSeal.id)
        ids = list(
            session().scalars(seals.where(IAMAuditSeal.seq >= start, IAMAuditSeal.seq < end))
        )
        if ids:
            yield ids
