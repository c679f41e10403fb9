"""A person's own pages: profile, password, sessions, devices."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ..core.db import transaction
from ..core.errors import InvalidInput
from ..core.i18n import LANGUAGES, _
from ..core.ids import parse_id
from ..risk import services_devices
from . import services_accounts, services_password, services_sessions
from .blueprint import account_bp
from .current import current_user, drop_session, keep_session, request_actor, speak
from .errors import InvalidCredentials, PasswordRefused
from .forms import ChangePasswordForm, DeviceNameForm, IAMForm, ProfileForm, text
from .identity import MAX_NAME
from .limits import limited_by_person
from .models import IAMAuthSession
from .pages import redirect_to, render
from .security import requires_login, requires_step_up

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
        return render("iam/account_profile.html", form=form, user=user)
    try:
        if form.validate():
            _save_profile(form)
            speak(form.language.data)
            flash(_("Your profile is saved."), "ok")
            return redirect_to("iam_account.profile")
    except InvalidInput as refusal:
        _show(form, refusal)
    return render("iam/account_profile.html", 422, form=form, user=user)


@bp.route("/security/password", methods=["GET", "POST"])
@requires_login
@limited_by_person
def password() -> BaseResponse:
    """Change the password; the current one is asked for."""
    form = ChangePasswordForm()
    if request.method == "POST" and form.validate():
        try:
            signed = services_password.change(
                current_user, text(form.current), text(form.password), actor=request_actor()
            )
        except InvalidCredentials as refusal:
            form.current.errors = [_(str(refusal.title))]
            return _password_page(form, 401)
        except PasswordRefused as refusal:
            form.password.errors = refusal.details["reasons"]
            return _password_page(form, 422)
        keep_session(signed)
        flash(_("Your password is changed. Other devices were signed out."), "ok")
        return redirect_to("iam_account.security")
    return _password_page(form, 422 if form.errors else 200)


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


@bp.get("/devices")
@requires_login
def devices() -> BaseResponse:
    """Show the browsers the person has signed in from."""
    rows = services_devices.list_devices(current_user.user_id)
    return render(
        "iam/account_devices.html", devices=[_device_view(row) for row in rows], form=IAMForm()
    )


@bp.post("/devices/<device_id>/rename")
@requires_login
def device_rename(device_id: str) -> BaseResponse:
    """Give a device another name."""
    form = DeviceNameForm()
    if not form.validate():
        said = text(form.name) and len(text(form.name)) <= MAX_NAME and form.name.errors
        flash(said[0] if said else _("Enter a name of up to 80 characters."), "bad")
        return redirect_to("iam_account.devices")
    with transaction():
        device = services_devices.get_device(current_user.user_id, parse_id(device_id))
        services_devices.rename_device(device, text(form.name), actor=request_actor())
    flash(_("The device is renamed."), "ok")
    return redirect_to("iam_account.devices")


@bp.post("/devices/<device_id>/revoke")
@requires_step_up("account.security")
def device_revoke(device_id: str) -> BaseResponse:
    """Forget a device and end its sessions."""
    with transaction():
        device = services_devices.get_device(current_user.user_id, parse_id(device_id))
        services_devices.revoke_device(device, actor=request_actor())
        services_sessions.revoke_device(device.id, actor=request_actor())
    if device.id == current_user.device_id:
        drop_session()
        return redirect_to("iam_auth.signed_out")
    flash(_("The device is removed and signed out."), "ok")
    return redirect_to("iam_account.devices")


def _save_profile(form: ProfileForm) -> None:
    values = {name: form[name].data for name in _PROFILE}
    with transaction():
        user = services_accounts.get_user(current_user.user_id)
        services_accounts.update_profile(user, actor=request_actor(), **values)


def _password_page(form: ChangePasswordForm, status: int) -> BaseResponse:
    user = services_accounts.get_user(current_user.user_id)
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


def _device_view(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": _device_name(row),
        "browser": _(row.browser),
        "os": _(row.os),
        "type": row.kind,
        "first_seen_at": row.first_seen_at,
        "last_seen_at": row.last_seen_at,
        "trusted": row.trusted_until is not None,
        "trusted_until": row.trusted_until,
        "current": row.id == current_user.device_id,
    }


def _device_name(row: Any) -> str:
    if row.name != services_devices.default_name(row.browser, row.os):
        return str(row.name)
    return _("%(browser)s on %(system)s", browser=_(row.browser), system=_(row.os))


def _show(form: IAMForm, refusal: InvalidInput) -> None:
    field = form._fields.get(refusal.field or "")
    if field is None:
        form.form_errors.append(_(str(refusal.title)))
    else:
        field.errors = [_(str(refusal.title))]
