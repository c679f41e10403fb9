"""Table of invitations: who is asked in, by whom, with which roles. Only a digest of the link.

`open_email` repeats the canonical address while the invitation waits. It is unique in a place,
which is an organization or, for the tenant as a whole, the tenant: of two invitations to one
address there the older is closed first, whoever is faster (AT-109). Another place's waits on: its
inviter may be beyond the reach of this one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ...core.db import TABLE_OPTIONS, Base, TenantScoped
from ...core.types import GUID, Digest, UTCDateTime, binary_string


class IAMInvitation(TenantScoped, Base):
    """An invitation; it waits until it is accepted or revoked, or until `expires_at`.

    `roles` is a list of {role_id, scope, organization_id}. `invited_by` may be a person of the
    platform who was here in an access context, so it refers to no account of this tenant.
    """

    __tablename__ = "iam_invitation"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("token_digest"),
        UniqueConstraint("tenant_id", "open_email", "open_place"),
        Index("ix_iam_invitation_expires_at", "expires_at"),
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "parent_id"], ["iam_organization.tenant_id", "iam_organization.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "accepted_by"], ["iam_user_account.tenant_id", "iam_user_account.id"]
        ),
        TABLE_OPTIONS,
    )

    email: Mapped[str] = mapped_column(binary_string(254))
    open_email: Mapped[str | None] = mapped_column(binary_string(254))
    open_place: Mapped[UUID] = mapped_column(GUID())
    name: Mapped[str] = mapped_column(binary_string(120), default="")
    language: Mapped[str | None] = mapped_column(binary_string(16))
    actor_type: Mapped[str] = mapped_column(binary_string(24), default="end_user")
    roles: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    parent_id: Mapped[UUID | None] = mapped_column(GUID())
    token_digest: Mapped[bytes] = mapped_column(Digest())
    invited_by: Mapped[UUID | None] = mapped_column(GUID())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    sent_at: Mapped[datetime] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime())
    accepted_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    accepted_by: Mapped[UUID | None] = mapped_column(GUID())
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
