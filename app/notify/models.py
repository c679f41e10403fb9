"""The outbox: one row per message, written in the transaction that causes it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..core.db import TABLE_OPTIONS, Base, TenantScoped
from ..core.types import GUID, Digest, UTCDateTime, binary_string, long_text

PENDING, SENDING, SENT = "pending", "sending", "sent"
DEAD, EXPIRED, WITHDRAWN = "dead", "expired", "withdrawn"
# A critical event that nobody was told of yet: no message, so no sender claims it.
NOTED = "noted"


class IAMOutbox(TenantScoped, Base):
    """A message on its way. Recipient, subject and text live encrypted in `payload` (AT-044).

    `next_attempt_at` is when the row may be claimed next: for a row being sent it
    is the end of the lease, so one index serves both. `attempts` grows with each
    claim and is what the compare-and-swap compares.
    """

    __tablename__ = "iam_outbox"
    __table_args__ = (
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_iam_outbox_drain", "status", "next_attempt_at"),
        Index("ix_iam_outbox_recipient", "recipient_digest", "created_at"),
        Index("ix_iam_outbox_range", "range_digest", "created_at"),
        Index("ix_iam_outbox_caps", "tenant_id", "created_at"),
        Index("ix_iam_outbox_user", "tenant_id", "user_id"),
        TABLE_OPTIONS,
    )

    channel: Mapped[str] = mapped_column(binary_string(16))
    purpose: Mapped[str] = mapped_column(binary_string(48))
    payload: Mapped[str | None] = mapped_column(long_text())
    recipient_digest: Mapped[bytes] = mapped_column(Digest())
    range_digest: Mapped[bytes | None] = mapped_column(Digest())
    country: Mapped[str | None] = mapped_column(binary_string(3))
    status: Mapped[str] = mapped_column(binary_string(16), default=PENDING)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(UTCDateTime())
    lease_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    last_error: Mapped[str | None] = mapped_column(binary_string(200))
    provider: Mapped[str | None] = mapped_column(binary_string(32))
    provider_message_id: Mapped[str | None] = mapped_column(binary_string(128))
    idempotency_key: Mapped[str | None] = mapped_column(binary_string(100))
    user_id: Mapped[UUID | None] = mapped_column(GUID())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    sent_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
