"""`db/iam_schema.sql`: current, loadable by hand, and the same as the models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pymysql
import pytest
import sqlalchemy as sa
from pymysql.constants import CLIENT

from app.core import migrations, schema
from app.core.db import Base
from tests.support.snapshots import snapshot

ROOT = Path(__file__).resolve().parents[2]
SCHEMA_FILE = ROOT / "db" / "iam_schema.sql"


def load(url: sa.URL, text: str) -> None:
    """Load SQL as a person would: the whole file, statement after statement."""
    connection = pymysql.connect(
        host=url.host,
        port=url.port,
        user=url.username,
        password=url.password or "",
        database=url.database,
        client_flag=CLIENT.MULTI_STATEMENTS,
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            while cursor.nextset():
                pass
        connection.commit()
    finally:
        connection.close()


def test_the_file_is_what_the_models_render():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema.render_mysql_schema(), (
        "run: python -m db.make_migration --schema"
    )


def test_every_table_is_in_the_file():
    text = SCHEMA_FILE.read_text(encoding="utf-8")
    for name in Base.metadata.tables:
        assert f"CREATE TABLE {name} (" in text


def test_rendering_is_the_same_in_every_process():
    script = (
        "import app.auth.models; from app.core.schema import render_mysql_schema;"
        "print(render_mysql_schema(), end='')"
    )
    again = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert again.stdout == schema.render_mysql_schema()


@pytest.mark.mysql_only
def test_the_file_loads_into_mysql_and_equals_the_models(mysql, twin_of_mysql):
    load(mysql.url, SCHEMA_FILE.read_text(encoding="utf-8"))
    Base.metadata.create_all(twin_of_mysql)
    assert snapshot(mysql) == snapshot(twin_of_mysql)


@pytest.mark.mysql_only
def test_a_database_loaded_by_hand_counts_as_migrated(mysql):
    load(mysql.url, SCHEMA_FILE.read_text(encoding="utf-8"))
    before = snapshot(mysql)
    assert migrations.is_current(mysql)
    migrations.upgrade(mysql)
    assert snapshot(mysql) == before
