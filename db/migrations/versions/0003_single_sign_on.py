"""Single sign-on.

Revision: 0003_single_sign_on
Revises: 0002_passkeys_and_recovery
Written: 2026-11-21
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003_single_sign_on"
down_revision = "0002_passkeys_and_recovery"
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
        "iam_sso_connection",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("slug", string(64), nullable=False),
        sa.Column("provider", string(32), nullable=False),
        sa.Column("name", string(80), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("from_settings", sa.Boolean(), nullable=False),
        sa.Column("client_id", string(255), nullable=True),
        sa.Column("client_secret", long_text(), nullable=True),
        sa.Column("discovery_url", string(500), nullable=True),
        sa.Column("endpoints", sa.JSON(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("jit", string(16), nullable=False),
        sa.Column("trusts_mfa", sa.Boolean(), nullable=False),
        sa.Column("allow_private", sa.Boolean(), nullable=False),
        sa.Column("end_sessions", sa.Boolean(), nullable=False),
        sa.Column("provider_logout", sa.Boolean(), nullable=False),
        sa.Column("secret_changed_at", moment(), nullable=True),
        sa.Column("created_by", guid(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("updated_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_sso_connection_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_sso_connection")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_sso_connection_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "slug", name=op.f("uq_iam_sso_connection_tenant_id_slug")),
        **INNODB,
    )
    op.create_table(
        "iam_domain",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("name", string(253), nullable=False),
        sa.Column("verified_name", string(253), nullable=True),
        sa.Column("token", string(64), nullable=False),
        sa.Column("connection_id", guid(), nullable=True),
        sa.Column("verified_at", moment(), nullable=True),
        sa.Column("checked_at", moment(), nullable=True),
        sa.Column("missing_since", moment(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["iam_sso_connection.tenant_id", "iam_sso_connection.id"],
            name=op.f("fk_iam_domain_tenant_id_connection_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_domain_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_domain")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_iam_domain_tenant_id_name")),
        sa.UniqueConstraint("verified_name", name=op.f("uq_iam_domain_verified_name")),
        **INNODB,
    )
    op.create_index("ix_iam_domain_checked_at", "iam_domain", ["checked_at"], unique=False)
    op.create_table(
        "iam_sso_logout_token",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("connection_id", guid(), nullable=False),
        sa.Column("token_digest", digest(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["iam_sso_connection.tenant_id", "iam_sso_connection.id"],
            name=op.f("fk_iam_sso_logout_token_tenant_id_connection_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_sso_logout_token")),
        sa.UniqueConstraint(
            "tenant_id", "token_digest", name=op.f("uq_iam_sso_logout_token_tenant_id_token_digest")
        ),
        **INNODB,
    )
    op.create_index(
        "ix_iam_sso_logout_token_expires_at", "iam_sso_logout_token", ["expires_at"], unique=False
    )
    op.create_table(
        "iam_sso_role_rule",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("connection_id", guid(), nullable=False),
        sa.Column("claim", string(120), nullable=False),
        sa.Column("value", string(255), nullable=False),
        sa.Column("role_id", guid(), nullable=False),
        sa.Column("ceiling", sa.JSON(), nullable=False),
        sa.Column("written_by", guid(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["iam_sso_connection.tenant_id", "iam_sso_connection.id"],
            name=op.f("fk_iam_sso_role_rule_tenant_id_connection_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "role_id"],
            ["iam_role.tenant_id", "iam_role.id"],
            name=op.f("fk_iam_sso_role_rule_tenant_id_role_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_sso_role_rule")),
        sa.UniqueConstraint(
            "tenant_id",
            "connection_id",
            "claim",
            "value",
            "role_id",
            name=op.f("uq_iam_sso_role_rule_tenant_id_connection_id_claim_value_role_id"),
        ),
        **INNODB,
    )
    op.create_table(
        "iam_sso_flow",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("state_digest", digest(), nullable=False),
        sa.Column("browser_digest", digest(), nullable=False),
        sa.Column("connection_id", guid(), nullable=False),
        sa.Column("purpose", string(16), nullable=False),
        sa.Column("step_up_purpose", string(48), nullable=True),
        sa.Column("user_id", guid(), nullable=True),
        sa.Column("session_id", guid(), nullable=True),
        sa.Column("nonce_digest", digest(), nullable=False),
        sa.Column("code_verifier", long_text(), nullable=False),
        sa.Column("answer", long_text(), nullable=True),
        sa.Column("answered_at", moment(), nullable=True),
        sa.Column("remember", sa.Boolean(), nullable=False),
        sa.Column("next_url", string(1024), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.Column("consumed_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["iam_sso_connection.tenant_id", "iam_sso_connection.id"],
            name=op.f("fk_iam_sso_flow_tenant_id_connection_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_sso_flow_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_sso_flow")),
        sa.UniqueConstraint("state_digest", name=op.f("uq_iam_sso_flow_state_digest")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_sso_flow_browser", "iam_sso_flow", ["tenant_id", "browser_digest"], unique=False
    )
    op.create_index("ix_iam_sso_flow_expires_at", "iam_sso_flow", ["expires_at"], unique=False)
    op.create_index("ix_iam_sso_flow_user", "iam_sso_flow", ["tenant_id", "user_id"], unique=False)
    op.create_table(
        "iam_user_identity",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("connection_id", guid(), nullable=False),
        sa.Column("issuer", string(500), nullable=False),
        sa.Column("subject", string(255), nullable=False),
        sa.Column("identity_digest", digest(), nullable=False),
        sa.Column("email", string(254), nullable=True),
        sa.Column("email_verified", sa.Boolean(), nullable=False),
        sa.Column("label", string(120), nullable=False),
        sa.Column("linked_at", moment(), nullable=False),
        sa.Column("linked_by", string(16), nullable=False),
        sa.Column("last_login_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["iam_sso_connection.tenant_id", "iam_sso_connection.id"],
            name=op.f("fk_iam_user_identity_tenant_id_connection_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_user_identity_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_user_identity")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_user_identity_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id",
            "identity_digest",
            name=op.f("uq_iam_user_identity_tenant_id_identity_digest"),
        ),
        **INNODB,
    )
    op.create_index(
        "ix_iam_user_identity_user", "iam_user_identity", ["tenant_id", "user_id"], unique=False
    )
    op.create_table(
        "iam_sso_session",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("session_id", guid(), nullable=False),
        sa.Column("identity_id", guid(), nullable=False),
        sa.Column("connection_id", guid(), nullable=False),
        sa.Column("sid_digest", digest(), nullable=True),
        sa.Column("id_token", long_text(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "connection_id"],
            ["iam_sso_connection.tenant_id", "iam_sso_connection.id"],
            name=op.f("fk_iam_sso_session_tenant_id_connection_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "identity_id"],
            ["iam_user_identity.tenant_id", "iam_user_identity.id"],
            name=op.f("fk_iam_sso_session_tenant_id_identity_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "session_id"],
            ["iam_auth_session.tenant_id", "iam_auth_session.id"],
            name=op.f("fk_iam_sso_session_tenant_id_session_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_sso_session_tenant_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_sso_session")),
        sa.UniqueConstraint(
            "tenant_id", "session_id", name=op.f("uq_iam_sso_session_tenant_id_session_id")
        ),
        **INNODB,
    )
    op.create_index(
        "ix_iam_sso_session_identity", "iam_sso_session", ["tenant_id", "identity_id"], unique=False
    )
    op.create_index(
        "ix_iam_sso_session_sid", "iam_sso_session", ["tenant_id", "sid_digest"], unique=False
    )
    op.create_index(
        "ix_iam_sso_session_user", "iam_sso_session", ["tenant_id", "user_id"], unique=False
    )
    op.add_column("iam_user_role", sa.Column("connection_id", guid(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("no way back: restore the backup made before the upgrade")
