"""The sign-in page: the password's form and every other way in, for all routes that show it."""

from __future__ import annotations

from flask import Response, request

from ..forms import DiscoverForm, LoginForm
from ..web.pages import render
from ..web.redirects import safe_next
from . import sign_in_methods


def login_page(
    form: LoginForm, status: int = 200, *, discover: DiscoverForm | None = None
) -> Response:
    """Return the sign-in page; `discover` is the form of the e-mail address as it was sent."""
    next_url = safe_next(form.next.data)
    ways = sign_in_methods.offered(next_url)
    if ways.discovers and discover is None:
        discover = DiscoverForm(formdata=None, next=next_url)
    return render(
        "iam/login.html",
        status,
        form=form,
        sign_in_methods=ways.sent,
        sso_buttons=ways.connections,
        discover_form=discover,
        passkeys_offered=ways.passkeys,
        password_set=request.args.get("done") == "password",
    )
