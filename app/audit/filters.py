"""What a reader of the audit trail asks for, parsed strictly from a query string.

Pure: no table, no request. Every value is checked against a list or a form before it
becomes a bound parameter; anything else is refused with a sentence (AT-442, AT-449).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from ..core.errors import BadRequest, InvalidInput
from ..core.i18n import _
from ..core.ids import parse_id
from ..core.paging import MAX_SIZE
from .events import CATALOGUE, CRITICAL, INFO, NOTICE, WARNING

SEVERITIES = (INFO, NOTICE, WARNING, CRITICAL)
STATUSES = ("success", "failure", "denied")
FIELDS = ("action", "actor", "status", "severity", "ip", "resource", "from", "to", "q")
DEFAULT_SIZE = 25
_MAX_VALUE = 254
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# What the ids of events can tell, with a day to spare on both sides.
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)

FindActor = Callable[[str], UUID | None]
"""Turns a username or an address into an account id, or None where nobody has it."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Conditions on events; an empty one matches all. `to` is exclusive."""

    action: str | None = None
    actor: UUID | None = None
    status: tuple[str, ...] = ()
    severity: str | None = None
    ip: str | None = None
    resource_type: str | None = None
    resource_id: UUID | None = None
    from_: datetime | None = None
    to: datetime | None = None
    q: str | None = None
    people: Any = None
    """A query of account ids: only events about these; not of the reader's choosing."""


def values_of(args: Mapping[str, str]) -> dict[str, str]:
    """Return the conditions of a query string as they were typed, empty ones left out."""
    typed = {name: args.get(name, "").strip() for name in FIELDS}
    return {name: value for name, value in typed.items() if value}


def parse(args: Mapping[str, str], *, find_actor: FindActor, zone: tzinfo = UTC) -> AuditFilter:
    """Return the filter that a query string asks for; times without offset are in `zone`.

    Raises InvalidInput naming the field that cannot be used.
    """
    typed = values_of(args)
    for name, value in typed.items():
        if len(value) > _MAX_VALUE or not value.isprintable():
            raise InvalidInput(_("This is too long or holds characters we cannot use"), field=name)
    kind, resource_id = _resource(typed.get("resource"))
    from_ = _moment("from", typed.get("from"), zone)
    to = _moment("to", typed.get("to"), zone)
    if from_ and to and from_ >= to:
        raise InvalidInput(_("The end lies before the start"), field="to")
    return AuditFilter(
        action=known_action(typed.get("action")),
        actor=_actor(typed.get("actor"), find_actor),
        status=_statuses(typed.get("status")),
        severity=_one_of("severity", typed.get("severity"), SEVERITIES),
        ip=_ip(typed.get("ip")),
        resource_type=kind,
        resource_id=resource_id,
        from_=from_,
        to=to,
        q=typed.get("q"),
    )


def parse_size(text: str | None) -> int:
    """Return how many events a page shows. Raises BadRequest (AT-449)."""
    if not text:
        return DEFAULT_SIZE
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_SIZE):
        raise BadRequest(_("A page holds 1 to %(most)s entries", most=MAX_SIZE), code="paging.size")
    return int(text)


def known_action(name: str | None) -> str | None:
    """Return the name of an event as it is, or None. Raises InvalidInput for one that is none."""
    return _one_of("action", name, CATALOGUE)


def _one_of(
    field: str, value: str | None, known: Mapping[str, object] | tuple[str, ...]
) -> str | None:
    if value is not None and value not in known:
        raise InvalidInput(_("Please choose one of the list"), field=field)
    return value


def _statuses(value: str | None) -> tuple[str, ...]:
    chosen = tuple(value.split(",")) if value else ()
    for item in chosen:
        _one_of("status", item, STATUSES)
    return chosen


def _actor(value: str | None, find_actor: FindActor) -> UUID | None:
    if value is None:
        return None
    found = parse_id(value) or find_actor(value)
    if found is None:
        raise InvalidInput(_("Nobody here has this name or id"), field="actor")
    return found


def _ip(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return str(ip_address(value))
    except ValueError:
        raise InvalidInput(_("This is not an IP address"), field="ip") from None


def _resource(value: str | None) -> tuple[str | None, UUID | None]:
    """Read `type`, `type:id` or an id alone."""
    if value is None:
        return None, None
    alone = parse_id(value)
    if alone:
        return None, alone
    kind, colon, text = value.partition(":")
    resource_id = parse_id(text)
    if not _KIND.fullmatch(kind) or (colon and resource_id is None):
        raise InvalidInput(_("Please give a type, an id, or both as type:id"), field="resource")
    return kind, resource_id


def _moment(field: str, value: str | None, zone: tzinfo) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        if field == "to" and _DATE.fullmatch(value):
            # "To the third" means that the third belongs to it.
            moment += timedelta(days=1)
        return min(max(moment.astimezone(UTC), _EARLIEST), _LATEST)
    except (ValueError, OverflowError):
        message = _("Please write the date as year-month-day")
        raise InvalidInput(message, field=field) from None
