"""Form of one group of a tenant's settings, made from their declarations.

An empty field gives the setting back to the installation. What is offered is what the floor
lets through; `services_settings.override` decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from wtforms import SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.validators import Length, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from ..auth.forms import IAMForm
from ..core.i18n import _
from ..core.parsing.strict_json import read_object
from ..core.settings import WITHIN
from . import setting_words as words
from .services_settings import Choice

_ON, _OFF = "on", "off"
_WHOLE = re.compile(r"\s*-?[0-9]{1,9}\s*")


def form_for(choices: Iterable[Choice]) -> IAMForm:
    """Return the form of these settings, filled with what the tenant has of its own."""
    listed = list(choices)
    made = type("SettingsForm", (IAMForm,), {item.name: _field(item) for item in listed})
    form: IAMForm = made(data={item.name: _shown(item) for item in listed})
    for item in listed:
        offered = _offered(item)
        if offered is not None:
            form[item.name].choices = offered
    return form


def changes_in(form: IAMForm, choices: Iterable[Choice]) -> dict[str, Any]:
    """Return what was typed and differs from what is stored; None gives a setting back."""
    typed = {item.name: _typed(item, form[item.name].data) for item in choices}
    stored = {item.name: item.own for item in choices}
    return {name: value for name, value in typed.items() if value != stored[name]}


def hints(choices: Iterable[Choice]) -> dict[str, str]:
    """Return what stands beside each field: what it means, and the installation's value."""
    return {
        item.name: " ".join(
            part
            for part in (
                words.hint(item.name, item.description),
                _beside(item),
            )
            if part
        )
        for item in choices
    }


def _beside(item: Choice) -> str:
    if _is_part(item):
        return _("None chosen: all that the installation has.")
    return _("Installation: %(value)s.", value=words.in_words(item.given))


def _field(item: Choice) -> Any:
    label = words.label(item.name)
    if _is_part(item):
        return SelectMultipleField(
            label,
            [Optional()],
            widget=ListWidget(prefix_label=False),
            option_widget=CheckboxInput(),
        )
    if isinstance(item.given, bool) or get_origin(item.annotation) is Literal:
        return SelectField(label, [Optional()])
    kind = TextAreaField if isinstance(item.given, dict) else StringField
    return kind(label, [Optional(), Length(max=4000)])


def _offered(item: Choice) -> list[tuple[str, str]] | None:
    """Return what may be chosen; None for what is typed."""
    inherit = ("", _("As the installation"))
    if _is_part(item):
        return [(value, words.word(value)) for value in item.given]
    if isinstance(item.given, bool):
        pairs = [(_ON, _("On")), (_OFF, _("Off"))]
        return [inherit, *(pair for pair in pairs if item.allows(pair[0] == _ON))]
    if get_origin(item.annotation) is Literal:
        values = [value for value in get_args(item.annotation) if item.allows(value)]
        return [inherit, *((value, words.word(value)) for value in values)]
    return None


def _is_part(item: Choice) -> bool:
    return item.floor == WITHIN and bool(item.given)


def _shown(item: Choice) -> Any:
    own = item.own
    if own is None:
        return [] if _is_part(item) else ""
    if isinstance(item.given, bool):
        return _ON if own else _OFF
    if isinstance(item.given, dict):
        return json.dumps(own, indent=2, ensure_ascii=False)
    if isinstance(own, list):
        return own if _is_part(item) else ", ".join(own)
    return str(own)


def _typed(item: Choice, data: Any) -> Any:
    if not data:
        return None
    if isinstance(item.given, bool):
        return data == _ON
    if isinstance(item.given, dict):
        return _object(data)
    if isinstance(item.given, tuple):
        return data if isinstance(data, list) else _parts(data)
    if isinstance(item.given, int) and _WHOLE.fullmatch(data):
        return int(data)
    return data


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _object(text: str) -> Any:
    try:
        return read_object(text)
    except ValueError:
        return text  # refused with the value


def tell(form: IAMForm, reasons: Mapping[str, str]) -> None:
    """Put beside each field why its value is refused."""
    for name, reason in reasons.items():
        if name in form:
            form[name].errors = [reason]
        else:
            form.form_errors.append(reason)
