"""What administrators do about the recovery of an account: open, approve, refuse (I1).

Four eyes: who approves is neither the person nor whoever opened the request, and outranks
the person. A request that its owner opened is approved only after one proof (AT-077).
"""

from __future__ import annotations

from typing import NoReturn
from uuid import UUID

from sqlalchemy import or_, select

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...authz import services_rbac
from ...authz.grants import Grants
from ...core import clock
from ...core.actor import Actor
from ...core.db import session
from ...core.paging import Page, page_by_id
from ...tenancy.services_settings import effective
from ..accounts.services_account_status import check_reason
from ..accounts.services_reach import EVERYBODY, Reach
from ..models import IAMRecoveryRequest, IAMUserAccount
from . import services_recovery
from . import services_recovery_notices as notices
from . import services_recovery_rows as rows
from .errors_recovery import SecondPersonNeeded
from .services_recovery_rows import APPROVAL, OPEN, REFUSED
from .settings_recovery import RecoverySettings

_R = IAMRecoveryRequest


def page(
    *, closed: bool, cursor: str | None, size: int, reach: Reach = EVERYBODY
) -> Page[IAMRecoveryRequest]:
    """Return a page of the open, or closed, requests within reach, newest first."""
    at = clock.now()
    over = or_(_R.status.not_in(OPEN), _R.expires_at <= at)
    statement = select(_R).where(over) if closed else select(_R).where(*rows.is_open(at))
    statement = statement.where(*reach.owned_by(_R.user_id))
    return page_by_id(session(), statement, _R.id, cursor=cursor, size=size)


def open_for(
    user_id: UUID, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> IAMRecoveryRequest:
    """Open a request for a person who asked for help, to be approved by somebody else.

    One that the person began is taken over; joins the transaction. Raises InvalidInput,
    Forbidden, SecondPersonNeeded for oneself, RecoveryClosed, RecoveryUnreachable, and what
    the notice raises.
    """
    text = check_reason(reason)
    if actor.user_id == user_id:
        _refuse_alone(user_id, actor)
    services_rbac.guard_outranks(user_id, actor_grants=actor_grants, actor=actor)
    user = services_recovery.hold(user_id, actor)
    _guard_reach(user, actor_grants, actor)
    row = rows.open_of(user.id, locked=True)
    if row is None:
        return services_recovery.open_request(user, APPROVAL, reason=text, actor=actor)
    taken = {"opened_by": actor.user_id, "reason": text}
    services_recovery.escalate(user, row, text, actor=actor, **taken)
    return row


def may_approve(row: IAMRecoveryRequest, actor_id: UUID | None) -> bool:
    """Return whether a request waits for a decision that is this administrator's to make."""
    return rows.status_of(row) == APPROVAL and actor_id not in {row.user_id, row.opened_by}


def approve(
    request_id: UUID | None, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Approve a request; the waiting time begins. Joins the transaction.

    Raises NotFound, InvalidInput, Forbidden, SecondPersonNeeded, RecoveryClosed, and what
    the notices raise.
    """
    text = check_reason(reason)
    row = rows.find(request_id)
    if actor.user_id in {row.user_id, row.opened_by}:
        _refuse_alone(row.user_id, actor)
    services_rbac.guard_outranks(row.user_id, actor_grants=actor_grants, actor=actor)
    user = services_recovery.hold(row.user_id, actor)
    _guard_reach(user, actor_grants, actor)
    services_recovery.begin_waiting(
        user,
        row,
        (APPROVAL,),
        effective(RecoverySettings).RECOVERY_APPROVED_WAIT_HOURS,
        actor=actor,
        decided_by=actor.user_id,
        decided_at=clock.now(),
        decision_reason=text,
    )
    record(events.RECOVERY_APPROVED, resource=user, actor=actor, reason=text)


def refuse(
    request_id: UUID | None, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Refuse an open request, also one that waits already; joins the transaction.

    Raises NotFound, InvalidInput, Forbidden, RecoveryClosed.
    """
    text = check_reason(reason)
    row = rows.find(request_id)
    services_rbac.guard_outranks(row.user_id, actor_grants=actor_grants, actor=actor)
    user = services_recovery.hold(row.user_id, actor)
    _guard_reach(user, actor_grants, actor)
    at = clock.now()
    rows.change(
        row,
        OPEN,
        status=REFUSED,
        closed_at=at,
        decided_by=actor.user_id,
        decided_at=at,
        decision_reason=text,
    )
    notices.refused(user, actor=actor)
    record(events.RECOVERY_REFUSED, resource=user, actor=actor, reason=text)


def _guard_reach(user: IAMUserAccount, actor_grants: Grants | None, actor: Actor) -> None:
    services_rbac.guard_reach(
        "recovery:approve", user.parent_id, actor_grants=actor_grants, actor=actor
    )


def _refuse_alone(user_id: UUID, actor: Actor) -> NoReturn:
    record(
        events.RECOVERY_FAILED,
        resource=("user_account", user_id),
        status=DENIED,
        error=SecondPersonNeeded.code,
        actor=actor,
        reason="four eyes",
        channel="",
    )
    raise SecondPersonNeeded
