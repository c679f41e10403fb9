"""Settings of signing in by link or code, and of taking back a changed address (C7, B6).

Either is one factor, never MFA (NIST SP 800-63B-4 3.1.3 rules mail out as a second one).
Owns the findings `iam.E55x`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ...core.checks import Finding
from ...core.settings import Section, setting
from ...notify.settings import NotifySettings
from ..mfa.settings_mfa import MfaSettings
from ..settings import ACTOR_TYPES, AuthSettings


class SignInSettings(Section):
    """Ways to sign in without a password, and the way back to a former address."""

    title: ClassVar[str] = "Sign-in links and codes"

    SIGN_IN_LINK_ENABLED: bool = setting(
        False, "Let people sign in by a link sent to their verified address.", per_tenant=True
    )
    SIGN_IN_CODE_EMAIL_ENABLED: bool = setting(
        False, "Let people sign in by a code sent to their verified address.", per_tenant=True
    )
    SIGN_IN_CODE_SMS_ENABLED: bool = setting(
        False, "Let people sign in by a code sent to their verified number.", per_tenant=True
    )
    SIGN_IN_LINK_MINUTES: int = setting(
        10, "Minutes for which a sign-in link or code works.", ge=1, le=10
    )
    EMAIL_UNDO_DAYS: int = setting(
        7, "Days in which a former e-mail address may take its account back.", ge=1, le=30
    )


def check(state: Any) -> Iterator[Finding]:
    """Yield the findings for a loaded extension (a `core.checks.Check`)."""
    settings = state.settings
    yield from findings(settings[SignInSettings], settings[NotifySettings])
    if settings[NotifySettings].MAIL_PROVIDER == "none":
        yield from _unsent_confirmations(settings[AuthSettings], settings[MfaSettings])


def findings(settings: SignInSettings, notify: NotifySettings) -> Iterator[Finding]:
    """Yield what is wrong in `settings` for production."""
    by_mail = settings.SIGN_IN_LINK_ENABLED or settings.SIGN_IN_CODE_EMAIL_ENABLED
    if by_mail and notify.MAIL_PROVIDER == "none":
        yield Finding("iam.E551", "Sign-in by mail is on, and MAIL_PROVIDER sends none")
    if settings.SIGN_IN_CODE_SMS_ENABLED and notify.SMS_PROVIDER == "none":
        yield Finding("iam.E552", "SIGN_IN_CODE_SMS_ENABLED is on, and SMS_PROVIDER sends none")


def _unsent_confirmations(auth: AuthSettings, mfa: MfaSettings) -> Iterator[Finding]:
    # Whoever waits for such a mail could never finish a sign-in.
    if auth.EMAIL_VERIFICATION_REQUIRED:
        yield Finding("iam.E553", "EMAIL_VERIFICATION_REQUIRED is on, and MAIL_PROVIDER sends none")
    if mfa.MFA_DEFAULT_POLICY == "required":
        return
    for name in ACTOR_TYPES:
        if auth.session_policy(name).mfa_on_new_device and name not in mfa.MFA_REQUIRED_ACTOR_TYPES:
            text = (
                "mfa_on_new_device without a required second factor, and MAIL_PROVIDER sends none"
            )
            yield Finding("iam.E553", f"IAM_SESSION_POLICIES: {name} has {text}")
