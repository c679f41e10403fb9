"""The only door through which a one-time code leaves (requirement D4).

A code goes to the verified destination stored with the factor, to none other
(AT-057); the one exception is the enrolment that verifies it. Nothing leaves
before commit: the message is a row of the outbox.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ...audit import events
from ...audit.services_audit import record
from ...core.actor import Actor
from ...core.errors import Forbidden
from ...notify import services_outbox
from ...notify.messages import EMAIL
from ...notify.models import IAMOutbox
from ...notify.services_caps import check_send_caps
from ..accounts import services_notices
from ..factors import ENROL, factors
from ..models import IAMMfaMethod, IAMUserAccount

SIGN_IN = "sign_in"
_STEP_UP = "step_up"


def send_otp(
    user: IAMUserAccount,
    code: str,
    method: IAMMfaMethod,
    *,
    purpose: str = SIGN_IN,
    challenge_id: UUID | None = None,
    expires_at: datetime | None = None,
    fallback_from: str | None = None,
    actor: Actor,
) -> IAMOutbox:
    """Queue a code for the destination of `method`; it leaves after commit.

    Raises Forbidden for a factor of somebody else or an unverified one, and what the
    send caps raise: TooManyAttempts, InvalidInput.
    """
    destination = _verified_destination(user, method, purpose)
    channel = factors().get(method.method).channel or EMAIL
    # The outbox itself caps text messages; codes by mail are capped here (AT-085).
    if channel == EMAIL:
        check_send_caps(channel, destination, actor)
    message = services_notices.one_time_code(
        user,
        channel,
        destination,
        code=code,
        purpose=purpose if purpose in (SIGN_IN, ENROL) else _STEP_UP,
    )
    row = services_outbox.enqueue(
        message,
        user_id=user.id,
        idempotency_key=f"otp:{challenge_id}" if challenge_id else None,
        expires_at=expires_at,
        held=True,
        actor=actor,
    )
    details: dict[str, Any] = {"fallback_from": fallback_from} if fallback_from else {}
    record(
        events.MFA_CODE_SENT,
        resource=user,
        actor=actor,
        method=method.method,
        purpose=purpose,
        **details,
    )
    return row


def _verified_destination(user: IAMUserAccount, method: IAMMfaMethod, purpose: str) -> str:
    verified = method.confirmed_at is not None or purpose == ENROL
    if method.user_id != user.id or not verified or not method.destination:
        raise Forbidden(code="mfa.destination_unverified")
    return method.destination
