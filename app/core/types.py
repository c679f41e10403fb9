"""Column types shared by every model.

MySQL is the production engine, SQLite the embedded one: a type here behaves the
same on both. Text is compared by binary collation only, so accents, case and
homoglyphs never make two identities equal (requirement B1).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BINARY, DateTime, LargeBinary, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

BINARY_COLLATION = "utf8mb4_0900_bin"


class GUID(TypeDecorator[UUID]):
    """A UUID in sixteen bytes: BINARY(16) on MySQL, BLOB on SQLite."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind = BINARY(16) if dialect.name == "mysql" else LargeBinary(16)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.bytes

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> UUID | None:
        return None if value is None else UUID(bytes=bytes(value))


class Digest(TypeDecorator[bytes]):
    """A 32-byte digest: BINARY(32) on MySQL, BLOB on SQLite."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind = BINARY(32) if dialect.name == "mysql" else LargeBinary(32)
        return dialect.type_descriptor(kind)


def octets(length: int) -> TypeEngine[bytes]:
    """Return a column of up to `length` bytes: VARBINARY on MySQL, BLOB on SQLite."""
    return LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql")


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time with microseconds; a naive value is refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind = mysql.DATETIME(fsp=6) if dialect.name == "mysql" else DateTime()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: times are aware UTC")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        # SQLite keeps any text: a time with an offset is another one than its digits say.
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def binary_string(length: int) -> TypeEngine[str]:
    """Return a VARCHAR compared byte for byte on both engines."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation=BINARY_COLLATION), "mysql"
    )


def long_text() -> TypeEngine[str]:
    """Return a TEXT of up to 16 MiB on MySQL, unbounded on SQLite."""
    return Text().with_variant(
        mysql.MEDIUMTEXT(charset="utf8mb4", collation=BINARY_COLLATION), "mysql"
    )
