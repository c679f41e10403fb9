"""Administration of invitations: list, invite, send again, take back.

Whoever administers organizations only sees and invites people of those.
"""

from __future__ import annotations

from typing import Any

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...authz.models import IAMRole
from ...core.db import transaction
from ...core.errors import Conflict, Forbidden, IAMError, InvalidInput, TooManyAttempts
from ...core.i18n import _
from ...core.i18n import lazy as _l
from ...core.ids import parse_id
from ...tenancy.services_organizations import ACTIVE, list_tree
from ..accounts.admin_pages import PAGE_SIZE, page_links
from ..accounts.admin_pages import admin_bp as bp
from ..accounts.forms_admin import show
from ..accounts.services_directory import grantable_roles, list_organizations
from ..forms import IAMForm, text
from ..models import IAMInvitation
from ..security import requires_permission_somewhere, requires_step_up
from ..web.current import current_user, request_actor
from ..web.pages import redirect_to, render
from . import services_invitations
from .forms_invitations import InviteForm
from .services_invitations import ACCEPTED, EXPIRED, REVOKED, WAITING, status_of

__all__ = ["bp"]
STATUS = {
    WAITING: (_l("Waiting"), "info"),
    ACCEPTED: (_l("Accepted"), "ok"),
    REVOKED: (_l("Taken back"), "plain"),
    EXPIRED: (_l("Expired"), "warn"),
}


@bp.get("/invitations")
@requires_permission_somewhere("admin:access", "invitation:read")
def invitations() -> BaseResponse:
    """Show who is invited."""
    found = services_invitations.list_invitations(
        _reach("invitation:read"), cursor=request.args.get("cursor"), size=PAGE_SIZE
    )
    places = {row.id: row.name for row in list_organizations()}
    names = services_invitations.role_names()
    return render(
        "iam/admin_invitations.html",
        invitations=[_row(row, places, names) for row in found.items],
        page=page_links(found, "iam_admin.invitations", {}),
    )


@bp.route("/invitations/new", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "invitation:create")
@requires_step_up("admin.users")
def invitation_new() -> BaseResponse:
    """Invite somebody."""
    form = InviteForm()
    _offer(form)
    if request.method != "POST":
        return _form_page(form, 200)
    if not form.validate():
        return _form_page(form, 422)
    try:
        with transaction():
            row = services_invitations.invite(
                text(form.email),
                name=text(form.name),
                language=form.language.data or None,
                roles=form.roles.data or (),
                parent_id=parse_id(form.parent_id.data),
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
            address = row.email
    except (InvalidInput, Conflict, Forbidden, TooManyAttempts) as refusal:
        return _refused(form, refusal)
    flash(_("The invitation is on its way to %(address)s.", address=address), "ok")
    return redirect_to("iam_admin.invitations")


@bp.post("/invitations/<invitation_id>/resend")
@requires_permission_somewhere("admin:access", "invitation:create")
@requires_step_up("admin.users")
def invitation_resend(invitation_id: str) -> BaseResponse:
    """Send an invitation again; the link sent before stops working."""
    with transaction():
        row = services_invitations.get_invitation(
            parse_id(invitation_id), _reach("invitation:create")
        )
        services_invitations.resend(row, actor_grants=current_user.grants, actor=request_actor())
    flash(_("The invitation was sent again. The link sent before no longer works."), "ok")
    return redirect_to("iam_admin.invitations")


@bp.route("/invitations/<invitation_id>/revoke", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "invitation:delete")
@requires_step_up("admin.users")
def invitation_revoke(invitation_id: str) -> BaseResponse:
    """Ask, then take an invitation back."""
    row = services_invitations.get_invitation(parse_id(invitation_id), _reach("invitation:delete"))
    if request.method != "POST":
        form = IAMForm(formdata=None)
        return render("iam/admin_invitation_revoke.html", email=row.email, form=form)
    with transaction():
        row = services_invitations.get_invitation(
            parse_id(invitation_id), _reach("invitation:delete")
        )
        services_invitations.revoke(row, actor_grants=current_user.grants, actor=request_actor())
    flash(_("The invitation is taken back. Its link no longer works."), "ok")
    return redirect_to("iam_admin.invitations")


def _reach(permission: str) -> Any:
    return current_user.grants.organizations_for(permission)


def _row(row: IAMInvitation, places: dict[Any, str], names: dict[Any, str]) -> dict[str, Any]:
    status = status_of(row)
    label, kind = STATUS[status]
    grants = current_user.grants
    waits = status in {WAITING, EXPIRED}
    return {
        "id": row.id,
        "email": row.email,
        "name": row.name,
        "roles": [names.get(parse_id(item["role_id"]), "–") for item in row.roles],
        "organization": places.get(row.parent_id),
        "status": status,
        "status_label": label,
        "status_kind": kind,
        "sent_at": row.sent_at,
        "expires_at": row.expires_at,
        "accepted_at": row.accepted_at,
        "may_resend": waits and grants.allows("invitation:create", parent_id=row.parent_id),
        "may_revoke": waits and grants.allows("invitation:delete", parent_id=row.parent_id),
    }


def _offer(form: InviteForm) -> None:
    form.offer_languages()
    reach = _reach("invitation:create")
    tree = list_tree(reach)
    places = [(str(item.row.id), item.indented) for item in tree if item.row.status == ACTIVE]
    none = [("", _("None"))] if reach is None else []
    form.parent_id.choices = [*none, *places]
    chosen = parse_id(form.parent_id.data or (places[0][0] if reach and places else ""))
    roles = grantable_roles(current_user.grants, chosen)
    form.roles.choices = [(role.name, _words(role)) for role in roles]


def _words(role: IAMRole) -> str:
    return f"{role.name}: {_(role.description)}" if role.description else role.name


def _refused(form: InviteForm, refusal: IAMError) -> BaseResponse:
    show(form, refusal)
    return _form_page(form, refusal.status)


def _form_page(form: InviteForm, code: int) -> BaseResponse:
    return render("iam/admin_invitation_form.html", code, form=form)
