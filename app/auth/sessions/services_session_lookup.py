"""The hot path: who a session token belongs to, in one indexed query (J1, L3).

Session, account and tenant come in one row, with the versions of the person's
rights, so a change of rights, status or password bites at the next request.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, and_, bindparam, select

from ...authz import services_rbac
from ...core import clock
from ...core.crypto import token_digest
from ...core.db import run_prepared
from ...tenancy.models import IAMTenant
from ...tenancy.services_settings import stored_in, with_overrides
from ..liveness import may_act, may_enter
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMAuthSession, IAMUserAccount
from ..principal import Principal
from ..settings import AuthSettings
from ..sign_in.services_policy import in_grace, mfa_policy
from . import services_session_policy

ACTIVE, PENDING, EXPIRED, REVOKED, SUSPENDED = (
    "active",
    "pending",
    "expired",
    "revoked",
    "suspended",
)
LIVE = (ACTIVE, PENDING)
_TABLE = cast(Table, IAMAuthSession.__table__)
_USER = cast(Table, IAMUserAccount.__table__)
_TENANT = cast(Table, IAMTenant.__table__)
_LOOKUP = (
    select(
        *(_TABLE.c[name] for name in (
            "id", "tenant_id", "user_id", "device_id", "state", "stage", "remember", "next_url",
            "amr", "acr", "proofs", "login_time", "auth_time", "mfa_time", "last_activity_at",
            "idle_seconds", "expires_at", "ip", "access_context_id",
        )),
        *(_USER.c[name] for name in (
            "username", "display_name", "first_name", "last_name", "actor_type", "parent_id",
            "status", "language", "timezone", "mfa_grace_until",
        )),
        _USER.c.authz_version.label("user_version"),
        _TENANT.c.status.label("tenant_status"),
        _TENANT.c.slug.label("tenant_slug"),
        _TENANT.c.host.label("tenant_host"),
        _TENANT.c.name.label("tenant_name"),
        _TENANT.c.authz_version.label("tenant_version"),
        _TENANT.c["metadata"].label("tenant_details"),
    )
    .join(_USER, and_(_USER.c.tenant_id == _TABLE.c.tenant_id, _USER.c.id == _TABLE.c.user_id))
    .join(_TENANT, _TENANT.c.id == _TABLE.c.tenant_id)
    .where(_TABLE.c.token_digest == bindparam("digest"))
)  # fmt: skip


def find(token: str | None, ip: str | None) -> Principal | None:
    """Return the person of a live session, pending ones included, or None."""
    if not token or len(token) > 128:
        return None
    found = run_prepared(
        _LOOKUP, {"digest": token_digest(token)}, reason="the token itself decides the tenant"
    )
    row = found.first()
    at = clock.now()
    if row is None or not _is_live(row, ip, at):
        return None
    person = _principal(row, at)
    kinds = services_session_policy.kinds_of(row.actor_type, person.grants.roles)
    if not services_session_policy.may_come_from(kinds, person.tenant_settings, ip):
        services_session_policy.end_session(row, ip)
        return None
    return person if _is_strong_enough(person, row.mfa_grace_until, at) else None


def is_idle(row: Any, at: datetime) -> bool:
    """Return whether a session was not used for longer than it may rest."""
    return bool(at > row.last_activity_at + timedelta(seconds=row.idle_seconds))


def _own(row: Any) -> dict[str, Any]:
    return stored_in(row.tenant_details)


def _is_live(row: Any, ip: str | None, at: datetime) -> bool:
    if row.state not in LIVE or at >= row.expires_at or is_idle(row, at):
        return False
    may_go_on = may_act if row.state == ACTIVE else may_enter
    if not may_go_on(row.status, row.tenant_status):
        return False
    return row.ip == ip or not AuthSettings.current().SESSION_BIND_IP


def _is_strong_enough(person: Principal, grace_until: datetime | None, at: datetime) -> bool:
    # A role given to somebody who is signed in by password alone must not work before
    # the factor it demands was shown: the session ends for them, the next sign-in asks.
    if not person.is_authenticated or person.meets("aal2"):
        return True
    settings = with_overrides(MfaSettings.current(), person.tenant_settings)
    if mfa_policy(person.grants, person.actor_type, settings) != "required":
        return True
    return in_grace(grace_until, at, settings)


def _principal(row: Any, at: datetime) -> Principal:
    grants = services_rbac.resolve(
        row.tenant_id,
        row.user_id,
        tenant_version=row.tenant_version,
        user_version=row.user_version,
        at=at,
    )
    name = row.display_name or f"{row.first_name} {row.last_name}".strip() or row.username
    return Principal(
        user_id=row.user_id, tenant_id=row.tenant_id, session_id=row.id, device_id=row.device_id,
        username=row.username, display_name=name, actor_type=row.actor_type,
        parent_id=row.parent_id, state=row.state, stage=row.stage, remember=row.remember,
        amr=tuple(row.amr), acr=row.acr, login_time=row.login_time, auth_time=row.auth_time,
        mfa_time=row.mfa_time, last_activity_at=row.last_activity_at, expires_at=row.expires_at,
        proofs=row.proofs or {}, language=row.language, timezone=row.timezone,
        next_url=row.next_url, grants=grants, access_context_id=row.access_context_id,
        tenant_settings=_own(row), tenant_slug=row.tenant_slug, tenant_host=row.tenant_host,
        tenant_name=row.tenant_name,
    )  # fmt: skip
