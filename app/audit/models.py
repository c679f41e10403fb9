"""Table of the audit trail. Rows are inserted once; triggers refuse UPDATE and DELETE.

`subject_id`, `encoding_version` and `recorded_at` are what sealing, proofs and
erasure by key destruction need; the sealer keeps its sequence in its own table.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DDL, JSON, Index, SmallInteger, event
from sqlalchemy.orm import Mapped, mapped_column

from ..core.db import TABLE_OPTIONS, Base, TenantScoped
from ..core.types import GUID, UTCDateTime, binary_string


class IAMAuthLog(TenantScoped, Base):
    """One event of the audit trail."""

    __tablename__ = "iam_auth_log"
    __table_args__ = (
        Index("ix_iam_auth_log_tenant_id_id", "tenant_id", "id"),
        Index("ix_iam_auth_log_action", "tenant_id", "action", "id"),
        Index("ix_iam_auth_log_actor", "tenant_id", "actor_id", "id"),
        Index("ix_iam_auth_log_resource", "tenant_id", "resource_id", "id"),
        Index("ix_iam_auth_log_ip", "tenant_id", "ip", "id"),
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
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)
    ip: Mapped[str | None] = mapped_column(binary_string(45))
    user_agent: Mapped[str | None] = mapped_column(binary_string(400))
    request_id: Mapped[str | None] = mapped_column(binary_string(64))
    session_hash: Mapped[str | None] = mapped_column(binary_string(64))
    error: Mapped[str | None] = mapped_column(binary_string(64))
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    encoding_version: Mapped[int] = mapped_column(SmallInteger, default=1)
    occurred_at: Mapped[datetime] = mapped_column(UTCDateTime())
    recorded_at: Mapped[datetime] = mapped_column(UTCDateTime())


def _trigger(dialect: str, verb: str) -> str:
    name = f"iam_auth_log_no_{verb.lower()}"
    if dialect == "sqlite":
        return (
            f"CREATE TRIGGER {name} BEFORE {verb} ON iam_auth_log "
            "BEGIN SELECT RAISE(ABORT, 'iam_auth_log is append-only'); END"
        )
    return (
        f"CREATE TRIGGER {name} BEFORE {verb} ON iam_auth_log FOR EACH ROW "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_auth_log is append-only'"
    )


APPEND_ONLY_TRIGGERS = {
    dialect: [_trigger(dialect, verb) for verb in ("UPDATE", "DELETE")]
    for dialect in ("mysql", "sqlite")
}
# SQLite's REPLACE deletes a row without asking the DELETE trigger.
APPEND_ONLY_TRIGGERS["sqlite"].append(
    "CREATE TRIGGER iam_auth_log_no_replace BEFORE INSERT ON iam_auth_log "
    "WHEN EXISTS (SELECT 1 FROM iam_auth_log WHERE id = NEW.id) "
    "BEGIN SELECT RAISE(ABORT, 'iam_auth_log is append-only'); END"
)

for _dialect, _statements in APPEND_ONLY_TRIGGERS.items():
    for _statement in _statements:
        event.listen(
            IAMAuthLog.__table__,
            "after_create",
            DDL(_statement).execute_if(dialect=_dialect),  # type: ignore[no-untyped-call]
        )
