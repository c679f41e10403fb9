"""Events as the database hands them out, read one by one: a row that is none stops no other.

Whoever can insert rows can insert nonsense: broken JSON, times that are none, ids of another
length. The application cannot have written it, so it is passed over, not tripped over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, type_coerce
from sqlalchemy.engine import Dialect
from sqlalchemy.types import UserDefinedType

from ...core.db import engine
from ..models import IAMAuthLog

_LOG = IAMAuthLog.__table__
_ID_BYTES = 16
_NONSENSE = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)


class _Stored(UserDefinedType[Any]):
    """Whatever the driver hands out."""

    cache_ok = True


def as_stored(column: Any) -> ColumnElement[Any]:
    """Return a column whose values come as the driver has them."""
    return type_coerce(column, _Stored()).label(column.name)


def ids_among(found: Iterable[Any]) -> list[UUID]:
    """Return the ids among what stands in the column of ids."""
    return [UUID(bytes=item) for item in found if _is_id(item)]


def event_of(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the values of an event, or None for a row that has another form."""
    readers = _readers(engine().dialect)
    try:
        return {name: _read(readers[name], stored[name]) for name in readers}
    except _NONSENSE:
        return None


@lru_cache(maxsize=4)
def _readers(dialect: Dialect) -> dict[str, Callable[[Any], Any] | None]:
    return {
        column.name: column.type.dialect_impl(dialect).result_processor(dialect, None)
        for column in _LOG.c
    }


def _read(reader: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if reader is None else reader(value)


def _is_id(item: Any) -> bool:
    return isinstance(item, bytes) and len(item) == _ID_BYTES
