"""Reading the audit trail: filtered pages, one event, and numbers for the dashboard.

Ids are ordered by time, so a range of time is a range of ids, and every order and
page is served by an index whatever the number of rows (requirement M4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    false,
    func,
    literal,
    or_,
    select,
    union,
    union_all,
)

from ..core import clock
from ..core.db import session
from ..core.errors import BadRequest, NotFound
from ..core.i18n import _
from ..core.ids import parse_id
from ..core.paging import Page, page_by_id
from ..core.scoping import current_tenant_id
from .events import CATALOGUE, CRITICAL, LOGIN_FAILED, LOGIN_SUCCEEDED, LOGIN_THROTTLED
from .filters import AuditFilter, known_action
from .models import IAMAuthLog
from .personal.services_personal import address_index

MAX_ROWS = 10_000
MAX_DAYS = 120
_LAST_ID = UUID(int=(1 << 128) - 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# An id is made a moment before the time that its row carries.
_SLACK = timedelta(seconds=2)
# A request's id is made when it begins; its events follow within its life.
_REQUEST_LIFE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class AuditLogQuery:
    """A question to the audit trail, built step by step; each step returns a new one.

    The tenant in scope always holds: `by_tenant` can only narrow it (AT-405).
    """

    statement: Select[tuple[IAMAuthLog]] = field(default_factory=lambda: select(IAMAuthLog))
    size: int = 100

    def by_tenant(self, tenant_id: UUID) -> AuditLogQuery:
        """Keep events of one tenant; of a tenant out of scope there are none."""
        return self.where(IAMAuthLog.tenant_id == tenant_id)

    def by_action(self, *names: str) -> AuditLogQuery:
        """Keep events with one of these names. Raises InvalidInput for one that is none."""
        for name in names:
            known_action(name)
        return self.where(_among(IAMAuthLog.action, names))

    def by_actor(self, user_id: UUID) -> AuditLogQuery:
        """Keep what this account did."""
        return self.where(IAMAuthLog.actor_id == user_id)

    def by_subject(self, user_id: UUID) -> AuditLogQuery:
        """Keep what concerns this account, whoever did it."""
        return self.where(IAMAuthLog.subject_id == user_id)

    def by_resource(self, kind: str | None, resource_id: UUID | None = None) -> AuditLogQuery:
        """Keep what was done to a kind of thing, to one thing, or both."""
        query = self.where(IAMAuthLog.resource_type == kind) if kind else self
        return query.where(IAMAuthLog.resource_id == resource_id) if resource_id else query

    def by_status(self, *statuses: str) -> AuditLogQuery:
        """Keep events that ended in one of these ways."""
        return self.where(_among(IAMAuthLog.status, statuses))

    def by_severity(self, *severities: str) -> AuditLogQuery:
        """Keep events of one of these severities."""
        return self.where(_among(IAMAuthLog.severity, severities))

    def by_ip(self, ip: str) -> AuditLogQuery:
        """Keep what came from one address."""
        return self.where(_from_address(ip))

    def by_date_range(self, from_: datetime | None, to: datetime | None) -> AuditLogQuery:
        """Keep events from `from_` on and before `to`; None leaves that side open."""
        query = self
        if from_:
            first = first_id_at(from_ - _SLACK)
            query = query.where(IAMAuthLog.occurred_at >= from_, IAMAuthLog.id >= first)
        if to:
            query = query.where(IAMAuthLog.occurred_at < to, IAMAuthLog.id < first_id_at(to, 1))
        return query

    def by_request(self, request_id: str) -> AuditLogQuery:
        """Keep what happened in one request."""
        return self.where(_of_request(request_id))

    def about(self, people: Select[Any]) -> AuditLogQuery:
        """Keep events that concern one of the accounts whose ids `people` finds."""
        log = IAMAuthLog
        # DISTINCT keeps it a table of its own: what concerns these people is read from their
        # index, and never the whole trail in its order.
        theirs = select(log.id).where(log.subject_id.in_(people)).distinct().subquery("theirs")
        return self.where(log.id.in_(select(theirs.c.id)))

    def done_by(self, people: Select[Any]) -> AuditLogQuery:
        """Keep what one of these accounts did, or nobody."""
        done = IAMAuthLog.actor_id
        return self.where(or_(done.is_(None), done.in_(people)))

    def search(self, text: str) -> AuditLogQuery:
        """Keep events that `text` names: words of what happened, an address, or any id."""
        return self.where(_search(text))

    def critical_only(self) -> AuditLogQuery:
        """Keep critical events."""
        return self.by_severity(CRITICAL)

    def limit(self, size: int) -> AuditLogQuery:
        """Return at most `size` events. Raises BadRequest below 1 or above 10,000."""
        if not 1 <= size <= MAX_ROWS:
            raise BadRequest(_("Ask for 1 to %(most)s events", most=MAX_ROWS), code="audit.limit")
        return replace(self, size=size)

    def where(self, *criteria: ColumnElement[bool]) -> AuditLogQuery:
        """Keep events that meet `criteria`."""
        return replace(self, statement=self.statement.where(*criteria))

    def all(self) -> list[IAMAuthLog]:
        """Return the events, newest first."""
        ordered = self.statement.order_by(IAMAuthLog.id.desc()).limit(self.size)
        return list(session().scalars(ordered))

    def first(self) -> IAMAuthLog | None:
        """Return the newest event, or None."""
        return next(iter(self.limit(1).all()), None)

    def count(self) -> int:
        """Return how many events there are, up to the limit: counting ends there."""
        counted = self.statement.with_only_columns(IAMAuthLog.id).limit(self.size).subquery()
        return session().scalar(select(func.count()).select_from(counted)) or 0

    def each(self) -> Iterator[IAMAuthLog]:
        """Yield every event, newest first, in chunks of the limit: at constant memory."""
        last: UUID | None = None
        while True:
            events = self.before(last)
            yield from events
            if len(events) < self.size:
                return
            last = events[-1].id

    def before(self, event_id: UUID | None) -> list[IAMAuthLog]:
        """Return the events that come after `event_id` in reading order: the older ones."""
        return (self.where(IAMAuthLog.id < event_id) if event_id else self).all()

    def page(self, cursor: str | None, size: int) -> Page[IAMAuthLog]:
        """Return one page, newest first. Raises BadRequest for a cursor that is none."""
        return page_by_id(session(), self.statement, IAMAuthLog.id, cursor=cursor, size=size)


@dataclass(frozen=True, slots=True)
class SignInDay:
    """How many sign-ins succeeded and were refused on one day."""

    day: date
    succeeded: int
    failed: int


def matching(conditions: AuditFilter) -> AuditLogQuery:
    """Return the query of a filter."""
    query = AuditLogQuery()
    if conditions.people is not None:
        query = _narrowed(query, conditions)
    if conditions.action:
        query = query.by_action(conditions.action)
    if conditions.actor:
        query = query.by_actor(conditions.actor)
    if conditions.status:
        query = query.by_status(*conditions.status)
    if conditions.severity:
        query = query.by_severity(conditions.severity)
    if conditions.ip:
        query = query.by_ip(conditions.ip)
    if conditions.q:
        query = query.search(conditions.q)
    query = query.by_resource(conditions.resource_type, conditions.resource_id)
    return query.by_date_range(conditions.from_, conditions.to)


def _narrowed(query: AuditLogQuery, conditions: AuditFilter) -> AuditLogQuery:
    # Who did it may be hidden from the reader: a condition on the actor, asked time and
    # again, must not tell it after all.
    query = query.about(conditions.people)
    q = conditions.q or ""
    asks_who = conditions.actor or conditions.ip or parse_id(q) or "." in q or ":" in q
    return query.done_by(conditions.people) if asks_who else query


def page(conditions: AuditFilter, *, cursor: str | None, size: int) -> Page[IAMAuthLog]:
    """Return one page of the events that meet `conditions`. Raises BadRequest."""
    return matching(conditions).page(cursor, size)


def find(event_id: UUID | None, query: AuditLogQuery | None = None) -> IAMAuthLog:
    """Return one event, among those of `query`. Raises NotFound, for another tenant's as well.

    (AT-405)
    """
    one = (query or AuditLogQuery()).where(IAMAuthLog.id == event_id).limit(1).all()
    if not one:
        raise NotFound
    return one[0]


def sign_ins_per_day(
    days: int = 30, *, zone: tzinfo = UTC, people: Select[Any] | None = None
) -> list[SignInDay]:
    """Return the last `days` days in `zone`, oldest first, quiet days included; one query.

    `people` keeps the sign-ins of the accounts whose ids it finds. Throttled sign-ins count
    as failed. Raises BadRequest below 1 or above 120 days.
    """
    if not 1 <= days <= MAX_DAYS:
        raise BadRequest(_("Ask for 1 to %(most)s days", most=MAX_DAYS), code="audit.days")
    today = clock.now().astimezone(zone).date()
    calendar = [today - timedelta(days=back) for back in range(days - 1, -1, -1)]
    bounds = [first_id_at(datetime.combine(day, time(), zone)) for day in calendar]
    counts = _count_by_day(bounds, people)
    return [
        SignInDay(day, counts.get((place, True), 0), counts.get((place, False), 0))
        for place, day in enumerate(calendar)
    ]


def first_id_at(moment: datetime, add_ms: int = 0) -> UUID:
    """Return the smallest id that the millisecond of `moment` can have (RFC 9562, 5.7)."""
    passed = (moment - _EPOCH) // timedelta(milliseconds=1) + add_ms
    return UUID(int=max(0, passed) << 80)


def _count_by_day(bounds: list[UUID], people: Select[Any] | None) -> dict[tuple[int, bool], int]:
    # A day is a range of ids, so it may begin at any hour. Each day and kind of event is a
    # part of its own: asked for all at once, MySQL leaves the index that answers alone and
    # reads every row of the tenant.
    kinds = ((LOGIN_SUCCEEDED, True), (LOGIN_FAILED, False), (LOGIN_THROTTLED, False))
    days = zip(bounds, [*bounds[1:], _LAST_ID], strict=True)
    parts = union_all(
        *(
            _counted(event.name, first, end, people).add_columns(literal(place), literal(good))
            for place, (first, end) in enumerate(days)
            for event, good in kinds
        )
    ).subquery()
    found: dict[tuple[int, bool], int] = {}
    for count, place, good in session().execute(select(*parts.c)):
        found[place, bool(good)] = found.get((place, bool(good)), 0) + count
    return found


def _counted(action: str, first: UUID, end: UUID, people: Select[Any] | None) -> Select[Any]:
    log = IAMAuthLog
    within = [log.id >= first, log.id < end]
    if people is not None:
        within.append(log.subject_id.in_(people))
    return select(func.count(log.id)).where(log.action == action, *within)


def _among(column: Any, values: tuple[str, ...]) -> ColumnElement[bool]:
    # Equality lets the index serve the order as well.
    found: ColumnElement[bool] = column == values[0] if len(values) == 1 else column.in_(values)
    return found


def _from_address(ip: str) -> ColumnElement[bool]:
    # Addresses are encrypted; what they are found by is a keyed digest (`personal/`).
    index = address_index(current_tenant_id(), ip)
    return false() if index is None else IAMAuthLog.ip_index == index


def _of_request(request_id: str) -> ColumnElement[bool]:
    same = IAMAuthLog.request_id == request_id
    made = parse_id(request_id)
    if made is None or made.version != 7:
        return same
    began = _EPOCH + timedelta(milliseconds=made.int >> 80)
    earliest, latest = first_id_at(began - _SLACK), first_id_at(began + _REQUEST_LIFE)
    return and_(same, IAMAuthLog.id.between(earliest, latest))


def _search(text: str) -> ColumnElement[bool]:
    wanted = parse_id(text)
    if wanted:
        return IAMAuthLog.id.in_(_ids_around(wanted))
    words = text.casefold().replace("_", " ").split()
    names = tuple(event.name for event in CATALOGUE.values() if _names(event, words))
    found = [_among(IAMAuthLog.action, names)] if names else []
    if "." in text or ":" in text:
        found.append(_from_address(text))
    return or_(*found) if found else false()


def _ids_around(wanted: UUID) -> Select[tuple[UUID]]:
    # Alternatives on different columns would make the engine read the whole tenant; a
    # union asks each index for its own.
    log = IAMAuthLog
    conditions = [log.id == wanted, log.actor_id == wanted, log.resource_id == wanted]
    if wanted.version == 7:
        conditions.append(_of_request(wanted.hex))
    parts = [select(log.id).where(condition) for condition in conditions]
    return select(union(*parts).subquery("around").c.id)


def _names(event: Any, words: list[str]) -> bool:
    told = f"{event.name.replace('_', ' ')} {event.meaning} {_(event.meaning)}".casefold()
    return all(word in told for word in words)
