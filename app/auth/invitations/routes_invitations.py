"""The page behind the link of an invitation: who invites to what, and the answer."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...core.errors import IAMError, InvalidInput
from ...core.i18n import _, preferred_language
from ..accounts.errors_accounts import IdentityTaken
from ..accounts.forms_admin import show
from ..accounts.username_choice import free_names
from ..errors import LinkInvalid, PasswordRefused
from ..forms import IAMForm, text
from ..models import IAMInvitation
from ..passwords import services_password
from ..principal import Principal
from ..security import public
from ..services_webauthn import is_offered
from ..web.blueprint import auth_bp
from ..web.current import (
    any_session,
    browser,
    current_principal,
    keep_session,
    request_actor,
)
from ..web.limits import limited
from ..web.pages import onwards, redirect_to, render, without_referrer
from . import services_acceptance, services_invited_roles
from .forms_invitations import AcceptForm
from .services_acceptance import AccountThere, InvitationUnsupported, Newcomer, SignedInAsOther

bp = auth_bp
PASSKEY = "passkey"


@bp.route("/invitation/<token>", methods=["GET", "POST"])
@public("the link in the message is the proof")
@limited
def invitation(token: str) -> BaseResponse:
    """Show an invitation, and accept it at the press of a button. A look changes nothing."""
    browser()
    person = current_principal()
    try:
        if request.method == "POST":
            row = services_acceptance.begin(token, actor=request_actor())
            return _accept_new(token, row) if person is None else _accept_as(token, row, person)
        row = services_acceptance.find(token)
        if person is None:
            return _guest_page(row)
        if not services_acceptance.is_for(row, person):
            return without_referrer(render("iam/invitation_other.html", 403, **_shown(row)))
        form = IAMForm(formdata=None)
        return without_referrer(render("iam/invitation_join.html", form=form, **_shown(row)))
    except LinkInvalid:
        return without_referrer(render("iam/password_link_invalid.html", 404, first_time=True))
    except InvitationUnsupported as refusal:
        page = render("iam/invitation_unsupported.html", 409, text=_(str(refusal.title)))
        return without_referrer(page)


def _accept_as(token: str, row: IAMInvitation, person: Principal) -> BaseResponse:
    try:
        services_acceptance.accept_existing(token, person, actor=request_actor())
    except SignedInAsOther:
        return without_referrer(render("iam/invitation_other.html", 403, **_shown(row)))
    flash(_("You have accepted the invitation. What it gives you counts from now on."), "ok")
    return redirect_to("iam_account.profile")


def _accept_new(token: str, row: IAMInvitation) -> BaseResponse:
    form = AcceptForm()
    by_passkey = request.form.get("way") == PASSKEY and _passkeys()
    if not by_passkey and not text(form.password):
        form.password.validators = ()
        form.validate()
        form.password.errors = [_("Enter a password.")]
        return _form_page(row, form, 422)
    if not form.validate():
        return _form_page(row, form, 422)
    newcomer = Newcomer(
        username=text(form.username),
        display_name=text(form.display_name),
        password=None if by_passkey else text(form.password),
        browser=browser(),
        language=preferred_language(),
        replaces=any_session(),
    )
    try:
        signed = services_acceptance.accept_new(token, newcomer, actor=request_actor())
    except PasswordRefused as refusal:
        form.password.errors = refusal.details["reasons"]
        return _form_page(row, form, 422)
    except (InvalidInput, IdentityTaken) as error:
        return _refused(row, form, error)
    except AccountThere:
        return _guest_page(services_acceptance.find(token))
    keep_session(signed)
    if by_passkey and signed.complete:
        flash(_("Welcome. Add a passkey now: without it you could not sign in again."), "ok")
        return redirect_to("iam_account.passkey")
    return onwards(signed)


def _refused(row: IAMInvitation, form: AcceptForm, error: IAMError) -> Response:
    show(form, error)
    return _form_page(row, form, error.status)


def _guest_page(row: IAMInvitation) -> Response:
    if services_acceptance.account_of(row) is not None:
        return without_referrer(render("iam/invitation_sign_in.html", **_shown(row)))
    form = AcceptForm(formdata=None, display_name=row.name)
    form.username.data = next(iter(free_names([row.name, row.email], row.id.hex)), "")
    return _form_page(row, form)


def _form_page(row: IAMInvitation, form: AcceptForm, status: int = 200) -> Response:
    policy = services_password.first_policy(mfa_required=services_invited_roles.needs_factor(row))
    page = render(
        "iam/invitation.html",
        status,
        form=form,
        policy_hints=services_password.policy_hints(policy),
        passkeys=_passkeys(),
        **_shown(row),
    )
    return without_referrer(page)


def _passkeys() -> bool:
    return is_offered() and "iam_account" in current_app.blueprints


def _shown(row: IAMInvitation) -> dict[str, Any]:
    return {
        "email": row.email,
        "organization": services_acceptance.organization_of(row),
        "inviter": services_acceptance.inviter_of(row),
        "roles": services_acceptance.role_names(row),
        "expires_at": row.expires_at,
    }
