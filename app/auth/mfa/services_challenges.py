"""Rows of `iam_mfa_challenge`: opened, found, counted, closed.

One live code for each person and purpose (D3): a new one supersedes the older, in
whatever session that was sent; what needs no code is open once in each session.
Tries are counted by compare-and-swap, so parallel ones cannot pass the cap (AT-034).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, update

from ...core import clock
from ...core.actor import Actor
from ...core.db import session
from ...core.errors import TooManyAttempts
from ...core.i18n import _
from ...core.ids import new_id
from ...notify import services_outbox
from ..factors import Attempt
from ..factors.sent_code import code_digest
from ..models import IAMMfaChallenge, IAMMfaMethod, IAMUserAccount
from .settings_mfa import MfaSettings

_C, _M = IAMMfaChallenge, IAMMfaMethod


def open_challenge(
    user: IAMUserAccount,
    method: str,
    purpose: str,
    *,
    method_id: UUID | None,
    session_id: UUID | None,
    code: str | None,
    actor: Actor,
) -> IAMMfaChallenge:
    """Open a challenge; it supersedes this session's, a code also every older code."""
    at = clock.now()
    own = _C.session_id == session_id
    replaced = own if code is None else or_(own, _C.code_digest.is_not(None))
    supersede(user.id, purpose, at, replaced, actor=actor)
    row = IAMMfaChallenge(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        session_id=session_id,
        mfa_method_id=method_id,
        method=method,
        purpose=purpose,
        attempts=0,
        created_at=at,
        expires_at=at + timedelta(minutes=MfaSettings.current().MFA_CODE_MINUTES),
    )
    if code is not None:
        row.code_digest = code_digest(
            code, user_id=user.id, purpose=purpose, challenge_id=row.id, session_id=session_id
        )
    session().add(row)
    return row


def supersede(
    user_id: UUID, purpose: str, at: datetime, which: ColumnElement[bool], *, actor: Actor
) -> None:
    """End live challenges of a person and purpose, and stop codes that have not left."""
    open_rows = session().execute(
        select(_C.id, _C.outbox_id).where(
            _C.user_id == user_id, _C.purpose == purpose, which, *live(at)
        )
    ).all()  # fmt: skip
    if not open_rows:
        return
    _set([_C.id.in_([row.id for row in open_rows])], superseded_at=at)
    for row in open_rows:
        if row.outbox_id is not None:
            services_outbox.withdraw(row.outbox_id, actor)


def current(user_id: UUID, purpose: str, session_id: UUID | None) -> IAMMfaChallenge | None:
    """Return the live challenge of this person, purpose and session (AT-043)."""
    return session().scalar(
        select(_C)
        .where(
            _C.user_id == user_id,
            _C.purpose == purpose,
            _C.session_id == session_id,
            *live(clock.now()),
        )
        .order_by(_C.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )


def count_try(challenge_id: UUID, at: datetime) -> bool:
    """Count one try at a sent code; False where it is dead. Commit it before checking."""
    most = MfaSettings.current().MFA_CODE_MAX_ATTEMPTS
    counted = _set([_C.id == challenge_id, _C.attempts < most, *live(at)], attempts=_C.attempts + 1)
    return counted == 1


def close(attempt: Attempt, *, actor: Actor) -> None:
    """Mark a challenge as met; a factor that needed none gets a row that says so."""
    if attempt.challenge_id is not None:
        _set([_C.id == attempt.challenge_id, _C.consumed_at.is_(None)], consumed_at=attempt.at)
        return
    row = IAMMfaChallenge(
        id=new_id(),
        tenant_id=actor.tenant_id,
        user_id=attempt.user_id,
        session_id=attempt.session_id,
        mfa_method_id=attempt.method_id,
        method=attempt.method,
        purpose=attempt.purpose,
        attempts=1,
        created_at=attempt.at,
        expires_at=attempt.at,
        consumed_at=attempt.at,
    )
    session().add(row)


def met_since(
    user_id: UUID, purpose: str, session_id: UUID | None, methods: list[str], since: datetime
) -> bool:
    """Return whether one of `methods` was proved for this purpose in this session since then."""
    found = session().scalar(
        select(_C.id)
        .where(
            _C.user_id == user_id,
            _C.purpose == purpose,
            _C.session_id == session_id,
            _C.method.in_(methods),
            _C.consumed_at >= since,
            _C.consumed_at <= clock.now(),
        )
        .limit(1)
    )
    return found is not None


def refuse_too_soon(user: IAMUserAccount, row: IAMMfaMethod) -> None:
    """Hold the pause between two codes to one destination (AT-085). Raises TooManyAttempts.

    The factor's row is locked first, so that parallel requests send one code.
    """
    lock_method(row.id)
    wait = seconds_until_resend(user.id, row.method, row.id, locked=True)
    if wait > 0:
        raise TooManyAttempts(
            _("A code was sent a moment ago. Please wait before you ask for another"),
            retry_after=wait,
            code="mfa.resend_too_soon",
        )


def lock_method(method_id: UUID | None) -> None:
    """Lock a factor's row: always before its challenges, so that no two requests deadlock."""
    if method_id is not None:
        session().execute(select(_M.id).where(_M.id == method_id).with_for_update())


def seconds_until_resend(
    user_id: UUID, method: str, method_id: UUID | None, *, locked: bool = False
) -> int:
    """Return after how many seconds another code may be sent; 0 means now."""
    pause = timedelta(seconds=MfaSettings.current().MFA_RESEND_COOLDOWN_SECONDS)
    statement = (
        select(_C.created_at)
        .where(
            _C.user_id == user_id,
            _C.method == method,
            _C.mfa_method_id == method_id,
            _C.code_digest.is_not(None),
            _C.consumed_at.is_(None),
            _C.created_at > clock.now() - pause,
        )
        .order_by(_C.id.desc())
        .limit(1)
    )
    # A locking read sees what others committed since this transaction began.
    latest = session().scalar(statement.with_for_update() if locked else statement)
    if latest is None:
        return 0
    return int((latest + pause - clock.now()).total_seconds()) + 1


def live(at: datetime) -> list[ColumnElement[bool]]:
    """Return the conditions of a challenge that may still be met."""
    return [_C.consumed_at.is_(None), _C.superseded_at.is_(None), _C.expires_at > at]


def _set(conditions: list[Any], **values: Any) -> int:
    result: Any = session().execute(
        update(_C).where(*conditions).values(**values),
        execution_options={"synchronize_session": False},
    )
    return int(result.rowcount)
