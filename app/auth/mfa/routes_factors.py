"""A person's security page: factors enrolled, renamed, removed; recovery codes (D5, D8).

Every change demands fresh authentication; a look changes nothing.
"""

from __future__ import annotations

from typing import Any

from flask import flash, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.errors import Conflict
from ...core.i18n import _
from ...core.ids import parse_id
from .. import services_webauthn
from ..accounts import services_ways_in
from ..factors.email_otp import EmailOtp
from ..factors.sms_otp import SmsOtp
from ..factors.totp import Totp
from ..factors.whatsapp_otp import WhatsappOtp
from ..forms import IAMForm
from ..models import IAMMfaMethod, IAMUserAccount
from ..recovery import services_recovery_rows
from ..security import requires_login, requires_step_up, signed_in
from ..services_webauthn import KeyInfo
from ..sessions import services_sessions
from ..sign_in.services_policy import mfa_policy
from ..sso import services_connections, services_identities
from ..web.blueprint import account_bp
from ..web.current import current_user, request_actor
from ..web.limits import limited_by_person
from ..web.pages import redirect_to, render
from ..web.redirects import safe_next
from . import services_factors, services_mfa_changes, services_recovery_codes
from .enrol_pages import SECURITY, Enrolment, channel_page, passkey_page, totp_page
from .forms_mfa import FactorNameForm
from .mfa_pages import recovery_codes_page
from .services_factors import WEBAUTHN

_PAGES = {
    WEBAUTHN: "iam_account.passkey",
    Totp.name: "iam_account.totp",
    EmailOtp.name: "iam_account.email_codes",
    SmsOtp.name: "iam_account.phone_codes",
    WhatsappOtp.name: "iam_account.whatsapp_codes",
}

bp = account_bp


@bp.get("/security")
@requires_login
def security() -> BaseResponse:
    """Show how the person proves who they are."""
    user = _owner()
    methods = services_factors.active_methods(user)
    keys = services_webauthn.keys_of(user.id)
    return render(
        "iam/account_security.html",
        has_password=user.password_hash is not None,
        password_changed_at=user.password_changed_at,
        factors=[_factor_view(row, keys.get(row.id)) for row in methods],
        passkeys_offered=services_webauthn.is_offered(),
        add_factors=_offers(safe_next(request.args.get("next"))),
        recovery_remaining=services_recovery_codes.left(user.id),
        recovery_confirmed=services_recovery_codes.are_confirmed(user.id),
        mfa_required=_policy() == "required",
        recovery=services_recovery_rows.open_of(user.id),
        form=IAMForm(),
        **_linked(user),
    )


@bp.route("/security/totp", methods=["GET", "POST"])
@requires_step_up(SECURITY)
@limited_by_person
def totp() -> BaseResponse:
    """Enrol an authenticator app."""
    return totp_page(_enrolment("iam_account.totp"))


@bp.get("/security/passkey")
@requires_step_up(SECURITY)
def passkey() -> BaseResponse:
    """Add a passkey or security key."""
    return passkey_page(_enrolment("iam_account.passkey"))


@bp.route("/security/email", methods=["GET", "POST"])
@requires_step_up(SECURITY)
@limited_by_person
def email_codes() -> BaseResponse:
    """Enrol codes by e-mail."""
    return channel_page(_enrolment("iam_account.email_codes"), EmailOtp.name)


@bp.route("/security/phone", methods=["GET", "POST"])
@requires_step_up(SECURITY)
@limited_by_person
def phone_codes() -> BaseResponse:
    """Enrol codes by text message."""
    return channel_page(_enrolment("iam_account.phone_codes"), SmsOtp.name)


@bp.route("/security/phone/whatsapp", methods=["GET", "POST"])
@requires_step_up(SECURITY)
@limited_by_person
def whatsapp_codes() -> BaseResponse:
    """Enrol codes by WhatsApp."""
    return channel_page(_enrolment("iam_account.whatsapp_codes"), WhatsappOtp.name)


@bp.route("/security/factors/<factor_id>/rename", methods=["GET", "POST"])
@requires_step_up(SECURITY)
def factor_rename(factor_id: str) -> BaseResponse:
    """Give a factor another name."""
    user = _owner()
    row = services_factors.find_method(user, parse_id(factor_id))
    form = FactorNameForm(obj=row)
    if request.method == "POST" and form.validate():
        with transaction():
            services_mfa_changes.rename(
                user, parse_id(factor_id), form.name.data or "", actor=request_actor()
            )
        flash(_("The name is changed."), "ok")
        return redirect_to("iam_account.security")
    return render(
        "iam/account_factor_rename.html",
        422 if form.errors else 200,
        form=form,
        factor=_factor_view(row, services_webauthn.keys_of(user.id).get(row.id)),
    )


@bp.post("/security/factors/<factor_id>/remove")
@requires_step_up(SECURITY)
def factor_remove(factor_id: str) -> BaseResponse:
    """Remove a factor; the last one stays where policy demands one."""
    user = _owner()
    try:
        with transaction():
            services_mfa_changes.remove(
                user, parse_id(factor_id), policy=_policy(), actor=request_actor()
            )
    except Conflict as refusal:
        flash(_(str(refusal.title)), "bad")
        return redirect_to("iam_account.security")
    flash(_("The second step is removed."), "ok")
    return redirect_to("iam_account.security")


@bp.route("/security/recovery-codes", methods=["GET", "POST"])
@requires_step_up(SECURITY)
@limited_by_person
def recovery_codes() -> BaseResponse:
    """Make new recovery codes and show them, this once."""
    user = _owner()
    if request.method != "POST" or not services_factors.mfa_state(user.id).any_active:
        return redirect_to("iam_account.security")
    with transaction():
        codes = services_recovery_codes.create(user, actor=request_actor())
    return recovery_codes_page(current_user.user_id, codes, url_for("iam_account.security"))


def _owner() -> IAMUserAccount:
    return services_sessions.owner(signed_in())


def _policy() -> str:
    person = signed_in()
    return mfa_policy(person.grants, person.actor_type)


def _enrolment(endpoint: str) -> Enrolment:
    wanted = safe_next(request.args.get("next"))
    return Enrolment(
        signed_in(),
        _owner(),
        own_url=url_for(endpoint, next=wanted),
        cancel_url=url_for("iam_account.security", next=wanted),
        next_url=wanted,
    )


def _offers(next_url: str | None) -> list[dict[str, Any]]:
    if _policy() == "off":
        return []
    return [
        {
            "url": url_for(_PAGES[offer.method], next=next_url),
            "method": offer.method,
            "label": offer.label,
            "assurance": offer.assurance,
        }
        for offer in services_factors.offers()
        if offer.method in _PAGES
    ]


def _linked(user: IAMUserAccount) -> dict[str, Any]:
    found = services_identities.list_of(user.id)
    removable = {item.id for item in found if services_ways_in.ways_in(user, identity_id=item.id)}
    linked = {item.slug for item in found}
    offers = [item for item in services_connections.offered() if item.slug not in linked]
    return {"identities": found, "removable_identities": removable, "identity_offers": offers}


def _factor_view(row: IAMMfaMethod, key: KeyInfo | None) -> dict[str, Any]:
    label = services_factors.label_of(row.method)
    hint = key.authenticator if key else services_factors.mask(row.method, row.destination)
    return {
        "id": str(row.id),
        "name": row.name,
        "method": row.method,
        "method_label": f"{label}: {hint}" if hint else label,
        "assurance": services_factors.note_of(row.method),
        "created_at": row.created_at,
        "last_used_at": key.last_used_at if key else row.last_used_at,
        "synced": key.synced if key else None,
    }
