"""Deletion of what time has made useless. The audit trail is never touched here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete

from .auth.access import services_access_ends
from .auth.models import (
    IAMActionToken,
    IAMAuthSession,
    IAMInvitation,
    IAMMfaChallenge,
    IAMRecoveryRequest,
    IAMSsoFlow,
    IAMSsoLogoutToken,
    IAMWebauthnChallenge,
)
from .core import clock
from .core.db import session, transaction
from .core.scoping import exempt
from .notify import services_outbox
from .risk import services_limits

_EXEMPT = exempt("expired rows are deleted in every tenant")
_KEEP = timedelta(days=30)
_EXPIRING: tuple[Any, ...] = (
    IAMAuthSession,
    IAMMfaChallenge,
    IAMActionToken,
    IAMInvitation,
    IAMRecoveryRequest,
)

_USELESS_AT_ONCE: tuple[Any, ...] = (IAMWebauthnChallenge, IAMSsoFlow, IAMSsoLogoutToken)


def purge_expired() -> dict[str, int]:
    """Delete expired sessions, challenges, links, requests, counters and delivered messages."""
    at = clock.now()
    counts = {}
    for model in _EXPIRING:
        with transaction():
            counts[model.__tablename__] = _delete(model, model.expires_at < at - _KEEP)
    for model in _USELESS_AT_ONCE:
        with transaction():
            counts[model.__tablename__] = _delete(model, model.expires_at < at)
    with transaction():
        counts["iam_throttle"] = services_limits.purge(at - timedelta(days=2))
    counts["iam_outbox"] = services_outbox.purge()
    services_access_ends.end_expired()
    return counts


def _delete(model: Any, condition: Any) -> int:
    statement = delete(model).where(condition).execution_options(synchronize_session=False)
    result: Any = session().execute(statement, execution_options=_EXEMPT)
    return int(result.rowcount)
