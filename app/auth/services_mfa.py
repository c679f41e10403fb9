"""Second factors: a challenge is issued and its code delivered, a code is verified (D3, D7).

The contract functions of requirement D7 live here. Counting and checking a try is
`services_mfa_verify`, what a person has and how strong it is `services_factors`;
what a proof is worth decides the sign-in gate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from ..audit import events
from ..audit.services_audit import DENIED, record
from ..core import clock
from ..core.actor import Actor
from ..core.db import transaction
from ..core.errors import Forbidden
from ..notify import services_outbox
from ..notify.messages import EMAIL
from ..notify.models import DEAD, EXPIRED, SENT
from ..tenancy.services_settings import effective
from .errors import InvalidCredentials
from .factors import AAL1, AAL2, factors
from .factors.sent_code import new_code
from .mfa import services_challenges
from .mfa.services_factors import (
    EMAIL_OTP,
    MfaState,
    Way,
    active_methods,
    assurance_of,
    find_method,
    find_way,
    mask,
    mfa_state,
    names_reaching,
    reaches,
    ways,
)
from .mfa.services_mfa_send import SIGN_IN, send_otp
from .mfa.services_mfa_verify import Proved, begin_attempt, record_step_up_failed, redeem
from .mfa.settings_mfa import MfaSettings
from .models import IAMMfaMethod, IAMUserAccount
from .passwords import services_password
from .principal import Principal
from .sessions import services_sessions
from .sessions.services_sessions import SignIn
from .settings import AuthSettings
from .sign_in import services_gate

__all__ = [
    "SIGN_IN", "Issued", "MfaState", "Proved", "active_methods", "begin_attempt", "challenge",
    "complete_mfa_session", "deliver", "issue_mfa_challenge", "mfa_state",
    "recent_successful_mfa", "redeem", "send_challenge", "send_otp",
    "step_up_with_password", "verify_mfa_code",
]  # fmt: skip
PASSWORD = "pwd"  # noqa: S105 - the RFC 8176 name of the method
_FAILED_FOR_GOOD = (DEAD, EXPIRED)


@dataclass(frozen=True, slots=True)
class Issued:
    """A challenge as a caller may show it. `status` is the message's, None before delivery."""

    challenge_id: UUID
    method: str
    hint: str
    outbox_id: UUID | None = None
    status: str | None = None
    fallback_from: str | None = None

    @property
    def delivered(self) -> bool:
        """Return whether nothing had to be sent, or the message left."""
        return self.outbox_id is None or self.status == SENT


def issue_mfa_challenge(
    user: IAMUserAccount,
    method: str,
    purpose: str,
    *,
    session_id: UUID | None = None,
    minimum: str = AAL1,
    actor: Actor,
) -> Issued:
    """Ask for a factor, named by id or kind, and queue its code where one is sent.

    Raises NotFound for a factor the person has not, Forbidden for one below
    `minimum` (AT-068), TooManyAttempts within the pause between two codes.
    """
    way = find_way(user, method)
    _refuse_weak(user, way, purpose, minimum, actor)
    if not way.sent:
        row = services_challenges.open_challenge(
            user, way.method, purpose, method_id=way.method_id, session_id=session_id,
            code=None, actor=actor,
        )  # fmt: skip
        return Issued(row.id, way.method, way.hint)
    factor_row = find_method(user, way.method_id)
    services_challenges.refuse_too_soon(user, factor_row)
    return send_challenge(user, factor_row, purpose, session_id=session_id, actor=actor)


def challenge(
    user: IAMUserAccount,
    method: str,
    purpose: str,
    *,
    session_id: UUID | None,
    minimum: str = AAL1,
    actor: Actor,
) -> Issued:
    """Issue a challenge and deliver its code at once; owns its transactions.

    Where SMS or WhatsApp fails for good and policy allows, the code goes by e-mail.
    Raises what `issue_mfa_challenge` raises.
    """
    with transaction():
        issued = issue_mfa_challenge(
            user, method, purpose, session_id=session_id, minimum=minimum, actor=actor
        )
    issued = deliver(issued)
    if issued.status not in _FAILED_FOR_GOOD or not _may_fall_back(issued.method, minimum):
        return issued
    with transaction():
        again = _fall_back(user, issued, purpose, session_id=session_id, actor=actor)
    return deliver(again) if again else issued


def deliver(issued: Issued) -> Issued:
    """Try to send a challenge's code now; call it after commit."""
    if issued.outbox_id is None:
        return issued
    return replace(issued, status=services_outbox.deliver_now(issued.outbox_id))


def send_challenge(
    user: IAMUserAccount,
    row: IAMMfaMethod,
    purpose: str,
    *,
    session_id: UUID | None,
    fallback_from: str | None = None,
    actor: Actor,
) -> Issued:
    """Open a challenge for a factor whose code is sent, and queue the code."""
    code = new_code()
    opened = services_challenges.open_challenge(
        user, row.method, purpose, method_id=row.id, session_id=session_id, code=code, actor=actor
    )
    queued = send_otp(
        user, code, row, purpose=purpose, challenge_id=opened.id, expires_at=opened.expires_at,
        fallback_from=fallback_from, actor=actor,
    )  # fmt: skip
    opened.outbox_id = queued.id
    hint = mask(row.method, row.destination)
    return Issued(opened.id, row.method, hint, queued.id, fallback_from=fallback_from)


def verify_mfa_code(
    user: IAMUserAccount,
    code: str,
    *,
    method: str | None = None,
    purpose: str = SIGN_IN,
    session_id: UUID | None = None,
    minimum: str = AAL1,
    browser: bytes | None = None,
    actor: Actor,
) -> Proved:
    """Check a code in one call; owns its transactions.

    Raises CodeInvalid, TooManyAttempts, NotFound; RuntimeError inside a unit of work.
    """
    attempt = begin_attempt(
        user, code, method=method, purpose=purpose, session_id=session_id, minimum=minimum,
        browser=browser, actor=actor,
    )  # fmt: skip
    with transaction():
        return redeem(attempt, actor=actor)


def complete_mfa_session(
    user: IAMUserAccount, proved: Proved, *, principal: Principal, actor: Actor
) -> SignIn:
    """Take the person's own pending sign-in onwards; joins the transaction.

    Raises Forbidden where the sign-in is somebody else's (AT-065), and what the gate raises.
    """
    if principal.user_id != user.id:
        raise Forbidden(code="mfa.other_user")
    return services_gate.complete_factor(principal, method=proved.amr, acr=proved.acr, actor=actor)


def step_up_with_password(
    principal: Principal, purpose: str, password: str, *, actor: Actor
) -> SignIn:
    """Renew the proof for a purpose by the password, at AAL1; owns its transactions.

    Whether the purpose allows it is checked by the caller. Raises InvalidCredentials,
    TooManyAttempts.
    """
    try:
        services_password.confirm_password(principal, password, actor=actor)
    except InvalidCredentials:
        with transaction():
            record_step_up_failed(principal.user_id, purpose, PASSWORD, actor)
        raise
    with transaction():
        return services_sessions.record_proof(
            principal, purpose=purpose, method=PASSWORD, acr=AAL1, actor=actor
        )


def recent_successful_mfa(
    user: IAMUserAccount,
    purpose: str,
    *,
    session_id: UUID | None = None,
    within: timedelta | None = None,
    minimum: str = AAL2,
) -> bool:
    """Return whether a factor was proved for this purpose, in this session, not long ago.

    Server time decides (AT-078); another purpose or session never counts (AT-079),
    nor does a factor below `minimum`.
    """
    length = within or timedelta(minutes=effective(AuthSettings).STEP_UP_MINUTES)
    return services_challenges.met_since(
        user.id, purpose, session_id, list(names_reaching(minimum)), clock.now() - length
    )


def _refuse_weak(user: IAMUserAccount, way: Way, purpose: str, minimum: str, actor: Actor) -> None:
    if way.id in {item.id for item in ways(user, minimum)}:
        return
    record(
        events.MFA_SEND_REFUSED,
        resource=user,
        status=DENIED,
        error="mfa.method_too_weak",
        actor=actor,
        method=way.method,
        purpose=purpose,
        reason="too_weak",
    )
    raise Forbidden(code="mfa.method_too_weak")


def _may_fall_back(method: str, minimum: str) -> bool:
    return (
        factors().get(method).channel not in (None, EMAIL)
        and MfaSettings.current().MFA_SMS_FALLBACK_TO_EMAIL
        and EMAIL_OTP in effective(MfaSettings).MFA_METHODS
        and reaches(assurance_of(EMAIL_OTP), minimum)
    )


def _fall_back(
    user: IAMUserAccount, failed: Issued, purpose: str, *, session_id: UUID | None, actor: Actor
) -> Issued | None:
    for row in active_methods(user):
        if row.method == EMAIL_OTP:
            return send_challenge(
                user, row, purpose, session_id=session_id, fallback_from=failed.method, actor=actor
            )
    return None
