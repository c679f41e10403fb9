"""Tables that only ever grow: triggers refuse UPDATE, DELETE and REPLACE (requirement M2).

Owns the triggers' text for each engine. What may be deleted after all is said by a query over
evidence that is append-only itself, so that nobody switches a guard off to prune.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import DDL, event

APPEND_ONLY: dict[str, dict[str, list[str]]] = {}
"""Table name to dialect to the statements that create its guards."""


def guard(model: Any, *, delete_where: str = "") -> None:
    """Make the table of `model` append-only wherever it is created.

    `delete_where` is a condition over OLD under which a row may go, the same on both engines.
    """
    name = model.__tablename__
    APPEND_ONLY[name] = {
        "mysql": [_mysql(name, "UPDATE", ""), _mysql(name, "DELETE", delete_where)],
        "sqlite": [
            _sqlite(name, "UPDATE", ""),
            _sqlite(name, "DELETE", delete_where),
            _no_replace(name),
        ],
    }
    for dialect, statements in APPEND_ONLY[name].items():
        for statement in statements:
            ddl = DDL(statement).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
            event.listen(model.__table__, "after_create", ddl)


def _mysql(table: str, verb: str, unless: str) -> str:
    refusal = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{table} is append-only'"
    body = f"IF NOT ({unless}) THEN {refusal}; END IF" if unless else refusal
    return f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} FOR EACH ROW {body}"


def _sqlite(table: str, verb: str, unless: str) -> str:
    when = f"WHEN NOT ({unless}) " if unless else ""
    return (
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {when}"
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _no_replace(table: str) -> str:
    # SQLite's REPLACE deletes a row without asking the DELETE trigger.
    return (
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608 - our own names
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )
