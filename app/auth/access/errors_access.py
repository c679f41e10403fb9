"""Refusals of access contexts."""

from __future__ import annotations

from ...core.errors import Conflict, Forbidden
from ...core.i18n import N_


class AccessRefused(Forbidden):
    """The person, or the address they come from, may not enter other tenants."""

    code = "access.refused"
    title = N_("You cannot enter other tenants from here")


class AccessEnded(Forbidden):
    """A change was asked for in a context that is over: it is made in no tenant at all."""

    code = "access.ended"
    title = N_("Your access to the other tenant has ended. Nothing was changed")


class AccessRunning(Conflict):
    """The person is in another tenant already."""

    code = "access.running"
    title = N_("Leave the tenant you are in first")
