"""Request glue of single sign-on: pages that lead away to a provider, and what went wrong there."""

from __future__ import annotations

from flask import Response, url_for

from ...core.errors import IAMError
from ...core.i18n import _
from ..web.current import current_principal
from ..web.pages import landing, render, without_referrer
from .services_sso_flow import LINK, SIGN_IN, STEP_UP, TEST

RETRY_SECONDS = 30


def continue_page(url: str, name: str, *, signed_out: bool = False) -> Response:
    """Lead a browser that has posted a form on to a provider.

    Not by a redirect: `form-action` holds for what follows a form, too, and refuses
    another site.
    """
    page = render("iam/sso_continue.html", url=url, name=name, signed_out=signed_out)
    return without_referrer(page)


def failed_page(refusal: IAMError, slug: str) -> Response:
    """Say what became of a trip, and what to do next."""
    purpose = str(refusal.details.get("purpose") or SIGN_IN)
    signed_in = current_principal() is not None
    response = render(
        "iam/sso_failed.html",
        refusal.status,
        text=_(str(refusal.title)),
        again_url=_again_url(refusal, purpose, slug),
        home_url=landing(None) if signed_in else None,
        login_url=url_for("iam_auth.login", next=refusal.details.get("next_url")),
    )
    if refusal.status == 503:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return without_referrer(response)


def _again_url(refusal: IAMError, purpose: str, slug: str) -> str:
    next_url = refusal.details.get("next_url")
    if purpose == STEP_UP:
        step_up = refusal.details.get("step_up_purpose")
        return url_for("iam_mfa.step_up", purpose=step_up, next=next_url)
    if purpose in {LINK, TEST}:
        return landing(next_url)
    return url_for("iam_auth.sso_login", provider=slug, next=next_url)
