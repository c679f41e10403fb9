"""Changes to tenants below the one in scope (K1, K4): make, rename, give a host, close, open.

Each is recorded in the trail of the tenant it is about and in that of the acting person. Who
may is decided by rights in the acting person's own tenant; nothing beside or above it is found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from ...audit import events
from ...audit.events import Event
from ...audit.services_audit import changes_of, record
from ...authz.catalogue import TENANT_ADMIN
from ...authz.grants import Grants
from ...authz.services_guards import hold_administrators, is_system, require
from ...authz.services_rbac import seed_catalogue
from ...core.actor import Actor, system_actor
from ...core.db import session
from ...core.errors import Conflict, IAMError, InvalidInput
from ...core.i18n import N_
from ...core.scoping import tenant_scope
from ...tenancy import services_domains
from ...tenancy.errors import HostRefused, HostTaken
from ...tenancy.mail_domains import canonical_domain
from ...tenancy.models import IAMTenant
from ...tenancy.services_addresses import is_reserved_host, owner_of
from ...tenancy.services_tenants import check_slug, create_tenant
from ..identity import check_email
from ..invitations import services_invitations
from ..sessions import services_sessions
from ..settings import AuthSettings
from .services_tenants_below import TenantRow, get, get_below, held_by

ACTIVE, SUSPENDED = "active", "suspended"
NOT_PROVED = N_(
    "The tenant has to prove this name first: its administrators verify the domain under "
    "E-mail domains."
)
_JOB = "tenant set up"


@dataclass(frozen=True, slots=True)
class NewTenant:
    """What a new tenant is made from; `admin_email` empty: nobody is invited yet."""

    slug: str
    name: str
    type: str
    host: str = ""
    admin_email: str = ""


def create(
    new: NewTenant, *, parent_id: UUID | None, actor_grants: Grants | None, actor: Actor
) -> UUID:
    """Make a tenant below another, with its roles and an invitation for its first admin.

    Raises Forbidden, NotFound, SlugRefused, SlugTaken, HostRefused, HostTaken, InvalidInput.
    """
    require("tenant:create", actor_grants=actor_grants, actor=actor)
    if parent_id is not None or not is_system(actor_grants, actor):
        get(parent_id)
    host = check_host(new.host, None)
    if host is not None and not is_system(actor_grants, actor):
        raise HostRefused(NOT_PROVED, field="host")  # nobody there could have proved it
    tenant = create_tenant(new.slug, new.name, kind=new.type, parent_id=parent_id, actor=actor)
    tenant_id = tenant.id
    with tenant_scope(tenant_id):
        seed_catalogue(tenant_id, actor=actor)
        if host is not None:
            _set(tenant_id, host=host)
        if new.admin_email:
            _invite_admin(new.admin_email, system_actor(tenant_id, _JOB))
        session().flush()
    if actor.tenant_id != tenant_id:
        record(
            events.TENANT_CREATED,
            resource=("tenant", tenant_id),
            changes={"name": [None, new.name.strip()], "type": [None, new.type]},
            actor=actor,
            slug=new.slug,
        )
    return tenant_id


def wrong_in(new: NewTenant) -> list[IAMError]:
    """Return what is wrong with a new tenant, all at once: each names its field."""
    checks: tuple[Callable[[], object], ...] = (
        lambda: check_slug(new.slug),
        lambda: check_host(new.host, None),
        lambda: check_email(new.admin_email, field="admin_email") if new.admin_email else None,
    )
    found: list[IAMError] = []
    for check in checks:
        try:
            check()
        except (InvalidInput, Conflict) as refusal:
            found.append(refusal)
    return found


def invite_admin(
    tenant_id: UUID | None, email: str, *, actor_grants: Grants | None, actor: Actor
) -> None:
    """Invite the first administrator of a tenant in which nobody is yet.

    Closes those that were invited so before. Later it is its own people's business: whoever
    makes tenants does not get into them.
    Raises Forbidden, NotFound, Conflict, InvalidInput.
    """
    require("tenant:create", actor_grants=actor_grants, actor=actor)
    row = get_below(tenant_id)
    if row.status != ACTIVE:
        raise Conflict(N_("This tenant is suspended. Reactivate it first"))
    if held_by([row])[row.id].people:
        raise Conflict(N_("Only a tenant in which nobody is yet can get a first administrator"))
    with tenant_scope(row.id):
        _invite_admin(email, system_actor(row.id, _JOB))
        session().flush()
    _record(events.TENANT_UPDATED, row, actor)


def change(
    row: TenantRow, *, name: str, host: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Rename a tenant or give it another host; the host of one's own is for those above.

    Raises Forbidden, HostRefused, HostTaken, InvalidInput.
    """
    require("tenant:update", actor_grants=actor_grants, actor=actor)
    if not name.strip() or len(name) > 120:
        raise InvalidInput(field="name")
    kept = row.host if row.depth == 0 else check_host(host, row.id)
    if kept not in {None, row.host} and not is_system(actor_grants, actor):
        _check_proved(str(kept), row.id)
    after = {"name": name.strip(), "host": kept}
    changes = changes_of({"name": row.name, "host": row.host}, after)
    if not changes:
        return
    with tenant_scope(row.id):
        _set(row.id, **after)
    _record(events.TENANT_UPDATED, row, actor, changes=changes)


def suspend(
    tenant_id: UUID | None, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Close a tenant: its sessions end, nobody of it can act, its address says so.

    Tenants below it stay open. Raises Forbidden, NotFound, Conflict.
    """
    require("tenant:suspend", actor_grants=actor_grants, actor=actor)
    row = get_below(tenant_id)
    _turn(row, ACTIVE, SUSPENDED, N_("This tenant is suspended already"))
    with tenant_scope(row.id):
        services_sessions.end_of_tenant("tenant_suspended")
    _record(events.TENANT_SUSPENDED, row, actor, reason=reason)


def reactivate(
    tenant_id: UUID | None, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Open a suspended tenant again; its people sign in anew. Raises as `suspend` does."""
    require("tenant:suspend", actor_grants=actor_grants, actor=actor)
    row = get_below(tenant_id)
    _turn(row, SUSPENDED, ACTIVE, N_("This tenant is not suspended"))
    _record(events.TENANT_REACTIVATED, row, actor, reason=reason)


def check_host(text: str, tenant_id: UUID | None) -> str | None:
    """Return a host name in the form in which it is compared, None for an empty one.

    Raises HostRefused, HostTaken where another tenant than `tenant_id` has it.
    """
    if not text.strip():
        return None
    try:
        host = canonical_domain(text)
    except InvalidInput:
        raise HostRefused(N_("Enter a host name such as login.example.com"), field="host") from None
    if is_reserved_host(host, AuthSettings.current().IAM_BASE_URL):
        raise HostRefused(field="host")
    owner = owner_of(host)
    if owner is not None and owner.id != tenant_id:
        raise HostTaken(field="host")
    return host


def _check_proved(host: str, tenant_id: UUID) -> None:
    # Whoever is above must not lead the people below, and their links, to a name of their
    # own: the tenant itself has proved it. The operator's command line answers for itself.
    with tenant_scope(tenant_id):
        if not services_domains.has_proved(host):
            raise HostRefused(NOT_PROVED, field="host")


def _invite_admin(email: str, actor: Actor) -> None:
    hold_administrators()  # of two that invite at once, the later closes what the other made
    services_invitations.replace_unsigned(actor)
    try:
        services_invitations.invite(email, roles=[TENANT_ADMIN], actor_grants=None, actor=actor)
    except InvalidInput as refusal:
        raise InvalidInput(refusal.title, code=refusal.code, field="admin_email") from None


def _set(tenant_id: UUID, **values: Any) -> None:
    try:
        with session().begin_nested():
            session().execute(update(IAMTenant).where(IAMTenant.id == tenant_id).values(**values))
    except IntegrityError:  # the unique key decides between two at the same moment
        raise HostTaken(field="host") from None


def _turn(row: TenantRow, before: str, after: str, otherwise: str) -> None:
    which = (IAMTenant.id == row.id, IAMTenant.status == before)
    with tenant_scope(row.id):
        result: Any = session().execute(update(IAMTenant).where(*which).values(status=after))
    if not result.rowcount:
        raise Conflict(otherwise)


def _record(event: Event, row: TenantRow, actor: Actor, **details: Any) -> None:
    with tenant_scope(row.id):
        theirs = actor.seen_in(row.id)
        record(event, resource=("tenant", row.id), actor=theirs, slug=row.slug, **details)
        session().flush()
    if actor.tenant_id != row.id:
        record(event, resource=("tenant", row.id), actor=actor, slug=row.slug, **details)
