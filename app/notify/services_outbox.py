"""The outbox: messages are queued in the caller's transaction and sent after commit.

A row is claimed by compare-and-swap with a lease, sent outside any transaction,
then settled by compare-and-swap: many processes drain one queue and no row is sent
by two. A process that dies while sending leaves its lease to run out (at least once).
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Flask, current_app
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from ..audit import events
from ..audit.services_audit import record
from ..core import clock
from ..core.actor import Actor
from ..core.crypto import keyring
from ..core.db import after_commit, end_read, session, transaction, transaction_open
from ..core.errors import Conflict, NotFound
from ..core.ids import new_id
from ..core.scoping import unscoped
from . import delivery, dispatch
from .addresses import parse_phone
from .messages import SMS, WHATSAPP, Message
from .models import DEAD, EXPIRED, PENDING, SENDING, SENT, WITHDRAWN, IAMOutbox
from .services_caps import check_send_caps, range_digest, recipient_digest
from .settings import NotifySettings

__all__ = [
    "DeliveryState",
    "before_drain",
    "check_send_caps",
    "deliver_now",
    "delivery_state",
    "drain",
    "enqueue",
    "list_dead",
    "list_recent",
    "purge",
    "retry",
    "run_worker",
    "schedule_drain",
    "withdraw",
]

_log = logging.getLogger("iam.notify")
# A row queued for deliver_now stays out of the drain's reach for this long.
_HELD = timedelta(seconds=15)
_PURGE_SECONDS = 3600
_PURGED_AT = "iam_outbox_purged_at"
_BEFORE = "iam_before_drain"


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """How far a message got. `permanent` says that no further try will be made."""

    status: str
    attempts: int
    permanent: bool
    last_error: str | None
    provider: str | None
    provider_message_id: str | None
    sent_at: datetime | None


def enqueue(
    message: Message,
    *,
    user_id: UUID | None = None,
    idempotency_key: str | None = None,
    expires_at: datetime | None = None,
    provider: str | None = None,
    held: bool = False,
    bounded: bool = False,
    actor: Actor,
) -> IAMOutbox:
    """Queue a message in the caller's transaction; it leaves after commit.

    The same `idempotency_key` yields the row already there. `provider` overrides
    the setting (a tenant's own). `held` keeps the row for the caller's `deliver_now`.
    `bounded` is that of `check_send_caps`, and for SMS and WhatsApp this raises what that raises.
    """
    known = _known(idempotency_key, actor)
    if known is not None:
        return known
    if message.channel in (SMS, WHATSAPP):
        canonical = check_send_caps(message.channel, message.recipient, actor, bounded=bounded)
        message = replace(message, recipient=canonical)
    row = _new_row(message, actor, held)
    row.user_id, row.expires_at, row.provider = user_id, expires_at, provider
    row.idempotency_key = idempotency_key
    if not _inserted(row):
        return _known(idempotency_key, actor) or row
    if not held:
        after_commit(schedule_drain)
    return row


def deliver_now(outbox_id: UUID) -> str:
    """Try a queued message once, here and now, and return its status.

    `pending` means a temporary failure that the drain will retry; `dead` a permanent
    one. Call it after commit. Raises NotFound; RuntimeError inside a transaction.
    """
    _outside_transaction()
    delivery.deliver(outbox_id, due_only=False)
    return delivery_state(outbox_id).status


def drain(limit: int = 100) -> int:
    """Send what is due, of every tenant, and return how many rows were tried.

    Raises Unavailable where the database is away; RuntimeError inside a transaction.
    """
    _outside_transaction()
    _prepare()
    with unscoped("outbox drain serves every tenant"):
        return sum(delivery.deliver(outbox_id) for outbox_id in _due(limit))


def before_drain(app: Flask, prepare: Callable[[], object]) -> None:
    """Have `prepare` run, with no transaction open, before the outbox of `app` is drained."""
    app.extensions.setdefault(_BEFORE, []).append(prepare)


def schedule_drain() -> None:
    """Have due messages sent as `IAM_OUTBOX_MODE` says; call it at start for what was left over."""
    mode = NotifySettings.current().IAM_OUTBOX_MODE
    if mode == "inline":
        drain()
    elif mode == "thread":
        dispatch.dispatcher(_app(), _work).wake()


def run_worker(stopping: threading.Event) -> None:
    """Drain the outbox until `stopping` is set: `flask iam worker`."""
    dispatch.run(_app(), _work, stopping)


def delivery_state(outbox_id: UUID) -> DeliveryState:
    """Return how far a message got. Raises NotFound."""
    statement = select(
        IAMOutbox.status,
        IAMOutbox.attempts,
        IAMOutbox.last_error,
        IAMOutbox.provider,
        IAMOutbox.provider_message_id,
        IAMOutbox.sent_at,
    ).where(IAMOutbox.id == outbox_id)
    row = session().execute(statement).one_or_none()
    end_read()
    if row is None:
        raise NotFound
    status, attempts, last_error, provider, message_id, sent_at = row
    permanent = status not in {PENDING, SENDING}
    return DeliveryState(status, attempts, permanent, last_error, provider, message_id, sent_at)


def retry(outbox_id: UUID, actor: Actor) -> IAMOutbox:
    """Queue a dead message again. Raises NotFound, and Conflict where nothing is left to send."""
    row = _find(outbox_id, actor)
    expired = row.expires_at is not None and row.expires_at <= clock.now()
    if row.status != DEAD or row.payload is None or expired:
        raise Conflict(code="notify.not_retryable")
    row.status, row.attempts, row.next_attempt_at = PENDING, 0, clock.now()
    record(events.OUTBOX_RETRIED, resource=row, actor=actor, channel=row.channel)
    after_commit(schedule_drain)
    return row


def withdraw(outbox_id: UUID, actor: Actor) -> bool:
    """Stop a message that has not left yet (a code that was replaced); say whether it was stopped.

    Raises NotFound.
    """
    row = _find(outbox_id, actor)
    changed = _update(
        [IAMOutbox.id == row.id, IAMOutbox.status == PENDING], status=WITHDRAWN, payload=None
    )
    session().expire(row)
    return changed == 1


def list_dead(limit: int, actor: Actor) -> Sequence[IAMOutbox]:
    """Return the newest messages of the actor's tenant that were given up."""
    statement = (
        select(IAMOutbox)
        .where(IAMOutbox.tenant_id == actor.tenant_id, IAMOutbox.status == DEAD)
        .order_by(IAMOutbox.created_at.desc())
        .limit(limit)
    )
    return session().scalars(statement).all()


def list_recent(limit: int) -> list[dict[str, Any]]:
    """Return the newest messages in clear, for the demo page. Raises NotFound elsewhere."""
    if not NotifySettings.current().IAM_DEMO:
        raise NotFound
    statement = (
        select(IAMOutbox.id, IAMOutbox.channel, IAMOutbox.payload, IAMOutbox.created_at)
        .where(IAMOutbox.payload.is_not(None))
        .order_by(IAMOutbox.created_at.desc(), IAMOutbox.id.desc())
        .limit(limit)
    )
    with unscoped("the demo page shows every tenant's messages"):
        rows = session().execute(statement).all()
    return [_in_clear(row) for row in rows]


def purge() -> int:
    """Delete rows past their retention and the text of dead ones past their use; return a count."""
    now = clock.now()
    settled = IAMOutbox.status.in_([SENT, DEAD, EXPIRED, WITHDRAWN])
    before = now - timedelta(days=NotifySettings.current().IAM_OUTBOX_RETENTION_DAYS)
    with unscoped("outbox retention serves every tenant"), transaction() as current:
        _update([IAMOutbox.status == DEAD, IAMOutbox.expires_at <= now], payload=None)
        result: Any = current.execute(
            delete(IAMOutbox).where(settled, IAMOutbox.created_at < before),
            execution_options={"synchronize_session": False},
        )
    return int(result.rowcount)


def _new_row(message: Message, actor: Actor, held: bool) -> IAMOutbox:
    now = clock.now()
    row = IAMOutbox(
        id=new_id(),
        tenant_id=actor.tenant_id,
        channel=message.channel,
        purpose=message.purpose,
        recipient_digest=recipient_digest(message.recipient),
        status=PENDING,
        attempts=0,
        created_at=now,
        next_attempt_at=now + _HELD if held else now,
    )
    if message.channel in (SMS, WHATSAPP):
        phone = parse_phone(message.recipient)
        row.country, row.range_digest = phone.country, range_digest(phone)
    row.payload = keyring().encrypt(delivery.pack(message), delivery.context(row.id))
    return row


def _inserted(row: IAMOutbox) -> bool:
    """Add the row; False where a twin with its key was faster."""
    current = session()
    if row.idempotency_key is None:
        current.add(row)
        return True
    try:
        with current.begin_nested():
            current.add(row)
    except IntegrityError:
        return False
    return True


def _known(idempotency_key: str | None, actor: Actor) -> IAMOutbox | None:
    if idempotency_key is None:
        return None
    statement = select(IAMOutbox).where(
        IAMOutbox.tenant_id == actor.tenant_id, IAMOutbox.idempotency_key == idempotency_key
    )
    return session().scalars(statement).one_or_none()


def _find(outbox_id: UUID, actor: Actor) -> IAMOutbox:
    statement = select(IAMOutbox).where(
        IAMOutbox.tenant_id == actor.tenant_id, IAMOutbox.id == outbox_id
    )
    row = session().scalars(statement).one_or_none()
    if row is None:
        raise NotFound
    return row


def _due(limit: int) -> list[UUID]:
    statement = (
        select(IAMOutbox.id)
        .where(IAMOutbox.status.in_([PENDING, SENDING]), IAMOutbox.next_attempt_at <= clock.now())
        .order_by(IAMOutbox.next_attempt_at)
        .limit(limit)
    )
    found = list(session().scalars(statement))
    end_read()
    return found


def _update(conditions: list[Any], **values: Any) -> int:
    result: Any = session().execute(
        update(IAMOutbox).where(*conditions).values(**values),
        execution_options={"synchronize_session": False},
    )
    return int(result.rowcount)


def _in_clear(row: Any) -> dict[str, Any]:
    content = json.loads(keyring().decrypt(row.payload, delivery.context(row.id)))
    return {
        "channel": row.channel,
        "to": content["to"],
        "subject": content["subject"],
        "body": content["text"],
        "created_at": row.created_at,
    }


def _app() -> Flask:
    proxy: Any = current_app
    app: Flask = proxy._get_current_object()  # noqa: SLF001 - a thread outlives the proxy
    return app


def _prepare() -> None:
    for prepare in current_app.extensions.get(_BEFORE, ()):
        try:
            prepare()
        except Exception as error:  # noqa: BLE001 - what is queued already must leave all the same
            _log.warning("outbox not prepared: %s", type(error).__name__)


def _work() -> None:
    """Send until nothing is due, and once an hour drop what is past its retention."""
    while drain():
        pass
    purged_at = current_app.extensions.get(_PURGED_AT)
    if purged_at is None or clock.monotonic() - purged_at > _PURGE_SECONDS:
        current_app.extensions[_PURGED_AT] = clock.monotonic()
        purge()


def _outside_transaction() -> None:
    if transaction_open():
        raise RuntimeError("messages are sent after commit, never inside a transaction")
