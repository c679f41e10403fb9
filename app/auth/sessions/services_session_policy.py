"""Which limits hold for somebody's sessions, and from which addresses they may come (J2).

The installation's come from the settings, a tenant's own with the row that the caller has
read anyway: a request costs no query for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, bindparam, update

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...authz import services_rbac
from ...authz.services_grants import rights_of
from ...core import clock
from ...core.actor import Actor
from ...core.db import run_prepared, transaction
from ...core.parsing.networks import admits
from ...core.scoping import tenant_scope
from ...tenancy.services_settings import overrides
from ..models import IAMAuthSession, IAMUserAccount
from ..principal import Principal
from ..settings import ACTOR_TYPES, AuthSettings, SessionPolicy

SIGN_IN, SESSION, ACCESS = "sign_in", "session", "access"
_TABLE = cast(Table, IAMAuthSession.__table__)
_END = (
    update(_TABLE)
    .where(
        _TABLE.c.tenant_id == bindparam("tenant"),
        _TABLE.c.id == bindparam("row"),
        _TABLE.c.state.in_(("active", "pending")),
    )
    .values(state="revoked", revoke_reason="address", logout_time=bindparam("at"))
)


def kinds_of(actor_type: str, roles: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds whose limits hold for somebody: that of the account, and of their roles.

    An administrator by role is held to an administrator's limits, whatever their account is
    called.
    """
    return (actor_type, *sorted(set(roles) & set(ACTOR_TYPES) - {actor_type}))


def policy_of(user: Any) -> SessionPolicy:
    """Return the limits of an account's or a signed-in person's sessions.

    What the tenant has set for itself came with the query of an `Account` or a `Principal`.
    """
    own = overrides() if isinstance(user, IAMUserAccount) else user.tenant_settings
    kinds = kinds_of(user.actor_type, _roles_of(user))
    return AuthSettings.current().strictest_policy(kinds, own)


def lifetime(policy: SessionPolicy, remember: bool, at: datetime) -> tuple[datetime, int]:
    """Return when a full session ends, and how many seconds it may rest."""
    if remember and policy.remember_days:
        length = timedelta(days=policy.remember_days)
        return at + length, int(length.total_seconds())
    return at + timedelta(minutes=policy.absolute_minutes), policy.idle_minutes * 60


def pending_lifetime(at: datetime) -> tuple[datetime, int]:
    """Return the same for a sign-in that is not complete."""
    wait = timedelta(minutes=AuthSettings.current().LOGIN_PENDING_MINUTES)
    return at + wait, int(wait.total_seconds())


def may_come_from(kinds: Iterable[str], own: Mapping[str, Any], ip: str | None) -> bool:
    """Return whether somebody of these kinds may come from an address; pure of the database.

    `own` is what their tenant has set for itself.
    """
    settings = AuthSettings.current()
    lists = (networks for kind in kinds for networks in settings.allow_lists(kind, own))
    return all(admits(networks, ip) for networks in lists)


def end_session(row: Any, ip: str | None) -> None:
    """End a session that came from an address outside its lists, and record it once.

    Owns its transaction: the request goes on as nobody's.
    """
    actor = Actor("user", row.tenant_id, user_id=row.user_id, session_id=row.id, ip=ip)
    parameters = {"tenant": row.tenant_id, "row": row.id, "at": clock.now()}
    with tenant_scope(row.tenant_id), transaction():
        ended = run_prepared(_END, parameters, reason="the session's tenant is a parameter")
        if ended.rowcount:
            resource = ("auth_session", row.id)
            record(events.IP_REFUSED, resource=resource, status=DENIED, actor=actor, reason=SESSION)


def _roles_of(user: Any) -> Iterable[str]:
    if isinstance(user, Principal):
        return user.grants.roles
    if isinstance(user, IAMUserAccount):
        return rights_of(user.id, clock.now())[0]
    # Asked at the gate before: remembered, no query.
    versions = {"tenant_version": user.tenant_version, "user_version": user.authz_version}
    return services_rbac.resolve(user.tenant_id, user.id, **versions, at=clock.now()).roles
