"""Table of the keys under which the audit trail keeps what it tells of a person."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ...core.db import TABLE_OPTIONS, Base, TenantScoped
from ...core.types import UTCDateTime, long_text


class IAMSubjectKey(TenantScoped, Base):
    """One person's key; the id is the account's. `wrapped_key` is None once it is destroyed."""

    __tablename__ = "iam_subject_key"
    __table_args__ = (ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]), TABLE_OPTIONS)

    wrapped_key: Mapped[str | None] = mapped_column(long_text())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    destroyed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
