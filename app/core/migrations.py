"""Migrations of the `iam_*` tables: own environment, own version table.

Owns upgrading and asking where a database stands, on an engine handed in. A host's
own Alembic stays apart: `include_object` makes its autogenerate leave our tables alone.
There is no downgrade: an audit trail that can be dropped by a command is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, text

from .db import Base
from .ddl import DIALECTS, triggers
from .errors import Misconfigured, Unavailable

VERSION_TABLE = "iam_alembic_version"
PREFIX = "iam_"
# MySQL keeps the parts of a trigger's statement, SQLite the statement.
_TRIGGERS = {
    "mysql": "SELECT trigger_name, event_object_table, CONCAT('CREATE TRIGGER ', trigger_name, "
    "' ', action_timing, ' ', event_manipulation, ' ON ', event_object_table, ' FOR EACH ROW ', "
    "action_statement) FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
    "sqlite": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'",
}
_LOCK = "iam_migrations"
_LOCK_SECONDS = 120
_PACKAGE = Path(__file__).resolve().parent.parent


def directory() -> Path:
    """Return the folder of the migrations: inside the wheel, or `db/` of a checkout."""
    for candidate in (_PACKAGE / "migrations", _PACKAGE.parent / "db" / "migrations"):
        if (candidate / "env.py").is_file():
            return candidate
    raise Misconfigured("the migrations are missing from this installation")


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the `iam_*` tables of `engine` up to `revision`; harmless to repeat.

    Processes that start at once wait for each other. Raises Misconfigured for an
    engine that is neither MySQL nor SQLite, Unavailable where another upgrade hangs.
    """
    if engine.dialect.name not in DIALECTS:
        raise Misconfigured(f"the schema runs on MySQL and SQLite, not {engine.dialect.name}")
    with _locked(engine) as connection:
        command.upgrade(_config(connection), revision)


def current(engine: Engine) -> str | None:
    """Return the revision the database stands at, or None where nothing was migrated."""
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE}
        return MigrationContext.configure(connection, opts=options).get_current_revision()


def head() -> str:
    """Return the newest revision this installation knows."""
    newest = ScriptDirectory.from_config(_config(None)).get_current_head()
    if newest is None:
        raise Misconfigured("the migrations are missing from this installation")
    return newest


def is_current(engine: Engine) -> bool:
    """Return whether the database stands at the newest revision."""
    return current(engine) == head()


def missing_triggers(engine: Engine, metadata: MetaData = Base.metadata) -> list[str]:
    """Return the names of append-only guards that the database lacks, or has changed."""
    present = {name: statement for name, _table, statement in _present_triggers(engine)}
    expected = _expected_triggers(engine, metadata)
    return [name for name, statement in expected.items() if present.get(name) != statement]


def unknown_triggers(engine: Engine, metadata: MetaData = Base.metadata) -> list[str]:
    """Return the names of triggers on our tables that are none of our guards.

    Such a one can drop or change an event before there is anything to seal.
    """
    expected = _expected_triggers(engine, metadata)
    return sorted(
        name
        for name, table, _statement in _present_triggers(engine)
        if table.lower().startswith(PREFIX) and name not in expected
    )


def _present_triggers(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(text(_TRIGGERS[engine.dialect.name])).all()
    return [(name, table, statement.rstrip("; ")) for name, table, statement in rows]


def _expected_triggers(engine: Engine, metadata: MetaData) -> dict[str, str]:
    return {
        statement.split()[2]: statement.rstrip("; ")
        for table in metadata.sorted_tables
        for statement in triggers(table, engine.dialect.name)
    }


def include_object(
    item: Any, name: str | None, kind: str, _reflected: bool, _compare_to: Any
) -> bool:
    """Tell a host's autogenerate to leave `iam_*` tables alone.

    Give it to Flask-Migrate as `Migrate(app, db, include_object=iam_include_object)`.
    """
    table = name if kind == "table" else getattr(getattr(item, "table", None), "name", None)
    return not (table or "").startswith(PREFIX)


def _config(connection: Connection | None, metadata: MetaData = Base.metadata) -> Config:
    config = Config()
    # ConfigParser reads a percent sign as the start of an interpolation.
    config.set_main_option("script_location", str(directory()).replace("%", "%%"))
    config.attributes.update(connection=connection, metadata=metadata, version_table=VERSION_TABLE)
    return config


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    # SQLite's write lock covers the whole upgrade, which is one transaction there.
    with engine.connect().execution_options(iam_write=True) as connection:
        if engine.dialect.name == "mysql":
            _take_lock(connection)
            yield connection
            return
        with connection.begin():
            yield connection


def _take_lock(connection: Connection) -> None:
    # MySQL commits at every DDL statement, so a transaction cannot hold others back. Outside
    # the pool, closing the connection gives the lock back whatever happened before.
    connection.detach()
    query = text("SELECT GET_LOCK(CONCAT(:name, ':', LEFT(SHA2(DATABASE(), 256), 40)), :wait)")
    taken = connection.scalar(query, {"name": _LOCK, "wait": _LOCK_SECONDS})
    connection.rollback()
    if taken != 1:
        raise Unavailable("Another upgrade of the database is running", code="migrations.busy")
