"""Settings of second factors: which are allowed, how long a code lives, who needs one.

Figures follow RFC 6238 5.2, NIST SP 800-63B-4 3.1.3 and ASVS 5.0 6.5 and 6.6.
Owns the findings `iam.E3xx` and `iam.W3xx`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from ...core.checks import Finding
from ...core.i18n import _
from ...core.settings import AT_MOST, ONLY_OFF, WITHIN, CommaList, Section, setting

METHODS = ("webauthn", "totp", "whatsapp_otp", "sms_otp", "email_otp", "recovery_code")


class MfaSettings(Section):
    """Everything about second factors that an operator may choose."""

    title: ClassVar[str] = "Second factors"

    MFA_METHODS: CommaList = setting(
        METHODS,
        "Second factors that people may enrol and that count; one left out and already "
        "enrolled is still asked for at sign-in, but no longer counts as MFA.",
        per_tenant=True,
        floor=WITHIN,
    )
    MFA_DEFAULT_POLICY: Literal["off", "optional", "required"] = setting(
        "optional",
        "Second factor for everybody: `off`, `optional` or `required`.",
        per_tenant=True,
        floor=("off", "optional", "required"),
    )
    MFA_REQUIRED_ACTOR_TYPES: CommaList = setting(
        ("super_admin", "partner_admin", "client_admin", "tenant_admin"),
        "Actor types that need a second factor; roles may ask for one too.",
    )
    MFA_GRACE_DAYS: int = setting(
        0,
        "Days in which somebody who needs a factor may still put enrolment off.",
        per_tenant=True,
        floor=AT_MOST,
        ge=0,
        le=90,
    )
    MFA_EMAIL_COUNTS_AS_MFA: bool = setting(
        False,
        "Let e-mail codes count as a full second factor. NIST SP 800-63B-4 3.1.3 forbids "
        "e-mail for out-of-band authentication: a mailbox proves no possession of a device.",
        per_tenant=True,
        floor=ONLY_OFF,
    )
    MFA_SMS_FALLBACK_TO_EMAIL: bool = setting(
        False, "Send a code by e-mail where SMS or WhatsApp fails for good; it counts as e-mail."
    )
    MFA_ISSUER: str = setting(
        "", "Name shown in the authenticator app; empty: `IAM_BRAND_NAME`.", max_length=60
    )
    MFA_TOTP_WINDOW_BACK: int = setting(
        1, "Earlier 30-second steps that are accepted; RFC 6238 allows one.", ge=0, le=2
    )
    MFA_TOTP_WINDOW_AHEAD: int = setting(0, "Later 30-second steps accepted.", ge=0, le=2)
    MFA_CODE_MINUTES: int = setting(
        10, "Minutes for which a sent code works; NIST allows ten.", ge=1, le=10
    )
    MFA_CODE_MAX_ATTEMPTS: int = setting(5, "Tries at one sent code before it dies.", ge=1, le=10)
    MFA_RESEND_COOLDOWN_SECONDS: int = setting(
        60, "Wait before another code goes to the same destination, in seconds.", ge=1, le=600
    )
    MFA_RECOVERY_CODES: int = setting(10, "Recovery codes made at once.", ge=4, le=20)

    def contradiction(self) -> tuple[str, str] | None:
        """Return the list of factors where it leaves none that a required one could be."""
        strong = set(self.MFA_METHODS) - {"email_otp", "recovery_code"}
        if strong or self.MFA_DEFAULT_POLICY == "off":
            return None
        return "MFA_METHODS", _(
            "Codes by e-mail and recovery codes are not enough as second factors. Choose one more."
        )


def check(state: Any) -> Iterator[Finding]:
    """Yield the findings for a loaded extension (a `core.checks.Check`)."""
    yield from findings(state.settings[MfaSettings])


def findings(settings: MfaSettings, known: tuple[str, ...] = METHODS) -> Iterator[Finding]:
    """Yield what is wrong or unwise in `settings` for production."""
    unknown = sorted(set(settings.MFA_METHODS) - set(known))
    if unknown:
        yield Finding("iam.E301", f"MFA_METHODS names unknown factors: {', '.join(unknown)}")
    strong = set(settings.MFA_METHODS) - {"email_otp", "recovery_code"}
    if not strong and settings.MFA_DEFAULT_POLICY != "off":
        yield Finding("iam.E302", "MFA_METHODS holds no factor that meets AAL2")
    if settings.MFA_TOTP_WINDOW_BACK + settings.MFA_TOTP_WINDOW_AHEAD > 1:
        yield Finding("iam.W301", "MFA_TOTP_WINDOW_* accepts more than one further step (RFC 6238)")
    if settings.MFA_EMAIL_COUNTS_AS_MFA:
        yield Finding("iam.W302", "MFA_EMAIL_COUNTS_AS_MFA is on, against NIST 3.1.3, ASVS 6.3.6")
