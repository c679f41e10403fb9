"""Empty databases, one per test, on both engines."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

import app.auth.models  # noqa: F401 - yields every table
from app.core.db import prepare_sqlite


@contextmanager
def empty_mysql(url: sa.URL) -> Iterator[sa.Engine]:
    name = f"iam_empty_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    engine = sa.create_engine(url.set(database=name))
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name}")
        admin.dispose()


@pytest.fixture
def mysql(mysql_url) -> Iterator[sa.Engine]:
    with empty_mysql(mysql_url) as engine:
        yield engine


@pytest.fixture
def twin_of_mysql(mysql_url) -> Iterator[sa.Engine]:
    with empty_mysql(mysql_url) as engine:
        yield engine


@pytest.fixture
def sqlite(tmp_path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    prepare_sqlite(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql_only)])
def engine(request) -> sa.Engine:
    return request.getfixturevalue(request.param)


@pytest.fixture
def twin_of_sqlite() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    yield engine
    engine.dispose()


@pytest.fixture
def twin(request, engine) -> sa.Engine:
    """A second empty database of the same engine."""
    return request.getfixturevalue(f"twin_of_{engine.dialect.name}")
