"""One delivery: claim a row, send it with no transaction open, settle what came of it.

Claim and settlement are short transactions of their own and compare-and-swap on
attempts and lease, so a sender whose lease ran out cannot overwrite its successor.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from ..core import clock
from ..core.crypto import keyring
from ..core.db import transaction
from ..core.errors import IAMError, Misconfigured, Unavailable
from .errors import DeliveryFailed
from .gateways import gateway_for
from .messages import Message
from .models import DEAD, EXPIRED, PENDING, SENDING, SENT, IAMOutbox
from .settings import NotifySettings

# Longer than the slowest gateway: SMTP may wait its time limit at each of a dozen steps.
_LEASE = timedelta(minutes=15)
_BACKOFF_SECONDS = (5, 30, 120, 600, 3600)
_SETTLE_TRIES = 3
_log = logging.getLogger("iam.notify")


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed row, detached from the session."""

    id: UUID
    channel: str
    purpose: str
    provider: str | None
    payload: str | None
    attempts: int
    lease_until: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try; `error` is None for a message that left."""

    provider: str | None = None
    provider_message_id: str | None = None
    error: str | None = None
    temporary: bool = False


def pack(message: Message) -> bytes:
    """Return what is encrypted into a row's payload."""
    return json.dumps(
        {
            "to": message.recipient,
            "subject": message.subject,
            "text": message.body_text,
            "html": message.body_html,
            "code": message.code,
        }
    ).encode()


def context(outbox_id: UUID) -> str:
    """Return the encryption context that ties a payload to its row."""
    return f"iam_outbox:{outbox_id}"


def deliver(outbox_id: UUID, *, due_only: bool = True) -> bool:
    """Claim, send and settle one row; False where it was not ours to send.

    Raises Unavailable where the database is away.
    """
    job = _claim(outbox_id, due_only)
    if job is None:
        return False
    _settle(job, _attempt(job))
    return True


def _claim(outbox_id: UUID, due_only: bool) -> Job | None:
    now = clock.now()
    with transaction() as current:
        statement = select(IAMOutbox).where(IAMOutbox.id == outbox_id)
        # Read afresh: an instance kept by the caller's session may be stale.
        row = current.scalars(statement, execution_options={"populate_existing": True}).first()
        if row is None or not _claimable(row, now, due_only):
            return None
        if row.payload is None or (row.expires_at is not None and row.expires_at <= now):
            _swap(row.id, row.attempts, row.lease_until, status=EXPIRED, payload=None)
            return None
        if row.attempts >= NotifySettings.current().IAM_OUTBOX_MAX_ATTEMPTS:
            # Its senders died each time: without this a poisonous row would live for ever.
            _swap(row.id, row.attempts, row.lease_until, status=DEAD, last_error="lease ran out")
            return None
        lease = now + _LEASE
        claimed = _swap(
            row.id,
            row.attempts,
            row.lease_until,
            status=SENDING,
            attempts=row.attempts + 1,
            lease_until=lease,
            next_attempt_at=lease,
        )
        if not claimed:
            return None
        return Job(
            row.id, row.channel, row.purpose, row.provider, row.payload, row.attempts + 1,
            lease, row.expires_at,
        )  # fmt: skip


def _claimable(row: IAMOutbox, now: datetime, due_only: bool) -> bool:
    if row.status == PENDING:
        return not due_only or row.next_attempt_at <= now
    return row.status == SENDING and row.lease_until is not None and row.lease_until <= now


def _attempt(job: Job) -> Outcome:
    try:
        gateway = gateway_for(job.channel, job.provider)
        sent_as = gateway.send(_message(job))
    except DeliveryFailed as failure:
        return Outcome(error=failure.reason, temporary=failure.temporary)
    except IAMError as error:
        # A missing key or gateway is the operator's to mend: the message may wait.
        return Outcome(error=error.code, temporary=isinstance(error, Misconfigured))
    except Exception as error:  # noqa: BLE001 - a gateway's fault must not stop the queue
        # Only its type: the text of a foreign exception may hold the message.
        return Outcome(error=f"unexpected {type(error).__name__}", temporary=True)
    return Outcome(provider=gateway.name, provider_message_id=sent_as[:128])


def _message(job: Job) -> Message:
    content = json.loads(keyring().decrypt(job.payload or "", context(job.id)))
    return Message(
        job.channel, content["to"], content["subject"], content["text"], content["html"],
        job.purpose, content["code"], str(job.id),
    )  # fmt: skip


def _settle(job: Job, outcome: Outcome) -> None:
    values = _sent(outcome) if outcome.error is None else _not_sent(job, outcome)
    if outcome.error is not None:
        _log.warning("%s %s not delivered: %s", job.channel, job.id, outcome.error)
    for attempt in range(_SETTLE_TRIES):
        # Losing this write to a deadlock would send the message twice.
        try:
            with transaction():
                _swap(job.id, job.attempts, job.lease_until, **values)
        except Unavailable:
            if attempt + 1 == _SETTLE_TRIES:
                raise
        else:
            return


def _sent(outcome: Outcome) -> dict[str, Any]:
    values: dict[str, Any] = {
        "status": SENT,
        "sent_at": clock.now(),
        "lease_until": None,
        "provider": outcome.provider,
        "provider_message_id": outcome.provider_message_id,
        "last_error": None,
    }
    if not NotifySettings.current().IAM_DEMO:
        values["payload"] = None
    return values


def _not_sent(job: Job, outcome: Outcome) -> dict[str, Any]:
    wait = _BACKOFF_SECONDS[min(job.attempts, len(_BACKOFF_SECONDS)) - 1]
    again = clock.now() + timedelta(seconds=wait)
    values: dict[str, Any] = {
        "status": PENDING,
        "lease_until": None,
        "next_attempt_at": again,
        "last_error": (outcome.error or "")[:200],
    }
    exhausted = job.attempts >= NotifySettings.current().IAM_OUTBOX_MAX_ATTEMPTS
    if not outcome.temporary or exhausted:
        values["status"] = DEAD
    elif job.expires_at is not None and job.expires_at <= again:
        values |= {"status": EXPIRED, "payload": None}
    return values


def _swap(outbox_id: UUID, attempts: int, lease_until: datetime | None, /, **values: Any) -> bool:
    """Change a row if nobody claimed or settled it since it was read."""
    unchanged = [
        IAMOutbox.id == outbox_id,
        IAMOutbox.attempts == attempts,
        IAMOutbox.status.in_([PENDING, SENDING]),
        IAMOutbox.lease_until.is_(None)
        if lease_until is None
        else IAMOutbox.lease_until == lease_until,
    ]
    with transaction() as current:
        result: Any = current.execute(
            update(IAMOutbox).where(*unchanged).values(**values),
            execution_options={"synchronize_session": False},
        )
    return int(result.rowcount) == 1
