"""Checkpoints: signed statements of how long a trail is and what it comes to (C2SP tlog).

Made while the head is held, so that each covers exactly what was sealed; some time after new
events, and now and then where there are none, so that silence can be told from a cut.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, exists, not_, or_, select, update

from ...core import clock
from ...core.actor import Actor, system_actor
from ...core.db import apart, end_read, run_prepared, session, transaction
from ...core.errors import Conflict
from ...core.i18n import N_
from ...core.ids import new_id
from ...core.scoping import tenant_scope
from ..settings import AuditSettings
from ..verifier import checkpoint_body
from . import services_audit_keys as keys
from .head import HEAD, Head, TrailBroken, begin_head, hold_head, read_head
from .models_seal import IAMAuditCheckpoint, IAMAuditHead, IAMAuditKey
from .services_seal import SEALER, report_broken

CLOCK_SKEW = timedelta(seconds=60)
_CHECKPOINT = IAMAuditCheckpoint.__table__
_logger = logging.getLogger("iam.audit")

_COVERED = exists().where(
    _CHECKPOINT.c.tenant_id == HEAD.c.tenant_id, _CHECKPOINT.c.size == HEAD.c.size
)
_DUE = select(HEAD.c.id).where(
    HEAD.c.size > 0,
    or_(
        HEAD.c.checkpoint_at.is_(None),
        (HEAD.c.checkpoint_at <= bindparam("busy")) & not_(_COVERED),
        HEAD.c.checkpoint_at <= bindparam("idle"),
    ),
)
_SIGNED = (
    update(IAMAuditHead)
    .where(HEAD.c.id == bindparam("tenant"))
    .values(checkpoint_at=bindparam("at"))
)


class SealerBusy(Conflict):
    """Another process seals this trail at the moment."""

    code = "audit.busy"
    title = N_("The audit trail is being sealed at the moment. Please try again")


def sign_due() -> int:
    """Sign every tenant's trail that is due, and return how many that were.

    Owns its transactions. Raises Unavailable.
    """
    settings, now = AuditSettings.current(), clock.now()
    given = {
        "busy": now - timedelta(seconds=settings.AUDIT_CHECKPOINT_SECONDS),
        "idle": now - timedelta(seconds=settings.AUDIT_IDLE_CHECKPOINT_SECONDS),
    }
    due = [row[0] for row in run_prepared(_DUE, given, reason="every tenant's trail is signed")]
    end_read()
    return sum(_sign_due(tenant_id, given["busy"]) for tenant_id in due)


def sign(tenant_id: UUID, *, unless_after: datetime | None = None) -> IAMAuditCheckpoint | None:
    """Sign the trail of a tenant as it is; None where another process is at it.

    None, too, where it was signed after `unless_after`. Owns its transaction. A trail that
    does not fit what is stored is not signed.
    """
    with tenant_scope(tenant_id):
        try:
            with transaction():
                head = hold_head(tenant_id)
                if head is None or _is_later(head.checkpoint_at, unless_after):
                    return None
                actor = system_actor(tenant_id, SEALER)
                return _sign(head, keys.current_key(actor=actor))
        except TrailBroken as broken:
            report_broken(tenant_id, broken)
            return None


def rotate_key(*, actor: Actor) -> IAMAuditKey:
    """Give the actor's tenant a new key; its first checkpoint is signed by both keys.

    So it is read with either; what the new one is worth, only its keeper can say: a
    signature does not cover the signatures beside it. Owns its transactions.
    Raises SealerBusy, TrailBroken.
    """
    with tenant_scope(actor.tenant_id):
        if read_head(actor.tenant_id) is None:
            begin_head(actor.tenant_id)
        with transaction():
            head = hold_head(actor.tenant_id)
            if head is None:
                raise SealerBusy
            before, after = keys.replace_key(actor=actor)
            _sign(head, after, *([before] if before else []))
            return after


def newest(*, least: int = 0) -> IAMAuditCheckpoint | None:
    """Return the newest checkpoint of the tenant in scope over at least so many events."""
    query = select(IAMAuditCheckpoint).where(IAMAuditCheckpoint.size >= least)
    ordered = query.order_by(IAMAuditCheckpoint.size.desc(), IAMAuditCheckpoint.id.desc())
    return session().scalars(ordered.limit(1)).one_or_none()


def of_size(size: int) -> IAMAuditCheckpoint | None:
    """Return the first checkpoint over exactly so many events, or None."""
    query = select(IAMAuditCheckpoint).where(IAMAuditCheckpoint.size == size)
    return session().scalars(query.order_by(IAMAuditCheckpoint.id).limit(1)).one_or_none()


def first_over(seq: int) -> IAMAuditCheckpoint | None:
    """Return the first checkpoint that covers the event with this number, or None."""
    query = select(IAMAuditCheckpoint).where(IAMAuditCheckpoint.size > seq)
    ordered = query.order_by(IAMAuditCheckpoint.size, IAMAuditCheckpoint.id)
    return session().scalars(ordered.limit(1)).one_or_none()


def _sign_due(tenant_id: UUID, unless_after: datetime) -> bool:
    signed = apart(
        lambda: sign(tenant_id, unless_after=unless_after),
        _logger, "the audit trail of tenant %s was not signed", tenant_id,
    )  # fmt: skip
    return signed is not None


def _sign(head: Head, *signers: IAMAuditKey) -> IAMAuditCheckpoint:
    """Sign the head that is held; the first key gives the checkpoint its origin."""
    origin, root, at = signers[0].name, head.tree().root(), _time()
    body = checkpoint_body(origin, head.size, root, head.chain, at)
    row = IAMAuditCheckpoint(
        id=new_id(),
        tenant_id=head.tenant_id,
        size=head.size,
        root=root,
        chain=head.chain,
        note=keys.sign(body, *signers),
        signed_at=at,
    )
    session().add(row)
    given = {"tenant": head.tenant_id, "at": clock.now()}
    run_prepared(_SIGNED, given, reason="by the tenant's id, a parameter")
    return row


def _time() -> datetime:
    # Clocks of several machines differ a little: that is no clock that was turned back. More
    # than that is stated as it is, for verifiers to find.
    query = select(IAMAuditCheckpoint.signed_at).order_by(IAMAuditCheckpoint.id.desc()).limit(1)
    before, now = session().scalar(query), clock.now()
    return before if before is not None and now < before <= now + CLOCK_SKEW else now


def _is_later(at: datetime | None, than: datetime | None) -> bool:
    return at is not None and than is not None and at > than
