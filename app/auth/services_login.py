"""The one sign-in gate: every way in ends here (DESIGN section 5).

`sign_in_with_password` charges, verifies, then asks the gate what is missing;
`complete_factor` comes back to the same gate. Only `_admit` creates a full
session. These flow functions own their transactions: a charge must be committed
before anything is verified, and a slow hash must not hold a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID

from ..audit import events
from ..audit.services_audit import DENIED, FAILURE, record
from ..authz import services_rbac
from ..authz.grants import Grants
from ..core import clock, hashing, signals
from ..core.actor import Actor
from ..core.db import after_commit, end_read, transaction
from ..core.errors import TooManyAttempts, Unavailable
from ..core.runtime import is_changed, state
from ..risk import services_devices, services_limits
from ..risk.services_limits import Bucket, Refusal, bucket
from . import services_factors, services_notices, services_password, services_sessions
from . import services_login_rows as rows
from .errors import InvalidCredentials
from .identity import canonical_username, mask_identifier
from .liveness import may_act
from .models import IAMUserAccount
from .principal import Principal
from .services_directory import get_user, login_key
from .services_login_rows import Account, Device
from .services_policy import DONE, ENROL, PASSWORD_STAGE, mfa_policy, missing_stage
from .services_session_lookup import ACTIVE, PENDING
from .services_sessions import SignIn
from .settings_mfa import MfaSettings

Person = IAMUserAccount | Account
PASSWORD = "pwd"  # noqa: S105 - the RFC 8176 name of the method


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """What a person typed, and the browser they typed it in."""

    username: str
    password: str
    remember: bool
    next_url: str | None
    browser: bytes
    replaces: Principal | None = None


def sign_in_with_password(attempt: PasswordAttempt, *, actor: Actor) -> SignIn:
    """Check a password and open a session, full or pending.

    Raises InvalidCredentials (one answer for every reason), TooManyAttempts,
    SessionLimitReached, Unavailable.
    """
    user, device = rows.find(attempt.username, attempt.browser)
    end_read()
    buckets = _password_buckets(attempt.username, user, device, actor)
    refusal = _charge(attempt, buckets, actor)
    if refusal is not None:  # nothing is checked, and nothing shows it (AT-011)
        _verify(None, attempt.password, [item for item in buckets if not item.silent])
        _refuse_unseen(attempt, user, refusal, actor)
    ok, new_hash = _verify(user, attempt.password, buckets)
    if user is not None and ok:
        _grants_of(user)  # rights resolved inside a transaction would not be remembered
        end_read()
    with transaction():
        if user is not None and ok:  # what changed while the hash was computed counts
            checked, user = user.password_hash, rows.lock(user.id)
            ok = user is not None and user.password_hash == checked
        if user is None or not ok or not may_act(user.status, user.tenant_status):
            _refuse(attempt, user, known=ok, actor=actor)
            raise InvalidCredentials
        actor = actor.acting_as(kind="user", user_id=user.id)
        _rehash(user, new_hash, actor)
        signed = _enter(user, device, attempt, actor)
        _settle(buckets)  # last: other sign-ins wait for the counters they share
    return signed


def complete_factor(principal: Principal, *, method: str, acr: str, actor: Actor) -> SignIn:
    """Take a pending sign-in onwards after a factor was proved; joins the transaction.

    `method` is the RFC 8176 name of what was shown. Raises NotFound where the
    pending session is gone (used twice, replaced, timed out), InvalidCredentials
    where the account may no longer act.
    """
    user = _owner(principal)
    amr = tuple(dict.fromkeys((*principal.amr, method)))
    return _onwards(principal, user, amr=amr, acr=max(principal.acr, acr), actor=actor)


def renew_password(principal: Principal, password: str, *, actor: Actor) -> SignIn:
    """Replace a password that is past its age, and take the pending sign-in onwards.

    Owns its transactions. Raises PasswordRefused, NotFound, InvalidCredentials.
    """
    new = services_password.prepare(_owner(principal), password)
    with transaction():
        user = _owner(principal)
        services_password.store(user, new, actor)
        record(events.PASSWORD_CHANGED, resource=user, actor=actor)
        return _onwards(principal, user, amr=principal.amr, acr=principal.acr, actor=actor)


def _owner(principal: Principal) -> IAMUserAccount:
    user = services_sessions.owner(principal)
    if not _may_act(user):
        raise InvalidCredentials
    return user


def _onwards(
    principal: Principal, user: IAMUserAccount, *, amr: tuple[str, ...], acr: str, actor: Actor
) -> SignIn:
    at = clock.now()
    proved = len(amr) > 1
    stage = _missing(user, principal.grants, proved=proved, acr=acr, at=at)
    if stage != DONE:
        return services_sessions.rotate(
            principal.session_id, (PENDING,), stage=stage, amr=list(amr), acr=acr
        )
    signed = services_sessions.activate(principal, amr=amr, acr=acr, at=at, actor=actor)
    device = Device(principal.device_id, known=False) if principal.device_id else None
    _admitted(user, signed.session_id, device and _proved(device), amr, acr, at, actor)
    return signed


def _password_buckets(
    username: str, user: Account | None, device: Device | None, actor: Actor
) -> list[Bucket]:
    """Return the counters of an attempt.

    The typed name decides what shows, whether an account bears it or not (AT-011). The
    account's own counters, shared by its name and its e-mail address (AT-007), work in
    silence. A known device has its own of both kinds, the hundred of NIST SP 800-63B-4
    3.2.2 included: strangers cannot end it, and its success does not clear theirs.
    """
    name = name_key(username)
    if user is not None and device is not None and device.known:
        return [
            bucket("login.device", device.id, actor=actor),
            bucket("password.absolute", user.id, device.id, actor=actor),
        ]
    whose = user.id if user is not None else name
    return [
        bucket("login.name", name, actor=actor),
        bucket("login.account", whose, actor=actor, silent=True),
        bucket("password.absolute", whose, actor=actor, silent=True),
        Bucket("login.ip", services_limits.network_of(actor.ip)),
        bucket("login.tenant", actor=actor),
        Bucket("login.global", ""),
    ]


def name_key(username: str) -> str:
    """Return what `login.name` counts a typed name by: every spelling of one name is one."""
    return ":".join(login_key(username) or ("none", canonical_username(username)))


def _charge(attempt: PasswordAttempt, buckets: list[Bucket], actor: Actor) -> Refusal | None:
    try:
        return services_limits.charge_all(buckets)
    except TooManyAttempts as error:
        with transaction():
            record(
                events.LOGIN_THROTTLED,
                status=DENIED,
                error=error.code,
                actor=actor,
                identifier=mask_identifier(attempt.username),
                scope=error.details["scope"],
                retry_after=error.retry_after,
            )
        raise


def _refuse_unseen(
    attempt: PasswordAttempt, user: Account | None, refusal: Refusal, actor: Actor
) -> NoReturn:
    # In the same steps as `_refuse`: the evidence is written once the work is rolled back.
    with transaction():
        record(
            events.LOGIN_THROTTLED,
            resource=("user_account", user.id) if user is not None else None,
            status=DENIED,
            error=TooManyAttempts.code,
            actor=actor,
            identifier=mask_identifier(attempt.username) if user is None else user.username,
            scope=refusal.scope,
            retry_after=refusal.retry_after,
        )
        raise InvalidCredentials


def _verify(user: Account | None, password: str, buckets: list[Bucket]) -> tuple[bool, str | None]:
    # An account without a password, or none at all, costs the same dummy hash (AT-012, AT-013).
    stored = user.password_hash if user is not None else None
    hasher = hashing.current()
    try:
        found = hasher.verify(stored, password)
        return found.ok, hasher.hash(password) if found.needs_rehash else None
    except Unavailable:
        with transaction():
            services_limits.give_back(buckets)
        raise


def _refuse(attempt: PasswordAttempt, user: Account | None, *, known: bool, actor: Actor) -> None:
    reason = "unknown_user" if user is None else "account_status" if known else "wrong_password"
    record(
        events.LOGIN_FAILED,
        resource=("user_account", user.id) if user is not None else None,
        status=FAILURE,
        error=InvalidCredentials.code,
        actor=actor,
        identifier=mask_identifier(attempt.username) if user is None else user.username,
        reason=reason,
    )


def _settle(buckets: list[Bucket]) -> None:
    own = {"login.name", "login.account", "login.device", "password.absolute"}
    services_limits.clear_all([item for item in buckets if item.scope in own])
    shared = [item for item in buckets if item.scope not in own]
    if shared:
        services_limits.give_back(shared)


def _enter(user: Account, device: Device | None, attempt: PasswordAttempt, actor: Actor) -> SignIn:
    at = clock.now()
    if attempt.replaces is not None:
        services_sessions.end_quietly(attempt.replaces.session_id, "replaced")
    device = _seen(user, device, attempt, at, actor)
    stage = _missing(user, _grants_of(user), proved=False, acr="aal1", at=at)
    full = stage == DONE
    if full:
        services_sessions.make_room(user.id, user.actor_type, actor=actor)
    signed = services_sessions.open_session(
        user,
        state=ACTIVE if full else PENDING,
        stage=stage,
        amr=(PASSWORD,),
        acr="aal1",
        device_id=device.id,
        remember=attempt.remember,
        next_url=attempt.next_url,
        actor=actor,
    )
    if full:
        _admitted(user, signed.session_id, _proved(device), (PASSWORD,), "aal1", at, actor)
    else:
        resource = ("user_account", user.id)
        record(events.LOGIN_PASSWORD_ACCEPTED, resource=resource, actor=actor, stage=stage)
    return signed


def _seen(
    user: Account, device: Device | None, attempt: PasswordAttempt, at: datetime, actor: Actor
) -> Device:
    if device is not None and device.known and services_devices.note_seen(device.id, at, actor):
        return device
    found = services_devices.remember_device(user.id, attempt.browser, actor=actor)
    return Device(found.id, known=False)


def _proved(device: Device) -> Device:
    """Make the device of a complete sign-in a known one; return what it was before."""
    return device if device.known else Device(device.id, not services_devices.mark_known(device.id))


def _missing(user: Person, grants: Grants, *, proved: bool, acr: str, at: datetime) -> str:
    stage = missing_stage(
        mfa_policy(grants, user.actor_type),
        services_factors.mfa_state(user.id),
        proved=proved,
        acr=acr,
    )
    if stage == ENROL and _in_grace(user, at):
        stage = DONE
    if stage == DONE and services_password.is_expired(user, at):
        return PASSWORD_STAGE
    return stage


def _in_grace(user: Person, at: datetime) -> bool:
    """Return whether enrolment may still be put off; the time starts once, at its first demand."""
    days = MfaSettings.current().MFA_GRACE_DAYS
    if not days:
        return False
    until = user.mfa_grace_until
    if until is None:
        until = at + timedelta(days=days)
        rows.start_grace(user.id, until)
    return at < until


def _admitted(
    user: Person,
    session_id: UUID,
    device: Device | None,
    amr: tuple[str, ...],
    acr: str,
    at: datetime,
    actor: Actor,
) -> None:
    hooks = state().hooks
    if is_changed(hooks, "may_sign_in"):
        hooks.may_sign_in(get_user(user.id))
    rows.note_login(user.id, at)
    device_id, is_new = (device.id, not device.known) if device else (None, False)
    actor = actor.acting_as(session_id=session_id, device_id=device_id)
    record(
        events.LOGIN_SUCCEEDED,
        resource=("user_account", user.id),
        actor=actor,
        amr=amr,
        acr=acr,
        device_id=device_id,
        new_device=is_new,
    )
    if is_new and device is not None:
        record(events.DEVICE_ADDED, resource=("device", device.id), actor=actor)
    if is_new and user.last_login_at is not None:  # as it was before this sign-in
        services_notices.new_device(get_user(user.id), at=at, actor=actor)
    after_commit(lambda: signals.user_signed_in.send(str(user.id), session_id=str(session_id)))


def _grants_of(user: Account) -> Grants:
    return services_rbac.resolve(
        user.tenant_id,
        user.id,
        tenant_version=user.tenant_version,
        user_version=user.authz_version,
        at=clock.now(),
    )


def _may_act(user: IAMUserAccount) -> bool:
    return may_act(user.status, services_sessions.tenant_of(user).status)


def _rehash(user: Account, new_hash: str | None, actor: Actor) -> None:
    if new_hash is None:
        return
    scheme = (user.password_hash or "$unknown").split("$")[1]
    rows.replace_hash(user.id, new_hash)
    resource = ("user_account", user.id)
    record(events.PASSWORD_REHASHED, resource=resource, actor=actor, from_scheme=scheme)
