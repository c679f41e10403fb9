"""How far somebody's rights reach among people: the whole tenant, or some organizations (K4).

Owns the conditions that every list, count and export of the administration narrows its
query with, so that a delegated administrator never reads a row beyond their organizations.
What may be done to one person is decided by `services_rbac.guard_reach`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select

from ...authz.catalogue import SUPER_ADMIN
from ...authz.errors import RightsExceeded
from ...authz.grants import Grants
from ...core.actor import Actor
from ...core.db import session
from ...core.errors import InvalidInput
from ...core.i18n import _
from ...tenancy.models import IAMOrganization
from ..liveness import ACTIVE, ERASED
from ..models import IAMUserAccount

_U = IAMUserAccount
END_USER = "end_user"
DELEGATES = ("client_admin", "partner_admin")


@dataclass(frozen=True, slots=True)
class Reach:
    """The organizations of which somebody may see the people; None is the whole tenant."""

    organizations: frozenset[UUID] | None = None

    def people(self) -> Select[Any] | None:
        """Return the query of the accounts in reach, or None for all of the tenant."""
        if self.organizations is None:
            return None
        return select(_U.id).where(*self.accounts())

    def accounts(self) -> list[ColumnElement[bool]]:
        """Return the conditions that keep a query on accounts within reach."""
        if self.organizations is None:
            return []
        return [_U.parent_id.in_(sorted(self.organizations))]

    def places(self) -> list[ColumnElement[bool]]:
        """Return the conditions that keep a query on organizations within reach."""
        if self.organizations is None:
            return []
        return [IAMOrganization.id.in_(sorted(self.organizations))]

    def owned_by(self, user_id: Any) -> list[ColumnElement[bool]]:
        """Return the conditions that keep rows within reach, by the column of their owner."""
        people = self.people()
        return [] if people is None else [user_id.in_(people)]

    def has(self, parent_id: UUID | None) -> bool:
        """Return whether people of an organization, or of none, are within reach."""
        return self.organizations is None or parent_id in self.organizations


EVERYBODY = Reach()


def reach_of(grants: Grants, permission: str) -> Reach:
    """Return how far a person's `permission` reaches; over themselves only is nowhere."""
    return Reach(grants.organizations_for(permission))


def among(user_ids: Collection[UUID], reach: Reach) -> set[UUID]:
    """Return those of some accounts that are within reach; one query."""
    if not user_ids:
        return set()
    query = select(_U.id).where(_U.id.in_(list(user_ids)), *reach.accounts())
    return set(session().scalars(query))


def count_people(reach: Reach) -> dict[UUID, int]:
    """Return how many people belong to each organization within reach; one query."""
    query = (
        select(_U.parent_id, func.count(_U.id))
        .where(_U.parent_id.is_not(None), _U.status != ERASED, *reach.accounts())
        .group_by(_U.parent_id)
    )
    return {row[0]: row[1] for row in session().execute(query) if row[0]}


def organization_names(reach: Reach) -> dict[UUID, str]:
    """Return the names of the organizations within reach, closed ones included."""
    query = select(IAMOrganization.id, IAMOrganization.name).where(*reach.places())
    return {row.id: row.name for row in session().execute(query)}


def check_place_and_kind(
    values: Mapping[str, Any], permission: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Refuse an organization or a kind of account that is not the acting person's to give.

    Raises InvalidInput for an organization beyond reach, closed or unknown, RightsExceeded.
    """
    held, system = actor_grants or Grants(), actor_grants is None and actor.kind == "system"
    if "parent_id" in values:
        reach = EVERYBODY if system else reach_of(held, permission)
        _check_place(values["parent_id"], reach)
    if not system and not may_make(str(values.get("actor_type", END_USER)), held, permission):
        raise RightsExceeded


def may_make(actor_type: str, held: Grants, permission: str) -> bool:
    """Return whether somebody may make an account one of this kind."""
    if actor_type == SUPER_ADMIN:
        return held.has_role(SUPER_ADMIN)
    if held.organizations_for(permission) is None or actor_type == END_USER:
        return True
    return actor_type in DELEGATES and held.has_role(actor_type)


def _check_place(parent_id: UUID | None, reach: Reach) -> None:
    if not reach.has(parent_id) and parent_id is None:
        raise RightsExceeded
    if parent_id is None:
        return
    # Shared with others who put people there; whoever closes it waits, or was faster.
    query = (
        select(IAMOrganization.id)
        .where(IAMOrganization.id == parent_id, IAMOrganization.status == ACTIVE, *reach.places())
        .with_for_update(read=True)
    )
    if session().scalar(query) is None:
        raise InvalidInput(_("Choose an organization from the list"), field="parent_id")
