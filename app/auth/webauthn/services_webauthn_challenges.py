"""Challenges of WebAuthn ceremonies: issued, used up once, before anything else is checked.

Kept by digest and bound to browser and purpose, to account and session where those are
known (AT-250). The expected challenge is the one whose digest was found here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, bindparam, delete, or_, select, update

from ...core import clock, rng
from ...core.db import run_prepared, session, transaction
from ...core.ids import new_id
from ...core.scoping import current_tenant_id
from ..models import IAMWebauthnChallenge
from .settings_webauthn import WebauthnSettings

REGISTER, PASSKEY = "register", "passkey"
MOST_LIVE = 5
_BYTES = 32
_C = IAMWebauthnChallenge
_T = cast(Table, IAMWebauthnChallenge.__table__)
# One compare-and-swap whose WHERE holds every binding.
_USE_UP = (
    update(_T)
    .where(
        _T.c.tenant_id == bindparam("tenant"),
        _T.c.challenge_digest == bindparam("digest"),
        _T.c.browser_digest == bindparam("browser"),
        _T.c.purpose == bindparam("for_purpose"),
        _T.c.user_id.is_not_distinct_from(bindparam("user", type_=_T.c.user_id.type)),
        _T.c.session_id.is_not_distinct_from(bindparam("of_session", type_=_T.c.session_id.type)),
        _T.c.consumed_at.is_(None),
        _T.c.expires_at > bindparam("at"),
    )
    .values(consumed_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class Bound:
    """What a challenge is good for: one browser and purpose, and whom that concerns."""

    purpose: str
    browser: bytes
    user_id: UUID | None = None
    session_id: UUID | None = None


def digest_of(challenge: bytes) -> bytes:
    """Return what a challenge is kept as; 256 random bits need no salt."""
    return hashlib.sha256(challenge).digest()


def issue(bound: Bound) -> bytes:
    """Return a fresh challenge; joins the transaction. Beyond five, a browser's oldest go."""
    at = clock.now()
    _drop_surplus(bound, at)
    challenge = rng.random_bytes(_BYTES)
    session().add(
        IAMWebauthnChallenge(
            id=new_id(),
            challenge_digest=digest_of(challenge),
            browser_digest=bound.browser,
            user_id=bound.user_id,
            session_id=bound.session_id,
            purpose=bound.purpose,
            created_at=at,
            expires_at=at + timedelta(seconds=WebauthnSettings.current().WEBAUTHN_TIMEOUT_SECONDS),
        )
    )
    return challenge


def use_up(challenge: bytes, bound: Bound) -> bytes | None:
    """Use a challenge up and commit that; return its digest, None where none was live."""
    digest = digest_of(challenge)
    parameters = {
        "tenant": current_tenant_id(),
        "digest": digest,
        "browser": bound.browser,
        "for_purpose": bound.purpose,
        "user": bound.user_id,
        "of_session": bound.session_id,
        "at": clock.now(),
    }
    with transaction():
        found = run_prepared(_USE_UP, parameters, reason="the tenant in scope is a parameter")
        return digest if found.rowcount else None


def take(digest: bytes, purpose: str, user_id: UUID, session_id: UUID | None) -> bool:
    """Take a used-up challenge out for good: of two that hold it, one gets it."""
    statement = delete(_C).where(
        _C.challenge_digest == digest,
        _C.consumed_at.is_not(None),
        _C.purpose == purpose,
        _C.user_id == user_id,
        _C.session_id.is_not_distinct_from(session_id),
    )
    options = {"synchronize_session": False}
    result: Any = session().execute(statement, execution_options=options)
    return bool(result.rowcount)


def _drop_surplus(bound: Bound, at: datetime) -> None:
    # Read, then deleted by primary key: two requests of one browser must not deadlock.
    found = (
        session()
        .execute(
            select(_C.id, _C.expires_at)
            .where(
                _C.browser_digest == bound.browser,
                _C.purpose == bound.purpose,
                or_(_C.consumed_at.is_(None), _C.expires_at <= at),
            )
            .order_by(_C.id.desc())
        )
        .all()
    )
    live = [row.id for row in found if row.expires_at > at]
    gone = {row.id for row in found} - set(live[: MOST_LIVE - 1])
    if gone:
        session().execute(
            delete(_C).where(_C.id.in_(sorted(gone))),
            execution_options={"synchronize_session": False},
        )
