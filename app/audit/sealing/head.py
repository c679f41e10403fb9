"""The head of a tenant's sealed trail: its lock, and whether it fits what is stored.

One row per tenant says how far the trail is sealed. Whoever holds it is the tenant's sealer for
the length of one transaction; user transactions never touch it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, exists, insert, or_, select
from sqlalchemy.exc import IntegrityError

from ...core.db import run_prepared, transaction
from ...core.errors import Conflict
from ...core.i18n import N_
from ..verifier import Frontier, first_link
from .models_seal import IAMAuditCheckpoint, IAMAuditHead, IAMAuditKey, IAMAuditSeal

HEAD = IAMAuditHead.__table__
_SEAL = IAMAuditSeal.__table__
_CHECKPOINT = IAMAuditCheckpoint.__table__
_KEY = IAMAuditKey.__table__
_BY_TENANT = "by the tenant's id, a parameter"

_READ = select(HEAD).where(HEAD.c.id == bindparam("tenant"))
# Whoever finds it held goes away: the holder does the work (no queue of sealers).
_HOLD = _READ.with_for_update(skip_locked=True)
_BEGIN = insert(IAMAuditHead)
_TAIL = (
    select(_SEAL.c.seq, _SEAL.c.chain)
    .where(_SEAL.c.tenant_id == bindparam("tenant"), _SEAL.c.seq >= bindparam("start"))
    .order_by(_SEAL.c.seq)
    .limit(2)
)
_NEWEST = (
    select(_CHECKPOINT)
    .where(_CHECKPOINT.c.tenant_id == bindparam("tenant"))
    .order_by(_CHECKPOINT.c.size.desc(), _CHECKPOINT.c.id.desc())
    .limit(1)
)
_SIGNED = select(
    or_(
        exists().where(_CHECKPOINT.c.tenant_id == bindparam("tenant")),
        exists().where(_KEY.c.tenant_id == bindparam("tenant")),
    )
)


class TrailBroken(Conflict):
    """What is stored contradicts itself: nothing is sealed or signed over it."""

    code = "audit.broken"
    title = N_("The sealed audit trail does not fit what is stored")


@dataclass(frozen=True, slots=True)
class Head:
    """How far a tenant's trail is sealed, as it was read."""

    tenant_id: UUID
    size: int
    chain: bytes
    frontier: bytes
    searched_from: UUID
    checkpoint_at: datetime | None

    def tree(self) -> Frontier:
        """Return the right edge of the tree. Raises TrailBroken."""
        try:
            return Frontier.from_bytes(self.frontier, self.size)
        except ValueError:
            raise TrailBroken(f"the head of {self.size} events has another frontier") from None


def read_head(tenant_id: UUID) -> Head | None:
    """Return the head without holding it."""
    return _head(run_prepared(_READ, {"tenant": tenant_id}, reason=_BY_TENANT).one_or_none())


def begin_head(tenant_id: UUID) -> None:
    """Make the head of a tenant that has none, in a transaction of its own.

    Raises TrailBroken where there are seals or checkpoints already.
    """
    try:
        with transaction():
            found = Head(tenant_id, 0, first_link(tenant_id), b"", UUID(int=0), None)
            values = {"id": tenant_id, "tenant_id": tenant_id, "size": 0, "chain": found.chain}
            values |= {"frontier": b"", "anchored": {}, "searched_from": found.searched_from}
            run_prepared(_BEGIN, values, reason=_BY_TENANT)
            _check(found)  # after: before it, another process may have begun and sealed
    except IntegrityError:  # another process was faster
        pass


def hold_head(tenant_id: UUID) -> Head | None:
    """Hold the head until the transaction ends; None where somebody else does.

    None, too, where there is none. Raises TrailBroken where it does not fit what is stored.
    """
    found = _head(run_prepared(_HOLD, {"tenant": tenant_id}, reason=_BY_TENANT).one_or_none())
    if found is not None:
        _check(found)
    return found


def may_adopt(head: Head) -> bool:
    """Return whether events without a mark may be taken: never once anything was signed."""
    signed = run_prepared(_SIGNED, {"tenant": head.tenant_id}, reason=_BY_TENANT).scalar_one()
    return not signed


def _head(row: Any) -> Head | None:
    if row is None:
        return None
    return Head(
        row.id, row.size, bytes(row.chain), bytes(row.frontier),
        row.searched_from, row.checkpoint_at,
    )  # fmt: skip


def _check(head: Head) -> None:
    """Compare the head with the last seal and the newest checkpoint (AT-396)."""
    given = {"tenant": head.tenant_id, "start": max(0, head.size - 1)}
    tail = [tuple(row) for row in run_prepared(_TAIL, given, reason=_BY_TENANT)]
    expected = [(head.size - 1, head.chain)] if head.size else []
    if tail != expected:
        raise TrailBroken(f"the seals do not end as the head of {head.size} events says")
    if not head.size and head.chain != first_link(head.tenant_id):
        raise TrailBroken("the head of an empty trail has another beginning")
    newest = run_prepared(_NEWEST, {"tenant": head.tenant_id}, reason=_BY_TENANT).one_or_none()
    if newest is None:
        return
    if newest.size > head.size:
        raise TrailBroken(f"{newest.size} events are signed, the head has {head.size}")
    if newest.size == head.size and (newest.root, newest.chain) != (
        head.tree().root(),
        head.chain,
    ):
        raise TrailBroken(f"the checkpoint of {head.size} events signs another trail")
