"""A person's own pages: profile, password, sessions."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from flask import flash, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ..core.db import transaction
from ..core.errors import InvalidInput
from ..core.i18n import LANGUAGES, _
from ..core.ids import parse_id
from ..risk import services_devices
from .accounts import services_accounts
from .errors import InvalidCredentials, PasswordRefused
from .forms import ChangePasswordForm, IAMForm, ProfileForm, text
from .models import IAMAuthSession, IAMUserAccount
from .passwords import services_password
from .security import requires_login, requires_step_up
from .sessions import services_sessions
from .web.blueprint import account_bp
from .web.current import current_user, drop_session, keep_session, request_actor, speak
from .web.limits import limited_by_person
from .web.pages import redirect_to, render

bp = account_bp
_PROFILE = ("display_name", "first_name", "last_name", "language", "timezone")


@bp.route("", methods=["GET", "POST"], strict_slashes=False)
@requires_login
def profile() -> BaseResponse:
    """Show or change what people may change about themselves."""
    user = services_accounts.get_user(current_user.user_id)
    form = ProfileForm(obj=user)
    form.language.choices = [("", _("Same as the browser")), *LANGUAGES.items()]
    form.timezone.choices = [("", "UTC"), *((name, name) for name in sorted(available_timezones()))]
    if request.method != "POST":
        return _profile_page(form, user)
    try:
        if form.validate():
            _save_profile(form)
            speak(form.language.data)
            flash(_("Your profile is saved."), "ok")
            return redirect_to("iam_account.profile")
    except InvalidInput as refusal:
        _show(form, refusal)
    return _profile_page(form, user, 422)


@bp.route("/security/password", methods=["GET", "POST"])
@requires_step_up("account.security")
@limited_by_person
def password() -> BaseResponse:
    """Change the password, for which the current one is asked; or set the first."""
    form = ChangePasswordForm()
    user = services_accounts.get_user(current_user.user_id)
    if user.password_hash is None:
        del form.current
    if request.method == "POST" and form.validate():
        try:
            signed = services_password.change(
                current_user,
                text(form.current) if "current" in form else "",
                text(form.password),
                actor=request_actor(),
            )
        except InvalidCredentials as refusal:
            if "current" not in form:  # set in another window meanwhile
                raise
            form.current.errors = [_(str(refusal.title))]
            return _password_page(form, user, 401)
        except PasswordRefused as refusal:
            form.password.errors = refusal.details["reasons"]
            return _password_page(form, user, 422)
        keep_session(signed)
        if "current" in form:
            flash(_("Your password is changed. Other devices were signed out."), "ok")
        else:
            flash(_("Your password is set. Other devices were signed out."), "ok")
        return redirect_to("iam_account.security")
    return _password_page(form, user, 422 if form.errors else 200)


@bp.get("/sessions")
@requires_login
def sessions() -> BaseResponse:
    """Show where the person is signed in."""
    rows = services_sessions.list_live(current_user.user_id)
    return render(
        "iam/account_sessions.html", sessions=[_session_view(row) for row in rows], form=IAMForm()
    )


@bp.post("/sessions/<session_id>/end")
@requires_login
def session_end(session_id: str) -> BaseResponse:
    """End one of the person's own sessions; another person's is not found."""
    with transaction():
        row = services_sessions.get_of(current_user.user_id, parse_id(session_id))
        services_sessions.revoke(row.id, "user", actor=request_actor())
    if row.id == current_user.session_id:
        drop_session()
        return redirect_to("iam_auth.signed_out")
    flash(_("That session is ended."), "ok")
    return redirect_to("iam_account.sessions")


@bp.post("/sessions/end-others")
@requires_login
def sessions_end_others() -> BaseResponse:
    """End every session of the person but this one."""
    with transaction():
        ended = services_sessions.revoke_all(
            current_user.user_id,
            "user",
            except_id=current_user.session_id,
            actor=request_actor(),
        )
    flash(_("Signed out elsewhere: %(count)s.", count=ended), "ok")
    return redirect_to("iam_account.sessions")


def _profile_page(form: ProfileForm, user: IAMUserAccount, status: int = 200) -> BaseResponse:
    return render(
        "iam/account_profile.html",
        status,
        form=form,
        user=user,
        change_email_url=url_for("iam_account.email"),
        change_phone_url=url_for("iam_account.phone"),
    )


def _save_profile(form: ProfileForm) -> None:
    values = {name: form[name].data for name in _PROFILE}
    with transaction():
        user = services_accounts.get_user(current_user.user_id)
        services_accounts.update_profile(user, actor=request_actor(), **values)


def _password_page(form: ChangePasswordForm, user: IAMUserAccount, status: int) -> BaseResponse:
    hints = services_password.policy_hints(services_password.policy_for(user))
    return render("iam/account_password.html", status, form=form, policy_hints=hints)


def _session_view(row: IAMAuthSession) -> dict[str, Any]:
    browser, system, kind = services_devices.describe(row.user_agent)
    return {
        "id": row.id,
        "device_label": f"{_(browser)} · {_(system)}",
        "browser": _(browser),
        "os": _(system),
        "type": kind,
        "ip": row.ip,
        "created_at": row.login_time,
        "last_active_at": row.last_activity_at,
        "current": row.id == current_user.session_id,
    }


def _show(form: IAMForm, refusal: InvalidInput) -> None:
    field = form._fields.get(refusal.field or "")
    if field is None:
        form.form_errors.append(_(str(refusal.title)))
    else:
        field.errors = [_(str(refusal.title))]
