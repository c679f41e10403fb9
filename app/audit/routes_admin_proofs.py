"""The proof of one event: a page for people, JSON for their tools. Reading only."""

from __future__ import annotations

from flask import Response, jsonify, request

from ..auth.security import requires_permission_somewhere
from ..auth.web.blueprint import audit_bp
from ..auth.web.pages import render, wants_json
from ..core.i18n import _
from ..core.ids import parse_id
from . import services_query, wording
from .reach_pages import query
from .sealing import services_proofs

__all__ = ["bp"]

bp = audit_bp


@bp.get("/proof/<event_id>")
@requires_permission_somewhere("audit:read")
def proof(event_id: str) -> Response:
    """Show that an event is part of the sealed trail; `since` is a size that somebody noted."""
    event = services_query.find(parse_id(event_id), query())
    wrong = ""
    try:
        found = services_proofs.prove(event.id, since=_since())
    except services_proofs.NoSuchCheckpoint as refusal:
        if _as_json():
            raise
        wrong, found = _(str(refusal.title)), services_proofs.prove(event.id)
    as_json = services_proofs.as_dict(found)
    if _as_json():
        answer = jsonify(as_json)
        if not wants_json():
            answer.headers.set(
                "Content-Disposition", "attachment", filename=f"proof-{event.id}.json"
            )
        return answer
    return render(
        "iam/audit_proof.html",
        422 if wrong else 200,
        event=event,
        proof=found,
        shown=as_json,
        words=wording,
        wrong=wrong,
    )


def _as_json() -> bool:
    return wants_json() or request.args.get("format") == "json"


def _since() -> int | None:
    text = request.args.get("since", "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 16):
        raise services_proofs.NoSuchCheckpoint
    return int(text)
