"""The only reader of the wall clock.

Everything that decides by time asks here, so that tests can move time and no
module is surprised by a naive or local timestamp. All values are aware UTC.
"""

from __future__ import annotations

import time as _time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_offset = timedelta(0)


def now() -> datetime:
    """Return the current time: aware, UTC, microseconds."""
    return datetime.now(UTC) + _offset


def monotonic() -> float:
    """Return seconds on a clock that never goes back; for deadlines inside one process."""
    return _time.monotonic()


def epoch_us() -> int:
    """Return microseconds since 1970 (for time-ordered identifiers)."""
    return (now() - _EPOCH) // timedelta(microseconds=1)


@contextmanager
def travel(delta: timedelta) -> Iterator[None]:
    """Shift the clock while the block runs; only tests and rehearsals call this."""
    global _offset  # noqa: PLW0603 - one process-wide clock is the point
    before = _offset
    _offset = before + delta
    try:
        yield
    finally:
        _offset = before
