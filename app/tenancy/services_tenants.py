"""Tenants: the default one, new ones, and finding one by its slug.

Works across tenants by nature, so every query here is an explicit exemption.
Organizations inside a tenant are in `services_organizations`.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ..audit import events
from ..audit.services_audit import record
from ..core import clock
from ..core.actor import Actor, system_actor
from ..core.db import session, transaction
from ..core.errors import InvalidInput, NotFound
from ..core.i18n import N_
from ..core.ids import new_id
from ..core.scoping import unscoped
from .errors import NoDefaultTenant, OrganizationCycle, SlugRefused, SlugTaken
from .models import TENANT_TYPES, IAMTenant
from .services_organizations import (
    close_organization,
    create_organization,
    get_organization,
    list_organizations,
    reopen_organization,
    update_organization,
)
from .settings import TenancySettings
from .slugs import is_reserved, is_well_formed, skeleton

__all__ = [
    "check_slug",
    "close_organization",
    "create_organization",
    "create_tenant",
    "default_tenant_id",
    "ensure_default_tenant",
    "find_by_slug",
    "get_organization",
    "list_organizations",
    "reopen_organization",
    "update_organization",
]

MAX_DEPTH = 32
PLATFORM = "platform"
ACTIVE = "active"
TYPES_BELOW = {
    PLATFORM: ("partner", "client", "tenant", "sponsor", "employer"),
    "partner": ("client", "tenant", "sponsor", "employer"),
    **dict.fromkeys(("client", "tenant", "sponsor", "employer"), ()),
}
"""Which types of tenants may lie directly below which (K1)."""


def ensure_default_tenant(actor_label: str) -> IAMTenant:
    """Return the default tenant, created where it is missing. Safe to repeat and to race."""
    settings = TenancySettings.current()
    with transaction(), unscoped("the default tenant is found by its slug"):
        found = _by_slug(settings.IAM_DEFAULT_TENANT)
        if found is not None:
            return found
        tenant_id = new_id()
        try:
            with session().begin_nested():
                tenant = _insert(
                    tenant_id,
                    slug=settings.IAM_DEFAULT_TENANT,
                    name=settings.IAM_DEFAULT_TENANT_NAME,
                    kind=PLATFORM,
                    parent_id=None,
                )
        except IntegrityError:  # another process was faster; read what it committed
            found = _by_slug(settings.IAM_DEFAULT_TENANT, committed=True)
            if found is None:
                raise
            return found
        _record_created(tenant, system_actor(tenant_id, actor_label))
        return tenant


def default_tenant_id() -> UUID:
    """Return the id of the default tenant. Raises NoDefaultTenant where it is missing."""
    slug = TenancySettings.current().IAM_DEFAULT_TENANT
    with unscoped("the default tenant is found by its slug"):
        found = session().scalar(select(IAMTenant.id).where(IAMTenant.slug == slug))
    if found is None:
        raise NoDefaultTenant
    return found


def find_by_slug(slug: str) -> IAMTenant | None:
    """Return the tenant with exactly this slug, or None."""
    with unscoped("a tenant is found by its slug"):
        return _by_slug(slug)


def create_tenant(
    slug: str, name: str, *, kind: str = "tenant", parent_id: UUID | None = None, actor: Actor
) -> IAMTenant:
    """Create a tenant; below `parent_id`, else below nothing.

    Raises SlugRefused, SlugTaken, InvalidInput, NotFound for an unknown parent.
    """
    if kind not in TENANT_TYPES or kind == PLATFORM:
        raise InvalidInput(field="type")
    if not name.strip() or len(name) > 120:
        raise InvalidInput(N_("Enter a name of at most 120 characters"), field="name")
    check_slug(slug)
    with unscoped("a new tenant is compared with all others"):
        _check_parent(parent_id, kind)
        try:
            with session().begin_nested():
                tenant = _insert(
                    new_id(), slug=slug, name=name.strip(), kind=kind, parent_id=parent_id
                )
        except IntegrityError:
            raise SlugTaken(field="slug") from None
        _record_created(tenant, actor.seen_in(tenant.id))
    return tenant


def check_slug(slug: str) -> None:
    """Refuse a short name that no new tenant can have. Raises SlugRefused, SlugTaken."""
    if slug != slug.lower():
        raise SlugRefused(N_("Write the short name in small letters"), field="slug")
    if not is_well_formed(slug):
        raise SlugRefused(
            N_("Use 3 to 63 small letters, digits and single hyphens, not digits alone"),
            field="slug",
        )
    if is_reserved(slug):
        raise SlugRefused(
            N_("This short name is kept for the platform, or looks like one that is"), field="slug"
        )
    with unscoped("a new tenant is compared with all others"):
        _check_lookalikes(slug)


def _insert(
    tenant_id: UUID, *, slug: str, name: str, kind: str, parent_id: UUID | None
) -> IAMTenant:
    tenant = IAMTenant(
        id=tenant_id,
        tenant_id=tenant_id,
        parent_id=parent_id,
        type=kind,
        slug=slug,
        name=name,
        created_at=clock.now(),
    )
    session().add(tenant)
    session().flush()
    return tenant


def _by_slug(slug: str, *, committed: bool = False) -> IAMTenant | None:
    query = select(IAMTenant).where(IAMTenant.slug == slug)
    # FOR SHARE reads past this transaction's snapshot. Whoever lost the race already shares
    # a lock on the row: asking for an exclusive one would make the losers deadlock.
    return session().scalar(query.with_for_update(read=True) if committed else query)


def _check_lookalikes(slug: str) -> None:
    for other in session().scalars(select(IAMTenant.slug)):
        if other == slug:
            raise SlugTaken(field="slug")
        if skeleton(other) == skeleton(slug):
            raise SlugRefused(N_("This short name looks like that of another tenant"), field="slug")


def _check_parent(parent_id: UUID | None, kind: str) -> None:
    columns = (IAMTenant.parent_id, IAMTenant.status, IAMTenant.type)
    for level in range(MAX_DEPTH):
        if parent_id is None:
            return
        row = session().execute(select(*columns).where(IAMTenant.id == parent_id)).first()
        if row is None or row.status != ACTIVE:
            raise NotFound
        if level == 0 and kind not in TYPES_BELOW[row.type]:
            raise InvalidInput(N_("No tenant of this type can lie there"), field="type")
        parent_id = row.parent_id
    raise OrganizationCycle(N_("Tenants cannot lie so many levels deep"), field="parent_id")


def _record_created(tenant: IAMTenant, actor: Actor) -> None:
    changes = {"name": [None, tenant.name], "type": [None, tenant.type]}
    record(events.TENANT_CREATED, resource=tenant, changes=changes, actor=actor, slug=tenant.slug)
    session().flush()  # now: later, in the caller's scope, it is a row of another tenant
