"""Grants: what one person may do, resolved once and asked many times. Pure.

Owns the answer to "may they?", by exact names only. Refuses to own how rights are
stored (`models`), resolved (`services_grants`) or changed (`services_rbac`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal
from uuid import UUID

MfaPolicy = Literal["off", "optional", "required"]

GLOBAL, TENANT, ORGANIZATION, TEAM, OWN = "global", "tenant", "organization", "team", "own"
TENANT_WIDE = frozenset({GLOBAL, TENANT})
BY_ORGANIZATION = frozenset({ORGANIZATION, TEAM})
WIDTH: Mapping[str, int] = MappingProxyType(
    {OWN: 0, TEAM: 1, ORGANIZATION: 1, TENANT: 2, GLOBAL: 3}
)
_NO_SCOPES: frozenset[str] = frozenset()
_NOTHING: Mapping[str, frozenset[str]] = MappingProxyType({})
_NOWHERE: Mapping[UUID, frozenset[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Right:
    """One permission in one scope, for a given organization where that is set."""

    permission: str
    scope: str
    organization_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Grants:
    """The rights of one person in one tenant.

    `permissions` maps a name to the scopes it is held in. `organization_permissions`
    holds what was given for one organization only: such a right is never added
    up with another organization's. `unused` are permissions that an administrator of
    the platform does not use in a tenant, and need not hold to deal with who holds them.
    """

    roles: frozenset[str] = frozenset()
    permissions: Mapping[str, frozenset[str]] = field(default_factory=lambda: _NOTHING)
    mfa_policy: MfaPolicy = "off"
    organization_ids: frozenset[UUID] = frozenset()
    valid_until: datetime | None = None
    organization_permissions: Mapping[UUID, frozenset[str]] = field(
        default_factory=lambda: _NOWHERE
    )
    unused: frozenset[str] = frozenset()

    def has_role(self, name: str) -> bool:
        """Return whether the role is held, directly or through a child of it."""
        return name in self.roles

    def has_any_role(self, *names: str) -> bool:
        """Return whether one of the roles is held."""
        return not self.roles.isdisjoint(names)

    def allows(
        self,
        permission: str,
        *,
        owner_id: UUID | None = None,
        parent_id: UUID | None = None,
        user_id: UUID | None = None,
    ) -> bool:
        """Return whether `permission` is held over an object; exact names only (AT-377).

        Without an object (no owner, no parent) only a right over the whole tenant
        counts: a narrower one is never widened by leaving the object out.
        """
        scopes = self.permissions.get(permission, _NO_SCOPES)
        if TENANT in scopes or GLOBAL in scopes:
            return True
        if parent_id is not None and self._within(permission, scopes, parent_id):
            return True
        return OWN in scopes and owner_id is not None and owner_id == user_id

    def holds(self, permission: str) -> bool:
        """Return whether `permission` is held in any scope (to open a page, not an object)."""
        return permission in self.permissions or any(
            permission in names for names in self.organization_permissions.values()
        )

    def organizations_for(self, permission: str) -> frozenset[UUID] | None:
        """Return the organizations `permission` reaches; None means the whole tenant."""
        scopes = self.permissions.get(permission, _NO_SCOPES)
        if not scopes.isdisjoint(TENANT_WIDE):
            return None
        bound = {key for key, names in self.organization_permissions.items() if permission in names}
        if not scopes.isdisjoint(BY_ORGANIZATION):
            bound |= self.organization_ids
        return frozenset(bound)

    def reaches(self, permission: str) -> bool:
        """Return whether `permission` is held over the whole tenant or over some organization.

        What is held over oneself only opens no page of others.
        """
        reach = self.organizations_for(permission)
        return reach is None or bool(reach)

    def delegated(self, permission: str) -> bool:
        """Return whether `permission` is held by organization, and not over the whole tenant.

        Also where it reaches no organization at all, as for somebody who belongs to none.
        """
        scopes = self.permissions.get(permission, _NO_SCOPES)
        reach = self.organizations_for(permission)
        return reach is not None and (bool(reach) or not scopes.isdisjoint(BY_ORGANIZATION))

    def covers(self, right: Right, *, target_parent_id: UUID | None = None) -> bool:
        """Return whether this person holds at least `right`, and so may give it away.

        `target_parent_id` is the organization of whoever receives it: a right over
        "their organizations" or "their own" is bounded by that one.
        """
        scopes = self.permissions.get(right.permission, _NO_SCOPES)
        if GLOBAL in scopes:
            return True
        if right.scope == GLOBAL:
            return False
        if TENANT in scopes or right.permission in self.unused:
            return True
        if right.scope == TENANT:
            return False
        reach = right.organization_id or target_parent_id
        if reach is not None and self._within(right.permission, scopes, reach):
            return True
        return right.scope == OWN and OWN in scopes

    def _within(self, permission: str, scopes: frozenset[str], organization_id: UUID) -> bool:
        if organization_id in self.organization_ids and (ORGANIZATION in scopes or TEAM in scopes):
            return True
        return permission in self.organization_permissions.get(organization_id, _NO_SCOPES)


EMPTY = Grants()
