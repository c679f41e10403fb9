"""Reads a statement before it runs: which tenant tables it names, and whether through the ORM.

Tenant criteria reach mapped classes only. A Core table, a text or a second table
of an UPDATE would slip past them, so `scoping.py` refuses what is found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm.context import FromStatement
from sqlalchemy.sql.dml import Delete, Update
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.selectable import Select

from .db import Base

PREFIX = "iam_"


class Reading:
    """What was found: names of tenant tables, and why criteria would not hold, if so."""

    def __init__(self, statement: Any) -> None:
        self.tables: set[str] = set()
        self.bare: str | None = None
        if isinstance(statement, FromStatement):
            self._read_from_statement(statement)
        else:
            self._read(statement)

    def _read(self, statement: Any) -> None:
        nested: list[Any] = [statement]
        while nested:
            part = nested.pop()
            if isinstance(part, Update | Delete):
                self._read_dml(part, nested)
            else:
                self._read_select(part, nested)

    def _read_from_statement(self, statement: Any) -> None:
        # The rows of a text or a Core statement become objects: no criterion reaches them.
        for element in _walk(statement, []):
            self._note(element)
        if self.tables:
            self.bare = "from_statement"

    def _read_select(self, part: Any, nested: list[Any]) -> None:
        plain, mapped = [], set()
        for element in _walk(part, nested):
            self._note(element)
            if _is_mapped(element):
                mapped.add(hash(_owner(element)))
            elif _scoped_table(element) is not None:
                plain.append(element)
        for element in plain:
            if hash(element) not in mapped:
                self.bare = f"table {_scoped_table(element)}"

    def _read_dml(self, part: Any, nested: list[Any]) -> None:
        target = part.table
        for element in _walk(part, nested):
            self._note(element)
            owner = _owner(element)
            if _scoped_table(owner) is not None and hash(owner) != hash(target):
                self.bare = "a second table of an UPDATE or DELETE"
        if _scoped_table(target) is not None and not _is_mapped(target):
            self.bare = f"table {target.name}"

    def _note(self, element: Any) -> None:
        name = _scoped_table(_owner(element))
        if name is not None:
            self.tables.add(name)
        text = _literal(element)
        if text is not None and PREFIX in text.lower():
            self.tables.add(PREFIX)
            self.bare = "text"


def _walk(part: Any, nested: list[Any]) -> Iterator[Any]:
    # Every element of one SELECT, UPDATE or DELETE; those inside it go to `nested`.
    waiting = [part]
    while waiting:
        element = waiting.pop()
        if element is not part and isinstance(element, Select | Update | Delete):
            nested.append(element)
            continue
        yield element
        if _scoped_table(element) is None:
            waiting.extend(element.get_children())


def _owner(element: Any) -> Any:
    table = getattr(element, "table", None)
    return element if table is None else table


def _is_mapped(element: Any) -> bool:
    return "parententity" in getattr(element, "_annotations", ())


def _scoped_table(element: Any) -> str | None:
    # The tenant table that an element is, or is an alias of; None for everything else.
    table = getattr(element, "element", element)
    if not isinstance(table, Table) or "tenant_id" not in table.c:
        name = getattr(element, "name", None) if element.__visit_name__ == "table" else None
        return name if isinstance(name, str) and is_scoped_name(name) else None
    return table.name if is_scoped_name(table.name) else None


def is_scoped_name(name: str) -> bool:
    """Return whether a table of this name is ours and belongs to tenants."""
    table = Base.metadata.tables.get(name)
    return table is not None and "tenant_id" in table.c


def _literal(element: Any) -> str | None:
    if isinstance(element, TextClause):
        return element.text
    if isinstance(element, ColumnClause) and element.is_literal:
        return str(element.name)
    return None
