"""Rotation of the keys that encrypt stored secrets (requirement D2).

Every encrypted column is listed once here; rotation re-encrypts in batches and
a row that changed meanwhile is left for the next run.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from .audit import events
from .audit.services_audit import record
from .auth.models import (
    IAMActionToken,
    IAMAuditKey,
    IAMMfaMethod,
    IAMRecoveryCode,
    IAMSsoConnection,
    IAMSsoFlow,
    IAMSsoSession,
    IAMSubjectKey,
)
from .core.actor import Actor
from .core.crypto import keyring
from .core.db import session, transaction
from .core.scoping import exempt, tenant_scope
from .notify.models import IAMOutbox

ENCRYPTED: tuple[Any, ...] = (
    IAMMfaMethod.secret,
    IAMRecoveryCode.digest_key,
    IAMActionToken.payload,
    IAMOutbox.payload,
    IAMSsoConnection.client_secret,
    IAMSsoFlow.code_verifier,
    IAMSsoFlow.answer,
    IAMSsoSession.id_token,
    IAMSubjectKey.wrapped_key,
    IAMAuditKey.private_key,
)
_EXEMPT = exempt("keys belong to the installation, not to one tenant")
_BATCH = 500


def rotate_stored_secrets(*, actor: Actor) -> int:
    """Re-encrypt every stored secret under the newest key; return how many changed."""
    total = sum(_rotate(column) for column in ENCRYPTED)
    with tenant_scope(actor.tenant_id), transaction():
        record(events.KEYS_ROTATED, actor=actor, count=total)
    return total


def _rotate(column: Any) -> int:
    changed = 0
    last = None
    while True:
        rows = _batch(column, last)
        if not rows:
            return changed
        last = rows[-1][0]
        with transaction():
            changed += sum(_renew(column, row_id, text) for row_id, text in rows)


def _batch(column: Any, last: Any) -> list[tuple[Any, str]]:
    model = column.class_
    statement = select(model.id, column).where(column.is_not(None)).order_by(model.id)
    if last is not None:
        statement = statement.where(model.id > last)
    found = session().execute(statement.limit(_BATCH), execution_options=_EXEMPT)
    return [(row[0], row[1]) for row in found]


def _renew(column: Any, row_id: Any, text: str) -> int:
    ring = keyring()
    if ring.is_current(text):
        return 0
    model = column.class_
    statement = (
        update(model)
        .where(model.id == row_id, column == text)
        .values({column.key: ring.rotate(text)})
        .execution_options(synchronize_session=False)
    )
    result: Any = session().execute(statement, execution_options=_EXEMPT)
    return int(result.rowcount)
