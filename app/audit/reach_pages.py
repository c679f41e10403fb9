"""What a delegated administrator may read of the audit trail (K4).

An event is theirs to read where it concerns one of their people. Who did it is told only
where that is one of them, too: otherwise name, address, browser and session stay hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from ..auth.accounts import services_reach
from ..auth.accounts.admin_pages import reach
from ..auth.accounts.services_reach import Reach
from .filters import AuditFilter
from .models import IAMAuthLog
from .services_query import AuditLogQuery
from .wording import OUTSIDE

_HIDDEN = frozenset({"actor_id", "on_behalf_of_id", "ip", "user_agent", "session_hash",
                     "request_id"})  # fmt: skip


class Veiled:
    """An event whose actor the reader does not administer."""

    actor_type = OUTSIDE

    def __init__(self, event: IAMAuthLog) -> None:
        self._event = event

    def __getattr__(self, name: str) -> Any:
        return None if name in _HIDDEN else getattr(self._event, name)


def narrowed(conditions: AuditFilter, permission: str) -> AuditFilter:
    """Return a filter that keeps to what the reader's `permission` reaches."""
    return replace(conditions, people=reach(permission).people())


def query(permission: str = "audit:read") -> AuditLogQuery:
    """Return the question that finds all that the reader's `permission` reaches."""
    people = reach(permission).people()
    return AuditLogQuery() if people is None else AuditLogQuery().about(people)


def veiled(events: Sequence[IAMAuthLog], within: Reach) -> list[Any]:
    """Return events as somebody of this reach may read them; at most one query."""
    if within.organizations is None:
        return list(events)
    known = services_reach.among({event.actor_id for event in events if event.actor_id}, within)
    return [event if _is_known(event, known) else Veiled(event) for event in events]


def events_of(user_id: UUID, size: int) -> list[Any]:
    """Return the last events that a person did or that were done to them."""
    about = query().limit(size)
    found = {row.id: row for row in about.by_resource("user_account", user_id).all()}
    found |= {row.id: row for row in about.by_actor(user_id).all()}
    latest = sorted(found.values(), key=lambda row: row.id, reverse=True)[:size]
    return veiled(latest, reach("audit:read"))


def _is_known(event: IAMAuthLog, known: set[UUID]) -> bool:
    # Nobody's act, such as a refused sign-in, hides nobody.
    return event.actor_id is None or event.actor_id in known
