"""Column types: what they make of values that a database should not hold."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from app.core.types import UTCDateTime


def test_at_394_a_stored_time_with_an_offset_is_the_moment_it_names() -> None:
    """SQLite keeps any text; its digits alone would be another time."""
    stored = sa.literal_column("'2026-01-02 01:00:00.000001+23:00'", UTCDateTime())
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        found = connection.scalar(sa.select(stored))
    engine.dispose()
    assert found == datetime(2026, 1, 1, 2, 0, 0, 1, tzinfo=UTC)
    assert found.tzinfo is UTC
