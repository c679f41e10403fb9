"""Access contexts: a super admin enters a tenant, acts in it as its administrator, leaves (K5).

Whatever let somebody in is asked again at every request. Rights are those of a tenant's
administrator, and never more than the person's own in scope global. Everything done inside
is recorded in both tenants before it is done (AT-382).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from unicodedata import category
from uuid import UUID

from sqlalchemy import select, update

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...authz.catalogue import NEVER_INSIDE, SUPER_ADMIN, SYSTEM_ROLES, TENANT_ADMIN
from ...authz.grants import GLOBAL, TENANT, Grants
from ...core import clock
from ...core.actor import Actor
from ...core.db import session, transaction
from ...core.errors import Forbidden, InvalidInput, NotFound
from ...core.i18n import N_
from ...core.ids import new_id
from ...core.parsing.networks import admits, parse_networks
from ...core.scoping import exempt, tenant_scope
from ...tenancy.models import IAMAccessContext, IAMTenant
from ..models import IAMAuthSession
from ..principal import Principal
from ..sessions import services_session_policy, services_sessions
from ..sessions.services_session_lookup import ACTIVE
from ..sessions.services_sessions import SignIn
from ..settings import AuthSettings
from .errors_access import AccessRefused, AccessRunning
from .services_access_ends import EXPIRED, LEFT, REFUSED, Place, end, tell_both

ENTER = "access:enter"
SHORTEST_REASON, LONGEST_REASON = 10, 200
FEWEST = 5
"""Letters and digits that a reason has at least: dots and spaces say nothing."""
LEAST_MINUTES, MOST_MINUTES = 5, 60
PLATFORM = "platform"
_C, _T, _S = IAMAccessContext, IAMTenant, IAMAuthSession
_INSIDE = frozenset(
    name for role in SYSTEM_ROLES if role.name == TENANT_ADMIN for name in role.permissions
)
_FIND = select(
    _C.id, _C.target_tenant_id, _C.reason, _C.started_at, _C.ends_at, _C.ended_at, _C.end_reason,
    _T.slug, _T.name, _T.type, _T.status,
).join(_T, _T.id == _C.target_tenant_id)  # fmt: skip
_BEYOND = exempt("a super admin's context leads to a tenant that is not their own")


@dataclass(frozen=True, slots=True)
class Running:
    """A context that a session holds, as stored now; `over` says why it no longer counts."""

    id: UUID
    target_id: UUID
    slug: str
    tenant_name: str
    reason: str
    started_at: datetime
    ends_at: datetime
    over: str | None = None

    @property
    def place(self) -> Place:
        """Return what the audit trail says of it."""
        return Place(self.id, self.target_id, self.slug)

    def minutes_left(self) -> int:
        """Return how many minutes are left, the begun one included."""
        return max(0, -int(-(self.ends_at - clock.now()).total_seconds() // 60))


@dataclass(frozen=True, slots=True)
class Target:
    """A tenant that may be entered. No row of it: that one is another tenant's."""

    id: UUID
    slug: str
    name: str


def target(tenant_id: UUID | None, *, principal: Principal) -> Target:
    """Return a tenant that the person may enter.

    Raises NotFound for what is none of the platform's tenants, and for everybody who is not of
    the platform; AccessRefused, Forbidden where the person or their address may not.
    """
    home = session().scalar(select(_T.type).where(_T.id == principal.tenant_id))
    if home != PLATFORM:
        raise NotFound
    _check_right(principal)
    open_place = (_T.id == tenant_id, _T.type != PLATFORM, _T.status == "active")
    query = select(_T.id, _T.slug, _T.name).where(*open_place, _T.id != principal.tenant_id)
    found = session().execute(query, execution_options=_BEYOND).first()
    if found is None:
        raise NotFound
    return Target(*found)


def enter(
    tenant_id: UUID | None, *, reason: str, minutes: int, principal: Principal, actor: Actor
) -> SignIn:
    """Open a context and give the session a new token (AT-114); joins the transaction.

    Raises what `target` raises, InvalidInput, AccessRunning.
    """
    place = target(tenant_id, principal=principal)
    why = _readable(reason)
    if not SHORTEST_REASON <= len(why) <= LONGEST_REASON or sum(map(str.isalnum, why)) < FEWEST:
        raise InvalidInput(N_("Say why in a sentence of 10 to 200 characters."), field="reason")
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise InvalidInput(N_("Choose 5 to 60 minutes."), field="minutes")
    _check_address(principal, actor)
    _hold_session(principal)
    _close_former(principal, actor)
    at = clock.now()
    row = _C(
        id=new_id(),
        target_tenant_id=place.id,
        user_id=principal.user_id,
        session_id=principal.session_id,
        reason=why,
        started_at=at,
        ends_at=min(at + timedelta(minutes=minutes), principal.expires_at),
    )
    session().add(row)
    session().flush()
    tell_both(
        events.SUPER_ADMIN_ACCESS,
        Place(row.id, place.id, place.slug),
        actor=actor,
        reason=why,
        minutes=minutes,
    )
    return services_sessions.rotate(principal.session_id, (ACTIVE,), access_context_id=row.id)


def running(principal: Principal, ip: str | None) -> Running | None:
    """Return the context that a person's session holds, one that is over included; one query."""
    if principal.access_context_id is None:
        return None
    mine = (
        _C.id == principal.access_context_id,
        _C.tenant_id == principal.tenant_id,
        _C.user_id == principal.user_id,
        _C.session_id == principal.session_id,
    )
    row = session().execute(_FIND.where(*mine), execution_options=_BEYOND).first()
    if row is None:
        return None
    return Running(
        row.id, row.target_tenant_id, row.slug, row.name, row.reason, row.started_at, row.ends_at,
        over=_over(row, principal, ip),
    )  # fmt: skip


def inside(principal: Principal, context: Running) -> Principal:
    """Return the person as they act in the tenant: its administrator, and nobody else's."""
    own = principal.grants
    names = (name for name in _INSIDE - NEVER_INSIDE if GLOBAL in own.permissions.get(name, ()))
    grants = Grants(
        roles=own.roles & {TENANT_ADMIN, "viewer"},
        permissions=MappingProxyType(dict.fromkeys(names, frozenset({TENANT}))),
        mfa_policy="required",
        valid_until=own.valid_until,
        unused=NEVER_INSIDE,
    )
    return replace(
        principal, tenant_id=context.target_id, parent_id=None, grants=grants, tenant_settings={}
    )


def note(context: Running, *, endpoint: str, method: str, actor: Actor) -> None:
    """Record, in both tenants, what is about to be done. Owns its transaction.

    Locks the context: one that was ended meanwhile admits nothing. Raises AccessRefused.
    """
    with transaction():
        lock = select(_C.id).where(_C.id == context.id, _C.ended_at.is_(None))
        if session().scalar(lock.with_for_update(read=True)) is None:
            raise AccessRefused
        tell_both(
            events.SUPER_ADMIN_ACCESS, context.place, actor=actor, endpoint=endpoint, method=method
        )


def leave(principal: Principal, reason: str = LEFT, *, actor: Actor) -> SignIn | None:
    """End the context of a session and give it a new token; joins the transaction.

    None where the session holds none any more: another request was faster.
    """
    context_id = principal.access_context_id
    with tenant_scope(principal.tenant_id):
        statement = (
            update(_S)
            .where(_S.id == principal.session_id, _S.access_context_id == context_id)
            .values(access_context_id=None)
            .execution_options(synchronize_session=False)
        )
        if context_id is None or not session().execute(statement).rowcount:  # type: ignore[attr-defined]
            return None
        own = (_C.id == context_id, _C.session_id == principal.session_id)
        row = session().scalar(select(_C).where(*own))
        if row is not None:
            end(row, reason, actor=actor)
        return services_sessions.rotate(principal.session_id, (ACTIVE,))


def _readable(text: str) -> str:
    # Characters that nobody sees would make a reason that nobody reads.
    seen = "".join(" " if char.isspace() else char for char in text)
    return " ".join("".join(char for char in seen if category(char)[0] != "C").split())


def _over(row: Any, principal: Principal, ip: str | None) -> str | None:
    if row.ended_at is not None:
        return str(row.end_reason)
    if clock.now() >= row.ends_at:
        return EXPIRED
    is_open = row.status == "active" and row.type != PLATFORM
    if not is_open or not _holds_right(principal) or not _address_admitted(ip):
        return REFUSED
    return None


def _holds_right(principal: Principal) -> bool:
    held = principal.grants
    scopes = held.permissions.get(ENTER, frozenset())
    return held.has_role(SUPER_ADMIN) and GLOBAL in scopes and principal.meets("aal2")


def _check_right(principal: Principal) -> None:
    if not _holds_right(principal):
        raise Forbidden(required=f"{ENTER} in scope {GLOBAL}")


def _address_admitted(ip: str | None) -> bool:
    # Without a list nobody enters: a platform's reach into every tenant is opened on purpose.
    written = AuthSettings.current().IAM_SUPER_ADMIN_NETWORKS
    return bool(written) and admits(parse_networks(written), ip)


def _check_address(principal: Principal, actor: Actor) -> None:
    if _address_admitted(actor.ip):
        return
    resource: Any = ("user_account", principal.user_id)
    why = services_session_policy.ACCESS
    record(events.IP_REFUSED, resource=resource, status=DENIED, actor=actor, reason=why)
    raise AccessRefused


def _hold_session(principal: Principal) -> None:
    # Of two forms sent at once one opens a context; the other must not leave a second behind.
    held = session().scalar(
        select(_S).where(_S.id == principal.session_id, _S.state == ACTIVE).with_for_update(),
        execution_options={"populate_existing": True},
    )
    if held is None:
        raise NotFound
    if held.access_context_id != principal.access_context_id:
        raise AccessRunning


def _close_former(principal: Principal, actor: Actor) -> None:
    former = running(principal, actor.ip)
    if former is None:
        return
    if former.over is None:
        raise AccessRunning
    row = session().scalar(select(_C).where(_C.id == former.id))
    if row is not None:
        end(row, former.over, actor=actor)
