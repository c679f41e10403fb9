"""Passkeys and recovery.

Revision: 0002_passkeys_and_recovery
Revises: 0001_foundation
Written: 2026-11-21
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002_passkeys_and_recovery"
down_revision = "0001_foundation"
branch_labels = None
depends_on = None

INNODB: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_bin",
    "mysql_row_format": "DYNAMIC",
}


def guid() -> sa.types.TypeEngine[Any]:
    return sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql")


def digest() -> sa.types.TypeEngine[Any]:
    return sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def octets(length: int) -> sa.types.TypeEngine[Any]:
    return sa.LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql")


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
        "iam_recovery_request",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("status", string(16), nullable=False),
        sa.Column("opened_by", guid(), nullable=True),
        sa.Column("reason", string(200), nullable=False),
        sa.Column("email_proved_at", moment(), nullable=True),
        sa.Column("phone_proved_at", moment(), nullable=True),
        sa.Column("decided_by", guid(), nullable=True),
        sa.Column("decided_at", moment(), nullable=True),
        sa.Column("decision_reason", string(200), nullable=False),
        sa.Column("cancel_digest", digest(), nullable=True),
        sa.Column("continue_digest", digest(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("available_at", moment(), nullable=True),
        sa.Column("expires_at", moment(), nullable=False),
        sa.Column("closed_at", moment(), nullable=True),
        sa.Column("ip", string(45), nullable=True),
        sa.Column("user_agent", string(400), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_recovery_request_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_recovery_request")),
        sa.UniqueConstraint("cancel_digest", name=op.f("uq_iam_recovery_request_cancel_digest")),
        sa.UniqueConstraint(
            "continue_digest", name=op.f("uq_iam_recovery_request_continue_digest")
        ),
        **INNODB,
    )
    op.create_index(
        "ix_iam_recovery_request_expires_at", "iam_recovery_request", ["expires_at"], unique=False
    )
    op.create_index(
        "ix_iam_recovery_request_status",
        "iam_recovery_request",
        ["tenant_id", "status", "id"],
        unique=False,
    )
    op.create_index(
        "ix_iam_recovery_request_user",
        "iam_recovery_request",
        ["tenant_id", "user_id", "status"],
        unique=False,
    )
    op.create_table(
        "iam_webauthn_challenge",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("challenge_digest", digest(), nullable=False),
        sa.Column("browser_digest", digest(), nullable=False),
        sa.Column("user_id", guid(), nullable=True),
        sa.Column("session_id", guid(), nullable=True),
        sa.Column("purpose", string(48), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.Column("consumed_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_webauthn_challenge_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_webauthn_challenge")),
        sa.UniqueConstraint(
            "challenge_digest", name=op.f("uq_iam_webauthn_challenge_challenge_digest")
        ),
        **INNODB,
    )
    op.create_index(
        "ix_iam_webauthn_challenge_browser",
        "iam_webauthn_challenge",
        ["tenant_id", "browser_digest"],
        unique=False,
    )
    op.create_index(
        "ix_iam_webauthn_challenge_expires_at",
        "iam_webauthn_challenge",
        ["expires_at"],
        unique=False,
    )
    op.create_index(
        "ix_iam_webauthn_challenge_user",
        "iam_webauthn_challenge",
        ["tenant_id", "user_id"],
        unique=False,
    )
    op.create_table(
        "iam_webauthn_credential",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("mfa_method_id", guid(), nullable=False),
        sa.Column("credential_digest", digest(), nullable=False),
        sa.Column("credential_id", octets(1023), nullable=False),
        sa.Column("public_key", octets(4096), nullable=False),
        sa.Column("algorithm", sa.Integer(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("aaguid", guid(), nullable=False),
        sa.Column("transports", sa.JSON(), nullable=False),
        sa.Column("discoverable", sa.Boolean(), nullable=True),
        sa.Column("user_verified", sa.Boolean(), nullable=False),
        sa.Column("backup_eligible", sa.Boolean(), nullable=False),
        sa.Column("backup_state", sa.Boolean(), nullable=False),
        sa.Column("attestation_format", string(32), nullable=False),
        sa.Column("attestation_trusted", sa.Boolean(), nullable=False),
        sa.Column("clone_suspected_at", moment(), nullable=True),
        sa.Column("last_used_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "mfa_method_id"],
            ["iam_mfa_method.tenant_id", "iam_mfa_method.id"],
            name=op.f("fk_iam_webauthn_credential_tenant_id_mfa_method_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_webauthn_credential_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_webauthn_credential")),
        sa.UniqueConstraint(
            "credential_digest", name=op.f("uq_iam_webauthn_credential_credential_digest")
        ),
        sa.UniqueConstraint(
            "tenant_id",
            "mfa_method_id",
            name=op.f("uq_iam_webauthn_credential_tenant_id_mfa_method_id"),
        ),
        **INNODB,
    )
    op.create_index(
        "ix_iam_webauthn_credential_user",
        "iam_webauthn_credential",
        ["tenant_id", "user_id"],
        unique=False,
    )
    op.add_column("iam_action_token", sa.Column("code_digest", digest(), nullable=True))
    op.add_column("iam_action_token", sa.Column("browser_digest", digest(), nullable=True))
    op.add_column("iam_action_token", sa.Column("session_id", guid(), nullable=True))
    op.add_column("iam_action_token", sa.Column("payload", long_text(), nullable=True))
    op.add_column(
        "iam_action_token", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column(
        "iam_device", sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("iam_device", sa.Column("rotated_at", moment(), nullable=True))
    op.create_index(
        "ix_iam_device_browser", "iam_device", ["browser_digest", "generation"], unique=False
    )
    op.add_column(
        "iam_user_account",
        sa.Column("mfa_enrolment_due", sa.Boolean(), server_default="0", nullable=False),
    )
    op.add_column("iam_user_account", sa.Column("webauthn_handle", octets(64), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("no way back: restore the backup made before the upgrade")
