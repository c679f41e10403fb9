"""Tables of the sealed audit trail. All but the head and the key only ever grow.

A seal repeats the id of its event. Numbers begin at 0 in every tenant and leave no gap.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ForeignKeyConstraint, Index, SmallInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ...core.db import TABLE_OPTIONS, Base, TenantScoped
from ...core.types import GUID, Digest, UTCDateTime, binary_string, long_text, octets
from ..append_only import guard


class IAMAuditSeal(TenantScoped, Base):
    """The place of one event in its tenant's sequence: leaf of the tree, link of the chain."""

    __tablename__ = "iam_audit_seal"
    __table_args__ = (UniqueConstraint("tenant_id", "seq"), TABLE_OPTIONS)

    seq: Mapped[int] = mapped_column(BigInteger)
    leaf: Mapped[bytes] = mapped_column(Digest())
    chain: Mapped[bytes] = mapped_column(Digest())


class IAMAuditNode(TenantScoped, Base):
    """The hash of one complete subtree of 256, 65,536, … leaves, so that proofs stay cheap."""

    __tablename__ = "iam_audit_node"
    __table_args__ = (UniqueConstraint("tenant_id", "level", "position"), TABLE_OPTIONS)

    level: Mapped[int] = mapped_column(SmallInteger)
    position: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(Digest())


class IAMAuditCheckpoint(TenantScoped, Base):
    """A signed statement of how long a tenant's trail was, and what its tree came to (C2SP)."""

    __tablename__ = "iam_audit_checkpoint"
    __table_args__ = (
        Index("ix_iam_audit_checkpoint_tenant_id_id", "tenant_id", "id"),
        Index("ix_iam_audit_checkpoint_size", "tenant_id", "size"),
        TABLE_OPTIONS,
    )

    size: Mapped[int] = mapped_column(BigInteger)
    root: Mapped[bytes] = mapped_column(Digest())
    chain: Mapped[bytes] = mapped_column(Digest())
    note: Mapped[str] = mapped_column(long_text())
    signed_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMAuditPrune(TenantScoped, Base):
    """A signed statement that events before a number were deleted under the retention policy."""

    __tablename__ = "iam_audit_prune"
    __table_args__ = (UniqueConstraint("tenant_id", "until_seq"), TABLE_OPTIONS)

    from_seq: Mapped[int] = mapped_column(BigInteger)
    until_seq: Mapped[int] = mapped_column(BigInteger)
    note: Mapped[str] = mapped_column(long_text())
    pruned_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMAuditHead(TenantScoped, Base):
    """How far a tenant's trail is sealed; its row is the sealer's lock. The id is the tenant's.

    `frontier` are the hashes on the right edge of the tree; `searched_from` the event id from
    which the next search for unsealed events begins.
    """

    __tablename__ = "iam_audit_head"
    __table_args__ = (ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]), TABLE_OPTIONS)

    size: Mapped[int] = mapped_column(BigInteger, default=0)
    chain: Mapped[bytes] = mapped_column(Digest())
    frontier: Mapped[bytes] = mapped_column(octets(2048), default=b"")
    searched_from: Mapped[UUID] = mapped_column(GUID())
    swept_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    checkpoint_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    anchored: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class IAMAuditKey(TenantScoped, Base):
    """The Ed25519 key that signs a tenant's checkpoints; the private half is encrypted."""

    __tablename__ = "iam_audit_key"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        UniqueConstraint("tenant_id", "public_key"),
        TABLE_OPTIONS,
    )

    name: Mapped[str] = mapped_column(binary_string(255))
    public_key: Mapped[bytes] = mapped_column(Digest())
    private_key: Mapped[str] = mapped_column(long_text())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    retired_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


for _model in (IAMAuditSeal, IAMAuditNode, IAMAuditCheckpoint, IAMAuditPrune):
    guard(_model)
