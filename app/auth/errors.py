"""Refusals of authentication. One answer for every reason a sign-in fails (C5)."""

from __future__ import annotations

from ..core.errors import BadRequest, Forbidden, InvalidInput, NotAuthenticated, NotFound
from ..core.i18n import N_


class InvalidCredentials(NotAuthenticated):
    """Unknown user, wrong password or an account that may not act: the same words."""

    code = "auth.invalid_credentials"
    title = N_("That username and password do not match. Check both and try again.")


class AddressRefused(InvalidCredentials):
    """An address outside the allow-list, told as a wrong password is: it confirms none."""


class CodeInvalid(NotAuthenticated):
    """A second-factor code was refused."""

    code = "mfa.code_invalid"
    title = N_("That code is not right, or it was used before.")


class CodeDead(CodeInvalid):
    """The awaited code can no longer be met: too old, replaced, or tried too often."""

    code = "mfa.code_dead"
    title = N_("This code no longer works. Ask for a new one.")


class CloneRefused(CodeInvalid):
    """A key whose counter did not grow, where policy refuses such keys; told as any wrong code."""


class PasskeyRefused(NotAuthenticated):
    """A passkey ceremony was refused; `details["reason"]` is for the audit trail alone."""

    code = "webauthn.refused"
    title = N_("That passkey was not accepted. Please try again, or use another way.")


class PasskeyMalformed(BadRequest):
    """What came from the browser is no answer to a passkey ceremony."""

    code = "webauthn.malformed"
    title = N_("What your browser sent could not be read. Please try again.")
    keeps_evidence = True


class SessionLimitReached(NotAuthenticated):
    """As many sessions as allowed are open, and the policy refuses another."""

    code = "auth.session_limit"
    title = N_("You are signed in on too many devices. Sign out on one of them first.")


class LinkInvalid(NotFound):
    """A link from a message that is unknown, used, replaced or too old."""

    code = "link.invalid"
    title = N_("This link no longer works. Please ask for a new one.")
    keeps_evidence = True


class LinkElsewhere(Forbidden):
    """A sign-in link that was opened in another browser than the one that asked for it."""

    code = "link.elsewhere"
    title = N_("This link was asked for in another browser. Please open it there.")


class PasswordRefused(InvalidInput):
    """A new password breaks the policy; `details["reasons"]` lists sentences."""

    code = "password.refused"
    title = N_("Please choose another password")
    keeps_evidence = True
