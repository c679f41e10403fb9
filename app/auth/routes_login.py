"""Pages of signing in and out, and of forgotten and new passwords."""

from __future__ import annotations

from flask import Response, request
from werkzeug.wrappers import Response as BaseResponse

from ..core.db import session, transaction
from ..core.errors import InvalidInput, NotAuthenticated, NotFound
from ..core.i18n import _
from .errors import InvalidCredentials, LinkInvalid, PasswordRefused, SessionLimitReached
from .forms import ForgotForm, LoginForm, NewPasswordForm, text
from .passwords import services_links, services_password, services_reset
from .passwords.settings_password import PasswordSettings
from .security import public, requires_pending
from .sessions import services_sessions
from .settings import AuthSettings
from .sign_in import services_login
from .sign_in.login_pages import login_page
from .sign_in.services_login import PasswordAttempt
from .sso.sso_pages import continue_page
from .sso.trips import services_sso_logout
from .web import tenant_address
from .web.blueprint import auth_bp
from .web.current import (
    any_session,
    browser,
    current_principal,
    drop_session,
    keep_session,
    pending_login,
    request_actor,
)
from .web.limits import limited
from .web.pages import landing, onwards, redirect_to, redirect_url, render, without_referrer
from .web.redirects import safe_next

bp = auth_bp


@bp.route("/login", methods=["GET", "POST"])
@public("the way in")
@limited
def login() -> BaseResponse:
    """Show the sign-in form, or check a username and password."""
    if request.method != "POST":
        if current_principal() is not None:
            return redirect_url(landing(request.args.get("next")))
        browser()
        return login_page(LoginForm(formdata=None, next=safe_next(request.args.get("next"))))
    form = LoginForm(formdata=request.form)
    if not form.validate():
        return login_page(form, 422)
    try:
        signed = services_login.sign_in_with_password(_attempt(form), actor=request_actor())
    except InvalidInput as refusal:
        form.password.errors = [_(str(refusal.title))]
        return login_page(form, 422)
    except (InvalidCredentials, SessionLimitReached) as refusal:
        form.form_errors.append(_(str(refusal.title)))
        return login_page(form, 401)
    keep_session(signed)
    return onwards(signed)


@bp.post("/logout")
@public("anybody may sign out; a pending sign-in too")
def logout() -> BaseResponse:
    """End the session on the server and in the browser."""
    person = any_session()
    told = None
    if person is not None:
        told = services_sso_logout.hint_of(person.session_id)
        _end(person.session_id)
    drop_session()
    if told is not None:
        away = services_sso_logout.logout_url(*told)
        if away is not None:
            return continue_page(away, told[0].name, signed_out=True)
    target = safe_next(AuthSettings.current().IAM_AFTER_LOGOUT_URL)
    if target is not None:
        return redirect_url(tenant_address.below(target))
    return redirect_to("iam_auth.signed_out")


@bp.get("/signed-out")
@public("says that the session ended")
def signed_out() -> BaseResponse:
    """Say that the session ended."""
    return render("iam/signed_out.html")


@bp.route("/password/forgot", methods=["GET", "POST"])
@public("people who cannot sign in need it")
@limited
def password_forgot() -> BaseResponse:
    """Ask for a reset link; the answer is the same whoever asks."""
    browser()
    form = ForgotForm()
    if request.method != "POST":
        return render("iam/password_forgot.html", form=form)
    if not form.validate():
        return render("iam/password_forgot.html", 422, form=form)
    services_reset.request_reset(text(form.username), actor=request_actor())
    minutes = PasswordSettings.current().PASSWORD_RESET_MINUTES
    return render("iam/password_forgot_sent.html", minutes=minutes)


@bp.route("/password/reset/<token>", methods=["GET", "POST"])
@public("the link in the message is the proof")
@limited
def password_reset(token: str) -> BaseResponse:
    """Set a password through a link. A look at the page changes nothing."""
    browser()
    form = NewPasswordForm()
    try:
        if request.method != "POST" or not form.validate():
            return _reset_page(form, token)
        services_reset.redeem(token, text(form.password), actor=request_actor())
    except PasswordRefused as refusal:
        form.password.errors = refusal.details["reasons"]
        return _reset_page(form, token)
    except LinkInvalid:
        return without_referrer(render("iam/password_link_invalid.html", 404, first_time=False))
    drop_session()
    return redirect_to("iam_auth.login", done="password")


@bp.route("/password/renew", methods=["GET", "POST"])
@requires_pending("password")
@limited
def password_renew() -> BaseResponse:
    """Replace a password that is past its age, as the last step of a sign-in."""
    form = NewPasswordForm()
    person = pending_login()
    if person is None:
        raise NotAuthenticated
    if request.method == "POST" and form.validate():
        try:
            signed = services_login.renew_password(
                person, text(form.password), actor=request_actor()
            )
        except PasswordRefused as refusal:
            form.password.errors = refusal.details["reasons"]
        else:
            keep_session(signed)
            return onwards(signed)
    user = services_sessions.owner(person)
    hints = services_password.policy_hints(services_password.policy_for(user))
    return render(
        "iam/password_reset.html",
        422 if form.errors else 200,
        form=form,
        first_time=False,
        policy_hints=hints,
        account_label=user.username,
    )


def _attempt(form: LoginForm) -> PasswordAttempt:
    return PasswordAttempt(
        username=text(form.username),
        password=text(form.password),
        remember=bool(form.remember_me.data),
        next_url=safe_next(form.next.data),
        browser=browser(),
        replaces=any_session(),
    )


def _end(session_id: object) -> None:
    try:
        with transaction():
            services_sessions.revoke(session_id, "logout", actor=request_actor())  # type: ignore[arg-type]
    except NotFound:
        session().rollback()


def _reset_page(form: NewPasswordForm, token: str) -> Response:
    row, user = services_links.find(token)
    response = render(
        "iam/password_reset.html",
        422 if form.errors else 200,
        form=form,
        first_time=row.purpose == services_links.SET,
        policy_hints=services_password.policy_hints(services_password.policy_for(user)),
        account_label=user.username,
    )
    return without_referrer(response)
