"""The audit trail's pages: list with filters, one event, export. Reading only."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response, request, stream_with_context, url_for

from ..auth.accounts.admin_pages import reach
from ..auth.accounts.services_accounts import find_by_login
from ..auth.accounts.services_names import names_of
from ..auth.security import reaches, requires_permission_somewhere
from ..auth.web.blueprint import audit_bp as bp
from ..auth.web.current import request_actor
from ..auth.web.pages import render
from ..core.db import transaction
from ..core.errors import InvalidInput
from ..core.i18n import _
from ..core.ids import parse_id
from ..core.paging import Page
from ..tenancy import setting_words
from . import filters, services_export, services_query, wording
from .events import CATALOGUE
from .models import IAMAuthLog
from .reach_pages import narrowed, query, veiled

__all__ = ["bp"]
_RELATED = 20


@bp.get("/logs")
@requires_permission_somewhere("audit:read")
def logs() -> Response:
    """Show a page of events that meet the filter."""
    size = filters.parse_size(request.args.get("size"))
    try:
        conditions = _conditions("audit:read")
    except InvalidInput as refusal:
        return _list_page(Page(), size, refusal)
    found = services_query.page(conditions, cursor=request.args.get("cursor"), size=size)
    return _list_page(found, size)


@bp.get("/logs/<event_id>")
@requires_permission_somewhere("audit:read")
def log(event_id: str) -> Response:
    """Show one event: every field, what changed, and what else happened in that request."""
    found = services_query.find(parse_id(event_id), query())
    event, *related = veiled([found, *_same_request(found)], reach("audit:read"))
    return render(
        "iam/audit_log.html",
        event=event,
        related=related,
        words=wording,
        names=names_of(wording.accounts_in([event, *related]), reach("user:read")),
        stored=services_export.as_dict(event),
        setting_label=_setting_label,
    )


@bp.get("/logs/export")
@requires_permission_somewhere("audit:export")
def export() -> Response:
    """Send the events that meet the filter as a file; that it was done is recorded first."""
    conditions, within = _conditions("audit:export"), reach("audit:export")
    with transaction():
        sent = services_export.begin(
            conditions,
            request.args.get("format", ""),
            typed=filters.values_of(request.args),
            shown=lambda events: veiled(events, within),
            actor=request_actor(),
        )
    response = Response(stream_with_context(sent.chunks), mimetype=sent.mimetype)
    response.headers.set("Content-Disposition", "attachment", filename=sent.filename)
    return response


def _conditions(permission: str) -> filters.AuditFilter:
    within = reach(permission)

    def find_actor(login: str) -> UUID | None:
        account = find_by_login(login)
        return account.id if account and within.has(account.parent_id) else None

    return narrowed(filters.parse(request.args, find_actor=find_actor), permission)


def _setting_label(name: str) -> str:
    return setting_words.label(name) if name in setting_words.LABELS else ""


def _same_request(event: IAMAuthLog) -> list[IAMAuthLog]:
    if not event.request_id:
        return []
    found = query().by_request(event.request_id).limit(_RELATED).all()
    return [other for other in found if other.id != event.id]


def _list_page(found: Page[IAMAuthLog], size: int, refusal: InvalidInput | None = None) -> Response:
    typed = filters.values_of(request.args)
    events = veiled(found.items, reach("audit:read"))
    # A size other than the usual is kept from page to page.
    kept: dict[str, Any] = typed | ({"size": size} if size != filters.DEFAULT_SIZE else {})
    return render(
        "iam/audit_logs.html",
        422 if refusal else 200,
        events=events,
        words=wording,
        names=names_of(wording.accounts_in(events), reach("user:read")),
        typed=typed,
        wrong={refusal.field: _(str(refusal.title))} if refusal else {},
        actions=sorted((wording.headline(name), name) for name in CATALOGUE),
        severities=filters.SEVERITIES,
        statuses=filters.STATUSES,
        page={
            "next_url": _page_url(kept, found.next_cursor),
            "prev_url": _page_url(kept, found.prev_cursor),
        },
        exports=list(services_export.FORMATS) if reaches("audit:export") and not refusal else [],
    )


def _page_url(kept: dict[str, Any], cursor: str | None) -> str | None:
    return url_for("iam_audit.logs", **kept, cursor=cursor) if cursor else None
