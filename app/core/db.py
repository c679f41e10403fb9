"""Database base class, session access and the unit of work.

The session is whichever Flask-SQLAlchemy instance the app registered: a host's
own, or ours. `transaction()` is the one boundary and the only place that
commits. Tenant scoping lives in `scoping.py` and is installed on that session.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar, cast
from uuid import UUID

from flask import current_app
from sqlalchemy import CursorResult, Engine, Executable, MetaData, event
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from .errors import Unavailable
from .ids import new_id
from .types import BINARY_COLLATION, GUID

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
TABLE_OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": BINARY_COLLATION,
    "mysql_row_format": "DYNAMIC",
}
_T = TypeVar("_T")
_TRIES = 4
_DEPTH = "iam_depth"
_EVIDENCE = "iam_evidence"
_AFTER_COMMIT = "iam_after_commit"
# MySQL: lock wait, deadlock; then refused, gone, lost, too many, killed, read-only, shutting down.
_LOST_RACE_CODES = {1205, 1213}
_OUTAGE_CODES = {1040, 1044, 1045, 1053, 1203, 1226, 1290, 1317, 1792, 1836, 1927} | {
    2002, 2003, 2006, 2013, 2014, 2027, 2055,
}  # fmt: skip
_SQLITE_OUTAGES = ("locked", "unable to open", "disk i/o", "readonly", "disk is full")


class Base(DeclarativeBase):
    """Base of every `iam_*` model; own MetaData, so a host's tables stay apart."""

    metadata = MetaData(naming_convention=NAMING)
    __table_args__: Any = TABLE_OPTIONS

    id: Mapped[UUID] = mapped_column(GUID(), primary_key=True, default=new_id, sort_order=-10)


class TenantScoped:
    """Mixin of every table that belongs to one tenant; queries on it are scoped."""

    tenant_id: Mapped[UUID] = mapped_column(GUID(), sort_order=-9)


@cache
def model(table: str) -> Any:
    """Return the mapped class of a table, for a package that may not import its model.

    Raises LookupError where nothing maps it.
    """
    for mapper in Base.registry.mappers:
        if getattr(mapper.local_table, "name", None) == table:
            return mapper.class_
    raise LookupError(table)


def session() -> Session:
    """Return the database session of the current app context."""
    return cast(Session, current_app.extensions["sqlalchemy"].session())


def engine() -> Engine:
    """Return the engine behind the session of the current app context."""
    return cast(Engine, session().get_bind())


def run_prepared(statement: Executable, parameters: Any, *, reason: str) -> CursorResult[Any]:
    """Run a Core statement made at import, for the hot paths; part of the unit of work.

    A fifth of what the ORM takes: nothing is built, scoped or turned into entities. So
    scoping does not see it: `reason` says how the statement itself keeps to its tenant.
    """
    assert reason  # noqa: S101 - an exemption without a reason is a mistake of the caller
    current = session()
    current.flush()
    return current.connection().execute(statement, parameters)


@contextmanager
def transaction() -> Iterator[Session]:
    """Run a block as one unit of work: commit at its end, roll back on any exception.

    A block inside another joins it. A refusal that `keeps_evidence` rolls the
    work back and writes the audit rows recorded so far in a fresh transaction.
    Raises Unavailable where the database is away or reports a lost lock race.
    """
    current = session()
    if current.info.get(_DEPTH):
        yield current
        return
    current.info[_DEPTH] = 1
    try:
        _begin_write(current)
        yield current
        current.commit()
    except BaseException as error:
        kept = _abandon(current, error)
        current.info.pop(_DEPTH, None)
        _run_after_commit(kept)
        if is_outage(error):
            raise Unavailable(code="database.unavailable") from error
        raise
    finally:
        current.info.pop(_DEPTH, None)
        current.info.pop(_EVIDENCE, None)
        callbacks = current.info.pop(_AFTER_COMMIT, [])
    _run_after_commit(callbacks)


def transact(work: Callable[[], _T]) -> _T:
    """Run `work` as one unit of work, again where it lost a race for a lock.

    Whoever calls it holds no transaction. Raises Unavailable.
    """
    for _again in range(_TRIES - 1):
        try:
            with transaction():
                return work()
        except Unavailable as error:
            if error.__cause__ is None or not is_lost_race(error.__cause__):
                raise
    with transaction():
        return work()


def apart(work: Callable[[], _T], logger: logging.Logger, message: str, *args: object) -> _T | None:
    """Do one of many pieces of work: its trouble is rolled back and logged, the others go on.

    Returns what `work` does, None where it failed. Raises Unavailable: the trouble of all.
    """
    try:
        return work()
    except Unavailable:
        raise
    except Exception:
        session().rollback()
        logger.exception(message, *args)
        return None


def transaction_open() -> bool:
    """Return whether a unit of work is running in this context."""
    return bool(session().info.get(_DEPTH))


def after_commit(callback: Callable[[], object]) -> None:
    """Run `callback` once the current work is committed; it is dropped on rollback."""
    current = session()
    current.info.setdefault(_AFTER_COMMIT, []).append(callback)


def keep_evidence(row: Callable[[], Base], *, then: Callable[[], object] | None = None) -> None:
    """Remember how to rebuild an audit row should the work be refused, and what follows then."""
    session().info.setdefault(_EVIDENCE, []).append((row, then))


def end_read() -> None:
    """Give the connection back before something slow (a password hash, the network).

    A pooled connection held through a hash would be a second, hidden queue.
    """
    current = session()
    if not current.info.get(_DEPTH):
        current.commit()


def _begin_write(current: Session) -> None:
    # SQLite upgrades a read transaction to a write one only if nobody wrote since:
    # otherwise it fails at once instead of waiting. So a write takes the lock first.
    if current.get_bind().dialect.name != "sqlite":
        return
    if current.new or current.dirty or current.deleted:
        return
    if current.in_transaction():
        current.commit()
    current.connection(execution_options={"iam_write": True})


def _abandon(current: Session, error: BaseException) -> list[Callable[[], object]]:
    """Roll back, write the evidence that is kept, and return what follows once that is done."""
    evidence = current.info.pop(_EVIDENCE, [])
    current.info.pop(_AFTER_COMMIT, None)
    current.rollback()
    if not evidence or not getattr(error, "keeps_evidence", False):
        return []
    try:
        _begin_write(current)
        current.add_all([rebuild() for rebuild, _then in evidence])
        current.commit()
    except BaseException:
        current.rollback()
        raise
    return [then for _rebuild, then in evidence if then is not None]


def is_outage(error: BaseException) -> bool:
    """Return whether `error` means that the database is away, read-only or overloaded."""
    if isinstance(error, PoolTimeout | InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or _code(error) in _OUTAGE_CODES | _LOST_RACE_CODES:
        return True
    text = str(error.orig).lower()
    return isinstance(error.orig, sqlite3.OperationalError) and any(
        words in text for words in _SQLITE_OUTAGES
    )


def is_lost_race(error: BaseException) -> bool:
    """Return whether the engine chose this transaction as a deadlock victim."""
    return _code(error) in _LOST_RACE_CODES


def _code(error: BaseException) -> object:
    original = getattr(error, "orig", None)
    return original.args[0] if original is not None and original.args else None


def _run_after_commit(callbacks: list[Callable[[], object]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:  # the work is committed; a listener's fault must not undo the answer
            current_app.logger.exception("after-commit callback failed")


def prepare_sqlite(engine: Any) -> None:
    """Make an SQLite engine of our own behave: WAL, foreign keys, waiting writers."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        # Text that is no UTF-8, which somebody put there by other means, stops no query.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        cursor = connection.cursor()
        for pragma in (
            "busy_timeout=15000",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        if connection.get_execution_options().get("iam_write"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            # Past SQLAlchemy's statement machinery: this one takes no lock, so it cannot fail.
            connection.connection.driver_connection.execute("BEGIN")
