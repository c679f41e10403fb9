"""Tables of roles, permissions, what a role holds, and who holds a role."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Boolean, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..core.db import TABLE_OPTIONS, Base, TenantScoped
from ..core.types import GUID, UTCDateTime, binary_string

SCOPES = ("global", "tenant", "organization", "team", "own")


class IAMRole(TenantScoped, Base):
    """A role; it also holds what its parent holds."""

    __tablename__ = "iam_role"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        ForeignKeyConstraint(["tenant_id", "parent_id"], ["iam_role.tenant_id", "iam_role.id"]),
        TABLE_OPTIONS,
    )

    name: Mapped[str] = mapped_column(binary_string(64))
    description: Mapped[str] = mapped_column(binary_string(255), default="")
    parent_id: Mapped[UUID | None] = mapped_column(GUID())
    is_system: Mapped[bool] = mapped_column(Boolean, default=False)
    mfa_policy: Mapped[str | None] = mapped_column(binary_string(16))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMPermission(TenantScoped, Base):
    """A permission, written `resource:action`."""

    __tablename__ = "iam_permission"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        TABLE_OPTIONS,
    )

    name: Mapped[str] = mapped_column(binary_string(96))
    resource: Mapped[str] = mapped_column(binary_string(48))
    action: Mapped[str] = mapped_column(binary_string(48))
    description: Mapped[str] = mapped_column(binary_string(255), default="")


class IAMRolePermission(TenantScoped, Base):
    """A permission held by a role, in a scope."""

    __tablename__ = "iam_role_permission"
    __table_args__ = (
        UniqueConstraint("tenant_id", "role_id", "permission_id", "scope"),
        ForeignKeyConstraint(["tenant_id", "role_id"], ["iam_role.tenant_id", "iam_role.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "permission_id"], ["iam_permission.tenant_id", "iam_permission.id"]
        ),
        TABLE_OPTIONS,
    )

    role_id: Mapped[UUID] = mapped_column(GUID())
    permission_id: Mapped[UUID] = mapped_column(GUID())
    scope: Mapped[str] = mapped_column(binary_string(16), default="tenant")
    conditions: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class IAMUserRole(TenantScoped, Base):
    """A role held by a user, in a scope, perhaps until a time.

    `connection_id` names the connection whose mapping rules gave it, and may take it away.
    """

    __tablename__ = "iam_user_role"
    __table_args__ = (
        UniqueConstraint("tenant_id", "user_id", "role_id"),
        Index("ix_iam_user_role_role", "tenant_id", "role_id"),
        ForeignKeyConstraint(["tenant_id", "role_id"], ["iam_role.tenant_id", "iam_role.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["iam_user_account.tenant_id", "iam_user_account.id"]
        ),
        ForeignKeyConstraint(
            ["tenant_id", "organization_id"],
            ["iam_organization.tenant_id", "iam_organization.id"],
        ),
        TABLE_OPTIONS,
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    role_id: Mapped[UUID] = mapped_column(GUID())
    scope: Mapped[str] = mapped_column(binary_string(16), default="tenant")
    organization_id: Mapped[UUID | None] = mapped_column(GUID())
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    connection_id: Mapped[UUID | None] = mapped_column(GUID())
    assigned_by: Mapped[UUID | None] = mapped_column(GUID())
    assigned_at: Mapped[datetime] = mapped_column(UTCDateTime())
