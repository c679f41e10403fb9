"""Numbers of the audit trail for the last days, each bounded so that a flood cannot slow it.

Every question is answered from an index and ends after so many entries: a number that
reached its bound is "at least". Tenant scoping does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, desc, func, literal, select, union_all

from ...core.db import session
from ..events import (
    CATALOGUE,
    LOGIN_FAILED,
    LOGIN_THROTTLED,
    MFA_VERIFIED,
)
from ..filters import SEVERITIES
from ..models import IAMAuthLog
from ..services_query import first_id_at

MOST = 10_000
"""How many events of one kind are counted at most."""
SAMPLE = 2_000
"""How many of the newest events are looked at to tell where they came from."""
TOP = 10
_REFUSED = (LOGIN_FAILED.name, LOGIN_THROTTLED.name)


@dataclass(frozen=True, slots=True)
class Counted:
    """How often something happened; `at_least` where the counting ended at its bound."""

    name: str
    count: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class FailingAddress:
    """An address that sign-ins were refused from, and the last of those."""

    count: int
    last: IAMAuthLog


def by_action(since: datetime) -> list[Counted]:
    """Return how often each kind of event happened, the most frequent first; one query."""
    parts = [_one_row(literal(name), _ids([name], since).limit(MOST)) for name in CATALOGUE]
    found = session().execute(union_all(*parts)).all()
    counted = [Counted(name, count, count >= MOST) for name, count in found if count]
    return sorted(counted, key=lambda item: (-item.count, item.name))


def by_severity(actions: Iterable[Counted]) -> list[Counted]:
    """Return the same by severity: each kind of event has one."""
    totals: Counter[str] = Counter()
    bounded = set()
    for item in actions:
        severity = CATALOGUE[item.name].severity
        totals[severity] += item.count
        if item.at_least:
            bounded.add(severity)
    return [Counted(name, totals[name], name in bounded) for name in SEVERITIES]


def failing_addresses(since: datetime) -> list[FailingAddress]:
    """Return the addresses from which most of the newest refused sign-ins came; two queries."""
    log = IAMAuthLog
    newest = (
        select(log.ip_index, log.id)
        .where(log.action.in_(_REFUSED), log.id >= first_id_at(since), log.ip_index.is_not(None))
        .order_by(log.id.desc())
        .limit(SAMPLE)
        .subquery()
    )
    count = func.count().label("failures")
    rows = session().execute(
        select(func.max(newest.c.id), count)
        .group_by(newest.c.ip_index)
        .order_by(desc("failures"), func.max(newest.c.id).desc())
        .limit(TOP)
    )
    counts: dict[UUID, int] = dict(list(rows))
    last = session().scalars(select(log).where(log.id.in_(counts)))
    found = [FailingAddress(counts[event.id], event) for event in last]
    return sorted(found, key=lambda item: (-item.count, -item.last.id.int))


def factors_proved(since: datetime) -> list[Counted]:
    """Return with what the newest second steps were proved, the most frequent first."""
    method = IAMAuthLog.details_clear["method"].as_string()
    newest = _ids([MFA_VERIFIED.name], since, method.label("method"))
    rows = newest.order_by(IAMAuthLog.id.desc()).limit(SAMPLE).subquery()
    statement = select(rows.c.method, func.count()).group_by(rows.c.method)
    found = [Counted(name, count) for name, count in session().execute(statement) if name]
    return sorted(found, key=lambda item: (-item.count, item.name))


def _ids(names: list[str], since: datetime, *columns: Any) -> Select[Any]:
    log = IAMAuthLog
    wanted = select(*columns) if columns else select(log.id)
    return wanted.where(log.action == names[0], log.id >= first_id_at(since))


def _one_row(name: Any, ids: Select[Any]) -> Select[Any]:
    return select(name, func.count()).select_from(ids.subquery())
