"""Pages of signing in by a link or code: asked for, typed, opened (C7).

The same page for everybody, whatever stands behind the name (AT-011). A look at a link
uses nothing up (AT-101).
"""

from __future__ import annotations

from flask import Response, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...core.errors import NotFound
from ...core.i18n import _
from ...notify.messages import EMAIL
from ..errors import InvalidCredentials, LinkElsewhere, LinkInvalid, SessionLimitReached
from ..forms import IAMForm, text
from ..security import public
from ..web.blueprint import auth_bp
from ..web.current import any_session, browser, current_principal, keep_session, request_actor
from ..web.limits import limited
from ..web.pages import landing, onwards, redirect_to, redirect_url, render, without_referrer
from ..web.redirects import safe_next
from . import services_sign_in_links, services_sign_in_requests
from .forms_sign_in_links import SignInCodeForm, SignInLinkForm
from .services_sign_in_links import CodeAttempt
from .services_sign_in_requests import LinkRequest, Offer

bp = auth_bp


@bp.route("/login/link", methods=["GET", "POST"])
@public("a way in")
@limited
def sign_in_link() -> BaseResponse:
    """Ask for a link or code; the answer is the same whoever asks."""
    if request.method != "POST":
        offer = _offer(request.args.get("channel"))
        if current_principal() is not None:
            return redirect_url(landing(request.args.get("next")))
        form = SignInLinkForm(
            formdata=None, channel=offer.channel, next=safe_next(request.args.get("next"))
        )
        return _ask(form, offer)
    form = SignInLinkForm(formdata=request.form)
    offer = _offer(form.channel.data)
    if not form.validate():
        return _ask(form, offer, 422)
    asked = LinkRequest(
        username=text(form.username),
        offer=offer,
        remember=bool(form.remember_me.data),
        next_url=safe_next(form.next.data),
        browser=browser(),
    )
    services_sign_in_requests.request_link(asked, actor=request_actor())
    code = SignInCodeForm(formdata=None, username=asked.username, channel=offer.channel)
    return _sent(code, offer)


@bp.route("/login/code", methods=["GET", "POST"])
@public("a way in")
@limited
def sign_in_code() -> BaseResponse:
    """Check a code that was sent; a page loaded again leads to where one is asked for."""
    if request.method != "POST":
        return redirect_to("iam_auth.sign_in_link", channel=request.args.get("channel"))
    form = SignInCodeForm(formdata=request.form)
    offer = _offer(form.channel.data)
    if not offer.code:
        raise NotFound
    if not form.validate():
        return _sent(form, offer, 422)
    attempt = CodeAttempt(text(form.username), text(form.code), browser(), any_session())
    try:
        signed = services_sign_in_links.sign_in_with_code(attempt, actor=request_actor())
    except InvalidCredentials:
        form.code.errors = [_("That code is not right, or it no longer works. Check it, or ask "
                              "for a new one.")]  # fmt: skip
        return _sent(form, offer, 401)
    except SessionLimitReached as refusal:
        form.code.errors = [_(str(refusal.title))]
        return _sent(form, offer, 401)
    keep_session(signed)
    return onwards(signed)


@bp.route("/login/link/<token>", methods=["GET", "POST"])
@public("the link in the message is the proof")
@limited
def sign_in_link_use(token: str) -> BaseResponse:
    """Sign in by a link, at the press of a button."""
    offer = _offer(EMAIL)
    if not offer.link:
        raise NotFound
    try:
        if request.method != "POST":
            services_sign_in_links.find(token, browser())
            return _confirm()
        signed = services_sign_in_links.sign_in_with_link(
            token, browser(), any_session(), actor=request_actor()
        )
    except LinkElsewhere:
        return without_referrer(render("iam/sign_in_link_elsewhere.html", 403, code=offer.code))
    except LinkInvalid:
        return without_referrer(render("iam/sign_in_link_invalid.html", 404, channel=EMAIL))
    except SessionLimitReached as refusal:
        return _confirm(401, [_(str(refusal.title))])
    keep_session(signed)
    return onwards(signed)


def _offer(channel: str | None) -> Offer:
    # What is switched off does not exist, and neither does a channel nobody knows.
    for offer in services_sign_in_requests.offers():
        if offer.channel == (channel or EMAIL):
            return offer
    raise NotFound


def _ask(form: SignInLinkForm, offer: Offer, status: int = 200) -> Response:
    browser()
    return render("iam/sign_in_link.html", status, form=form, offer=offer)


def _sent(form: SignInCodeForm, offer: Offer, status: int = 200) -> Response:
    again = url_for("iam_auth.sign_in_link", channel=offer.channel)
    return render("iam/sign_in_link_sent.html", status, form=form, offer=offer, again_url=again)


def _confirm(status: int = 200, errors: list[str] | None = None) -> Response:
    form = IAMForm(formdata=None)
    form.form_errors.extend(errors or [])
    return without_referrer(render("iam/sign_in_link_confirm.html", status, form=form))
