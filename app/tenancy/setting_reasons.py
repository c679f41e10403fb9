"""Why a tenant cannot have a value of a setting, in words, from the setting's declaration.

Bounds come from its limits and its floor, the form of a text from `form`; what is wrong inside
a JSON object is told by its place there. No typed value is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from ..core.i18n import N_, _
from ..core.settings import AT_LEAST, AT_MOST, Section

_MOST_DETAILS = 5
_INSIDE = {
    "greater_than_equal": N_("%(place)s: at least %(ge)s."),
    "less_than_equal": N_("%(place)s: at most %(le)s."),
    "int_type": N_("%(place)s: a whole number."),
    "bool_type": N_("%(place)s: true or false."),
    "dict_type": N_("%(place)s: an object in braces."),
    "list_type": N_("%(place)s: a list in square brackets."),
    "string_type": N_("%(place)s: a text in quotation marks."),
    "networks": N_(
        "%(place)s: networks such as 192.0.2.0/24 or 2001:db8::/32, one at least, and no address "
        "inside one."
    ),
    "extra_forbidden": N_("%(place)s is not known here."),
}


def too_loose(section: Section, name: str) -> str:
    """Return why a value is refused that is looser than the installation's."""
    stricter = _("A tenant can only be stricter here than the installation")
    if section.floor_of(name) in {AT_LEAST, AT_MOST}:
        return f"{stricter}. {_bounds(section, name)}"
    return stricter


def unfit(section: Section, name: str, error: ValidationError) -> str:
    """Return why a value is refused that is none of this setting."""
    if _is_number(getattr(section, name)):
        return _bounds(section, name)
    inside = list(_inside(error))
    if inside:
        return " ".join(inside[:_MOST_DETAILS])
    form = section.form_of(name)
    return _(form) if form else _("This value is not allowed")


def _is_number(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _bounds(section: Section, name: str) -> str:
    least, most = section.bounds_of(name)
    given, floor = getattr(section, name), section.floor_of(name)
    least = max(least, given) if floor == AT_LEAST else least
    most = min(most, given) if floor == AT_MOST else most
    if least == most:
        return _("Only %(value)s is possible here.", value=least)
    return _("Enter a whole number from %(least)s to %(most)s.", least=least, most=most)


def _inside(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        place = " > ".join(str(part) for part in item["loc"][1:])
        text = _INSIDE.get(item["type"])
        if place and text:
            yield _(text, **{**item.get("ctx", {}), "place": place})
