"""Administration: the overview. Users and sessions are in the modules beside this one."""

from __future__ import annotations

from typing import Any

from flask import Response

from ..audit import services_query
from ..core import dates
from .access import routes_access
from .accounts import routes_admin_actions, routes_admin_users, services_accounts
from .accounts.admin_pages import admin_bp as bp
from .accounts.admin_pages import reach
from .accounts.services_reach import Reach
from .mfa.services_factors import label_of
from .recovery import routes_admin_recovery
from .security import reaches, requires_permission_somewhere
from .sessions import routes_admin_sessions, services_session_admin
from .sso.admin import (
    routes_admin_connection_test,
    routes_admin_connections,
    routes_admin_domains,
)
from .tenants import routes_admin_tenants
from .web.pages import render

CHART_DAYS = 14
__all__ = [
    "bp",
    "routes_access",
    "routes_admin_actions",
    "routes_admin_connection_test",
    "routes_admin_connections",
    "routes_admin_domains",
    "routes_admin_recovery",
    "routes_admin_sessions",
    "routes_admin_tenants",
    "routes_admin_users",
]


@bp.get("", strict_slashes=False)
@requires_permission_somewhere("admin:access")
def dashboard() -> Response:
    """Show how many people there are, who is here, and whether sign-ins go well."""
    people, recoveries = reach("user:read"), reach("recovery:read")
    days = services_query.sign_ins_per_day(CHART_DAYS, people=reach("audit:read").people())
    statuses = services_accounts.count_by_status(people)
    return render(
        "iam/admin_dashboard.html",
        statuses=statuses,
        people=sum(count for status, count in statuses.items() if status != "erased"),
        sessions=services_session_admin.count_live(reach("session:read")),
        today=days[-1],
        sign_ins=[_column(day) for day in days],
        factors=_factors(people),
        protected=services_accounts.count_protected(people),
        recoveries=services_accounts.count_undecided(recoveries)
        if reaches("recovery:read")
        else None,
    )


def _column(day: services_query.SignInDay) -> dict[str, Any]:
    return {"label": dates.day_of_year(day.day), "values": [day.succeeded, day.failed]}


def _factors(people: Reach) -> list[dict[str, Any]]:
    counts = sorted(services_accounts.count_factors(people).items(), key=lambda item: -item[1])
    return [{"label": label_of(method), "value": count} for method, count in counts]
