"""Catalogue: our permissions and the ten system roles seeded into every tenant.

Owns names and meanings; rendered to `docs/reference/permissions.md`. A host adds
its own permissions with `services_rbac.define_permission`. Names are never reused
for another meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .grants import GLOBAL, ORGANIZATION, OWN, TENANT, MfaPolicy

ADMIN_ACCESS = "admin:access"
"""Opens the administration pages: whoever holds it needs a second factor (D6)."""
SUPER_ADMIN, TENANT_ADMIN = "super_admin", "tenant_admin"
ADMINISTRATORS = frozenset({SUPER_ADMIN, TENANT_ADMIN})
"""Roles of which a tenant always keeps one active holder."""
NEVER_INSIDE = frozenset({"access:enter", "tenant:create", "tenant:update", "tenant:suspend"})
"""Never used in an access context: it opens no further one, and manages no tenants. A tenant's
administrator holds them all the same."""


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission and what it allows, in a sentence for people."""

    name: str
    description: str

    @property
    def resource(self) -> str:
        """Return the part before the colon."""
        return self.name.partition(":")[0]

    @property
    def action(self) -> str:
        """Return the part after the colon."""
        return self.name.partition(":")[2]


@dataclass(frozen=True, slots=True)
class SystemRole:
    """A role that exists in every tenant and cannot be changed there.

    `harmless`: the name opens nothing anywhere, so whoever may give roles may give it.
    """

    name: str
    description: str
    parent: str | None = None
    mfa_policy: MfaPolicy = "optional"
    permissions: Mapping[str, str] = field(default_factory=dict)
    harmless: bool = False


PERMISSIONS: tuple[Permission, ...] = (
    Permission(ADMIN_ACCESS, "Open the administration pages"),
    Permission("tenant:read", "See the tenant, and the tenants below it"),
    Permission("tenant:update", "Change the tenant, and the tenants below it"),
    Permission("tenant:create", "Create tenants below this one"),
    Permission("tenant:suspend", "Suspend and reactivate tenants below this one"),
    Permission("organization:read", "See organizations"),
    Permission("organization:create", "Create organizations"),
    Permission("organization:update", "Rename, move and close organizations"),
    Permission("user:read", "See accounts and their profiles"),
    Permission("user:create", "Create accounts and invite people"),
    Permission("user:update", "Change names, addresses and organizations of accounts"),
    Permission("user:suspend", "Suspend, reactivate and disable accounts"),
    Permission("user:delete", "Delete accounts"),
    Permission("user:reset_password", "Send a person a link to set a new password"),
    Permission("user:reset_factors", "Remove a person's second factors"),
    Permission("recovery:read", "See who asked to recover an account"),
    Permission("recovery:approve", "Open, approve and refuse the recovery of accounts"),
    Permission("connection:read", "See connections for single sign-on, without their secrets"),
    Permission("connection:create", "Set up connections for single sign-on"),
    Permission("connection:update", "Change, test, enable and disable connections"),
    Permission("connection:delete", "Delete connections"),
    Permission("connection:map", "Decide which claims of a connection give which roles"),
    Permission("domain:read", "See the tenant's e-mail domains"),
    Permission("domain:create", "Claim e-mail domains and check their proof"),
    Permission("domain:delete", "Give e-mail domains up"),
    Permission("session:read", "See where people are signed in"),
    Permission("session:revoke", "Sign people out"),
    Permission("role:read", "See roles and what they hold"),
    Permission("role:create", "Create roles"),
    Permission("role:update", "Change roles and what they hold"),
    Permission("role:delete", "Delete roles"),
    Permission("role:assign", "Give roles to people and take them away"),
    Permission("audit:read", "Read the audit trail"),
    Permission("audit:export", "Export the audit trail"),
    Permission("invitation:read", "See who is invited"),
    Permission("invitation:create", "Invite people, and send an invitation again"),
    Permission("invitation:delete", "Take invitations back"),
    Permission("access:read", "See when administrators of the platform were in the tenant"),
    Permission("access:enter", "Enter another tenant in an access context, for a reason"),
    Permission("settings:read", "See the settings in force; secrets stay masked"),
    Permission("settings:update", "Change the tenant's own policies, branding and ways to sign in"),
    Permission("outbox:read", "See messages waiting to be sent, without their text"),
    Permission("outbox:retry", "Queue a failed message again"),
)
NAMES = tuple(item.name for item in PERMISSIONS)


def _in(scope: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, scope)


_OWN = _in(OWN, "user:read", "session:read", "session:revoke")
_DELEGATED = _in(
    ORGANIZATION,
    "user:read", "user:create", "user:update", "user:suspend", "user:delete",
    "user:reset_password", "user:reset_factors", "session:read", "session:revoke",
    "role:assign", "organization:read", "audit:read",
    "invitation:read", "invitation:create", "invitation:delete",
)  # fmt: skip

SYSTEM_ROLES: tuple[SystemRole, ...] = (
    SystemRole(
        "viewer",
        "Looks, changes nothing; sees their own account and sessions",
        permissions=_OWN,
        harmless=True,
    ),
    SystemRole(
        "editor",
        "Works on the host application's content",
        parent="viewer",
    ),
    SystemRole(
        "operator",
        "Runs the service from day to day: sessions, messages, settings in force",
        parent="viewer",
        mfa_policy="required",
        permissions=_in(
            TENANT,
            "admin:access",
            "session:read",
            "session:revoke",
            "settings:read",
            "outbox:read",
            "outbox:retry",
        ),
    ),
    SystemRole(
        "developer",
        "Integrates applications: reads settings, roles and the tenant",
        parent="viewer",
        mfa_policy="required",
        permissions=_in(TENANT, "admin:access", "tenant:read", "role:read", "settings:read"),
    ),
    SystemRole(
        "auditor",
        "Reads everything that is recorded, changes nothing",
        parent="viewer",
        mfa_policy="required",
        permissions=_in(
            TENANT,
            "admin:access",
            "tenant:read",
            "organization:read",
            "user:read",
            "connection:read",
            "domain:read",
            "session:read",
            "role:read",
            "audit:read",
            "audit:export",
            "settings:read",
        ),
    ),
    SystemRole(
        "user_manager",
        "Manages accounts; gives no right that they do not hold themselves",
        parent="viewer",
        mfa_policy="required",
        permissions=_in(
            TENANT,
            "admin:access",
            "user:read",
            "user:create",
            "user:update",
            "user:suspend",
            "invitation:read",
            "invitation:create",
            "invitation:delete",
            "user:reset_password",
            "user:reset_factors",
            "recovery:read",
            "recovery:approve",
            "session:read",
            "session:revoke",
            "role:read",
            "role:assign",
            "organization:read",
        ),
    ),
    SystemRole(
        "client_admin",
        "Manages the people of one client organization and whatever is below it",
        parent="viewer",
        mfa_policy="required",
        permissions=_DELEGATED | _in(TENANT, "admin:access", "role:read"),
    ),
    SystemRole(
        "partner_admin",
        "Manages a partner organization, the clients below it and their people",
        parent="client_admin",
        mfa_policy="required",
        permissions=_in(ORGANIZATION, "organization:create", "organization:update"),
    ),
    SystemRole(
        TENANT_ADMIN,
        "Does everything inside this tenant",
        parent="viewer",
        mfa_policy="required",
        permissions=_in(TENANT, *NAMES),
    ),
    SystemRole(
        SUPER_ADMIN,
        "Does everything on the platform; reaches other tenants only in an access context",
        parent=TENANT_ADMIN,
        mfa_policy="required",
        permissions=_in(GLOBAL, *NAMES),
    ),
)
HARMLESS = frozenset(item.name for item in SYSTEM_ROLES if item.harmless)
