"""Two MySQL accounts: the one that runs the application can add to the trail and read it (M2)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError

from app.audit.append_only import APPEND_ONLY
from app.audit.personal import services_subject_keys
from app.audit.sealing.sealer import Sealer
from app.auth.models import IAMAuditCheckpoint, IAMAuditSeal, IAMAuthLog, IAMOutbox
from app.core import clock
from app.core.actor import system_actor
from app.core.db import Base, session, transaction
from app.core.errors import InvalidInput
from app.core.scoping import tenant_scope
from app.database_grants import grants
from app.notify import services_outbox
from app.services_purge import purge_expired
from tests.conftest import ENGINE, SETTINGS, make_app, post

ROOT = Path(__file__).resolve().parents[2]
on_mysql = pytest.mark.skipif(ENGINE != "mysql", reason="SQLite has no accounts")


def test_m2_rights_are_named_table_by_table_and_append_only_tables_only_grow() -> None:
    found = {line.split("`")[3]: line for line in grants("iam", "iam_app@10.0.0.%")}
    assert set(found) == {*Base.metadata.tables, "iam_alembic_version"}
    for name, line in found.items():
        assert line.endswith("TO 'iam_app'@'10.0.0.%';")
        right = line.removeprefix("GRANT ").partition(" ON ")[0]
        if name == "iam_alembic_version":
            assert right == "SELECT"
        elif name in APPEND_ONLY:
            assert right == "SELECT, INSERT"
        else:
            assert right == "SELECT, INSERT, UPDATE, DELETE"
    assert {"iam_auth_log", "iam_audit_seal", "iam_audit_prune"} <= set(APPEND_ONLY)


@pytest.mark.parametrize(
    "name", ["x'; DROP TABLE y; --", "", "a`b", "a'b@%", "a@'%", "a\nb", "a\\"]
)
def test_at_441_a_name_that_ends_the_statement_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        grants("iam", name)
    with pytest.raises(InvalidInput):
        grants(name, "iam_app")


def test_a8_the_command_prints_them_where_there_are_accounts(app: Flask) -> None:
    answer = app.test_cli_runner().invoke(args=["iam", "grants", "--user", "runtime"])
    if ENGINE == "mysql":
        assert answer.output.count("GRANT ") == len(Base.metadata.tables) + 1
        assert "`iam_auth_log` TO 'runtime'@'%';" in answer.output
    else:
        assert answer.exit_code != 0
        assert "only MySQL" in answer.output


@pytest.fixture
def runtime_url(app: Flask, request: pytest.FixtureRequest, database_url: str) -> Iterator[str]:
    """Return the database's address for an account with the printed rights only."""
    url: sa.URL = request.getfixturevalue("mysql_url")
    owned = sa.make_url(database_url)
    name, password = f"iam_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    answer = app.test_cli_runner().invoke(args=["iam", "grants", "--user", name])
    with admin.connect() as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'")
            for statement in answer.output.splitlines():
                cursor.execute(statement)
    yield owned.set(username=name, password=password).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP USER '{name}'")
    admin.dispose()


@pytest.fixture
def runtime(runtime_url: str) -> Iterator[Flask]:
    """Return the application under that account."""
    made = make_app(runtime_url, IAM_OUTBOX_MODE="worker")
    yield made
    with made.app_context():
        made.extensions["sqlalchemy"].engine.dispose()


@on_mysql
@pytest.mark.mysql_only
def test_m2_the_whole_application_runs_under_the_account_that_cannot_change_the_trail(
    runtime: Flask, make_user: Callable[..., Any], sign_in: Callable[..., Any], tenant: UUID
) -> None:
    root = make_user("root", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp")
    ann = make_user("ann")
    browser = runtime.test_client()
    sign_in(browser, root)
    for page in ("/admin", "/admin/users", "/admin/audit/logs", "/admin/sessions", "/account"):
        assert browser.get(page, follow_redirects=True).status_code == 200, page
    edit = f"/admin/users/{ann.id}/edit"
    assert browser.get(edit).status_code == 200
    post(runtime.test_client(), "/auth/password/forgot", {"username": "ann"})
    with runtime.app_context(), tenant_scope(tenant):
        assert session().scalar(sa.select(sa.func.count(IAMOutbox.id))) >= 1
        services_outbox.drain()
        Sealer().round()
        purge_expired()
        sealed = session().scalar(sa.select(sa.func.count(IAMAuditSeal.id)))
        # All but that the key was made with which they were signed.
        assert sealed == (session().scalar(sa.select(sa.func.count(IAMAuthLog.id))) or 0) - 1
        assert session().scalar(sa.select(sa.func.count(IAMAuditCheckpoint.id))) == 1
        with transaction():
            services_subject_keys.destroy(ann.id, actor=system_actor(tenant, "tests"))
        session().rollback()
    assert runtime.test_cli_runner().invoke(args=["iam", "check"]).exit_code == 0


@on_mysql
@pytest.mark.mysql_only
@pytest.mark.parametrize("table", sorted(APPEND_ONLY))
def test_at_394_that_account_cannot_change_the_trail_nor_its_guards(
    runtime_url: str, table: str
) -> None:
    engine = sa.create_engine(runtime_url, poolclass=sa.NullPool)
    statements = [
        f"UPDATE {table} SET id = id",  # noqa: S608 - our own names
        f"DELETE FROM {table}",  # noqa: S608 - our own names
        f"TRUNCATE TABLE {table}",
        f"DROP TABLE {table}",
        f"DROP TRIGGER {table}_no_update",
        f"ALTER TABLE {table} ADD x INT",
        f"REPLACE INTO {table} SELECT * FROM {table}",  # noqa: S608 - our own names
        f"CREATE TRIGGER x BEFORE INSERT ON {table} FOR EACH ROW SET @x = 1",
    ]
    for statement in statements:
        with pytest.raises(DBAPIError, match="denied"), engine.begin() as connection:
            connection.exec_driver_sql(statement)
    engine.dispose()


@on_mysql
@pytest.mark.mysql_only
def test_m2_the_worker_runs_under_that_account(
    runtime_url: str, make_user: Callable[..., Any], tenant: UUID
) -> None:
    make_user("ann")
    wanted = {name: str(value) for name, value in SETTINGS.items() if value is not None}
    wanted |= {"DATABASE_URL": runtime_url, "IAM_ENV": "demo", "AUDIT_SEAL_MODE": "worker"}
    wanted.pop("TESTING")
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", "iam", "worker"],
        cwd=ROOT,
        env={**os.environ, **wanted, "IAM_OUTBOX_MODE": "worker"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until = clock.monotonic() + 40
        sealed = 0
        while not sealed and process.poll() is None and clock.monotonic() < until:
            session().rollback()
            with tenant_scope(tenant):
                sealed = session().scalar(sa.select(sa.func.count(IAMAuditCheckpoint.id))) or 0
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0]
    assert sealed, said
    assert "denied" not in said
    assert process.returncode == 0, said
