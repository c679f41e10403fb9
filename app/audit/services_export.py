"""Export of the audit trail as JSON, NDJSON or CSV, streamed at constant memory.

The export is itself an event, committed before the first byte leaves. Rows are read
in chunks by key, and the connection is given back between chunks.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ..core.actor import Actor
from ..core.db import end_read
from ..core.errors import BadRequest
from ..core.i18n import _
from ..core.scoping import tenant_scope
from . import services_query
from .events import AUDIT_EXPORTED
from .filters import AuditFilter
from .models import IAMAuthLog
from .services_audit import record

CHUNK_ROWS = 1000
COLUMNS = (
    "id", "tenant_id", "occurred_at", "recorded_at", "action", "severity", "status", "error",
    "actor_type", "actor_id", "on_behalf_of_id", "resource_type", "resource_id", "subject_id",
    "ip", "user_agent", "request_id", "session_hash", "changes", "metadata", "encoding_version",
)  # fmt: skip
# What a spreadsheet takes for the start of a formula, in both widths (AT-403).
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


@dataclass(frozen=True, slots=True)
class Format:
    """How events are written: media type, the text around them, and one chunk of them."""

    mimetype: str
    write: Callable[[list[dict[str, Any]], bool], str]
    head: str = ""
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was recorded and may be sent: its name, its type, its text."""

    filename: str
    mimetype: str
    chunks: Iterator[str]


def begin(
    conditions: AuditFilter,
    format_: str,
    *,
    typed: dict[str, str],
    shown: Callable[[Sequence[IAMAuthLog]], Sequence[Any]] = list,
    actor: Actor,
) -> Export:
    """Record an export and return it, ready to be read once the record is committed.

    `shown` hides from the reader what they may not see of an event. `typed` are the
    conditions as the reader gave them; of the actor they name, the id is kept. Events that
    come later than the record are not part of it. Raises BadRequest for an unknown format.
    """
    chosen = FORMATS.get(format_)
    if chosen is None:
        known = ", ".join(FORMATS)
        raise BadRequest(_("Choose one of these formats: %(known)s", known=known), field="format")
    named = {"actor": str(conditions.actor)} if conditions.actor else {}
    row = record(AUDIT_EXPORTED, actor=actor, format=format_, filters=typed | named)
    name = f"audit-{row.occurred_at:%Y%m%dT%H%M%SZ}.{format_}"
    return Export(name, chosen.mimetype, _text(conditions, chosen, row.id, actor.tenant_id, shown))


def as_dict(event: IAMAuthLog) -> dict[str, Any]:
    """Return every field of an event as plain values, in the order of the columns."""
    values = {name: getattr(event, name) for name in COLUMNS if name != "metadata"}
    values["metadata"] = event.details
    return {name: _plain(values[name]) for name in COLUMNS}


def safe_cell(value: Any) -> str:
    """Return a value as a spreadsheet may open it: never a formula (AT-403)."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _text(
    conditions: AuditFilter,
    chosen: Format,
    before: UUID,
    tenant_id: UUID,
    shown: Callable[[Sequence[IAMAuthLog]], Sequence[Any]],
) -> Iterator[str]:
    with tenant_scope(tenant_id):  # an address is looked up by the tenant's own key
        query = services_query.matching(conditions).limit(CHUNK_ROWS)
        end_read()
    yield chosen.head
    first = True
    while True:
        # The reader may be slow and run outside the request's scope: ask within our own.
        with tenant_scope(tenant_id):
            rows = [as_dict(event) for event in shown(query.before(before))]
            end_read()
        if rows:
            yield chosen.write(rows, first)
            before, first = UUID(rows[-1]["id"]), False
        if len(rows) < CHUNK_ROWS:
            break
    yield chosen.tail


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _ndjson(rows: list[dict[str, Any]], _first: bool) -> str:
    return "".join(_dump(row) + "\n" for row in rows)


def _json(rows: list[dict[str, Any]], first: bool) -> str:
    return ("" if first else ",\n") + ",\n".join(_dump(row) for row in rows)


def _csv(rows: list[dict[str, Any]], _first: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    for row in rows:
        cells = (
            _dump(value) if isinstance(value, dict | list) else value for value in row.values()
        )
        writer.writerow([safe_cell(cell) for cell in cells])
    return text.getvalue()


FORMATS = {
    "csv": Format("text/csv", _csv, head=",".join(COLUMNS) + "\r\n"),
    "json": Format("application/json", _json, head="[\n", tail="\n]\n"),
    "ndjson": Format("application/x-ndjson", _ndjson),
}
