"""Identity tables; re-exports every `iam_*` model, so one import yields the catalogue."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKeyConstraint,
    Index,
    Integer,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column, object_session

from ..audit.models import IAMAuthLog
from ..audit.personal.models_personal import IAMSubjectKey
from ..audit.sealing.models_seal import (
    IAMAuditCheckpoint,
    IAMAuditHead,
    IAMAuditKey,
    IAMAuditNode,
    IAMAuditPrune,
    IAMAuditSeal,
)
from ..authz.models import IAMPermission, IAMRole, IAMRolePermission, IAMUserRole
from ..core.db import TABLE_OPTIONS, Base, TenantScoped
from ..core.types import GUID, Digest, UTCDateTime, binary_string, long_text, octets
from ..notify.models import IAMOutbox
from ..risk.models import IAMDevice, IAMThrottle
from ..tenancy.models import IAMAccessContext, IAMDomain, IAMOrganization, IAMTenant
from .invitations.models_invitations import IAMInvitation
from .sso.models_sso import (
    IAMSsoConnection,
    IAMSsoFlow,
    IAMSsoLogoutToken,
    IAMSsoRoleRule,
    IAMSsoSession,
    IAMUserIdentity,
)

_USER_KEY = ["iam_user_account.tenant_id", "iam_user_account.id"]


def _owned_by_user(*more: Any) -> tuple[Any, ...]:
    return (ForeignKeyConstraint(["tenant_id", "user_id"], _USER_KEY), *more, TABLE_OPTIONS)


class IAMUserAccount(TenantScoped, Base):
    """A person, or a machine, that can be signed in."""

    __tablename__ = "iam_user_account"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "username_canonical"),
        UniqueConstraint("tenant_id", "email_canonical"),
        Index("ix_iam_user_account_status", "tenant_id", "status", "id"),
        ForeignKeyConstraint(["tenant_id"], ["iam_tenant.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "parent_id"], ["iam_organization.tenant_id", "iam_organization.id"]
        ),
        TABLE_OPTIONS,
    )

    username: Mapped[str] = mapped_column(binary_string(150))
    username_canonical: Mapped[str] = mapped_column(binary_string(190))
    email: Mapped[str | None] = mapped_column(binary_string(254))
    email_canonical: Mapped[str | None] = mapped_column(binary_string(254))
    email_verified: Mapped[bool] = mapped_column(Boolean, default=False)
    phone_number: Mapped[str | None] = mapped_column(binary_string(20))
    phone_verified: Mapped[bool] = mapped_column(Boolean, default=False)
    first_name: Mapped[str] = mapped_column(binary_string(80), default="")
    last_name: Mapped[str] = mapped_column(binary_string(80), default="")
    display_name: Mapped[str] = mapped_column(binary_string(120), default="")
    picture_url: Mapped[str | None] = mapped_column(binary_string(500))
    language: Mapped[str | None] = mapped_column(binary_string(16))
    timezone: Mapped[str | None] = mapped_column(binary_string(64))
    parent_id: Mapped[UUID | None] = mapped_column(GUID())
    actor_type: Mapped[str] = mapped_column(binary_string(24), default="end_user")
    status: Mapped[str] = mapped_column(binary_string(24))
    password_hash: Mapped[str | None] = mapped_column(binary_string(255))
    password_changed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    authz_version: Mapped[int] = mapped_column(Integer, default=1)
    mfa_grace_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    mfa_enrolment_due: Mapped[bool] = mapped_column(Boolean, default=False, server_default="0")
    webauthn_handle: Mapped[bytes | None] = mapped_column(octets(64))
    last_login_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime())

    @property
    def label(self) -> str:
        """Return the name to show: display name, full name, or username."""
        return self.display_name or f"{self.first_name} {self.last_name}".strip() or self.username

    def has_active_mfa(self) -> bool:
        """Return whether a confirmed second factor is enrolled."""
        found = self.db().scalar(
            select(IAMMfaMethod.id)
            .where(IAMMfaMethod.user_id == self.id, IAMMfaMethod.confirmed_at.is_not(None))
            .limit(1)
        )
        return found is not None

    def db(self) -> Session:
        """Return the session this account was loaded in."""
        bound = object_session(self)
        if bound is None:
            raise RuntimeError("the account is detached from its session")
        return bound


class IAMAuthSession(TenantScoped, Base):
    """A browser session, or a sign-in that is not complete yet (state `pending`)."""

    __tablename__ = "iam_auth_session"
    __table_args__ = _owned_by_user(
        UniqueConstraint("token_digest"),
        UniqueConstraint("tenant_id", "id"),
        Index("ix_iam_auth_session_user", "tenant_id", "user_id", "state", "id"),
        Index("ix_iam_auth_session_state", "tenant_id", "state", "id"),
        Index("ix_iam_auth_session_expires_at", "expires_at"),
        ForeignKeyConstraint(["tenant_id", "device_id"], ["iam_device.tenant_id", "iam_device.id"]),
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    device_id: Mapped[UUID | None] = mapped_column(GUID())
    token_digest: Mapped[bytes] = mapped_column(Digest())
    state: Mapped[str] = mapped_column(binary_string(16))
    stage: Mapped[str] = mapped_column(binary_string(16))
    access_context_id: Mapped[UUID | None] = mapped_column(GUID())
    remember: Mapped[bool] = mapped_column(Boolean, default=False)
    next_url: Mapped[str | None] = mapped_column(binary_string(1024))
    amr: Mapped[list[str]] = mapped_column(JSON, default=list)
    acr: Mapped[str] = mapped_column(binary_string(16))
    proofs: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    login_time: Mapped[datetime] = mapped_column(UTCDateTime())
    auth_time: Mapped[datetime] = mapped_column(UTCDateTime())
    mfa_time: Mapped[datetime | None] = mapped_column(UTCDateTime())
    last_activity_at: Mapped[datetime] = mapped_column(UTCDateTime())
    idle_seconds: Mapped[int] = mapped_column(Integer)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime())
    logout_time: Mapped[datetime | None] = mapped_column(UTCDateTime())
    revoke_reason: Mapped[str | None] = mapped_column(binary_string(32))
    ip: Mapped[str | None] = mapped_column(binary_string(45))
    user_agent: Mapped[str | None] = mapped_column(binary_string(400))


class IAMMfaMethod(TenantScoped, Base):
    """An enrolled second factor; it counts once `confirmed_at` is set.

    Until then it belongs to the session that began the enrolment: `session_id`, cleared
    once confirmed.
    """

    __tablename__ = "iam_mfa_method"
    __table_args__ = _owned_by_user(
        UniqueConstraint("tenant_id", "id"),
        Index("ix_iam_mfa_method_user", "tenant_id", "user_id", "confirmed_at"),
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    method: Mapped[str] = mapped_column(binary_string(24))
    name: Mapped[str] = mapped_column(binary_string(80))
    secret: Mapped[str | None] = mapped_column(long_text())
    destination: Mapped[str | None] = mapped_column(binary_string(254))
    session_id: Mapped[UUID | None] = mapped_column(GUID())
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    confirmed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


class IAMMfaChallenge(TenantScoped, Base):
    """A request for a second factor: user, session, purpose and, where sent, a code."""

    __tablename__ = "iam_mfa_challenge"
    __table_args__ = _owned_by_user(
        Index("ix_iam_mfa_challenge_user", "tenant_id", "user_id", "purpose", "consumed_at"),
        Index("ix_iam_mfa_challenge_expires_at", "expires_at"),
        ForeignKeyConstraint(
            ["tenant_id", "mfa_method_id"],
            ["iam_mfa_method.tenant_id", "iam_mfa_method.id"],
            ondelete="CASCADE",
        ),
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    session_id: Mapped[UUID | None] = mapped_column(GUID())
    mfa_method_id: Mapped[UUID | None] = mapped_column(GUID())
    method: Mapped[str] = mapped_column(binary_string(24))
    purpose: Mapped[str] = mapped_column(binary_string(48))
    code_digest: Mapped[bytes | None] = mapped_column(Digest())
    outbox_id: Mapped[UUID | None] = mapped_column(GUID())
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime())
    consumed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    superseded_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


class IAMWebauthnCredential(TenantScoped, Base):
    """The public key of a passkey or security key; its factor row carries name and dates.

    `credential_digest` is unique over all tenants: one credential belongs to one account
    (WebAuthn Level 3, 7.1 step 26). `user_verified` is the specification's uvInitialized.
    """

    __tablename__ = "iam_webauthn_credential"
    __table_args__ = _owned_by_user(
        UniqueConstraint("credential_digest"),
        UniqueConstraint("tenant_id", "mfa_method_id"),
        Index("ix_iam_webauthn_credential_user", "tenant_id", "user_id"),
        ForeignKeyConstraint(
            ["tenant_id", "mfa_method_id"],
            ["iam_mfa_method.tenant_id", "iam_mfa_method.id"],
            ondelete="CASCADE",
        ),
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    mfa_method_id: Mapped[UUID] = mapped_column(GUID())
    credential_digest: Mapped[bytes] = mapped_column(Digest())
    credential_id: Mapped[bytes] = mapped_column(octets(1023))
    public_key: Mapped[bytes] = mapped_column(octets(4096))
    algorithm: Mapped[int] = mapped_column(Integer)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    aaguid: Mapped[UUID] = mapped_column(GUID())
    transports: Mapped[list[str]] = mapped_column(JSON, default=list)
    discoverable: Mapped[bool | None] = mapped_column(Boolean)
    user_verified: Mapped[bool] = mapped_column(Boolean)
    backup_eligible: Mapped[bool] = mapped_column(Boolean)
    backup_state: Mapped[bool] = mapped_column(Boolean)
    attestation_format: Mapped[str] = mapped_column(binary_string(32))
    attestation_trusted: Mapped[bool] = mapped_column(Boolean, default=False)
    clone_suspected_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


class IAMWebauthnChallenge(TenantScoped, Base):
    """A challenge of one WebAuthn ceremony, by digest: used up once, before anything is checked.

    Bound to the browser, and to account, session and purpose where those are known.
    """

    __tablename__ = "iam_webauthn_challenge"
    __table_args__ = _owned_by_user(
        UniqueConstraint("challenge_digest"),
        Index("ix_iam_webauthn_challenge_browser", "tenant_id", "browser_digest"),
        Index("ix_iam_webauthn_challenge_user", "tenant_id", "user_id"),
        Index("ix_iam_webauthn_challenge_expires_at", "expires_at"),
    )

    challenge_digest: Mapped[bytes] = mapped_column(Digest())
    browser_digest: Mapped[bytes] = mapped_column(Digest())
    user_id: Mapped[UUID | None] = mapped_column(GUID())
    session_id: Mapped[UUID | None] = mapped_column(GUID())
    purpose: Mapped[str] = mapped_column(binary_string(48))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime())
    consumed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


class IAMRecoveryRequest(TenantScoped, Base):
    """A person's way back in once every second factor is lost (I1); only digests of its links."""

    __tablename__ = "iam_recovery_request"
    __table_args__ = _owned_by_user(
        UniqueConstraint("cancel_digest"),
        UniqueConstraint("continue_digest"),
        Index("ix_iam_recovery_request_user", "tenant_id", "user_id", "status"),
        Index("ix_iam_recovery_request_status", "tenant_id", "status", "id"),
        Index("ix_iam_recovery_request_expires_at", "expires_at"),
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    status: Mapped[str] = mapped_column(binary_string(16))
    opened_by: Mapped[UUID | None] = mapped_column(GUID())
    reason: Mapped[str] = mapped_column(binary_string(200), default="")
    email_proved_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    phone_proved_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    decided_by: Mapped[UUID | None] = mapped_column(GUID())
    decided_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    decision_reason: Mapped[str] = mapped_column(binary_string(200), default="")
    cancel_digest: Mapped[bytes | None] = mapped_column(Digest())
    continue_digest: Mapped[bytes | None] = mapped_column(Digest())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    available_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime())
    closed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    ip: Mapped[str | None] = mapped_column(binary_string(45))
    user_agent: Mapped[str | None] = mapped_column(binary_string(400))


class IAMRecoveryCode(TenantScoped, Base):
    """A single-use recovery code, kept as a keyed digest.

    `digest_key` is the key of the person's set, encrypted: rotating the encryption
    key re-encrypts it, and the printed codes go on working.
    """

    __tablename__ = "iam_recovery_code"
    __table_args__ = _owned_by_user(UniqueConstraint("tenant_id", "user_id", "code_digest"))

    user_id: Mapped[UUID] = mapped_column(GUID())
    code_digest: Mapped[bytes] = mapped_column(Digest())
    digest_key: Mapped[str] = mapped_column(long_text())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    confirmed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    used_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


class IAMPasswordHistory(TenantScoped, Base):
    """A password hash that was in use before, so that it is not taken again."""

    __tablename__ = "iam_password_history"
    __table_args__ = _owned_by_user(
        Index("ix_iam_password_history_user", "tenant_id", "user_id", "id")
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    password_hash: Mapped[str] = mapped_column(binary_string(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())


class IAMActionToken(TenantScoped, Base):
    """A single-use link, code, or both, sent to a person; only digests are kept.

    `browser_digest` and `session_id` bind it to where it was asked for; `payload` is what
    it will change (a new address), encrypted; `attempts` counts tries at the code.
    """

    __tablename__ = "iam_action_token"
    __table_args__ = _owned_by_user(
        UniqueConstraint("token_digest"),
        Index("ix_iam_action_token_user", "tenant_id", "user_id", "purpose"),
        Index("ix_iam_action_token_expires_at", "expires_at"),
    )

    user_id: Mapped[UUID] = mapped_column(GUID())
    purpose: Mapped[str] = mapped_column(binary_string(32))
    token_digest: Mapped[bytes] = mapped_column(Digest())
    code_digest: Mapped[bytes | None] = mapped_column(Digest())
    browser_digest: Mapped[bytes | None] = mapped_column(Digest())
    session_id: Mapped[UUID | None] = mapped_column(GUID())
    payload: Mapped[str | None] = mapped_column(long_text())
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime())
    consumed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


__all__ = [
    "IAMAccessContext",
    "IAMActionToken",
    "IAMAuditCheckpoint",
    "IAMAuditHead",
    "IAMAuditKey",
    "IAMAuditNode",
    "IAMAuditPrune",
    "IAMAuditSeal",
    "IAMAuthLog",
    "IAMAuthSession",
    "IAMDevice",
    "IAMDomain",
    "IAMInvitation",
    "IAMMfaChallenge",
    "IAMMfaMethod",
    "IAMOrganization",
    "IAMOutbox",
    "IAMPasswordHistory",
    "IAMPermission",
    "IAMRecoveryCode",
    "IAMRecoveryRequest",
    "IAMRole",
    "IAMRolePermission",
    "IAMSsoConnection",
    "IAMSsoFlow",
    "IAMSsoLogoutToken",
    "IAMSsoRoleRule",
    "IAMSsoSession",
    "IAMSubjectKey",
    "IAMTenant",
    "IAMThrottle",
    "IAMUserAccount",
    "IAMUserIdentity",
    "IAMUserRole",
    "IAMWebauthnChallenge",
    "IAMWebauthnCredential",
]
