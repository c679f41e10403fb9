"""The statistics page of the audit trail. Reading only."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from flask import Response, current_app, request, url_for

from ...auth.mfa.services_factors import label_of
from ...auth.security import requires_permission
from ...auth.web.blueprint import audit_bp as bp
from ...auth.web.current import current_principal
from ...auth.web.pages import render
from ...core import clock, dates
from ...core.errors import BadRequest
from ...core.i18n import _
from ...notify.settings import NotifySettings
from ...tenancy.services_settings import effective
from .. import services_query, wording
from ..events import CATALOGUE, CRITICAL
from . import services_statistics
from .services_statistics import Counted

__all__ = ["bp"]
SPANS = (7, 30, 90)


@bp.get("/statistics")
@requires_permission("audit:read")
def statistics() -> Response:
    """Show how often what happened in the last days, from where, and who is told."""
    days = _days(request.args.get("days"))
    person = current_principal()
    zone = dates.zone(person.timezone if person else None)
    today = clock.now().astimezone(zone).date()
    since = datetime.combine(today - timedelta(days=days - 1), time(), zone)
    per_day = services_query.sign_ins_per_day(days, zone=zone)
    actions = services_statistics.by_action(since)
    return render(
        "iam/audit_statistics.html",
        days=days,
        spans=SPANS,
        since=f"{since.date():%Y-%m-%d}",
        total=_total(actions),
        succeeded=sum(day.succeeded for day in per_day),
        refused=sum(day.failed for day in per_day),
        critical=_total([item for item in actions if _is_critical(item)]),
        sign_ins=[
            {"label": dates.day_of_year(day.day), "values": [day.succeeded, day.failed]}
            for day in per_day
        ],
        severities=services_statistics.by_severity(actions),
        actions=actions[: services_statistics.TOP],
        addresses=services_statistics.failing_addresses(since),
        factors=[
            {"label": label_of(item.name), "value": item.count}
            for item in services_statistics.factors_proved(since)
        ],
        most=dates.number(services_statistics.MOST),
        sample=dates.number(services_statistics.SAMPLE),
        words=wording,
        told=_told(),
        settings_url=_settings_url(),
    )


def _days(text: str | None) -> int:
    if not text:
        return 30
    for days in SPANS:
        if text == str(days):
            return days
    raise BadRequest(_("Please choose one of the list"), code="audit.days")


def _total(counted: list[Counted]) -> Counted:
    return Counted("", sum(item.count for item in counted), any(x.at_least for x in counted))


def _is_critical(item: Counted) -> bool:
    return CATALOGUE[item.name].severity == CRITICAL


def _told() -> dict[str, object]:
    """Return who is told of critical events; of the installation's own channels only that."""
    own = effective(NotifySettings)
    return {
        "emails": list(own.AUDIT_NOTIFY_EMAILS),
        "webhook": bool(own.AUDIT_NOTIFY_URL),
        "syslog": bool(own.AUDIT_NOTIFY_SYSLOG),
    }


def _settings_url() -> str | None:
    exists = "iam_settings.change" in current_app.view_functions
    return url_for("iam_settings.change", group="audit") if exists else None
