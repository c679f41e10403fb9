"""CSRF: Flask-WTF's tokens, bound to the browser's session or device (AT-139, AT-144).

Flask-WTF keeps its raw value in Flask's session cookie, which a neighbour on a
sibling domain may plant. So the raw value is derived from the cookie that the
request carries and planted ones are overwritten before every check. A token dies
when the session token changes: at sign-in, step-up and sign-out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import current_app, g, request
from flask import session as flask_session
from flask_wtf.csrf import generate_csrf, validate_csrf
from wtforms.validators import ValidationError

from ...core.crypto import keyring
from ...core.errors import Forbidden
from ...core.i18n import N_
from .current import csrf_binding

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# Not Flask-WTF's own key: a host's forms, open in another tab, keep their token.
_KEY, _FIELD = "iam_csrf", "csrf_token"
_KEPT = "iam_csrf_kept"
_NO_TOKEN = "__iam_without_csrf_token__"  # noqa: S105 - the name of a mark


V = TypeVar("V", bound=Callable[..., Any])


class CsrfRefused(Forbidden):
    """A form came without a valid token (403)."""

    code = "csrf.refused"
    title = N_("This form has expired. Go back, reload the page and send it again.")


def bind() -> str:
    """Make Flask-WTF's raw value the one that belongs to this browser's session."""
    expected = keyring().signed_digest(csrf_binding(), "csrf").hex()
    if flask_session.get(_KEY) != expected:
        flask_session[_KEY] = expected
    g.pop(_KEY, None)
    return expected


def token() -> str:
    """Return a form token for this browser, one for every form of a page; for templates."""
    bound_to = bind()
    kept: tuple[str, str] | None = g.get(_KEPT)
    if kept is None or kept[0] != bound_to:
        kept = bound_to, str(generate_csrf(token_key=_KEY))
        setattr(g, _KEPT, kept)
    return kept[1]


def without_token(view: V) -> V:
    """Declare that a view is called by other sites and servers, and uses no cookie of ours."""
    setattr(view, _NO_TOKEN, True)
    return view


def protect() -> None:
    """Refuse an unsafe request without a valid token or from another origin.

    Raises CsrfRefused.
    """
    if request.method in SAFE_METHODS or _needs_no_token():
        return
    bind()
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise CsrfRefused
    origin = request.headers.get("Origin")
    if origin and origin != "null" and _host_of(origin) != request.host:
        raise CsrfRefused
    sent = request.headers.get("X-CSRFToken") or request.form.get(_FIELD)
    try:
        validate_csrf(sent, token_key=_KEY)
    except ValidationError:
        raise CsrfRefused from None


def _needs_no_token() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, _NO_TOKEN, False)


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
