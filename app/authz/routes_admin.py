"""Administration of roles: list, one role, create, change, delete."""

from __future__ import annotations

from itertools import groupby
from typing import Any
from uuid import UUID

from flask import current_app, flash, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ..auth.forms import IAMForm
from ..auth.security import (
    can,
    reaches,
    requires_permission,
    requires_permission_somewhere,
    requires_step_up,
)
from ..auth.web.blueprint import IAMBlueprint
from ..auth.web.current import current_user, request_actor
from ..auth.web.pages import redirect_to, render
from ..core.db import session, transaction
from ..core.errors import Conflict, Forbidden, IAMError, InvalidInput
from ..core.i18n import _
from ..core.ids import parse_id
from . import services_rbac as rbac
from .errors import RoleInUse
from .forms import (
    FIELD,
    POLICY_LABELS,
    SCOPE_LABELS,
    RoleEditForm,
    read_permissions,
    scopes_offered,
)
from .grants import WIDTH
from .models import IAMPermission, IAMRole

bp = IAMBlueprint("iam_roles", "IAM_ADMIN_PREFIX", "/roles")
REFUSALS = (InvalidInput, Conflict, Forbidden)


@bp.get("")
@requires_permission_somewhere("admin:access", "role:read")
def roles() -> BaseResponse:
    """Show every role with its parent, its members and its MFA policy."""
    found = rbac.list_roles()
    names: dict[UUID | None, str] = {role.id: role.name for role in found}
    members = rbac.member_counts(_counted())
    rows = [
        _summary(role) | {"parent": names.get(role.parent_id), "members": members.get(role.id, 0)}
        for role in found
    ]
    return render("iam/admin_roles.html", roles=rows)


@bp.get("/<role_id>")
@requires_permission_somewhere("admin:access", "role:read")
def role(role_id: str) -> BaseResponse:
    """Show one role: what it holds, in which scope, and through which parent."""
    return _role_page(rbac.get_role(parse_id(role_id)))


@bp.route("/new", methods=["GET", "POST"])
@requires_permission("admin:access", "role:create")
@requires_step_up("admin.roles")
def role_new() -> BaseResponse:
    """Create a role."""
    form = RoleEditForm()
    form.offer_choices(rbac.roles_within(current_user.grants))
    if request.method != "POST":
        return _form_page(form, {}, 200)
    if not form.validate():
        return _form_page(form, request.form, 422)
    try:
        with transaction():
            made = rbac.create_role(
                **_values(form),
                permissions=read_permissions(rbac.list_permissions(), request.form),
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
            made_id = made.id
    except REFUSALS as refusal:
        return _refused(form, refusal)
    flash(_("The role is created."), "ok")
    return redirect_to("iam_roles.role", role_id=made_id)


@bp.route("/<role_id>/edit", methods=["GET", "POST"])
@requires_permission("admin:access", "role:update")
@requires_step_up("admin.roles")
def role_edit(role_id: str) -> BaseResponse:
    """Change a role and what it holds."""
    found = rbac.get_role(parse_id(role_id))
    form = RoleEditForm(obj=found)
    _offer(form, found)
    if request.method != "POST":
        form.parent_id.data = str(found.parent_id or "")
        form.mfa_policy.data = found.mfa_policy or ""
        return _form_page(form, _stored(found), 200, found)
    if not form.validate():
        return _form_page(form, request.form, 422, found)
    try:
        with transaction():
            _change(rbac.get_role(parse_id(role_id)), form)
    except REFUSALS as refusal:
        return _refused(form, refusal, rbac.get_role(parse_id(role_id)))
    flash(_("The changes are saved. They count from the next click of everybody."), "ok")
    return redirect_to("iam_roles.role", role_id=role_id)


@bp.post("/<role_id>/delete")
@requires_permission("admin:access", "role:delete")
@requires_step_up("admin.roles")
def role_delete(role_id: str) -> BaseResponse:
    """Delete a role that nobody holds."""
    try:
        with transaction():
            rbac.delete_role(
                rbac.get_role(parse_id(role_id)),
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
    except RoleInUse as refusal:
        found = rbac.get_role(parse_id(role_id))
        return _role_page(found, refusal.status, problem=_(str(refusal.title)))
    flash(_("The role is deleted."), "ok")
    return redirect_to("iam_roles.roles")


def _change(found: IAMRole, form: RoleEditForm) -> None:
    held = {item.permission.name: item.scope for item in _own(found)}
    wanted = read_permissions(rbac.list_permissions(), request.form)
    who: dict[str, Any] = {"actor_grants": current_user.grants, "actor": request_actor()}
    rbac.update_role(found, **_values(form), **who)
    if wanted != held:
        rbac.set_role_permissions(found, wanted, **who)


def _values(form: RoleEditForm) -> dict[str, Any]:
    return {
        "name": form.name.data,
        "description": form.description.data or "",
        "parent_id": parse_id(form.parent_id.data),
        "mfa_policy": form.mfa_policy.data or None,
    }


def _offer(form: RoleEditForm, found: IAMRole) -> None:
    # A parent above the editor stays visible; the service decides whether they may go on.
    offered = rbac.roles_within(current_user.grants, parent_of=found)
    if found.parent_id and found.parent_id not in {item.id for item in offered}:
        offered.append(rbac.get_role(found.parent_id))
    form.offer_choices(offered)


def _own(found: IAMRole) -> list[rbac.HeldPermission]:
    return [item for item in rbac.permissions_of(found) if item.source is None]


def _stored(found: IAMRole) -> dict[str, str]:
    return {FIELD + item.permission.name: item.scope for item in _own(found)}


def _summary(found: IAMRole) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "is_system": found.is_system,
        "mfa_policy": found.mfa_policy or "",
        "mfa_label": POLICY_LABELS.get(found.mfa_policy or "", found.mfa_policy),
        "held": current_user.has_role(found.name),
    }


def _role_page(found: IAMRole, code: int = 200, problem: str = "") -> BaseResponse:
    parent = rbac.get_role(found.parent_id) if found.parent_id else None
    children = [item for item in rbac.list_roles() if item.parent_id == found.id]
    details = _summary(found) | {
        "parent": parent and {"id": parent.id, "name": parent.name},
        "children": [{"id": item.id, "name": item.name} for item in children],
        "members": rbac.member_count(found, _counted()),
        "members_url": _members_url(found),
        "created_at": found.created_at,
    }
    changeable = not found.is_system and not details["held"]
    return render(
        "iam/admin_role.html",
        code,
        role=details,
        groups=_grouped(rbac.permissions_of(found)),
        acts={
            name
            for name, permission in (("edit", "role:update"), ("delete", "role:delete"))
            if changeable and can(permission)
        },
        problem=problem,
        form=IAMForm(),
    )


def _counted() -> frozenset[UUID] | None:
    # Whoever sees the people of some organizations counts none of the others'.
    seen = "user:read" if current_user.grants.delegated("user:read") else "role:read"
    return current_user.grants.organizations_for(seen)


def _members_url(found: IAMRole) -> str | None:
    if "iam_admin.users" not in current_app.view_functions or not reaches("user:read"):
        return None
    return url_for("iam_admin.users", role=found.name)


def _grouped(held: list[rbac.HeldPermission]) -> list[dict[str, Any]]:
    # A permission held in two scopes is shown in the wider one, which decides.
    widest = {item.permission.name: item for item in sorted(held, key=_width)}
    rows = [
        {
            "name": name,
            "resource": item.permission.resource,
            "description": item.permission.description,
            "scope": SCOPE_LABELS.get(item.scope, item.scope),
            "source": item.source,
        }
        for name, item in sorted(widest.items())
    ]
    return [
        {"resource": resource, "permissions": list(items)}
        for resource, items in groupby(rows, key=lambda row: row["resource"])
    ]


def _width(item: rbac.HeldPermission) -> tuple[int, bool]:
    return WIDTH.get(item.scope, -1), item.source is None


def _form_page(
    form: RoleEditForm, typed: Any, code: int, found: IAMRole | None = None
) -> BaseResponse:
    permissions = rbac.list_permissions()
    return render(
        "iam/admin_role_form.html",
        code,
        form=form,
        role=_summary(found) if found is not None else None,
        groups=[
            {"resource": resource, "permissions": [_choice(item, typed) for item in items]}
            for resource, items in groupby(permissions, key=lambda item: item.resource)
        ],
    )


def _choice(permission: IAMPermission, typed: Any) -> dict[str, Any]:
    field = FIELD + permission.name
    chosen = str(typed.get(field, ""))
    offered = scopes_offered(permission.name, current_user.grants)
    if chosen in SCOPE_LABELS and chosen not in offered:
        offered.append(chosen)
    return {
        "field": field,
        "name": permission.name,
        "description": permission.description,
        "chosen": chosen,
        "scopes": [(scope, SCOPE_LABELS[scope]) for scope in offered],
    }


def _refused(form: RoleEditForm, refusal: IAMError, found: IAMRole | None = None) -> BaseResponse:
    session().rollback()
    text = _(str(refusal.title))
    fields = {field.short_name: field for field in form}
    if refusal.field in fields:
        fields[refusal.field].errors = [text]
    else:
        form.form_errors.append(text)
    return _form_page(form, request.form, refusal.status, found)
