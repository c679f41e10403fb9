"""Accounts found, listed and counted. Changes nothing.

Owns the look-up by login name and the administrators' list with its search, filters and
keyset paging. What a person types becomes a bound parameter or an entry of an allow-list
here, never a piece of a statement (AT-442).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import aliased

from ...authz import services_grants, services_rbac
from ...authz.catalogue import ADMINISTRATORS, SUPER_ADMIN
from ...authz.grants import GLOBAL, ORGANIZATION, OWN, TEAM, TENANT, Grants
from ...authz.hierarchy import lineage, role_rights
from ...authz.models import IAMRole, IAMUserRole
from ...core import clock
from ...core.db import session
from ...core.errors import NotFound
from ...core.paging import MAX_SIZE, Page, decode_cursor, encode_cursor, page_by_id
from ...tenancy.models import IAMOrganization
from ..identity import canonical_email, canonical_username, is_lookup_safe
from ..liveness import ACTIVE, ERASED, STATUSES
from ..models import IAMMfaMethod, IAMRecoveryRequest, IAMUserAccount
from ..recovery import services_recovery_rows
from .services_reach import EVERYBODY, Reach

NEWEST, OLDEST, NAME, NAME_DESC = "newest", "oldest", "name", "-name"
SORTS = (NEWEST, OLDEST, NAME, NAME_DESC)
_U, _R = IAMUserAccount, IAMRecoveryRequest
_MAX_WORDS = 4
_ESCAPE = "!"


@dataclass(frozen=True, slots=True)
class UserExtras:
    """What a list shows beside each account: names of roles, kinds of factors."""

    roles: dict[UUID, list[str]] = field(default_factory=dict)
    factors: dict[UUID, list[str]] = field(default_factory=dict)


def find_by_login(identifier: str | None) -> IAMUserAccount | None:
    """Return the account that signs in with this username or e-mail, or None; one query."""
    key = login_key(identifier)
    return _find(getattr(_U, key[0]) == key[1]) if key else None


def login_key(identifier: str | None) -> tuple[str, str] | None:
    """Return the column and canonical value that a login name is found by; None: by none."""
    text = (identifier or "").strip()
    if not is_lookup_safe(text):
        return None
    if "@" not in text:
        return "username_canonical", canonical_username(text)
    # Addresses have ASCII local parts here; folding another script into one would let a
    # K sign stand for a k (AT-096).
    if not text.rpartition("@")[0].isascii():
        return None
    return "email_canonical", canonical_email(text)


def get_user(user_id: UUID | None) -> IAMUserAccount:
    """Return one account of the tenant in scope. Raises NotFound."""
    found = _find(_U.id == user_id)
    if found is None:
        raise NotFound
    return found


def hold_user(user_id: UUID) -> IAMUserAccount:
    """Lock an account and return it as stored now. Raises NotFound."""
    found = session().scalar(
        select(_U)
        .where(_U.id == user_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound
    return found


def list_users(
    q: str = "",
    *,
    status: str = "",
    role: str = "",
    organization: UUID | None = None,
    sort: str = NEWEST,
    cursor: str | None = None,
    size: int = 25,
    reach: Reach = EVERYBODY,
) -> Page[IAMUserAccount]:
    """Return a page of the accounts within reach; erased ones only where asked for.

    `organization` keeps its people and those of whatever lies below it. `q` matches the
    beginning of username, e-mail and each word of the names. An unknown status, role or
    sort is no error: it finds nothing, or sorts as usual.
    Raises BadRequest for a cursor that is none.
    """
    statement = select(_U).where(*_filters(q, status, role), *reach.accounts())
    if organization is not None:
        below = services_grants.organizations_below({organization})[organization]
        statement = statement.where(*Reach(below).accounts())
    if sort in {OLDEST, NAME, NAME_DESC}:
        return _sorted_page(statement, sort, cursor, size)
    return page_by_id(session(), statement, _U.id, cursor=cursor, size=size)


def count_by_status(reach: Reach = EVERYBODY) -> dict[str, int]:
    """Return how many accounts have each status; one query."""
    query = select(_U.status, func.count(_U.id)).where(*reach.accounts()).group_by(_U.status)
    rows = session().execute(query)
    return dict.fromkeys(STATUSES, 0) | {row[0]: row[1] for row in rows}


def count_factors(reach: Reach = EVERYBODY) -> dict[str, int]:
    """Return how many accounts use each kind of confirmed factor; one query."""
    rows = session().execute(
        select(IAMMfaMethod.method, func.count(IAMMfaMethod.user_id.distinct()))
        .where(IAMMfaMethod.confirmed_at.is_not(None), *reach.owned_by(IAMMfaMethod.user_id))
        .group_by(IAMMfaMethod.method)
    )
    return {row[0]: row[1] for row in rows}


def count_protected(reach: Reach = EVERYBODY) -> int:
    """Return how many accounts have a confirmed second factor; one query."""
    query = select(func.count(IAMMfaMethod.user_id.distinct())).where(
        IAMMfaMethod.confirmed_at.is_not(None), *reach.owned_by(IAMMfaMethod.user_id)
    )
    return session().scalar(query) or 0


def count_undecided(reach: Reach = EVERYBODY) -> int:
    """Return how many recovery requests wait for an administrator's decision; one query."""
    waiting = (_R.status == services_recovery_rows.APPROVAL, _R.expires_at > clock.now())
    query = select(func.count(_R.id)).where(*waiting, *reach.owned_by(_R.user_id))
    return session().scalar(query) or 0


def grantable_roles(grants: Grants, parent_id: UUID | None = None) -> list[IAMRole]:
    """Return the roles that somebody may give to a person of an organization, as is usual."""
    return [
        role
        for role, scopes in grantable_scopes(grants, parent_id)
        if default_scope(role.name) in scopes
    ]


def grantable_scopes(
    grants: Grants, parent_id: UUID | None = None
) -> list[tuple[IAMRole, list[str]]]:
    """Return the roles that somebody may give to a person of an organization, with the scopes.

    The widest comes first. What one of the giver's organizations would bound is
    decided where it is given.
    """
    tree = services_grants.role_tree()
    held = services_grants.role_permissions(tree)
    places = sorted(grants.organizations_for("role:assign") or ())
    bound = parent_id or (places[0] if places else None)  # a new account's is not chosen yet
    offered = []
    for role in services_rbac.list_roles():
        names = {node.name for node in lineage(tree, role.id)}
        if not services_rbac.holds_names(grants, names):
            continue
        scopes = [
            scope
            for scope in _scopes_of(names)
            if all(
                grants.covers(right, target_parent_id=bound)
                for right in role_rights(tree, held, role.id, scope=scope)
            )
        ]
        if scopes:
            offered.append((role, scopes))
    return offered


def _scopes_of(names: set[str]) -> tuple[str, ...]:
    # Only who reaches the platform holds anything there; an administrator holds the whole.
    if SUPER_ADMIN in names:
        return (GLOBAL, TENANT)
    if not names.isdisjoint(ADMINISTRATORS):
        return (TENANT,)
    return (TENANT, ORGANIZATION, TEAM, OWN)


def default_scope(role_name: str) -> str:
    """Return the scope in which a role is given where nothing else is said."""
    return GLOBAL if role_name == SUPER_ADMIN else TENANT


def extras(user_ids: Iterable[UUID]) -> UserExtras:
    """Return roles and factors of the accounts of one page; two queries."""
    wanted = list(user_ids)
    roles: dict[UUID, list[str]] = defaultdict(list)
    factors: dict[UUID, list[str]] = defaultdict(list)
    if not wanted:
        return UserExtras()
    held = session().execute(
        select(IAMUserRole.user_id, IAMRole.name)
        .join(IAMRole, IAMRole.id == IAMUserRole.role_id)
        .where(IAMUserRole.user_id.in_(wanted))
        .order_by(IAMRole.name)
    )
    for user_id, name in held:
        roles[user_id].append(name)
    enrolled = session().execute(
        select(IAMMfaMethod.user_id, IAMMfaMethod.method)
        .where(IAMMfaMethod.user_id.in_(wanted), IAMMfaMethod.confirmed_at.is_not(None))
        .distinct()
    )
    for user_id, method in enrolled:
        factors[user_id].append(method)
    return UserExtras(dict(roles), dict(factors))


def list_organizations(reach: Reach = EVERYBODY) -> list[IAMOrganization]:
    """Return the active organizations within reach by name, to choose from."""
    statement = (
        select(IAMOrganization)
        .where(IAMOrganization.status == ACTIVE, *reach.places())
        .order_by(IAMOrganization.name, IAMOrganization.id)
        .limit(500)
    )
    return list(session().scalars(statement))


def list_factors(user_id: UUID) -> list[IAMMfaMethod]:
    """Return a person's confirmed factors, oldest first; templates show their names only."""
    statement = (
        select(IAMMfaMethod)
        .where(IAMMfaMethod.user_id == user_id, IAMMfaMethod.confirmed_at.is_not(None))
        .order_by(IAMMfaMethod.id)
    )
    return list(session().scalars(statement))


def _find(condition: ColumnElement[bool]) -> IAMUserAccount | None:
    return session().scalar(select(_U).where(condition))


def _filters(q: str, status: str, role: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_U.status == status if status else _U.status != ERASED]
    if role:
        conditions.append(
            _U.id.in_(
                select(IAMUserRole.user_id)
                .join(IAMRole, IAMRole.id == IAMUserRole.role_id)
                .where(IAMRole.name == role)
            )
        )
    words = q.split()[:_MAX_WORDS] if is_lookup_safe(q) else []
    return [*conditions, *(_matches(word) for word in words)]


def _matches(word: str) -> ColumnElement[bool]:
    # Words are compared in lower case; SQLite lowers ASCII only, so a word that is not
    # is also tried as people write names.
    forms = {word.lower()} if word.isascii() else {word.lower(), word, word.title()}
    names = [
        func.lower(column).like(pattern, escape=_ESCAPE)
        for column in (_U.first_name, _U.last_name, _U.display_name)
        for form in sorted(forms)
        for pattern in (f"{_literal(form)}%", f"% {_literal(form)}%")
    ]
    return or_(
        _U.username_canonical.like(f"{_literal(canonical_username(word))}%", escape=_ESCAPE),
        _U.email_canonical.like(f"{_literal(canonical_username(word))}%", escape=_ESCAPE),
        *names,
    )


def _literal(text: str) -> str:
    for char in (_ESCAPE, "%", "_"):
        text = text.replace(char, _ESCAPE + char)
    return text


def _sorted_page(
    statement: Select[Any], sort: str, cursor: str | None, size: int
) -> Page[IAMUserAccount]:
    key: Any = _U.id if sort == OLDEST else _U.username_canonical
    size = max(1, min(size, MAX_SIZE))
    direction, anchor = decode_cursor(cursor) if cursor else ("a", None)
    backwards = direction == "b"
    upwards = (sort != NAME_DESC) != backwards
    if anchor is not None:
        at = anchor if sort == OLDEST else _key_of(anchor)
        statement = statement.where(key > at if upwards else key < at)
    ordered = statement.order_by(key.asc() if upwards else key.desc()).limit(size + 1)
    rows = list(session().scalars(ordered))
    more, rows = len(rows) > size, rows[:size]
    if backwards:
        rows.reverse()
    if not rows:
        return Page()
    has_next = True if backwards else more
    has_prev = more if backwards else anchor is not None
    return Page(
        items=rows,
        next_cursor=encode_cursor("a", rows[-1].id) if has_next else None,
        prev_cursor=encode_cursor("b", rows[0].id) if has_prev else None,
    )


def _key_of(anchor: UUID) -> Any:
    # The cursor holds an id only; its key is read beside it, so a cursor tells nothing
    # and a foreign id finds nothing.
    other = aliased(_U)
    return select(other.username_canonical).where(other.id == anchor).scalar_subquery()
