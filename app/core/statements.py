"""Reads a statement before it runs: which tenant tables it names, and whether through the ORM.

Tenant criteria reach mapped classes only. A Core table, a text or a second table
of an UPDATE would slip past them, so `scoping.py` refuses what is found here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from sqlalchemy.orm.context import FromStatement
from sqlalchemy.sql.dml import Delete, Update
from sqlalchemy.sql.selectable import Select

from .db import Base

PREFIX = "iam_"
_PARTS = (Select, Update, Delete)
_LEAVES = frozenset({"bindparam", "null", "true", "false", "values_column", "type_clause"})


class Reading:
    """What was found: names of tenant tables, and why criteria would not hold, if so.

    A statement is read SELECT by SELECT (or UPDATE, DELETE): in each, a tenant table
    must be there through a mapped class, or it is bare.
    """

    def __init__(self, statement: Any) -> None:
        self.tables: set[str] = set()
        self.bare: str | None = None
        self._scoped = _scoped_tables(len(Base.metadata.tables))
        self._parts: list[Any] = [statement]
        while self._parts:
            self._read(self._parts.pop())
        if isinstance(statement, FromStatement) and self.tables:
            self.bare = "from_statement"  # its rows become objects; no criterion reaches them

    def _read(self, part: Any) -> None:
        # A mapped FROM is left out of the children where a plain column names its table first.
        mapped = {hash(item) for item in getattr(part, "_from_obj", ()) if _is_mapped(item)}
        found: dict[int, str] = {}
        if isinstance(part, Select):
            late = _late_clauses(part)
            # A class that only sorts or groups adds no criterion: it vouches for no table.
            self._collect(list(late), found, set())
            self._collect(_without(part.get_children(), late), found, mapped)
            for text in _side_texts(part):
                self._read_text(text)
        elif isinstance(part, Update | Delete):
            self._collect(list(part.get_children()), found, mapped)
            mapped &= {hash(part.table)}  # criteria reach the first table only
        else:
            self._collect([part], found, mapped)
        self.tables.update(found.values())
        for key, name in found.items():
            if key not in mapped:
                self.bare = f"table {name}"

    def _collect(self, waiting: list[Any], found: dict[int, str], mapped: set[int]) -> None:
        while waiting:
            element = waiting.pop()
            if isinstance(element, _PARTS):
                self._parts.append(element)
                continue
            kind = element.__visit_name__
            if kind == "column":
                self._read_column(element, found, mapped)
            elif kind in {"table", "alias"} and self._read_table(element, found, mapped):
                continue
            elif kind == "textclause":
                self._read_text(element.text)
            elif kind not in _LEAVES:
                waiting.extend(element.get_children())

    def _read_column(self, element: Any, found: dict[int, str], mapped: set[int]) -> None:
        owner = element.table
        if owner is None:
            if element.is_literal:
                self._read_text(str(element.name))
            return
        key = hash(owner)
        if _is_mapped(element):
            mapped.add(key)
        name = self._name_of(owner, key)
        if name is not None:
            found[key] = name

    def _read_table(self, element: Any, found: dict[int, str], mapped: set[int]) -> bool:
        key = hash(element)
        if _is_mapped(element):
            mapped.add(key)
        name = self._name_of(element, key)
        if name is None:
            return False
        found[key] = name
        return True

    def _name_of(self, owner: Any, key: int) -> str | None:
        # The tenant table that `owner` is, or is an alias of.
        kind = owner.__visit_name__
        if kind == "alias":
            owner = owner.element
            kind, key = owner.__visit_name__, hash(owner)
        if kind != "table":
            return None
        if key in self._scoped:
            return self._scoped[key]
        # A lightweight table() of the same name reads the same rows.
        return owner.name if owner.name in self._scoped.values() else None

    def _read_text(self, text: str) -> None:
        if PREFIX in text.lower():
            self.tables.add(PREFIX)
            self.bare = "text"


def _late_clauses(part: Select[Any]) -> tuple[Any, ...]:
    return (
        *part._order_by_clauses,  # noqa: SLF001 - no public way to these
        *part._group_by_clauses,  # noqa: SLF001
        *part._having_criteria,  # noqa: SLF001
        *part._distinct_on,  # noqa: SLF001
    )


def _without(children: Iterable[Any], late: tuple[Any, ...]) -> list[Any]:
    # One object may be selected and sorted by: it is left out as often as it is late.
    left = Counter(id(item) for item in late)
    kept = []
    for child in children:
        if left[id(child)]:
            left[id(child)] -= 1
        else:
            kept.append(child)
    return kept


def _side_texts(part: Select[Any]) -> Iterator[str]:
    # Words beside a SELECT that reach the database as they are.
    for clause, _dialect in (*part._prefixes, *part._suffixes):  # noqa: SLF001
        yield str(getattr(clause, "text", ""))
    for _dialect, text in part._statement_hints:  # noqa: SLF001
        yield text
    yield from part._hints.values()  # noqa: SLF001


def _is_mapped(element: Any) -> bool:
    return "parententity" in element._annotations  # noqa: SLF001 - how the ORM marks its own


@lru_cache(maxsize=8)
def _scoped_tables(_count: int) -> dict[int, str]:
    # By hash: an annotated copy of a table has the hash of the table itself.
    return {
        hash(table): name for name, table in Base.metadata.tables.items() if "tenant_id" in table.c
    }
