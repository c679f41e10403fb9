"""The roles of an invitation: what may be promised, and whether the promise still holds.

A promise is checked like an assignment, for a person who does not exist yet, when it is made;
`assign_role` checks it again when it is kept, against what the inviter may do by then (AT-110).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from ...authz import services_rbac
from ...authz.catalogue import ADMIN_ACCESS, SUPER_ADMIN
from ...authz.grants import BY_ORGANIZATION, GLOBAL, TENANT_WIDE, Grants, Right
from ...authz.hierarchy import Tree, lineage, role_rights, strictest
from ...authz.models import SCOPES, IAMRole
from ...authz.services_grants import role_permissions, role_tree
from ...authz.services_guards import (
    administrator_roles,
    guard_names,
    guard_rights,
    guard_super_admin,
    hold_administrators,
    require,
)
from ...core import clock
from ...core.actor import Actor, system_actor
from ...core.db import session
from ...core.errors import InvalidInput
from ...core.i18n import N_
from ...core.ids import parse_id
from ...core.scoping import tenant_scope, unscoped
from ...tenancy.models import IAMOrganization, IAMTenant
from ...tenancy.services_organizations import ACTIVE
from ..accounts.services_directory import default_scope
from ..liveness import may_act
from ..models import IAMInvitation, IAMUserAccount
from ..settings import ACTOR_TYPES
from ..sign_in.services_policy import mfa_policy

END_USER = "end_user"


@dataclass(frozen=True, slots=True)
class GivenRole:
    """A role to be given, by name; without a scope it is given for the whole tenant."""

    name: str
    scope: str | None = None
    organization_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """A role of the tenant as it will be given."""

    role: IAMRole
    scope: str
    organization_id: UUID | None

    def stored(self) -> dict[str, Any]:
        """Return the form in which an invitation keeps it."""
        bound = str(self.organization_id) if self.organization_id else None
        return {"role_id": str(self.role.id), "scope": self.scope, "organization_id": bound}


@dataclass(frozen=True, slots=True)
class Voucher:
    """Who stands behind an invitation now: their rights, and the actor that gives the roles."""

    grants: Grants | None
    actor: Actor


def promises(roles: Iterable[str | GivenRole]) -> list[Promise]:
    """Return the roles that were chosen. Raises InvalidInput for one that is not here."""
    wanted = [GivenRole(item) if isinstance(item, str) else item for item in roles]
    found = []
    for item in {wish.name: wish for wish in wanted}.values():
        role = services_rbac.find_role(item.name)
        if role is None:
            raise InvalidInput(N_("Choose roles from the list"), field="roles")
        scope = item.scope or default_scope(role.name)
        found.append(Promise(role, scope, item.organization_id))
    return found


def promises_of(row: IAMInvitation) -> list[Promise]:
    """Return the roles that an invitation promises. Raises NotFound where one was deleted."""
    return [
        Promise(
            services_rbac.get_role(parse_id(item["role_id"])),
            item["scope"],
            parse_id(item["organization_id"] or ""),
        )
        for item in row.roles
    ]


def guard(
    promised: Iterable[Promise],
    *,
    parent_id: UUID | None,
    actor_grants: Grants | None,
    actor: Actor,
) -> None:
    """Refuse what the acting person could not give to somebody of the organization `parent_id`.

    Raises Forbidden, InvalidInput.
    """
    require("invitation:create", parent_id=parent_id, actor_grants=actor_grants, actor=actor)
    tree = role_tree()
    for item in promised:
        _check_scope(item, parent_id, tree)
        _guard_one(item, tree, parent_id, actor_grants, actor)


def _guard_one(
    item: Promise, tree: Tree, parent_id: UUID | None, grants: Grants | None, actor: Actor
) -> None:
    name = item.role.name
    require("role:assign", role=name, parent_id=parent_id, actor_grants=grants, actor=actor)
    names = {node.name for node in lineage(tree, item.role.id)}
    wide = {SUPER_ADMIN} if item.scope == GLOBAL else set()
    guard_super_admin(names | wide, role=name, actor_grants=grants, actor=actor)
    guard_names(names, role=name, actor_grants=grants, actor=actor)
    guard_rights(
        rights_of(item, tree),
        role=name,
        target_parent_id=parent_id,
        actor_grants=grants,
        actor=actor,
    )


def rights_of(item: Promise, tree: Tree) -> set[Right]:
    """Return everything a promised role comes to, as stored now."""
    held = role_permissions([node.id for node in lineage(tree, item.role.id)])
    return role_rights(
        tree, held, item.role.id, scope=item.scope, organization_id=item.organization_id
    )


def goes_by_organization(promised: Iterable[Promise]) -> bool:
    """Return whether something promised reaches as far as the organization of its holder."""
    tree = role_tree()
    return any(
        item.organization_id is None
        and (
            item.scope in BY_ORGANIZATION
            or any(right.scope in BY_ORGANIZATION for right in rights_of(item, tree))
        )
        for item in promised
    )


def comes_too_late(row: IAMInvitation) -> bool:
    """Return whether it would make a first administrator where there is one by now.

    Holds the tenant's row until the commit: of two accepted at once one is the first.
    """
    if row.invited_by is not None:
        return False
    roles = {str(role_id) for role_id in administrator_roles(role_tree())}
    makes = any(item["role_id"] in roles and item["scope"] in TENANT_WIDE for item in row.roles)
    return makes and hold_administrators()


def needs_factor(row: IAMInvitation) -> bool:
    """Return whether whoever accepts must use a second factor from then on."""
    tree, promised = role_tree(), promises_of(row)
    policies = [node.mfa_policy for item in promised for node in lineage(tree, item.role.id)]
    admin = any(
        right.permission == ADMIN_ACCESS for item in promised for right in rights_of(item, tree)
    )
    grants = Grants(mfa_policy="required" if admin else strictest(policies))
    return mfa_policy(grants, row.actor_type) == "required"


def actor_type_for(promised: Iterable[Promise]) -> str:
    """Return the kind of account that the roles make: the one with the strictest sessions."""
    names = {item.role.name for item in promised if item.role.is_system}
    return next((name for name in ACTOR_TYPES if name in names), END_USER)


def voucher(row: IAMInvitation, actor: Actor) -> Voucher | None:
    """Return who vouches for an invitation now; None where nobody does any more.

    Holds the inviter's account until the commit, so that a demotion comes before or after.
    """
    if row.invited_by is None:
        return Voucher(None, _system(row, actor, "invitation"))
    inviter = session().scalar(
        select(IAMUserAccount)
        .where(IAMUserAccount.id == row.invited_by)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if inviter is None:
        return _from_the_platform(row, actor)
    grants = _grants(inviter)
    if grants is None:
        return None
    by = Actor("user", row.tenant_id, inviter.id, request_id=actor.request_id, label="invitation")
    return Voucher(grants, by)


def _from_the_platform(row: IAMInvitation, actor: Actor) -> Voucher | None:
    # Invited in an access context: whoever may still enter one vouches as the system, for
    # what `guard` let them promise then.
    with unscoped("an inviter of the platform is found by the id that the invitation keeps"):
        found = select(IAMUserAccount).where(IAMUserAccount.id == row.invited_by)
        inviter = session().scalar(found)
        grants = _grants(inviter) if inviter is not None else None
    if grants is None or not grants.has_role(SUPER_ADMIN) or not grants.allows("access:enter"):
        return None
    return Voucher(None, _system(row, actor, f"invitation by {row.invited_by}"))


def _system(row: IAMInvitation, actor: Actor, label: str) -> Actor:
    return system_actor(row.tenant_id, label).acting_as(request_id=actor.request_id)


def _grants(inviter: IAMUserAccount) -> Grants | None:
    with tenant_scope(inviter.tenant_id):
        tenant = session().scalar(select(IAMTenant).where(IAMTenant.id == inviter.tenant_id))
        if tenant is None or not may_act(inviter.status, tenant.status):
            return None
        return services_rbac.resolve(
            inviter.tenant_id,
            inviter.id,
            tenant_version=tenant.authz_version,
            user_version=inviter.authz_version,
            at=clock.now(),
        )


def _check_scope(item: Promise, parent_id: UUID | None, tree: Tree) -> None:
    if item.scope not in SCOPES:
        raise InvalidInput(field="scope")
    bounded = item.scope in BY_ORGANIZATION
    if item.organization_id is not None and not bounded:
        raise InvalidInput(field="organization_id")
    if bounded and item.organization_id is None and parent_id is None:
        raise InvalidInput(N_("Choose an organization"), field="parent_id")
    if item.organization_id is not None and not organization_exists(item.organization_id):
        raise InvalidInput(N_("Choose an organization"), field="organization_id")
    if item.role.id in administrator_roles(tree) and (
        bounded or item.scope == "own"
    ):  # as `assign_role` holds it
        raise InvalidInput(N_("An administrator role is given for the whole tenant"), field="scope")


def organization_exists(organization_id: UUID) -> bool:
    """Return whether an organization is in the tenant in scope, and open."""
    which = (IAMOrganization.id == organization_id, IAMOrganization.status == ACTIVE)
    query = select(IAMOrganization.id).where(*which)
    return session().scalar(query) is not None
