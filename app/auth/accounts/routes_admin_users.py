"""Administration of accounts: list, one account, create, change, roles."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...audit import wording
from ...audit.reach_pages import events_of
from ...authz import services_rbac
from ...authz.errors import RightsExceeded
from ...core.db import transaction
from ...core.errors import Conflict, IAMError, InvalidInput
from ...core.i18n import _
from ...core.ids import parse_id
from ..forms import IAMForm
from ..liveness import INVITED
from ..mfa.services_factors import label_of
from ..models import IAMMfaMethod, IAMUserAccount
from ..security import reaches, requires_permission_somewhere, requires_step_up
from ..sessions import services_session_admin
from ..sso import services_identities
from ..web.current import current_user, request_actor
from ..web.pages import redirect_to, render
from . import services_account_status as status
from . import services_accounts
from .account_fields import PROFILE_FIELDS
from .admin_pages import PAGE_SIZE, STATUS_LABELS, page_links, person, reach
from .admin_pages import admin_bp as bp
from .forms_admin import ACTOR_TYPE_LABELS, RoleForm, UserCreateForm, UserEditForm, show
from .services_directory import NEWEST, SORTS, grantable_scopes, list_organizations
from .services_names import names_of
from .services_reach import organization_names
from .user_role_pages import role_form, roles_shown, wanted

FILTERS = ("q", "status", "role", "organization", "sort")
LAST_EVENTS = 8


@bp.get("/users")
@requires_permission_somewhere("admin:access", "user:read")
def users() -> BaseResponse:
    """Show a page of accounts that meet the search and the filters."""
    typed = _typed()
    wanted = {key: typed.get(key, "") for key in ("status", "role")}
    places = list_organizations(reach("user:read"))
    place = parse_id(typed.get("organization"))
    found = services_accounts.list_users(
        typed.get("q", ""),
        sort=typed.get("sort", NEWEST),
        cursor=request.args.get("cursor"),
        size=PAGE_SIZE,
        organization=place,
        reach=reach("user:read"),
        **wanted,
    )
    extras = services_accounts.extras(user.id for user in found.items)
    return render(
        "iam/admin_users.html",
        users=[_row(user, extras.roles, extras.factors) for user in found.items],
        typed=typed,
        statuses=list(STATUS_LABELS.items()),
        roles=_role_choices(),
        organizations=[(str(row.id), row.name) for row in places],
        page=page_links(found, "iam_admin.users", typed),
    )


@bp.route("/users/new", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "user:create")
@requires_step_up("admin.users")
def user_new() -> BaseResponse:
    """Create an account and send its owner a link to set a password."""
    place = request.args.get("organization", "")
    form = UserCreateForm(actor_type="end_user", parent_id=place)
    form.offer_choices("user:create", current_user.grants)
    form.roles.choices = _grantable() if reaches("role:assign") else []
    if request.method != "POST":
        return _form_page(form, 200)
    if not form.validate():
        return _form_page(form, 422)
    try:
        with transaction():
            user = services_accounts.create_user(
                **form.data, actor_grants=current_user.grants, actor=request_actor()
            )
            user_id = user.id
    except (InvalidInput, Conflict, RightsExceeded) as refusal:
        return _refused(form, refusal)
    flash(_("The account is created. A link to set a password is on its way."), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


@bp.get("/users/<user_id>")
@requires_permission_somewhere("admin:access", "user:read")
def user(user_id: str) -> BaseResponse:
    """Show one account: data, roles, factors by name, sessions, what happened last."""
    found = person(user_id)
    return _user_page(found, role_form(found))


@bp.route("/users/<user_id>/edit", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "user:update")
@requires_step_up("admin.users")
def user_edit(user_id: str) -> BaseResponse:
    """Change an account's data."""
    found = person(user_id, "user:update")
    form = UserEditForm(obj=found)
    form.offer_choices("user:update", current_user.grants)
    _keep_current(form, found)
    if request.method != "POST":
        form.parent_id.data = str(found.parent_id or "")
        return _form_page(form, 200, found)
    if not form.validate():
        return _form_page(form, 422, found)
    try:
        with transaction():
            found = person(user_id, "user:update")
            services_accounts.update_user(
                found, actor_grants=current_user.grants, actor=request_actor(), **form.data
            )
    except (InvalidInput, Conflict) as refusal:
        return _refused(form, refusal, services_accounts.get_user(parse_id(user_id)))
    flash(_("The changes are saved."), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


@bp.post("/users/<user_id>/roles")
@requires_permission_somewhere("admin:access", "role:assign")
@requires_step_up("admin.roles")
def user_role_assign(user_id: str) -> BaseResponse:
    """Give a person a role, over what and until when the form says."""
    found = person(user_id, "role:assign")
    form = role_form(found)
    if not form.validate():
        return _user_page(found, form, 422)
    try:
        with transaction():
            services_rbac.assign_role(
                found,
                **wanted(form, found),
                actor_grants=current_user.grants,
                actor=request_actor(),
            )
    except (InvalidInput, Conflict) as refusal:
        show(form, refusal)
        return _user_page(person(user_id), form, refusal.status)
    flash(_("The role is given. It counts from the next click."), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


@bp.post("/users/<user_id>/roles/<role_id>/revoke")
@requires_permission_somewhere("admin:access", "role:assign")
@requires_step_up("admin.roles")
def user_role_revoke(user_id: str, role_id: str) -> BaseResponse:
    """Take a role from a person."""
    with transaction():
        services_rbac.revoke_role(
            person(user_id, "role:assign"),
            services_rbac.get_role(parse_id(role_id)),
            actor_grants=current_user.grants,
            actor=request_actor(),
        )
    flash(_("The role is taken away."), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


def _typed() -> dict[str, str]:
    found = {name: request.args.get(name, "").strip()[:254] for name in FILTERS}
    if found["sort"] not in SORTS:
        found["sort"] = ""
    return {name: value for name, value in found.items() if value}


def _row(
    user: IAMUserAccount, roles: dict[UUID, list[str]], factors: dict[UUID, list[str]]
) -> dict[str, Any]:
    return {
        "id": user.id,
        "label": user.label,
        "username": user.username,
        "email": user.email,
        "status": user.status,
        "roles": roles.get(user.id, []),
        "factors": [label_of(method) for method in factors.get(user.id, [])],
        "last_login_at": user.last_login_at,
        "selectable": user.id != current_user.user_id,
    }


def _user_page(user: IAMUserAccount, form: RoleForm, code: int = 200) -> BaseResponse:
    shows = {name for name in ("session:read", "audit:read") if reach(name).has(user.parent_id)}
    events = events_of(user.id, LAST_EVENTS) if "audit:read" in shows else []
    return render(
        "iam/admin_user.html",
        code,
        user=_details(user),
        roles=roles_shown(user),
        role_form=form,
        factors=[_factor(row) for row in services_accounts.list_factors(user.id)],
        identities=services_identities.list_of(user.id),
        sessions=services_session_admin.list_of(user) if "session:read" in shows else [],
        shows=shows,
        events=events,
        names=names_of(wording.accounts_in(events), reach("user:read")),
        words=wording,
        acts=_acts(user),
        form=IAMForm(),
    )


def _details(user: IAMUserAccount) -> dict[str, Any]:
    # The template gets a copy without the password hash, so that no slip can show it (AT-387).
    names = (
        "id", "label", "username", "email", "email_verified", "phone_number", "phone_verified",
        "status", "created_at", "updated_at", "last_login_at", "password_changed_at",
        *PROFILE_FIELDS,
    )  # fmt: skip
    organizations = organization_names(reach("user:read"))
    return {name: getattr(user, name) for name in names} | {
        "has_password": user.password_hash is not None,
        "is_self": user.id == current_user.user_id,
        "organization": organizations.get(user.parent_id) if user.parent_id else None,
        "actor_type": ACTOR_TYPE_LABELS.get(user.actor_type, user.actor_type),
    }


def _acts(user: IAMUserAccount) -> set[str]:
    # What the page offers; what is allowed is decided again where it is done.
    def over(permission: str) -> bool:
        return reach(permission).has(user.parent_id)

    if user.id == current_user.user_id:
        return {"edit"} if over("user:update") else set()
    offered = {
        "edit": over("user:update") and user.status != "erased",
        "password_link": over("user:reset_password") and user.status in {INVITED, "active"},
        "suspend": over("user:suspend") and user.status in status.SUSPENDABLE,
        "reactivate": over("user:suspend") and user.status in status.REVIVABLE,
        "disable": over("user:suspend") and user.status in status.DISABLEABLE,
        "delete": over("user:delete") and user.status in status.DELETABLE,
        "reset_factors": over("user:reset_factors") and user.status in status.DELETABLE,
        "recover": over("recovery:approve") and user.status == "active",
        "roles": over("role:assign") and user.status in status.DELETABLE,
        "sessions": over("session:revoke"),
    }
    return {name for name, yes in offered.items() if yes}


def _factor(row: IAMMfaMethod) -> dict[str, Any]:
    return {
        "name": row.name,
        "method": row.method,
        "method_label": label_of(row.method),
        "created_at": row.created_at,
        "last_used_at": row.last_used_at,
    }


def _grantable() -> list[tuple[str, str]]:
    roles = [role for role, _scopes in grantable_scopes(current_user.grants)]
    return [
        (role.name, f"{role.name}: {_(role.description)}" if role.description else role.name)
        for role in roles
    ]


def _role_choices() -> list[tuple[str, str]]:
    return [(role.name, role.name) for role in services_rbac.list_roles()]


def _keep_current(form: UserEditForm, user: IAMUserAccount) -> None:
    # An organization that was closed since, or a language no longer offered, stays as it is.
    for field in (form.parent_id, form.language, form.timezone, form.actor_type):
        value = str(getattr(user, field.short_name) or "")
        offered: list[Any] = list(field.choices or [])
        if value not in {choice[0] for choice in offered}:
            field.choices = [*offered, (value, _kept_label(field.short_name, user) or value)]


def _kept_label(field: str, user: IAMUserAccount) -> str:
    if field == "actor_type":
        return str(ACTOR_TYPE_LABELS.get(user.actor_type, user.actor_type))
    if field == "parent_id" and user.parent_id:
        return organization_names(reach("user:read")).get(user.parent_id, "")
    return ""


def _refused(
    form: UserEditForm, refusal: IAMError, user: IAMUserAccount | None = None
) -> BaseResponse:
    show(form, refusal)
    return _form_page(form, refusal.status, user)


def _form_page(form: UserEditForm, code: int, user: IAMUserAccount | None = None) -> BaseResponse:
    details = _details(user) if user is not None else None
    return render("iam/admin_user_form.html", code, form=form, user=details)
