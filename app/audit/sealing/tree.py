"""The stored Merkle tree: leaves in the seals, every eighth level in nodes of its own.

A level is the power of two of its leaves: 8 for subtrees of 256, 16 for 65,536. So any proof
reads a few blocks of 256 hashes, however long the trail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import bindparam, select

from ...core.db import run_prepared
from ..verifier import Frontier
from .head import TrailBroken
from .models_seal import IAMAuditNode, IAMAuditSeal

STEP = 8
SPAN = 1 << STEP
_SEAL = IAMAuditSeal.__table__
_NODE = IAMAuditNode.__table__
_BY_TENANT = "by the tenant's id, a parameter"

_LEAVES = (
    select(_SEAL.c.leaf)
    .where(
        _SEAL.c.tenant_id == bindparam("tenant"),
        _SEAL.c.seq >= bindparam("start"),
        _SEAL.c.seq < bindparam("end"),
    )
    .order_by(_SEAL.c.seq)
)
_NODES = (
    select(_NODE.c.hash)
    .where(
        _NODE.c.tenant_id == bindparam("tenant"),
        _NODE.c.level == bindparam("level"),
        _NODE.c.position >= bindparam("start"),
        _NODE.c.position < bindparam("end"),
    )
    .order_by(_NODE.c.position)
)


def stored(tenant_id: UUID, level: int, start: int, end: int) -> list[bytes]:
    """Return the stored hashes of a level (a multiple of 8) from `start` to before `end`.

    There may be fewer: the tree ends somewhere.
    """
    given = {"tenant": tenant_id, "start": start, "end": end}
    if level:
        found = run_prepared(_NODES, given | {"level": level}, reason=_BY_TENANT)
    else:
        found = run_prepared(_LEAVES, given, reason=_BY_TENANT)
    return [bytes(row[0]) for row in found]


def completed(
    tenant_id: UUID, size: int, leaves: Sequence[bytes]
) -> Iterable[tuple[int, int, bytes]]:
    """Yield level, position and hash of each subtree that `leaves` after `size` complete."""
    level, start, fresh = 0, size, list(leaves)
    while (start + len(fresh)) // SPAN > start // SPAN:
        children = [*stored(tenant_id, level, start - start % SPAN, start), *fresh]
        level, start = level + STEP, start // SPAN
        whole = range(0, len(children) - SPAN + 1, SPAN)
        fresh = [_root(children[at : at + SPAN]) for at in whole]
        yield from ((level, start + number, found) for number, found in enumerate(fresh))


class StoredTree:
    """The complete subtrees of one tenant's tree, read block by block for one proof."""

    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id
        self._blocks: dict[tuple[int, int], list[bytes]] = {}

    def subtree(self, level: int, position: int) -> bytes:
        """Return the hash of a complete subtree. Raises TrailBroken where it is not stored."""
        below = level % STEP
        base, start, count = level - below, position << below, 1 << below
        block, offset = divmod(start, SPAN)
        found = self._block(base, block)[offset : offset + count]
        if len(found) != count:
            raise TrailBroken(f"seals or nodes at {start} of level {base} are missing")
        return _root(found)

    def _block(self, level: int, block: int) -> list[bytes]:
        key = (level, block)
        if key not in self._blocks:
            start = block * SPAN
            self._blocks[key] = stored(self._tenant_id, level, start, start + SPAN)
        return self._blocks[key]


def _root(hashes: Iterable[bytes]) -> bytes:
    tree = Frontier()
    for found in hashes:
        tree.append(found)
    return tree.root()
