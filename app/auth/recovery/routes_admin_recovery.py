"""Administration of account recovery: who asks, and a second person's decision (I1)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.errors import Conflict, InvalidInput, TooManyAttempts
from ...core.i18n import _
from ...core.i18n import lazy as _l
from ...core.ids import parse_id
from ...risk.services_devices import describe
from ...tenancy.services_settings import effective
from ..accounts.admin_pages import PAGE_SIZE, page_links, person, reach
from ..accounts.admin_pages import admin_bp as bp
from ..accounts.forms_admin import ReasonForm, show
from ..accounts.services_names import names_of
from ..models import IAMRecoveryRequest, IAMUserAccount
from ..security import requires_permission_somewhere, requires_step_up
from ..web.current import current_user, request_actor
from ..web.pages import redirect_to, render
from . import services_recovery, services_recovery_decisions, services_recovery_links
from . import services_recovery_rows as rows
from .errors_recovery import SecondPersonNeeded
from .forms_recovery import APPROVE, DecisionForm
from .services_recovery_evidence import evidence
from .settings_recovery import RecoverySettings

STATUS_LABELS = {
    rows.PROOFS: _l("Waiting for proofs"),
    rows.APPROVAL: _l("Waiting for a decision"),
    rows.WAITING: _l("Waiting time"),
    rows.COMPLETED: _l("Recovered"),
    rows.CANCELLED: _l("Stopped"),
    rows.REFUSED: _l("Refused"),
    rows.EXPIRED: _l("Expired"),
}
AMR_LABELS = {
    "pwd": _l("Password"),
    "email": _l("Link or code by e-mail"),
    "sms": _l("Code by text message"),
    "hwk": _l("Passkey"),
    "swk": _l("Passkey"),
}
STOP_LABELS = {
    "link": _l("Somebody with the link of a notice"),
    "account page": _l("The person, on their account page"),
    "factors_reset": _l("By itself, as the second factors were reset"),
}
# Every other reason is a change of the address, the number or the account.
STOPPED_ELSEWHERE = _l("By itself, as the account or its contact data changed")
STATUS_KINDS = {rows.PROOFS: "info", rows.APPROVAL: "warn", rows.WAITING: "info",
                rows.COMPLETED: "ok"}  # fmt: skip


@bp.get("/recovery")
@requires_permission_somewhere("admin:access", "recovery:read")
def recovery() -> BaseResponse:
    """Show a page of open, or of closed, requests, newest first."""
    closed, mine = request.args.get("show") == "closed", reach("recovery:read")
    found = services_recovery_decisions.page(
        closed=closed, cursor=request.args.get("cursor"), size=PAGE_SIZE, reach=mine
    )
    names = names_of((row.user_id for row in found.items), mine)
    return render(
        "iam/admin_recovery.html",
        requests=[_view(row, names) for row in found.items],
        closed=closed,
        page=page_links(found, "iam_admin.recovery", {"show": "closed"} if closed else {}),
    )


@bp.get("/recovery/<request_id>")
@requires_permission_somewhere("admin:access", "recovery:read")
def recovery_request(request_id: str) -> BaseResponse:
    """Show one request, and what speaks for or against it."""
    return _page(request_id, DecisionForm(formdata=None))


@bp.post("/recovery/<request_id>/decide")
@requires_permission_somewhere("admin:access", "recovery:approve")
@requires_step_up("admin.users")
def recovery_decide(request_id: str) -> BaseResponse:
    """Approve or refuse a request."""
    person(str(rows.find(parse_id(request_id)).user_id), "recovery:approve")
    form = DecisionForm()
    if not form.validate():
        return _page(request_id, form, 422)
    approves = form.decision.data == APPROVE
    act = services_recovery_decisions.approve if approves else services_recovery_decisions.refuse
    try:
        with transaction():
            act(
                parse_id(request_id),
                reason=form.reason.data or "",
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
    except (InvalidInput, Conflict, SecondPersonNeeded, TooManyAttempts) as refusal:
        show(form, refusal)
        return _page(request_id, form, refusal.status)
    if approves:
        flash(_("The recovery is approved. The person is told."), "ok")
    else:
        flash(_("The recovery is refused. The person is told."), "ok")
    return redirect_to("iam_admin.recovery_request", request_id=request_id)


@bp.route("/users/<user_id>/recovery", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "recovery:approve")
@requires_step_up("admin.users")
def user_recovery(user_id: str) -> BaseResponse:
    """Open a request for a person who asked for help; somebody else approves it."""
    user = person(user_id, "recovery:approve")
    form = ReasonForm()
    if request.method != "POST":
        row = rows.open_of(user.id)
        if row is not None and row.status != rows.PROOFS:
            return redirect_to("iam_admin.recovery_request", request_id=row.id)
        return _open_page(user, form, 200)
    if not form.validate():
        return _open_page(user, form, 422)
    try:
        with transaction():
            found = services_recovery_decisions.open_for(
                user.id,
                reason=form.reason.data or "",
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
            request_id = found.id
    except (InvalidInput, Conflict, SecondPersonNeeded, TooManyAttempts) as refusal:
        show(form, refusal)
        return _open_page(person(user_id, "recovery:approve"), form, refusal.status)
    flash(_("The recovery is open. Another administrator must approve it."), "ok")
    return redirect_to("iam_admin.recovery_request", request_id=request_id)


def _page(request_id: str, form: DecisionForm, code: int = 200) -> BaseResponse:
    row = rows.find(parse_id(request_id))
    user = person(str(row.user_id), "recovery:read")
    names = names_of([row.user_id, row.opened_by, row.decided_by], reach("recovery:read"))
    browser, system, _kind = describe(row.user_agent)
    view, known = _view(row, names), evidence(row)
    # Where an administrator from outside the reader's organizations sat is not the reader's.
    told = row.opened_by is None or row.opened_by in names
    decides = reach("recovery:approve").has(user.parent_id)
    return render(
        "iam/admin_recovery_request.html",
        code,
        recovery=view
        | {
            "opened_by": _by(row.opened_by, names),
            "by_owner": row.opened_by == row.user_id,
            "is_closed": view["status"] not in rows.OPEN,
            # One that was taken over was still begun by the person, in a sign-in.
            "in_sign_in": row.opened_by == row.user_id or bool(known.amr),
            "shown": ", ".join(str(AMR_LABELS[name]) for name in known.amr if name in AMR_LABELS),
            "stopped": str(STOP_LABELS.get(known.stopped, STOPPED_ELSEWHERE))
            if view["status"] == rows.CANCELLED
            else "",
            "browser": f"{_(browser)}, {_(system)}" if told else "–",
            "ip": row.ip if told else None,
            "reason": row.reason,
            "decided_by": _by(row.decided_by, names),
            "decided_at": row.decided_at,
            "decision_reason": row.decision_reason,
            "closed_at": row.closed_at,
        },
        user=_user(user)
        | {
            "email_changed_at": known.email_changed_at,
            "phone_changed_at": known.phone_changed_at,
        },
        factors=services_recovery_links.what_goes(user),
        may_approve=decides and services_recovery_decisions.may_approve(row, current_user.user_id),
        may_refuse=decides and rows.status_of(row) in rows.OPEN,
        wait_hours=effective(RecoverySettings).RECOVERY_APPROVED_WAIT_HOURS,
        form=form,
    )


def _view(row: IAMRecoveryRequest, names: dict[UUID, str]) -> dict[str, Any]:
    status = rows.status_of(row)
    return {
        "id": row.id,
        "user_id": row.user_id,
        "user_name": names.get(row.user_id, ""),
        "status": status,
        "status_label": STATUS_LABELS[status],
        "status_kind": STATUS_KINDS.get(status, "plain"),
        "created_at": row.created_at,
        "available_at": row.available_at,
        "expires_at": row.expires_at,
        "proved": services_recovery.proved(row),
    }


def _by(user_id: UUID | None, names: dict[UUID, str]) -> str | None:
    if user_id is None:
        return None
    return names.get(user_id) or _("Somebody outside your organizations")


def _user(user: IAMUserAccount) -> dict[str, Any]:
    # What speaks for or against: a password or an address that changed lately is a warning.
    names = (
        "id", "label", "username", "status", "email", "email_verified", "phone_number",
        "phone_verified", "last_login_at", "password_changed_at",
    )  # fmt: skip
    return {name: getattr(user, name) for name in names}


def _open_page(user: IAMUserAccount, form: ReasonForm, code: int) -> BaseResponse:
    return render(
        "iam/admin_user_confirm.html",
        code,
        title=_("Recover the account of %(name)s?", name=user.label),
        text=_("For somebody who lost every second factor and asked you for help. Another "
               "administrator must approve it. The person is told at every step, and once a "
               "waiting time is over gets a link to set up a new second factor."),
        label=_("Open the recovery"),
        kind="primary",
        users=[_user(user)],
        form=form,
        action="",
    )  # fmt: skip
