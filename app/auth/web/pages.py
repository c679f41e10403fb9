"""Answers: pages for people, problem+json for programs, and the headers both carry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from flask import (
    Response,
    current_app,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from ...core import dates
from ...core.i18n import _, language
from ..access import access_pages
from ..sessions.services_sessions import SignIn
from ..settings import AuthSettings
from . import brand_pages, csrf, tenant_address
from .current import current_principal, image_origin
from .redirects import safe_next
from .requests import is_json_view

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "object-src 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), geolocation=(), microphone=(), "
        "publickey-credentials-create=(self), publickey-credentials-get=(self)"
    ),
    "Cache-Control": "no-store",
}
STAGE_PAGES = {
    "verify": "iam_mfa.verify_mailbox",
    "mfa": "iam_mfa.verify",
    "enrol": "iam_mfa.enrol",
    "password": "iam_auth.password_renew",
    "again": "iam_recovery.finished",
}
_SWITCHABLE = {"iam_account", "iam_admin", "iam_roles", "iam_audit", "iam_settings"}
HSTS = "max-age=31536000; includeSubDomains"


def render(template: str, status: int = 200, /, **context: Any) -> Response:
    """Return a page of ours."""
    return make_response(render_template(template, **{**template_context(), **context}), status)


def redirect_to(endpoint: str, **values: Any) -> BaseResponse:
    """Send the browser on by GET, whatever it sent (303, RFC 9700 4.12)."""
    return redirect(url_for(endpoint, **values), 303)


def redirect_url(url: str) -> BaseResponse:
    """Send the browser to a checked URL by GET."""
    return redirect(url, 303)


def onwards(signed: SignIn) -> BaseResponse:
    """Send a browser to what its sign-in still needs, or to where it wanted to go."""
    return redirect_url(way_on(signed))


def way_on(signed: SignIn) -> str:
    """Return the address of what a sign-in still needs, or of where it wanted to go."""
    return landing(signed.next_url) if signed.complete else url_for(STAGE_PAGES[signed.stage])


def landing(next_url: str | None) -> str:
    """Return a checked address to go to, by default the one after sign-in."""
    usual = safe_next(AuthSettings.current().IAM_AFTER_LOGIN_URL) or "/"
    return safe_next(next_url) or tenant_address.below(usual)


def wants_json() -> bool:
    """Return whether the client is a program: it sends JSON or prefers it to HTML."""
    if (
        request.is_json
        or is_json_view()
        or request.headers.get("Authorization", "").startswith("Bearer ")
    ):
        return True
    accepted = request.accept_mimetypes
    if not request.headers.get("Accept"):
        return False
    best = accepted.best_match(["text/html", "application/json", "application/problem+json"])
    return best in {"application/json", "application/problem+json"} and (
        accepted[best] > accepted["text/html"] or best == "application/problem+json"
    )


def problem(status: int, code: str, title: str, **more: Any) -> Response:
    """Return an RFC 9457 answer."""
    response = jsonify({"type": f"urn:iam:{code}", "title": title, "status": status, **more})
    response.status_code = status
    response.content_type = "application/problem+json"
    return response


def secure_headers(response: Response) -> Response:
    """Add the security headers a page of ours carries, errors included (AT-150)."""
    origin = image_origin()
    if origin is not None:
        response.headers.setdefault(
            "Content-Security-Policy", CSP.replace("data:", f"data: {origin}")
        )
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if current_app.config["SESSION_COOKIE_SECURE"]:
        response.headers.setdefault("Strict-Transport-Security", HSTS)
    response.headers.pop("Server", None)
    return response


def without_referrer(response: Response) -> Response:
    """Keep the address of a page, which holds a secret, from the next site (AT-093)."""
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def template_context() -> Mapping[str, Any]:
    """Return what every template of ours may use."""
    person = current_principal()
    settings = AuthSettings.current()
    return {
        "_": _,
        "iam_lang": language(),
        "csrf_token": csrf.token,
        "brand": brand_pages.brand(),
        "viewer": person,
        "access_context": access_pages.standing,
        "iam_layout": settings.IAM_LAYOUT_TEMPLATE,
        "iam_admin_enabled": settings.IAM_ADMIN_ENABLED,
    }


def switched_off_url(_error: Exception, endpoint: str, _values: Mapping[str, Any]) -> str | None:
    """Return where links to pages that the settings switch off lead: to the host's landing page."""
    blueprint = endpoint.partition(".")[0]
    if blueprint not in _SWITCHABLE or blueprint in current_app.blueprints:
        return None
    return landing(None)


def iam_datetime(value: datetime | None) -> Markup:
    """Render a time as its reader's clock shows it, with the exact one (UTC) in the markup."""
    if value is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(
        value.isoformat(), dates.moment(value, _zone())
    )


def iam_exact(value: datetime | None) -> Markup:
    """Render a time with its seconds, for people who investigate."""
    if value is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(
        value.isoformat(), dates.moment(value, _zone(), seconds=True)
    )


def iam_ago(value: datetime | None) -> Markup:
    """Render how long ago a time was, with the exact one (UTC) in the markup."""
    if value is None:
        return Markup("–")
    where = _zone()
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        value.isoformat(), dates.moment(value, where, seconds=True), dates.ago(value, where)
    )


def _zone() -> tzinfo:
    person = current_principal()
    return dates.zone(person.timezone if person else None)
