"""Administration of accounts: list, one account, create, change, roles."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...audit import wording
from ...audit.models import IAMAuthLog
from ...audit.services_query import AuditLogQuery
from ...authz import services_rbac
from ...authz.errors import RightsExceeded
from ...core import clock
from ...core.db import transaction
from ...core.errors import Conflict, IAMError, InvalidInput
from ...core.i18n import _
from ...core.ids import parse_id
from ..forms import IAMForm
from ..liveness import INVITED
from ..mfa.services_factors import label_of
from ..models import IAMMfaMethod, IAMUserAccount
from ..security import can, requires_permission, requires_step_up
from ..sessions import services_session_admin
from ..sso import services_identities
from ..web.current import current_user, request_actor
from ..web.pages import redirect_to, render
from . import services_account_status as status
from . import services_accounts
from .account_fields import PROFILE_FIELDS
from .admin_pages import PAGE_SIZE, STATUS_LABELS, page_links
from .admin_pages import admin_bp as bp
from .forms_admin import ACTOR_TYPE_LABELS, RoleForm, UserCreateForm, UserEditForm, show
from .services_directory import NEWEST, SORTS, default_scope, grantable_roles, list_organizations
from .services_names import names_of

FILTERS = ("q", "status", "role", "sort")
LAST_EVENTS = 8


@bp.get("/users")
@requires_permission("admin:access", "user:read")
def users() -> BaseResponse:
    """Show a page of accounts that meet the search and the filters."""
    typed = _typed()
    wanted = {key: typed.get(key, "") for key in ("status", "role")}
    found = services_accounts.list_users(
        typed.get("q", ""),
        sort=typed.get("sort", NEWEST),
        cursor=request.args.get("cursor"),
        size=PAGE_SIZE,
        **wanted,
    )
    extras = services_accounts.extras(user.id for user in found.items)
    return render(
        "iam/admin_users.html",
        users=[_row(user, extras.roles, extras.factors) for user in found.items],
        typed=typed,
        statuses=list(STATUS_LABELS.items()),
        roles=_role_choices(),
        page=page_links(found, "iam_admin.users", typed),
    )


@bp.route("/users/new", methods=["GET", "POST"])
@requires_permission("admin:access", "user:create")
@requires_step_up("admin.users")
def user_new() -> BaseResponse:
    """Create an account and send its owner a link to set a password."""
    form = UserCreateForm(actor_type="end_user")
    form.offer_choices()
    form.roles.choices = _grantable() if can("role:assign") else []
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
@requires_permission("admin:access", "user:read")
def user(user_id: str) -> BaseResponse:
    """Show one account: data, roles, factors by name, sessions, what happened last."""
    found = services_accounts.get_user(parse_id(user_id))
    return _user_page(found, _role_form(found))


@bp.route("/users/<user_id>/edit", methods=["GET", "POST"])
@requires_permission("admin:access", "user:update")
@requires_step_up("admin.users")
def user_edit(user_id: str) -> BaseResponse:
    """Change an account's data."""
    found = services_accounts.get_user(parse_id(user_id))
    form = UserEditForm(obj=found)
    form.offer_choices()
    _keep_current(form, found)
    if request.method != "POST":
        form.parent_id.data = str(found.parent_id or "")
        return _form_page(form, 200, found)
    if not form.validate():
        return _form_page(form, 422, found)
    try:
        with transaction():
            found = services_accounts.get_user(parse_id(user_id))
            services_accounts.update_user(
                found, actor_grants=current_user.grants, actor=request_actor(), **form.data
            )
    except (InvalidInput, Conflict) as refusal:
        return _refused(form, refusal, services_accounts.get_user(parse_id(user_id)))
    flash(_("The changes are saved."), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


@bp.post("/users/<user_id>/roles")
@requires_permission("admin:access", "role:assign")
@requires_step_up("admin.roles")
def user_role_assign(user_id: str) -> BaseResponse:
    """Give a person a role."""
    found = services_accounts.get_user(parse_id(user_id))
    form = _role_form(found)
    if not form.validate():
        return _user_page(found, form, 422)
    with transaction():
        role = services_rbac.get_role(parse_id(form.role.data))
        services_rbac.assign_role(
            found,
            role,
            scope=default_scope(role.name),
            actor_grants=current_user.grants,
            actor=request_actor(),
        )
    flash(_("The role is given. It counts from the next click."), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


@bp.post("/users/<user_id>/roles/<role_id>/revoke")
@requires_permission("admin:access", "role:assign")
@requires_step_up("admin.roles")
def user_role_revoke(user_id: str, role_id: str) -> BaseResponse:
    """Take a role from a person."""
    with transaction():
        services_rbac.revoke_role(
            services_accounts.get_user(parse_id(user_id)),
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
    events = _events(user.id) if can("audit:read") else []
    sessions = services_session_admin.list_of(user) if can("session:read") else []
    return render(
        "iam/admin_user.html",
        code,
        user=_details(user),
        roles=[_role(held) for held in services_rbac.roles_of(user)],
        role_form=form,
        factors=[_factor(row) for row in services_accounts.list_factors(user.id)],
        identities=services_identities.list_of(user.id),
        sessions=sessions,
        events=events,
        names=names_of(wording.accounts_in(events)),
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
    organizations = {row.id: row.name for row in list_organizations()}
    return {name: getattr(user, name) for name in names} | {
        "has_password": user.password_hash is not None,
        "is_self": user.id == current_user.user_id,
        "organization": organizations.get(user.parent_id) if user.parent_id else None,
        "actor_type": ACTOR_TYPE_LABELS.get(user.actor_type, user.actor_type),
    }


def _acts(user: IAMUserAccount) -> set[str]:
    # What the page offers; what is allowed is decided again where it is done.
    if user.id == current_user.user_id:
        return {"edit"} if can("user:update") else set()
    offered = {
        "edit": can("user:update") and user.status != "erased",
        "password_link": can("user:reset_password") and user.status in {INVITED, "active"},
        "suspend": can("user:suspend") and user.status in status.SUSPENDABLE,
        "reactivate": can("user:suspend") and user.status in status.REVIVABLE,
        "disable": can("user:suspend") and user.status in status.DISABLEABLE,
        "delete": can("user:delete") and user.status in status.DELETABLE,
        "reset_factors": can("user:reset_factors") and user.status in status.DELETABLE,
        "recover": can("recovery:approve") and user.status == "active",
        "roles": can("role:assign") and user.status in status.DELETABLE,
        "sessions": can("session:revoke"),
    }
    return {name for name, yes in offered.items() if yes}


def _role(held: services_rbac.HeldRole) -> dict[str, Any]:
    return {
        "id": held.role.id,
        "name": held.role.name,
        "description": held.role.description,
        "scope": held.assignment.scope,
        "expires_at": held.assignment.expires_at,
        "live": held.is_live(clock.now()),
        "mapped": held.assignment.connection_id is not None,
    }


def _factor(row: IAMMfaMethod) -> dict[str, Any]:
    return {
        "name": row.name,
        "method": row.method,
        "method_label": label_of(row.method),
        "created_at": row.created_at,
        "last_used_at": row.last_used_at,
    }


def _events(user_id: UUID) -> list[IAMAuthLog]:
    query = AuditLogQuery().limit(LAST_EVENTS)
    found = {row.id: row for row in query.by_resource("user_account", user_id).all()}
    found |= {row.id: row for row in query.by_actor(user_id).all()}
    return sorted(found.values(), key=lambda row: row.id, reverse=True)[:LAST_EVENTS]


def _role_form(user: IAMUserAccount) -> RoleForm:
    held = {item.role.id for item in services_rbac.roles_of(user)}
    form = RoleForm()
    offered = grantable_roles(current_user.grants, user.parent_id) if can("role:assign") else []
    roles = [role for role in offered if role.id not in held]
    form.role.choices = [("", _("Choose a role")), *((str(r.id), r.name) for r in roles)]
    return form


def _grantable() -> list[tuple[str, str]]:
    roles = grantable_roles(current_user.grants)
    return [
        (role.name, f"{role.name}: {_(role.description)}" if role.description else role.name)
        for role in roles
    ]


def _role_choices() -> list[tuple[str, str]]:
    return [(role.name, role.name) for role in services_rbac.list_roles()]


def _keep_current(form: UserEditForm, user: IAMUserAccount) -> None:
    # An organization that was closed since, or a language no longer offered, stays as it is.
    for field in (form.parent_id, form.language, form.timezone):
        value = str(getattr(user, field.short_name) or "")
        offered: list[Any] = list(field.choices or [])
        if value not in {choice[0] for choice in offered}:
            field.choices = [*offered, (value, value)]


def _refused(
    form: UserEditForm, refusal: IAMError, user: IAMUserAccount | None = None
) -> BaseResponse:
    show(form, refusal)
    return _form_page(form, refusal.status, user)


def _form_page(form: UserEditForm, code: int, user: IAMUserAccount | None = None) -> BaseResponse:
    details = _details(user) if user is not None else None
    return render("iam/admin_user_form.html", code, form=form, user=details)
