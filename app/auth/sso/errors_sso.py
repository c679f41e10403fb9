"""Refusals of single sign-on. Each has a page that says what to do next."""

from __future__ import annotations

from uuid import UUID

from ...core.errors import BadRequest, Forbidden, UpstreamFailed
from ...core.i18n import N_


class SsoRefused(BadRequest):
    """An answer that is not, or no longer, one we asked for (400).

    `reason` goes to the audit trail only: it would tell an attacker which check failed.
    """

    code = "sso.refused"
    title = N_("That sign-in could not be completed. Please start again.")
    keeps_evidence = True

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class OtherIdentity(SsoRefused):
    """Somebody confirmed at the provider as another than the one who is asked (400)."""

    title = N_("You signed in there with an account that is not the one linked to yours here.")

    def __init__(self) -> None:
        super().__init__("other_identity")


class SsoCancelled(BadRequest):
    """The person, or the provider, ended the trip (400)."""

    code = "sso.cancelled"
    title = N_("The sign-in was cancelled. You can try again or choose another way.")
    keeps_evidence = True


class SsoUnavailable(UpstreamFailed):
    """The provider does not answer, or not in a way that can be understood.

    503 rather than 502: people see it, and are told to come back.
    """

    status = 503
    code = "sso.unavailable"
    title = N_("The other service does not answer. Please try again later or choose another way.")
    keeps_evidence = True

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class NoAccount(Forbidden):
    """Nobody here is known by this identity, and the connection makes no accounts (403)."""

    code = "sso.no_account"
    title = N_(
        "There is no account here for this sign-in. If you have one, sign in to it another way and "
        "link this service under Security. Otherwise ask an administrator for an invitation."
    )
    keeps_evidence = True


class LinkRequired(Forbidden):
    """An account has this address already: its owner signs in there and links (G3, 403)."""

    code = "sso.link_required"
    title = N_("You already have an account here. Sign in to it once to link the two.")
    keeps_evidence = True

    def __init__(self, user_id: UUID) -> None:
        super().__init__()
        self.user_id = user_id
