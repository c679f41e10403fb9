"""The migrations against the models, on both engines; and against a host's own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from app.audit import verifier
from app.audit.append_only import APPEND_ONLY
from app.core import migrations
from app.core.db import Base
from app.core.errors import Misconfigured
from tests.support.snapshots import snapshot

EVENT = {
    "id": b"\x01" * 16,
    "tenant_id": b"\x02" * 16,
    "action": "LOGOUT",
    "severity": "info",
    "status": "success",
    "actor_type": "user",
    "changes": "{}",
    "metadata": "{}",
    "encoding_version": 1,
    "occurred_at": "2026-01-01 00:00:00.000000",
    "recorded_at": "2026-01-01 00:00:00.000000",
}


def insert_event(engine: sa.Engine) -> None:
    table = sa.table("iam_auth_log", *(sa.column(name) for name in EVENT))
    with engine.begin() as connection:
        connection.execute(sa.insert(table), EVENT)


def count_events(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT COUNT(*) FROM iam_auth_log").scalar_one())


def test_an_empty_database_is_brought_to_the_models(engine):
    migrations.upgrade(engine)
    options = {"compare_type": True, "version_table": migrations.VERSION_TABLE}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_the_database_itself_tells_no_difference(engine, twin):
    migrations.upgrade(engine)
    Base.metadata.create_all(twin)
    migrated, created = snapshot(engine), snapshot(twin)
    assert sorted(migrated) == sorted(created)
    for name in migrated:
        assert migrated[name] == created[name], name


def test_upgrading_twice_is_harmless(engine):
    assert migrations.current(engine) is None
    assert not migrations.is_current(engine)
    migrations.upgrade(engine)
    first = snapshot(engine)
    migrations.upgrade(engine)
    assert snapshot(engine) == first
    assert migrations.is_current(engine)
    assert migrations.current(engine) == migrations.head()


def test_processes_that_start_at_once_wait_for_each_other(engine):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: migrations.upgrade(engine), range(4)))
    assert migrations.is_current(engine)


@pytest.mark.parametrize(
    "verb", ["UPDATE iam_auth_log SET status = 'x'", "DELETE FROM iam_auth_log"]
)
def test_at_394_the_audit_trail_refuses_change(engine, verb):
    migrations.upgrade(engine)
    insert_event(engine)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(verb)
    assert count_events(engine) == 1


def test_at_394_a_row_is_not_replaced(engine):
    """REPLACE deletes without DELETE: MySQL's trigger sees it, SQLite's needs one of its own."""
    migrations.upgrade(engine)
    insert_event(engine)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql("REPLACE INTO iam_auth_log SELECT * FROM iam_auth_log")
    assert count_events(engine) == 1


def test_at_394_a_missing_or_harmless_guard_is_told(engine):
    verbs = ["update", "delete", *(["replace"] if engine.dialect.name == "sqlite" else [])]
    guards = {f"{table}_no_{verb}" for table in APPEND_ONLY for verb in verbs}
    assert "iam_auth_log_no_delete" in guards
    assert set(migrations.missing_triggers(engine)) == guards
    migrations.upgrade(engine)
    assert migrations.missing_triggers(engine) == []
    harmless = {
        "sqlite": "CREATE TRIGGER iam_auth_log_no_delete BEFORE DELETE ON iam_auth_log "
        "BEGIN SELECT 1; END",
        "mysql": "CREATE TRIGGER iam_auth_log_no_delete BEFORE DELETE ON iam_auth_log "
        "FOR EACH ROW SET @harmless = 1",
    }
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER iam_auth_log_no_delete")
        connection.exec_driver_sql(harmless[engine.dialect.name])
    assert migrations.missing_triggers(engine) == ["iam_auth_log_no_delete"]


def test_at_394_a_trigger_that_is_none_of_ours_is_told(engine):
    """One that drops an event before there is anything to seal."""
    migrations.upgrade(engine)
    assert migrations.unknown_triggers(engine) == []
    bodies = {
        "sqlite": "WHEN NEW.action = 'LOGIN_SUCCEEDED' BEGIN SELECT RAISE(IGNORE); END",
        "mysql": "FOR EACH ROW SET NEW.action = 'LOGOUT'",
    }
    table = {"sqlite": "IAM_AUTH_LOG", "mysql": "iam_auth_log"}[engine.dialect.name]
    body = bodies[engine.dialect.name]
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE ours (action VARCHAR(9))")
        for name, place in (("zz_host", "ours"), ("zz_drop", table)):
            connection.exec_driver_sql(f"CREATE TRIGGER {name} BEFORE INSERT ON {place} {body}")
    assert migrations.unknown_triggers(engine) == ["zz_drop"]
    assert migrations.missing_triggers(engine) == []


def test_at_394_a_guard_of_another_table_is_none(engine):
    migrations.upgrade(engine)
    name = "iam_auth_log_no_update"
    statement = next(
        item for item in APPEND_ONLY["iam_auth_log"][engine.dialect.name] if name in item
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql("CREATE TABLE ours (id INTEGER)")
        connection.exec_driver_sql(statement.replace("ON iam_auth_log", "ON ours"))
    assert migrations.missing_triggers(engine) == [name]


COMPUTED = "shown VARCHAR(9) GENERATED ALWAYS AS ('x') VIRTUAL"
SUBSTITUTES = {
    "view": ["ALTER TABLE {0} RENAME TO zz", "CREATE VIEW {0} AS SELECT * FROM zz"],
    "computed column": [f"ALTER TABLE {{0}} ADD COLUMN {COMPUTED}"],
    "no key": ["ALTER TABLE {0} RENAME TO zz", "CREATE TABLE {0} AS SELECT * FROM zz"],
}


@pytest.mark.parametrize("name", SUBSTITUTES)
def test_at_394_what_is_no_plain_table_is_not_verified(engine, name):
    """A view can show the application another past than it shows the verifier."""
    table = "iam_auth_log"
    migrations.upgrade(engine)
    _open(engine)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        for statement in SUBSTITUTES[name]:
            connection.exec_driver_sql(statement.format(table))
    with pytest.raises(verifier.SourceError, match=f"not a plain table .*: {table}"):
        _open(engine)


def _open(engine):
    url = engine.url
    is_mysql = engine.dialect.name == "mysql"
    name = url.set(drivername="mysql").render_as_string(hide_password=False)
    with verifier.open_source(name if is_mysql else url.database) as source:
        assert source.tenants() == []


@pytest.mark.mysql_only
def test_at_394_the_runtime_account_cannot_touch_the_audit_trail(mysql):
    """The account of the handbook: everything elsewhere, INSERT and SELECT here."""
    migrations.upgrade(mysql)
    insert_event(mysql)
    account = f"'{mysql.url.database[-20:]}'@'127.0.0.1'"
    with mysql.begin() as connection:
        connection.exec_driver_sql(f"CREATE USER {account} IDENTIFIED BY 'Runtime-account-1'")
        connection.exec_driver_sql(f"GRANT SELECT, INSERT ON iam_auth_log TO {account}")
    runtime = sa.create_engine(
        mysql.url.set(username=mysql.url.database[-20:], password="Runtime-account-1"),
        poolclass=sa.NullPool,
    )
    try:
        assert count_events(runtime) == 1
        for statement in (
            "UPDATE iam_auth_log SET status = 'x'",
            "DELETE FROM iam_auth_log",
            "TRUNCATE iam_auth_log",
            "DROP TRIGGER iam_auth_log_no_delete",
            "DROP TABLE iam_auth_log",
        ):
            with pytest.raises(sa.exc.DBAPIError, match="denied"), runtime.begin() as connection:
                connection.exec_driver_sql(statement)
    finally:
        with mysql.begin() as connection:
            connection.exec_driver_sql(f"DROP USER {account}")
    assert count_events(mysql) == 1


def test_there_is_no_way_back(sqlite):
    migrations.upgrade(sqlite)
    with pytest.raises(NotImplementedError, match="backup"), sqlite.connect() as connection:
        command.downgrade(migrations._config(connection), "base")
    assert migrations.is_current(sqlite)


def test_an_engine_nobody_tested_is_refused():
    engine = sa.create_mock_engine("postgresql+psycopg://", lambda *_: None)
    with pytest.raises(Misconfigured, match="postgresql"):
        migrations.upgrade(engine)


def test_a_failing_upgrade_leaves_no_half_schema_on_sqlite(sqlite):
    with sqlite.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE iam_user_role (id INTEGER)")
    with pytest.raises(sa.exc.OperationalError, match="already exists"):
        migrations.upgrade(sqlite)
    assert list(snapshot(sqlite)) == ["iam_user_role"]


def host_differences(engine: sa.Engine, **options) -> list:
    """What a host's `flask db migrate` would write down."""
    metadata = sa.MetaData()
    sa.Table("shop_order", metadata, sa.Column("id", sa.Integer, primary_key=True))
    metadata.create_all(engine)
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_a_hosts_autogenerate_leaves_our_tables_alone(engine):
    migrations.upgrade(engine)
    assert host_differences(engine), "without the filter it would drop every table"
    assert host_differences(engine, include_object=migrations.include_object) == []


def test_our_migrations_leave_a_hosts_tables_alone(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('of the host')")
    migrations.upgrade(engine)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
    assert rows == [("of the host",)]
