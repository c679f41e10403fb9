"""Empty databases to measure on: SQLite files, and a real MySQL server where one can be had."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from tests.support.mysql_server import MySQLUnavailableError, mysql_server

NewDatabase = Callable[[], str]


@contextmanager
def sqlite() -> Iterator[NewDatabase]:
    """Yield a maker of SQLite databases in a folder that is deleted afterwards."""
    with TemporaryDirectory(prefix="iam-bench-") as folder:
        yield lambda: f"sqlite:///{Path(folder) / uuid.uuid4().hex}.db"


@contextmanager
def mysql() -> Iterator[NewDatabase | None]:
    """Yield a maker of MySQL databases, or None where no server can be had."""
    server = mysql_server()
    try:
        found = server.__enter__()  # a server that cannot be had must not hide a fault later on
    except MySQLUnavailableError as error:
        print(f"mysql: not measured: {error}", file=sys.stderr)
        yield None
        return
    made: list[str] = []
    admin = sa.create_engine(found.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def new() -> str:
        name = f"iam_bench_{uuid.uuid4().hex[:12]}"
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        made.append(name)
        return found.url_for(name)

    try:
        yield new
        with admin.connect() as connection:
            for name in made:
                connection.exec_driver_sql(f"DROP DATABASE {name}")
    finally:
        admin.dispose()
        server.__exit__(*sys.exc_info())
