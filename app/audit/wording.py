"""Events in the words of people: what happened, who did it, to what, and what changed.

Pure: no table, no request. Knows names only where it is given them. What comes out is
plain text; the templates escape it (AT-149).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ..core.i18n import _
from ..core.ids import parse_id
from .events import CATALOGUE
from .labels import LABELS
from .models import IAMAuthLog
from .personal.ciphers import PERSONAL
from .personal.models_reading import ERASED, UNREADABLE

ACCOUNT = "user_account"
NOTHING = "\N{EN DASH}"
OUTSIDE = "outside"
"""The kind of an actor whom the reader does not administer, and so is not told of."""
Names = Mapping[UUID, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One field that an act changed."""

    name: str
    field: str
    old: str
    new: str


def meaning(action: str) -> str:
    """Return what an event of this name means, as a sentence."""
    event = CATALOGUE.get(action)
    return _(event.meaning) if event else title(action)


def headline(action: str) -> str:
    """Return the same without its full stop, for headings and lists."""
    return meaning(action).rstrip(".。")


def title(name: str) -> str:
    """Return a name such as LOGIN_FAILED or user_id as words."""
    if name in LABELS:
        return _(LABELS[name])
    words = name.replace("_", " ").strip().lower()
    for short in ("mfa", "ip", "id", "csrf", "api", "url"):
        words = " ".join(part.upper() if part == short else part for part in words.split(" "))
    return words[:1].upper() + words[1:]


def who(event: IAMAuthLog, names: Names) -> str:
    """Return who did it: a name, a job, or what an unknown person called themselves."""
    if event.actor_type == "platform" and event.actor_id not in names:
        return _("Administrator of the platform")
    if event.actor_type == "foreign":
        return _("Somebody of another tenant")
    if event.actor_id:
        return names.get(event.actor_id) or _("Account %(id)s", id=short_id(event.actor_id))
    if event.actor_type == OUTSIDE:
        return _("Somebody outside your organizations")
    if event.actor_type == "system":
        label = event.details.get("by")
        return _("System: %(job)s", job=label) if label else _("System")
    return str(event.details.get("identifier") or _("Not signed in"))


def on_what(event: IAMAuthLog, names: Names) -> str:
    """Return what it was done to, or nothing where that is the person who did it."""
    if event.resource_type is None or _is_own(event):
        return ""
    told = _named(event, names)
    kind = kind_of(event.resource_type)
    return f"{kind}: {told}" if told else kind


def kind_of(resource_type: str) -> str:
    """Return the word for a kind of thing."""
    return title(resource_type)


def changes_of(event: IAMAuthLog) -> list[Change]:
    """Return the old and new value of every field that the act changed."""
    return [_change(str(field), pair) for field, pair in sorted(event.changes.items())]


def details_of(event: IAMAuthLog) -> list[tuple[str, str]]:
    """Return what else the event carries, label by label."""
    return [
        (title(key), told(value) if key == PERSONAL else text_of(value))
        for key, value in sorted(event.details.items())
    ]


def text_of(value: Any) -> str:
    """Return a stored value as people read it."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    if isinstance(value, list):
        return ", ".join(text_of(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value)


def told(value: str | None) -> str:
    """Return a value that may have been erased, or that no key opens, as people read it."""
    gone = {ERASED: _("Erased"), UNREADABLE: _("Unreadable")}
    return gone.get(value, value) if value else NOTHING


def is_told(value: str | None) -> bool:
    """Return whether there is a value to read."""
    return bool(value) and value not in (ERASED, UNREADABLE)


def short_id(row_id: UUID) -> str:
    """Return the end of an id: the beginning of all is the same within a day."""
    return f"…{row_id.hex[-8:]}"


def accounts_in(events: Iterable[IAMAuthLog]) -> set[UUID]:
    """Return the ids in `events` that may be accounts, so that one query names them all."""
    found: set[UUID | None] = set()
    for event in events:
        found |= {event.actor_id, event.on_behalf_of_id, event.subject_id}
        if event.resource_type == ACCOUNT:
            found.add(event.resource_id)
    return {row_id for row_id in found if row_id}


def _is_own(event: IAMAuthLog) -> bool:
    return event.resource_type == ACCOUNT and event.resource_id == event.actor_id


def _named(event: IAMAuthLog, names: Names) -> str:
    if event.resource_type == ACCOUNT and event.resource_id:
        return names.get(event.resource_id) or short_id(event.resource_id)
    for key in ("connection", "role", "name", "device", "method", "purpose", "slug"):
        value = event.details.get(key)
        if isinstance(value, str) and value and parse_id(value) is None:
            return value
    subject = event.subject_id if event.subject_id != event.actor_id else None
    return names.get(subject, "") if subject else ""


def _change(field: str, pair: Any) -> Change:
    if isinstance(pair, list) and len(pair) == 2:
        return Change(field, title(field), text_of(pair[0]), text_of(pair[1]))
    return Change(field, title(field), NOTHING, text_of(pair))
