"""Proofs that an event is in the sealed trail, and that the trail only ever grew (RFC 9162).

A proof is checked here by the verifier's own functions before it is shown, and carries all
that somebody else needs to check it: the hash of the event, the path, the signed checkpoint
and the keys. Reading only.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from ...core.db import run_prepared, session
from ...core.errors import BadRequest, NotFound
from ...core.i18n import N_
from ...core.scoping import current_tenant_id
from ..models import IAMAuthLog
from ..verifier import (
    consistency_holds,
    consistency_path,
    encode,
    inclusion_path,
    inclusion_root,
    leaf_hash,
)
from . import services_checkpoints as checkpoints
from .head import TrailBroken
from .models_seal import IAMAuditCheckpoint, IAMAuditSeal
from .services_audit_keys import vkeys
from .tree import StoredTree

WAITING, SEALED, PROVEN, BROKEN = "waiting", "sealed", "proven", "broken"
FORMAT = "iam-audit-proof/1"
_LOG = IAMAuthLog.__table__
_EVENT = select(_LOG).where(_LOG.c.tenant_id == bindparam("tenant"), _LOG.c.id == bindparam("id"))


class NoSuchCheckpoint(BadRequest):
    """No checkpoint covers exactly so many events."""

    code = "audit.no_checkpoint"
    title = N_("There is no checkpoint over that many events")


@dataclass(frozen=True, slots=True)
class Consistency:
    """The proof that an older checkpoint's tree begins a newer one's."""

    old: IAMAuditCheckpoint
    new: IAMAuditCheckpoint
    path: list[bytes]
    holds: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """What can be shown about one event.

    `state` is waiting (not sealed yet), sealed (no checkpoint covers it yet), proven, or broken:
    what is stored does not lead to what was signed. `pruned` says that its content is gone.
    """

    event_id: UUID
    state: str
    seal: IAMAuditSeal | None = None
    checkpoint: IAMAuditCheckpoint | None = None
    path: tuple[bytes, ...] = ()
    grown: Consistency | None = None
    keys: tuple[str, ...] = ()
    pruned: bool = False


def prove(event_id: UUID | None, *, since: int | None = None) -> Proof:
    """Return what proves an event of the tenant in scope.

    It is shown in the newest checkpoint; and that this one continues the checkpoint over
    `since` events, by default the first that covers the event. Raises NotFound, NoSuchCheckpoint.
    """
    leaf = _leaf_of(event_id)
    seal = session().scalar(select(IAMAuditSeal).where(IAMAuditSeal.id == event_id))
    if event_id is None or (leaf is None and seal is None):
        raise NotFound
    if seal is None:
        return Proof(event_id, WAITING)
    known = tuple(vkeys())
    newest = checkpoints.newest(least=seal.seq + 1)
    if newest is None:
        state = SEALED if leaf == seal.leaf else BROKEN
        return Proof(event_id, state, seal, keys=known)
    try:
        tree = StoredTree(seal.tenant_id)
        path = tuple(inclusion_path(seal.seq, newest.size, tree.subtree))
        first = _checkpoint(since) if since else checkpoints.first_over(seal.seq)
        grown = _grown(first or newest, newest)
    except TrailBroken:
        return Proof(event_id, BROKEN, seal, newest, keys=known)
    proven = (
        leaf in (None, seal.leaf)
        and inclusion_root(seal.leaf, seal.seq, newest.size, path) == newest.root
        and grown.holds
    )
    state = PROVEN if proven else BROKEN
    return Proof(event_id, state, seal, newest, path, grown, known, pruned=leaf is None)


def prove_growth(old_size: int, new_size: int | None = None) -> Consistency:
    """Return the proof between the checkpoints over so many events; the newest by default.

    Raises NoSuchCheckpoint, TrailBroken.
    """
    new = checkpoints.newest() if new_size is None else _checkpoint(new_size)
    if new is None:
        raise NoSuchCheckpoint
    return _grown(_checkpoint(old_size), new)


def as_dict(proof: Proof) -> dict[str, Any]:
    """Return a proof as JSON, hashes in base 64 as checkpoints write them."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "event": str(proof.event_id),
        "state": proof.state,
        "pruned": proof.pruned,
        "keys": list(proof.keys),
    }
    if proof.seal is not None:
        found |= {"index": proof.seal.seq, "leaf": b64(proof.seal.leaf)}
        found["chain"] = b64(proof.seal.chain)
    if proof.checkpoint is not None:
        found["inclusion"] = [b64(item) for item in proof.path]
        found["checkpoint"] = proof.checkpoint.note
    if proof.grown is not None:
        found["consistency"] = growth_as_dict(proof.grown)
    return found


def growth_as_dict(found: Consistency) -> dict[str, Any]:
    """Return a consistency proof as JSON."""
    return {
        "from": found.old.size,
        "to": found.new.size,
        "path": [b64(item) for item in found.path],
        "holds": found.holds,
        "old_checkpoint": found.old.note,
        "new_checkpoint": found.new.note,
    }


def b64(data: bytes) -> str:
    """Return bytes as checkpoints write them."""
    return base64.b64encode(data).decode()


def _grown(old: IAMAuditCheckpoint, new: IAMAuditCheckpoint) -> Consistency:
    if old.size > new.size:
        raise NoSuchCheckpoint
    path = consistency_path(old.size, new.size, StoredTree(new.tenant_id).subtree)
    holds = consistency_holds(old.size, old.root, new.size, new.root, path)
    return Consistency(old, new, path, holds)


def _checkpoint(size: int) -> IAMAuditCheckpoint:
    found = checkpoints.of_size(size)
    if found is None:
        raise NoSuchCheckpoint
    return found


def _leaf_of(event_id: UUID | None) -> bytes | None:
    """Return the hash of an event as it is stored now; None where it is not."""
    given = {"tenant": current_tenant_id(), "id": event_id}
    found = run_prepared(_EVENT, given, reason="by the tenant in scope, a parameter")
    row = found.mappings().one_or_none()
    if row is None:
        return None
    try:
        return leaf_hash(encode(dict(row)))
    except (ValueError, TypeError):  # changed into what no event can be
        return b""
