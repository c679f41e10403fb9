"""Tables of tenants and organizations, both trees.

A tenant carries its own id as `tenant_id`, so that the one scoping rule holds
for it as for any other row.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from ..core.db import TABLE_OPTIONS, Base, TenantScoped
from ..core.types import GUID, UTCDateTime, binary_string

TENANT_TYPES = ("platform", "partner", "client", "tenant", "sponsor", "employer")
ORGANIZATION_TYPES = ("partner", "client", "sponsor", "employer", "team")


class IAMTenant(TenantScoped, Base):
    """A tenant: nothing inside it is visible from another."""

    __tablename__ = "iam_tenant"
    __table_args__ = (
        UniqueConstraint("slug"),
        Index("uq_iam_tenant_host", "host", unique=True),
        Index("ix_iam_tenant_parent_id", "parent_id"),
        CheckConstraint("tenant_id = id", name="own_tenant"),
        TABLE_OPTIONS,
    )

    parent_id: Mapped[UUID | None] = mapped_column(GUID(), ForeignKey("iam_tenant.id"))
    type: Mapped[str] = mapped_column(binary_string(16))
    slug: Mapped[str] = mapped_column(binary_string(63))
    host: Mapped[str | None] = mapped_column(binary_string(253))
    name: Mapped[str] = mapped_column(binary_string(120))
    status: Mapped[str] = mapped_column(binary_string(16), default="active")
    authz_version: Mapped[int] = mapped_column(Integer, default=1)
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMDomain(TenantScoped, Base):
    """A domain of e-mail addresses that a tenant says is its own.

    `verified_name` repeats the name once a TXT record has proved it, and is unique over all
    tenants; it is taken back where the record stays away. `connection_id` names the
    connection that signs in the domain's people.
    """

    __tablename__ = "iam_domain"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("verified_name"),
        Index("ix_iam_domain_checked_at", "checked_at"),
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["iam_sso_connection.tenant_id", "iam_sso_connection.id"],
        ),
        TABLE_OPTIONS,
    )

    name: Mapped[str] = mapped_column(binary_string(253))
    verified_name: Mapped[str | None] = mapped_column(binary_string(253))
    token: Mapped[str] = mapped_column(binary_string(64))
    connection_id: Mapped[UUID | None] = mapped_column(GUID())
    verified_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    checked_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    missing_since: Mapped[datetime | None] = mapped_column(UTCDateTime())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMOrganization(TenantScoped, Base):
    """An organization inside a tenant: the `parent_id` of users and of a host's objects."""

    __tablename__ = "iam_organization"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "parent_id"], ["iam_organization.tenant_id", "iam_organization.id"]
        ),
        TABLE_OPTIONS,
    )

    parent_id: Mapped[UUID | None] = mapped_column(GUID())
    type: Mapped[str] = mapped_column(binary_string(16))
    name: Mapped[str] = mapped_column(binary_string(120))
    status: Mapped[str] = mapped_column(binary_string(16), default="active")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMAccessContext(TenantScoped, Base):
    """A stay of a platform's administrator in another tenant: for a reason, until a time (K5).

    `tenant_id` is the platform's. The session that holds it points here by `access_context_id`.
    """

    __tablename__ = "iam_access_context"
    __table_args__ = (
        Index("ix_iam_access_context_tenant", "tenant_id", "id"),
        Index("ix_iam_access_context_target", "target_tenant_id", "id"),
        Index("ix_iam_access_context_open", "ended_at", "ends_at"),
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        ForeignKeyConstraint(["target_tenant_id"], ["iam_tenant.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["iam_user_account.tenant_id", "iam_user_account.id"]
        ),
        TABLE_OPTIONS,
    )

    target_tenant_id: Mapped[UUID] = mapped_column(GUID())
    user_id: Mapped[UUID] = mapped_column(GUID())
    session_id: Mapped[UUID] = mapped_column(GUID())
    reason: Mapped[str] = mapped_column(binary_string(200))
    started_at: Mapped[datetime] = mapped_column(UTCDateTime())
    ends_at: Mapped[datetime] = mapped_column(UTCDateTime())
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    end_reason: Mapped[str | None] = mapped_column(binary_string(16))
