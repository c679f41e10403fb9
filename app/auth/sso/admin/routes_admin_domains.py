"""Administration of e-mail domains: claim, prove, choose who signs their people in, release."""

from __future__ import annotations

from typing import Any

from flask import flash
from werkzeug.wrappers import Response as BaseResponse

from ....core.db import session, transaction
from ....core.errors import Conflict, IAMError, InvalidInput
from ....core.i18n import _
from ....core.i18n import lazy as _l
from ....core.ids import parse_id
from ....core.network.dns import DnsFailed
from ....tenancy import services_domains as domains
from ....tenancy.models import IAMDomain
from ...accounts.admin_pages import admin_bp as bp
from ...forms import IAMForm
from ...security import can, requires_permission, requires_step_up
from ...web.current import request_actor
from ...web.limits import limited_by_person
from ...web.pages import redirect_to, render
from . import services_connection_admin as admin
from .forms_connections import ClaimDomainForm, DomainConnectionForm, refuse

STATUS_LABELS = {
    domains.WAITING: _l("Waiting for the record"),
    domains.VERIFIED: _l("Verified"),
    domains.MISSING: _l("Record missing"),
    domains.LOST: _l("Proof lost"),
}
STATUS_KINDS = {domains.VERIFIED: "ok", domains.MISSING: "warn", domains.LOST: "bad"}
REFUSALS = (InvalidInput, Conflict)


@bp.get("/domains")
@requires_permission("admin:access", "domain:read")
def domains_list() -> BaseResponse:
    """Show the domains of this tenant and how each stands."""
    return _list_page(ClaimDomainForm())


@bp.post("/domains")
@requires_permission("admin:access", "domain:create")
@requires_step_up("admin.connections")
@limited_by_person
def domain_claim() -> BaseResponse:
    """Claim a domain; the page that follows says which record proves it."""
    form = ClaimDomainForm()
    if not form.validate():
        return _list_page(form, 422)
    try:
        with transaction():
            row_id = domains.claim(form.name.data or "", actor=request_actor()).id
    except REFUSALS as refusal:
        session().rollback()
        refuse(form, refusal)
        return _list_page(form, refusal.status)
    return redirect_to("iam_admin.domain", domain_id=row_id)


@bp.get("/domains/<domain_id>")
@requires_permission("admin:access", "domain:read")
def domain(domain_id: str) -> BaseResponse:
    """Show one domain: the record that proves it, and who signs in its people."""
    return _page(domains.get_domain(parse_id(domain_id)))


@bp.post("/domains/<domain_id>/check")
@requires_permission("admin:access", "domain:create")
@requires_step_up("admin.connections")
@limited_by_person
def domain_check(domain_id: str) -> BaseResponse:
    """Look for the record now."""
    try:
        domains.verify(parse_id(domain_id), actor=request_actor())
    except (*REFUSALS, DnsFailed) as refusal:
        # A page for people, not a failure of ours: the browser's own error page says nothing.
        status = 503 if isinstance(refusal, DnsFailed) else refusal.status
        return _problem_page(domain_id, refusal, status)
    flash(_("The record is there. The domain is verified."), "ok")
    return redirect_to("iam_admin.domain", domain_id=domain_id)


@bp.post("/domains/<domain_id>/connection")
@requires_permission("admin:access", "domain:create", "connection:update")
@requires_step_up("admin.connections")
def domain_connection(domain_id: str) -> BaseResponse:
    """Choose the connection that signs in a domain's people."""
    row = domains.get_domain(parse_id(domain_id))
    form = _connection_form(row)
    if not form.validate():
        return _page(row, form, 422)
    with transaction():
        chosen = form.connection_id.data
        row_id = admin.get_connection(parse_id(chosen)).id if chosen else None
        row = domains.get_domain(parse_id(domain_id))
        domains.choose_connection(row, row_id, actor=request_actor())
    flash(_("The changes are saved."), "ok")
    return redirect_to("iam_admin.domain", domain_id=domain_id)


@bp.post("/domains/<domain_id>/release")
@requires_permission("admin:access", "domain:delete")
@requires_step_up("admin.connections")
def domain_release(domain_id: str) -> BaseResponse:
    """Give a domain up."""
    with transaction():
        domains.release(domains.get_domain(parse_id(domain_id)), actor=request_actor())
    flash(_("The domain is released."), "ok")
    return redirect_to("iam_admin.domains_list")


def _problem_page(domain_id: str, refusal: IAMError, status: int) -> BaseResponse:
    session().rollback()
    row = domains.get_domain(parse_id(domain_id))
    return _page(row, code=status, problem=_(str(refusal.title)))


def _list_page(form: ClaimDomainForm, code: int = 200) -> BaseResponse:
    names = {row.id: row.name for row in admin.connections()}
    return render(
        "iam/admin_domains.html",
        code,
        domains=[
            _view(row) | {"connection": names.get(row.connection_id) if row.connection_id else None}
            for row in domains.list_domains()
        ],
        form=form,
    )


def _page(
    row: IAMDomain,
    form: DomainConnectionForm | None = None,
    code: int = 200,
    problem: str = "",
) -> BaseResponse:
    offered = {
        "check": can("domain:create"),
        "connection": can("domain:create") and can("connection:update"),
        "release": can("domain:delete"),
    }
    return render(
        "iam/admin_domain.html",
        code,
        domain=_view(row)
        | {
            "record_name": domains.record_name(row),
            "record_value": domains.record_value(row),
            "connection_id": row.connection_id,
        },
        connection_form=form or _connection_form(row),
        acts={name for name, yes in offered.items() if yes},
        problem=problem,
        form=IAMForm(),
    )


def _view(row: IAMDomain) -> dict[str, Any]:
    status = domains.status_of(row)
    return {
        "id": row.id,
        "name": row.name,
        "status": status,
        "status_label": STATUS_LABELS[status],
        "status_kind": STATUS_KINDS.get(status, "info"),
        "verified_at": row.verified_at,
        "checked_at": row.checked_at,
        "missing_since": row.missing_since,
        "created_at": row.created_at,
    }


def _connection_form(row: IAMDomain) -> DomainConnectionForm:
    form = DomainConnectionForm(connection_id=str(row.connection_id or ""))
    choices = [("", _("None: people choose for themselves"))]
    form.connection_id.choices = choices + [
        (str(item.id), item.name) for item in admin.connections()
    ]
    return form
