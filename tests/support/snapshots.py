"""What a database really holds, in a form that two databases can be compared by.

Alembic's comparison looks at columns, keys and indexes; this one also sees engines,
character sets, collations, checks and triggers, because the database itself tells.
"""

from __future__ import annotations

import re

import sqlalchemy as sa

from app.core.migrations import VERSION_TABLE


def snapshot(engine: sa.Engine) -> dict[str, list[str]]:
    """Return every table, index and trigger with its lines in order of the alphabet."""
    read = _of_mysql if engine.dialect.name == "mysql" else _of_sqlite
    with engine.connect() as connection:
        found = read(connection)
    found.pop(VERSION_TABLE, None)
    return found


def _of_mysql(connection: sa.Connection) -> dict[str, list[str]]:
    found = {}
    for (table,) in connection.exec_driver_sql("SHOW TABLES").all():
        text = connection.exec_driver_sql(f"SHOW CREATE TABLE `{table}`").one()[1]
        found[table] = _lines(text)
    triggers = (
        "SELECT trigger_name, action_timing, event_manipulation, event_object_table, "
        "action_statement FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    )
    for name, *rest in connection.exec_driver_sql(triggers).all():
        # The semicolon that ends a statement belongs to a trigger made by several at once.
        found[name] = [str(item).rstrip(";") for item in rest]
    return found


def _of_sqlite(connection: sa.Connection) -> dict[str, list[str]]:
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    # SQLite writes a column that was added later behind the last one, on the same line.
    return {name: _lines(re.sub(r", (?![^()]*\))", ",\n", text)) for name, text in rows}


def _lines(text: str) -> list[str]:
    lines = (re.sub(r"\s+", " ", line).strip().rstrip(",") for line in text.splitlines())
    return sorted(line for line in lines if line)
