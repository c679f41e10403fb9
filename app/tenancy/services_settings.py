"""Settings that a tenant has of its own: the installation's values with its overrides (K1).

Only what is declared with `per_tenant=True` may differ, and security settings only towards
the strict side (`core/settings.py`). The overrides stand in the tenant's row, so they hold on
every process at once; they are validated as the setting is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import current_app
from pydantic import ValidationError
from sqlalchemy import select

from ..audit import events
from ..audit.services_audit import record
from ..core import scoping
from ..core.actor import Actor
from ..core.db import session
from ..core.errors import NotFound
from ..core.i18n import _
from ..core.scoping import current_tenant_id
from ..core.settings import EXTENSION, Floor, Section, keeps_floor
from . import setting_reasons
from .errors import UnfitSettings
from .models import IAMTenant

S = TypeVar("S", bound=Section)
_KEY = "settings"
_OWN, _SECTIONS = "tenant settings", "sections in force"


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting a tenant may choose: what is in force, the installation's value, its own."""

    name: str
    section: type[Section]
    value: Any
    given: Any
    own: Any

    @property
    def description(self) -> str:
        """Return what the setting means, in English."""
        return self.section.model_fields[self.name].description or ""

    @property
    def annotation(self) -> Any:
        """Return the type of its values."""
        return self.section.model_fields[self.name].annotation

    @property
    def floor(self) -> Floor:
        """Return how far the tenant may leave the installation's value."""
        return self.section.floor_of(self.name)

    @property
    def counts(self) -> bool:
        """Return whether the tenant's own value is in force: a looser installation's is not."""
        if self.own is None:
            return False
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return bool(value == self.own)

    def allows(self, value: Any) -> bool:
        """Return whether the floor lets the tenant have a value."""
        return keeps_floor(self.floor, value, self.given)


def effective(section: type[S]) -> S:
    """Return a section as it holds in the tenant of this context.

    A request reads the tenant's row at most once for all of them, and one with a session never:
    what the tenant chose comes with the look-up of the session or the account (`remember`).
    """
    memo = scoping.request_memo()
    if memo is None:
        return with_overrides(section.current(), overrides())
    known = memo.get(_SECTIONS)
    if known is None:
        known = memo[_SECTIONS] = {}
    current = section.current()
    if section not in known or known[section][0] is not current:
        known[section] = (current, with_overrides(current, overrides()))
    return cast(S, known[section][1])


def with_overrides(section: S, own: Mapping[str, Any]) -> S:
    """Return a section with those of a tenant's overrides that are its own, and hold still.

    One that is no longer valid, or looser than the installation by now, counts as not set.
    """
    mine = {name: value for name, value in own.items() if name in section.per_tenant()}
    while mine:
        try:
            found = section.model_validate({**section.model_dump(), **mine})
        except ValidationError as error:
            wrong = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
        else:
            wrong = _too_loose(section, found, mine)
            if not wrong:
                return found
        kept = {name: value for name, value in mine.items() if name not in wrong}
        mine = kept if len(kept) < len(mine) else {}
    return section


def overrides() -> dict[str, Any]:
    """Return what the tenant of this context has set for itself; at most one query."""
    memo = scoping.request_memo()
    if memo is None:
        return dict(stored_in(_tenant().details))
    if _OWN not in memo:
        memo[_OWN] = stored_in(_tenant().details)
    return dict(memo[_OWN])


def remember(own: Mapping[str, Any]) -> None:
    """Note for the rest of a request what its tenant has set for itself, read with other things."""
    memo = scoping.request_memo()
    if memo is not None and _OWN not in memo:
        memo[_OWN] = own


def stored_in(details: dict[str, Any] | None) -> dict[str, Any]:
    """Return the overrides in a tenant's `details`, for queries that read the row anyway."""
    return (details or {}).get(_KEY) or {}


def override(changes: dict[str, Any], *, actor: Actor) -> None:
    """Set values for the tenant of this context; None gives a setting back to the installation.

    Raises UnfitSettings, which tells of every wrong one: not the tenant's to choose, a bad value,
    looser than the installation's, or in contradiction to another.
    """
    tenant = _tenant(lock=True)
    before = stored_in(tenant.details)
    after = after_changes(before, changes)
    tenant.details = {**tenant.details, _KEY: after}
    session().flush()
    memo = scoping.request_memo()
    if memo is not None:
        memo.clear()
    record(
        events.TENANT_SETTINGS_CHANGED,
        resource=tenant,
        changes={name: [before.get(name), after.get(name)] for name in changes},
        actor=actor,
        names=sorted(changes),
    )


def after_changes(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tenant's overrides as they will be stored. Raises UnfitSettings as `override`."""
    after = {**before, **changes}
    wrong: dict[str, str] = {}
    code = None
    for name, value in changes.items():
        if value is None:
            del after[name]
            continue
        try:
            after[name] = _checked(name, value)
        except UnfitSettings as refusal:
            wrong, code = {**wrong, **refusal.reasons}, code or refusal.code
    wrong = wrong or _contradictions(after, changes)
    if wrong:
        raise UnfitSettings(wrong, code=code)
    return after


def choices() -> list[Choice]:
    """Return every setting that a tenant may choose, as it stands in the tenant of this context."""
    own = overrides()
    found = []
    for section in sections():
        mine = with_overrides(section, own)
        for name in type(section).model_fields:
            if name in section.per_tenant():
                value, given = getattr(mine, name), getattr(section, name)
                found.append(Choice(name, type(section), value, given, own.get(name)))
    return found


def sections() -> Iterator[Section]:
    """Yield the sections of this app as the installation has them."""
    yield from current_app.extensions[EXTENSION].settings.values()


def _checked(name: str, value: Any) -> Any:
    for section in sections():
        if name not in section.per_tenant():
            continue
        try:
            checked = section.model_validate({**section.model_dump(), name: value})
        except ValidationError as error:
            raise UnfitSettings({name: setting_reasons.unfit(section, name, error)}) from None
        if _too_loose(section, checked, [name]):
            reason = setting_reasons.too_loose(section, name)
            raise UnfitSettings({name: reason}, code="settings.too_loose")
        return checked.model_dump(mode="json")[name]
    raise UnfitSettings({name: _("This setting is not a tenant's to choose")})


def _too_loose(section: S, own: S, names: Iterable[str]) -> set[str]:
    return {
        name
        for name in names
        if not keeps_floor(section.floor_of(name), getattr(own, name), getattr(section, name))
    }


def _contradictions(after: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, str]:
    touched = (item for item in sections() if not item.per_tenant().isdisjoint(changes))
    return dict(filter(None, (with_overrides(item, after).contradiction() for item in touched)))


def _tenant(*, lock: bool = False) -> IAMTenant:
    query = select(IAMTenant).where(IAMTenant.id == current_tenant_id())
    if lock:  # two changes at once follow each other, so that neither undoes the other
        query = query.with_for_update().execution_options(populate_existing=True)
    found = session().scalar(query)
    if found is None:
        raise NotFound
    return found
