"""Single-use links sent to a person: issued, found, used up, dropped (C6, B3).

Only a digest of the token is stored; a newer link kills the older (AT-092), and a
look changes nothing (AT-101).
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, update

from ..audit import events
from ..audit.services_audit import FAILURE, record
from ..core import clock, rng
from ..core.actor import Actor
from ..core.crypto import token_digest
from ..core.db import session
from ..core.ids import new_id
from . import services_sessions
from .errors import LinkInvalid
from .liveness import may_set_password
from .models import IAMActionToken, IAMUserAccount

RESET, SET = "password_reset", "password_set"


def issue(user: IAMUserAccount, purpose: str, length: timedelta) -> str:
    """Return a new single-use token for `purpose`; older ones of the person die (AT-092)."""
    drop(user)
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


def drop(user: IAMUserAccount) -> None:
    """Make every outstanding link of the person useless."""
    session().execute(
        delete(IAMActionToken)
        .where(IAMActionToken.user_id == user.id)
        .execution_options(synchronize_session=False)
    )


def find(token: str) -> tuple[IAMActionToken, IAMUserAccount]:
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


def consume(row: IAMActionToken, *, actor: Actor) -> None:
    """Use a link up; of two parallel uses one wins. Raises LinkInvalid."""
    statement = (
        update(IAMActionToken)
        .where(IAMActionToken.id == row.id, IAMActionToken.consumed_at.is_(None))
        .values(consumed_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    if session().execute(statement).rowcount != 1:  # type: ignore[attr-defined]
        record(events.PASSWORD_RESET_FAILED, status=FAILURE, actor=actor, reason="used")
        raise LinkInvalid
