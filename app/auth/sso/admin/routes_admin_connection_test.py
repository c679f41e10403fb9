"""Trying a connection out: its steps one by one, and a trial sign-in that signs nobody in."""

from __future__ import annotations

from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ....core.errors import Conflict, NotFound
from ....core.i18n import N_, _
from ....core.i18n import lazy as _l
from ....core.ids import parse_id
from ... import services_sso
from ...accounts.admin_pages import admin_bp as bp
from ...models import IAMSsoConnection
from ...security import can, requires_permission, requires_step_up
from ...web.current import browser, current_user, request_actor
from ...web.limits import limited_by_person
from ...web.pages import render
from .. import services_sso_flow
from ..errors_sso import SsoRefused, SsoUnavailable
from ..services_connections import as_value
from ..sso_pages import continue_page, failed_page
from . import services_connection_admin as admin
from . import services_connection_test as tests
from .connection_pages import addresses_of

STEP_LABELS = {
    tests.ADDRESS: _l("Address"),
    tests.DOCUMENT: _l("Discovery document"),
    tests.ISSUER: _l("Issuer"),
    tests.ENDPOINTS: _l("Endpoints"),
    tests.KEYS: _l("Signing keys"),
    tests.REACH: _l("Provider"),
    tests.CLIENT: _l("Client and secret"),
}
TRIP_LABELS = {
    "answer": _l("The provider answered"),
    "issuer": _l("It is the provider that was asked"),
    "tokens": _l("It redeemed the code"),
    "identity": _l("Its tokens were checked"),
}
ACCOUNTS = {
    tests.KNOWN: N_("This identity is linked to %(name)s, who would be signed in."),
    tests.JOINED: N_("It would be linked to the account of %(name)s, who would be signed in."),
    tests.CREATED: N_("An account called %(name)s would be made."),
    tests.LINK: N_("%(name)s has this address here and would be asked to sign in once to link."),
    tests.REFUSED: N_("Nobody would be signed in: there is no account, and none would be made."),
}


@bp.post("/connections/<connection_id>/test")
@requires_permission("admin:access", "connection:update")
@requires_step_up("admin.connections")
@limited_by_person
def connection_test(connection_id: str) -> BaseResponse:
    """Run the steps and show each with its result; nothing is stored but that it was done."""
    row = _row(connection_id)
    addresses = addresses_of(row)
    steps = tests.run(row, redirect_uri=addresses["redirect_uri"] or "", actor=request_actor())
    row = _row(connection_id)
    return render(
        "iam/admin_connection_test.html",
        connection=_brief(row),
        steps=[
            {
                "label": STEP_LABELS[step.name],
                "state": step.state,
                "text": _(step.text),
                "reason": step.reason,
                "detail": step.detail,
            }
            for step in steps
        ],
        passed=all(step.state not in {tests.BAD, tests.SKIPPED} for step in steps),
        addresses=addresses,
    )


@bp.post("/connections/<connection_id>/try")
@requires_permission("admin:access", "connection:update")
@requires_step_up("admin.connections")
@limited_by_person
def connection_try(connection_id: str) -> BaseResponse:
    """Set out on a trial sign-in, enabled or not."""
    connection = as_value(_row(connection_id))
    if connection is None:
        raise Conflict(_("The settings of this connection are gone"), code="sso.settings_gone")
    back = url_for("iam_admin.connection_tried", connection_id=connection.id)
    try:
        url = services_sso.begin(
            connection,
            purpose=services_sso.TEST,
            browser=browser(),
            next_url=back,
            user_id=current_user.user_id,
            session_id=current_user.session_id,
            actor=request_actor(),
        )
    except (SsoRefused, SsoUnavailable) as refusal:
        refusal.details.update(purpose=services_sso.TEST, next_url=_home(connection_id))
        return failed_page(refusal, connection.slug)
    return continue_page(url, connection.name)


@bp.get("/connections/<connection_id>/tried")
@requires_permission("admin:access", "connection:update")
def connection_tried(connection_id: str) -> BaseResponse:
    """Show what came back from a trial sign-in of this session."""
    row = _row(connection_id)
    flow_id = parse_id(request.args.get("test"))
    report = (
        services_sso_flow.report_of(flow_id, current_user.session_id)
        if flow_id is not None
        else None
    )
    if report is None:
        raise NotFound
    return render(
        "iam/admin_connection_tried.html",
        connection=_brief(row),
        steps=_trip_steps(report),
        person=report["person"],
        rehearsal=_rehearsal(report.get("rehearsal")) if can("user:read") else None,
    )


def _trip_steps(report: dict[str, Any]) -> list[dict[str, Any]]:
    steps = [{"label": TRIP_LABELS[name], "state": tests.OK} for name in report["steps"]]
    if report["failed"]:
        steps.append(
            {
                "label": TRIP_LABELS[report["failed"]],
                "state": tests.BAD,
                "text": _(tests.sentence(report["reason"])),
                "reason": report["reason"],
            }
        )
    return steps


def _rehearsal(found: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    text = ACCOUNTS[found["account"]]
    return {
        "text": _(text, name=found["label"]),
        "refused": found["account"] in {tests.REFUSED, tests.LINK},
        "reason": found.get("reason", ""),
        "roles": found["roles"],
    }


def _row(connection_id: str) -> IAMSsoConnection:
    return admin.get_connection(parse_id(connection_id))


def _home(connection_id: str) -> str:
    return url_for("iam_admin.connection", connection_id=connection_id)


def _brief(row: IAMSsoConnection) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "enabled": row.enabled}
