"""Every table of the first release.

Revision: 0001_foundation
Revises: None
Written: 2026-11-21
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001_foundation"
down_revision = None
branch_labels = None
depends_on = None

INNODB: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_bin",
    "mysql_row_format": "DYNAMIC",
}
TRIGGERS = {
    "mysql": [
        (
            "CREATE TRIGGER iam_auth_log_no_update BEFORE UPDATE ON iam_auth_log FOR EACH ROW"
            " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_auth_log is append-only'"
        ),
        (
            "CREATE TRIGGER iam_auth_log_no_delete BEFORE DELETE ON iam_auth_log FOR EACH ROW"
            " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_auth_log is append-only'"
        ),
    ],
    "sqlite": [
        (
            "CREATE TRIGGER iam_auth_log_no_update BEFORE UPDATE ON iam_auth_log BEGIN SELECT"
            " RAISE(ABORT, 'iam_auth_log is append-only'); END"
        ),
        (
            "CREATE TRIGGER iam_auth_log_no_delete BEFORE DELETE ON iam_auth_log BEGIN SELECT"
            " RAISE(ABORT, 'iam_auth_log is append-only'); END"
        ),
        (
            "CREATE TRIGGER iam_auth_log_no_replace BEFORE INSERT ON iam_auth_log WHEN EXISTS"
            " (SELECT 1 FROM iam_auth_log WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, "
            "'iam_auth_log is append-only'); END"
        ),
    ],
}


def guid() -> sa.types.TypeEngine[Any]:
    return sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql")


def digest() -> sa.types.TypeEngine[Any]:
    return sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def moment() -> sa.types.TypeEngine[Any]:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")


def string(length: int) -> sa.types.TypeEngine[Any]:
    kind = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_0900_bin")
    return sa.String(length).with_variant(kind, "mysql")


def long_text() -> sa.types.TypeEngine[Any]:
    kind = mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_0900_bin")
    return sa.Text().with_variant(kind, "mysql")


def upgrade() -> None:
    op.create_table(
        "iam_auth_log",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("action", string(64), nullable=False),
        sa.Column("severity", string(16), nullable=False),
        sa.Column("status", string(16), nullable=False),
        sa.Column("actor_type", string(32), nullable=False),
        sa.Column("actor_id", guid(), nullable=True),
        sa.Column("on_behalf_of_id", guid(), nullable=True),
        sa.Column("resource_type", string(32), nullable=True),
        sa.Column("resource_id", guid(), nullable=True),
        sa.Column("subject_id", guid(), nullable=True),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("ip", string(45), nullable=True),
        sa.Column("user_agent", string(400), nullable=True),
        sa.Column("request_id", string(64), nullable=True),
        sa.Column("session_hash", string(64), nullable=True),
        sa.Column("error", string(64), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("encoding_version", sa.SmallInteger(), nullable=False),
        sa.Column("occurred_at", moment(), nullable=False),
        sa.Column("recorded_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_auth_log")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_auth_log_action", "iam_auth_log", ["tenant_id", "action", "id"], unique=False
    )
    op.create_index(
        "ix_iam_auth_log_actor", "iam_auth_log", ["tenant_id", "actor_id", "id"], unique=False
    )
    op.create_index("ix_iam_auth_log_ip", "iam_auth_log", ["tenant_id", "ip", "id"], unique=False)
    op.create_index(
        "ix_iam_auth_log_resource", "iam_auth_log", ["tenant_id", "resource_id", "id"], unique=False
    )
    op.create_index(
        "ix_iam_auth_log_severity", "iam_auth_log", ["tenant_id", "severity", "id"], unique=False
    )
    op.create_index(
        "ix_iam_auth_log_status", "iam_auth_log", ["tenant_id", "status", "id"], unique=False
    )
    op.create_index(
        "ix_iam_auth_log_tenant_id_id", "iam_auth_log", ["tenant_id", "id"], unique=False
    )
    op.create_table(
        "iam_outbox",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("channel", string(16), nullable=False),
        sa.Column("purpose", string(48), nullable=False),
        sa.Column("payload", long_text(), nullable=True),
        sa.Column("recipient_digest", digest(), nullable=False),
        sa.Column("range_digest", digest(), nullable=True),
        sa.Column("country", string(3), nullable=True),
        sa.Column("status", string(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", moment(), nullable=False),
        sa.Column("lease_until", moment(), nullable=True),
        sa.Column("expires_at", moment(), nullable=True),
        sa.Column("last_error", string(200), nullable=True),
        sa.Column("provider", string(32), nullable=True),
        sa.Column("provider_message_id", string(128), nullable=True),
        sa.Column("idempotency_key", string(100), nullable=True),
        sa.Column("user_id", guid(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("sent_at", moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_outbox")),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name=op.f("uq_iam_outbox_tenant_id_idempotency_key")
        ),
        **INNODB,
    )
    op.create_index("ix_iam_outbox_caps", "iam_outbox", ["tenant_id", "created_at"], unique=False)
    op.create_index(
        "ix_iam_outbox_drain", "iam_outbox", ["status", "next_attempt_at"], unique=False
    )
    op.create_index(
        "ix_iam_outbox_range", "iam_outbox", ["range_digest", "created_at"], unique=False
    )
    op.create_index(
        "ix_iam_outbox_recipient", "iam_outbox", ["recipient_digest", "created_at"], unique=False
    )
    op.create_index("ix_iam_outbox_user", "iam_outbox", ["tenant_id", "user_id"], unique=False)
    op.create_table(
        "iam_tenant",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("parent_id", guid(), nullable=True),
        sa.Column("type", string(16), nullable=False),
        sa.Column("slug", string(63), nullable=False),
        sa.Column("name", string(120), nullable=False),
        sa.Column("status", string(16), nullable=False),
        sa.Column("authz_version", sa.Integer(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.CheckConstraint("tenant_id = id", name=op.f("ck_iam_tenant_own_tenant")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["iam_tenant.id"], name=op.f("fk_iam_tenant_parent_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_tenant")),
        sa.UniqueConstraint("slug", name=op.f("uq_iam_tenant_slug")),
        **INNODB,
    )
    op.create_table(
        "iam_throttle",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("scope", string(48), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("window_ends_at", moment(), nullable=True),
        sa.Column("blocked_until", moment(), nullable=True),
        sa.Column("updated_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_throttle")),
        **INNODB,
    )
    op.create_index("ix_iam_throttle_updated_at", "iam_throttle", ["updated_at"], unique=False)
    op.create_table(
        "iam_organization",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("parent_id", guid(), nullable=True),
        sa.Column("type", string(16), nullable=False),
        sa.Column("name", string(120), nullable=False),
        sa.Column("status", string(16), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "parent_id"],
            ["iam_organization.tenant_id", "iam_organization.id"],
            name=op.f("fk_iam_organization_tenant_id_parent_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_organization_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_organization")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_organization_tenant_id_id")),
        **INNODB,
    )
    op.create_table(
        "iam_permission",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("name", string(96), nullable=False),
        sa.Column("resource", string(48), nullable=False),
        sa.Column("action", string(48), nullable=False),
        sa.Column("description", string(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_permission_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_permission")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_permission_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_iam_permission_tenant_id_name")),
        **INNODB,
    )
    op.create_table(
        "iam_role",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("name", string(64), nullable=False),
        sa.Column("description", string(255), nullable=False),
        sa.Column("parent_id", guid(), nullable=True),
        sa.Column("is_system", sa.Boolean(), nullable=False),
        sa.Column("mfa_policy", string(16), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "parent_id"],
            ["iam_role.tenant_id", "iam_role.id"],
            name=op.f("fk_iam_role_tenant_id_parent_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_role_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_role")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_role_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_iam_role_tenant_id_name")),
        **INNODB,
    )
    op.create_table(
        "iam_role_permission",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("role_id", guid(), nullable=False),
        sa.Column("permission_id", guid(), nullable=False),
        sa.Column("scope", string(16), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "permission_id"],
            ["iam_permission.tenant_id", "iam_permission.id"],
            name=op.f("fk_iam_role_permission_tenant_id_permission_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "role_id"],
            ["iam_role.tenant_id", "iam_role.id"],
            name=op.f("fk_iam_role_permission_tenant_id_role_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_role_permission")),
        sa.UniqueConstraint(
            "tenant_id",
            "role_id",
            "permission_id",
            "scope",
            name=op.f("uq_iam_role_permission_tenant_id_role_id_permission_id_scope"),
        ),
        **INNODB,
    )
    op.create_table(
        "iam_user_account",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("username", string(150), nullable=False),
        sa.Column("username_canonical", string(190), nullable=False),
        sa.Column("email", string(254), nullable=True),
        sa.Column("email_canonical", string(254), nullable=True),
        sa.Column("email_verified", sa.Boolean(), nullable=False),
        sa.Column("phone_number", string(20), nullable=True),
        sa.Column("phone_verified", sa.Boolean(), nullable=False),
        sa.Column("first_name", string(80), nullable=False),
        sa.Column("last_name", string(80), nullable=False),
        sa.Column("display_name", string(120), nullable=False),
        sa.Column("picture_url", string(500), nullable=True),
        sa.Column("language", string(16), nullable=True),
        sa.Column("timezone", string(64), nullable=True),
        sa.Column("parent_id", guid(), nullable=True),
        sa.Column("actor_type", string(24), nullable=False),
        sa.Column("status", string(24), nullable=False),
        sa.Column("password_hash", string(255), nullable=True),
        sa.Column("password_changed_at", moment(), nullable=True),
        sa.Column("authz_version", sa.Integer(), nullable=False),
        sa.Column("mfa_grace_until", moment(), nullable=True),
        sa.Column("last_login_at", moment(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("updated_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "parent_id"],
            ["iam_organization.tenant_id", "iam_organization.id"],
            name=op.f("fk_iam_user_account_tenant_id_parent_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_user_account_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_user_account")),
        sa.UniqueConstraint(
            "tenant_id",
            "email_canonical",
            name=op.f("uq_iam_user_account_tenant_id_email_canonical"),
        ),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_user_account_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id",
            "username_canonical",
            name=op.f("uq_iam_user_account_tenant_id_username_canonical"),
        ),
        **INNODB,
    )
    op.create_index(
        "ix_iam_user_account_status",
        "iam_user_account",
        ["tenant_id", "status", "id"],
        unique=False,
    )
    op.create_table(
        "iam_action_token",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("purpose", string(32), nullable=False),
        sa.Column("token_digest", digest(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.Column("consumed_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_action_token_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_action_token")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_iam_action_token_token_digest")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_action_token_expires_at", "iam_action_token", ["expires_at"], unique=False
    )
    op.create_index(
        "ix_iam_action_token_user",
        "iam_action_token",
        ["tenant_id", "user_id", "purpose"],
        unique=False,
    )
    op.create_table(
        "iam_device",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("browser_digest", digest(), nullable=False),
        sa.Column("name", string(80), nullable=False),
        sa.Column("browser", string(60), nullable=False),
        sa.Column("os", string(60), nullable=False),
        sa.Column("kind", string(16), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("first_seen_at", moment(), nullable=False),
        sa.Column("last_seen_at", moment(), nullable=False),
        sa.Column("last_ip", string(45), nullable=True),
        sa.Column("trusted_until", moment(), nullable=True),
        sa.Column("revoked_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_device_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_device")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_device_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id",
            "user_id",
            "browser_digest",
            name=op.f("uq_iam_device_tenant_id_user_id_browser_digest"),
        ),
        **INNODB,
    )
    op.create_table(
        "iam_mfa_method",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("method", string(24), nullable=False),
        sa.Column("name", string(80), nullable=False),
        sa.Column("secret", long_text(), nullable=True),
        sa.Column("destination", string(254), nullable=True),
        sa.Column("session_id", guid(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("confirmed_at", moment(), nullable=True),
        sa.Column("last_used_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_mfa_method_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_mfa_method")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_mfa_method_tenant_id_id")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_mfa_method_user",
        "iam_mfa_method",
        ["tenant_id", "user_id", "confirmed_at"],
        unique=False,
    )
    op.create_table(
        "iam_password_history",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("password_hash", string(255), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_password_history_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_password_history")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_password_history_user",
        "iam_password_history",
        ["tenant_id", "user_id", "id"],
        unique=False,
    )
    op.create_table(
        "iam_recovery_code",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("code_digest", digest(), nullable=False),
        sa.Column("digest_key", long_text(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("confirmed_at", moment(), nullable=True),
        sa.Column("used_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_recovery_code_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_recovery_code")),
        sa.UniqueConstraint(
            "tenant_id",
            "user_id",
            "code_digest",
            name=op.f("uq_iam_recovery_code_tenant_id_user_id_code_digest"),
        ),
        **INNODB,
    )
    op.create_table(
        "iam_user_role",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("role_id", guid(), nullable=False),
        sa.Column("scope", string(16), nullable=False),
        sa.Column("organization_id", guid(), nullable=True),
        sa.Column("expires_at", moment(), nullable=True),
        sa.Column("assigned_by", guid(), nullable=True),
        sa.Column("assigned_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "organization_id"],
            ["iam_organization.tenant_id", "iam_organization.id"],
            name=op.f("fk_iam_user_role_tenant_id_organization_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "role_id"],
            ["iam_role.tenant_id", "iam_role.id"],
            name=op.f("fk_iam_user_role_tenant_id_role_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_user_role_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_user_role")),
        sa.UniqueConstraint(
            "tenant_id",
            "user_id",
            "role_id",
            name=op.f("uq_iam_user_role_tenant_id_user_id_role_id"),
        ),
        **INNODB,
    )
    op.create_index(
        "ix_iam_user_role_role", "iam_user_role", ["tenant_id", "role_id"], unique=False
    )
    op.create_table(
        "iam_auth_session",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("device_id", guid(), nullable=True),
        sa.Column("token_digest", digest(), nullable=False),
        sa.Column("state", string(16), nullable=False),
        sa.Column("stage", string(16), nullable=False),
        sa.Column("remember", sa.Boolean(), nullable=False),
        sa.Column("next_url", string(1024), nullable=True),
        sa.Column("amr", sa.JSON(), nullable=False),
        sa.Column("acr", string(16), nullable=False),
        sa.Column("proofs", sa.JSON(), nullable=False),
        sa.Column("login_time", moment(), nullable=False),
        sa.Column("auth_time", moment(), nullable=False),
        sa.Column("mfa_time", moment(), nullable=True),
        sa.Column("last_activity_at", moment(), nullable=False),
        sa.Column("idle_seconds", sa.Integer(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.Column("logout_time", moment(), nullable=True),
        sa.Column("revoke_reason", string(32), nullable=True),
        sa.Column("ip", string(45), nullable=True),
        sa.Column("user_agent", string(400), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "device_id"],
            ["iam_device.tenant_id", "iam_device.id"],
            name=op.f("fk_iam_auth_session_tenant_id_device_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_auth_session_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_auth_session")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_auth_session_tenant_id_id")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_iam_auth_session_token_digest")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_auth_session_expires_at", "iam_auth_session", ["expires_at"], unique=False
    )
    op.create_index(
        "ix_iam_auth_session_state", "iam_auth_session", ["tenant_id", "state", "id"], unique=False
    )
    op.create_index(
        "ix_iam_auth_session_user",
        "iam_auth_session",
        ["tenant_id", "user_id", "state", "id"],
        unique=False,
    )
    op.create_table(
        "iam_mfa_challenge",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("session_id", guid(), nullable=True),
        sa.Column("mfa_method_id", guid(), nullable=True),
        sa.Column("method", string(24), nullable=False),
        sa.Column("purpose", string(48), nullable=False),
        sa.Column("code_digest", digest(), nullable=True),
        sa.Column("outbox_id", guid(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.Column("consumed_at", moment(), nullable=True),
        sa.Column("superseded_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "mfa_method_id"],
            ["iam_mfa_method.tenant_id", "iam_mfa_method.id"],
            name=op.f("fk_iam_mfa_challenge_tenant_id_mfa_method_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_mfa_challenge_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_mfa_challenge")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_mfa_challenge_expires_at", "iam_mfa_challenge", ["expires_at"], unique=False
    )
    op.create_index(
        "ix_iam_mfa_challenge_user",
        "iam_mfa_challenge",
        ["tenant_id", "user_id", "purpose", "consumed_at"],
        unique=False,
    )

    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("no way back: restore the backup made before the upgrade")
