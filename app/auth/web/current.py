"""The request's side of identity: cookies, the current person, the actor. Used by routes only.

The session is looked up at most once per request and only when somebody asks.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from flask import Flask, Response, after_this_request, current_app, has_request_context, request
from flask_babel import refresh
from werkzeug.local import LocalProxy

from ...core import clock, i18n, ids
from ...core.actor import Actor
from ...core.runtime import state
from ...core.scoping import RequestScope, current_tenant_id, enter_tenant, tenant_scope
from ...risk import services_devices
from ...risk.services_devices import Browser
from ...risk.settings import RiskSettings
from ...tenancy import services_settings
from ...tenancy.services_tenants import default_tenant_id
from ..principal import Principal
from ..sessions import services_session_lookup, services_sessions
from ..sessions.services_sessions import SignIn
from . import tenant_address

SESSION_COOKIE, DEVICE_COOKIE = "iam_session", "iam_device"
_MISSING = object()
_DAY = 86400


class Anonymous:
    """Nobody: the answer of `current_user` where no full session exists."""

    is_authenticated = False
    is_active = False
    is_anonymous = True
    is_admin = False
    user_id = None
    roles: frozenset[str] = frozenset()

    def get_id(self) -> None:
        """Return nothing: nobody has no id."""

    def has_role(self, _name: str) -> bool:
        """Return False."""
        return False

    def has_any_role(self, *_names: str) -> bool:
        """Return False."""
        return False

    def has_permission(self, _name: str, _resource: object = None) -> bool:
        """Return False."""
        return False


ANONYMOUS = Anonymous()


def _memo() -> dict[str, Any]:
    # Kept with the request and not in `g`: tests of a host that hold an app context open
    # share one `g` among all their requests, and the first person would stay signed in.
    found: dict[str, Any] = request.environ.setdefault("iam.request", {})
    return found


def cookie_name(base: str) -> str:
    """Return the cookie's name: `__Host-` wherever cookies are Secure (J1)."""
    return f"__Host-{base}" if current_app.config["SESSION_COOKIE_SECURE"] else base


def session_token() -> str | None:
    """Return the session token of the request's cookie."""
    return request.cookies.get(cookie_name(SESSION_COOKIE))


def any_session() -> Principal | None:
    """Return the person of the cookie's session, a pending sign-in included."""
    found = _memo().get("principal", _MISSING)
    if found is _MISSING:
        found = services_session_lookup.find(session_token(), request.remote_addr)
        _memo()["principal"] = None  # for whatever follows, should the address refuse it
        if found is not None:
            tenant_address.admit(found)
        _memo()["principal"] = found
        if found is not None:
            enter_tenant(found.tenant_id)
            services_settings.remember(found.tenant_settings)
            _memo()["language"] = found.language
            _choose_language_again()
    return cast("Principal | None", found)


def current_principal() -> Principal | None:
    """Return the signed-in person, or None; a pending sign-in counts as nobody.

    In an access context it is who they are in the other tenant: its id, and rights there.
    """
    found = _memo().get("acting") or any_session()
    return found if found is not None and found.is_authenticated else None


def pending_login() -> Principal | None:
    """Return the person whose sign-in is not complete, or None."""
    found = any_session()
    return found if found is not None and found.state == services_session_lookup.PENDING else None


def forget_principal() -> None:
    """Make the next question look the session up again."""
    _memo().pop("principal", None)
    _memo().pop("acting", None)


def act_in(person: Principal, context: Any) -> None:
    """Go on with this request in another tenant, as `person`, in an access context.

    What is about to be done there was recorded by the caller (`access/access_pages.py`).
    """
    _memo().update(acting=person, context=context)
    enter_tenant(person.tenant_id)


def acting_in() -> Any:
    """Return the access context that this request acts in, or None."""
    return _memo().get("context")


def do_without_session() -> None:
    """Treat the rest of this request as nobody's: the database is away, and pages must render."""
    _memo()["principal"] = None
    _memo()["no_tenant"] = True
    _memo().pop("acting", None)


def knows_no_tenant() -> bool:
    """Return whether pages are shown without asking the database whose they are."""
    return bool(_memo().get("no_tenant"))


def show_image_of(origin: str) -> None:
    """Let the page of this request load images of another origin: the tenant's logo."""
    _memo()["image_origin"] = origin


def image_origin() -> str | None:
    """Return the other origin whose images the page shows, or None."""
    return cast("str | None", _memo().get("image_origin"))


def language() -> str | None:
    """Return the reader's language: the person's own, else the browser's.

    The locale selector wherever Flask-Babel is ours; a host's own selector stays in force.
    Looks no session up: a text must be had while the database is away, too.
    """
    own = _memo().get("language") if has_request_context() else None
    return i18n.known_language(own) or i18n.preferred_language()


def speak(tag: str | None) -> None:
    """Go on in the language the person has just chosen."""
    _memo()["language"] = tag
    refresh()


def request_id() -> str:
    """Return this request's id, made here: a client's own would be a way into the logs (AT-407)."""
    memo = _memo()
    if "request_id" not in memo:
        memo["request_id"] = ids.new_id().hex
    return cast(str, memo["request_id"])


def request_actor() -> Actor:
    """Return who acts in this request, for services and the audit trail."""
    acting: Principal | None = _memo().get("acting")
    person = acting or any_session()
    return Actor(
        kind="platform" if acting else "user" if person else "anonymous",
        tenant_id=person.tenant_id if person else current_tenant_id(),
        user_id=person.user_id if person else None,
        session_id=person.session_id if person else None,
        device_id=person.device_id if person else None,
        ip=request.remote_addr,
        user_agent=request.headers.get("User-Agent"),
        request_id=request_id(),
        generation=browser_generation(),
    )


def browser() -> bytes:
    """Return the digest that names this browser, giving it a device cookie if it has none."""
    found = _browser()
    if found is None:
        _keep_device(services_devices.new_cookie())
        found = _browser()
        assert found is not None  # noqa: S101 - narrows the type
    return found.digest


def browser_generation() -> int:
    """Return the generation of the device cookie that came with the request; 0 without one."""
    found = _browser()
    return found.generation if found else 0


def keep_session(signed: SignIn) -> None:
    """Put the token of a new or rotated session into the browser's cookie.

    A complete sign-in may bring a new generation of the device cookie along.
    """
    forget_principal()
    _memo()["new_token"] = signed.token
    max_age = None
    if signed.remember and signed.complete:
        max_age = _seconds_left(signed)
    _set_cookie(SESSION_COOKIE, signed.token, max_age)
    device = signed.device_cookie
    if signed.generation is not None:
        device = services_devices.renewed_cookie(device or _device_cookie(), signed.generation)
    if device is not None:
        _keep_device(device)


def drop_session() -> None:
    """Take the session cookie away."""
    forget_principal()
    _memo()["new_token"] = ""
    _set_cookie(SESSION_COOKIE, "", 0)


def csrf_binding() -> str:
    """Return what this browser's form tokens are bound to: its session, else its device."""
    token = _memo().get("new_token")
    if token is None:
        token = session_token()
    return token or browser().hex()


def install(app: Flask) -> None:
    """Resolve the tenant of every request lazily and forget it afterwards."""

    def enter() -> None:
        _memo()["scope"] = RequestScope(_request_tenant)
        _choose_language_again()  # an app context that outlives its requests keeps a locale

    def leave(_error: BaseException | None) -> None:
        scope = _memo().pop("scope", None)
        if scope is not None:
            scope.leave()

    app.before_request_funcs.setdefault(None, []).insert(0, enter)
    app.teardown_request(leave)


def after_request(response: Response) -> Response:
    """Note the activity of a session that this request used; rarely a write."""
    person = _memo().get("principal", _MISSING)
    if isinstance(person, Principal) and person.is_authenticated and response.status_code < 500:
        with tenant_scope(person.tenant_id):  # in an access context, another one is in scope
            services_sessions.touch(person)
    return response


def _choose_language_again() -> None:
    # Flask-Babel keeps its first answer, given perhaps before the person was known.
    if current_app.extensions["babel"].locale_selector is language:
        refresh()


def _request_tenant() -> UUID:
    person = any_session()
    if person is not None:
        return person.tenant_id
    named = tenant_address.place()
    return named.id if named is not None else _default_tenant()


def check_address() -> None:
    """Refuse a request whose address names no tenant that is open, or not the person's.

    Costs a query only where an address names a tenant and nobody of it is signed in. Raises
    UnknownAddress, AddressesDisagree, AddressClosed, WrongTenant.
    """
    if tenant_address.named() is not None and any_session() is None:
        tenant_address.place()


def settle_for_default() -> None:
    """Let the rest of this request be nobody's in the default tenant: its address was refused."""
    do_without_session()
    enter_tenant(_default_tenant())


def _default_tenant() -> UUID:
    held = state()
    if held.default_tenant_id is None:
        held.default_tenant_id = default_tenant_id()
    return held.default_tenant_id


def _browser() -> Browser | None:
    memo = _memo()
    if "browser" not in memo:
        memo["browser"] = services_devices.read_cookie(_device_cookie())
    return cast("Browser | None", memo["browser"])


def _device_cookie() -> str | None:
    new: str | None = _memo().get("device_cookie")
    return new or request.cookies.get(cookie_name(DEVICE_COOKIE))


def _keep_device(value: str) -> None:
    memo = _memo()
    memo["device_cookie"] = value
    memo.pop("browser", None)
    _set_cookie(DEVICE_COOKIE, value, RiskSettings.current().DEVICE_COOKIE_DAYS * _DAY)


def _seconds_left(signed: SignIn) -> int:
    return max(0, int((signed.expires_at - clock.now()).total_seconds()))


def _set_cookie(base: str, value: str | None, max_age: int | None) -> None:
    secure = bool(current_app.config["SESSION_COOKIE_SECURE"])

    @after_this_request
    def _apply(response: Response) -> Response:
        response.set_cookie(
            cookie_name(base),
            value or "",
            max_age=max_age,
            secure=secure,
            httponly=True,
            samesite="Lax",
            path="/",
        )
        return response


def _user() -> Principal | Anonymous:
    return current_principal() or ANONYMOUS


current_user: Principal = LocalProxy(_user)  # type: ignore[assignment]
"""The signed-in person of this request, or an anonymous one (`is_authenticated` False)."""
