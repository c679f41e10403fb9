"""Refusals of account administration; each keeps its evidence."""

from __future__ import annotations

from ...core.errors import Conflict, Forbidden
from ...core.i18n import N_


class IdentityTaken(Conflict):
    """Another account of this tenant has the username or the address; `field` says which."""

    code = "account.taken"
    title = N_("Another account already uses this")


class AccountState(Conflict):
    """The account's status does not allow the change."""

    code = "account.state"
    title = N_("The account is not in a state that allows this")


class OwnAccount(Forbidden):
    """Administrators do not suspend, disable or delete themselves."""

    code = "account.own"
    title = N_("You cannot do this to your own account. Ask another administrator")
