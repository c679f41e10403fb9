"""Refusals of the tenancy package."""

from __future__ import annotations

from ..core.errors import Conflict, Forbidden, InvalidInput, Misconfigured, NotFound
from ..core.i18n import N_


class UnfitSettings(InvalidInput):
    """Values that a tenant cannot have; `reasons` says by setting why."""

    code = "settings.unfit"
    title = N_("This value is not allowed")

    def __init__(self, reasons: dict[str, str], *, code: str | None = None) -> None:
        self.reasons = reasons
        name, reason = next(iter(reasons.items()))
        super().__init__(reason, code=code, field=name)


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


class OrganizationNameTaken(Conflict):
    """An open organization in the same place has the name: people could not tell them apart."""

    code = "tenancy.organization_name_taken"
    title = N_("An organization in the same place has this name already")


class OrganizationInUse(Conflict):
    """Somebody, or an open organization, is still inside."""

    code = "tenancy.organization_in_use"
    title = N_("Move its people and close the organizations below it first")


class OrganizationState(Conflict):
    """The organization was closed, or opened again, in the meantime."""

    code = "tenancy.organization_state"
    title = N_("Somebody else has just changed this organization")


class NoDefaultTenant(Misconfigured):
    """The database has no default tenant yet."""

    code = "tenancy.no_default"
    title = N_("There is no default tenant yet; create it with: flask iam init-db")


class UnknownAddress(NotFound):
    """An address that names a tenant which does not exist."""

    code = "tenancy.unknown_address"
    title = N_("Nobody is at home at this address")


class AddressClosed(Forbidden):
    """The address of a tenant that is suspended."""

    code = "tenancy.closed"
    title = N_("This address is closed for now")


class AddressesDisagree(Forbidden):
    """Host name and path name different tenants (AT-367)."""

    code = "tenancy.disagree"
    title = N_("This address names two different tenants")


class WrongTenant(Forbidden):
    """A session of one tenant at the address of another (AT-367, AT-390).

    `details` carry the person.
    """

    code = "tenancy.wrong_tenant"
    title = N_("You are signed in somewhere else")


class HostRefused(InvalidInput):
    """A host name that is malformed or belongs to the installation."""

    code = "tenancy.host_refused"
    title = N_("This host name cannot be used")


class HostTaken(Conflict):
    """Another tenant has the host name."""

    code = "tenancy.host_taken"
    title = N_("This host name is taken")
