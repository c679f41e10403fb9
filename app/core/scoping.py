"""Automatic tenant scoping of every query on `iam_*` tables (requirement K1).

A scope is a tenant, or an explicit exemption with a reason. Without one, a query
on tenant data raises. Installed as session events, so that joins, subqueries,
relationship loads, bulk updates and deletes are all covered; text and Core
statements that name our tables are refused unless the scope is an exemption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, event, inspect
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from .db import TenantScoped, session
from .errors import TenantContextMissing
from .statements import Reading

EXEMPT = "iam_unscoped"


@dataclass(frozen=True, slots=True)
class Scope:
    """The tenant that queries may see; None together with a reason means every tenant.

    `memo` is what a request remembers of its tenant; what outlives a request has none.
    """

    tenant_id: UUID | None
    reason: str = ""
    memo: dict[str, Any] | None = field(default=None, compare=False, repr=False)


_scope: ContextVar[Scope | RequestScope | None] = ContextVar("iam_scope", default=None)


class RequestScope:
    """The scope of one request: the tenant is looked up when the first query needs it."""

    def __init__(self, resolver: Callable[[], UUID]) -> None:
        self._resolver: Callable[[], UUID] | None = resolver
        self._token = _scope.set(self)

    def resolve(self) -> Scope | None:
        """Return the tenant's scope; a query made while resolving must be exempt."""
        if self._resolver is None:
            return None
        resolver, self._resolver = self._resolver, None
        tenant_id = resolver()
        if _scope.get() is self:
            _scope.set(Scope(tenant_id, memo={}))
        return _current()

    def leave(self) -> None:
        """Restore what was in scope before the request."""
        _scope.reset(self._token)


def _current() -> Scope | None:
    found = _scope.get()
    return found.resolve() if isinstance(found, RequestScope) else found


def current_tenant_id() -> UUID:
    """Return the tenant in scope. Raises TenantContextMissing where there is none."""
    scope = _current()
    if scope is None or scope.tenant_id is None:
        raise TenantContextMissing("no tenant in scope")
    return scope.tenant_id


def enter_tenant(tenant_id: UUID) -> None:
    """Put the rest of this context (a request) into a tenant."""
    _scope.set(Scope(tenant_id, memo={}))


def request_memo() -> dict[str, Any] | None:
    """Return what this request remembers of the tenant in scope; None where nothing is kept."""
    scope = _current()
    return scope.memo if scope is not None else None


def leave_tenant() -> None:
    """Forget the tenant of this context; queries raise again."""
    _scope.set(None)


@contextmanager
def tenant_scope(tenant_id: UUID) -> Iterator[None]:
    """Run a block inside one tenant."""
    token = _scope.set(Scope(tenant_id))
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def unscoped(reason: str) -> Iterator[None]:
    """Run a block over all tenants; `reason` says why it may."""
    token = _scope.set(Scope(None, reason))
    try:
        yield
    finally:
        _scope.reset(token)


def exempt(reason: str) -> dict[str, Any]:
    """Return execution options that exempt one statement from scoping, with its reason."""
    return {EXEMPT: reason}


def install(target: Any) -> None:
    """Listen on a session factory (Flask-SQLAlchemy's scoped session)."""
    if getattr(target, "_iam_scoped", False):
        return
    event.listen(target, "do_orm_execute", _scope_statement)
    event.listen(target, "before_flush", _scope_rows)
    if not event.contains(TenantScoped, "load", _check_loaded):
        event.listen(TenantScoped, "load", _check_loaded, propagate=True)
    target._iam_scoped = True  # noqa: SLF001 - one session factory may serve several apps


def _scope_statement(state: ORMExecuteState) -> None:
    if state.execution_options.get(EXEMPT) or state.is_column_load:
        return
    reading = Reading(state.statement)
    if not reading.tables:
        return
    scope = _current()
    if scope is None:
        raise TenantContextMissing(f"no tenant in scope for: {reading.tables}")
    if scope.tenant_id is None:
        return
    _refuse_unreachable(state, reading)
    tenant_id = scope.tenant_id
    state.statement = state.statement.options(
        with_loader_criteria(
            TenantScoped,
            lambda cls: cls.tenant_id == tenant_id,
            include_aliases=True,
            propagate_to_loaders=True,
            track_closure_variables=True,
        )
    )


def _refuse_unreachable(state: ORMExecuteState, reading: Reading) -> None:
    # Criteria reach mapped classes of an ORM statement; anything else would see all tenants.
    # An INSERT takes none: rows are checked on flush, a bulk one is exempted by name.
    if reading.bare or not state.is_orm_statement or state.is_insert:
        raise TenantContextMissing(f"bare SQL on tenant tables: {reading.bare or reading.tables}")
    if state.is_update and isinstance(state.parameters, list):
        raise TenantContextMissing("an UPDATE by primary key takes no tenant criteria")
    if state.is_update and _sets_tenant(state.statement):
        raise TenantContextMissing("an UPDATE that moves rows to another tenant")


def _sets_tenant(statement: Any) -> bool:
    given = statement._values or dict(statement._ordered_values or ())  # noqa: SLF001
    return any(getattr(column, "key", column) == "tenant_id" for column in given)


def _scope_rows(current: Session, _context: Any, _instances: Any) -> None:
    for row in (*current.new, *current.dirty, *current.deleted):
        if isinstance(row, TenantScoped):
            _check_row(row)


def _check_loaded(row: TenantScoped, context: Any) -> None:
    # The second wall: whatever a statement looked like, a row of another tenant does not
    # become an object here.
    scope = _current()
    if scope is None or scope.tenant_id is None or context is None:
        return
    if context.execution_options.get(EXEMPT):
        return
    if row.__dict__.get("tenant_id", scope.tenant_id) != scope.tenant_id:
        raise TenantContextMissing(f"a {type(row).__name__} of another tenant was loaded")


def insert_past(statement: Insert, values: Mapping[str, Any]) -> None:
    """Insert one row by a Core statement made at import, in half the time of the unit of work.

    `values` go by the names of columns. What waits to be flushed stays waiting, so a statement
    fails where its caller made it. Raises TenantContextMissing where the row is not of the
    tenant in scope.
    """
    scope = _current()
    if scope is None:
        raise TenantContextMissing(f"no tenant in scope for a new row of {statement.table}")
    if scope.tenant_id not in {None, values["tenant_id"]}:
        raise TenantContextMissing(f"a row of {statement.table} of another tenant")
    session().connection().execute(statement, values)


def _check_row(row: TenantScoped) -> None:
    scope = _current()
    if scope is None:
        raise TenantContextMissing(f"no tenant in scope for a new {type(row).__name__}")
    if scope.tenant_id is None:
        return
    given: UUID | None = row.tenant_id  # None until the row was flushed or told
    before = inspect(row).attrs.tenant_id.history.deleted
    if given is None:
        row.tenant_id = scope.tenant_id
    elif any(item not in {None, scope.tenant_id} for item in (given, *before)):
        raise TenantContextMissing(f"a {type(row).__name__} of another tenant")
