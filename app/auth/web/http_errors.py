"""The one handler of refusals: a page or a redirect for people, problem+json for programs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request, url_for
from flask_limiter import RateLimitExceeded
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...core import db
from ...core.errors import (
    Forbidden,
    IAMError,
    NotAuthenticated,
    StepUpRequired,
    TooManyAttempts,
    Unavailable,
)
from ...core.i18n import N_, _
from ...core.scoping import tenant_scope
from ...tenancy.errors import AddressClosed, AddressesDisagree, UnknownAddress, WrongTenant
from ...tenancy.services_addresses import Place
from ..principal import Principal
from .blueprint import IAMBlueprint
from .breach_pages import look_for_breach
from .csrf import CsrfRefused
from .current import (
    any_session,
    current_principal,
    do_without_session,
    request_actor,
    request_id,
    settle_for_default,
)
from .links import landing_at
from .pages import STAGE_PAGES, problem, redirect_url, render, secure_headers, wants_json
from .redirects import safe_next
from .tenant_address import prefix

_ADDRESS = (AddressClosed, AddressesDisagree, UnknownAddress, WrongTenant)
# The framework's own names, marked for translation.
_TITLES = {
    400: N_("Bad Request"),
    404: N_("There is no page here. Check the address, or go on from your account."),
    405: N_("This address only takes forms. Go back to the page you came from."),
    413: N_("Request Entity Too Large"),
    415: N_("Unsupported Media Type"),
}


def install(app: Flask) -> None:
    """Register the handlers. A host's own errors stay its own."""
    app.register_error_handler(IAMError, handle)
    app.register_error_handler(SQLAlchemyError, _database_error)
    for name, found in app.blueprints.items():
        if isinstance(found, IAMBlueprint):
            _own_everything(app, name)


def own_whole_app(app: Flask) -> None:
    """Answer every error of the app in our form; for the stand-alone service."""
    _own_everything(app, None)


def _own_everything(app: Flask, blueprint: str | None) -> None:
    # Blueprints are shared by all apps of a process, so handlers go to the app's own table.
    handlers = app.error_handler_spec[blueprint][None]
    handlers[HTTPException] = _http_error
    handlers[Exception] = _unexpected
    app.error_handler_spec[blueprint][429][RateLimitExceeded] = _rate_limited


def handle(error: IAMError) -> BaseResponse:
    """Answer a typed refusal."""
    if isinstance(error, _ADDRESS):
        return _wrong_address(error)
    _audit_denial(error)
    look_for_breach(error)
    if isinstance(error, StepUpRequired):
        return _step_up(error)
    if isinstance(error, NotAuthenticated) and not wants_json():
        return _to_sign_in()
    return answer(error)


def answer(error: IAMError, *, detail: str = "", **more: Any) -> Response:
    """Return the page or the problem+json of a refusal; `more` is for the page alone."""
    retry_after = getattr(error, "retry_after", None)
    if wants_json():
        response = problem(error.status, error.code, _(str(error.title)), request_id=request_id())
    else:
        response = render(
            "iam/error.html",
            error.status,
            status=error.status,
            title=_(str(error.title)),
            detail=_(detail) if detail else "",
            request_id=request_id(),
            retry_after=retry_after,
            **more,
        )
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    if error.status == 401 and wants_json():
        response.headers["WWW-Authenticate"] = "Bearer"
    return secure_headers(response)


def _wrong_address(error: IAMError) -> BaseResponse:
    settle_for_default()
    person: Principal | None = error.details.get("person")
    if person is None:  # there is no sign-in page here to be sent to
        detail = N_("Check the address, or ask whoever gave it to you.")
        if isinstance(error, AddressClosed):  # it is the right one
            detail = N_("You are at the right address. Please try again later.")
        return answer(error, detail=detail, what_next=[])
    _audit_wrong_tenant(person, error)
    if wants_json():
        return answer(error)
    home = Place(
        person.tenant_id, person.tenant_slug, person.tenant_host, person.tenant_name, "active"
    )
    page = render(
        "iam/wrong_tenant.html",
        error.status,
        title=_(str(error.title)),
        name=person.display_name,
        tenant=home.name,
        home=landing_at(home),
    )
    return secure_headers(page)


def _audit_wrong_tenant(person: Principal, error: IAMError) -> None:
    if db.transaction_open():
        return
    actor = request_actor().acting_as(
        kind="user",
        tenant_id=person.tenant_id,
        user_id=person.user_id,
        session_id=person.session_id,
        device_id=person.device_id,
    )
    with tenant_scope(person.tenant_id), db.transaction():
        record(
            events.SESSION_ELSEWHERE,
            status=DENIED,
            error=error.code,
            actor=actor,
            address=request.host + prefix(),
        )


def _step_up(error: StepUpRequired) -> BaseResponse:
    purpose = error.details["purpose"]
    if wants_json():
        response = answer(error)
        response.headers["WWW-Authenticate"] = (
            'Bearer error="insufficient_user_authentication", '
            'error_description="A fresh and stronger authentication is required", '
            f'acr_values="{error.details["acr"]}", max_age="{error.details["max_age"]}"'
        )
        return response
    return redirect_url(url_for("iam_mfa.step_up", purpose=purpose, next=_way_back()))


def _to_sign_in() -> BaseResponse:
    person = any_session()
    if person is not None and not person.is_authenticated:
        return redirect_url(url_for(STAGE_PAGES[person.stage]))
    return redirect_url(url_for("iam_auth.login", next=_way_back()))


def _way_back() -> str | None:
    if request.method in {"GET", "HEAD"}:
        query = request.query_string.decode("latin-1")
        here = request.script_root + request.path
        return safe_next(here + (f"?{query}" if query else ""))
    try:
        referrer = urlsplit(request.referrer or "")
    except ValueError:
        return None
    return safe_next(referrer.path) if referrer.netloc == request.host else None


def _audit_denial(error: IAMError) -> None:
    if not isinstance(error, Forbidden) or db.transaction_open():
        return
    if isinstance(error, CsrfRefused):
        event, details = events.CSRF_REFUSED, {}
    elif current_principal() is not None:
        event, details = events.ACCESS_DENIED, {"required": error.details.get("required", "")}
    else:
        return
    with db.transaction():
        record(
            event,
            status=DENIED,
            error=error.code,
            actor=request_actor(),
            endpoint=request.endpoint or "",
            method=request.method,
            **details,
        )


def _database_error(error: SQLAlchemyError) -> BaseResponse:
    if not db.is_outage(error):
        raise error
    do_without_session()
    current_app.logger.error("database away: %s", type(error).__name__)
    return answer(Unavailable(code="database.unavailable"))


def _rate_limited(error: RateLimitExceeded) -> Response:
    window = error.limit.limit.get_expiry()
    return answer(TooManyAttempts(retry_after=int(window)))


def _http_error(error: HTTPException) -> BaseResponse:
    if error.code is None or error.response is not None or error.code < 400:
        return error.get_response()
    title = _TITLES.get(error.code, error.name)
    refusal = _HttpRefusal(title, code=f"http.{error.code}")
    refusal.status = error.code  # type: ignore[misc]
    response = answer(refusal)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


class _HttpRefusal(IAMError):
    """A refusal of the framework in our own form."""


def _unexpected(error: Exception) -> BaseResponse:
    if isinstance(error, IAMError):
        return handle(error)
    if isinstance(error, SQLAlchemyError) and db.is_outage(error):
        return _database_error(error)
    if current_app.testing or current_app.debug:
        raise error
    do_without_session()
    current_app.logger.error(
        "unhandled %s in %s, request %s", type(error).__name__, request.endpoint, request_id(),
        exc_info=error,
    )  # fmt: skip
    return answer(IAMError())
