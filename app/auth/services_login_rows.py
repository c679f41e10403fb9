"""What a sign-in reads and writes of an account: one prepared statement each (X3).

Sign-in is the hottest writer, and the ORM's share of it was half as much as the
password hash itself. Refuses to decide anything: that is `services_login.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row, Select, Table, and_, bindparam, select, update

from ..core.db import run_prepared
from ..core.scoping import current_tenant_id
from ..risk.models import IAMDevice
from ..tenancy.models import IAMTenant
from .models import IAMUserAccount
from .services_directory import login_key

_U = cast(Table, IAMUserAccount.__table__)
_T = cast(Table, IAMTenant.__table__)
_D = cast(Table, IAMDevice.__table__)
_REASON = "the tenant in scope is a parameter of the statement"


@dataclass(frozen=True, slots=True)
class Account:
    """What the sign-in gate asks about an account and its tenant, as stored at one moment."""

    id: UUID
    tenant_id: UUID
    username: str
    password_hash: str | None
    password_changed_at: datetime | None
    status: str
    actor_type: str
    authz_version: int
    mfa_grace_until: datetime | None
    last_login_at: datetime | None
    created_at: datetime
    tenant_status: str
    tenant_version: int


@dataclass(frozen=True, slots=True)
class Device:
    """The account's device of a browser; `known` once a sign-in there was complete."""

    id: UUID
    known: bool


_COLUMNS = (
    _U.c.id, _U.c.tenant_id, _U.c.username, _U.c.password_hash,
    _U.c.password_changed_at, _U.c.status, _U.c.actor_type, _U.c.authz_version,
    _U.c.mfa_grace_until, _U.c.last_login_at, _U.c.created_at,
    _T.c.status.label("tenant_status"), _T.c.authz_version.label("tenant_version"),
)  # fmt: skip
_NAMES = tuple(field.name for field in fields(Account))
_TENANT = _U.c.tenant_id == bindparam("tenant")


def _lookup(column: str) -> Select[Any]:
    device = and_(
        _D.c.tenant_id == _U.c.tenant_id,
        _D.c.user_id == _U.c.id,
        _D.c.browser_digest == bindparam("browser"),
        _D.c.revoked_at.is_(None),
    )
    return (
        select(*_COLUMNS, _D.c.id.label("device_id"), _D.c.known.label("device_known"))
        .join(_T, _T.c.id == _U.c.tenant_id)
        .outerjoin(_D, device)
        .where(_TENANT, _U.c[column] == bindparam("name"))
    )


_LOOKUPS = {name: _lookup(name) for name in ("username_canonical", "email_canonical")}
# FOR UPDATE OF: with the tenant's row locked too, all its sign-ins would queue up.
_LOCK = (
    select(*_COLUMNS)
    .join(_T, _T.c.id == _U.c.tenant_id)
    .where(_TENANT, _U.c.id == bindparam("user"))
    .with_for_update(of=_U)
)
_SET_LOGIN = update(_U).where(_TENANT, _U.c.id == bindparam("user"))
_NOTE_LOGIN = _SET_LOGIN.values(last_login_at=bindparam("at"))
_START_GRACE = _SET_LOGIN.values(mfa_grace_until=bindparam("until"))
_REPLACE_HASH = _SET_LOGIN.values(password_hash=bindparam("new_hash"))


def find(username: str, browser: bytes) -> tuple[Account | None, Device | None]:
    """Return the account of a login name and its device of this browser; one query."""
    key = login_key(username)
    if key is None:
        return None, None
    column, name = key
    parameters = {"tenant": current_tenant_id(), "name": name, "browser": browser}
    row = run_prepared(_LOOKUPS[column], parameters, reason=_REASON).first()
    if row is None:
        return None, None
    device = Device(row.device_id, row.device_known) if row.device_id else None
    return _account(row), device


def lock(user_id: UUID) -> Account | None:
    """Return the account as stored now and hold it until the transaction ends."""
    parameters = {"tenant": current_tenant_id(), "user": user_id}
    row = run_prepared(_LOCK, parameters, reason=_REASON).first()
    return _account(row) if row is not None else None


def note_login(user_id: UUID, at: datetime) -> None:
    """Keep when the account was last entered."""
    parameters = {"tenant": current_tenant_id(), "user": user_id, "at": at}
    run_prepared(_NOTE_LOGIN, parameters, reason=_REASON)


def start_grace(user_id: UUID, until: datetime) -> None:
    """Keep until when enrolment of a second factor may be put off."""
    parameters = {"tenant": current_tenant_id(), "user": user_id, "until": until}
    run_prepared(_START_GRACE, parameters, reason=_REASON)


def replace_hash(user_id: UUID, new_hash: str) -> None:
    """Store the password's hash anew, of other parameters or another pepper."""
    parameters = {"tenant": current_tenant_id(), "user": user_id, "new_hash": new_hash}
    run_prepared(_REPLACE_HASH, parameters, reason=_REASON)


def _account(row: Row[Any]) -> Account:
    return Account(**{name: row._mapping[name] for name in _NAMES})
