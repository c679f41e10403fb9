"""Enrolment pages, shared by a limited sign-in and a person's security page.

A look at a page has no effect: a secret is made and a code is sent by POST only (AT-051).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.errors import InvalidInput, TooManyAttempts
from ...core.i18n import _
from .. import services_mfa
from ..errors import CodeInvalid
from ..factors.email_otp import EmailOtp
from ..factors.totp import Totp
from ..models import IAMMfaMethod, IAMUserAccount
from ..principal import Principal
from ..services_mfa import Issued
from ..sessions import services_sessions
from ..sessions.services_sessions import SignIn
from ..web.current import keep_session, request_actor
from ..web.pages import landing, onwards, redirect_url, render
from . import services_challenges, services_factors, services_mfa_enrol
from .forms_mfa import CodeForm, EmailDestinationForm, PasskeyForm, PhoneDestinationForm, TotpForm
from .mfa_pages import grouped, qr_svg, recovery_codes_page, tell_delivery
from .services_mfa_enrol import Enrolled
from .settings_mfa import MfaSettings

SECURITY = "account.security"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who enrols a factor, on which page, and what wanted it (`next_url`, checked)."""

    person: Principal
    user: IAMUserAccount
    own_url: str
    cancel_url: str
    next_url: str | None = None

    @property
    def signing_in(self) -> bool:
        """Return whether this ends a sign-in."""
        return not self.person.is_authenticated

    @property
    def done_url(self) -> str:
        """Return where somebody who is signed in goes once the factor is on."""
        return self.next_url or self.cancel_url

    def pending(self, method: str) -> IAMMfaMethod | None:
        """Return what this session began to enrol, never another's (AT-043)."""
        return services_mfa_enrol.pending(self.user, method, session_id=self.person.session_id)


def options(minimum: str, endpoint: str) -> list[dict[str, Any]]:
    """Return the factors that may be enrolled, each with the address of its page."""
    found = services_factors.offers(minimum)
    return [
        {
            "url": url_for(endpoint, method=offer.method),
            "method": offer.method,
            "label": offer.label,
            "assurance": offer.assurance,
            "recommended": offer is found[0],
        }
        for offer in found
    ]


def totp_page(place: Enrolment) -> BaseResponse:
    """Offer to make a key, show it while it is unconfirmed, and confirm it by a code."""
    form = TotpForm()
    if request.method == "POST" and request.form.get("action") == "start":
        with transaction():
            services_mfa_enrol.begin_totp(
                place.user, session_id=place.person.session_id, actor=request_actor()
            )
        return redirect_url(place.own_url)
    row = place.pending(Totp.name)
    if row is None or request.method != "POST":
        return _totp(place, row, TotpForm(formdata=None))
    if not form.validate():
        return _totp(place, row, form, 422)
    try:
        return _confirm(place, Totp.name, form.code.data or "", form.name.data or "")
    except CodeInvalid as refusal:
        form.code.errors = [_(str(refusal.title))]
        return _totp(place, place.pending(Totp.name), form, 401)


def passkey_page(place: Enrolment) -> BaseResponse:
    """Say what will happen; the page's script runs the ceremony with `routes_webauthn`."""
    form = PasskeyForm(formdata=None)
    return render(
        "iam/webauthn_enrol.html", form=form, next=place.next_url, cancel_url=place.cancel_url
    )


def channel_page(place: Enrolment, method: str) -> BaseResponse:
    """Ask for a destination, send a code to it, and confirm it by that code."""
    action = request.form.get("action") if request.method == "POST" else None
    row = place.pending(method)
    if action == "resend":
        return _resend(place, method, row)
    if row is not None and "new" not in request.args and "destination" not in request.form:
        return _channel_code(place, method, row)
    return _channel_address(place, method)


def _channel_address(place: Enrolment, method: str) -> BaseResponse:
    form = (EmailDestinationForm if method == EmailOtp.name else PhoneDestinationForm)()
    if request.method != "POST":
        if method == EmailOtp.name and not form.destination.data:
            form.destination.data = place.user.email or ""
        return _channel(place, method, form)
    if not form.validate():
        return _channel(place, method, form, 422)

    def begin() -> Issued:
        return services_mfa_enrol.begin_channel(
            place.user,
            method,
            form.destination.data or "",
            session_id=place.person.session_id,
            actor=request_actor(),
        )

    try:
        _send(begin)
    except InvalidInput as refusal:
        form.destination.errors = [_(str(refusal.title))]
        return _channel(place, method, form, 422)
    except TooManyAttempts as refusal:
        form.destination.errors = [_(str(refusal.title))]
        return _retry_after(_channel(place, method, form, 429), refusal)
    return redirect_url(place.own_url)


def _channel_code(place: Enrolment, method: str, row: IAMMfaMethod) -> BaseResponse:
    form = CodeForm()
    if request.method != "POST":
        return _channel(place, method, CodeForm(formdata=None), row=row)
    if not form.validate():
        return _channel(place, method, form, 422, row=row)
    try:
        return _confirm(place, method, form.code.data or "", "")
    except CodeInvalid as refusal:
        form.code.errors = [_(str(refusal.title))]
        return _channel(place, method, form, 401, row=place.pending(method))


def _resend(place: Enrolment, method: str, row: IAMMfaMethod | None) -> BaseResponse:
    def again() -> Issued:
        return services_mfa_enrol.resend(
            place.user, method, session_id=place.person.session_id, actor=request_actor()
        )

    try:
        _send(again)
    except TooManyAttempts as refusal:
        form = CodeForm(formdata=None)
        form.code.errors = [_(str(refusal.title))]
        return _retry_after(_channel(place, method, form, 429, row=row), refusal)
    return redirect_url(place.own_url)


def _send(issue: Callable[[], Issued]) -> None:
    with transaction():
        issued = issue()
    tell_delivery(services_mfa.deliver(issued))


def _confirm(place: Enrolment, method: str, code: str, name: str) -> BaseResponse:
    actor = request_actor()
    attempt = services_mfa_enrol.begin_confirmation(
        place.user, method, code, session_id=place.person.session_id, actor=actor
    )
    with transaction():
        enrolled = services_mfa_enrol.confirm(place.user, attempt, name=name, actor=actor)
        signed = accept(place, enrolled)
    keep_session(signed)
    tell_ended(enrolled)
    next_url = signed.next_url if place.signing_in else place.done_url
    if enrolled.recovery_codes:
        return recovery_codes_page(
            place.person.user_id, enrolled.recovery_codes, next_url, pending=not signed.complete
        )
    flash(_("Your second step is on."), "ok")
    return onwards(signed) if place.signing_in else redirect_url(landing(next_url))


def tell_ended(enrolled: Enrolled) -> None:
    """Say that a first factor has ended the person's other sessions, where it has."""
    if enrolled.sessions_ended:
        flash(_("You were signed out everywhere else. Sign in there with your second step."), "ok")


def accept(place: Enrolment, enrolled: Enrolled) -> SignIn:
    """Take the session onwards by the proof that came with a new factor; joins the transaction."""
    actor = request_actor()
    if place.signing_in:
        return services_mfa.complete_mfa_session(
            place.user, enrolled.proved, principal=place.person, actor=actor
        )
    # The code just shown is a proof of this factor, on top of the fresh one asked for before.
    return services_sessions.record_proof(
        place.person,
        purpose=SECURITY,
        method=enrolled.proved.amr,
        acr=enrolled.proved.acr,
        actor=actor,
    )


def _totp(
    place: Enrolment, row: IAMMfaMethod | None, form: TotpForm, status: int = 200
) -> Response:
    own = place.person.session_id
    setup = services_mfa_enrol.totp_setup(place.user, row, session_id=own) if row else None
    return render(
        "iam/totp_enrol.html",
        status,
        form=form,
        qr_svg=qr_svg(setup.uri) if setup else "",
        secret_text=grouped(setup.secret) if setup else "",
        account_label=setup.account if setup else "",
        issuer=setup.issuer if setup else "",
        cancel_url=place.cancel_url,
    )


def _channel(
    place: Enrolment, method: str, form: Any, status: int = 200, row: IAMMfaMethod | None = None
) -> Response:
    wait = 0
    if row is not None:
        wait = services_challenges.seconds_until_resend(place.user.id, method, row.id)
    return render(
        "iam/channel_enrol.html",
        status,
        method=method,
        stage="code" if row is not None else "address",
        form=form,
        destination=services_factors.mask(method, row.destination) if row is not None else "",
        resend_url=place.own_url,
        resend_in=wait,
        restart_url=f"{place.own_url}{'&' if '?' in place.own_url else '?'}new=1",
        minutes=MfaSettings.current().MFA_CODE_MINUTES,
        cancel_url=place.cancel_url,
    )


def _retry_after(response: Response, refusal: TooManyAttempts) -> Response:
    response.headers["Retry-After"] = str(refusal.retry_after)
    return response
