"""The one sign-in gate: every way in ends here (DESIGN section 5).

A producer shows what it proved (`Shown`); `enter` decides what is still missing and is
the only maker of sessions, `complete_factor` and `onwards` take a pending one further.
Refuses to check any proof itself: that is the producers' business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NoReturn

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...authz import services_rbac
from ...authz.grants import Grants
from ...core import clock, signals
from ...core.actor import Actor
from ...core.db import after_commit
from ...core.runtime import is_changed, state
from ...risk import services_devices
from ...tenancy.services_settings import effective, overrides
from .. import liveness
from ..accounts import services_notices
from ..accounts.services_directory import get_user
from ..errors import AddressRefused, InvalidCredentials
from ..liveness import may_enter
from ..mfa import services_factors
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMUserAccount
from ..passwords import services_password
from ..principal import Principal
from ..sessions import services_device_trust, services_session_policy, services_sessions
from ..sessions.services_session_lookup import ACTIVE, PENDING
from ..sessions.services_sessions import SignIn
from ..settings import AuthSettings
from . import services_login_rows as rows
from .services_login_rows import Account, Device
from .services_policy import (
    AGAIN,
    DONE,
    ENROL,
    MFA,
    PASSWORD_STAGE,
    VERIFY,
    EnrolledFactors,
    mfa_policy,
    missing_stage,
    second_factor_shown,
)

PASSWORD, PASSKEY, LINK, CODE, SSO = "password", "passkey", "link", "code", "sso"
RECOVERY = "recovery"
PRODUCERS = (PASSWORD, PASSKEY, LINK, CODE, SSO, RECOVERY)
Person = IAMUserAccount | Account


@dataclass(frozen=True, slots=True)
class Shown:
    """What a way in has proved: `amr` in RFC 8176 names (`email` for a mailed link or code,
    `fed` for another service's word).

    Raises ValueError for a producer that the tests of the gate do not know.
    """

    producer: str
    amr: tuple[str, ...]
    acr: str = "aal1"

    def __post_init__(self) -> None:
        if self.producer not in PRODUCERS:
            raise ValueError(f"unknown producer: {self.producer}")


@dataclass(frozen=True, slots=True)
class Entry:
    """The browser somebody enters by, and where they want to go."""

    browser: bytes
    remember: bool = False
    next_url: str | None = None
    replaces: Principal | None = None


def enter(
    user: Account, shown: Shown, entry: Entry, device: Device | None, *, actor: Actor
) -> SignIn:
    """Open a session, full or pending, for an account as it was read; joins the transaction.

    Raises InvalidCredentials where account or tenant may not act or changed since they were
    read, SessionLimitReached, and what a host's hook raises.
    """
    at = clock.now()
    if not may_enter(user.status, user.tenant_status):
        raise InvalidCredentials
    actor = actor.acting_as(kind="user", user_id=user.id)
    kinds = services_session_policy.kinds_of(user.actor_type, grants_of(user).roles)
    if not services_session_policy.may_come_from(kinds, user.tenant_settings, actor.ip):
        _refuse_address(user, actor)
    if entry.replaces is not None:
        services_sessions.end_quietly(entry.replaces.session_id, "replaced")
    device, cookie = _seen(user, device, entry, at, actor)
    stage = _missing(user, grants_of(user), shown.amr, shown.acr, device, at)
    if stage == DONE:
        return replace(_admit(user, shown, entry, device, at, actor), device_cookie=cookie)
    if not rows.hold(user):
        raise InvalidCredentials
    signed = _open(user, shown, entry, device, PENDING, stage, actor)
    resource = ("user_account", user.id)
    record(events.LOGIN_STAGE_REACHED, resource=resource, actor=actor, stage=stage,
           producer=shown.producer)  # fmt: skip
    return replace(signed, device_cookie=cookie)


def complete_factor(principal: Principal, *, method: str, acr: str, actor: Actor) -> SignIn:
    """Take a pending sign-in onwards after a factor was proved; joins the transaction.

    `method` is the RFC 8176 name of what was shown. Raises NotFound where the
    pending session is gone (used twice, replaced, timed out), InvalidCredentials
    where the account may no longer act.
    """
    amr = tuple(dict.fromkeys((*principal.amr, method)))
    return onwards(principal, amr=amr, acr=max(principal.acr, acr), actor=actor)


def onwards(principal: Principal, *, amr: tuple[str, ...], acr: str, actor: Actor) -> SignIn:
    """Ask again what a pending sign-in still needs, after one of its stages was met.

    Joins the transaction. Raises what `complete_factor` raises, SessionLimitReached.
    """
    at = clock.now()
    user = owner(principal)
    device = _device_of(principal)
    stage = _missing(user, principal.grants, amr, acr, device, at)
    if stage != DONE:
        return services_sessions.rotate(
            principal.session_id,
            (PENDING,),
            from_stage=principal.stage,
            stage=stage,
            amr=list(amr),
            acr=acr,
        )
    generation = None
    if device is not None:
        generation = services_devices.rotate(device, actor.generation, at, actor)
    signed = services_sessions.activate(principal, amr=amr, acr=acr, at=at, actor=actor)
    first = user.last_login_at is None
    user.last_login_at = at
    _finish(signed, user, device, amr, acr, first=first, at=at, actor=actor)
    return replace(signed, generation=generation)


def owner(principal: Principal) -> IAMUserAccount:
    """Return the account of a pending sign-in. Raises InvalidCredentials where it may not act."""
    user = services_sessions.owner(principal)
    if not may_enter(user.status, services_sessions.tenant_of(user).status):
        raise InvalidCredentials
    return user


def _refuse_address(user: Account, actor: Actor) -> NoReturn:
    record(events.IP_REFUSED, resource=("user_account", user.id), status=DENIED, actor=actor,
           reason=services_session_policy.SIGN_IN)  # fmt: skip
    raise AddressRefused


def _admit(
    user: Account, shown: Shown, entry: Entry, device: Device, at: datetime, actor: Actor
) -> SignIn:
    if not rows.admit(user, at) or not services_devices.hold_trust(device, actor):
        raise InvalidCredentials
    # The device before the session that names it: the other way round, its removal and
    # this could wait for each other.
    generation = services_devices.rotate(device, actor.generation, at, actor)
    signed = _open(user, shown, entry, device, ACTIVE, DONE, actor)
    first = user.last_login_at is None
    _finish(signed, user, device, shown.amr, shown.acr, first=first, at=at, actor=actor)
    return replace(signed, generation=generation)


def _open(
    user: Account, shown: Shown, entry: Entry, device: Device, kind: str, stage: str, actor: Actor
) -> SignIn:
    return services_sessions.open_session(
        user,
        state=kind,
        stage=stage,
        amr=shown.amr,
        acr=shown.acr,
        device_id=device.id,
        remember=entry.remember,
        next_url=entry.next_url,
        actor=actor,
    )


def _finish(
    signed: SignIn,
    user: Person,
    device: Device | None,
    amr: tuple[str, ...],
    acr: str,
    *,
    first: bool,
    at: datetime,
    actor: Actor,
) -> None:
    hooks = state().hooks
    if is_changed(hooks, "may_sign_in"):
        hooks.may_sign_in(get_user(user.id))
    is_new = device is not None and not device.known
    device_id = device.id if device is not None else None
    actor = actor.acting_as(session_id=signed.session_id, device_id=device_id)
    record(
        events.LOGIN_SUCCEEDED,
        resource=("user_account", user.id),
        actor=actor,
        amr=amr,
        acr=acr,
        device_id=device_id,
        new_device=is_new,
    )
    if device is not None and is_new:
        _add_device(device, user, first=first, at=at, actor=actor)
    session_id = str(signed.session_id)
    after_commit(lambda: signals.user_signed_in.send(str(user.id), session_id=session_id))


def _add_device(device: Device, user: Person, *, first: bool, at: datetime, actor: Actor) -> None:
    record(events.DEVICE_ADDED, resource=("device", device.id), actor=actor)
    if not first:
        services_notices.new_device(get_user(user.id), at=at, actor=actor)


def _seen(
    user: Account, device: Device | None, entry: Entry, at: datetime, actor: Actor
) -> tuple[Device, str | None]:
    """Return the device, and the cookie of a new one where the browser's was copied.

    A cookie that was found out is never renewed: its copy would be as good again.
    """
    known = device is not None and device.known
    if device is not None and known and not services_devices.is_stale(device, actor.generation, at):
        return device, None
    if device is not None and known:
        services_devices.distrust_copied(device.id, actor=actor)
        services_sessions.revoke_device(device.id, actor=actor)  # one of them is the thief's
        services_notices.device_cookie_reused(get_user(user.id), at=at, actor=actor)
    browser, cookie = entry.browser, None
    if known or actor.generation < services_devices.newest(entry.browser):
        cookie, browser = services_devices.new_browser()
        actor = actor.acting_as(generation=0)
    found = services_devices.remember_device(user.id, browser, actor=actor)
    return Device(found.id, known=False, generation=found.generation), cookie


def _device_of(principal: Principal) -> Device | None:
    if principal.device_id is None:
        return None
    found = services_devices.get_device(principal.user_id, principal.device_id)
    return rows.device_from(found)


def _missing(
    user: Person,
    grants: Grants,
    amr: tuple[str, ...],
    acr: str,
    device: Device | None,
    at: datetime,
) -> str:
    if _must_verify(user):
        return VERIFY
    if amr[0] == RECOVERY:  # enrols a factor, and never signs in by itself (I1, I2)
        return AGAIN if second_factor_shown(amr, acr) else ENROL
    stage = _second_step(user, grants, amr, acr, device, at)
    if stage == DONE and amr[0] == "pwd" and services_password.is_expired(user, at):
        return PASSWORD_STAGE
    return stage


def _must_verify(user: Person) -> bool:
    if user.status == liveness.PENDING:
        return True
    required = effective(AuthSettings).EMAIL_VERIFICATION_REQUIRED
    return required and bool(user.email) and not user.email_verified


def _second_step(
    user: Person,
    grants: Grants,
    amr: tuple[str, ...],
    acr: str,
    device: Device | None,
    at: datetime,
) -> str:
    proved = second_factor_shown(amr, acr)
    if proved and acr != "aal1":
        return DONE  # whatever the policy; and no look at the factors (X3)
    policy = mfa_policy(grants, user.actor_type)
    factors = services_factors.mfa_state(user.id)
    stage = missing_stage(policy, factors, proved=proved, acr=acr)
    trusted = device is not None and services_device_trust.holds(device, at)
    if stage == MFA and policy != "required" and trusted:
        return DONE  # by the first factor alone: such a session meets no step-up (F2)
    if stage == ENROL and _in_grace(user, at):
        stage = DONE
    if user.mfa_enrolment_due and not factors.any_active:
        return _enrol_anew(user, amr)
    if stage == DONE and not proved and _is_strange(user, grants, device):
        return _confirm_device(user, factors, amr)
    return stage


def _enrol_anew(user: Person, amr: tuple[str, ...]) -> str:
    # Every factor was lost, and none enrolled since. Whoever knows the password alone must
    # not be the one to enrol: the mailbox is asked for first.
    reachable = bool(user.email) and user.email_verified
    return VERIFY if reachable and "email" not in amr else ENROL


def _is_strange(user: Person, grants: Grants, device: Device | None) -> bool:
    own = user.tenant_settings if isinstance(user, Account) else overrides()
    kinds = services_session_policy.kinds_of(user.actor_type, grants.roles)
    policy = AuthSettings.current().strictest_policy(kinds, own)
    return policy.mfa_on_new_device and (device is None or not device.known)


def _confirm_device(user: Person, factors: EnrolledFactors, amr: tuple[str, ...]) -> str:
    # By the strongest thing the person has: a factor, the mailbox, or a factor enrolled now.
    if factors.any_active:
        return MFA
    if "email" in amr:
        return DONE
    return VERIFY if user.email and user.email_verified else ENROL


def _in_grace(user: Person, at: datetime) -> bool:
    """Return whether enrolment may still be put off; the time starts once, at its first demand."""
    days = effective(MfaSettings).MFA_GRACE_DAYS
    if not days:
        return False
    until = user.mfa_grace_until
    if until is None:
        until = at + timedelta(days=days)
        rows.start_grace(user.id, until)
    return at < until


def grants_of(user: Account) -> Grants:
    """Return the person's rights; ask outside a transaction first, so that they are remembered."""
    return services_rbac.resolve(
        user.tenant_id,
        user.id,
        tenant_version=user.tenant_version,
        user_version=user.authz_version,
        at=clock.now(),
    )
