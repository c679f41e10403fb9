"""The sealer: gives each tenant's events a number, a link of the chain and a leaf of the tree.

Any process may seal; the tenant's head row decides who does, for one short transaction. User
transactions take no lock of it. What carries no mark of this installation is left unsealed.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, insert, select, update

from ...core import clock
from ...core.actor import system_actor
from ...core.db import end_read, engine, is_lost_race, run_prepared, transaction
from ...core.errors import Unavailable
from ...core.ids import new_id
from ...core.scoping import tenant_scope
from ..models import IAMAuthLog
from ..services_query import first_id_at
from ..verifier import FIELDS, event_parts, leaf_hash, next_link, pack
from .alarms import raise_alarm
from .head import HEAD, Head, TrailBroken, begin_head, hold_head, may_adopt, read_head
from .macs import is_ours
from .models_seal import IAMAuditHead, IAMAuditNode, IAMAuditSeal
from .stored import as_stored, ids_among, no_larger_than_ours
from .tree import completed

SEALER = "audit sealer"
LOOK_BACK = timedelta(seconds=3)
"""How long after its id was made an event is committed, but for stragglers."""
STRAGGLERS = timedelta(minutes=10)
"""How far a wider search looks back."""
# On SQLite the lock is on the whole database: it is held for fewer events.
_BATCH = {"mysql": 1000, "sqlite": 250}
_FIRST = UUID(int=0)
_LOG = IAMAuthLog.__table__
_SEAL = IAMAuditSeal.__table__
_BY_TENANT = "by the tenant's id, a parameter"
_logger = logging.getLogger("iam.audit")

_ANTI = _LOG.outerjoin(_SEAL, _SEAL.c.id == _LOG.c.id)
# Told which index to use: by its figures MySQL would rather sort all that a tenant ever did.
_UNSEALED = (
    select(as_stored(_LOG.c.id))
    .with_hint(_LOG, "FORCE INDEX (ix_iam_auth_log_tenant_id_id)", "mysql")
    .select_from(_ANTI)
    .where(
        _LOG.c.tenant_id == bindparam("tenant"),
        _LOG.c.id > bindparam("after"),
        func.length(_LOG.c.id) == 16,  # what is no id must not fill the batches
        _SEAL.c.id.is_(None),
    )
    .order_by(_LOG.c.id)
    .limit(bindparam("most"))
)
_EVENTS = (
    select(*(as_stored(_LOG.c[name]) for name in (*FIELDS, "mac")))
    .with_hint(_LOG, "FORCE INDEX (PRIMARY)", "mysql")
    .select_from(_ANTI)
    .where(
        _LOG.c.tenant_id == bindparam("tenant"),
        _LOG.c.id.in_(bindparam("ids", expanding=True)),
        _SEAL.c.id.is_(None),
        *no_larger_than_ours(),
    )
    .order_by(_LOG.c.id)
)
_WAITING = (
    select(as_stored(_LOG.c.tenant_id))
    .with_hint(_LOG, "FORCE INDEX (PRIMARY)", "mysql")
    .distinct()
    .select_from(_ANTI)
    .where(_LOG.c.id > bindparam("after"), _SEAL.c.id.is_(None))
)
_ADD_SEALS = insert(IAMAuditSeal)
_ADD_NODES = insert(IAMAuditNode)
_ADVANCE = (
    update(IAMAuditHead)
    .where(HEAD.c.id == bindparam("tenant"), HEAD.c.size == bindparam("before"))
    .values({name: bindparam(f"new_{name}") for name in ("size", "chain", "frontier")})
    .values(searched_from=bindparam("new_searched_from"))
)


def waiting_tenants() -> list[UUID]:
    """Return the tenants with events of the last seconds that are not sealed."""
    given = {"after": first_id_at(clock.now() - 2 * LOOK_BACK)}
    found = run_prepared(_WAITING, given, reason="the sealer serves every tenant")
    tenants = ids_among(found.scalars())
    end_read()
    return tenants


def seal_tenant(
    tenant_id: UUID, *, since: UUID | None = None, adopting: bool = False
) -> int | None:
    """Seal what a tenant's trail has unsealed and return how many events that were.

    None where another process is at it. `since` searches further back than where the last
    search ended. `adopting` takes events without a mark as well, until the trail is signed:
    only who knows that an earlier version wrote them may ask for that. Owns its transactions.
    A trail that does not fit what is stored is not continued: that is recorded, once, as
    AUDIT_TAMPERING_FOUND. Raises Unavailable.
    """
    with tenant_scope(tenant_id):
        try:
            return _seal_all(tenant_id, since, adopting)
        except TrailBroken as broken:
            report_broken(tenant_id, broken)
        except Unavailable as error:
            if not is_lost_race(error.__cause__ or error):
                raise
            return None
    return 0


def stragglers() -> UUID:
    """Return where a search begins that finds what was committed late."""
    return first_id_at(clock.now() - STRAGGLERS)


def report_broken(tenant_id: UUID, broken: TrailBroken) -> None:
    """Record, once, what is wrong with the trail of the tenant in scope."""
    finding = str(broken.title)
    _logger.error("the audit trail of tenant %s is not sealed on: %s", tenant_id, finding)
    raise_alarm(broken.code, [finding], actor=system_actor(tenant_id, SEALER))


def _seal_all(tenant_id: UUID, since: UUID | None, adopting: bool) -> int | None:
    head = read_head(tenant_id)
    mark = _FIRST if head is None else head.searched_from
    after, total, most = min(since or mark, mark), 0, _BATCH[engine().dialect.name]
    while True:
        known = first_id_at(clock.now() - LOOK_BACK)
        given = {"tenant": tenant_id, "after": after, "most": most}
        found = run_prepared(_UNSEALED, given, reason=_BY_TENANT).scalars().all()
        end_read()
        ids, last = ids_among(found), len(found) < most
        if not ids:
            return total
        if head is None and not total:
            begin_head(tenant_id)
        searched = known if last else min(known, _back(ids[-1]))
        sealed = _seal(tenant_id, ids, searched, adopting)
        if sealed is None:
            return None
        total += sealed
        if last:
            return total
        after = ids[-1]


def _seal(tenant_id: UUID, ids: list[UUID], searched: UUID, adopting: bool) -> int | None:
    """Seal those of the events that are ours; None where another process is at it."""
    with transaction():
        head = hold_head(tenant_id)
        if head is None:
            return None
        given = {"tenant": tenant_id, "ids": ids}
        rows = run_prepared(_EVENTS, given, reason=_BY_TENANT).all()
        grown, seals = _extend(head, rows, adopting=adopting and may_adopt(head))
        # Never ahead of the clock: an id from the future, of a fast clock or of somebody who
        # inserts rows, must not hide what is recorded until then. Never back.
        mark = max(searched, head.searched_from)
        if seals or mark != head.searched_from:
            _write(head, replace(grown, searched_from=mark), seals)
        return len(seals)


def _extend(head: Head, rows: Any, *, adopting: bool) -> tuple[Head, list[dict[str, Any]]]:
    if not rows:
        return head, []
    tree, chain, seals = head.tree(), head.chain, []
    *columns, marks = zip(*rows, strict=True)
    for event_id, parts, mark in zip(columns[0], event_parts(columns), marks, strict=True):
        encoded = pack(parts)
        if not parts or not (is_ours(encoded, mark) or (adopting and mark is None)):
            continue
        leaf = leaf_hash(encoded)
        chain = next_link(chain, tree.size, leaf)
        seals.append(
            {
                "id": UUID(bytes=event_id),
                "tenant_id": head.tenant_id,
                "seq": tree.size,
                "leaf": leaf,
                "chain": chain,
            }
        )
        tree.append(leaf)
    return replace(head, size=tree.size, chain=chain, frontier=tree.to_bytes()), seals


def _write(head: Head, grown: Head, seals: list[dict[str, Any]]) -> None:
    if seals:
        run_prepared(_ADD_SEALS, seals, reason=_BY_TENANT)
        leaves = [seal["leaf"] for seal in seals]
        nodes = [
            {
                "id": new_id(),
                "tenant_id": head.tenant_id,
                "level": level,
                "position": position,
                "hash": digest,
            }
            for level, position, digest in completed(head.tenant_id, head.size, leaves)
        ]
        if nodes:
            run_prepared(_ADD_NODES, nodes, reason=_BY_TENANT)
    given = {
        "tenant": head.tenant_id,
        "before": head.size,
        "new_size": grown.size,
        "new_chain": grown.chain,
        "new_frontier": grown.frontier,
        "new_searched_from": grown.searched_from,
    }
    run_prepared(_ADVANCE, given, reason=_BY_TENANT)


def _back(event_id: UUID) -> UUID:
    milliseconds = (event_id.int >> 80) - LOOK_BACK // timedelta(milliseconds=1)
    return UUID(int=max(0, milliseconds) << 80)
