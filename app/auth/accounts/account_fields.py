"""Fields of an account: how each is cleaned before it is stored. Pure.

Owns the list of what a person may set on their own profile. A field without a cleaner
here cannot be set by anybody through a form or an API.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from ...core.errors import InvalidInput
from ...core.i18n import _
from ...core.ids import parse_id
from ..identity import MAX_NAME, check_display_name, check_email, check_phone
from ..settings import ACTOR_TYPES

PROFILE_FIELDS = ("display_name", "first_name", "last_name", "language", "timezone")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,2}\Z")


def clean_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return every value as it is stored. Raises InvalidInput naming the field."""
    return {name: clean_field(name, values) for name in values}


def clean_field(name: str, values: Mapping[str, Any]) -> Any:
    """Return one value as it is stored. Raises InvalidInput naming the field."""
    value = values[name]
    if isinstance(value, str | None):
        return _CLEANERS[name]((value or "").strip())
    if name == "parent_id" and isinstance(value, UUID):
        return value
    # A list or an object where text belongs: two addresses for one, say (AT-095).
    raise InvalidInput(_("This is not the kind of value that belongs here"), field=name)


def _language(text: str) -> str | None:
    if text and not _LANGUAGE.match(text):
        raise InvalidInput(_("Choose a language from the list"), field="language")
    return text or None


def _timezone(text: str) -> str | None:
    if text and text not in available_timezones():
        raise InvalidInput(_("Choose a time zone from the list"), field="timezone")
    return text or None


def _actor_type(text: str) -> str:
    if text not in ACTOR_TYPES:
        raise InvalidInput(_("Choose a kind of account from the list"), field="actor_type")
    return text


def _parent_id(text: str) -> UUID | None:
    found = parse_id(text)
    if text and found is None:
        raise InvalidInput(_("Choose an organization from the list"), field="parent_id")
    return found


_CLEANERS: Mapping[str, Callable[[str], Any]] = {
    "username": lambda text: text,
    "email": lambda text: check_email(text) if text else None,
    "phone_number": lambda text: check_phone(text) if text else None,
    "first_name": lambda text: check_display_name(text, field="first_name", longest=MAX_NAME),
    "last_name": lambda text: check_display_name(text, field="last_name", longest=MAX_NAME),
    "display_name": check_display_name,
    "language": _language,
    "timezone": _timezone,
    "actor_type": _actor_type,
    "parent_id": _parent_id,
}
