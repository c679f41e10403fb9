"""Table of the audit trail. Rows are inserted once; triggers refuse UPDATE and DELETE.

The sealer keeps sequence, chain and tree in tables of its own (`sealing/models_seal.py`).
What tells of a person stands encrypted under that person's key: where somebody acted from
under the actor's, what was done under the subject's (`personal/`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from ..core.db import TABLE_OPTIONS, Base, TenantScoped
from ..core.types import GUID, Digest, UTCDateTime, binary_string, octets
from .append_only import guard
from .personal import models_reading


class IAMAuthLog(TenantScoped, Base):
    """One event of the audit trail."""

    __tablename__ = "iam_auth_log"
    __table_args__ = (
        Index("ix_iam_auth_log_tenant_id_id", "tenant_id", "id"),
        Index("ix_iam_auth_log_action", "tenant_id", "action", "id"),
        Index("ix_iam_auth_log_actor", "tenant_id", "actor_id", "id"),
        Index("ix_iam_auth_log_resource", "tenant_id", "resource_id", "id"),
        Index("ix_iam_auth_log_subject", "tenant_id", "subject_id", "id"),
        Index("ix_iam_auth_log_ip", "tenant_id", "ip_index", "id"),
        Index("ix_iam_auth_log_severity", "tenant_id", "severity", "id"),
        Index("ix_iam_auth_log_status", "tenant_id", "status", "id"),
        TABLE_OPTIONS,
    )

    action: Mapped[str] = mapped_column(binary_string(64))
    severity: Mapped[str] = mapped_column(binary_string(16))
    status: Mapped[str] = mapped_column(binary_string(16))
    actor_type: Mapped[str] = mapped_column(binary_string(32))
    actor_id: Mapped[UUID | None] = mapped_column(GUID())
    on_behalf_of_id: Mapped[UUID | None] = mapped_column(GUID())
    resource_type: Mapped[str | None] = mapped_column(binary_string(32))
    resource_id: Mapped[UUID | None] = mapped_column(GUID())
    subject_id: Mapped[UUID | None] = mapped_column(GUID())
    changes_clear: Mapped[dict[str, Any]] = mapped_column("changes", JSON)
    ip_clear: Mapped[str | None] = mapped_column("ip", binary_string(45))
    user_agent_clear: Mapped[str | None] = mapped_column("user_agent", binary_string(400))
    request_id: Mapped[str | None] = mapped_column(binary_string(64))
    session_hash: Mapped[str | None] = mapped_column(binary_string(64))
    error: Mapped[str | None] = mapped_column(binary_string(64))
    details_clear: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    ip_index: Mapped[bytes | None] = mapped_column(octets(16))
    origin_sealed: Mapped[bytes | None] = mapped_column(octets(1024))
    personal_sealed: Mapped[bytes | None] = mapped_column(octets(32768))
    encoding_version: Mapped[int] = mapped_column(SmallInteger, default=1)
    occurred_at: Mapped[datetime] = mapped_column(UTCDateTime())
    recorded_at: Mapped[datetime] = mapped_column(UTCDateTime())
    mac: Mapped[bytes | None] = mapped_column(Digest())

    @property
    def ip(self) -> str | None:
        """Where the actor was; to search for an address use `AuditLogQuery.by_ip`."""
        return models_reading.origin(self, "ip", self.ip_clear)

    @property
    def user_agent(self) -> str | None:
        """What the actor's browser called itself."""
        return models_reading.origin(self, "user_agent", self.user_agent_clear)

    @property
    def changes(self) -> dict[str, Any]:
        """Old and new value of each field that the act changed."""
        return models_reading.personal(self, "changes", self.changes_clear)

    @property
    def details(self) -> dict[str, Any]:
        """What else the event carries, as its catalogue entry declares it."""
        return models_reading.personal(self, "details", self.details_clear)


# Events of a range that was pruned under a signed, append-only statement may go.
guard(
    IAMAuthLog,
    delete_where=(
        "EXISTS (SELECT 1 FROM iam_audit_seal JOIN iam_audit_prune "
        "ON iam_audit_prune.tenant_id = iam_audit_seal.tenant_id "
        "AND iam_audit_seal.seq < iam_audit_prune.until_seq "
        "WHERE iam_audit_seal.id = OLD.id AND iam_audit_seal.tenant_id = OLD.tenant_id)"
    ),
)
