"""The keys under which events are written: made at the first event that tells of a person.

A key is made in the transaction of its event. A process remembers for a few minutes the
keys it wrote with, once they are committed; it never reads with them, so that a destroyed
key opens nothing anywhere. Refuses to make a second key for a person who was erased.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, cast
from uuid import UUID

from flask import current_app
from sqlalchemy import Table
from sqlalchemy.dialects import mysql, sqlite

from ...core import clock, rng
from ...core.crypto import keyring
from ...core.db import after_commit, engine, session, transaction_open
from ...core.scoping import exempt
from .ciphers import KEY_BYTES
from .models_personal import IAMSubjectKey
from .models_reading import UNREADABLE, context_of, forget, keys_of

_K = cast(Table, IAMSubjectKey.__table__)
_log = logging.getLogger("iam")
_REMEMBERED = "iam_subject_keys"
_NOBODYS = "iam_events_of_nobody"
_EXEMPT = exempt("a person has one key, in whichever tenant they act")
_SECONDS = 600.0
_MOST = 10_000


@dataclass(slots=True)
class Remembered:
    """Keys that this process wrote with, for a limited time."""

    keys: dict[UUID, tuple[bytes, float]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def find(self, person: UUID) -> bytes | None:
        """Return a key that is remembered still."""
        key, until = self.keys.get(person, (None, 0.0))
        return key if until > clock.monotonic() else None

    def keep(self, person: UUID, key: bytes) -> None:
        """Remember a key; where too many are, all others are forgotten."""
        with self.lock:
            if len(self.keys) >= _MOST:
                self.keys.clear()
            self.keys[person] = key, clock.monotonic() + _SECONDS

    def drop(self, person: UUID) -> None:
        """Forget a key."""
        with self.lock:
            self.keys.pop(person, None)


def remembered() -> Remembered:
    """Return what the current app remembers."""
    found: Remembered = current_app.extensions.setdefault(_REMEMBERED, Remembered())
    return found


@contextmanager
def nobodys() -> Iterator[None]:
    """Make no key within the block: its events are of nobody, and thrown away."""
    info = session().info
    info[_NOBODYS] = True
    try:
        yield
    finally:
        info.pop(_NOBODYS, None)


def writing_key(person: UUID, tenant_id: UUID, *, asked_by_stranger: bool = False) -> bytes:
    """Return the key under which an event may tell of `person`; made where there is none yet.

    `tenant_id` is the one of the event: a key is stored where it was needed first. For
    somebody erased it is a new one that nobody keeps: what is written stays unreadable.
    Nothing is remembered for strangers: their answer must not be faster for people who were
    here lately (AT-011).
    """
    known = None if asked_by_stranger else remembered().find(person)
    if known is not None:
        return known
    current = session()
    held = keys_of(current, [person])
    key = held.get(person)
    if key is None and current.info.get(_NOBODYS):
        key = held[person] = rng.random_bytes(KEY_BYTES)
        return key
    if key is None:
        _make(person, tenant_id)
        forget(current)
        key = keys_of(current, [person], newest=True)[person]
    if isinstance(key, str):
        if key == UNREADABLE:  # people must be able to go on where MFA_ENCRYPTION_KEY was lost
            _log.error("a person's key does not open (MFA_ENCRYPTION_KEY): the event tells less")
        return rng.random_bytes(KEY_BYTES)
    # A key made behind a savepoint may still go with it.
    if transaction_open() and not current.in_nested_transaction():
        made = key
        after_commit(lambda: remembered().keep(person, made))
    return key


def _make(user_id: UUID, tenant_id: UUID) -> None:
    values = {
        "id": user_id,
        "tenant_id": tenant_id,
        "wrapped_key": keyring().encrypt(rng.random_bytes(KEY_BYTES), context_of(user_id)),
        "created_at": clock.now(),
    }
    current = session()
    with current.no_autoflush:  # what else waits is written when its own code says so
        current.execute(_insert(), values, execution_options=_EXEMPT)


def _insert() -> Any:
    # Two first events at once: the second waits for the first, and keeps its key.
    if engine().dialect.name == "mysql":
        return mysql.insert(_K).on_duplicate_key_update(id=_K.c.id)
    return sqlite.insert(_K).on_conflict_do_nothing()
