"""What the audit trail knows about a recovery and its person, for whoever decides it (I1).

Read in one query, newest first; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from ...audit import events
from ...audit.models import IAMAuthLog
from ...core.db import session
from ..models import IAMRecoveryRequest

_E = IAMAuthLog
_EVENTS = (
    events.EMAIL_CHANGED,
    events.EMAIL_CHANGE_UNDONE,
    events.PHONE_CHANGED,
    events.USER_UPDATED,
    events.RECOVERY_OPENED,
    events.RECOVERY_CANCELLED,
)
_NEWEST = 100


@dataclass(frozen=True, slots=True)
class Evidence:
    """When the channels changed last, what the asker had shown, and why the request stopped."""

    email_changed_at: datetime | None
    phone_changed_at: datetime | None
    amr: tuple[str, ...]
    stopped: str


def evidence(row: IAMRecoveryRequest) -> Evidence:
    """Return what the trail tells about a request."""
    names = [event.name for event in _EVENTS]
    found = session().scalars(
        select(_E)
        .where(_E.resource_id == row.user_id, _E.action.in_(names))
        .order_by(_E.id.desc())
        .limit(_NEWEST)
    )
    entries = found.all()
    return Evidence(
        _changed(entries, "email"),
        _changed(entries, "phone_number"),
        tuple(_detail(entries, row, events.RECOVERY_OPENED, "amr") or ()),
        str(_detail(entries, row, events.RECOVERY_CANCELLED, "reason") or ""),
    )


def _changed(entries: Sequence[IAMAuthLog], field: str) -> datetime | None:
    return next((entry.occurred_at for entry in entries if field in entry.changes), None)


def _detail(
    entries: Sequence[IAMAuthLog], row: IAMRecoveryRequest, event: events.Event, name: str
) -> Any:
    # The first one since the request: a person has one that is open at a time.
    since = [item for item in entries if item.action == event.name]
    since = [item for item in since if item.occurred_at >= row.created_at]
    return since[-1].details.get(name) if since else None
