"""Pages that link an identity of another service to an account, and take it away (G3, G5).

One waits after a sign-in whose address an account here has: its owner signs in, and
confirms. The other begins in a session with fresh proof. Both are POSTs with our token, so
no other site starts or ends them (AT-143).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import flash, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.errors import Conflict, Forbidden, NotFound
from ...core.i18n import _
from ...core.ids import parse_id
from .. import services_sso
from ..forms import IAMForm
from ..models import IAMUserAccount
from ..security import public, requires_step_up, signed_in
from ..sessions import services_sessions
from ..web.blueprint import account_bp, auth_bp
from ..web.current import (
    browser,
    current_principal,
    drop_session,
    forget_principal,
    request_actor,
)
from ..web.limits import limited_by_person
from ..web.pages import redirect_to, render
from . import services_connections, services_identities, services_sso_flow
from .errors_sso import SsoRefused, SsoUnavailable
from .services_sso_flow import LINK, Pending
from .sso_pages import continue_page

SECURITY = "account.security"
bp = account_bp


@auth_bp.get("/sso/link")
@public("tells this browser alone what waits in it; confirming takes the account's owner")
def sso_link() -> BaseResponse:
    """Say what waits, and what its owner has to do. A look changes nothing."""
    pending = services_sso_flow.pending_of(browser())
    return _link_page(_state(pending), pending)


@auth_bp.post("/sso/link")
@requires_step_up(SECURITY)
@limited_by_person
def sso_link_confirm() -> BaseResponse:
    """Link what waits to the account that its owner has just signed in to."""
    pending = services_sso_flow.pending_of(browser())
    state = _state(pending)
    if state != "confirm":
        return _link_page(state, pending)
    shown = parse_id(request.form.get("flow"))
    try:
        with transaction():
            services_identities.confirm(_owner(), shown, browser(), actor=request_actor())
    except (Conflict, Forbidden) as refusal:
        flash(_(str(refusal.title)), "bad")
        return redirect_to("iam_account.security")
    except NotFound:
        return _link_page("gone", None)
    flash(_("The account is linked. You can sign in with it from now on."), "ok")
    return redirect_to("iam_account.security")


@bp.post("/security/identities/link")
@requires_step_up(SECURITY)
@limited_by_person
def identity_link() -> BaseResponse:
    """Lead to another service, to link an account there."""
    connection = services_connections.find(request.form.get("connection", ""))
    person = signed_in()
    try:
        services_identities.check_may_link(_owner())
        url = services_sso.begin(
            connection,
            purpose=LINK,
            browser=browser(),
            next_url=url_for("iam_account.security"),
            user_id=person.user_id,
            session_id=person.session_id,
            actor=request_actor(),
        )
    except (Conflict, Forbidden, SsoRefused, SsoUnavailable) as refusal:
        flash(_(str(refusal.title)), "bad")
        return redirect_to("iam_account.security")
    return continue_page(url, connection.name)


@bp.post("/security/identities/<identity_id>/unlink")
@requires_step_up(SECURITY)
@limited_by_person
def identity_unlink(identity_id: str) -> BaseResponse:
    """Take an identity away; the last way in stays, sessions through it end."""
    try:
        with transaction():
            services_identities.unlink(_owner(), parse_id(identity_id), actor=request_actor())
    except Conflict as refusal:
        flash(_(str(refusal.title)), "bad")
        return redirect_to("iam_account.security")
    forget_principal()
    if current_principal() is None:
        drop_session()
        flash(_("The account is unlinked. You had signed in with it: please sign in again."), "ok")
        return redirect_to("iam_auth.login")
    flash(_("The account is unlinked and no longer signs you in."), "ok")
    return redirect_to("iam_account.security")


def _state(pending: Pending | None) -> str:
    """Return what the page says: `gone`, `sign_in`, `other`, `again` or `confirm`."""
    if pending is None:
        return "gone"
    person = current_principal()
    if person is None:
        return "sign_in"
    if person.user_id != pending.user_id:
        return "other"
    proof = person.proofs.get(SECURITY)
    renewed = datetime.fromisoformat(proof["at"]) if proof else person.auth_time
    return "confirm" if max(person.auth_time, renewed) >= pending.since else "again"


def _link_page(state: str, pending: Pending | None) -> BaseResponse:
    here = url_for("iam_auth.sso_link")
    told: dict[str, Any] = {}
    if pending is not None:
        try:
            told["service"] = services_connections.get(pending.connection_id).name
        except NotFound:  # disabled meanwhile
            state = "gone"
        told["label"] = services_identities.label_of(pending.info)
    return render(
        "iam/sso_link.html",
        _status(state),
        state=state,
        flow=str(pending.flow_id) if pending is not None else "",
        sign_in_url=url_for("iam_auth.login", next=here),
        again_url=url_for("iam_mfa.step_up", purpose=SECURITY, next=here),
        form=IAMForm(formdata=None),
        **{"service": "", "label": "", **told},
    )


def _status(state: str) -> int:
    if state == "gone":  # a form came too late; a page merely says that nothing waits
        return 404 if request.method == "POST" else 200
    return 403 if state == "other" else 200


def _owner() -> IAMUserAccount:
    return services_sessions.owner(signed_in())
