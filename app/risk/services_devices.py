"""Devices: the browsers a person signs in from, recognised by a signed random cookie.

The cookie proves nothing about who someone is. It gives a known browser its own
budget of attempts, names sessions for people, and shows when a browser is new.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import Table, bindparam, select, update
from ua_parser import parse

from ..audit import events
from ..audit.services_audit import record
from ..core import clock, rng
from ..core.actor import Actor
from ..core.crypto import keyring, token_digest
from ..core.db import run_prepared, session
from ..core.errors import NotFound
from ..core.i18n import N_
from .models import IAMDevice
from .settings import RiskSettings

_LABEL = "device-cookie"
_D = cast(Table, IAMDevice.__table__)
_SEEN = (
    update(_D)
    .where(
        _D.c.tenant_id == bindparam("tenant"),
        _D.c.id == bindparam("device"),
        _D.c.known.is_(True),
        _D.c.revoked_at.is_(None),
    )
    .values(last_seen_at=bindparam("at"), last_ip=bindparam("ip"))
)
_MOBILE = {"Android", "iOS", "Windows Phone"}


def new_cookie() -> str:
    """Return a signed cookie value for a browser that has none."""
    return str(keyring().serializer(_LABEL).dumps(rng.token()))


def read_cookie(value: str | None) -> bytes | None:
    """Return the digest that names the browser, or None for a missing or forged cookie."""
    if not value or len(value) > 512:
        return None
    max_age = RiskSettings.current().DEVICE_COOKIE_DAYS * 86400
    ok, secret = keyring().serializer(_LABEL).loads_unsafe(value, max_age=max_age)
    return token_digest(secret) if ok and isinstance(secret, str) else None


def find_device(user_id: UUID, browser: bytes | None) -> IAMDevice | None:
    """Return the user's device of this browser, if any and not revoked."""
    if browser is None:
        return None
    return session().scalar(
        select(IAMDevice).where(
            IAMDevice.user_id == user_id,
            IAMDevice.browser_digest == browser,
            IAMDevice.revoked_at.is_(None),
        )
    )


def note_seen(device_id: UUID, at: datetime, actor: Actor) -> bool:
    """Note that a known device is seen now; return whether it still is one."""
    parameters = {"tenant": actor.tenant_id, "device": device_id, "at": at, "ip": actor.ip}
    found = run_prepared(_SEEN, parameters, reason="the actor's tenant is a parameter")
    return bool(found.rowcount)


def remember_device(user_id: UUID, browser: bytes, *, actor: Actor) -> IAMDevice:
    """Return the device of this browser, created or marked as seen now."""
    at = clock.now()
    device = find_device(user_id, browser) or _revived(user_id, browser)
    if device is None:
        device = _new_device(user_id, browser, at, actor)
        session().add(device)
    device.last_seen_at = at
    device.last_ip = actor.ip
    session().flush()
    return device


def mark_known(device_id: UUID | None) -> bool:
    """Mark a device as proved by a complete sign-in; return whether it was new."""
    if device_id is None:
        return False
    result = session().execute(
        update(IAMDevice)
        .where(IAMDevice.id == device_id, IAMDevice.known.is_(False))
        .values(known=True)
        .execution_options(synchronize_session=False)
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]


def list_devices(user_id: UUID) -> list[IAMDevice]:
    """Return the user's devices, last seen first."""
    statement = (
        select(IAMDevice)
        .where(
            IAMDevice.user_id == user_id,
            IAMDevice.revoked_at.is_(None),
            IAMDevice.known.is_(True),
        )
        .order_by(IAMDevice.last_seen_at.desc())
        .limit(100)
    )
    return list(session().scalars(statement))


def get_device(user_id: UUID, device_id: UUID | None) -> IAMDevice:
    """Return one device of the user. Raises NotFound."""
    found = session().scalar(
        select(IAMDevice).where(
            IAMDevice.user_id == user_id,
            IAMDevice.id == device_id,
            IAMDevice.revoked_at.is_(None),
        )
    )
    if found is None:
        raise NotFound
    return found


def rename_device(device: IAMDevice, name: str, *, actor: Actor) -> None:
    """Give a device a name of the person's choice."""
    before, device.name = device.name, name
    record(
        events.DEVICE_RENAMED,
        resource=device,
        changes={"name": [before, name]},
        actor=actor,
        device=name,
    )


def revoke_device(device: IAMDevice, *, actor: Actor) -> None:
    """Forget a device; the caller ends its sessions."""
    device.revoked_at = clock.now()
    device.trusted_until = None
    record(events.DEVICE_REVOKED, resource=device, actor=actor, device=device.name)


def describe(user_agent: str | None) -> tuple[str, str, str]:
    """Return browser, operating system and kind (desktop, mobile, other) in plain words."""
    found = parse((user_agent or "")[:400])
    browser = found.user_agent.family if found.user_agent else N_("Unknown browser")
    system = found.os.family if found.os else N_("unknown system")
    kind = "mobile" if system in _MOBILE else "desktop" if found.os else "other"
    return browser[:60], system[:60], kind


def default_name(browser: str, system: str) -> str:
    """Return the name of a device until its owner gives it one; as stored, in English."""
    return (N_("%(browser)s on %(system)s") % {"browser": browser, "system": system})[:80]


def _revived(user_id: UUID, browser: bytes) -> IAMDevice | None:
    # One row per person and browser: a revoked one comes back as if never seen.
    device = session().scalar(
        select(IAMDevice).where(IAMDevice.user_id == user_id, IAMDevice.browser_digest == browser)
    )
    if device is not None:
        device.revoked_at = None
        device.known = False
        device.first_seen_at = clock.now()
    return device


def _new_device(user_id: UUID, browser: bytes, at: datetime, actor: Actor) -> IAMDevice:
    name, system, kind = describe(actor.user_agent)
    return IAMDevice(
        tenant_id=actor.tenant_id,
        user_id=user_id,
        browser_digest=browser,
        name=default_name(name, system),
        browser=name,
        os=system,
        kind=kind,
        known=False,
        first_seen_at=at,
        last_seen_at=at,
    )
