"""Settings that a tenant has of its own: the installation's values with its overrides (K1).

Only what is declared with `per_tenant=True` may differ. The overrides stand in the
tenant's row, so they hold on every process at once; they are validated as the setting is.
"""

from __future__ import annotations

from typing import Any, TypeVar

from flask import current_app
from pydantic import ValidationError
from sqlalchemy import select

from ..audit import events
from ..audit.services_audit import record
from ..core.actor import Actor
from ..core.db import session
from ..core.errors import InvalidInput, NotFound
from ..core.i18n import _
from ..core.scoping import current_tenant_id
from ..core.settings import EXTENSION, Section
from .models import IAMTenant

S = TypeVar("S", bound=Section)
_KEY = "settings"


def effective(section: type[S]) -> S:
    """Return a section as it holds in the tenant of this context; at most one query."""
    return with_overrides(section.current(), overrides())


def with_overrides(section: S, own: dict[str, Any]) -> S:
    """Return a section with those of a tenant's overrides that are its own."""
    mine = {name: value for name, value in own.items() if name in section.per_tenant()}
    return section.model_validate({**section.model_dump(), **mine}) if mine else section


def overrides() -> dict[str, Any]:
    """Return what the tenant of this context has set for itself."""
    return dict(_tenant().details.get(_KEY) or {})


def override(changes: dict[str, Any], *, actor: Actor) -> None:
    """Set values for the tenant of this context; None gives a setting back to the installation.

    Raises InvalidInput for a setting that is not the tenant's to choose, or a bad value.
    """
    tenant = _tenant()
    before = overrides()
    after = {**before, **changes}
    for name, value in changes.items():
        if value is None:
            del after[name]
        else:
            after[name] = _checked(name, value)
    tenant.details = {**tenant.details, _KEY: after}
    record(
        events.TENANT_SETTINGS_CHANGED,
        resource=tenant,
        changes={name: [before.get(name), after.get(name)] for name in changes},
        actor=actor,
        names=sorted(changes),
    )


def _checked(name: str, value: Any) -> Any:
    for section in current_app.extensions[EXTENSION].settings.values():
        if name not in section.per_tenant():
            continue
        try:
            checked = section.model_validate({**section.model_dump(), name: value})
        except ValidationError:
            raise InvalidInput(_("This value is not allowed"), field=name) from None
        return checked.model_dump(mode="json")[name]
    raise InvalidInput(_("This setting is not a tenant's to choose"), field=name)


def _tenant() -> IAMTenant:
    found = session().scalar(select(IAMTenant).where(IAMTenant.id == current_tenant_id()))
    if found is None:
        raise NotFound
    return found
