"""What a sign-in reads and writes of an account: one prepared statement each (X3).

Sign-in is the hottest writer, and the ORM's share of it was half as much as the
password hash itself. Refuses to decide anything: that is `services_login.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Table, and_, bindparam, select, update

from ...core.db import run_prepared
from ...core.scoping import current_tenant_id
from ...risk import services_devices
from ...risk.models import IAMDevice
from ...tenancy.models import IAMTenant
from ...tenancy.services_settings import remember, stored_in
from ..accounts.services_directory import login_key
from ..models import IAMUserAccount

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
    email: str | None
    email_verified: bool
    password_hash: str | None
    password_changed_at: datetime | None
    status: str
    actor_type: str
    authz_version: int
    mfa_grace_until: datetime | None
    mfa_enrolment_due: bool
    last_login_at: datetime | None
    created_at: datetime
    tenant_status: str
    tenant_version: int
    tenant_details: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def tenant_settings(self) -> dict[str, Any]:
        """Return what the tenant has set for itself."""
        return stored_in(self.tenant_details)


@dataclass(frozen=True, slots=True)
class Device:
    """The account's device of a browser; `known` once a sign-in there was complete.

    `newest` is the newest generation of the browser's cookie that any account has seen.
    """

    id: UUID
    known: bool
    generation: int = 0
    rotated_at: datetime | None = None
    last_seen_at: datetime | None = None
    trusted_until: datetime | None = None
    newest: int = 0


_NAMES = tuple(item.name for item in fields(Account))
_DEVICE_NAMES = tuple(item.name for item in fields(Device))
COLUMNS = tuple(
    _T.c.status.label("tenant_status") if name == "tenant_status"
    else _T.c.authz_version.label("tenant_version") if name == "tenant_version"
    else _T.c["metadata"].label("tenant_details") if name == "tenant_details"
    else _U.c[name]
    for name in _NAMES
)  # fmt: skip
# Whatever the account or tenant: the cookie is one for all that use a browser.
_NEWEST = services_devices.newest_of_browser(bindparam("browser"))
DEVICE_COLUMNS = tuple(
    (_NEWEST if name == "newest" else _D.c[name]).label(f"device_{name}") for name in _DEVICE_NAMES
)
_TENANT = _U.c.tenant_id == bindparam("tenant")


def device_join() -> ColumnElement[bool]:
    """Return how the device of the parameter `browser` is joined to the account."""
    return and_(
        _D.c.tenant_id == _U.c.tenant_id,
        _D.c.user_id == _U.c.id,
        _D.c.browser_digest == bindparam("browser"),
        _D.c.revoked_at.is_(None),
    )


def _lookup(column: str) -> Select[Any]:
    return (
        select(*COLUMNS, *DEVICE_COLUMNS)
        .join(_T, _T.c.id == _U.c.tenant_id)
        .outerjoin(_D, device_join())
        .where(_TENANT, _U.c[column] == bindparam("name"))
    )


_LOOKUPS = {name: _lookup(name) for name in ("username_canonical", "email_canonical", "id")}
_ITSELF = (_TENANT, _U.c.id == bindparam("user"))
_SAME_HASH = _U.c.password_hash.is_not_distinct_from(bindparam("same_hash"))
_UNCHANGED = (
    *_ITSELF,
    _SAME_HASH,
    _U.c.status == bindparam("same_status"),
    _U.c.authz_version == bindparam("same_version"),
    select(_T.c.id)
    .where(_T.c.id == bindparam("tenant"), _T.c.status == bindparam("same_tenant_status"))
    .exists(),
)
_ADMIT = update(_U).where(*_UNCHANGED).values(last_login_at=bindparam("at"))
_HOLD = select(_U.c.id).where(*_UNCHANGED).with_for_update(of=_U)
_START_GRACE = update(_U).where(*_ITSELF).values(mfa_grace_until=bindparam("until"))
_REPLACE_HASH = update(_U).where(*_ITSELF, _SAME_HASH).values(password_hash=bindparam("new_hash"))


def find(username: str, browser: bytes) -> tuple[Account | None, Device | None]:
    """Return the account of a login name and its device of this browser; one query."""
    key = login_key(username)
    return _find(*key, browser) if key is not None else (None, None)


def find_by_id(user_id: UUID, browser: bytes) -> tuple[Account | None, Device | None]:
    """Return an account and its device of this browser; one query."""
    return _find("id", user_id, browser)


def admit(user: Account, at: datetime) -> bool:
    """Note a complete sign-in and hold the account; False where it changed since it was read.

    A compare-and-swap: a new password, right, factor or standing refuses the sign-in. It
    locks the row, so that parallel sign-ins count one another's sessions (AT-126).
    """
    return bool(run_prepared(_ADMIT, {**_unchanged(user), "at": at}, reason=_REASON).rowcount)


def hold(user: Account) -> bool:
    """Hold the account for a sign-in that is not complete; False where it changed."""
    return run_prepared(_HOLD, _unchanged(user), reason=_REASON).first() is not None


def start_grace(user_id: UUID, until: datetime) -> None:
    """Keep until when enrolment of a second factor may be put off."""
    parameters = {"tenant": current_tenant_id(), "user": user_id, "until": until}
    run_prepared(_START_GRACE, parameters, reason=_REASON)


def replace_hash(user: Account, new_hash: str) -> bool:
    """Store the password's hash anew, of other parameters or another pepper.

    False where the password was changed since it was read: the new one stays.
    """
    parameters = {
        "tenant": current_tenant_id(),
        "user": user.id,
        "same_hash": user.password_hash,
        "new_hash": new_hash,
    }
    return bool(run_prepared(_REPLACE_HASH, parameters, reason=_REASON).rowcount)


def account_of(row: Row[Any]) -> Account:
    """Return the account of a row that selected COLUMNS; its tenant's settings came along."""
    found = Account(**{name: row._mapping[name] for name in _NAMES})
    remember(found.tenant_settings)
    return found


def device_of(row: Row[Any]) -> Device | None:
    """Return the device of a row that selected DEVICE_COLUMNS, if the join found one."""
    found = row._mapping
    if found["device_id"] is None:
        return None
    return Device(**{name: found[f"device_{name}"] for name in _DEVICE_NAMES})


def device_from(found: IAMDevice) -> Device:
    """Return what the gate asks about a device that was loaded otherwise."""
    values = {name: getattr(found, name) for name in _DEVICE_NAMES if name != "newest"}
    return Device(**values, newest=services_devices.newest(found.browser_digest))


def _unchanged(user: Account) -> dict[str, object]:
    return {
        "tenant": current_tenant_id(),
        "user": user.id,
        "same_status": user.status,
        "same_version": user.authz_version,
        "same_hash": user.password_hash,
        "same_tenant_status": user.tenant_status,
    }


def _find(column: str, name: object, browser: bytes) -> tuple[Account | None, Device | None]:
    parameters = {"tenant": current_tenant_id(), "name": name, "browser": browser}
    row = run_prepared(_LOOKUPS[column], parameters, reason=_REASON).first()
    return (account_of(row), device_of(row)) if row is not None else (None, None)
