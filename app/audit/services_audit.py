"""The one writer of the audit trail, and its reading side.

`record` adds a row to the caller's transaction: the change and its evidence are
committed together or not at all (requirement M1).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert

from ..core import clock
from ..core.actor import Actor
from ..core.db import after_commit, keep_evidence
from ..core.ids import new_id
from ..core.scoping import insert_past
from . import observers
from .events import CATALOGUE, Event
from .models import IAMAuthLog
from .personal.services_personal import protect
from .sealing.macs import as_columns, mac_of
from .sealing.wake import wake

SUCCESS, FAILURE, DENIED = "success", "failure", "denied"
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_MAX_TEXT = 400
_TABLE: Any = IAMAuthLog.__table__
_INSERT = insert(_TABLE)
_INTEGERS = 1 << 63


def record(
    event: Event,
    *,
    resource: Any = None,
    status: str = SUCCESS,
    error: str | None = None,
    changes: Mapping[str, Any] | None = None,
    subject_id: UUID | None = None,
    actor: Actor,
    **details: Any,
) -> IAMAuthLog:
    """Record `event` in the current transaction; a refusal that keeps evidence keeps what failed.

    `resource` is a model row (its table and id are kept) or a `(type, id)` pair.
    Raises ValueError for an event or a metadata key that is not in the catalogue.
    """
    _check_declared(event, details)
    kind, resource_id = _resource(resource)
    at = clock.now()
    values = {
        "id": new_id(),
        "tenant_id": actor.tenant_id,
        "action": event.name,
        "severity": event.severity,
        "status": status,
        "actor_type": actor.kind,
        "actor_id": actor.user_id,
        "resource_type": kind,
        "resource_id": resource_id,
        "subject_id": subject_id or (resource_id if kind == "user_account" else actor.user_id),
        "changes_clear": _plain(changes or {}),
        "ip_clear": actor.ip,
        "user_agent_clear": clean(actor.user_agent),
        "request_id": actor.request_id,
        "session_hash": session_hash(actor.session_id),
        "error": error,
        "details_clear": _plain(details | ({"by": actor.label} if actor.label else {})),
        "encoding_version": 1,
        "occurred_at": at,
        "recorded_at": at,
    }
    kept = _kept(event, values)
    insert_past(_INSERT, as_columns(kept))
    row = IAMAuthLog(**kept)
    if status != SUCCESS:  # what succeeded in work that is undone did not happen
        # Encrypted anew: a key that was made in the work goes with it.
        keep_evidence(lambda: IAMAuthLog(**_kept(event, values)), then=wake)
    after_commit(wake)
    observers.show(row)
    return row


def _kept(event: Event, values: dict[str, Any]) -> dict[str, Any]:
    kept = protect(event, values)
    return {**kept, "mac": mac_of(kept)}


def session_hash(session_id: UUID | None) -> str | None:
    """Return the form in which a session id may stand in a log."""
    return hashlib.sha256(session_id.bytes).hexdigest()[:32] if session_id else None


def clean(text: str | None) -> str | None:
    """Return `text` without control, bidirectional or lone surrogate characters (AT-401)."""
    if text is None:
        return None
    return _CONTROL.sub("\ufffd", text)[:_MAX_TEXT]


def changes_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{field: [old, new]}` for every field that differs."""
    return {
        key: [before.get(key), value] for key, value in after.items() if before.get(key) != value
    }


def _check_declared(event: Event, details: Mapping[str, Any]) -> None:
    if CATALOGUE.get(event.name) is not event:
        raise ValueError(f"{event.name} is not in the audit catalogue")
    undeclared = set(details) - event.fields
    if undeclared:
        raise ValueError(f"{event.name} may not carry {', '.join(sorted(undeclared))}")


def _resource(resource: Any) -> tuple[str | None, UUID | None]:
    if resource is None:
        return None, None
    if isinstance(resource, tuple):
        return resource[0], resource[1]
    return str(resource.__tablename__).removeprefix("iam_"), resource.id


def _plain(value: Any) -> Any:
    # Both engines, and the verifier, must read back what was written: no float survives a
    # round trip through every JSON column, and an integer has 63 bits.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {str(clean(str(key))): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, int) and -_INTEGERS <= value < _INTEGERS:
        return int(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str | UUID | int | float):
        return clean(str(value))
    raise TypeError(f"an event cannot carry a {type(value).__name__}")
