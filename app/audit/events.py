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
    personal: frozenset[str] = frozenset()
    """Fields (or `changes`) that tell of the subject: kept under that person's key."""


CATALOGUE: dict[str, Event] = {}


def _declare(
    name: str, severity: str, meaning: str, *fields: str, personal: tuple[str, ...] = ()
) -> Event:
    event = Event(name, severity, meaning, frozenset(fields), frozenset(personal))
    CATALOGUE[name] = event
    return event


# Sign-in
LOGIN_SUCCEEDED = _declare(
    "LOGIN_SUCCEEDED", INFO, "A person signed in.", "amr", "acr", "device_id", "new_device"
)
LOGIN_STAGE_REACHED = _declare(
    "LOGIN_STAGE_REACHED", INFO, "A first proof was accepted; more is needed.", "stage", "producer"
)
LOGIN_FAILED = _declare(
    "LOGIN_FAILED", WARNING, "A sign-in was refused.",
    "identifier", "reason", "attempts", personal=("identifier",),
)  # fmt: skip
LOGIN_THROTTLED = _declare(
    "LOGIN_THROTTLED", WARNING, "A sign-in was refused unseen: too many attempts.",
    "identifier", "scope", "retry_after", personal=("identifier",),
)  # fmt: skip
LOGOUT = _declare("LOGOUT", INFO, "A person signed out.")
SIGN_IN_LINK_REQUESTED = _declare(
    "SIGN_IN_LINK_REQUESTED", INFO, "Somebody asked for a sign-in link or code.",
    "identifier", "known", "channel", personal=("identifier",),
)  # fmt: skip
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
    "PASSWORD_RESET_REQUESTED", INFO, "Somebody asked for a reset link.",
    "identifier", "known", personal=("identifier",),
)  # fmt: skip
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
MFA_ENROLLED = _declare(
    "MFA_ENROLLED", NOTICE, "A second factor was enrolled.",
    "method", "name", personal=("name",),
)  # fmt: skip
MFA_RENAMED = _declare(
    "MFA_RENAMED", INFO, "A second factor was renamed.",
    "method", "name", personal=("name", "changes"),
)  # fmt: skip
MFA_REMOVED = _declare(
    "MFA_REMOVED", WARNING, "A second factor was removed.",
    "method", "name", personal=("name",),
)  # fmt: skip
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

# Passkeys and security keys
WEBAUTHN_REGISTRATION_REFUSED = _declare(
    "WEBAUTHN_REGISTRATION_REFUSED", WARNING, "A passkey or security key was not taken.", "reason"
)
WEBAUTHN_MALFORMED = _declare(
    "WEBAUTHN_MALFORMED", WARNING, "A passkey message could not be read.", "endpoint", "reason"
)
WEBAUTHN_CLONE_SUSPECTED = _declare(
    "WEBAUTHN_CLONE_SUSPECTED", WARNING, "A security key may have been copied.",
    "name", personal=("name",),
)  # fmt: skip

# Codes and links outside enrolled factors
CODE_SENT = _declare(
    "CODE_SENT", INFO, "A code that proves an address was sent.", "channel", "purpose"
)
CODE_REFUSED = _declare(
    "CODE_REFUSED", WARNING, "A code that proves an address was refused.", "purpose", "reason"
)
EMAIL_VERIFIED = _declare("EMAIL_VERIFIED", NOTICE, "A person confirmed their e-mail address.")
EMAIL_CHANGE_REQUESTED = _declare(
    "EMAIL_CHANGE_REQUESTED", NOTICE, "A person asked to change their e-mail address.", "known"
)
EMAIL_CHANGED = _declare("EMAIL_CHANGED", WARNING, "A person changed their e-mail address.")
EMAIL_CHANGE_UNDONE = _declare(
    "EMAIL_CHANGE_UNDONE", CRITICAL, "A former address took an account back."
)
PHONE_CHANGE_REQUESTED = _declare(
    "PHONE_CHANGE_REQUESTED", NOTICE, "A person asked to change their phone number."
)
PHONE_CHANGED = _declare("PHONE_CHANGED", WARNING, "A person changed their phone number.")
PHONE_VERIFIED = _declare("PHONE_VERIFIED", NOTICE, "A person confirmed their phone number.")
EMAIL_CHANGE_DISPUTED = _declare(
    "EMAIL_CHANGE_DISPUTED", CRITICAL,
    "A change of address was disputed; the account is locked until an administrator decides.",
)  # fmt: skip
PHONE_DOUBTED = _declare("PHONE_DOUBTED", NOTICE, "A phone number must be confirmed again.")
PHONE_REMOVED = _declare("PHONE_REMOVED", WARNING, "A person removed their phone number.")
RECOVERY_OPENED = _declare(
    "RECOVERY_OPENED", WARNING, "The recovery of an account was asked for.",
    "reason", "amr", personal=("reason",),
)  # fmt: skip
RECOVERY_PROVED = _declare(
    "RECOVERY_PROVED", NOTICE, "A channel was proved for the recovery of an account.", "channel"
)
RECOVERY_ESCALATED = _declare(
    "RECOVERY_ESCALATED", NOTICE, "A recovery waits for the decision of an administrator.",
    "reason", personal=("reason",),
)  # fmt: skip
RECOVERY_APPROVED = _declare(
    "RECOVERY_APPROVED", WARNING, "A second person approved the recovery of an account.",
    "reason", personal=("reason",),
)  # fmt: skip
RECOVERY_REFUSED = _declare(
    "RECOVERY_REFUSED", NOTICE, "An administrator refused the recovery of an account.",
    "reason", personal=("reason",),
)  # fmt: skip
RECOVERY_CANCELLED = _declare(
    "RECOVERY_CANCELLED", NOTICE, "The recovery of an account was stopped.",
    "reason", personal=("reason",),
)  # fmt: skip
RECOVERY_COMPLETED = _declare(
    "RECOVERY_COMPLETED", CRITICAL, "An account was recovered: its second factors were removed.",
    "methods",
)  # fmt: skip
RECOVERY_FAILED = _declare(
    "RECOVERY_FAILED", WARNING, "A step of a recovery was refused.", "reason", "channel"
)

# Sessions
SESSION_REVOKED = _declare("SESSION_REVOKED", NOTICE, "A session was ended.", "reason", "count")
SESSION_LIMIT_REACHED = _declare(
    "SESSION_LIMIT_REACHED", NOTICE, "The oldest session ended to make room.", "limit"
)

# Single sign-on
SSO_STARTED = _declare(
    "SSO_STARTED", INFO, "Somebody was sent to another service to sign in.",
    "connection", "provider", "purpose",
)  # fmt: skip
SSO_FAILED = _declare(
    "SSO_FAILED", WARNING, "What came back from another service was refused.",
    "connection", "provider", "purpose", "reason",
)  # fmt: skip
SSO_ACCOUNT_CREATED = _declare(
    "SSO_ACCOUNT_CREATED", NOTICE, "A first sign-in through a connection made an account.",
    "connection", "provider",
)  # fmt: skip
IDENTITY_LINKED = _declare(
    "IDENTITY_LINKED", NOTICE, "An identity of another service was linked to an account.",
    "connection", "provider", "reason",
)  # fmt: skip
IDENTITY_UNLINKED = _declare(
    "IDENTITY_UNLINKED", NOTICE, "An identity of another service was taken from an account.",
    "connection", "provider", "reason",
)  # fmt: skip
IDENTITY_LINK_OFFERED = _declare(
    "IDENTITY_LINK_OFFERED", NOTICE,
    "An identity waits for a sign-in to the account that has its address.",
    "connection", "provider",
)  # fmt: skip
SSO_ROLES_APPLIED = _declare(
    "SSO_ROLES_APPLIED", NOTICE, "What another service said of a person changed their roles.",
    "connection", "provider", "roles", "removed",
)  # fmt: skip
SSO_ROLE_WITHHELD = _declare(
    "SSO_ROLE_WITHHELD", WARNING,
    "A mapping rule was not followed: its role holds more than its author could give.",
    "connection", "provider", "role", "reason",
)  # fmt: skip
SSO_LOGOUT_RECEIVED = _declare(
    "SSO_LOGOUT_RECEIVED", NOTICE, "Another service asked to end a person's sessions.",
    "connection", "provider", "count",
)  # fmt: skip
SSO_LOGOUT_REFUSED = _declare(
    "SSO_LOGOUT_REFUSED", WARNING, "A logout token was refused.",
    "connection", "provider", "reason",
)  # fmt: skip
SSO_CONNECTION_CREATED = _declare(
    "SSO_CONNECTION_CREATED",
    NOTICE,
    "A connection for single sign-on was set up.",
    "connection",
    "provider",
)
SSO_CONNECTION_CHANGED = _declare(
    "SSO_CONNECTION_CHANGED",
    NOTICE,
    "A connection for single sign-on was changed.",
    "connection",
    "provider",
)
SSO_CONNECTION_ENABLED = _declare(
    "SSO_CONNECTION_ENABLED",
    NOTICE,
    "A connection for single sign-on was enabled.",
    "connection",
    "provider",
)
SSO_CONNECTION_DISABLED = _declare(
    "SSO_CONNECTION_DISABLED", WARNING, "A connection for single sign-on was disabled.",
    "connection", "provider", "count",
)  # fmt: skip
SSO_CONNECTION_TESTED = _declare(
    "SSO_CONNECTION_TESTED", INFO, "A connection for single sign-on was tested.",
    "connection", "provider", "reason",
)  # fmt: skip
SSO_CONNECTION_DELETED = _declare(
    "SSO_CONNECTION_DELETED", WARNING, "A connection for single sign-on was deleted.",
    "connection", "provider", "count",
)  # fmt: skip
SSO_SECRET_ROTATED = _declare(
    "SSO_SECRET_ROTATED",
    NOTICE,
    "The secret of a connection was replaced.",
    "connection",
    "provider",
)
SSO_RULE_ADDED = _declare(
    "SSO_RULE_ADDED", NOTICE, "A mapping rule was added to a connection.",
    "connection", "claim", "role",
)  # fmt: skip
SSO_RULE_REMOVED = _declare(
    "SSO_RULE_REMOVED", NOTICE, "A mapping rule was removed from a connection.",
    "connection", "claim", "role",
)  # fmt: skip
DOMAIN_CLAIMED = _declare("DOMAIN_CLAIMED", NOTICE, "A tenant claimed an e-mail domain.", "name")
DOMAIN_VERIFIED = _declare(
    "DOMAIN_VERIFIED", NOTICE, "A DNS record proved that an e-mail domain is the tenant's.", "name"
)
DOMAIN_CHANGED = _declare(
    "DOMAIN_CHANGED", NOTICE, "Another connection signs in the people of an e-mail domain.", "name"
)
DOMAIN_LOST = _declare(
    "DOMAIN_LOST", WARNING, "The DNS record of an e-mail domain stayed away: it counts no more.",
    "name",
)  # fmt: skip
DOMAIN_RELEASED = _declare("DOMAIN_RELEASED", NOTICE, "A tenant gave an e-mail domain up.", "name")

# Devices
DEVICE_ADDED = _declare("DEVICE_ADDED", NOTICE, "A sign-in came from a new device.")
DEVICE_RENAMED = _declare(
    "DEVICE_RENAMED", INFO, "A device was renamed.",
    "device", personal=("device", "changes"),
)  # fmt: skip
DEVICE_REVOKED = _declare(
    "DEVICE_REVOKED", NOTICE, "A device was revoked.",
    "device", "count", personal=("device",),
)  # fmt: skip
DEVICE_TRUSTED = _declare(
    "DEVICE_TRUSTED", NOTICE, "A device was trusted to skip the second step.",
    "device", "expires_at", personal=("device",),
)  # fmt: skip
DEVICE_TRUST_ENDED = _declare(
    "DEVICE_TRUST_ENDED", NOTICE, "A person ended the trust in devices.", "count"
)
DEVICE_COOKIE_REUSED = _declare(
    "DEVICE_COOKIE_REUSED", WARNING, "A sign-in came with an old copy of a device's cookie."
)

# Accounts
USER_CREATED = _declare("USER_CREATED", NOTICE, "An account was created.", "actor_type")
USER_UPDATED = _declare("USER_UPDATED", INFO, "An account was changed.")
PROFILE_UPDATED = _declare("PROFILE_UPDATED", INFO, "A person changed their profile.")
USER_SUSPENDED = _declare(
    "USER_SUSPENDED", WARNING, "An account was suspended.",
    "reason", personal=("reason",),
)  # fmt: skip
USER_REACTIVATED = _declare(
    "USER_REACTIVATED", NOTICE, "An account was reactivated.",
    "reason", personal=("reason",),
)  # fmt: skip
USER_DISABLED = _declare(
    "USER_DISABLED", WARNING, "An account was disabled.",
    "reason", personal=("reason",),
)  # fmt: skip
USER_DELETED = _declare(
    "USER_DELETED", CRITICAL, "An account was deleted.",
    "reason", personal=("reason",),
)  # fmt: skip
USER_FACTORS_RESET = _declare(
    "USER_FACTORS_RESET", WARNING, "An administrator had second factors removed.",
    "reason", personal=("reason",),
)  # fmt: skip
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
    "AUDIT_EXPORTED", NOTICE, "Audit events were exported.",
    "format", "filters", personal=("filters",),
)  # fmt: skip
KEYS_ROTATED = _declare("KEYS_ROTATED", NOTICE, "Stored secrets were re-encrypted.", "count")
ORGANIZATION_CREATED = _declare(
    "ORGANIZATION_CREATED", NOTICE, "An organization was created.", "name"
)
ORGANIZATION_UPDATED = _declare(
    "ORGANIZATION_UPDATED", NOTICE, "An organization was changed.", "name"
)
TENANT_CREATED = _declare("TENANT_CREATED", NOTICE, "A tenant was created.", "slug")
TENANT_SETTINGS_CHANGED = _declare(
    "TENANT_SETTINGS_CHANGED", WARNING, "Settings of a tenant were changed.", "names"
)
OUTBOX_RETRIED = _declare("OUTBOX_RETRIED", INFO, "A dead message was queued again.", "channel")

# The audit trail itself
AUDIT_KEY_CREATED = _declare(
    "AUDIT_KEY_CREATED", NOTICE, "A key that signs the audit trail was made.", "name"
)
AUDIT_TAMPERING_FOUND = _declare(
    "AUDIT_TAMPERING_FOUND", CRITICAL, "The audit trail does not verify.", "findings"
)
AUDIT_PRUNED = _declare(
    "AUDIT_PRUNED", WARNING, "Events older than the retention were deleted; proof of them stays.",
    "from_seq", "until_seq", "days",
)  # fmt: skip
SUBJECT_KEY_DESTROYED = _declare(
    "SUBJECT_KEY_DESTROYED", CRITICAL,
    "The key of a person was destroyed: what the trail tells of them is unreadable for good.",
)  # fmt: skip
LOGIN_FAILURES_REPEATED = _declare(
    "LOGIN_FAILURES_REPEATED", CRITICAL,
    "Sign-ins to one account, or from one address, keep failing.",
    "identifier", "scope", "count", personal=("identifier",),
)  # fmt: skip
ATTEMPTS_THROTTLED = _declare(
    "ATTEMPTS_THROTTLED", WARNING, "Attempts were refused unseen: too many.", "scope", "retry_after"
)
ACCOUNT_CHANGE_REFUSED = _declare(
    "ACCOUNT_CHANGE_REFUSED", WARNING, "A change of an account was refused.", "reason"
)

# Tenants
TENANT_UPDATED = _declare("TENANT_UPDATED", NOTICE, "A tenant was changed.", "slug")
TENANT_SUSPENDED = _declare(
    "TENANT_SUSPENDED", CRITICAL, "A tenant was suspended: nobody in it can act.", "slug", "reason"
)
TENANT_REACTIVATED = _declare(
    "TENANT_REACTIVATED", WARNING, "A suspended tenant was reactivated.", "slug", "reason"
)
SESSION_ELSEWHERE = _declare(
    "SESSION_ELSEWHERE", WARNING,
    "A session was refused at the address of another tenant.",
    "address",
)  # fmt: skip
SUPER_ADMIN_ACCESS = _declare(
    "SUPER_ADMIN_ACCESS", CRITICAL,
    "An administrator of the platform acted in a tenant, in an access context.",
    "context", "endpoint", "method", "reason", "tenant", "minutes",
)  # fmt: skip
ACCESS_CONTEXT_ENDED = _declare(
    "ACCESS_CONTEXT_ENDED", NOTICE, "An access context of the platform ended.",
    "context", "reason", "tenant",
)  # fmt: skip
TENANT_ISOLATION_BREACH_ATTEMPT = _declare(
    "TENANT_ISOLATION_BREACH_ATTEMPT", CRITICAL,
    "Somebody asked for what belongs to another tenant.",
    "endpoint", "method", "reason",
)  # fmt: skip
IP_REFUSED = _declare(
    "IP_REFUSED", WARNING, "An address outside the allow-list was refused.", "reason"
)

# Invitations
INVITATION_CREATED = _declare(
    "INVITATION_CREATED", NOTICE, "A person was invited.", "roles", "expires_at"
)
INVITATION_REVOKED = _declare(
    "INVITATION_REVOKED",
    NOTICE,
    "An invitation was taken back, or replaced by a newer one.",
    "reason",
)
INVITATION_ACCEPTED = _declare("INVITATION_ACCEPTED", NOTICE, "An invitation was accepted.")
INVITATION_REFUSED = _declare(
    "INVITATION_REFUSED", WARNING, "The link of an invitation was refused.", "reason"
)
