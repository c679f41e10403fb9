"""Times as people read them, in their language and time zone.

What a program reads stays UTC; see the `datetime` attribute in `auth/web/pages.py`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

from babel.dates import format_skeleton
from babel.numbers import format_decimal

from . import clock
from .i18n import _, locale

MINUTE, HOUR, DAY, MONTH = 60, 3600, 86400, 86400 * 30


def zone(name: str | None) -> tzinfo:
    """Return the time zone called `name`; UTC where there is none."""
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC


def day(value: datetime, where: tzinfo = UTC) -> str:
    """Return the date, such as `May 1, 2026` or `1. Mai 2026`."""
    return str(format_skeleton("yMMMd", value, tzinfo=where, locale=locale()))


def day_of_year(value: date) -> str:
    """Return day and month, such as `May 1` or `1. Mai`, for the axis of a chart."""
    return str(format_skeleton("MMMd", value, locale=locale()))


def moment(value: datetime, where: tzinfo = UTC, *, seconds: bool = False) -> str:
    """Return date, time and, as clocks differ, the distance to UTC."""
    time = format_skeleton("Hms" if seconds else "Hm", value, tzinfo=where, locale=locale())
    offset = "" if where is UTC else f"{value.astimezone(where):%z}"
    return f"{day(value, where)}, {time} UTC{offset[:3]}{':' if offset else ''}{offset[3:5]}"


def ago(value: datetime, where: tzinfo = UTC) -> str:
    """Return how long ago `value` was; for times to come and long gone the date."""
    seconds = int((clock.now() - value).total_seconds())
    if seconds < 0:
        return moment(value, where)
    if seconds >= MONTH:
        return day(value, where)
    if seconds < MINUTE:
        return _("just now")
    if seconds < HOUR:
        return _("%(count)s min ago", count=seconds // MINUTE)
    if seconds < DAY:
        return _("%(count)s h ago", count=seconds // HOUR)
    return _("%(count)s d ago", count=seconds // DAY)


def number(value: int) -> str:
    """Return a number as people group its digits, such as `10,000` or `10.000`."""
    return str(format_decimal(value, locale=locale()))
