"""What one process keeps of providers' documents: bounded, thread safe, by connection.

Refuses to know what it keeps or how old that may be: `metadata.py` and `keys.py` decide.
"""

from __future__ import annotations

from threading import Lock
from typing import Generic, TypeVar
from uuid import UUID

T = TypeVar("T")
_MOST = 1000


class Kept(Generic[T]):
    """Documents by connection and address; the oldest goes when there are too many."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._items: dict[tuple[UUID, str], T] = {}

    def get(self, connection_id: UUID, url: str) -> T | None:
        """Return what is kept for an address of a connection."""
        with self._lock:
            return self._items.get((connection_id, url))

    def put(self, connection_id: UUID, url: str, item: T) -> T:
        """Keep `item` in place of what was there, and return it."""
        with self._lock:
            self._put((connection_id, url), item)
            return item

    def first(self, connection_id: UUID, url: str, item: T) -> T:
        """Return what is kept; `item` from now on where that was nothing."""
        with self._lock:
            if (connection_id, url) not in self._items:
                self._put((connection_id, url), item)
            return self._items[connection_id, url]

    def forget(self, connection_id: UUID) -> None:
        """Drop everything of one connection."""
        with self._lock:
            for key in [key for key in self._items if key[0] == connection_id]:
                del self._items[key]

    def _put(self, key: tuple[UUID, str], item: T) -> None:
        self._items[key] = item
        while len(self._items) > _MOST:
            del self._items[next(iter(self._items))]
