"""Administration of sessions: everybody who is signed in, and an end to any of them (J4)."""

from __future__ import annotations

from flask import flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.i18n import _
from ...core.ids import parse_id
from ..accounts.admin_pages import PAGE_SIZE, page_links, reach
from ..accounts.admin_pages import admin_bp as bp
from ..forms import IAMForm
from ..security import requires_permission_somewhere
from ..web.current import current_user, drop_session, request_actor
from ..web.pages import redirect_to, render
from . import services_session_admin


@bp.get("/sessions")
@requires_permission_somewhere("admin:access", "session:read")
def sessions() -> BaseResponse:
    """Show a page of the live sessions within reach, newest first."""
    mine = reach("session:read")
    found = services_session_admin.page_live(
        cursor=request.args.get("cursor"), size=PAGE_SIZE, reach=mine
    )
    return render(
        "iam/admin_sessions.html",
        sessions=found.items,
        total=services_session_admin.count_live(mine),
        page=page_links(found, "iam_admin.sessions", {}),
        form=IAMForm(),
    )


@bp.post("/sessions/<session_id>/end")
@requires_permission_somewhere("admin:access", "session:revoke")
def session_end(session_id: str) -> BaseResponse:
    """End a session of anybody in the tenant."""
    ended = parse_id(session_id)
    with transaction():
        owner_id = services_session_admin.end(
            ended, actor_grants=current_user.grants, actor=request_actor()
        )
    if ended == current_user.session_id:
        drop_session()
        return redirect_to("iam_auth.signed_out")
    flash(_("The session is ended."), "ok")
    if request.form.get("back") == "user":
        return redirect_to("iam_admin.user", user_id=owner_id)
    return redirect_to("iam_admin.sessions")
