"""A try at a second factor: counted and committed first, then checked and used up.

`begin_attempt` is the only maker of an `Attempt`, and `redeem` takes nothing else, so
no code is ever compared uncounted. Failures are told apart in the audit trail only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NoReturn
from uuid import UUID

from sqlalchemy import update

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core import clock
from ...core.actor import Actor
from ...core.db import session, transaction
from ...core.errors import TooManyAttempts
from ...risk import services_limits
from ...risk.services_limits import Bucket, bucket
from ..accounts import services_notices
from ..accounts.services_directory import get_user
from ..errors import CloneRefused, CodeDead, CodeInvalid, PasskeyMalformed
from ..factors import AAL1, AAL2, ENROL, Attempt, Reached, factors
from ..factors.webauthn import Webauthn
from ..models import IAMMfaMethod, IAMUserAccount
from ..webauthn import services_webauthn_challenges, services_webauthn_use
from ..webauthn.services_webauthn_challenges import Bound
from ..webauthn.webauthn_parsing import read_assertion_text
from . import services_challenges
from .services_factors import RECOVERY, Way, assurance_of, codes_left, find_way, reaches, ways
from .services_mfa_send import SIGN_IN

_AMR = {"sms_otp": "sms", "whatsapp_otp": "sms"}


@dataclass(frozen=True, slots=True)
class Proved:
    """A factor that was shown: its kind and the assurance it gives."""

    method: str
    acr: str
    at: datetime
    codes_left: int | None = None
    shown: str | None = None

    @property
    def amr(self) -> str:
        """Return the RFC 8176 name of what was shown."""
        return self.shown or _AMR.get(self.method, "otp")


def current_way(
    user: IAMUserAccount, purpose: str, *, session_id: UUID | None, minimum: str = AAL1
) -> Way | None:
    """Return the factor in use: the one asked for last, else the strongest that needs no sending.

    None where a code must be asked for first.
    """
    found = ways(user, minimum)
    asked = services_challenges.current(user.id, purpose, session_id)
    if asked is not None:
        for way in found:
            if way.method_id == asked.mfa_method_id and way.method == asked.method:
                return way
    return next((way for way in found if not way.sent and way.method != RECOVERY), None)


def begin_attempt(
    user: IAMUserAccount,
    code: str,
    *,
    method: str | None = None,
    purpose: str = SIGN_IN,
    session_id: UUID | None = None,
    minimum: str = AAL1,
    browser: bytes | None = None,
    actor: Actor,
) -> Attempt:
    """Count a try and commit the count; call it outside any unit of work.

    `method` is a factor's id or kind, by default the one in use; `browser` is what a
    WebAuthn challenge is bound to, which is used up as well. Raises CodeInvalid
    where no code is awaited or the awaited one is dead, TooManyAttempts, NotFound.
    """
    user_id = user.id
    way = (
        find_way(user, method, minimum)
        if method
        else current_way(user, purpose, session_id=session_id, minimum=minimum)
    )
    if way is None:
        _refuse("none", user_id, purpose, "no_challenge", actor)
    open_row = services_challenges.current(user_id, purpose, session_id)
    asked = open_row is not None and (open_row.method, open_row.mfa_method_id) == (
        way.method,
        way.method_id,
    )
    counted = count_attempt(
        Attempt(
            method=way.method,
            user_id=user_id,
            purpose=purpose,
            session_id=session_id,
            at=clock.now(),
            code=code,
            method_id=way.method_id,
            challenge_id=open_row.id if open_row is not None and asked else None,
            minimum=minimum,
        ),
        sent=way.sent,
        actor=actor,
    )
    if way.method != Webauthn.name or browser is None:
        return counted
    return replace(counted, challenge=_use_up_challenge(counted, browser))


def count_attempt(attempt: Attempt, *, sent: bool, actor: Actor) -> Attempt:
    """Commit the count of a try, account-wide and for its factor, and return it.

    Both counters hold: a success with one factor never refreshes another's (NIST 3.2.2).
    Raises TooManyAttempts, and CodeInvalid for a sent code that is dead.
    """
    try:
        services_limits.charge_all(_buckets(attempt, actor))
    except TooManyAttempts:
        with transaction():
            record_failure(attempt.method, attempt.user_id, attempt.purpose, "throttled", actor)
        raise
    if not sent:
        return attempt
    alive = False
    if attempt.challenge_id is not None:
        with transaction():
            alive = services_challenges.count_try(attempt.challenge_id, attempt.at)
    if not alive:
        with transaction():
            record_failure(attempt.method, attempt.user_id, attempt.purpose, "dead", actor)
            raise CodeDead(field="code")
    return attempt


def redeem(attempt: Attempt, *, actor: Actor) -> Proved:
    """Check a counted try and use its code up; joins the caller's transaction.

    Raises CodeInvalid; the caller is never told which check failed.
    """
    services_challenges.lock_method(attempt.method_id)
    try:
        reached = _reached(attempt)
    except CodeInvalid as refusal:
        reason = str(refusal.details.get("reason", "wrong"))
        record_failure(attempt.method, attempt.user_id, attempt.purpose, reason, actor)
        if isinstance(refusal, CloneRefused):
            raise
        raise CodeInvalid(field="code") from None
    services_limits.clear_all(_buckets(attempt, actor))
    services_challenges.close(attempt, actor=actor)
    _mark_used(attempt)
    record(
        events.MFA_VERIFIED,
        resource=("user_account", attempt.user_id),
        actor=actor,
        method=attempt.method,
        purpose=attempt.purpose,
    )
    left = _recovery_code_used(attempt, actor) if attempt.method == RECOVERY else None
    if reached.suspect is not None:
        services_webauthn_use.suspect_clone(reached.suspect, actor=actor)
    return Proved(attempt.method, reached.acr, attempt.at, left, reached.amr)


def _reached(attempt: Attempt) -> Reached:
    level = assurance_of(attempt.method)
    found = factors().get(attempt.method).redeem(attempt)
    if found is None:
        found = Reached(_AMR.get(attempt.method, "otp"), level)
    elif not reaches(level, AAL2):  # no longer allowed: still asked for, but counts for less
        found = replace(found, acr=level)
    if not reaches(found.acr, attempt.minimum):
        raise CodeInvalid(field="code", reason="too_weak")
    return found


def _use_up_challenge(attempt: Attempt, browser: bytes) -> bytes | None:
    # None is refused when the try is redeemed, with the other reasons.
    try:
        answer = read_assertion_text(attempt.code)
    except PasskeyMalformed:
        return None
    bound = Bound(attempt.purpose, browser, attempt.user_id, attempt.session_id)
    return services_webauthn_challenges.use_up(answer.client_data.challenge, bound)


def _buckets(attempt: Attempt, actor: Actor) -> list[Bucket]:
    if attempt.purpose == ENROL:
        return [bucket("mfa", attempt.user_id, ENROL, actor=actor)]
    return [
        bucket("mfa", attempt.user_id, actor=actor),
        bucket("mfa", attempt.user_id, attempt.method, actor=actor),
    ]


def _refuse(method: str, user_id: UUID, purpose: str, reason: str, actor: Actor) -> NoReturn:
    with transaction():
        record_failure(method, user_id, purpose, reason, actor)
        raise CodeInvalid(field="code")


def record_step_up_failed(user_id: UUID, purpose: str, method: str, actor: Actor) -> None:
    """Record that a renewed proof was refused."""
    record(
        events.STEP_UP_FAILED,
        resource=("user_account", user_id),
        status=FAILURE,
        actor=actor,
        purpose=purpose,
        method=method,
    )


def record_failure(method: str, user_id: UUID, purpose: str, reason: str, actor: Actor) -> None:
    """Record that a factor was refused, and why."""
    if purpose not in (SIGN_IN, ENROL):
        record_step_up_failed(user_id, purpose, method, actor)
    record(
        events.MFA_FAILED,
        resource=("user_account", user_id),
        status=FAILURE,
        error=CodeInvalid.code,
        actor=actor,
        method=method,
        purpose=purpose,
        reason=reason,
    )


def _mark_used(attempt: Attempt) -> None:
    if attempt.method_id is None:
        return
    statement = update(IAMMfaMethod).where(IAMMfaMethod.id == attempt.method_id)
    session().execute(
        statement.values(last_used_at=attempt.at), execution_options={"synchronize_session": False}
    )


def _recovery_code_used(attempt: Attempt, actor: Actor) -> int:
    left = codes_left(attempt.user_id)
    record(
        events.RECOVERY_CODE_USED,
        resource=("user_account", attempt.user_id),
        actor=actor,
        remaining=left,
    )
    services_notices.recovery_code_used(
        get_user(attempt.user_id), remaining=left, at=attempt.at, actor=actor
    )
    return left
