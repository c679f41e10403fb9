"""Passwords: policy, change, and single-use links that set one (C3, C6).

Checking a new password is slow (hashes, a look-up over the network), so it runs
before the transaction; the change itself is short. A link never signs anyone in
and never touches the second factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from ..audit import events
from ..audit.services_audit import FAILURE, record
from ..authz import services_rbac
from ..core import clock, hashing, rng, signals
from ..core.actor import Actor
from ..core.crypto import token_digest
from ..core.db import after_commit, end_read, session, transaction
from ..core.errors import TooManyAttempts
from ..core.i18n import _
from ..core.ids import new_id
from ..notify import messages
from ..risk import services_limits
from ..risk.services_limits import Bucket, bucket
from . import breached, services_notices, services_sessions
from .errors import InvalidCredentials, LinkInvalid, PasswordRefused
from .identity import canonical_username, mask_identifier
from .links import public_url
from .liveness import ACTIVE, INVITED, may_set_password
from .models import IAMActionToken, IAMPasswordHistory, IAMUserAccount
from .password_rules import PasswordPolicy, violations
from .principal import Principal
from .services_directory import find_by_login
from .services_policy import mfa_policy
from .settings_password import PasswordSettings

RESET, SET = "password_reset", "password_set"


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
    return _policy(mfa_required=always)


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
    policy = policy_for(user)
    words = _context_words(user)
    old = _recent_hashes(user)
    end_read()
    _check_rules(password, words, policy)
    if any(hashing.current().verify(stored, password).ok for stored in old):
        raise _refused(_("You used this password before. Choose one you have not used here."))
    checked = _check_breached(password)
    return NewPassword(hashing.current().hash(password), checked)


def prepare_first(names: Iterable[str], password: str) -> NewPassword:
    """Check and hash the password of an account that does not exist yet (command line).

    `names` are words it must not consist of. Raises PasswordRefused.
    """
    policy = _policy(mfa_required=True)
    _check_rules(password, [*names, services_notices.brand()], policy)
    checked = _check_breached(password)
    return NewPassword(hashing.current().hash(password), checked)


def change(
    principal: Principal, current: str, password: str, *, actor: Actor
) -> services_sessions.SignIn:
    """Change the signed-in person's password; every other session ends.

    Owns its transactions. Raises InvalidCredentials, TooManyAttempts, PasswordRefused.
    """
    user = services_sessions.owner(principal)
    confirm_password(principal, current, actor=actor)
    new = prepare(user, password)
    with transaction():
        user = services_sessions.owner(principal)
        store(user, new, actor)
        record(events.PASSWORD_CHANGED, resource=user, actor=actor)
        services_sessions.revoke_all(
            user.id, "password_changed", except_id=principal.session_id, actor=actor
        )
        return services_sessions.rotate(principal.session_id, (services_sessions.ACTIVE,))


def confirm_password(principal: Principal, password: str, *, actor: Actor) -> None:
    """Check the signed-in person's password again, under its own limit (AT-032).

    Owns its transactions. Raises InvalidCredentials, TooManyAttempts.
    """
    user = services_sessions.owner(principal)
    stored = user.password_hash
    end_read()
    buckets = [
        bucket("reauth", principal.user_id, actor=actor),
        bucket("password.absolute", principal.user_id, actor=actor),
    ]
    services_limits.charge_all(buckets)
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


def is_expired(user: IAMUserAccount, at: datetime) -> bool:
    """Return whether the password is past PASSWORD_MAX_AGE_DAYS (0: never)."""
    days = PasswordSettings.current().PASSWORD_MAX_AGE_DAYS
    if not days or user.password_hash is None:
        return False
    return at >= (user.password_changed_at or user.created_at) + timedelta(days=days)


def store(user: IAMUserAccount, new: NewPassword, actor: Actor) -> None:
    """Make a prepared password the account's own; outstanding links die, the person is told."""
    at = clock.now()
    drop_links(user)
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
    if not new.breach_checked and PasswordSettings.current().PASSWORD_BREACH_CHECK:
        record(events.PASSWORD_BREACH_CHECK_UNAVAILABLE, resource=user, actor=actor)
    services_notices.password_changed(user, at=at, actor=actor)
    after_commit(lambda: signals.password_changed.send(str(user.id)))


def request_reset(identifier: str, *, actor: Actor) -> None:
    """Send a reset link where the account exists; same effort and answer otherwise (C6).

    Owns its transactions. Raises TooManyAttempts for the address alone, never for
    the account: that would tell which accounts exist.
    """
    services_limits.charge_all([Bucket("reset.ip", services_limits.network_of(actor.ip))])
    user = find_by_login(identifier)
    end_read()
    allowed = _reset_allowed(identifier, actor)
    with transaction():
        known = user is not None and _can_reset(user)
        record(
            events.PASSWORD_RESET_REQUESTED,
            resource=user,
            actor=actor,
            identifier=mask_identifier(identifier) if user is None else user.username,
            known=known,
        )
        if user is not None and known and allowed:
            send_reset_link(user, actor=actor)


def send_reset_link(user: IAMUserAccount, *, actor: Actor) -> None:
    """Queue a reset link to the stored address; older links die."""
    minutes = PasswordSettings.current().PASSWORD_RESET_MINUTES
    _send_link(
        user,
        RESET,
        timedelta(minutes=minutes),
        lambda address, link: messages.password_reset_link(
            address, link=link, minutes=minutes, brand=services_notices.brand()
        ),
        actor,
    )


def send_set_password_link(user: IAMUserAccount, *, actor: Actor) -> None:
    """Queue the link by which a person sets their first password (B3)."""
    hours = PasswordSettings.current().PASSWORD_SET_LINK_HOURS
    _send_link(
        user,
        SET,
        timedelta(hours=hours),
        lambda address, link: messages.set_password_link(
            address, link=link, hours=hours, brand=services_notices.brand()
        ),
        actor,
    )
    record(events.INVITATION_SENT, resource=user, actor=actor, purpose=SET)


def issue_link(user: IAMUserAccount, purpose: str, length: timedelta) -> str:
    """Return a new single-use token for `purpose`; older ones of the person die (AT-092)."""
    drop_links(user)
    at = clock.now()
    token = rng.token()
    session().add(
        IAMActionToken(
            id=new_id(),
            tenant_id=user.tenant_id,
            user_id=user.id,
            purpose=purpose,
            token_digest=token_digest(token),
            created_at=at,
            expires_at=at + length,
        )
    )
    return token


def drop_links(user: IAMUserAccount) -> None:
    """Make every outstanding link of the person useless."""
    session().execute(
        delete(IAMActionToken)
        .where(IAMActionToken.user_id == user.id)
        .execution_options(synchronize_session=False)
    )


def find_link(token: str) -> tuple[IAMActionToken, IAMUserAccount]:
    """Return an unused link and its account; a look changes nothing (AT-101).

    Raises LinkInvalid.
    """
    row = session().scalar(
        select(IAMActionToken).where(IAMActionToken.token_digest == token_digest(token[:128]))
    )
    if row is None or row.consumed_at is not None or row.expires_at <= clock.now():
        raise LinkInvalid
    user = session().scalar(select(IAMUserAccount).where(IAMUserAccount.id == row.user_id))
    if user is None or not may_set_password(user.status, services_sessions.tenant_of(user).status):
        raise LinkInvalid
    return row, user


def redeem_link(token: str, password: str, *, actor: Actor) -> None:
    """Set a password through a link, once; ends every session, signs nobody in.

    Owns its transactions. Raises LinkInvalid, PasswordRefused, TooManyAttempts.
    """
    services_limits.charge_all([Bucket("link", services_limits.network_of(actor.ip))])
    row, user = find_link(token)
    new = prepare(user, password)
    with transaction():
        row, user = find_link(token)
        actor = actor.acting_as(user_id=user.id, kind="user")
        _consume(row, actor)
        store(user, new, actor)
        _activate(user, actor)
        services_sessions.revoke_all(user.id, "password_reset", actor=actor)
        services_limits.clear_all(_own_buckets(user, actor))
        record(events.PASSWORD_RESET_COMPLETED, resource=user, actor=actor, purpose=row.purpose)


def _consume(row: IAMActionToken, actor: Actor) -> None:
    statement = (
        update(IAMActionToken)
        .where(IAMActionToken.id == row.id, IAMActionToken.consumed_at.is_(None))
        .values(consumed_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    if session().execute(statement).rowcount != 1:  # type: ignore[attr-defined]
        record(events.PASSWORD_RESET_FAILED, status=FAILURE, actor=actor, reason="used")
        raise LinkInvalid


def _activate(user: IAMUserAccount, actor: Actor) -> None:
    # The link went to the stored address: opening it proves that address.
    user.email_verified = True
    if user.status != INVITED:
        return
    user.status = ACTIVE
    record(
        events.USER_REACTIVATED,
        resource=user,
        changes={"status": [INVITED, ACTIVE]},
        actor=actor,
    )


def _trim_history(user: IAMUserAccount) -> None:
    session().flush()
    keep = max(PasswordSettings.current().PASSWORD_HISTORY, 1)
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
    count = PasswordSettings.current().PASSWORD_HISTORY
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


def _policy(*, mfa_required: bool) -> PasswordPolicy:
    settings = PasswordSettings.current()
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


def _check_breached(password: str) -> bool:
    settings = PasswordSettings.current()
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


def _reset_allowed(identifier: str, actor: Actor) -> bool:
    name = canonical_username(identifier)
    try:
        services_limits.charge_all([bucket("reset.account", name, actor=actor)])
    except TooManyAttempts:
        return False
    return True


def _can_reset(user: IAMUserAccount) -> bool:
    # An account that never had a password signs in another way: a reset must not add one (AT-102).
    alive = may_set_password(user.status, services_sessions.tenant_of(user).status)
    return alive and bool(user.email) and (user.password_hash is not None or user.status == INVITED)


def _own_buckets(user: IAMUserAccount, actor: Actor) -> list[Bucket]:
    scopes = ("login.account", "password.absolute", "reauth")
    return [bucket(scope, user.id, actor=actor) for scope in scopes]


def _send_link(
    user: IAMUserAccount,
    purpose: str,
    length: timedelta,
    build: Callable[[str, str], messages.Message],
    actor: Actor,
) -> None:
    if not user.email:
        return
    token = issue_link(user, purpose, length)
    link = public_url("iam_auth.password_reset", token=token)
    services_notices.send(user, build(user.email, link), actor=actor)
