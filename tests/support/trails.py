"""A sealed trail for tests: real tables, filled by the pure functions of the format alone.

So the verifier is tested against the written format, not against whatever the sealer does;
that both agree is a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.audit import verifier
from app.audit.append_only import APPEND_ONLY
from app.audit.models import IAMAuthLog
from app.audit.sealing.models_seal import (
    IAMAuditCheckpoint,
    IAMAuditHead,
    IAMAuditKey,
    IAMAuditPrune,
    IAMAuditSeal,
)
from app.core.db import Base

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS: sa.Table = Base.metadata.tables[IAMAuthLog.__tablename__]
SEALS: sa.Table = Base.metadata.tables[IAMAuditSeal.__tablename__]
CHECKPOINTS: sa.Table = Base.metadata.tables[IAMAuditCheckpoint.__tablename__]
PRUNES: sa.Table = Base.metadata.tables[IAMAuditPrune.__tablename__]
HEADS: sa.Table = Base.metadata.tables[IAMAuditHead.__tablename__]
KEYS: sa.Table = Base.metadata.tables[IAMAuditKey.__tablename__]
GUARDED = ("iam_auth_log", "iam_audit_seal", "iam_audit_checkpoint", "iam_audit_prune")


def event_id(tenant_id: UUID, number: int) -> UUID:
    """Return an id that is the same in every run, ordered by number within a tenant."""
    return UUID(int=(number + 1 << 96) | (tenant_id.int & (1 << 64) - 1) | 7 << 76)


def event_row(tenant_id: UUID, number: int, **changed: Any) -> dict[str, Any]:
    """Return one event with a value of every type, some of them hard to keep unchanged."""
    at = START + timedelta(minutes=number, microseconds=number)
    values: dict[str, Any] = dict.fromkeys(EVENTS.columns.keys())
    return {
        **values,
        "id": event_id(tenant_id, number),
        "tenant_id": tenant_id,
        "action": "LOGIN_FAILED",
        "severity": "warning",
        "status": "failure",
        "actor_type": "anonymous",
        "subject_id": tenant_id if number % 2 else None,
        "changes": {"name": [None, "Zoë \u2028 \U0001f511"], "a": [True, -1]} if number % 3 else {},
        "ip": "192.0.2.7" if number % 2 else None,
        "user_agent": "Browser \u202e 'quoted' \\",
        "metadata": {"z": 2**62, "a": {"y": [], "x": ""}},
        "ip_index": bytes(range(16)),
        "personal_sealed": bytes(range(256)) if number % 3 == 1 else None,
        "encoding_version": 1,
        "occurred_at": at,
        "recorded_at": at,
        **changed,
    }


@dataclass
class SealedTrail:
    """One tenant's trail, as a sealer would have left it."""

    connection: sa.Connection
    tenant_id: UUID
    prefix: str = "iam-audit"
    key: Ed25519PrivateKey = field(
        default_factory=lambda: Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    )
    size: int = 0
    frontier: verifier.Frontier = field(default_factory=verifier.Frontier)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link = verifier.first_link(self.tenant_id)
        self.links = [self.link]
        self._insert(
            KEYS, UUID(int=self.tenant_id.int ^ 1), name=self.origin, public_key=self.public,
            private_key="", created_at=START,
        )  # fmt: skip

    @property
    def origin(self) -> str:
        """Return the name of the trail and of its key."""
        return verifier.origin_of(self.prefix, self.tenant_id)

    @property
    def public(self) -> bytes:
        """Return the public key."""
        return self.key.public_key().public_bytes_raw()

    @property
    def vkey(self) -> str:
        """Return the key as an auditor notes it down."""
        return verifier.verifier_key(self.origin, self.public)

    def grow(self, count: int, **changed: Any) -> None:
        """Append and seal events, one a minute."""
        for number in range(self.size, self.size + count):
            row = event_row(self.tenant_id, number, **changed)
            self.connection.execute(EVENTS.insert(), row)
            self.seal(row)

    def seal(self, row: dict[str, Any]) -> None:
        """Give an event its place."""
        leaf = verifier.leaf_hash(verifier.encode(row))
        self.link = verifier.next_link(self.link, self.size, leaf)
        self._insert(SEALS, row["id"], seq=self.size, leaf=leaf, chain=self.link)
        self.frontier.append(leaf)
        self.links.append(self.link)
        self.size += 1

    def seal_many(self, rows: list[dict[str, Any]]) -> None:
        """Give many events their places in one statement."""
        seals = []
        for row in rows:
            leaf = verifier.leaf_hash(verifier.encode(row))
            self.link = verifier.next_link(self.link, self.size, leaf)
            self.frontier.append(leaf)
            place = {"seq": self.size, "leaf": leaf, "chain": self.link}
            seals.append({"id": row["id"], "tenant_id": self.tenant_id, **place})
            self.size += 1
        self.connection.execute(SEALS.insert(), seals)

    def checkpoint(self, at: datetime | None = None, *, store: bool = True) -> str:
        """Sign and store a checkpoint, a second after the newest event unless told otherwise."""
        at = at or START + timedelta(minutes=self.size - 1, seconds=1)
        root = self.frontier.root()
        note = self.sign(verifier.checkpoint_body(self.origin, self.size, root, self.link, at))
        if store:
            self.store(note)
        return note

    def store(self, note: str) -> None:
        """Store a checkpoint as the newest."""
        stated = verifier.read_checkpoint(note)
        self.notes.append(note)
        self._insert(
            CHECKPOINTS, event_id(self.tenant_id, len(self.notes)), size=stated.size,
            root=stated.root, chain=stated.chain, note=note, signed_at=stated.time,
        )  # fmt: skip

    def prune(self, start: int, until: int, *, days: int, at: datetime) -> None:
        """Sign a prune statement and delete its events, guards in place."""
        body = verifier.prune_body(self.origin, start, until, self.links[until], days, at)
        self._insert(
            PRUNES, event_id(self.tenant_id, until), from_seq=start, until_seq=until,
            note=self.sign(body), pruned_at=at,
        )  # fmt: skip
        gone = [event_id(self.tenant_id, number) for number in range(start, until)]
        self.connection.execute(EVENTS.delete().where(EVENTS.c.id.in_(gone)))

    def sign(self, body: str) -> str:
        """Return a note that the tenant's key signed."""
        return verifier.sign_note(body, self.origin, self.key.sign, self.public)

    def head(self) -> None:
        """Write the sealer's head."""
        frontier = self.frontier.to_bytes()
        self._insert(
            HEADS, self.tenant_id, size=self.size, chain=self.link, frontier=frontier, anchored={},
            searched_from=UUID(int=0),
        )  # fmt: skip

    def _insert(self, table: sa.Table, id_: UUID, **values: Any) -> None:
        self.connection.execute(table.insert(), {"id": id_, "tenant_id": self.tenant_id, **values})


@contextmanager
def administrator(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection on which the guards are gone, as a database administrator has it."""
    dialect = engine.dialect.name
    try:
        with engine.begin() as connection:
            for table in GUARDED:
                for statement in APPEND_ONLY[table][dialect]:
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {statement.split()[2]}")
            yield connection
    finally:
        with engine.begin() as connection:
            for table in GUARDED:
                for statement in APPEND_ONLY[table][dialect]:
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {statement.split()[2]}")
                    connection.exec_driver_sql(statement)
