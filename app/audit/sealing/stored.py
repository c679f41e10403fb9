"""Events as the database hands them out, read one by one: a row that is none stops no other.

Whoever can insert rows can insert nonsense: broken JSON, times that are none, ids of another
length. The application cannot have written it, so it is passed over, not tripped over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, type_coerce
from sqlalchemy.types import UserDefinedType

_ID_BYTES = 16


class _Stored(UserDefinedType[Any]):
    """Whatever the driver hands out."""

    cache_ok = True


def as_stored(column: Any) -> ColumnElement[Any]:
    """Return a column whose values come as the driver has them."""
    return type_coerce(column, _Stored()).label(column.name)


def ids_among(found: Iterable[Any]) -> list[UUID]:
    """Return the ids among what stands in the column of ids."""
    return [UUID(bytes=item) for item in found if _is_id(item)]


def _is_id(item: Any) -> bool:
    return isinstance(item, bytes) and len(item) == _ID_BYTES
