"""Catalogue of audit events: name, severity, meaning, and the metadata each may carry.

`record()` refuses a name or a metadata key that is not declared here, so that
secrets cannot slip into the trail. Rendered to `docs/reference/audit-events.md`.
Names are never reused for another meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

INFO, NOTICE, WARNING, CRITICAL = "info", "notice", "warning", "critical"


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event."""

    name: str
    severity: str
    meaning: str
    fields: frozenset[str] = frozenset()


CATALOGUE: dict[str, Event] = {}


def _declare(name: str, severity: str, meaning: str, *fields: str) -> Event:
    event = Event(name, severity, meaning, frozenset(fields))
    CATALOGUE[name] = event
    return event


# Sign-in
LOGIN_SUCCEEDED = _declare(
    "LOGIN_SUCCEEDED", INFO, "A person signed in.", "amr", "acr", "device_id", "new_device"
)
LOGIN_PASSWORD_ACCEPTED = _declare(
    "LOGIN_PASSWORD_ACCEPTED", INFO, "The password was right; more is needed.", "stage"
)
LOGIN_FAILED = _declare(
    "LOGIN_FAILED", WARNING, "A sign-in was refused.", "identifier", "reason", "attempts"
)
LOGIN_THROTTLED = _declare(
    "LOGIN_THROTTLED", WARNING, "A sign-in was refused unseen: too many attempts.",
    "identifier", "scope", "retry_after",
)  # fmt: skip
LOGOUT = _declare("LOGOUT", INFO, "A person signed out.")
STEP_UP_SUCCEEDED = _declare(
    "STEP_UP_SUCCEEDED", INFO, "A person proved again who they are.", "purpose", "method", "acr"
)
STEP_UP_FAILED = _declare(
    "STEP_UP_FAILED", WARNING, "A renewed proof was refused.", "purpose", "method"
)
ACCESS_DENIED = _declare(
    "ACCESS_DENIED", WARNING, "A signed-in person was refused for want of a right.",
    "endpoint", "method", "required",
)  # fmt: skip
CSRF_REFUSED = _declare(
    "CSRF_REFUSED", WARNING, "A form came without a valid token.", "endpoint", "method"
)

# Passwords
PASSWORD_CHANGED = _declare("PASSWORD_CHANGED", NOTICE, "A person changed their password.")
PASSWORD_CHANGE_FAILED = _declare(
    "PASSWORD_CHANGE_FAILED", WARNING, "A password change was refused.", "reason"
)
PASSWORD_RESET_REQUESTED = _declare(
    "PASSWORD_RESET_REQUESTED", INFO, "Somebody asked for a reset link.", "identifier", "known"
)
PASSWORD_RESET_COMPLETED = _declare(
    "PASSWORD_RESET_COMPLETED", NOTICE, "A password was set through a link.", "purpose"
)
PASSWORD_RESET_FAILED = _declare(
    "PASSWORD_RESET_FAILED", WARNING, "A reset link was refused.", "reason"
)
PASSWORD_RESET = _declare(
    "PASSWORD_RESET", CRITICAL, "An administrator sent a set-password link.", "purpose"
)
PASSWORD_REHASHED = _declare(
    "PASSWORD_REHASHED", INFO, "A password hash was renewed at sign-in.", "from_scheme"
)
PASSWORD_BREACH_CHECK_UNAVAILABLE = _declare(
    "PASSWORD_BREACH_CHECK_UNAVAILABLE", WARNING, "The breached-password check did not answer."
)

# Factors
MFA_ENROLMENT_BEGUN = _declare(
    "MFA_ENROLMENT_BEGUN", INFO, "Enrolment of a second factor was begun.", "method"
)
MFA_ENROLLED = _declare("MFA_ENROLLED", NOTICE, "A second factor was enrolled.", "method", "name")
MFA_RENAMED = _declare("MFA_RENAMED", INFO, "A second factor was renamed.", "method", "name")
MFA_REMOVED = _declare("MFA_REMOVED", WARNING, "A second factor was removed.", "method", "name")
MFA_DISABLED = _declare(
    "MFA_DISABLED", CRITICAL, "An administrator removed all second factors.", "methods"
)
MFA_CODE_SENT = _declare(
    "MFA_CODE_SENT", INFO, "A code was sent.", "method", "purpose", "fallback_from"
)
MFA_SEND_REFUSED = _declare(
    "MFA_SEND_REFUSED", WARNING, "A code was not sent.", "method", "purpose", "reason"
)
MFA_VERIFIED = _declare("MFA_VERIFIED", INFO, "A second factor was proved.", "method", "purpose")
MFA_FAILED = _declare(
    "MFA_FAILED", WARNING, "A second factor was refused.", "method", "purpose", "reason"
)
RECOVERY_CODES_CREATED = _declare(
    "RECOVERY_CODES_CREATED", NOTICE, "New recovery codes were made.", "count"
)
RECOVERY_CODES_CONFIRMED = _declare(
    "RECOVERY_CODES_CONFIRMED", INFO, "A person confirmed that the recovery codes are saved."
)
RECOVERY_CODE_USED = _declare(
    "RECOVERY_CODE_USED", WARNING, "A recovery code was used.", "remaining"
)

# Sessions and devices
SESSION_REVOKED = _declare("SESSION_REVOKED", NOTICE, "A session was ended.", "reason", "count")
SESSION_LIMIT_REACHED = _declare(
    "SESSION_LIMIT_REACHED", NOTICE, "The oldest session ended to make room.", "limit"
)
DEVICE_ADDED = _declare("DEVICE_ADDED", NOTICE, "A sign-in came from a new device.")
DEVICE_RENAMED = _declare("DEVICE_RENAMED", INFO, "A device was renamed.", "device")
DEVICE_REVOKED = _declare("DEVICE_REVOKED", NOTICE, "A device was revoked.", "device")

# Accounts
USER_CREATED = _declare("USER_CREATED", NOTICE, "An account was created.", "actor_type")
USER_UPDATED = _declare("USER_UPDATED", INFO, "An account was changed.")
PROFILE_UPDATED = _declare("PROFILE_UPDATED", INFO, "A person changed their profile.")
USER_SUSPENDED = _declare("USER_SUSPENDED", WARNING, "An account was suspended.", "reason")
USER_REACTIVATED = _declare("USER_REACTIVATED", NOTICE, "An account was reactivated.", "reason")
USER_DISABLED = _declare("USER_DISABLED", WARNING, "An account was disabled.", "reason")
USER_DELETED = _declare("USER_DELETED", CRITICAL, "An account was deleted.", "reason")
USER_FACTORS_RESET = _declare(
    "USER_FACTORS_RESET", WARNING, "An administrator had second factors removed.", "reason"
)
INVITATION_SENT = _declare("INVITATION_SENT", INFO, "A set-password link was sent.", "purpose")

# Roles
ROLE_CREATED = _declare("ROLE_CREATED", NOTICE, "A role was created.", "role")
ROLE_UPDATED = _declare("ROLE_UPDATED", NOTICE, "A role was changed.", "role")
ROLE_DELETED = _declare("ROLE_DELETED", CRITICAL, "A role was deleted.", "role")
ROLE_ASSIGNED = _declare(
    "ROLE_ASSIGNED", NOTICE, "A role was given to a person.", "role", "scope", "expires_at"
)
ROLE_REVOKED = _declare("ROLE_REVOKED", NOTICE, "A role was taken from a person.", "role")
CATALOGUE_SEEDED = _declare(
    "CATALOGUE_SEEDED", NOTICE, "Permissions and system roles of a tenant were brought up to date.",
    "permissions", "roles",
)  # fmt: skip
ROLE_CHANGE_REFUSED = _declare(
    "ROLE_CHANGE_REFUSED", WARNING, "A change of rights was refused.", "role", "reason"
)

# Audit and operation
AUDIT_EXPORTED = _declare(
    "AUDIT_EXPORTED", NOTICE, "Audit events were exported.", "format", "filters"
)
KEYS_ROTATED = _declare("KEYS_ROTATED", NOTICE, "Stored secrets were re-encrypted.", "count")
ORGANIZATION_CREATED = _declare(
    "ORGANIZATION_CREATED", NOTICE, "An organization was created.", "name"
)
ORGANIZATION_UPDATED = _declare(
    "ORGANIZATION_UPDATED", NOTICE, "An organization was changed.", "name"
)
TENANT_CREATED = _declare("TENANT_CREATED", NOTICE, "A tenant was created.", "slug")
OUTBOX_RETRIED = _declare("OUTBOX_RETRIED", INFO, "A dead message was queued again.", "channel")
