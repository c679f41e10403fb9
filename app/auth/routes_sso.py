"""The way to a provider and back, and what providers send by themselves (G1, G5).

Two protocol routes change something by GET: `login` opens a trip, `callback` uses it up;
neither shows or does anything that the browser's owner did not set out for (`state`).
"""

from __future__ import annotations

from flask import Response, flash, jsonify, request
from werkzeug.wrappers import Response as BaseResponse

from ..core.errors import IAMError, NotFound, Unavailable
from ..core.i18n import _
from . import services_sso
from .forms import DiscoverForm, LoginForm, text
from .identity import canonical_email, is_lookup_safe
from .mfa.mfa_pages import asked
from .security import public, requires_login
from .services_sso import LINK, SIGN_IN, STEP_UP, TEST, Outcome
from .sign_in.login_pages import login_page
from .sso import services_connections
from .sso.connection import Connection
from .sso.errors_sso import LinkRequired, SsoRefused, SsoUnavailable
from .sso.sso_pages import continue_page, failed_page
from .sso.trips import services_sso_logout, services_sso_step_up
from .web.blueprint import auth_bp
from .web.csrf import without_token
from .web.current import any_session, browser, current_principal, keep_session, request_actor
from .web.limits import limited, limited_always, limited_by_person
from .web.pages import landing, onwards, redirect_to, redirect_url, wants_json
from .web.redirects import safe_next

bp = auth_bp
_LONGEST_STATE = 128


@bp.get("/sso/login")
@public("the way in")
@limited_always
def sso_default() -> BaseResponse:
    """Send the browser to the provider of the default connection; else to all ways in."""
    try:
        connection = services_connections.default()
    except NotFound:
        return redirect_to("iam_auth.login", next=safe_next(request.args.get("next")))
    return _leave(connection)


@bp.get("/sso/<provider>/login")
@public("the way in")
@limited_always
def sso_login(provider: str) -> BaseResponse:
    """Send the browser to the provider of a connection."""
    return _leave(services_connections.find(provider))


@bp.route("/sso/<provider>/callback", methods=["GET", "POST"])
@public("the answer to a trip that this browser set out on")
@limited_always
@without_token
def sso_callback(provider: str) -> BaseResponse:
    """Take a provider's answer; a posted one comes without our cookies and is only noted."""
    if request.method == "POST":
        services_sso.note_post(provider, request.form)
        state = request.form.get("state", "")[:_LONGEST_STATE]
        return redirect_to("iam_auth.sso_callback", provider=provider, state=state)
    try:
        outcome = services_sso.callback(
            provider,
            request.args,
            browser=browser(),
            replaces=any_session(),
            actor=request_actor(),
        )
    except LinkRequired:
        return redirect_to("iam_auth.sso_link")
    except IAMError as refusal:
        return _failed(refusal, provider)
    return _arrived(outcome)


@bp.post("/sso/discover")
@public("the way in")
@limited
def sso_discover() -> BaseResponse:
    """Lead somebody to the connection that signs in the people of their address's domain.

    The answer is about the domain alone: whether an account exists is not asked.
    """
    form = DiscoverForm(formdata=request.form)
    connection = _connection_of(text(form.email)) if form.validate() else None
    if connection is None:
        if not form.errors:
            form.email.errors = [_("That address has no sign-in of its own here. Use another way.")]
        login = LoginForm(formdata=None, next=safe_next(form.next.data))
        return login_page(login, 422, discover=form)
    try:
        url = services_sso.begin(
            connection,
            purpose=SIGN_IN,
            browser=browser(),
            next_url=safe_next(form.next.data),
            login_hint=text(form.email),
            actor=request_actor(),
        )
    except (SsoRefused, SsoUnavailable) as refusal:
        return _failed(refusal, connection.slug)
    return continue_page(url, connection.name)


@bp.post("/sso/<provider>/step-up")
@requires_login
@limited_by_person
def sso_step_up(provider: str) -> BaseResponse:
    """Send somebody who has nothing else to show to their provider for fresh proof (F1)."""
    who = asked(request.form.get("purpose"), request.form.get("next"))
    if provider not in dict(services_sso_step_up.offers(who.user, who.minimum)):
        raise NotFound
    connection = services_connections.find(provider)
    try:
        url = services_sso.begin(
            connection,
            purpose=STEP_UP,
            browser=browser(),
            next_url=who.next_url,
            user_id=who.person.user_id,
            session_id=who.person.session_id,
            step_up_purpose=who.purpose,
            actor=request_actor(),
        )
    except (SsoRefused, SsoUnavailable) as refusal:
        return _failed(refusal, provider)
    return continue_page(url, connection.name)


@bp.post("/sso/<provider>/backchannel-logout")
@public("a provider's server calls it; the signed token is the proof")
@limited
@without_token
def sso_backchannel_logout(provider: str) -> Response:
    """End the sessions that a logout token names (Back-Channel Logout 1.0, 2.5 and 2.8)."""
    token = request.form.get("logout_token", "")
    try:
        services_sso_logout.receive(provider, token, actor=request_actor())
    except (NotFound, SsoRefused):
        return _told_server(400, {"error": "invalid_request"})
    except SsoUnavailable:
        return _told_server(503, {"error": "temporarily_unavailable"})
    return _told_server(200, {})


def _leave(connection: Connection) -> BaseResponse:
    next_url = safe_next(request.args.get("next"))
    if current_principal() is not None:
        return redirect_url(landing(next_url))
    try:
        url = services_sso.begin(
            connection,
            purpose=SIGN_IN,
            browser=browser(),
            next_url=next_url,
            remember=request.args.get("remember") == "1",
            actor=request_actor(),
        )
    except (SsoRefused, SsoUnavailable) as refusal:
        refusal.details["next_url"] = next_url
        return _failed(refusal, connection.slug)
    return redirect_url(url)


def _arrived(outcome: Outcome) -> BaseResponse:
    if outcome.signed is not None:
        keep_session(outcome.signed)
        if outcome.purpose == SIGN_IN:
            return onwards(outcome.signed)
    if outcome.purpose == LINK:
        flash(_("The account is linked. You can sign in with it from now on."), "ok")
    if outcome.purpose == TEST and outcome.flow_id is not None:
        return redirect_url(f"{landing(outcome.next_url)}?test={outcome.flow_id}")
    return redirect_url(landing(outcome.next_url))


def _failed(refusal: IAMError, slug: str) -> BaseResponse:
    if wants_json() or isinstance(refusal, Unavailable):
        raise refusal
    return failed_page(refusal, slug)


def _connection_of(email: str) -> Connection | None:
    local, _at, domain = canonical_email(email).rpartition("@")
    if not is_lookup_safe(email) or not local or not domain:
        return None
    return services_connections.for_domain(domain)


def _told_server(status: int, body: dict[str, str]) -> Response:
    response = jsonify(body)
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response
