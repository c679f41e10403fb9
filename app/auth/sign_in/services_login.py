"""Signing in with a username and a password; what follows is the gate's decision (C1, C4, C5).

These flow functions own their transactions: a charge must be committed before anything
is verified, and a slow hash must not hold a connection.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...audit import events
from ...audit.services_audit import record
from ...core import hashing
from ...core.actor import Actor
from ...core.db import end_read, session, transaction
from ...core.errors import Unavailable
from ...risk import services_limits
from ...risk.services_limits import Bucket, Charged, bucket
from ..errors import InvalidCredentials
from ..liveness import may_enter
from ..passwords import services_password
from ..principal import Principal
from ..sessions.services_sessions import SignIn
from . import services_gate, services_guesses
from . import services_login_rows as rows
from .services_gate import Entry, Shown
from .services_login_rows import Account, Device

_SHOWN = Shown(services_gate.PASSWORD, ("pwd",))


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
    charged = services_guesses.charge(attempt.username, buckets, actor)
    if charged.refusal is not None:  # nothing is checked, and nothing shows it (AT-011)
        _verify(None, attempt.password, [item for item in buckets if not item.silent])
        services_guesses.refuse_unseen(attempt.username, user, charged.refusal, actor)
    ok, new_hash = _verify(user, attempt.password, buckets)
    if user is not None and ok:
        services_gate.grants_of(user)  # resolved in a transaction they would not be remembered
        end_read()
    with transaction():
        if user is None or not ok or not may_enter(user.status, user.tenant_status):
            _refuse(attempt, user, charged, known=ok, actor=actor)
            raise InvalidCredentials
        try:
            signed = services_gate.enter(user, _SHOWN, _entry(attempt), device, actor=actor)
        except InvalidCredentials:  # the account changed while the hash was computed
            _refuse(attempt, user, charged, known=True, actor=actor)
            raise
        _rehash(user, new_hash, actor.acting_as(kind="user", user_id=user.id))
        services_guesses.settle(buckets)  # last: other sign-ins wait for the counters they share
    return signed


def _entry(attempt: PasswordAttempt) -> Entry:
    return Entry(attempt.browser, attempt.remember, attempt.next_url, attempt.replaces)


def renew_password(principal: Principal, password: str, *, actor: Actor) -> SignIn:
    """Replace a password that is past its age, and take the pending sign-in onwards.

    Owns its transactions. Raises PasswordRefused, NotFound, InvalidCredentials.
    """
    new = services_password.prepare(services_gate.owner(principal), password)
    with transaction():
        user = services_gate.owner(principal)
        services_password.store(user, new, actor)
        record(events.PASSWORD_CHANGED, resource=user, actor=actor)
        session().flush()
        return services_gate.onwards(principal, amr=principal.amr, acr=principal.acr, actor=actor)


def _password_buckets(
    username: str, user: Account | None, device: Device | None, actor: Actor
) -> list[Bucket]:
    """Return the counters of an attempt, the hundred of NIST SP 800-63B-4 3.2.2 included."""
    shared = services_guesses.buckets(username, user, device, actor)
    if user is not None and device is not None and services_guesses.is_known(device, actor):
        return [*shared, bucket("password.absolute", user.id, device.id, actor=actor)]
    whose = services_guesses.whose(username, user)
    return [*shared, bucket("password.absolute", whose, actor=actor, silent=True)]


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


def _refuse(
    attempt: PasswordAttempt, user: Account | None, charged: Charged, *, known: bool, actor: Actor
) -> None:
    reason = "unknown_user" if user is None else "account_status" if known else "wrong_password"
    services_guesses.record_failed(attempt.username, user, reason, charged.counts, actor)


def _rehash(user: Account, new_hash: str | None, actor: Actor) -> None:
    if new_hash is None or not rows.replace_hash(user, new_hash):
        return
    scheme = (user.password_hash or "$unknown").split("$")[1]
    resource = ("user_account", user.id)
    record(events.PASSWORD_REHASHED, resource=resource, actor=actor, from_scheme=scheme)
