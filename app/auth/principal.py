"""Principal: the person of a session as one lookup knows them. Frozen, no database behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ..authz.grants import EMPTY, Grants

AAL_ORDER = {"aal1": 1, "aal2": 2, "aal3": 3}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a session belongs to, how strongly they proved it, and what they may do."""

    user_id: UUID
    tenant_id: UUID
    session_id: UUID
    device_id: UUID | None
    username: str
    display_name: str
    actor_type: str
    parent_id: UUID | None
    state: str
    stage: str
    remember: bool
    amr: tuple[str, ...]
    acr: str
    login_time: datetime
    auth_time: datetime
    mfa_time: datetime | None
    last_activity_at: datetime
    expires_at: datetime
    proofs: dict[str, Any] = field(default_factory=dict)
    language: str | None = None
    timezone: str | None = None
    next_url: str | None = None
    grants: Grants = EMPTY
    tenant_slug: str = ""
    tenant_host: str | None = None
    tenant_name: str = ""
    tenant_settings: Mapping[str, Any] = field(default_factory=dict)
    access_context_id: UUID | None = None

    @property
    def is_authenticated(self) -> bool:
        """Return whether the sign-in is complete."""
        return self.state == "active"

    is_active = is_authenticated
    is_anonymous = False

    def get_id(self) -> str:
        """Return the account id as text (Flask-Login's name for it)."""
        return str(self.user_id)

    @property
    def roles(self) -> frozenset[str]:
        """Return the names of the roles held, inherited ones included."""
        return self.grants.roles

    def has_role(self, name: str) -> bool:
        """Return whether the person holds the role."""
        return name in self.grants.roles

    def has_any_role(self, *names: str) -> bool:
        """Return whether the person holds one of the roles."""
        return not self.grants.roles.isdisjoint(names)

    def has_permission(self, name: str, resource: Any = None) -> bool:
        """Return whether the person holds `resource:action`, on `resource` where given.

        A resource is compared by its `user_id` (own) and `parent_id` (organization).
        """
        if resource is None:
            return self.grants.allows(name)
        return self.grants.allows(
            name,
            owner_id=getattr(resource, "user_id", None),
            parent_id=getattr(resource, "parent_id", None),
            user_id=self.user_id,
        )

    @property
    def is_admin(self) -> bool:
        """Return whether the administration pages are open to this person."""
        return self.grants.reaches("admin:access")

    def meets(self, acr: str) -> bool:
        """Return whether the session's assurance is at least `acr`."""
        return AAL_ORDER.get(self.acr, 0) >= AAL_ORDER[acr]

    def proved_within(self, purpose: str, max_age: timedelta, acr: str, at: datetime) -> bool:
        """Return whether `purpose` was proved in this session recently and strongly enough."""
        proof = self.proofs.get(purpose)
        if not proof or AAL_ORDER.get(proof["acr"], 0) < AAL_ORDER[acr]:
            return False
        return at - max_age <= datetime.fromisoformat(proof["at"]) <= at
