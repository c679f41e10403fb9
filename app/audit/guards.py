"""Whether the append-only guards of the audit trail stand in a database."""

from __future__ import annotations

from sqlalchemy import Engine, text

from .models import TRIGGER_NAMES

_LISTINGS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "mysql": "SELECT trigger_name FROM information_schema.triggers"
    " WHERE trigger_schema = DATABASE()",
}


def missing_triggers(engine: Engine) -> list[str]:
    """Return the names of the guards that are not there."""
    with engine.connect() as connection:
        found = connection.execute(text(_LISTINGS[engine.dialect.name]))
        present = {str(row[0]) for row in found}
    return sorted(TRIGGER_NAMES - present)
