"""Words for the settings that a tenant may choose: groups, names and values, for pages.

A setting without words here is shown under its own name, with its description.
"""

from __future__ import annotations

import json
from typing import Any

from ..core.i18n import N_, _

GROUPS: dict[str, tuple[str, str]] = {
    "branding": (N_("Branding"), N_("How your pages and messages look, and where they point.")),
    "methods": (N_("Ways to sign in"), N_("What people may sign in and confirm with.")),
    "policies": (N_("Policies"), N_("What your people must meet. You can be stricter than the "
                                    "installation where security is at stake, never looser.")),
    "audit": (N_("Audit"), N_("How long evidence is kept, and who is told at once.")),
}  # fmt: skip
_PREFIXES = (
    ("audit", ("AUDIT_",)),
    ("branding", ("IAM_BRAND_", "IAM_SUPPORT_", "IAM_PRIVACY_", "IAM_TERMS_")),
    ("methods", ("SIGN_IN_", "WEBAUTHN_", "MFA_METHODS", "MFA_EMAIL_")),
)
LABELS: dict[str, tuple[str, str]] = {
    "IAM_BRAND_NAME": (N_("Name"), N_("On every page and in every message; no web address.")),
    "IAM_BRAND_LOGO_URL": (N_("Logo"), N_("Address of an image, beginning with https://. "
                                          "Its server sees who looks at your pages.")),
    "IAM_BRAND_ACCENT": (N_("Accent colour"), N_("Six hexadecimal digits, like #0f5c63. Shades "
                         "that can be read on light and dark pages are made of it.")),
    "IAM_SUPPORT_URL": (N_("Help page"), N_("Linked at the foot of every page; begins with "
                                            "https://.")),
    "IAM_PRIVACY_URL": (N_("Privacy notice"), N_("Linked at the foot of every page; begins with "
                                                 "https://.")),
    "IAM_TERMS_URL": (N_("Terms of use"), N_("Linked at the foot of every page; begins with "
                                             "https://.")),
    "SIGN_IN_LINK_ENABLED": (N_("Link by e-mail"), N_("One factor, never two.")),
    "SIGN_IN_CODE_EMAIL_ENABLED": (N_("Code by e-mail"), N_("One factor, never two.")),
    "SIGN_IN_CODE_SMS_ENABLED": (N_("Code by text message"), N_("One factor, never two.")),
    "MFA_METHODS": (N_("Second factors"), N_("One that is left out stays where it is enrolled, "
                                             "but no longer counts.")),
    "MFA_EMAIL_COUNTS_AS_MFA": (N_("E-mail codes count as a full second factor"), ""),
    "WEBAUTHN_USER_VERIFICATION": (N_("PIN or biometrics for security keys"),
                                   N_("Where a key is the second step.")),
    "WEBAUTHN_RESIDENT_KEY": (N_("Keys found without a username"), ""),
    "WEBAUTHN_ATTESTATION": (N_("Vouching by the maker of a key"), ""),
    "WEBAUTHN_ALLOWED_AAGUIDS": (N_("Models of keys"), N_("Their identifiers (AAGUID), "
                                 "separated by commas.")),
    "WEBAUTHN_REFUSE_CLONES": (N_("Refuse keys that seem to be copied"), ""),
    "PASSWORD_MIN_LENGTH": (N_("Shortest password"), N_("Characters, where the password alone "
                                                        "may sign in.")),
    "PASSWORD_MIN_LENGTH_WITH_MFA": (N_("Shortest password beside a second factor"),
                                     N_("Characters, where a second factor is always asked for.")),
    "PASSWORD_MIN_SCORE": (N_("Strength of passwords"), N_("From 0 to 4.")),
    "PASSWORD_HISTORY": (N_("Former passwords that cannot be used again"), ""),
    "PASSWORD_BREACH_CHECK": (N_("Look new passwords up among stolen ones"),
                              N_("Only five characters of a fingerprint leave the service.")),
    "MFA_DEFAULT_POLICY": (N_("Second factor for everybody"), ""),
    "MFA_GRACE_DAYS": (N_("Days until a required second factor must be there"), ""),
    "EMAIL_VERIFICATION_REQUIRED": (N_("A sign-in confirms an unconfirmed address first"), ""),
    "STEP_UP_MINUTES": (N_("Minutes until an important change asks again"), ""),
    "DEVICE_TRUST_DAYS": (N_("Days without the second step on a trusted device"),
                          N_("0: never. Not where a second factor is required.")),
    "RECOVERY_WAIT_HOURS": (N_("Hours to object to a recovery"), ""),
    "RECOVERY_APPROVED_WAIT_HOURS": (N_("Hours to object to an approved recovery"), ""),
    "IAM_INVITATION_DAYS": (N_("Days for which an invitation works"), ""),
    "IAM_SESSION_POLICIES": (N_("Limits of sessions"), N_("By kind of account, as JSON. Only what "
                             "is stricter than the installation has an effect.")),
    "AUDIT_RETENTION_DAYS": (N_("Days that events are kept"), ""),
    "AUDIT_NOTIFY_EMAILS": (N_("Who is told of critical events"), N_("E-mail addresses, separated "
                                                                     "by commas.")),
}  # fmt: skip
_VALUES = {
    "required": N_("Required"),
    "optional": N_("Optional"),
    "off": N_("Not asked for"),
    "preferred": N_("Preferred"),
    "discouraged": N_("Not wanted"),
    "none": N_("Not asked for"),
    "direct": N_("Required, by a trusted maker"),
    "webauthn": N_("Passkey or security key"),
    "totp": N_("Authenticator app"),
    "whatsapp_otp": N_("Code by WhatsApp"),
    "sms_otp": N_("Code by text message"),
    "email_otp": N_("Code by e-mail"),
    "recovery_code": N_("Recovery codes"),
}


def group_of(name: str) -> str:
    """Return the group that a setting is shown in."""
    for group, prefixes in _PREFIXES:
        if name.startswith(prefixes):
            return group
    return "policies"


def label(name: str) -> str:
    """Return what people call a setting."""
    return _(LABELS[name][0]) if name in LABELS else name


def hint(name: str, description: str) -> str:
    """Return a sentence about a setting."""
    return _(LABELS[name][1]) if name in LABELS else description


def word(value: str) -> str:
    """Return one value of a choice in words."""
    return _(_VALUES[value]) if value in _VALUES else value


def in_words(value: Any) -> str:
    """Return a value as people read it; an empty one is a dash."""
    if isinstance(value, bool):
        return _("On") if value else _("Off")
    if isinstance(value, tuple | list):
        return ", ".join(word(str(item)) for item in value) or "–"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else "–"
    return word(str(value)) or "–"
