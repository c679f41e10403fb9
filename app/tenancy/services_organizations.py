"""Organizations inside a tenant: the tree that `parent_id` of people and objects points into.

Every change gives the tenant a new authorization version, since rights by
organization reach whatever lies below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from sqlalchemy import func, select, update

from ..audit import events
from ..audit.services_audit import changes_of, record
from ..core import clock
from ..core.actor import Actor
from ..core.db import model, session
from ..core.errors import Forbidden, InvalidInput, NotFound
from ..core.i18n import N_
from ..core.scoping import current_tenant_id
from .errors import (
    OrganizationCycle,
    OrganizationInUse,
    OrganizationNameTaken,
    OrganizationState,
)
from .models import ORGANIZATION_TYPES, IAMOrganization, IAMTenant

MAX_DEPTH = 32
ACTIVE, CLOSED = "active", "closed"
_GONE = ("disabled", "erased")
Tree = dict[UUID, UUID | None]


class Rights(Protocol):
    """What this package asks of a person's grants."""

    def allows(self, permission: str, *, parent_id: UUID | None = None) -> bool:
        """Return whether `permission` is held over objects of an organization."""


def list_organizations() -> list[IAMOrganization]:
    """Return the organizations of the tenant by name."""
    query = select(IAMOrganization).order_by(IAMOrganization.name, IAMOrganization.id)
    return list(session().scalars(query))


@dataclass(frozen=True, slots=True)
class Branch:
    """An organization in its tree: how deep it lies below the topmost one that is shown."""

    row: IAMOrganization
    depth: int

    @property
    def indented(self) -> str:
        """Return its name, moved in by its depth, for a list to choose from."""
        return "\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}" * self.depth + self.row.name


def list_tree(within: frozenset[UUID] | None = None) -> list[Branch]:
    """Return organizations with whatever lies below each right after it, siblings by name.

    `within` keeps those of a delegated administrator; the topmost of theirs are roots.
    """
    rows = [row for row in list_organizations() if within is None or row.id in within]
    known = {row.id for row in rows}
    below: dict[UUID | None, list[IAMOrganization]] = {}
    for row in rows:
        below.setdefault(row.parent_id if row.parent_id in known else None, []).append(row)
    found: list[Branch] = []
    waiting = [Branch(row, 0) for row in reversed(below.get(None, []))]
    while waiting:
        branch = waiting.pop()
        found.append(branch)
        children = below.get(branch.row.id, [])
        waiting += [Branch(row, branch.depth + 1) for row in reversed(children)]
    return found


def get_organization(organization_id: UUID | None) -> IAMOrganization:
    """Return one organization. Raises NotFound."""
    query = select(IAMOrganization).where(IAMOrganization.id == organization_id)
    found = session().scalar(query)
    if found is None:
        raise NotFound
    return found


def create_organization(
    name: str,
    *,
    kind: str,
    parent_id: UUID | None = None,
    actor_grants: Rights | None,
    actor: Actor,
) -> IAMOrganization:
    """Create an organization, below `parent_id` where given.

    Raises Forbidden, NotFound, OrganizationNameTaken.
    """
    _require("organization:create", parent_id, actor_grants=actor_grants, actor=actor)
    _check_values(name, kind)
    _bump_tenant()
    tree = _tree()
    _check_place(tree, None, parent_id)
    _check_open(parent_id)
    _check_name(name, parent_id)
    row = IAMOrganization(name=name.strip(), type=kind, parent_id=parent_id, created_at=clock.now())
    session().add(row)
    session().flush()
    changes = changes_of({}, _described(row))
    record(events.ORGANIZATION_CREATED, resource=row, changes=changes, actor=actor, name=row.name)
    return row


def update_organization(
    row: IAMOrganization,
    *,
    name: str,
    kind: str,
    parent_id: UUID | None,
    actor_grants: Rights | None,
    actor: Actor,
) -> IAMOrganization:
    """Rename or move an organization.

    Raises Forbidden, OrganizationCycle, OrganizationNameTaken, NotFound.
    """
    _require("organization:update", row.id, actor_grants=actor_grants, actor=actor)
    if parent_id != row.parent_id:
        for place in (row.parent_id, parent_id):  # out of one hand, into another
            _require("organization:update", place, actor_grants=actor_grants, actor=actor)
    _check_values(name, kind)
    _bump_tenant()
    _check_place(_tree(), row.id, parent_id)
    if parent_id != row.parent_id:
        _check_open(parent_id)
    before = _described(row)
    seen = _may("organization:update", parent_id, actor_grants=actor_grants, actor=actor)
    renamed = (row.name, row.parent_id) != (name.strip(), parent_id)
    if seen and renamed and row.status == ACTIVE:
        # Else the names beside it are not theirs to know (AT-366).
        _check_name(name, parent_id, row.id)
    row.name, row.type, row.parent_id = name.strip(), kind, parent_id
    session().flush()
    changes = changes_of(before, _described(row))
    record(events.ORGANIZATION_UPDATED, resource=row, changes=changes, actor=actor, name=row.name)
    return row


def close_organization(row: IAMOrganization, *, actor_grants: Rights | None, actor: Actor) -> None:
    """Close an organization that nobody is in any more; its history stays.

    Raises Forbidden, also for the topmost one of a delegated administrator,
    OrganizationInUse, OrganizationState.
    """
    _hold(row, ACTIVE, actor_grants=actor_grants, actor=actor)
    if still_inside(row):
        raise OrganizationInUse
    _change_status(row, CLOSED, actor)


def still_inside(row: IAMOrganization) -> frozenset[str]:
    """Return what keeps an organization from being closed: people, organizations, or nothing."""
    children = (IAMOrganization.parent_id == row.id, IAMOrganization.status == ACTIVE)
    person = model("iam_user_account")
    people = (person.parent_id == row.id, person.status.not_in(_GONE))
    held = (("organizations", IAMOrganization.id, children), ("people", person.id, people))
    return frozenset(
        name
        for name, column, inside in held
        if session().scalar(select(func.count(column)).where(*inside))
    )


def reopen_organization(row: IAMOrganization, *, actor_grants: Rights | None, actor: Actor) -> None:
    """Open a closed organization again.

    Raises Forbidden, OrganizationState, OrganizationNameTaken, InvalidInput.
    """
    _hold(row, CLOSED, actor_grants=actor_grants, actor=actor)
    _check_open(row.parent_id)
    _check_name(row.name, row.parent_id, row.id)
    _change_status(row, ACTIVE, actor)


def _hold(row: IAMOrganization, status: str, *, actor_grants: Rights | None, actor: Actor) -> None:
    for place in (row.id, row.parent_id):
        _require("organization:update", place, actor_grants=actor_grants, actor=actor)
    _bump_tenant()
    session().refresh(row, with_for_update=True)
    if row.status != status:
        raise OrganizationState


def _change_status(row: IAMOrganization, status: str, actor: Actor) -> None:
    before, row.status = row.status, status
    session().flush()
    changes = {"status": [before, status]}
    record(events.ORGANIZATION_UPDATED, resource=row, changes=changes, actor=actor, name=row.name)


def _check_open(parent_id: UUID | None) -> None:
    if parent_id is None:
        return
    query = select(IAMOrganization.status).where(IAMOrganization.id == parent_id)
    if session().scalar(query) != ACTIVE:
        raise InvalidInput(N_("This organization is closed"), field="parent_id")


def _check_name(name: str, parent_id: UUID | None, row_id: UUID | None = None) -> None:
    beside = (IAMOrganization.parent_id == parent_id, IAMOrganization.status == ACTIVE)
    query = select(IAMOrganization.id, IAMOrganization.name).where(*beside)
    # Locking: on MySQL it reads past the snapshot, and _bump_tenant lets one at a time in here.
    for other in session().execute(query.with_for_update()):
        if other.id != row_id and other.name.casefold() == name.strip().casefold():
            raise OrganizationNameTaken(field="name")


def _require(
    permission: str, place: UUID | None, *, actor_grants: Rights | None, actor: Actor
) -> None:
    if not _may(permission, place, actor_grants=actor_grants, actor=actor):
        raise Forbidden


def _may(permission: str, place: UUID | None, *, actor_grants: Rights | None, actor: Actor) -> bool:
    if actor_grants is None:
        return actor.kind == "system"
    return actor_grants.allows(permission, parent_id=place)


def _check_values(name: str, kind: str) -> None:
    if not name.strip() or len(name) > 120:
        raise InvalidInput(field="name")
    if kind not in ORGANIZATION_TYPES:
        raise InvalidInput(field="type")


def _bump_tenant() -> None:
    # First, for the lock order; it also makes two moves follow each other, so that
    # together they cannot tie a knot that neither of them saw.
    statement = (
        update(IAMTenant)
        .where(IAMTenant.id == current_tenant_id())
        .values(authz_version=IAMTenant.authz_version + 1)
    )
    session().execute(statement)


def _tree() -> Tree:
    query = select(IAMOrganization.id, IAMOrganization.parent_id).order_by(IAMOrganization.id)
    return {row[0]: row[1] for row in session().execute(query.with_for_update())}


def _check_place(tree: Tree, row_id: UUID | None, parent_id: UUID | None) -> None:
    if parent_id is not None and parent_id not in tree:
        raise NotFound
    above = _path(tree, parent_id)
    if row_id is not None and row_id in above:
        raise OrganizationCycle(field="parent_id")
    if len(above) + 1 + _height(tree, row_id) > MAX_DEPTH:
        raise OrganizationCycle(
            N_("Organizations cannot lie so many levels deep"), field="parent_id"
        )


def _path(tree: Tree, item: UUID | None) -> list[UUID]:
    path: list[UUID] = []
    while item is not None and item not in path and len(path) <= MAX_DEPTH:
        path.append(item)
        item = tree.get(item)
    return path


def _height(tree: Tree, row_id: UUID | None) -> int:
    if row_id is None:
        return 0
    paths = [_path(tree, item) for item in tree]
    return max((path.index(row_id) for path in paths if row_id in path), default=0)


def _described(row: IAMOrganization) -> dict[str, object]:
    return {
        "name": row.name,
        "type": row.type,
        "parent_id": str(row.parent_id) if row.parent_id else None,
    }
