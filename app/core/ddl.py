"""The statements that create a table, as SQLAlchemy itself would send them.

Read by the migrations, by the plain SQL of the schema and by the check of the
append-only guards, so that all three mean the same tables and triggers.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, create_mock_engine
from sqlalchemy.schema import CreateIndex, CreateTable

_URLS = {"mysql": "mysql+pymysql://", "sqlite": "sqlite://"}
DIALECTS = tuple(_URLS)


def statements(table: Table, dialect: str) -> list[str]:
    """Return the statements that create `table`: itself, indexes by name, then triggers."""
    found: list[Any] = []
    engine = create_mock_engine(_URLS[dialect], lambda element, *_a, **_k: found.append(element))
    table.create(engine, checkfirst=False)
    # A table's indexes are a set: their order changes from run to run.
    found.sort(key=_rank)
    return [str(element.compile(dialect=engine.dialect)).strip() for element in found]


def triggers(table: Table, dialect: str) -> list[str]:
    """Return the statements among them that create triggers."""
    return [item for item in statements(table, dialect) if item.startswith("CREATE TRIGGER")]


def _rank(element: Any) -> tuple[int, str]:
    if isinstance(element, CreateTable):
        return 0, ""
    if isinstance(element, CreateIndex):
        return 1, str(element.element.name)
    return 2, ""
