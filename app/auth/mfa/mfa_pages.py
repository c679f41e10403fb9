"""Request glue of second factors: who is asked, what the pages show, where people go next.

Shared by `routes_mfa` and `routes_factors`; decides nothing that a service could.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import segno
from flask import Response, flash, request, url_for
from markupsafe import Markup

from ...core.actor import Actor
from ...core.errors import NotAuthenticated, NotFound
from ...core.i18n import _
from ...notify.models import DEAD, EXPIRED
from ...tenancy.services_settings import effective
from .. import services_mfa
from ..factors import AAL1, AAL2
from ..models import IAMUserAccount
from ..principal import Principal
from ..purposes import purpose_named, purposes
from ..services_mfa import SIGN_IN, Issued
from ..sessions import services_device_trust, services_sessions
from ..sessions.services_sessions import SignIn
from ..settings import AuthSettings
from ..sign_in.services_policy import mfa_policy
from ..web.current import current_principal, pending_login
from ..web.links import public_host
from ..web.pages import render
from ..web.redirects import safe_next
from . import services_factors, services_recovery_codes
from .forms_mfa import RecoverySavedForm, VerifyForm
from .services_factors import WEBAUTHN, Way
from .services_mfa_verify import Proved


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked for a factor, what for, and how strong it must be."""

    person: Principal
    user: IAMUserAccount
    purpose: str
    minimum: str
    next_url: str | None

    @property
    def signing_in(self) -> bool:
        """Return whether a pending sign-in is completed, rather than a step-up made."""
        return self.purpose == SIGN_IN

    @property
    def place(self) -> dict[str, str]:
        """Return the query that leads back here; a sign-in needs none."""
        if self.signing_in:
            return {}
        return {"purpose": self.purpose, **({"next": self.next_url} if self.next_url else {})}

    @property
    def text(self) -> str:
        """Return the sentence that says what the confirmation is for; none at sign-in."""
        if self.signing_in:
            return ""
        what = _(purpose_named(self.purpose).text)
        return _("Please confirm that it is you to %(what)s.", what=what)


def asked(purpose: str | None, next_url: str | None) -> Asked:
    """Return who is asked: the pending sign-in, else the signed-in person for `purpose`.

    Raises NotAuthenticated for nobody, NotFound for a purpose that was not declared.
    """
    pending = pending_login()
    if pending is not None:
        if pending.stage != "mfa":
            raise NotAuthenticated
        user = services_sessions.owner(pending)
        return Asked(pending, user, SIGN_IN, _sign_in_minimum(pending), None)
    person = current_principal()
    if person is None:
        raise NotAuthenticated
    name = purpose or ""
    if name not in purposes:
        raise NotFound(code="step_up.purpose_unknown")
    user = services_sessions.owner(person)
    return Asked(person, user, name, _step_up_level(person, name), safe_next(next_url))


def _step_up_level(person: Principal, purpose: str) -> str:
    return services_factors.step_up_level(person.user_id, purpose_named(purpose).acr)


def _sign_in_minimum(person: Principal) -> str:
    required = mfa_policy(person.grants, person.actor_type) == "required"
    # A weaker factor is no way in while a strong one is there (AT-068).
    strong = required and services_factors.mfa_state(person.user_id).meets(AAL2)
    return AAL2 if strong else AAL1


def choices(who: Asked) -> list[Way]:
    """Return the ways to choose from; one stands for all keys, of which the browser takes any."""
    found = services_factors.ways(who.user, who.minimum)
    keys = [way for way in found if way.method == WEBAUTHN]
    names = ", ".join(way.hint for way in keys)
    return [
        replace(way, hint=names) if way.method == WEBAUTHN else way
        for way in found
        if way not in keys[1:]
    ]


def offer_trust(who: Asked, way: Way, form: VerifyForm) -> None:
    """Offer to skip the second step on this browser, or take the field away (F2)."""
    days = services_device_trust.days_after(who.person, way.method, way.acr)
    if not who.signing_in or not days:
        del form.remember_device
        return
    form.remember_device.label.text = _(
        "Do not ask for the second step on this device for %(days)s days", days=days
    )
    if request.method != "POST":  # a link must not tick it
        form.remember_device.data = False


def take_onwards(who: Asked, proved: Proved, *, remember: bool, actor: Actor) -> SignIn:
    """Take a sign-in onwards, or keep the proof of a step-up; joins the transaction.

    `remember` says that the person wants this browser trusted.
    """
    if not who.signing_in:
        return services_sessions.record_proof(
            who.person, purpose=who.purpose, method=proved.amr, acr=proved.acr, actor=actor
        )
    signed = services_mfa.complete_mfa_session(who.user, proved, principal=who.person, actor=actor)
    if remember:
        services_device_trust.remember(
            who.person, signed, method=proved.method, acr=proved.acr, actor=actor
        )
    return signed


def tell_delivery(issued: Issued) -> None:
    """Say what became of a code: on its way, late, or not to be delivered."""
    if issued.fallback_from:
        flash(_("The message could not be delivered, so we sent the code by e-mail."), "warn")
    if not issued.delivered:
        tell_unsent(issued.status)


def tell_unsent(status: str | None) -> None:
    """Say that a code is late, or cannot be delivered."""
    if status in (DEAD, EXPIRED):
        flash(_("The code could not be delivered. Please use another way."), "bad")
    else:
        text = _("The code could not be sent yet. We keep trying; you can also use another way.")
        flash(text, "warn")


def waiting_text(seconds: int) -> str:
    """Return in words how long somebody must wait."""
    if seconds < 90:
        return _("You can try again in %(count)s seconds.", count=seconds)
    return _("You can try again in %(count)s minutes.", count=math.ceil(seconds / 60))


def qr_svg(uri: str) -> Markup:
    """Return a QR code as inline SVG without style attributes (the CSP forbids them)."""
    code = segno.make(uri, error="m", micro=False)
    svg = code.svg_inline(scale=4, border=4, omitsize=True, dark="#000", light="#fff")
    return Markup(svg)  # noqa: S704 - made by segno from our own text, which it draws


def grouped(secret: str) -> str:
    """Return a key in groups of four, for typing by hand."""
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))


def recovery_codes_page(
    person_id: Any,
    codes: list[str],
    next_url: str | None,
    *,
    pending: bool = False,
    status: int = 200,
) -> Response:
    """Show recovery codes, this once; the download form carries them sealed.

    `pending` tells that the sign-in, though past its second step, is not complete.
    """
    prefix = "iam_mfa.enrol_" if pending else "iam_mfa."
    form = RecoverySavedForm(formdata=None)
    form.sealed.data = services_recovery_codes.seal(codes, person_id)
    form.next.data = safe_next(next_url) or ""
    if status != 200:
        form.confirm.errors = [_("Please save the codes first.")]
    return render(
        "iam/recovery_codes.html",
        status,
        codes=codes,
        form=form,
        download_url=url_for(f"{prefix}recovery_download"),
        action_url=url_for(f"{prefix}recovery_saved"),
    )


def recovery_text(codes: list[str], username: str) -> str:
    """Return the file people download."""
    settings, host = effective(AuthSettings), public_host()
    head = _("Recovery codes for %(name)s", name=username)
    where = f"{settings.IAM_BRAND_NAME}{f' ({host})' if host else ''}"
    return "\n".join([where, head, _("Each code works once."), "", *codes, ""])
