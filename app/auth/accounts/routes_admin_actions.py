"""Acts on accounts that ask first: each has a page that says what will happen and wants a reason.

Every act carries its own permission and a fresh proof. The page works without script:
GET asks, POST does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.errors import BadRequest, Conflict, Forbidden, InvalidInput, NotFound
from ...core.i18n import _
from ...core.i18n import lazy as _l
from ..forms import IAMForm
from ..models import IAMUserAccount
from ..security import requires_permission_somewhere, requires_step_up
from ..sessions import services_session_admin
from ..web.current import current_user, request_actor
from ..web.pages import redirect_to, render
from . import services_accounts
from .admin_pages import admin_bp as bp
from .admin_pages import person
from .forms_admin import ReasonForm, show

MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Act:
    """One act: its words for people, and the service that does it."""

    title: Any
    text: Any
    label: Any
    done: Any
    run: Callable[..., Any]
    permission: str
    kind: str = "danger"


SUSPEND = Act(
    _l("Suspend %(name)s?"),
    _l("They are signed out everywhere at once and cannot sign in until the account is "
       "reactivated. Nothing is deleted. They are told by e-mail."),
    _l("Suspend"),
    _l("The account is suspended and signed out everywhere."),
    services_accounts.suspend,
    "user:suspend",
)  # fmt: skip
REACTIVATE = Act(
    _l("Reactivate %(name)s?"),
    _l("They can sign in again with what they had. Sessions that were ended stay ended."),
    _l("Reactivate"),
    _l("The account is active again."),
    services_accounts.reactivate,
    "user:suspend",
    kind="primary",
)
DISABLE = Act(
    _l("Disable %(name)s?"),
    _l("For people who have left. They are signed out everywhere and links sent to them stop "
       "working. The account and its history stay."),
    _l("Disable"),
    _l("The account is disabled and signed out everywhere."),
    services_accounts.disable,
    "user:suspend",
)  # fmt: skip
DELETE = Act(
    _l("Delete %(name)s?"),
    _l("Name, addresses, password, second factors, devices, sessions and roles are erased. "
       "This cannot be undone. Entries of the audit trail stay, without personal data."),
    _l("Delete for good"),
    _l("The account is erased."),
    services_accounts.delete_user,
    "user:delete",
)  # fmt: skip
RESET_FACTORS = Act(
    _l("Reset the second factors of %(name)s?"),
    _l("Every second factor and recovery code is removed, and every session ends. Make sure "
       "that you speak with the right person: whoever knows the password can then sign in."),
    _l("Reset factors"),
    _l("The second factors are removed."),
    services_accounts.reset_factors,
    "user:reset_factors",
)  # fmt: skip
BULK = {"suspend": SUSPEND, "reactivate": REACTIVATE}


@bp.route("/users/<user_id>/suspend", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "user:suspend")
@requires_step_up("admin.users")
def user_suspend(user_id: str) -> BaseResponse:
    """Suspend an account."""
    return _ask_or_do(SUSPEND, user_id)


@bp.route("/users/<user_id>/reactivate", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "user:suspend")
@requires_step_up("admin.users")
def user_reactivate(user_id: str) -> BaseResponse:
    """Reactivate an account."""
    return _ask_or_do(REACTIVATE, user_id)


@bp.route("/users/<user_id>/disable", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "user:suspend")
@requires_step_up("admin.users")
def user_disable(user_id: str) -> BaseResponse:
    """Disable an account."""
    return _ask_or_do(DISABLE, user_id)


@bp.route("/users/<user_id>/delete", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "user:delete")
@requires_step_up("admin.users")
def user_delete(user_id: str) -> BaseResponse:
    """Erase an account."""
    return _ask_or_do(DELETE, user_id)


@bp.route("/users/<user_id>/reset-factors", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "user:reset_factors")
@requires_step_up("admin.users")
def user_reset_factors(user_id: str) -> BaseResponse:
    """Remove a person's second factors."""
    return _ask_or_do(RESET_FACTORS, user_id)


@bp.post("/users/<user_id>/password-link")
@requires_permission_somewhere("admin:access", "user:reset_password")
@requires_step_up("admin.users")
def user_password_link(user_id: str) -> BaseResponse:
    """Send a person the link to set a password; its text is never shown here."""
    with transaction():
        services_accounts.send_password_link(
            person(user_id, "user:reset_password"),
            actor_grants=current_user.grants,
            actor=request_actor(),
        )
    flash(_("The link is on its way to the address of the account."), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


@bp.post("/users/<user_id>/sessions/end")
@requires_permission_somewhere("admin:access", "session:revoke")
def user_sessions_end(user_id: str) -> BaseResponse:
    """Sign a person out everywhere."""
    with transaction():
        ended = services_session_admin.end_all(
            person(user_id, "session:revoke").id,
            actor_grants=current_user.grants,
            actor=request_actor(),
        )
    flash(_("Sessions ended: %(count)s.", count=ended), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


@bp.route("/users/bulk", methods=["GET", "POST"])
@requires_permission_somewhere("admin:access", "user:suspend")
@requires_step_up("admin.users")
def users_bulk() -> BaseResponse:
    """Suspend or reactivate several accounts, each on its own: one refusal stops no other."""
    act = BULK.get(request.values.get("action", ""))
    ids = list(dict.fromkeys(request.values.getlist("ids")))
    if act is None or len(ids) > MOST_AT_ONCE:
        raise BadRequest(_("Choose an action and at most 100 accounts"), code="admin.bulk")
    if not ids:
        flash(_("Choose at least one account."), "warn")
        return redirect_to("iam_admin.users")
    found = [person(user_id, act.permission) for user_id in ids]
    form = ReasonForm()
    if request.method != "POST" or not form.validate():
        return _bulk_page(act, found, form, 422 if request.method == "POST" else 200)
    refusals = [text for text in (_try(act, row, form) for row in [u.id for u in found]) if text]
    done = len(found) - len(refusals)
    if done:
        flash(_("Accounts changed: %(count)s.", count=done), "ok")
    for text in refusals[:5]:
        flash(text, "warn")
    return redirect_to("iam_admin.users")


def _ask_or_do(act: Act, user_id: str) -> BaseResponse:
    user = person(user_id, act.permission)
    form = ReasonForm()
    if request.method != "POST":
        return _confirm_page(act, user, form, 200)
    if not form.validate():
        return _confirm_page(act, user, form, 422)
    try:
        _do(act, user.id, form.reason.data or "")
    except (InvalidInput, Conflict) as refusal:
        show(form, refusal)
        return _confirm_page(act, person(user_id, act.permission), form, refusal.status)
    flash(str(act.done), "ok")
    return redirect_to("iam_admin.user", user_id=user_id)


def _do(act: Act, user_id: UUID, reason: str) -> None:
    with transaction():
        act.run(
            services_accounts.get_user(user_id),
            reason=reason,
            actor_grants=current_user.grants,
            actor=request_actor(),
        )


def _try(act: Act, user_id: UUID, form: ReasonForm) -> str:
    name = services_accounts.get_user(user_id).label
    try:
        _do(act, user_id, form.reason.data or "")
    except (InvalidInput, Conflict, Forbidden, NotFound) as refusal:
        return f"{name}: {_(str(refusal.title))}"
    return ""


def _confirm_page(act: Act, user: IAMUserAccount, form: IAMForm, code: int) -> BaseResponse:
    return render(
        "iam/admin_user_confirm.html",
        code,
        title=str(act.title) % {"name": user.label},
        text=act.text,
        label=act.label,
        kind=act.kind,
        users=[_shown(user)],
        form=form,
        action="",
    )


def _bulk_page(act: Act, users: list[IAMUserAccount], form: IAMForm, code: int) -> BaseResponse:
    name = _("%(count)s accounts", count=len(users)) if len(users) > 1 else users[0].label
    return render(
        "iam/admin_user_confirm.html",
        code,
        title=str(act.title) % {"name": name},
        text=act.text,
        label=act.label,
        kind=act.kind,
        users=[_shown(user) for user in users],
        form=form,
        action=request.values["action"],
    )


def _shown(user: IAMUserAccount) -> dict[str, Any]:
    return {
        "id": user.id,
        "label": user.label,
        "username": user.username,
        "email": user.email,
        "status": user.status,
    }
