"""The page of a sign-in that must confirm a mailbox: an unverified address, or a new device."""

from __future__ import annotations

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...core.errors import NotAuthenticated, TooManyAttempts
from ...core.i18n import _
from ...notify.models import SENT
from ..errors import CodeInvalid
from ..identity import mask_email
from ..mfa.forms_mfa import CodeForm
from ..mfa.mfa_pages import waiting_text
from ..mfa.settings_mfa import MfaSettings
from ..principal import Principal
from ..security import requires_pending
from ..web.blueprint import mfa_bp
from ..web.current import keep_session, pending_login, request_actor
from ..web.limits import limited_by_person
from ..web.pages import onwards, redirect_to, render
from . import services_codes, services_gate, services_verification

bp = mfa_bp


@bp.route("/verify", methods=["GET", "POST"])
@requires_pending("verify")
@limited_by_person
def verify_mailbox() -> BaseResponse:
    """Ask for the code that was mailed, or check it."""
    person = _person()
    if request.method != "POST":
        return _page(person, CodeForm(formdata=None))
    form = CodeForm()
    if not form.validate():
        return _page(person, form, 422)
    try:
        signed = services_verification.confirm(person, form.code.data or "", actor=request_actor())
    except CodeInvalid as refusal:
        form.code.errors = [_(str(refusal.title))]
        return _page(person, form, 401)
    except TooManyAttempts as refusal:
        form.code.errors = [_waiting(refusal)]
        response = _page(person, form, 429)
        response.headers["Retry-After"] = str(refusal.retry_after)
        return response
    keep_session(signed)
    return onwards(signed)


@bp.post("/verify/send")
@requires_pending("verify")
@limited_by_person
def verify_mailbox_send() -> BaseResponse:
    """Send the code, or another one."""
    try:
        status = services_verification.send_code(_person(), actor=request_actor())
    except TooManyAttempts as refusal:
        flash(_waiting(refusal), "warn")
        return redirect_to("iam_mfa.verify_mailbox")
    if status != SENT:
        flash(_("The code could not be sent yet. We keep trying; please wait a little."), "warn")
    return redirect_to("iam_mfa.verify_mailbox")


def _waiting(refusal: TooManyAttempts) -> str:
    return f"{_(str(refusal.title))}. {waiting_text(refusal.retry_after)}"


def _page(person: Principal, form: CodeForm, status: int = 200) -> BaseResponse:
    user = services_gate.owner(person)
    purpose = services_verification.purpose_of(user)
    live = services_codes.current(user.id, purpose, session_id=person.session_id)
    return render(
        "iam/verify_mailbox.html",
        status,
        form=form,
        enrolling=services_verification.is_for_enrolment(user),
        new_device=purpose == services_codes.VERIFY_DEVICE,
        destination=mask_email(user.email) if user.email else "",
        sent=live is not None,
        minutes=MfaSettings.current().MFA_CODE_MINUTES,
        resend_in=services_codes.seconds_until_resend(user.id, purpose),
    )


def _person() -> Principal:
    person = pending_login()
    if person is None:
        raise NotAuthenticated
    return person
