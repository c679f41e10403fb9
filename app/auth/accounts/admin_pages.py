"""What the administration pages share: their blueprint, the navigation, who may see what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import current_app, has_request_context, request, url_for

from ...core.errors import Forbidden, NotFound
from ...core.i18n import _
from ...core.i18n import lazy as _l
from ...core.ids import parse_id
from ...core.paging import Page
from ..models import IAMUserAccount
from ..security import can, reaches
from ..web.blueprint import IAMBlueprint
from ..web.current import current_user
from .services_directory import get_user
from .services_reach import Reach, reach_of

admin_bp = IAMBlueprint("iam_admin", "IAM_ADMIN_PREFIX")
"""`routes_admin` and the three modules named after it add to it."""

PAGE_SIZE = 25
_OURS = {"iam_admin", "iam_roles", "iam_audit", "iam_organizations", "iam_settings"}
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
    """One entry of the navigation; shown to people who hold `permission`.

    `somewhere`: over some organization suffices, the page narrows itself (K4).
    """

    endpoint: str
    label: Any
    permission: str
    prefix: str | tuple[str, ...]
    somewhere: bool = False

    def is_open(self) -> bool:
        """Return whether the signed-in person may open it."""
        return reaches(self.permission) if self.somewhere else can(self.permission)


ENTRIES = (
    Entry("iam_admin.dashboard", _l("Overview"), "admin:access", "iam_admin.dashboard", True),
    Entry("iam_admin.users", _l("Users"), "user:read", "iam_admin.user", True),
    Entry(
        "iam_organizations.organizations",
        _l("Organizations"),
        "organization:read",
        "iam_organizations.",
        True,
    ),
    Entry(
        "iam_admin.invitations", _l("Invitations"), "invitation:read", "iam_admin.invitation", True
    ),
    Entry("iam_admin.recovery", _l("Recovery"), "recovery:read", "iam_admin.recovery", True),
    Entry("iam_roles.roles", _l("Roles"), "role:read", "iam_roles.", True),
    Entry("iam_admin.connections", _l("Connections"), "connection:read", "iam_admin.connection"),
    Entry("iam_admin.domains_list", _l("Domains"), "domain:read", "iam_admin.domain"),
    Entry("iam_admin.sessions", _l("Sessions"), "session:read", "iam_admin.session", True),
    Entry(
        "iam_admin.tenants",
        _l("Tenants"),
        "tenant:read",
        ("iam_admin.tenant", "iam_admin.access_"),
    ),
    Entry("iam_settings.settings", _l("Settings"), "settings:read", "iam_settings."),
    Entry("iam_audit.logs", _l("Audit trail"), "audit:read", "iam_audit.", True),
    Entry("iam_admin.stays", _l("Platform access"), "access:read", "iam_admin.stay"),
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
        if entry.endpoint in current_app.view_functions and entry.is_open()
    ]


def section(endpoint: str) -> str:
    """Return in words to which part of the administration a page belongs."""
    found = (entry.label for entry in ENTRIES if endpoint.startswith(entry.prefix))
    return str(next(found, _("Administration")))


@admin_bp.app_context_processor
def _admin_context() -> dict[str, Any]:
    if has_request_context() and request.blueprint in _OURS:
        return {"admin_nav": navigation(), "status_labels": STATUS_LABELS}
    return {}


def reach(permission: str) -> Reach:
    """Return how far a permission of the signed-in person reaches."""
    return reach_of(current_user.grants, permission)


def person(user_id: str, permission: str = "user:read") -> IAMUserAccount:
    """Return the account that an address names. Raises NotFound, Forbidden.

    One beyond the reader's organizations is not there; one they may see but not act on is
    refused.
    """
    found = get_user(parse_id(user_id))
    if reach(permission).has(found.parent_id):
        return found
    if reach("user:read").has(found.parent_id):
        raise Forbidden(required=permission)
    raise NotFound


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
