"""Pages of the second step: at sign-in, and again before something sensitive (D7, F1).

One set of pages serves both: a pending sign-in is always asked for itself, a full
session for the purpose that the address names.
"""

from __future__ import annotations

from flask import Response, flash, make_response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ..core.db import transaction
from ..core.errors import NotFound, TooManyAttempts
from ..core.i18n import _
from . import services_mfa
from .errors import CodeInvalid, InvalidCredentials
from .factors import AAL1, AAL2
from .factors.totp import Totp
from .mfa import services_challenges, services_factors, services_mfa_verify, services_recovery_codes
from .mfa.enrol_pages import Enrolment, channel_page, options, passkey_page, totp_page
from .mfa.forms_mfa import RecoverySavedForm, StepUpPasswordForm, VerifyForm
from .mfa.mfa_pages import (
    Asked,
    asked,
    choices,
    offer_trust,
    recovery_codes_page,
    recovery_text,
    take_onwards,
    tell_delivery,
    waiting_text,
)
from .mfa.services_factors import WEBAUTHN, Way
from .mfa.services_mfa_verify import Proved
from .mfa.settings_mfa import MfaSettings
from .principal import Principal
from .security import public, requires_login, requires_pending, signed_in
from .sessions import services_sessions
from .sessions.services_sessions import SignIn
from .sign_in.services_gate import RECOVERY
from .sso.trips import services_sso_step_up
from .web.blueprint import mfa_bp
from .web.current import keep_session, pending_login, request_actor
from .web.limits import limited_by_person
from .web.pages import STAGE_PAGES, landing, onwards, redirect_to, redirect_url, render

bp = mfa_bp
_EITHER = "asks by itself for a pending sign-in or a session"


@bp.route("/mfa/verify", methods=["GET", "POST"])
@public(_EITHER)
@limited_by_person
def verify() -> BaseResponse:
    """Ask for the factor in use, or check its code; a key's answer goes to `routes_webauthn`."""
    form = VerifyForm(formdata=request.form if request.method == "POST" else request.args)
    who = asked(form.purpose.data, form.next.data)
    way = services_mfa_verify.current_way(
        who.user, who.purpose, session_id=who.person.session_id, minimum=who.minimum
    )
    if way is None:
        if request.method == "POST":
            flash(_("That code no longer works. Please ask for a new one."), "bad")
        return redirect_to("iam_mfa.choose", **who.place)
    if request.method != "POST" or way.method == WEBAUTHN:
        return _verify_page(who, way, form)
    if not form.validate():
        return _verify_page(who, way, form, 422)
    try:
        signed = _prove(who, way, form)
    except CodeInvalid as refusal:
        form.code.errors = [_(str(refusal.title))]
        return _verify_page(who, way, form, 401)
    except TooManyAttempts as refusal:  # beside the ways that are left, recovery among them
        return _too_soon(who, way.id, refusal)
    keep_session(signed)
    return onwards(signed) if who.signing_in else redirect_url(landing(who.next_url))


@bp.post("/mfa/challenge")
@public(_EITHER)
@limited_by_person
def challenge() -> BaseResponse:
    """Ask for a factor by id or kind, and send its code where it needs one."""
    who = asked(request.form.get("purpose"), request.form.get("next"))
    method = request.form.get("method", "")
    try:
        issued = services_mfa.challenge(
            who.user,
            method,
            who.purpose,
            session_id=who.person.session_id,
            minimum=who.minimum,
            actor=request_actor(),
        )
    except TooManyAttempts as refusal:
        return _too_soon(who, method, refusal)
    tell_delivery(issued)
    return redirect_to("iam_mfa.verify", **who.place)


@bp.get("/mfa/choose")
@public(_EITHER)
def choose() -> BaseResponse:
    """Show the factors the person can use here, strongest first."""
    who = asked(request.args.get("purpose"), request.args.get("next"))
    return render(
        "iam/mfa_choose.html",
        methods=choices(who),
        purpose_text=who.text,
        purpose=None if who.signing_in else who.purpose,
        next=who.next_url,
        cancel_url=_cancel_url(who),
    )


@bp.route("/step-up", methods=["GET", "POST"])
@requires_login
@limited_by_person
def step_up() -> BaseResponse:
    """Renew a proof: by the strongest factor, or the password where there is none (F1)."""
    form = StepUpPasswordForm(formdata=request.form if request.method == "POST" else request.args)
    who = asked(form.purpose.data, form.next.data)
    if services_factors.ways(who.user, who.minimum):
        return redirect_to("iam_mfa.verify", **who.place)
    if who.minimum != AAL1 or who.user.password_hash is None:
        return _through_provider(who) or _add_factor_first(who)
    if request.method != "POST":
        form = StepUpPasswordForm(formdata=None, purpose=who.purpose, next=who.next_url)
        return _password_page(who, form)
    if not form.validate():
        return _password_page(who, form, 422)
    try:
        signed = services_mfa.step_up_with_password(
            who.person, who.purpose, form.password.data or "", actor=request_actor()
        )
    except InvalidCredentials as refusal:
        form.password.errors = [_(str(refusal.title))]
        return _password_page(who, form, 401)
    keep_session(signed)
    return redirect_url(landing(who.next_url))


def _through_provider(who: Asked) -> BaseResponse | None:
    offers = services_sso_step_up.offers(who.user, who.minimum)
    if not offers:
        return None
    return render(
        "iam/sso_step_up.html",
        offers=offers,
        purpose_text=who.text,
        place=who.place,
        cancel_url=landing(None),
    )


def _add_factor_first(who: Asked) -> BaseResponse:
    if services_factors.mfa_state(who.user.id).any_active:
        flash(_("This needs a stronger second step. Please add one first."), "warn")
    else:
        flash(_("This needs a second step. Please add one."), "warn")
    return redirect_to("iam_account.security", next=who.next_url)


@bp.get("/mfa/enrol")
@requires_pending("enrol")
def enrol() -> BaseResponse:
    """Offer the factors that end a sign-in which needs one (D6)."""
    return render(
        "iam/mfa_enrol_choose.html",
        options=options(AAL2, "iam_mfa.enrol_factor"),
        reason=_enrol_reason(_pending()),
    )


@bp.route("/mfa/enrol/<method>", methods=["GET", "POST"])
@requires_pending("enrol")
@limited_by_person
def enrol_factor(method: str) -> BaseResponse:
    """Enrol a factor in a sign-in that can do nothing else."""
    # The password just given is the fresh proof; the decorator saw the pending sign-in.
    person = _pending()
    if method not in {offer.method for offer in services_factors.offers(AAL2)}:
        raise NotFound
    place = Enrolment(
        person,
        services_sessions.owner(person),
        own_url=url_for("iam_mfa.enrol_factor", method=method),
        cancel_url=url_for("iam_mfa.enrol"),
    )
    if method == WEBAUTHN:
        return passkey_page(place)
    return totp_page(place) if method == Totp.name else channel_page(place, method)


@bp.post("/mfa/recovery-codes/download")
@requires_login
def recovery_download() -> Response:
    """Answer with the codes of the page that shows them, as a text file."""
    return _download(signed_in())


@bp.post("/mfa/recovery-codes/saved")
@requires_login
def recovery_saved() -> BaseResponse:
    """Note that the person has saved the codes, and go on."""
    return _saved(signed_in())


@bp.post("/mfa/enrol/recovery-codes/download")
@requires_pending("password", "again")
def enrol_recovery_download() -> Response:
    """Answer likewise where the sign-in still needs a new password."""
    return _download(_pending())


@bp.post("/mfa/enrol/recovery-codes/saved")
@requires_pending("password", "again")
def enrol_recovery_saved() -> BaseResponse:
    """Go on likewise where the sign-in still needs a new password."""
    return _saved(_pending())


def _download(person: Principal) -> Response:
    codes = services_recovery_codes.unseal(request.form.get("sealed", ""), person.user_id)
    response = make_response(recovery_text(codes, person.username))
    response.content_type = "text/plain; charset=utf-8"
    response.headers["Content-Disposition"] = 'attachment; filename="recovery-codes.txt"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _saved(person: Principal) -> BaseResponse:
    form = RecoverySavedForm()
    codes = services_recovery_codes.unseal(form.sealed.data or "", person.user_id)
    pending = not person.is_authenticated
    if not form.validate():
        return recovery_codes_page(
            person.user_id, codes, form.next.data, pending=pending, status=422
        )
    with transaction():
        user = services_sessions.owner(person)
        services_recovery_codes.confirm_saved(user, actor=request_actor())
    return (
        redirect_to(STAGE_PAGES[person.stage]) if pending else redirect_url(landing(form.next.data))
    )


def _prove(who: Asked, way: Way, form: VerifyForm) -> SignIn:
    actor = request_actor()
    attempt = services_mfa_verify.begin_attempt(
        who.user,
        form.code.data or "",
        method=way.id,
        purpose=who.purpose,
        session_id=who.person.session_id,
        minimum=who.minimum,
        actor=actor,
    )
    with transaction():
        proved = services_mfa_verify.redeem(attempt, actor=actor)
        _warn_of_few_codes(proved)
        return take_onwards(who, proved, remember=bool(form.remember_device.data), actor=actor)


def _warn_of_few_codes(proved: Proved) -> None:
    left = proved.codes_left
    if left is not None and left <= services_recovery_codes.FEW_LEFT:
        text = _("You have %(count)s recovery codes left. Please make new ones.", count=left)
        flash(text, "warn")


def _verify_page(who: Asked, way: Way, form: VerifyForm, status: int = 200) -> Response:
    form.purpose.data = "" if who.signing_in else who.purpose
    form.next.data = who.next_url or ""
    offer_trust(who, way, form)
    wait = (
        services_challenges.seconds_until_resend(who.user.id, way.method, way.method_id)
        if way.sent
        else 0
    )
    return render(
        "iam/mfa_verify.html",
        status,
        form=form,
        method=way,
        can_choose=len(choices(who)) > 1,
        purpose_text=who.text,
        place=who.place,
        resend_in=wait,
        minutes=MfaSettings.current().MFA_CODE_MINUTES,
        cancel_url=_cancel_url(who),
    )


def _enrol_reason(person: Principal) -> str:
    if RECOVERY in person.amr:
        return _("Your old second steps are removed. Set up a new one to finish.")
    if services_sessions.owner(person).mfa_enrolment_due:
        return _("Your second steps were removed. Please set up a new one.")
    return _("Your organization asks for a second step.")


def _too_soon(who: Asked, method: str, refusal: TooManyAttempts) -> BaseResponse:
    # Beside the form for the code that is on its way, rather than on a page of its own.
    way = services_factors.find_way(who.user, method, who.minimum)
    form = VerifyForm(formdata=None)
    form.code.errors = [f"{_(str(refusal.title))}. {waiting_text(refusal.retry_after)}"]
    response = _verify_page(who, way, form, 429)
    response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _password_page(who: Asked, form: StepUpPasswordForm, status: int = 200) -> Response:
    return render(
        "iam/step_up_password.html",
        status,
        form=form,
        purpose_text=who.text,
        cancel_url=landing(None),
    )


def _cancel_url(who: Asked) -> str | None:
    return None if who.signing_in else landing(None)


def _pending() -> Principal:
    person = pending_login()
    if person is None:
        raise NotFound
    return person
