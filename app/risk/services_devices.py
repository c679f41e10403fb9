"""Devices: the browsers a person signs in from, recognised by a signed random cookie (J3).

The cookie proves nothing about who someone is. It gives a known browser its own
budget of attempts, names sessions for people, and shows when a browser is new. Its
generation grows with sign-ins: one that is behind comes from a copy. Trust skips a
second step at sign-in (F2); whether it may, the sign-in gate decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, cast
from uuid import UUID

from sqlalchemy import ScalarSelect, Table, bindparam, func, select, update
from ua_parser import parse

from ..audit import events
from ..audit.services_audit import DENIED, record
from ..core import clock, rng
from ..core.actor import Actor
from ..core.crypto import keyring, token_digest
from ..core.db import run_prepared, session
from ..core.errors import NotFound
from ..core.i18n import N_
from .models import IAMDevice
from .settings import RiskSettings

# The grace in which an older generation may still come back: parallel tabs, a lost answer.
DEVICE_ROTATE_MINUTES = 15
_LABEL = "device-cookie"
_D = cast(Table, IAMDevice.__table__)
_ITSELF = (
    _D.c.tenant_id == bindparam("tenant"),
    _D.c.id == bindparam("device"),
    _D.c.revoked_at.is_(None),
)
_ROTATE = (
    update(_D)
    .where(*_ITSELF, _D.c.generation == bindparam("same_generation"))
    .values(
        known=True,
        generation=bindparam("new_generation"),
        rotated_at=bindparam("new_rotated_at"),
        last_seen_at=bindparam("at"),
        last_ip=bindparam("ip"),
    )
)
_HOLD = (
    select(_D.c.id)
    .where(*_ITSELF, _D.c.trusted_until == bindparam("same_trust"), _D.c.known.is_(True))
    .with_for_update()
)
_REASON = "the actor's tenant is a parameter"
_ANY_ACCOUNT = "a browser's cookie is one for every account and tenant that is used in it"
_MOBILE = {"Android", "iOS", "Windows Phone"}


@dataclass(frozen=True, slots=True)
class Browser:
    """What a device cookie says: the digest that names the browser, and its generation."""

    digest: bytes
    generation: int


class Known(Protocol):
    """What decisions ask about a device, whether it was loaded as an entity or as a plain row."""

    @property
    def id(self) -> UUID: ...

    @property
    def known(self) -> bool: ...

    @property
    def generation(self) -> int: ...

    @property
    def rotated_at(self) -> datetime | None: ...

    @property
    def trusted_until(self) -> datetime | None: ...

    @property
    def newest(self) -> int: ...


def new_cookie() -> str:
    """Return a signed cookie value for a browser that has none."""
    return _signed(rng.token(), 0)


def new_browser() -> tuple[str, bytes]:
    """Return a cookie for a browser that is to be told from all others, and its digest."""
    secret = rng.token()
    return _signed(secret, 0), token_digest(secret)


def read_cookie(value: str | None) -> Browser | None:
    """Return the browser that a cookie names, or None for a missing or forged one."""
    found = _opened(value)
    return Browser(token_digest(found[0]), found[1]) if found else None


def renewed_cookie(value: str | None, generation: int) -> str | None:
    """Return the same browser's cookie in a new generation; None for a missing or forged one."""
    found = _opened(value)
    return _signed(found[0], generation) if found else None


def is_stale(device: Known, presented: int, at: datetime) -> bool:
    """Return whether a cookie of generation `presented` is a copy that was left behind.

    Its holder, or somebody who copied it, has signed in since, to this account or another,
    and longer ago than a lost answer explains.
    """
    return presented < max(device.generation, device.newest) and _is_due(device, at)


def newest_of_browser(digest: Any) -> ScalarSelect[int]:
    """Return, as part of a statement, the newest generation that any account has seen."""
    every = _D.alias("every_device")
    found = select(func.coalesce(func.max(every.c.generation), 0))
    return found.where(every.c.browser_digest == digest).scalar_subquery()


_NEWEST = select(newest_of_browser(bindparam("browser", type_=_D.c.browser_digest.type)))


def newest(browser: bytes) -> int:
    """Return the newest generation of a browser's cookie that any account has seen."""
    found = run_prepared(_NEWEST, {"browser": browser}, reason=_ANY_ACCOUNT)
    return int(found.scalar_one())


def is_trusted(device: Known, at: datetime, *, days: int) -> bool:
    """Return whether the device is trusted at `at`; `days` is DEVICE_TRUST_DAYS now in force.

    So a lower setting ends what a higher one allowed, and 0 ends all of it.
    """
    until = device.trusted_until
    return device.known and until is not None and at < until <= at + timedelta(days=days)


def rotate(device: Known, presented: int, at: datetime, actor: Actor) -> int | None:
    """Note a complete sign-in: the device is known, its cookie gets the returned generation.

    None where the cookie stays. Written every DEVICE_ROTATE_MINUTES at most; joins the
    transaction. Compare-and-swap: of parallel sign-ins one advances the generation.
    """
    if device.known and not _is_due(device, at):
        # The answer that brought the newest one was lost: it is given again.
        return device.generation if presented < device.generation else None
    new = max(presented, device.generation) + 1
    parameters = {
        "tenant": actor.tenant_id,
        "device": device.id,
        "same_generation": device.generation,
        "new_generation": new,
        "new_rotated_at": at,
        "at": at,
        "ip": actor.ip,
    }
    return new if run_prepared(_ROTATE, parameters, reason=_REASON).rowcount else None


def hold_trust(device: Known, actor: Actor) -> bool:
    """Hold a trusted device for a sign-in that relies on it; False where its trust has ended.

    It was read before the password was checked: what ends trust meanwhile must win (AT-071).
    """
    if device.trusted_until is None:
        return True
    parameters = {
        "tenant": actor.tenant_id,
        "device": device.id,
        "same_trust": device.trusted_until,
    }
    return run_prepared(_HOLD, parameters, reason=_REASON).first() is not None


def distrust_copied(device_id: UUID, *, actor: Actor) -> None:
    """Take away what a device had: an older generation of its cookie came back."""
    _set([IAMDevice.id == device_id], known=False, trusted_until=None)
    record(events.DEVICE_COOKIE_REUSED, resource=("device", device_id), status=DENIED, actor=actor)


def trust(device_id: UUID, *, days: int, actor: Actor) -> None:
    """Trust a known device for `days`. Raises NotFound where it is gone or not known."""
    device = session().scalar(
        select(IAMDevice)
        .where(IAMDevice.id == device_id, IAMDevice.revoked_at.is_(None), IAMDevice.known.is_(True))
        .execution_options(populate_existing=True)
    )
    if device is None:
        raise NotFound
    device.trusted_until = clock.now() + timedelta(days=days)
    record(
        events.DEVICE_TRUSTED,
        resource=device,
        actor=actor,
        device=device.name,
        expires_at=device.trusted_until,
    )


def end_trust(user_id: UUID, device_id: UUID | None = None) -> int:
    """End the trust in one or all devices of a person; return how many lost it (AT-071).

    The caller records why.
    """
    one = [] if device_id is None else [IAMDevice.id == device_id]
    which = [IAMDevice.user_id == user_id, IAMDevice.trusted_until.is_not(None), *one]
    return _set(which, trusted_until=None)


def withdraw_trust(user_id: UUID, device_id: UUID | None = None, *, actor: Actor) -> int:
    """End trust because the person said so; return how many devices lost it."""
    ended = end_trust(user_id, device_id)
    if ended:
        resource = ("device", device_id) if device_id else ("user_account", user_id)
        record(events.DEVICE_TRUST_ENDED, resource=resource, actor=actor, count=ended)
    return ended


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


def revoke_others(user_id: UUID, keep: UUID | None, *, actor: Actor) -> int:
    """Forget every device of a person but `keep`; the caller ends their sessions."""
    kept = [] if keep is None else [IAMDevice.id != keep]
    which = [IAMDevice.user_id == user_id, IAMDevice.revoked_at.is_(None), *kept]
    ended = _set(which, revoked_at=clock.now(), trusted_until=None)
    if ended:
        resource = ("user_account", user_id)
        record(events.DEVICE_REVOKED, resource=resource, actor=actor, count=ended)
    return ended


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
        generation=0,
    )


def _is_due(device: Known, at: datetime) -> bool:
    grace = timedelta(minutes=DEVICE_ROTATE_MINUTES)
    return device.rotated_at is None or device.rotated_at <= at - grace


def _signed(secret: str, generation: int) -> str:
    return str(keyring().serializer(_LABEL).dumps([secret, generation]))


def _opened(value: str | None) -> tuple[str, int] | None:
    if not value or len(value) > 512:
        return None
    max_age = RiskSettings.current().DEVICE_COOKIE_DAYS * 86400
    ok, content = keyring().serializer(_LABEL).loads_unsafe(value, max_age=max_age)
    match content if ok else None:
        case [str() as secret, int() as generation]:
            return secret, generation
        case str() as secret:  # as issued before generations
            return secret, 0
    return None


def _set(which: list[Any], **values: Any) -> int:
    result: Any = session().execute(
        update(IAMDevice).where(*which).values(**values),
        execution_options={"synchronize_session": False},
    )
    return int(result.rowcount)
