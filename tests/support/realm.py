"""A tenant with a tree of organizations, people in each, and administrators of some.

in none           tina (tenant_admin), olga
Umbrella          pia (partner_admin over Umbrella), amy
  North           cleo (client_admin there), nora, nick
    Crew          tom
Beta              bea (client_admin there), bob
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.auth.models import IAMOrganization, IAMUserAccount
from app.authz import services_rbac
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope
from app.tenancy import services_tenants

INSIDE_NORTH = ("cleo", "nora", "nick", "tom")
OUTSIDE_NORTH = ("tina", "olga", "pia", "amy", "bea", "bob")


@dataclass
class Realm:
    """What was made: organizations by name, people by username."""

    tenant: uuid.UUID
    places: dict[str, uuid.UUID] = field(default_factory=dict)
    people: dict[str, Any] = field(default_factory=dict)

    def place(self, name: str, above: str | None = None, kind: str = "client") -> uuid.UUID:
        """Make an organization."""
        with tenant_scope(self.tenant), transaction():
            row = services_tenants.create_organization(
                name,
                kind=kind,
                parent_id=self.places.get(above or ""),
                actor_grants=None,
                actor=system_actor(self.tenant, "tests"),
            )
            self.places[name] = row.id
        return self.places[name]

    def give(self, username: str, role: str, **how: Any) -> None:
        """Give a role as the system does; `over` names the organization."""
        over = how.pop("over", None)
        if over:
            how |= {"scope": how.get("scope", "organization"), "organization_id": self.places[over]}
        with tenant_scope(self.tenant), transaction():
            found = services_rbac.find_role(role)
            assert found is not None, role
            user = session().get(IAMUserAccount, self.people[username].id)
            actor = system_actor(self.tenant, "tests")
            services_rbac.assign_role(user, found, actor_grants=None, actor=actor, **how)

    def account(self, username: str) -> IAMUserAccount:
        """Return an account as it is stored now."""
        with tenant_scope(self.tenant):
            session().rollback()
            user = session().get(IAMUserAccount, self.people[username].id)
            assert user is not None
            return user

    def organization(self, name: str) -> IAMOrganization:
        """Return an organization as it is stored now."""
        with tenant_scope(self.tenant):
            session().rollback()
            return services_tenants.get_organization(self.places[name])


def build(tenant: uuid.UUID, make_user: Callable[..., Any]) -> Realm:
    """Make the tree and its people."""
    realm = Realm(tenant)
    realm.place("Umbrella", kind="partner")
    realm.place("North", "Umbrella")
    realm.place("Crew", "North", kind="team")
    realm.place("Beta")

    def person(name: str, place: str | None = None, **how: Any) -> None:
        parent = realm.places[place] if place else None
        realm.people[name] = make_user(
            name, first_name=name.title(), last_name="Person", parent_id=parent, **how
        )

    person("tina", roles=["tenant_admin"], mfa="totp")
    person("olga")
    person("pia", "Umbrella", mfa="totp")
    person("amy", "Umbrella")
    person("cleo", "North", mfa="totp")
    person("nora", "North")
    person("nick", "North")
    person("tom", "Crew")
    person("bea", "Beta", mfa="totp")
    person("bob", "Beta")
    realm.give("pia", "partner_admin", over="Umbrella")
    realm.give("cleo", "client_admin", over="North")
    realm.give("bea", "client_admin", over="Beta")
    return realm
