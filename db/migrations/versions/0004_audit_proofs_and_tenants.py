"""Audit proofs and tenants.

Revision: 0004_audit_proofs_and_tenants
Revises: 0003_single_sign_on
Written: 2026-11-21
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004_audit_proofs_and_tenants"
down_revision = "0003_single_sign_on"
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
        ("DROP TRIGGER IF EXISTS iam_audit_checkpoint_no_update"),
        (
            "CREATE TRIGGER iam_audit_checkpoint_no_update BEFORE UPDATE ON "
            "iam_audit_checkpoint FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = "
            "'iam_audit_checkpoint is append-only'"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_checkpoint_no_delete"),
        (
            "CREATE TRIGGER iam_audit_checkpoint_no_delete BEFORE DELETE ON "
            "iam_audit_checkpoint FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = "
            "'iam_audit_checkpoint is append-only'"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_node_no_update"),
        (
            "CREATE TRIGGER iam_audit_node_no_update BEFORE UPDATE ON iam_audit_node FOR EACH"
            " ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_node is append-only'"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_node_no_delete"),
        (
            "CREATE TRIGGER iam_audit_node_no_delete BEFORE DELETE ON iam_audit_node FOR EACH"
            " ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_node is append-only'"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_prune_no_update"),
        (
            "CREATE TRIGGER iam_audit_prune_no_update BEFORE UPDATE ON iam_audit_prune FOR "
            "EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_prune is append-"
            "only'"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_prune_no_delete"),
        (
            "CREATE TRIGGER iam_audit_prune_no_delete BEFORE DELETE ON iam_audit_prune FOR "
            "EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_prune is append-"
            "only'"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_seal_no_update"),
        (
            "CREATE TRIGGER iam_audit_seal_no_update BEFORE UPDATE ON iam_audit_seal FOR EACH"
            " ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_seal is append-only'"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_seal_no_delete"),
        (
            "CREATE TRIGGER iam_audit_seal_no_delete BEFORE DELETE ON iam_audit_seal FOR EACH"
            " ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'iam_audit_seal is append-only'"
        ),
        ("DROP TRIGGER IF EXISTS iam_auth_log_no_delete"),
        (
            "CREATE TRIGGER iam_auth_log_no_delete BEFORE DELETE ON iam_auth_log FOR EACH ROW"
            " IF NOT (EXISTS (SELECT 1 FROM iam_audit_seal JOIN iam_audit_prune ON "
            "iam_audit_prune.tenant_id = iam_audit_seal.tenant_id AND iam_audit_seal.seq < "
            "iam_audit_prune.until_seq WHERE iam_audit_seal.id = OLD.id AND "
            "iam_audit_seal.tenant_id = OLD.tenant_id)) THEN SIGNAL SQLSTATE '45000' SET "
            "MESSAGE_TEXT = 'iam_auth_log is append-only'; END IF"
        ),
    ],
    "sqlite": [
        ("DROP TRIGGER IF EXISTS iam_audit_checkpoint_no_update"),
        (
            "CREATE TRIGGER iam_audit_checkpoint_no_update BEFORE UPDATE ON "
            "iam_audit_checkpoint BEGIN SELECT RAISE(ABORT, 'iam_audit_checkpoint is append-"
            "only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_checkpoint_no_delete"),
        (
            "CREATE TRIGGER iam_audit_checkpoint_no_delete BEFORE DELETE ON "
            "iam_audit_checkpoint BEGIN SELECT RAISE(ABORT, 'iam_audit_checkpoint is append-"
            "only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_checkpoint_no_replace"),
        (
            "CREATE TRIGGER iam_audit_checkpoint_no_replace BEFORE INSERT ON "
            "iam_audit_checkpoint WHEN EXISTS (SELECT 1 FROM iam_audit_checkpoint WHERE id = "
            "NEW.id) BEGIN SELECT RAISE(ABORT, 'iam_audit_checkpoint is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_node_no_update"),
        (
            "CREATE TRIGGER iam_audit_node_no_update BEFORE UPDATE ON iam_audit_node BEGIN "
            "SELECT RAISE(ABORT, 'iam_audit_node is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_node_no_delete"),
        (
            "CREATE TRIGGER iam_audit_node_no_delete BEFORE DELETE ON iam_audit_node BEGIN "
            "SELECT RAISE(ABORT, 'iam_audit_node is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_node_no_replace"),
        (
            "CREATE TRIGGER iam_audit_node_no_replace BEFORE INSERT ON iam_audit_node WHEN "
            "EXISTS (SELECT 1 FROM iam_audit_node WHERE id = NEW.id) BEGIN SELECT "
            "RAISE(ABORT, 'iam_audit_node is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_prune_no_update"),
        (
            "CREATE TRIGGER iam_audit_prune_no_update BEFORE UPDATE ON iam_audit_prune BEGIN "
            "SELECT RAISE(ABORT, 'iam_audit_prune is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_prune_no_delete"),
        (
            "CREATE TRIGGER iam_audit_prune_no_delete BEFORE DELETE ON iam_audit_prune BEGIN "
            "SELECT RAISE(ABORT, 'iam_audit_prune is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_prune_no_replace"),
        (
            "CREATE TRIGGER iam_audit_prune_no_replace BEFORE INSERT ON iam_audit_prune WHEN "
            "EXISTS (SELECT 1 FROM iam_audit_prune WHERE id = NEW.id) BEGIN SELECT "
            "RAISE(ABORT, 'iam_audit_prune is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_seal_no_update"),
        (
            "CREATE TRIGGER iam_audit_seal_no_update BEFORE UPDATE ON iam_audit_seal BEGIN "
            "SELECT RAISE(ABORT, 'iam_audit_seal is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_seal_no_delete"),
        (
            "CREATE TRIGGER iam_audit_seal_no_delete BEFORE DELETE ON iam_audit_seal BEGIN "
            "SELECT RAISE(ABORT, 'iam_audit_seal is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_audit_seal_no_replace"),
        (
            "CREATE TRIGGER iam_audit_seal_no_replace BEFORE INSERT ON iam_audit_seal WHEN "
            "EXISTS (SELECT 1 FROM iam_audit_seal WHERE id = NEW.id) BEGIN SELECT "
            "RAISE(ABORT, 'iam_audit_seal is append-only'); END"
        ),
        ("DROP TRIGGER IF EXISTS iam_auth_log_no_delete"),
        (
            "CREATE TRIGGER iam_auth_log_no_delete BEFORE DELETE ON iam_auth_log WHEN NOT "
            "(EXISTS (SELECT 1 FROM iam_audit_seal JOIN iam_audit_prune ON "
            "iam_audit_prune.tenant_id = iam_audit_seal.tenant_id AND iam_audit_seal.seq < "
            "iam_audit_prune.until_seq WHERE iam_audit_seal.id = OLD.id AND "
            "iam_audit_seal.tenant_id = OLD.tenant_id)) BEGIN SELECT RAISE(ABORT, "
            "'iam_auth_log is append-only'); END"
        ),
    ],
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
        "iam_audit_checkpoint",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", digest(), nullable=False),
        sa.Column("chain", digest(), nullable=False),
        sa.Column("note", long_text(), nullable=False),
        sa.Column("signed_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_audit_checkpoint")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_audit_checkpoint_size", "iam_audit_checkpoint", ["tenant_id", "size"], unique=False
    )
    op.create_index(
        "ix_iam_audit_checkpoint_tenant_id_id",
        "iam_audit_checkpoint",
        ["tenant_id", "id"],
        unique=False,
    )
    op.create_table(
        "iam_audit_node",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", digest(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_audit_node")),
        sa.UniqueConstraint(
            "tenant_id",
            "level",
            "position",
            name=op.f("uq_iam_audit_node_tenant_id_level_position"),
        ),
        **INNODB,
    )
    op.create_table(
        "iam_audit_prune",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("until_seq", sa.BigInteger(), nullable=False),
        sa.Column("note", long_text(), nullable=False),
        sa.Column("pruned_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_audit_prune")),
        sa.UniqueConstraint(
            "tenant_id", "until_seq", name=op.f("uq_iam_audit_prune_tenant_id_until_seq")
        ),
        **INNODB,
    )
    op.create_table(
        "iam_audit_seal",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("leaf", digest(), nullable=False),
        sa.Column("chain", digest(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_audit_seal")),
        sa.UniqueConstraint("tenant_id", "seq", name=op.f("uq_iam_audit_seal_tenant_id_seq")),
        **INNODB,
    )
    op.create_table(
        "iam_audit_head",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("chain", digest(), nullable=False),
        sa.Column("frontier", octets(2048), nullable=False),
        sa.Column("searched_from", guid(), nullable=False),
        sa.Column("swept_at", moment(), nullable=True),
        sa.Column("checkpoint_at", moment(), nullable=True),
        sa.Column("anchored", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_audit_head_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_audit_head")),
        **INNODB,
    )
    op.create_table(
        "iam_audit_key",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("name", string(255), nullable=False),
        sa.Column("public_key", digest(), nullable=False),
        sa.Column("private_key", long_text(), nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("retired_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_audit_key_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_audit_key")),
        sa.UniqueConstraint(
            "tenant_id", "public_key", name=op.f("uq_iam_audit_key_tenant_id_public_key")
        ),
        **INNODB,
    )
    op.create_table(
        "iam_subject_key",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("wrapped_key", long_text(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("destroyed_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_subject_key_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_subject_key")),
        **INNODB,
    )
    op.create_table(
        "iam_access_context",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("target_tenant_id", guid(), nullable=False),
        sa.Column("user_id", guid(), nullable=False),
        sa.Column("session_id", guid(), nullable=False),
        sa.Column("reason", string(200), nullable=False),
        sa.Column("started_at", moment(), nullable=False),
        sa.Column("ends_at", moment(), nullable=False),
        sa.Column("ended_at", moment(), nullable=True),
        sa.Column("end_reason", string(16), nullable=True),
        sa.ForeignKeyConstraint(
            ["target_tenant_id"],
            ["iam_tenant.id"],
            name=op.f("fk_iam_access_context_target_tenant_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_access_context_tenant_id_user_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_access_context_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_access_context")),
        **INNODB,
    )
    op.create_index(
        "ix_iam_access_context_open", "iam_access_context", ["ended_at", "ends_at"], unique=False
    )
    op.create_index(
        "ix_iam_access_context_target",
        "iam_access_context",
        ["target_tenant_id", "id"],
        unique=False,
    )
    op.create_index(
        "ix_iam_access_context_tenant", "iam_access_context", ["tenant_id", "id"], unique=False
    )
    op.create_table(
        "iam_invitation",
        sa.Column("id", guid(), nullable=False),
        sa.Column("tenant_id", guid(), nullable=False),
        sa.Column("email", string(254), nullable=False),
        sa.Column("open_email", string(254), nullable=True),
        sa.Column("open_place", guid(), nullable=False),
        sa.Column("name", string(120), nullable=False),
        sa.Column("language", string(16), nullable=True),
        sa.Column("actor_type", string(24), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("parent_id", guid(), nullable=True),
        sa.Column("token_digest", digest(), nullable=False),
        sa.Column("invited_by", guid(), nullable=True),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("sent_at", moment(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.Column("accepted_at", moment(), nullable=True),
        sa.Column("accepted_by", guid(), nullable=True),
        sa.Column("revoked_at", moment(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "accepted_by"],
            ["iam_user_account.tenant_id", "iam_user_account.id"],
            name=op.f("fk_iam_invitation_tenant_id_accepted_by"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "parent_id"],
            ["iam_organization.tenant_id", "iam_organization.id"],
            name=op.f("fk_iam_invitation_tenant_id_parent_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["iam_tenant.id"], name=op.f("fk_iam_invitation_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iam_invitation")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_iam_invitation_tenant_id_id")),
        sa.UniqueConstraint(
            "tenant_id",
            "open_email",
            "open_place",
            name=op.f("uq_iam_invitation_tenant_id_open_email_open_place"),
        ),
        sa.UniqueConstraint("token_digest", name=op.f("uq_iam_invitation_token_digest")),
        **INNODB,
    )
    op.create_index("ix_iam_invitation_expires_at", "iam_invitation", ["expires_at"], unique=False)
    op.add_column("iam_auth_log", sa.Column("ip_index", octets(16), nullable=True))
    op.add_column("iam_auth_log", sa.Column("origin_sealed", octets(1024), nullable=True))
    op.add_column("iam_auth_log", sa.Column("personal_sealed", octets(32768), nullable=True))
    op.add_column("iam_auth_log", sa.Column("mac", digest(), nullable=True))
    op.drop_index(op.f("ix_iam_auth_log_ip"), table_name="iam_auth_log")
    op.create_index(
        "ix_iam_auth_log_ip", "iam_auth_log", ["tenant_id", "ip_index", "id"], unique=False
    )
    op.create_index(
        "ix_iam_auth_log_subject", "iam_auth_log", ["tenant_id", "subject_id", "id"], unique=False
    )
    op.add_column("iam_auth_session", sa.Column("access_context_id", guid(), nullable=True))
    op.add_column("iam_tenant", sa.Column("host", string(253), nullable=True))
    op.create_index("ix_iam_tenant_parent_id", "iam_tenant", ["parent_id"], unique=False)
    op.create_index("uq_iam_tenant_host", "iam_tenant", ["host"], unique=True)

    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("no way back: restore the backup made before the upgrade")
