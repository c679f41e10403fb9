"""Parts of the sealer on their own: the mark of origin, the stored tree, the background thread."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.audit import events, verifier
from app.audit.models import IAMAuthLog
from app.audit.sealing import tree
from app.audit.sealing.macs import is_ours
from app.audit.services_audit import record
from app.core import clock
from app.core.db import session, transaction
from app.core.ids import new_id
from app.core.running.background import Background

LEAVES = [verifier.leaf_hash(str(number).encode()) for number in range(700)]


def stored_row(event: IAMAuthLog) -> dict[str, Any]:
    table = IAMAuthLog.__table__
    with session().get_bind().connect() as connection:  # type: ignore[union-attr]
        found = connection.execute(sa.select(table).where(table.c.id == event.id))
        return dict(found.mappings().one())


def test_m3_the_mark_holds_over_what_the_database_returns(trail) -> None:
    """Text of every script, nothing, nested values: the row reads back as it was marked."""
    details = {"identifier": "Zo\u00eb \U0001f511 \u4f60", "reason": None}
    with transaction():
        event = record(events.LOGIN_FAILED, actor=trail.actor, **details)
    row = stored_row(event)
    encoded = verifier.encode(row)
    assert is_ours(encoded, row["mac"])
    assert not is_ours(encoded, None)
    assert not is_ours(encoded, bytes(32))


@pytest.mark.parametrize("column", sorted(set(verifier.FIELDS) - {"encoding_version"}))
def test_at_400_the_mark_covers_every_column(trail, column: str) -> None:
    with transaction():
        event = record(events.LOGIN_FAILED, actor=trail.actor)
    row = stored_row(event)
    other = {
        "U": new_id(), "S": "other", "J": {"other": 1}, "B": b"other", "T": clock.now(),
    }[verifier.KINDS[column]]  # fmt: skip
    assert not is_ours(verifier.encode(row | {column: other}), row["mac"])


def test_m3_a_mark_does_not_change_with_the_time_of_reading(trail) -> None:
    with transaction():
        event = record(events.LOGIN_FAILED, actor=trail.actor)
    with clock.travel(timedelta(days=400)):
        row = stored_row(event)
        assert is_ours(verifier.encode(row), row["mac"])


def plain_tree(monkeypatch: pytest.MonkeyPatch, leaves: list[bytes]) -> dict[int, list[bytes]]:
    """Return the stored levels of a tree, and have `tree.stored` read them."""
    levels: dict[int, list[bytes]] = {0: leaves}

    def stored(_tenant: Any, level: int, start: int, end: int) -> list[bytes]:
        return levels.get(level, [])[start:end]

    monkeypatch.setattr(tree, "stored", stored)
    return levels


def test_m3_nodes_are_the_roots_of_their_leaves_in_whatever_batches(monkeypatch) -> None:
    levels = plain_tree(monkeypatch, [])
    found = []
    for start, end in ((0, 1), (1, 255), (255, 256), (256, 257), (257, 700)):
        fresh = LEAVES[start:end]
        found += list(tree.completed(new_id(), start, fresh))
        levels[0] = LEAVES[:end]
    whole = [LEAVES[:256], LEAVES[256:512]]
    for (level, position, digest), leaves in zip(found, whole, strict=True):
        frontier = verifier.Frontier()
        for leaf in leaves:
            frontier.append(leaf)
        assert (level, digest) == (8, frontier.root())
        assert leaves == LEAVES[position * 256 : position * 256 + 256]


def test_m3_a_second_level_of_nodes_follows_the_first(monkeypatch) -> None:
    leaves = [verifier.leaf_hash(bytes([number % 7])) for number in range(1 << 16)]
    levels = plain_tree(monkeypatch, [])
    found = list(tree.completed(new_id(), 0, leaves[:-1]))
    levels[0], levels[8] = leaves[:-1], [digest for _level, _position, digest in found]
    found = list(tree.completed(new_id(), len(leaves) - 1, leaves[-1:]))
    frontier = verifier.Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    assert [(level, position) for level, position, _digest in found] == [(8, 255), (16, 0)]
    assert found[-1][2] == frontier.root()


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 512, 699, 700])
def test_m3_paths_from_the_stored_tree_lead_to_the_root(monkeypatch, size: int) -> None:
    levels = plain_tree(monkeypatch, LEAVES)
    levels[8] = [digest for _level, _position, digest in tree.completed(new_id(), 0, LEAVES)]
    stored = tree.StoredTree(new_id())
    frontier = verifier.Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    for index in {0, size // 2, size - 1}:
        path = verifier.inclusion_path(index, size, stored.subtree)
        root = verifier.inclusion_root(LEAVES[index], index, size, path)
        assert root == frontier.root()


def test_m3_a_gap_in_the_stored_tree_is_no_proof(monkeypatch) -> None:
    plain_tree(monkeypatch, LEAVES)
    with pytest.raises(tree.TrailBroken):
        tree.StoredTree(new_id()).subtree(8, 0)


def test_m3_what_comes_together_is_sealed_together() -> None:
    """Woken many times at once, the thread works once or twice, not each time."""
    calls: list[int] = []
    done = threading.Event()

    def work() -> None:
        calls.append(1)
        if len(calls) > 1:
            done.set()

    thread = Background(Flask("host"), work, name="test", poll=30, gather=0.1)
    for _number in range(50):
        thread.wake()
    assert done.wait(10)
    thread.stop()
    assert len(calls) <= 3
