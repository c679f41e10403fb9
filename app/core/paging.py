"""Keyset paging: a page costs the same at ten million rows as at ten (requirement M4).

A cursor is the sort key of the last row shown, encoded but not trusted: it only
ever becomes bound parameters.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import Session

from .errors import BadRequest
from .i18n import N_

T = TypeVar("T")
MAX_SIZE = 200


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page: its rows, and cursors where there is more after or before."""

    items: list[T] = field(default_factory=list)
    next_cursor: str | None = None
    prev_cursor: str | None = None


def encode_cursor(direction: str, row_id: UUID) -> str:
    """Return the opaque form of a position."""
    return base64.urlsafe_b64encode(direction.encode() + row_id.bytes).decode().rstrip("=")


def decode_cursor(text: str) -> tuple[str, UUID]:
    """Return direction (`a` after, `b` before) and row id. Raises BadRequest."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        direction, row_id = raw[:1].decode(), UUID(bytes=raw[1:])
    except (binascii.Error, ValueError, UnicodeError):
        raise BadRequest(N_("That page does not exist"), code="paging.cursor") from None
    if direction not in {"a", "b"}:
        raise BadRequest(N_("That page does not exist"), code="paging.cursor")
    return direction, row_id


def page_by_id(
    db: Session, statement: Select[Any], key: Any, *, cursor: str | None, size: int
) -> Page[Any]:
    """Return a page of `statement`, newest first by the time-ordered id column `key`."""
    size = max(1, min(size, MAX_SIZE))
    direction, anchor = decode_cursor(cursor) if cursor else ("a", None)
    if direction == "b":
        rows = _fetch(db, statement.where(key > anchor).order_by(key.asc()), size)
        more, rows = len(rows) > size, rows[:size][::-1]
        return _page(rows, has_next=True, has_prev=more)
    if anchor is not None:
        statement = statement.where(key < anchor)
    rows = _fetch(db, statement.order_by(key.desc()), size)
    more, rows = len(rows) > size, rows[:size]
    return _page(rows, has_next=more, has_prev=anchor is not None)


def _fetch(db: Session, statement: Select[Any], size: int) -> list[Any]:
    return list(db.scalars(statement.limit(size + 1)))


def _page(rows: list[Any], *, has_next: bool, has_prev: bool) -> Page[Any]:
    if not rows:
        return Page()
    return Page(
        items=rows,
        next_cursor=encode_cursor("a", rows[-1].id) if has_next else None,
        prev_cursor=encode_cursor("b", rows[0].id) if has_prev else None,
    )
