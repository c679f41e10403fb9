"""Refusals of account recovery; each keeps its evidence."""

from __future__ import annotations

from ...core.errors import Conflict, Forbidden
from ...core.i18n import N_


class RecoveryClosed(Conflict):
    """The request is not open any more, or not in the state that the step needs."""

    code = "recovery.closed"
    title = N_("This recovery has moved on. Look at its state again")


class RecoveryTooEarly(Conflict):
    """The waiting time is not over."""

    code = "recovery.too_early"
    title = N_("The waiting time is not over yet")


class RecoveryUnreachable(Conflict):
    """Neither a confirmed address nor a confirmed number: nobody could be told or object."""

    code = "recovery.unreachable"
    title = N_(
        "This account has no confirmed e-mail address or phone number, so it cannot be recovered "
        "here. An administrator can help"
    )


class SecondPersonNeeded(Forbidden):
    """Four eyes: neither the person nor whoever opened the request decides it."""

    code = "recovery.four_eyes"
    title = N_("Somebody else must approve this: neither the person nor who opened it may")
