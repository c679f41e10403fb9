"""Tables of throttling counters and of the browsers people use."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, ForeignKeyConstraint, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..core.db import TABLE_OPTIONS, Base, TenantScoped
from ..core.types import GUID, Digest, UTCDateTime, binary_string


class IAMThrottle(TenantScoped, Base):
    """A counter of attempts; its id is derived from tenant, scope and subject."""

    __tablename__ = "iam_throttle"
    __table_args__ = (Index("ix_iam_throttle_updated_at", "updated_at"), TABLE_OPTIONS)

    scope: Mapped[str] = mapped_column(binary_string(48))
    count: Mapped[int] = mapped_column(Integer)
    window_ends_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    blocked_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMDevice(TenantScoped, Base):
    """A browser that a user has signed in from.

    `generation` is the newest one of its cookie that this account has seen: an older one
    that comes back was copied. `rotated_at` is when it last advanced.
    """

    __tablename__ = "iam_device"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id", "browser_digest"),
        Index("ix_iam_device_browser", "browser_digest", "generation"),
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["iam_user_account.tenant_id", "iam_user_account.id"]
        ),
        TABLE_OPTIONS,
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    browser_digest: Mapped[bytes] = mapped_column(Digest())
    name: Mapped[str] = mapped_column(binary_string(80))
    browser: Mapped[str] = mapped_column(binary_string(60))
    os: Mapped[str] = mapped_column(binary_string(60))
    kind: Mapped[str] = mapped_column(binary_string(16))
    known: Mapped[bool] = mapped_column(Boolean, default=False)
    first_seen_at: Mapped[datetime] = mapped_column(UTCDateTime())
    last_seen_at: Mapped[datetime] = mapped_column(UTCDateTime())
    last_ip: Mapped[str | None] = mapped_column(binary_string(45))
    generation: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    rotated_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    trusted_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
