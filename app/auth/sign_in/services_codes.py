"""Codes sent to an address that is no enrolled factor: issued, counted, redeemed (D3).

They prove a mailbox or a phone: for a sign-in by code, a changed address, a recovery.
Bound to account, purpose and the session or browser that asked (AT-043); only keyed
digests are kept, and one row may carry a link beside its code. What a proof opens
decides the caller.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, update

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core import clock, rng
from ...core.actor import Actor
from ...core.crypto import keyring, same, token_digest
from ...core.db import session, transaction
from ...core.errors import TooManyAttempts
from ...core.i18n import _
from ...core.ids import new_id
from ...notify import services_outbox
from ...notify.messages import Message
from ...notify.services_caps import check_send_caps
from ...risk import services_limits
from ...risk.services_limits import Bucket, bucket
from ..errors import CodeDead, CodeInvalid
from ..factors.attempt import six_digits
from ..factors.sent_code import new_code
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMActionToken, IAMUserAccount
from ..passwords import services_stand_in
from ..passwords.services_links import EMAIL_UNDO

SIGN_IN = "sign_in"
VERIFY_EMAIL, VERIFY_DEVICE = "verify_email", "verify_device"
RECOVERY_EMAIL, RECOVERY_PHONE = "recovery_email", "recovery_phone"
EMAIL_CHANGE, PHONE_CHANGE = "email_change", "phone_change"
PURPOSES = (
    SIGN_IN, VERIFY_EMAIL, VERIFY_DEVICE, RECOVERY_EMAIL, RECOVERY_PHONE, EMAIL_CHANGE,
    PHONE_CHANGE, EMAIL_UNDO,
)  # fmt: skip
_A = IAMActionToken
_LABEL = "action-code"


@dataclass(frozen=True, slots=True)
class Sent:
    """A code on its way; `token` is the link's secret for callers that build one."""

    row_id: UUID
    outbox_id: UUID
    expires_at: datetime
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Try:
    """One counted try at a code; made by `begin` only, so that none goes uncounted."""

    row_id: UUID
    user_id: UUID
    purpose: str
    code: str = field(repr=False)


def issue(  # noqa: PLR0913 - one keyword for each thing that a code is bound to
    user: IAMUserAccount,
    purpose: str,
    *,
    channel: str,
    destination: str,
    build: Callable[[str, str], Message],
    minutes: int,
    session_id: UUID | None = None,
    browser: bytes | None = None,
    payload: dict[str, Any] | None = None,
    held: bool = True,
    actor: Actor,
) -> Sent:
    """Queue a code, and kill this person's older ones of this purpose (AT-045).

    One that is bound to a browser lives and pauses for that browser alone: a stranger
    who asks for codes must not take the owner's away.

    `build` makes the message of the code and of the token for a link. `held` keeps the
    message for the caller's `deliver`. Joins the transaction.

    Raises TooManyAttempts within the pause between two codes and where a send cap is
    reached, InvalidInput for a destination that cannot be written to.
    """
    _hold_pause(user, purpose, browser)
    exact = check_send_caps(channel, destination, actor)
    _drop(user, purpose, browser)
    code, token = new_code(), rng.token()
    row = _new_row(user, purpose, token, timedelta(minutes=minutes), payload)
    row.browser_digest, row.session_id = browser, session_id
    row.code_digest = _digest(code, row)
    session().add(services_stand_in.storable(row, user))
    message = build(code, token)
    if message.recipient != exact:
        raise ValueError("the message goes to another address than the one that was checked")
    queued = services_outbox.enqueue(
        message,
        user_id=user.id,
        idempotency_key=f"code:{row.id}",
        expires_at=row.expires_at,
        held=held,
        actor=actor,
    )
    record(events.CODE_SENT, resource=user, actor=actor, channel=channel, purpose=purpose)
    return Sent(row.id, queued.id, row.expires_at, token)


def add_link(
    user: IAMUserAccount, purpose: str, *, length: timedelta, payload: dict[str, Any]
) -> str:
    """Return the token of a link without a code; older ones of its purpose live on."""
    token = rng.token()
    session().add(_new_row(user, purpose, token, length, payload))
    return token


def deliver(sent: Sent) -> str:
    """Try to send a code now and return its message's status; call it after commit."""
    return services_outbox.deliver_now(sent.outbox_id)


def current(
    user_id: UUID, purpose: str, *, session_id: UUID | None = None, browser: bytes | None = None
) -> IAMActionToken | None:
    """Return the live code of this person and purpose that this session or browser asked for."""
    at = clock.now()
    return session().scalar(
        select(_A)
        .where(*_bound(user_id, purpose, session_id, browser), *_live(at))
        .order_by(_A.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )


def seconds_until_resend(user_id: UUID, purpose: str, browser: bytes | None = None) -> int:
    """Return after how many seconds another code may be asked for; 0 means now."""
    pause = timedelta(seconds=MfaSettings.current().MFA_RESEND_COOLDOWN_SECONDS)
    latest = session().scalar(
        select(_A.created_at)
        .where(*_same(user_id, purpose, browser), _A.consumed_at.is_(None))
        .order_by(_A.id.desc())
        .limit(1)
    )
    if latest is None:
        return 0
    return max(0, int((latest + pause - clock.now()).total_seconds()) + 1)


def begin(
    user_id: UUID,
    purpose: str,
    code: str,
    *,
    session_id: UUID | None = None,
    browser: bytes | None = None,
    actor: Actor,
) -> Try:
    """Count a try and commit the count; call it outside any unit of work.

    Raises CodeInvalid where nothing is awaited here, CodeDead where it was tried too
    often, TooManyAttempts: the account's count survives new codes (AT-035).
    """
    row = current(user_id, purpose, session_id=session_id, browser=browser)
    row_id = row.id if row is not None else None
    if row_id is None:  # nothing to guess at, so nothing is counted against the owner
        _refuse(CodeInvalid, user_id, purpose, "no_code", actor)
    try:
        services_limits.charge_all(buckets(user_id, purpose, actor))
    except TooManyAttempts:
        with transaction():
            _record_failure(user_id, purpose, "throttled", actor)
        raise
    with transaction():
        alive = _count_try(row_id)
    if not alive:
        _refuse(CodeDead, user_id, purpose, "dead", actor)
    return Try(row_id, user_id, purpose, code)


def redeem(attempt: Try, *, actor: Actor) -> IAMActionToken:
    """Check a counted try and use its code up; joins the caller's transaction.

    Raises CodeInvalid; which check failed is in the audit trail only.
    """
    row = session().scalar(
        select(_A).where(_A.id == attempt.row_id).execution_options(populate_existing=True)
    )
    reason = _fault(attempt, row)
    if row is None or reason is not None or not consume(row):
        _record_failure(attempt.user_id, attempt.purpose, reason or "dead", actor)
        raise CodeInvalid(field="code")
    services_limits.clear_all(buckets(attempt.user_id, attempt.purpose, actor))
    return row


def buckets(user_id: UUID, purpose: str, actor: Actor) -> list[Bucket]:
    """Return the counter of an account's codes.

    Anybody may try one that signs in: it has a counter of its own, which delays and never
    ends, so that strangers cannot close the others.
    """
    scope = "code.sign_in" if purpose == SIGN_IN else "code"
    return [bucket(scope, user_id, actor=actor)]


def consume(row: IAMActionToken) -> bool:
    """Use a live row up, code and link at once; of many parallel uses one wins."""
    at = clock.now()
    result: Any = session().execute(
        update(_A).where(_A.id == row.id, *_live(at)).values(consumed_at=at),
        execution_options={"synchronize_session": False},
    )
    return bool(result.rowcount == 1)


def find_by_token(token: str, purpose: str) -> IAMActionToken | None:
    """Return the live row of a link; a look changes nothing (AT-101)."""
    return session().scalar(
        select(_A).where(
            _A.token_digest == token_digest(token[:128]),
            _A.purpose == purpose,
            *_live(clock.now()),
        )
    )


def payload_of(row: IAMActionToken) -> dict[str, Any]:
    """Return what the row was issued for, as it was given; empty where nothing was."""
    if row.payload is None:
        return {}
    found: dict[str, Any] = json.loads(keyring().decrypt(row.payload, _context(row.id)))
    return found


def _new_row(
    user: IAMUserAccount,
    purpose: str,
    token: str,
    length: timedelta,
    payload: dict[str, Any] | None,
) -> IAMActionToken:
    at = clock.now()
    row = IAMActionToken(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        purpose=purpose,
        token_digest=token_digest(token),
        attempts=0,
        created_at=at,
        expires_at=at + length,
    )
    if payload is not None:
        row.payload = keyring().encrypt(json.dumps(payload).encode(), _context(row.id))
    return row


def _same(user_id: UUID, purpose: str, browser: bytes | None) -> list[ColumnElement[bool]]:
    return [_A.user_id == user_id, _A.purpose == purpose, _A.browser_digest == browser]


def _drop(user: IAMUserAccount, purpose: str, browser: bytes | None) -> None:
    session().execute(
        delete(_A).where(*_same(user.id, purpose, browser)),
        execution_options={"synchronize_session": False},
    )


def _hold_pause(user: IAMUserAccount, purpose: str, browser: bytes | None) -> None:
    # The account is held first, so that parallel requests send one code (AT-085).
    session().execute(
        select(IAMUserAccount.id).where(IAMUserAccount.id == user.id).with_for_update()
    )
    wait = seconds_until_resend(user.id, purpose, browser)
    if wait > 0:
        raise TooManyAttempts(
            _("A code was sent a moment ago. Please wait before you ask for another"),
            retry_after=wait,
            code="code.resend_too_soon",
        )


def _count_try(row_id: UUID) -> bool:
    most = MfaSettings.current().MFA_CODE_MAX_ATTEMPTS
    result: Any = session().execute(
        update(_A)
        .where(_A.id == row_id, _A.attempts < most, *_live(clock.now()))
        .values(attempts=_A.attempts + 1),
        execution_options={"synchronize_session": False},
    )
    return bool(result.rowcount == 1)


def _fault(attempt: Try, row: IAMActionToken | None) -> str | None:
    if row is None or row.code_digest is None:
        return "no_code"
    try:
        digits = six_digits(attempt.code)
    except CodeInvalid:
        return "malformed"
    return None if same(_digest(digits, row), row.code_digest) else "wrong"


def _digest(code: str, row: IAMActionToken) -> bytes:
    browser = row.browser_digest.hex() if row.browser_digest else None
    bound = f"{row.user_id}:{row.purpose}:{row.id}:{row.session_id}:{browser}:{code}"
    return keyring().signed_digest(bound, _LABEL)


def _context(row_id: UUID) -> str:
    return f"iam_action_token:{row_id}"


def _bound(
    user_id: UUID, purpose: str, session_id: UUID | None, browser: bytes | None
) -> list[ColumnElement[bool]]:
    return [
        *_same(user_id, purpose, browser),
        _A.session_id == session_id,
        _A.code_digest.is_not(None),
    ]


def _live(at: datetime) -> list[ColumnElement[bool]]:
    return [_A.consumed_at.is_(None), _A.expires_at > at]


def _refuse(
    kind: type[CodeInvalid], user_id: UUID, purpose: str, reason: str, actor: Actor
) -> NoReturn:
    with transaction():
        _record_failure(user_id, purpose, reason, actor)
        raise kind(field="code")


def _record_failure(user_id: UUID, purpose: str, reason: str, actor: Actor) -> None:
    record(
        events.CODE_REFUSED,
        resource=("user_account", user_id),
        status=FAILURE,
        error=CodeInvalid.code,
        actor=actor,
        purpose=purpose,
        reason=reason,
    )
