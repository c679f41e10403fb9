"""Refusals of the tenancy package."""

from __future__ import annotations

from ..core.errors import Conflict, InvalidInput, Misconfigured
from ..core.i18n import N_


class SlugRefused(InvalidInput):
    """A slug that is malformed, reserved or confusable with another (AT-392)."""

    code = "tenancy.slug_refused"
    title = N_("This short name cannot be used")


class SlugTaken(Conflict):
    """Another tenant has the slug."""

    code = "tenancy.slug_taken"
    title = N_("This short name is taken")


class OrganizationCycle(InvalidInput):
    """An organization would lie below itself, or too many levels deep."""

    code = "tenancy.organization_cycle"
    title = N_("An organization cannot lie below itself")


class NoDefaultTenant(Misconfigured):
    """The database has no default tenant yet."""

    code = "tenancy.no_default"
    title = N_("There is no default tenant yet; create it with: flask iam init-db")
