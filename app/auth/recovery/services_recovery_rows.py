"""Rows of `iam_recovery_request`: found, moved on by compare-and-swap, cancelled (I1).

A request is open in three states and never longer than `expires_at` says: no job decides
that. Who may move it is decided in `services_recovery` and `services_recovery_decisions`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select, update

from ...audit import events
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import Actor
from ...core.crypto import token_digest
from ...core.db import session
from ...core.errors import NotFound
from ..liveness import may_act
from ..models import IAMRecoveryRequest, IAMUserAccount
from ..sessions import services_sessions
from .errors_recovery import RecoveryClosed

PROOFS, APPROVAL, WAITING = "proofs", "approval", "waiting"
COMPLETED, CANCELLED, REFUSED, EXPIRED = "completed", "cancelled", "refused", "expired"
OPEN = (PROOFS, APPROVAL, WAITING)
_R = IAMRecoveryRequest


def open_of(user_id: UUID, *, locked: bool = False) -> IAMRecoveryRequest | None:
    """Return the person's open request; `locked` reads what others committed meanwhile."""
    statement = (
        select(_R)
        .where(_R.user_id == user_id, *is_open(clock.now()))
        .order_by(_R.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    return session().scalar(statement.with_for_update() if locked else statement)


def find(request_id: UUID | None) -> IAMRecoveryRequest:
    """Return one request of the tenant in scope. Raises NotFound."""
    return _found(_R.id == request_id)


def find_to_cancel(token: str) -> IAMRecoveryRequest:
    """Return the request that a notice's link stops. Raises NotFound."""
    return _found(_R.cancel_digest == token_digest(token[:128]))


def find_to_proceed(token: str) -> IAMRecoveryRequest:
    """Return the request that a personal link goes on with. Raises NotFound."""
    return _found(_R.continue_digest == token_digest(token[:128]))


def hold(user_id: UUID) -> IAMUserAccount:
    """Lock an account before its request, and return it as stored now.

    Raises RecoveryClosed where it may not act: each step of a recovery asks here (B2).
    """
    user = session().scalar(
        select(IAMUserAccount)
        .where(IAMUserAccount.id == user_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if user is None or not may_act(user.status, services_sessions.tenant_of(user).status):
        raise RecoveryClosed
    return user


def is_open(at: datetime) -> list[ColumnElement[bool]]:
    """Return the conditions of a request that may still be used."""
    return [_R.status.in_(OPEN), _R.expires_at > at]


def status_of(row: IAMRecoveryRequest) -> str:
    """Return the status as it is now: a request past its time is expired, whatever the row says."""
    expired = row.status in OPEN and row.expires_at <= clock.now()
    return EXPIRED if expired else row.status


def change(
    row: IAMRecoveryRequest,
    states: tuple[str, ...],
    *conditions: ColumnElement[bool],
    **values: Any,
) -> None:
    """Change an open request that is in one of `states`; of two parallel changes one wins.

    Raises RecoveryClosed.
    """
    statement = (
        update(_R)
        .where(_R.id == row.id, _R.status.in_(states), *is_open(clock.now()), *conditions)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if session().execute(statement).rowcount != 1:  # type: ignore[attr-defined]
        raise RecoveryClosed
    session().refresh(row)


def expire_old(user_id: UUID) -> None:
    """Mark requests past their time, so that a clock set back revives none (AT-456).

    The caller records why.
    """
    at = clock.now()
    session().execute(
        update(_R)
        .where(_R.user_id == user_id, _R.status.in_(OPEN), _R.expires_at <= at)
        .values(status=EXPIRED, closed_at=at)
        .execution_options(synchronize_session=False)
    )


def cancel_open(user: IAMUserAccount, reason: str, *, actor: Actor) -> bool:
    """Cancel the person's open request, if any; say whether there was one. Tells nobody.

    For whatever takes the ground from under a request: the account is closed, or an
    address that was proved, or that notices go to, is no longer the person's (AT-213).
    """
    row = open_of(user.id, locked=True)
    if row is None:
        return False
    change(row, OPEN, status=CANCELLED, closed_at=clock.now())
    record(events.RECOVERY_CANCELLED, resource=user, actor=actor, reason=reason)
    return True


def _found(condition: ColumnElement[bool]) -> IAMRecoveryRequest:
    row = session().scalar(select(_R).where(condition).execution_options(populate_existing=True))
    if row is None:
        raise NotFound
    return row
