"""Tables of single sign-on: connections, identities, rules, flows, and sessions at providers."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Boolean, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ...core.db import TABLE_OPTIONS, Base, TenantScoped
from ...core.types import GUID, Digest, UTCDateTime, binary_string, long_text


def _of_connection(*constraints: Any) -> tuple[Any, ...]:
    """Add the tenant-qualified foreign key to the connection (its rows go with it)."""
    key = ForeignKeyConstraint(
        ["tenant_id", "connection_id"],
        ["iam_sso_connection.tenant_id", "iam_sso_connection.id"],
        ondelete="CASCADE",
    )
    return (*constraints, key, TABLE_OPTIONS)


def _of_user() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", "user_id"], ["iam_user_account.tenant_id", "iam_user_account.id"]
    )


class IAMSsoConnection(TenantScoped, Base):
    """A tenant's connection to a provider. `from_settings`: what is null here comes from those.

    `endpoints` overrides what discovery or the provider's defaults say; `options` holds what
    only one kind of provider knows (tenants of Entra ID, team and key of Apple).
    """

    __tablename__ = "iam_sso_connection"
    __table_args__ = (
        UniqueConstraint("tenant_id", "slug"),
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        TABLE_OPTIONS,
    )

    slug: Mapped[str] = mapped_column(binary_string(64))
    provider: Mapped[str] = mapped_column(binary_string(32))
    name: Mapped[str] = mapped_column(binary_string(80))
    enabled: Mapped[bool] = mapped_column(Boolean, default=False)
    is_default: Mapped[bool] = mapped_column(Boolean, default=False)
    from_settings: Mapped[bool] = mapped_column(Boolean, default=False)
    client_id: Mapped[str | None] = mapped_column(binary_string(255))
    client_secret: Mapped[str | None] = mapped_column(long_text())
    discovery_url: Mapped[str | None] = mapped_column(binary_string(500))
    endpoints: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    scopes: Mapped[list[str]] = mapped_column(JSON, default=list)
    options: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    jit: Mapped[str] = mapped_column(binary_string(16), default="off")
    trusts_mfa: Mapped[bool] = mapped_column(Boolean, default=False)
    allow_private: Mapped[bool] = mapped_column(Boolean, default=False)
    end_sessions: Mapped[bool] = mapped_column(Boolean, default=True)
    provider_logout: Mapped[bool] = mapped_column(Boolean, default=False)
    secret_changed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    created_by: Mapped[UUID | None] = mapped_column(GUID())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMSsoRoleRule(TenantScoped, Base):
    """A claim's value that gives a role while it lasts.

    `ceiling` is what the role held when the rule was written: a role that has grown since
    is not given until somebody who holds the rest writes the rule again.
    """

    __tablename__ = "iam_sso_role_rule"
    __table_args__ = _of_connection(
        UniqueConstraint("tenant_id", "connection_id", "claim", "value", "role_id"),
        ForeignKeyConstraint(
            ["tenant_id", "role_id"],
            ["iam_role.tenant_id", "iam_role.id"],
            ondelete="CASCADE",
        ),
    )

    connection_id: Mapped[UUID] = mapped_column(GUID())
    claim: Mapped[str] = mapped_column(binary_string(120))
    value: Mapped[str] = mapped_column(binary_string(255))
    role_id: Mapped[UUID] = mapped_column(GUID())
    ceiling: Mapped[list[Any]] = mapped_column(JSON, default=list)
    written_by: Mapped[UUID | None] = mapped_column(GUID())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMUserIdentity(TenantScoped, Base):
    """Who a person is at a provider: issuer and subject, never an address (AT-192, AT-196).

    `identity_digest` is over connection, issuer and subject.
    """

    __tablename__ = "iam_user_identity"
    __table_args__ = _of_connection(
        UniqueConstraint("tenant_id", "identity_digest"),
        UniqueConstraint("tenant_id", "id"),
        Index("ix_iam_user_identity_user", "tenant_id", "user_id"),
        _of_user(),
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    connection_id: Mapped[UUID] = mapped_column(GUID())
    issuer: Mapped[str] = mapped_column(binary_string(500))
    subject: Mapped[str] = mapped_column(binary_string(255))
    identity_digest: Mapped[bytes] = mapped_column(Digest())
    email: Mapped[str | None] = mapped_column(binary_string(254))
    email_verified: Mapped[bool] = mapped_column(Boolean, default=False)
    label: Mapped[str] = mapped_column(binary_string(120), default="")
    linked_at: Mapped[datetime] = mapped_column(UTCDateTime())
    linked_by: Mapped[str] = mapped_column(binary_string(16))
    last_login_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


class IAMSsoFlow(TenantScoped, Base):
    """One trip to a provider and back: state by digest, used up once, bound to a browser.

    `code_verifier` and `answer` (a form post that arrived, an identity that waits for a
    local sign-in, the steps of a test) are encrypted.
    """

    __tablename__ = "iam_sso_flow"
    __table_args__ = _of_connection(
        UniqueConstraint("state_digest"),
        Index("ix_iam_sso_flow_browser", "tenant_id", "browser_digest"),
        Index("ix_iam_sso_flow_user", "tenant_id", "user_id"),
        Index("ix_iam_sso_flow_expires_at", "expires_at"),
        _of_user(),
    )

    state_digest: Mapped[bytes] = mapped_column(Digest())
    browser_digest: Mapped[bytes] = mapped_column(Digest())
    connection_id: Mapped[UUID] = mapped_column(GUID())
    purpose: Mapped[str] = mapped_column(binary_string(16))
    step_up_purpose: Mapped[str | None] = mapped_column(binary_string(48))
    user_id: Mapped[UUID | None] = mapped_column(GUID())
    session_id: Mapped[UUID | None] = mapped_column(GUID())
    nonce_digest: Mapped[bytes] = mapped_column(Digest())
    code_verifier: Mapped[str] = mapped_column(long_text())
    answer: Mapped[str | None] = mapped_column(long_text())
    answered_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    remember: Mapped[bool] = mapped_column(Boolean, default=False)
    next_url: Mapped[str | None] = mapped_column(binary_string(1024))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime())
    consumed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


class IAMSsoSession(TenantScoped, Base):
    """What a provider knows of a session of ours, for logout on either side.

    `sid_digest` is over connection and the provider's `sid`; `id_token` is encrypted.
    """

    __tablename__ = "iam_sso_session"
    __table_args__ = _of_connection(
        UniqueConstraint("tenant_id", "session_id"),
        Index("ix_iam_sso_session_identity", "tenant_id", "identity_id"),
        Index("ix_iam_sso_session_sid", "tenant_id", "sid_digest"),
        Index("ix_iam_sso_session_user", "tenant_id", "user_id"),
        ForeignKeyConstraint(
            ["tenant_id", "session_id"],
            ["iam_auth_session.tenant_id", "iam_auth_session.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "identity_id"],
            ["iam_user_identity.tenant_id", "iam_user_identity.id"],
            ondelete="CASCADE",
        ),
        _of_user(),
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    session_id: Mapped[UUID] = mapped_column(GUID())
    identity_id: Mapped[UUID] = mapped_column(GUID())
    connection_id: Mapped[UUID] = mapped_column(GUID())
    sid_digest: Mapped[bytes | None] = mapped_column(Digest())
    id_token: Mapped[str | None] = mapped_column(long_text())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMSsoLogoutToken(TenantScoped, Base):
    """A logout token that was received, so that none counts twice (AT-203)."""

    __tablename__ = "iam_sso_logout_token"
    __table_args__ = _of_connection(
        UniqueConstraint("tenant_id", "token_digest"),
        Index("ix_iam_sso_logout_token_expires_at", "expires_at"),
    )

    connection_id: Mapped[UUID] = mapped_column(GUID())
    token_digest: Mapped[bytes] = mapped_column(Digest())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime())
