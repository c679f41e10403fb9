"""Passwords: policy, history, change and confirmation (C3).

Checking a new password is slow (hashes, a look-up over the network), so it runs
before the transaction; the change itself is short. Links are `services_reset`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...authz import services_rbac
from ...core import clock, hashing, signals
from ...core.actor import Actor
from ...core.db import after_commit, end_read, session, transaction
from ...core.i18n import _
from ...core.ids import new_id
from ...risk import services_devices, services_limits
from ...risk.services_limits import bucket
from ...tenancy.services_settings import effective
from ..accounts import services_notices
from ..errors import InvalidCredentials, PasswordRefused
from ..models import IAMPasswordHistory, IAMUserAccount
from ..principal import Principal
from ..sessions import services_sessions
from ..sessions.services_session_lookup import ACTIVE
from ..sign_in.services_login_rows import Account
from ..sign_in.services_policy import mfa_policy
from . import breached, services_links
from .password_rules import PasswordPolicy, violations
from .settings_password import PasswordSettings


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password that passed the policy, hashed, for one account."""

    password_hash: str
    breach_checked: bool


def policy_for(user: IAMUserAccount) -> PasswordPolicy:
    """Return the policy that applies: shorter where a second factor is always required."""
    tenant = services_sessions.tenant_of(user)
    grants = services_rbac.resolve(
        user.tenant_id,
        user.id,
        tenant_version=tenant.authz_version,
        user_version=user.authz_version,
        at=clock.now(),
    )
    always = mfa_policy(grants, user.actor_type) == "required"
    return first_policy(mfa_required=always)


def policy_hints(policy: PasswordPolicy) -> list[str]:
    """Return the policy as sentences for people."""
    return [
        _(
            "At least %(count)s characters. A few unrelated words work well.",
            count=policy.min_length,
        ),
        _("Not a password you use elsewhere, and nothing easily guessed about you."),
    ]


def prepare(user: IAMUserAccount, password: str) -> NewPassword:
    """Check a new password and hash it; call outside a transaction.

    Raises PasswordRefused with the reasons, Unavailable where hashing is busy.
    """
    policy, settings = policy_for(user), effective(PasswordSettings)
    words = _context_words(user)
    old = _recent_hashes(user)
    end_read()
    _check_rules(password, words, policy)
    if any(hashing.current().verify(stored, password).ok for stored in old):
        raise _refused(_("You used this password before. Choose one you have not used here."))
    checked = _check_breached(password, settings)
    return NewPassword(hashing.current().hash(password), checked)


def prepare_first(names: Iterable[str], password: str, *, mfa_required: bool = True) -> NewPassword:
    """Check and hash the password of an account that does not exist yet.

    `names` are words it must not consist of. Raises PasswordRefused.
    """
    policy, settings = first_policy(mfa_required=mfa_required), effective(PasswordSettings)
    words = [*names, services_notices.brand()]
    end_read()
    _check_rules(password, words, policy)
    checked = _check_breached(password, settings)
    return NewPassword(hashing.current().hash(password), checked)


def change(
    principal: Principal, current: str, password: str, *, actor: Actor
) -> services_sessions.SignIn:
    """Change the signed-in person's password; every other session ends.

    An account that has none gets its first: the caller asks for fresh proof of both. Owns
    its transactions. Raises InvalidCredentials, TooManyAttempts, PasswordRefused.
    """
    user = services_sessions.owner(principal)
    if user.password_hash is not None:
        confirm_password(principal, current, actor=actor)
    new = prepare(user, password)
    with transaction():
        user = services_sessions.owner(principal)
        store(user, new, actor)
        record(events.PASSWORD_CHANGED, resource=user, actor=actor)
        services_sessions.revoke_all(
            user.id, "password_changed", except_id=principal.session_id, actor=actor
        )
        return services_sessions.rotate(principal.session_id, (ACTIVE,))


def confirm_password(principal: Principal, password: str, *, actor: Actor) -> None:
    """Check the signed-in person's password again, under its own limit (AT-032).

    Owns its transactions. Raises InvalidCredentials, TooManyAttempts.
    """
    user = services_sessions.owner(principal)
    stored = user.password_hash
    end_read()
    buckets = [
        bucket("reauth", principal.user_id, actor=actor),
        # The known device's own count: strangers' failures do not reach it (AT-008).
        bucket("password.absolute", principal.user_id, principal.device_id, actor=actor),
    ]
    services_limits.charge_recorded(buckets, actor=actor)
    ok = hashing.current().verify(stored, password).ok
    with transaction():
        if not ok:
            record(
                events.PASSWORD_CHANGE_FAILED,
                resource=("user_account", principal.user_id),
                status=FAILURE,
                error=InvalidCredentials.code,
                actor=actor,
                reason="wrong_password",
            )
            raise InvalidCredentials(_("That is not your current password."), field="current")
        services_limits.clear_all(buckets)


def is_expired(user: IAMUserAccount | Account, at: datetime) -> bool:
    """Return whether the password is past PASSWORD_MAX_AGE_DAYS (0: never)."""
    days = PasswordSettings.current().PASSWORD_MAX_AGE_DAYS
    if not days or user.password_hash is None:
        return False
    return at >= (user.password_changed_at or user.created_at) + timedelta(days=days)


def store(user: IAMUserAccount, new: NewPassword, actor: Actor) -> None:
    """Make a prepared password the account's own; outstanding links and trust in devices die.

    The person is told.
    """
    at = clock.now()
    services_links.drop(user)
    services_devices.end_trust(user.id)
    user.password_hash = new.password_hash
    user.password_changed_at = user.updated_at = at
    session().add(
        IAMPasswordHistory(
            id=new_id(),
            tenant_id=user.tenant_id,
            user_id=user.id,
            password_hash=new.password_hash,
            created_at=at,
        )
    )
    _trim_history(user)
    if not new.breach_checked and effective(PasswordSettings).PASSWORD_BREACH_CHECK:
        record(events.PASSWORD_BREACH_CHECK_UNAVAILABLE, resource=user, actor=actor)
    services_notices.password_changed(user, at=at, actor=actor)
    after_commit(lambda: signals.password_changed.send(str(user.id)))


def _trim_history(user: IAMUserAccount) -> None:
    session().flush()
    keep = max(effective(PasswordSettings).PASSWORD_HISTORY, 1)
    rows = session().scalars(
        select(IAMPasswordHistory.id)
        .where(IAMPasswordHistory.user_id == user.id)
        .order_by(IAMPasswordHistory.id.desc())
    )
    surplus = list(rows)[keep:]
    if surplus:
        session().execute(
            delete(IAMPasswordHistory)
            .where(IAMPasswordHistory.id.in_(surplus))
            .execution_options(synchronize_session=False)
        )


def _recent_hashes(user: IAMUserAccount) -> list[str]:
    count = effective(PasswordSettings).PASSWORD_HISTORY
    if not count:
        return []
    rows = session().scalars(
        select(IAMPasswordHistory.password_hash)
        .where(IAMPasswordHistory.user_id == user.id)
        .order_by(IAMPasswordHistory.id.desc())
        .limit(count)
    )
    known = list(rows)
    if user.password_hash and user.password_hash not in known:
        known.insert(0, user.password_hash)
    return known[:count]


def first_policy(*, mfa_required: bool) -> PasswordPolicy:
    """Return the policy of somebody who must, or need not, use a second factor."""
    settings = effective(PasswordSettings)
    least = settings.PASSWORD_MIN_LENGTH_WITH_MFA if mfa_required else settings.PASSWORD_MIN_LENGTH
    return PasswordPolicy(
        min_length=least,
        max_length=settings.PASSWORD_MAX_LENGTH,
        min_score=settings.PASSWORD_MIN_SCORE,
        require_upper=settings.PASSWORD_REQUIRE_UPPERCASE,
        require_lower=settings.PASSWORD_REQUIRE_LOWERCASE,
        require_digit=settings.PASSWORD_REQUIRE_DIGIT,
        require_symbol=settings.PASSWORD_REQUIRE_SYMBOL,
    )


def _check_rules(password: str, words: list[str], policy: PasswordPolicy) -> None:
    reasons = [item.message for item in violations(password, words, policy)]
    if reasons:
        raise PasswordRefused(field="password", reasons=reasons)


def _context_words(user: IAMUserAccount) -> list[str]:
    values = [
        user.username,
        user.email or "",
        user.first_name,
        user.last_name,
        user.display_name,
        services_notices.brand(),
        services_sessions.tenant_of(user).name,
    ]
    return [value for value in values if value]


def _check_breached(password: str, settings: PasswordSettings) -> bool:
    if not settings.PASSWORD_BREACH_CHECK:
        return True
    try:
        seen = breached.times_breached(
            password,
            url=settings.PASSWORD_BREACH_CHECK_URL,
            allow_private=settings.PASSWORD_BREACH_CHECK_ALLOW_PRIVATE,
        )
    except breached.BreachCheckUnavailable:
        return False
    if seen:
        raise _refused(_("This password appears in a known data breach. Choose another."))
    return True


def _refused(sentence: str) -> PasswordRefused:
    return PasswordRefused(field="password", reasons=[sentence])
