"""Messages about critical events: a mail for people, JSON for webhooks, a line for the system log.

Machines get ids, kinds and numbers, never a name or an address of a person (AT-418).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ..audit.models import IAMAuthLog
from ..audit.wording import headline
from ..core.i18n import _
from .addresses import header_safe
from .messages import EMAIL, SYSLOG, WEBHOOK, Message, plain_label
from .rendering import render_mail

PURPOSE = "critical_events"


@dataclass(frozen=True, slots=True)
class Told:
    """What is told: how many events of each kind, and the newest of them."""

    tenant_id: UUID
    counts: Mapping[str, int]
    newest: Sequence[IAMAuthLog]

    @property
    def total(self) -> int:
        """Return how many events there are."""
        return sum(self.counts.values())


def mail(
    recipient: str, told: Told, *, names: Mapping[UUID, str], brand: str, link: str | None
) -> Message:
    """Return the mail to somebody who watches over a tenant."""
    kinds = sorted(told.counts.items(), key=lambda item: (-item[1], item[0]))
    if told.total == 1:
        heading = headline(kinds[0][0])
    else:
        heading = _("%(count)s critical events", count=told.total)
    subject = _("%(what)s: %(brand)s", what=heading, brand=brand)
    text, html = render_mail(
        "notice",
        PURPOSE,
        brand=brand,
        heading=heading,
        paragraphs=[_("Please look whether this was meant to happen.")],
        kinds=[(headline(kind), count) for kind, count in kinds] if told.total > 1 else [],
        events=[_line(event, names) for event in told.newest],
        more=told.total - len(told.newest),
        closing=[
            _("Events of a kind that was told a moment ago are told together, a quarter of an "
              "hour later.")
        ],
        facts=[],
        link=link,
        link_label=_("Open the audit trail"),
    )  # fmt: skip
    return Message(EMAIL, recipient, subject, text, html, PURPOSE)


def webhook(url: str, told: Told, *, at: datetime) -> Message:
    """Return the webhook, in the envelope that Standard Webhooks recommends."""
    body = {
        "type": "audit.critical",
        "timestamp": at.isoformat(),
        "data": {
            "tenant_id": str(told.tenant_id),
            "counts": dict(told.counts),
            "events": [_ids(event) for event in told.newest],
        },
    }
    return Message(WEBHOOK, url, "", json.dumps(body), None, PURPOSE)


def syslog(target: str, told: Told) -> Message:
    """Return the line for the system log."""
    kinds = ",".join(f"{kind}*{count}" for kind, count in sorted(told.counts.items()))
    newest = told.newest[0].id if told.newest else "-"
    text = f"tenant={told.tenant_id} critical={told.total} kinds={kinds} newest={newest}"
    return Message(SYSLOG, target, "", text, None, PURPOSE)


def _line(event: IAMAuthLog, names: Mapping[UUID, str]) -> tuple[str, str]:
    name = names.get(event.actor_id) if event.actor_id else None
    parts = [
        headline(event.action),
        plain_label(name, _("somebody")) if event.actor_id else "",
        header_safe(event.ip, "ip") if event.ip else "",
    ]
    return f"{event.occurred_at:%Y-%m-%d %H:%M} UTC", " · ".join(part for part in parts if part)


def _ids(event: IAMAuthLog) -> dict[str, str | None]:
    def text(value: UUID | None) -> str | None:
        return str(value) if value else None

    return {
        "id": str(event.id),
        "action": event.action,
        "severity": event.severity,
        "status": event.status,
        "occurred_at": event.occurred_at.isoformat(),
        "actor_id": text(event.actor_id),
        "resource_type": event.resource_type,
        "resource_id": text(event.resource_id),
    }
