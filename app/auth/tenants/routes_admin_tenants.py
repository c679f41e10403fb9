"""Administration of tenants: the tree below one's own, one tenant, make, change, suspend."""

from __future__ import annotations

from typing import Any

from flask import flash, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...authz.catalogue import SUPER_ADMIN
from ...core.db import session, transaction
from ...core.errors import Conflict, IAMError, InvalidInput, Misconfigured, TooManyAttempts
from ...core.i18n import _
from ...core.i18n import lazy as _l
from ...core.ids import parse_id
from ...tenancy.services_tenants import TYPES_BELOW
from ...tenancy.settings import TenancySettings
from ..accounts.admin_pages import admin_bp as bp
from ..accounts.forms_admin import show
from ..security import can, requires_permission, requires_step_up
from ..web import links
from ..web.current import current_user, request_actor
from ..web.pages import redirect_to, render
from . import services_tenant_admin as admin
from . import services_tenants_below as below
from .forms_tenants import TYPE_LABELS, FirstAdminForm, ReasonForm, TenantEditForm, TenantForm
from .services_tenants_below import Held, TenantRow

STATUS_LABELS = {admin.ACTIVE: _l("Active"), admin.SUSPENDED: _l("Suspended")}
REFUSALS = (InvalidInput, Conflict, TooManyAttempts)


@bp.get("/tenants")
@requires_permission("admin:access", "tenant:read")
def tenants() -> BaseResponse:
    """Show the tenants below one's own as a tree, or those that a search finds."""
    typed = request.args.get("q", "").strip()[:120]
    rows, complete = below.tree(typed)
    held = below.held_by(rows)
    own = below.own()
    return render(
        "iam/admin_tenants.html",
        tenants=[_row(item, held[item.id]) for item in rows],
        own=_row(own),
        typed=typed,
        complete=complete,
        may_create=_may_create(own),
    )


@bp.get("/tenants/<tenant_id>")
@requires_permission("admin:access", "tenant:read")
def tenant(tenant_id: str) -> BaseResponse:
    """Show one tenant: names, address, what it holds, what lies below it."""
    return _page(below.get(parse_id(tenant_id)), FirstAdminForm())


def _page(found: TenantRow, form: FirstAdminForm, code: int = 200) -> BaseResponse:
    children = below.children_of(found)
    held = below.held_by([found, *children])
    return render(
        "iam/admin_tenant.html",
        code,
        tenant=_row(found, held[found.id]),
        form=form,
        way=[_row(item) for item in below.way_to(found)],
        children=[_row(item, held[item.id]) for item in children],
        acts=_acts(found, held[found.id]),
    )


@bp.post("/tenants/<tenant_id>/invite")
@requires_permission("admin:access", "tenant:create")
@requires_step_up("admin.tenants")
def tenant_invite(tenant_id: str) -> BaseResponse:
    """Invite the first administrator of a tenant in which nobody is yet."""
    found = below.get_below(parse_id(tenant_id))
    form = FirstAdminForm()
    if not form.validate():
        return _page(found, form, 422)
    email = form.admin_email.data or ""
    try:
        with transaction():
            admin.invite_admin(
                found.id, email, actor_grants=current_user.grants, actor=request_actor()
            )
    except REFUSALS as refusal:
        session().rollback()
        show(form, refusal)
        return _page(found, form, refusal.status)
    flash(_("An invitation is on its way to %(email)s.", email=email), "ok")
    return redirect_to("iam_admin.tenant", tenant_id=found.id)


@bp.route("/tenants/<tenant_id>/new", methods=["GET", "POST"])
@requires_permission("admin:access", "tenant:create")
@requires_step_up("admin.tenants")
def tenant_new(tenant_id: str) -> BaseResponse:
    """Make a tenant below another, and invite its first administrator."""
    parent = below.get(parse_id(tenant_id))
    if not _may_create(parent):
        raise Conflict(_("No tenant can lie below this one"))
    form = TenantForm()
    form.offer_types(parent.type)
    if request.method != "POST":
        return _form_page(form, 200, parent=parent)
    new = _read(form)
    if new is None:
        return _form_page(form, 422, parent=parent)
    try:
        with transaction():
            made = admin.create(
                new, parent_id=parent.id, actor_grants=current_user.grants, actor=request_actor()
            )
    except REFUSALS as refusal:
        return _refused(form, refusal, parent=parent)
    invited = form.admin_email.data
    flash(
        _("The tenant is made. An invitation is on its way to %(email)s.", email=invited)
        if invited
        else _("The tenant is made."),
        "ok",
    )
    return redirect_to("iam_admin.tenant", tenant_id=made)


@bp.route("/tenants/<tenant_id>/edit", methods=["GET", "POST"])
@requires_permission("admin:access", "tenant:update")
@requires_step_up("admin.tenants")
def tenant_edit(tenant_id: str) -> BaseResponse:
    """Rename a tenant, or give it another host."""
    found = below.get(parse_id(tenant_id))
    form = TenantEditForm(obj=found)
    if found.depth == 0:
        del form.host
    if request.method != "POST":
        return _form_page(form, 200, tenant=found)
    if not form.validate():
        return _form_page(form, 422, tenant=found)
    try:
        with transaction():
            admin.change(
                below.get(found.id),
                name=form.name.data or "",
                host=(form.data.get("host") or ""),
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
    except REFUSALS as refusal:
        return _refused(form, refusal, tenant=found)
    flash(_("The changes are saved."), "ok")
    return redirect_to("iam_admin.tenant", tenant_id=found.id)


@bp.route("/tenants/<tenant_id>/suspend", methods=["GET", "POST"])
@requires_permission("admin:access", "tenant:suspend")
@requires_step_up("admin.tenants")
def tenant_suspend(tenant_id: str) -> BaseResponse:
    """Ask, then suspend a tenant."""
    return _turn(tenant_id, "suspend", _("The tenant is suspended. Its sessions have ended."))


@bp.route("/tenants/<tenant_id>/reactivate", methods=["GET", "POST"])
@requires_permission("admin:access", "tenant:suspend")
@requires_step_up("admin.tenants")
def tenant_reactivate(tenant_id: str) -> BaseResponse:
    """Ask, then open a suspended tenant again."""
    return _turn(tenant_id, "reactivate", _("The tenant is active again."))


def _read(form: TenantForm) -> admin.NewTenant | None:
    # All that is wrong at once, not one at each sending. Validation cleans the name.
    fits = form.validate()
    new = admin.NewTenant(**{name: value or "" for name, value in form.data.items()})
    for refusal in admin.wrong_in(new):
        if refusal.field not in form.errors:
            show(form, refusal)
            fits = False
    return new if fits else None


def _turn(tenant_id: str, act: str, done: str) -> BaseResponse:
    found = below.get_below(parse_id(tenant_id))
    form = ReasonForm()
    if request.method != "POST" or not form.validate():
        held = below.held_by([found])[found.id]
        shown = {"tenant": _row(found, held), "form": form, "act": act}
        code = 200 if request.method != "POST" else 422
        return render("iam/admin_tenant_confirm.html", code, **shown)
    do = admin.suspend if act == "suspend" else admin.reactivate
    with transaction():
        do(
            found.id,
            reason=form.reason.data or "",
            actor_grants=current_user.grants,
            actor=request_actor(),
        )
    flash(done, "ok")
    return redirect_to("iam_admin.tenant", tenant_id=found.id)


def _row(row: TenantRow, held: Held | None = None) -> dict[str, Any]:
    return {
        "id": row.id,
        "depth": row.depth,
        "is_own": row.id == current_user.tenant_id,
        "slug": row.slug,
        "name": row.name,
        "host": row.host,
        "type_label": TYPE_LABELS.get(row.type, row.type),
        "status": row.status,
        "status_label": STATUS_LABELS.get(row.status, row.status),
        "created_at": row.created_at,
        "address": _address(row),
        "held": held,
    }


def _address(row: TenantRow) -> str:
    try:
        return links.home_of(row.place)
    except Misconfigured:
        return ""


def _may_create(parent: TenantRow) -> bool:
    allowed = can("tenant:create") and parent.status == admin.ACTIVE
    return allowed and bool(TYPES_BELOW.get(parent.type))


def _acts(row: TenantRow, held: Held) -> set[str]:
    active = row.depth > 0 and row.status == admin.ACTIVE
    empty = active and not held.people
    offered = {
        "access": active and current_user.has_role(SUPER_ADMIN) and can("access:enter"),
        "invite": can("tenant:create") and empty,
        "edit": can("tenant:update"),
        "create": _may_create(row),
        "suspend": can("tenant:suspend") and active,
        "reactivate": can("tenant:suspend") and row.depth > 0 and row.status == admin.SUSPENDED,
    }
    return {name for name, yes in offered.items() if yes}


def _refused(form: TenantEditForm, refusal: IAMError, **shown: TenantRow) -> BaseResponse:
    session().rollback()
    show(form, refusal)
    return _form_page(form, refusal.status, **shown)


def _form_page(
    form: TenantEditForm,
    code: int,
    *,
    parent: TenantRow | None = None,
    tenant: TenantRow | None = None,
) -> BaseResponse:
    settings = TenancySettings.current()
    near = tenant or parent
    return render(
        "iam/admin_tenant_form.html",
        code,
        form=form,
        parent=_row(parent) if parent else None,
        tenant=_row(tenant) if tenant else None,
        back=url_for("iam_admin.tenant", tenant_id=near.id) if near else "",
        named=settings.IAM_TENANT_DOMAIN or settings.IAM_TENANT_PATH,
        example=_example(settings),
    )


def _example(settings: TenancySettings) -> str:
    if settings.IAM_TENANT_DOMAIN:
        return f"acme.{settings.IAM_TENANT_DOMAIN}"
    return f"{settings.IAM_TENANT_PATH}/acme" if settings.IAM_TENANT_PATH else ""
