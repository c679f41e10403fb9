"""What the administration pages share: their blueprint, the navigation, who may see what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import current_app, has_request_context, request, url_for

from ...core.i18n import _
from ...core.i18n import lazy as _l
from ...core.paging import Page
from ..security import can
from ..web.blueprint import IAMBlueprint

admin_bp = IAMBlueprint("iam_admin", "IAM_ADMIN_PREFIX")
"""`routes_admin` and the three modules named after it add to it."""

PAGE_SIZE = 25
STATUS_LABELS = {
    "active": _l("Active"),
    "invited": _l("Invited"),
    "pending_verification": _l("Waiting for verification"),
    "suspended": _l("Suspended"),
    "locked": _l("Locked"),
    "disabled": _l("Disabled"),
    "erased": _l("Erased"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the navigation; shown to people who hold `permission`."""

    endpoint: str
    label: Any
    permission: str
    prefix: str


ENTRIES = (
    Entry("iam_admin.dashboard", _l("Overview"), "admin:access", "iam_admin.dashboard"),
    Entry("iam_admin.users", _l("Users"), "user:read", "iam_admin.user"),
    Entry("iam_admin.recovery", _l("Recovery"), "recovery:read", "iam_admin.recovery"),
    Entry("iam_roles.roles", _l("Roles"), "role:read", "iam_roles."),
    Entry("iam_admin.connections", _l("Connections"), "connection:read", "iam_admin.connection"),
    Entry("iam_admin.domains_list", _l("Domains"), "domain:read", "iam_admin.domain"),
    Entry("iam_admin.sessions", _l("Sessions"), "session:read", "iam_admin.session"),
    Entry("iam_audit.logs", _l("Audit trail"), "audit:read", "iam_audit."),
)


def navigation() -> list[dict[str, Any]]:
    """Return the entries that exist in this app and that the person may open."""
    here = request.endpoint or ""
    return [
        {
            "endpoint": entry.endpoint,
            "url": url_for(entry.endpoint),
            "label": entry.label,
            "active": here.startswith(entry.prefix),
        }
        for entry in ENTRIES
        if entry.endpoint in current_app.view_functions and can(entry.permission)
    ]


@admin_bp.app_context_processor
def _admin_context() -> dict[str, Any]:
    if has_request_context() and request.blueprint in {"iam_admin", "iam_roles", "iam_audit"}:
        return {"admin_nav": navigation(), "status_labels": STATUS_LABELS}
    return {}


def page_links(found: Page[Any], endpoint: str, kept: dict[str, Any]) -> dict[str, str | None]:
    """Return the addresses of the pages before and after, with the filter kept."""
    return {
        "next_url": _page_url(endpoint, kept, found.next_cursor),
        "prev_url": _page_url(endpoint, kept, found.prev_cursor),
    }


def status_label(status: str) -> str:
    """Return an account status in words."""
    return str(STATUS_LABELS.get(status, _(status)))


def _page_url(endpoint: str, kept: dict[str, Any], cursor: str | None) -> str | None:
    return url_for(endpoint, **kept, cursor=cursor) if cursor else None
