"""Single-use links sent to a person: issued, found, used up, dropped (C6, B3).

Only a digest of the token is stored; a newer link kills the older (AT-092), and a
look changes nothing (AT-101). Codes, alone or along with a link, are `services_codes`.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, update

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core import clock, rng
from ...core.actor import Actor
from ...core.crypto import token_digest
from ...core.db import session
from ...core.ids import new_id
from ..errors import LinkInvalid
from ..liveness import may_set_password
from ..models import IAMActionToken, IAMUserAccount
from ..sessions import services_sessions
from . import services_stand_in

RESET, SET, EMAIL_UNDO = "password_reset", "password_set", "email_undo"
PASSWORD_LINKS = (RESET, SET)
_A = IAMActionToken


def issue(user: IAMUserAccount, purpose: str, length: timedelta) -> str:
    """Return a new token that sets a password; older ones of the person die (AT-092)."""
    drop(user, *PASSWORD_LINKS)
    at = clock.now()
    token = rng.token()
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
    session().add(services_stand_in.storable(row, user))
    return token


def drop(user: IAMUserAccount, *purposes: str) -> None:
    """Make the person's outstanding links and codes of `purposes` useless.

    Without purposes all go but those that undo a change of address: they are how an
    owner gets an account back from somebody who now reads its mail (AT-103).
    """
    which = _A.purpose.in_(purposes) if purposes else _A.purpose != EMAIL_UNDO
    session().execute(
        delete(_A).where(_A.user_id == user.id, which).execution_options(synchronize_session=False)
    )


def find(token: str) -> tuple[IAMActionToken, IAMUserAccount]:
    """Return an unused password link and its account; a look changes nothing (AT-101).

    Raises LinkInvalid.
    """
    row = session().scalar(
        select(_A).where(
            _A.token_digest == token_digest(token[:128]), _A.purpose.in_(PASSWORD_LINKS)
        )
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
        update(_A)
        .where(_A.id == row.id, _A.consumed_at.is_(None))
        .values(consumed_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    if session().execute(statement).rowcount != 1:  # type: ignore[attr-defined]
        record(events.PASSWORD_RESET_FAILED, status=FAILURE, actor=actor, reason="used")
        raise LinkInvalid
