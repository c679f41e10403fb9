"""Events as the database hands them out, read one by one: a row that is none stops no other.

Whoever can insert rows can insert nonsense: broken JSON, times that are none, ids of another
length. The application cannot have written it, so it is passed over, not tripped over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, type_coerce
from sqlalchemy.types import UserDefinedType

from ..models import IAMAuthLog
from .macs import MOST_BYTES

_ID_BYTES = 16
# What an engine makes of JSON is longer than what was written.
_MOST_STORED = 4 * MOST_BYTES
_LONG = ("changes", "metadata", "origin_sealed", "personal_sealed")
_LOG = IAMAuthLog.__table__


class _Stored(UserDefinedType[Any]):
    """Whatever the driver hands out."""

    cache_ok = True


def as_stored(column: Any) -> ColumnElement[Any]:
    """Return a column whose values come as the driver has them."""
    return type_coerce(column, _Stored()).label(column.name)


def no_larger_than_ours() -> list[ColumnElement[bool]]:
    """Return conditions on events: beyond what ours can hold, a row must not fill the memory."""
    lengths = (func.coalesce(func.length(_LOG.c[name]), 0) for name in _LONG)
    return [length <= _MOST_STORED for length in lengths]


def ids_among(found: Iterable[Any]) -> list[UUID]:
    """Return the ids among what stands in the column of ids."""
    return [UUID(bytes=item) for item in found if _is_id(item)]


def _is_id(item: Any) -> bool:
    return isinstance(item, bytes) and len(item) == _ID_BYTES
