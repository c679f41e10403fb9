"""Entering another tenant and leaving it, and what a tenant sees of it (K5)."""

from __future__ import annotations

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...audit import wording
from ...core.db import transaction
from ...core.errors import InvalidInput
from ...core.i18n import _
from ...core.i18n import lazy as _l
from ...core.ids import parse_id
from ..accounts.admin_pages import PAGE_SIZE, page_links, section
from ..accounts.admin_pages import admin_bp as bp
from ..accounts.forms_admin import show
from ..accounts.services_names import names_of
from ..security import requires_login, requires_permission, requires_step_up, signed_in
from ..settings import AuthSettings
from ..web.blueprint import auth_bp
from ..web.current import keep_session, request_actor
from ..web.pages import redirect_to, render
from . import services_access_contexts, services_access_list
from .errors_access import AccessRefused, AccessRunning
from .forms_access import AccessForm
from .services_access_contexts import Target

__all__ = ["auth_bp", "bp"]
END_LABELS = {
    "left": _l("Left"),
    "expired": _l("Time was over"),
    "signed_out": _l("Signed out"),
    "refused": _l("The right, the address or the tenant was withdrawn"),
}

_OPENED = _l("Opened a page")
_ACTS = {"": _l("Entered the tenant"), "GET": _OPENED, "HEAD": _OPENED, "OPTIONS": _OPENED}
# Every other method: a form was sent.


@bp.route("/tenants/<tenant_id>/access", methods=["GET", "POST"])
@requires_permission("admin:access", "access:enter")
@requires_step_up("admin.access")
def access_enter(tenant_id: str) -> BaseResponse:
    """Ask why and for how long, and enter the tenant."""
    person = signed_in()
    place = services_access_contexts.target(parse_id(tenant_id), principal=person)
    form = AccessForm()
    form.offer_choices()
    if request.method != "POST":
        return _form_page(form, place)
    if not form.validate():
        return _form_page(form, place, 422)
    try:
        with transaction():
            signed = services_access_contexts.enter(
                place.id,
                reason=form.reason.data or "",
                minutes=int(form.minutes.data),
                principal=person,
                actor=request_actor(),
            )
    except (InvalidInput, AccessRunning, AccessRefused) as refusal:
        show(form, refusal)
        return _form_page(form, place, refusal.status)
    keep_session(signed)
    return redirect_to("iam_admin.dashboard")


@auth_bp.post("/access/leave")
@requires_login
def access_leave() -> BaseResponse:
    """Leave the other tenant. Not an administration page: it never acts in that tenant."""
    with transaction():
        signed = services_access_contexts.leave(signed_in(), actor=request_actor())
    if signed is not None:
        keep_session(signed)
        flash(_("You are back in your own tenant."), "ok")
    return redirect_to("iam_admin.dashboard")


@bp.get("/access")
@requires_permission("admin:access", "access:read")
def stays() -> BaseResponse:
    """Show when somebody of the platform was in this tenant, and why."""
    found = services_access_list.page(cursor=request.args.get("cursor"), size=PAGE_SIZE)
    return render(
        "iam/admin_access.html",
        visits=found.items,
        ends=END_LABELS,
        page=page_links(found, "iam_admin.stays", {}),
    )


@bp.get("/access/<context_id>")
@requires_permission("admin:access", "access:read")
def stay(context_id: str) -> BaseResponse:
    """Show one stay, and everything that was done in it."""
    visit = services_access_list.find(parse_id(context_id))
    events = services_access_list.events(visit)
    return render(
        "iam/admin_access_visit.html",
        visit=visit,
        ends=END_LABELS,
        events=events,
        most=services_access_list.MOST_EVENTS,
        acts=_ACTS,
        section=section,
        names=names_of(wording.accounts_in(events)) | {visit.user_id: visit.who},
        words=wording,
    )


def _form_page(form: AccessForm, place: Target, code: int = 200) -> BaseResponse:
    is_open = bool(AuthSettings.current().IAM_SUPER_ADMIN_NETWORKS)
    return render("iam/admin_access_enter.html", code, form=form, place=place, is_open=is_open)
