"""The schema as plain SQL for MySQL, for people who review or load it by hand.

Renders what the models declare; the caller has imported them all. A database loaded
from this text counts as migrated: it carries the version it was rendered at.
"""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import MetaData, Table

from . import migrations
from .db import Base
from .ddl import statements

_HEADER = """\
-- Tables of the identity and access management package, for MySQL 8.4 or newer.
-- Generated from the models by `flask iam schema`; changes here are lost.
-- Load it into an empty database, or let `flask iam init-db` create the same tables.
-- CREATE TRIGGER needs log_bin_trust_function_creators=ON where the binary log is on.

SET NAMES utf8mb4;
"""
_TRIGGERS = """\
-- {table} is append-only for everyone, also by hand (requirement M2)."""
_VERSION = """\
-- The version this file stands at, so that `flask iam init-db` continues from here.
CREATE TABLE {table} (
\tversion_num VARCHAR(32) NOT NULL,
\tCONSTRAINT {table}_pkc PRIMARY KEY (version_num)
);

INSERT INTO {table} (version_num) VALUES ('{revision}');
"""


def render_mysql_schema(metadata: MetaData = Base.metadata) -> str:
    """Return the DDL of every table in dependency order, with indexes, keys and triggers."""
    tables = [_table_text(table) for table in metadata.sorted_tables]
    version = _VERSION.format(table=migrations.VERSION_TABLE, revision=migrations.head())
    return "\n".join([_HEADER, *tables, version])


def _table_text(table: Table) -> str:
    lines = [f"-- {_purpose(table)}"]
    for is_trigger, group in groupby(
        statements(table, "mysql"), key=lambda item: item.startswith("CREATE TRIGGER")
    ):
        if is_trigger:
            lines.append(_TRIGGERS.format(table=table.name))
        lines.extend(f"{_tidy(item)};\n" for item in group)
    return "\n".join(lines)


def _purpose(table: Table) -> str:
    for mapper in Base.registry.mappers:
        if mapper.local_table is table and mapper.class_.__doc__:
            return str(mapper.class_.__doc__).strip().splitlines()[0]
    return table.name


def _tidy(statement: str) -> str:
    return "\n".join(line.rstrip() for line in statement.splitlines())
