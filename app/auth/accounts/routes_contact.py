"""Pages of a person's e-mail address and phone number, and of taking a former address back.

Every change demands fresh authentication (ASVS 7.5.1); a look changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.errors import Conflict, InvalidInput, TooManyAttempts
from ...core.i18n import _
from ...notify.models import SENT
from ..errors import CodeInvalid, LinkInvalid
from ..forms import IAMForm
from ..mfa.enrol_pages import SECURITY
from ..mfa.forms_mfa import CodeForm
from ..mfa.mfa_pages import tell_unsent
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMUserAccount
from ..security import public, requires_step_up, signed_in
from ..sessions import services_sessions
from ..sign_in import services_codes
from ..sign_in.services_codes import EMAIL_CHANGE, PHONE_CHANGE, Sent
from ..web.blueprint import account_bp, auth_bp
from ..web.current import browser, drop_session, request_actor
from ..web.limits import limited, limited_by_person
from ..web.pages import redirect_to, render, without_referrer
from . import services_contact, services_contact_undo
from .forms_contact import EmailChangeForm, PhoneChangeForm

bp = account_bp


@dataclass(frozen=True, slots=True)
class _Contact:
    """One of the two: its page, form and field, and how its change begins."""

    purpose: str
    endpoint: str
    field: str
    form: type[IAMForm]
    show: Callable[..., Response]
    begin: Callable[..., Sent]


def _show_email(status: int, **context: Any) -> Response:
    return render("iam/account_email.html", status, **context)


def _show_phone(status: int, **context: Any) -> Response:
    return render("iam/account_phone.html", status, **context)


_EMAIL = _Contact(
    EMAIL_CHANGE, "iam_account.email", "email", EmailChangeForm, _show_email,
    services_contact.begin_email,
)  # fmt: skip
_PHONE = _Contact(
    PHONE_CHANGE, "iam_account.phone", "phone_number", PhoneChangeForm, _show_phone,
    services_contact.begin_phone,
)  # fmt: skip


@bp.route("/email", methods=["GET", "POST"])
@requires_step_up(SECURITY)
@limited_by_person
def email() -> BaseResponse:
    """Change the e-mail address: type it, then the code that went there."""
    return _change(_EMAIL)


@bp.route("/phone", methods=["GET", "POST"])
@requires_step_up(SECURITY)
@limited_by_person
def phone() -> BaseResponse:
    """Change the phone number likewise, or remove it."""
    if request.method == "POST" and request.form.get("action") == "remove":
        with transaction():
            services_contact.remove_phone(_owner(), actor=request_actor())
        flash(_("Your phone number is removed."), "ok")
        return redirect_to("iam_account.profile")
    return _change(_PHONE)


@auth_bp.route("/email/undo/<token>", methods=["GET", "POST"])
@public("the link in the message to the former address is the proof")
@limited
def email_undo(token: str) -> BaseResponse:
    """Put a former address back. A look at the page changes nothing."""
    browser()
    try:
        if request.method != "POST":
            row, _user = services_contact_undo.find(token)
            return _undo_page("ask", 200, address=services_contact_undo.address_of(row))
        outcome = services_contact_undo.redeem(token, actor=request_actor())
    except LinkInvalid:
        return _undo_page("gone", 404)
    except Conflict:
        return _undo_page("taken", 409)
    drop_session()
    if outcome == services_contact_undo.LOCKED:
        return _undo_page("locked", 200)
    flash(_("Your address is back, and everybody is signed out."), "ok")
    if outcome == services_contact_undo.RESTORED:
        flash(
            _("We sent you a link to choose a new password; the old one no longer works."), "info"
        )
    return redirect_to("iam_auth.login")


def _change(what: _Contact) -> BaseResponse:
    action = request.form.get("action") if request.method == "POST" else None
    if action == "resend":
        return _resend(what)
    waiting = "new" not in request.args and what.field not in request.form
    if waiting and _awaited(what) is not None:
        return _code(what)
    return _address(what)


def _address(what: _Contact) -> BaseResponse:
    form = what.form()
    if request.method != "POST":
        return _page(what, what.form(formdata=None))
    if not form.validate():
        return _page(what, form, 422)

    def begin() -> Sent:
        return what.begin(
            _owner(), form[what.field].data or "", session_id=_session_id(), actor=request_actor()
        )

    try:
        _send(begin)
    except InvalidInput as refusal:
        form[what.field].errors = [_(str(refusal.title))]
        return _page(what, form, 422)
    except TooManyAttempts as refusal:
        form[what.field].errors = [_(str(refusal.title))]
        return _page(what, form, 429, retry_after=refusal.retry_after)
    return redirect_to(what.endpoint)


def _code(what: _Contact) -> BaseResponse:
    form = CodeForm()
    if request.method != "POST":
        return _page(what, CodeForm(formdata=None), stage="code")
    if not form.validate():
        return _page(what, form, 422, stage="code")
    try:
        services_contact.confirm(
            _owner(), what.purpose, form.code.data or "",
            session_id=_session_id(), actor=request_actor(),
        )  # fmt: skip
    except (CodeInvalid, Conflict) as refusal:
        form.code.errors = [_(str(refusal.title))]
        return _page(what, form, refusal.status, stage="code")
    flash(_("Your e-mail address is changed.") if what is _EMAIL
          else _("Your phone number is changed."), "ok")  # fmt: skip
    return redirect_to("iam_account.profile")


def _resend(what: _Contact) -> BaseResponse:
    def again() -> Sent:
        return services_contact.begin_again(
            _owner(), what.purpose, session_id=_session_id(), actor=request_actor()
        )

    try:
        _send(again)
    except TooManyAttempts as refusal:
        form = CodeForm(formdata=None)
        form.code.errors = [_(str(refusal.title))]
        return _page(what, form, 429, stage="code", retry_after=refusal.retry_after)
    return redirect_to(what.endpoint)


def _send(issue: Callable[[], Sent]) -> None:
    with transaction():
        sent = issue()
    status = services_codes.deliver(sent)
    if status != SENT:
        tell_unsent(status)


def _page(
    what: _Contact,
    form: IAMForm,
    status: int = 200,
    *,
    stage: str = "address",
    retry_after: int | None = None,
) -> BaseResponse:
    waiting = _awaited(what) if stage == "code" else None
    response = what.show(
        status,
        user=_owner(),
        form=form,
        stage=stage,
        destination=waiting.destination if waiting else "",
        resend_in=waiting.resend_in if waiting else 0,
        restart_url=url_for(what.endpoint, new=1),
        minutes=MfaSettings.current().MFA_CODE_MINUTES,
    )
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _undo_page(state: str, status: int, **values: Any) -> BaseResponse:
    form = IAMForm(formdata=None)
    return without_referrer(render("iam/email_undo.html", status, state=state, form=form, **values))


def _awaited(what: _Contact) -> services_contact.Awaited | None:
    return services_contact.awaited(_owner(), what.purpose, session_id=_session_id())


def _owner() -> IAMUserAccount:
    return services_sessions.owner(signed_in())


def _session_id() -> Any:
    return signed_in().session_id
