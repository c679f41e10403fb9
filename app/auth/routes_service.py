"""Pages of the service itself: health, our static files, and the demo's outbox."""

from __future__ import annotations

import hashlib
import ipaddress
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from flask import abort, current_app, jsonify, request, send_from_directory, url_for
from markupsafe import Markup, escape
from sqlalchemy import text
from werkzeug.wrappers import Response as BaseResponse

from ..core.db import session
from ..notify import services_outbox
from .security import public
from .web import accent as accent_colours
from .web.blueprint import IAMBlueprint
from .web.pages import render

STATIC = Path(__file__).parent / "static"
bp = IAMBlueprint("iam_service", "IAM_SERVICE_PREFIX")
dev_bp = IAMBlueprint("iam_dev", "IAM_SERVICE_PREFIX", "/dev")
_MOST = 200
_LOCAL_NAMES = {"127.0.0.1", "localhost", "::1"}
_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


@bp.get("/healthz")
@public("load balancers ask it; it tells nothing but up or down")
def healthz() -> BaseResponse:
    """Say whether the database answers; Unavailable (503) otherwise."""
    session().execute(text("SELECT 1"))
    return jsonify({"status": "ok"})


@bp.get("/iam-static/<path:filename>")
@public("style sheet, script and icon")
def static_file(filename: str) -> BaseResponse:
    """Serve one of our own static files; its address changes with its content."""
    response = send_from_directory(STATIC, filename)
    versioned = request.args.get("v") == _version(filename)
    response.headers["Cache-Control"] = (
        "public, max-age=31536000, immutable" if versioned else "public, max-age=300"
    )
    return response


@bp.get("/iam-accent/<colour>.css")
@public("a style sheet made of the colour in its address")
def accent(colour: str) -> BaseResponse:
    """Serve the shades of a colour; the address says all, so nothing is looked up."""
    found = accent_colours.parse(colour)
    if found is None:
        abort(404)
    response = current_app.response_class(accent_colours.stylesheet(found), mimetype="text/css")
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


def iam_static(filename: str) -> str:
    """Return the versioned address of a static file; for templates."""
    return url_for("iam_service.static_file", filename=filename, v=_version(filename))


@lru_cache(maxsize=64)
def _version(filename: str) -> str:
    path = STATIC / filename
    if not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@dev_bp.get("/outbox")
@public("demo mode only, from this machine only")
def outbox() -> BaseResponse:
    """Show every message the demo sent, newest first, as a page or JSON."""
    _only_loopback()
    messages = services_outbox.list_recent(_MOST)
    if request.args.get("format") == "json":
        return jsonify([{**item, "created_at": item["created_at"]} for item in messages])
    shown = [{**item, "body_html": _with_links(str(item["body"]))} for item in messages]
    return render("iam/dev_outbox.html", messages=shown)


def _only_loopback() -> None:
    try:
        local = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        local = False
    # A proxy in front, or a name that somebody made point here (DNS rebinding), is not local.
    proxied = any(name in request.headers for name in _PROXY_HEADERS)
    if not local or proxied or urlsplit(f"//{request.host}").hostname not in _LOCAL_NAMES:
        abort(404)


def _with_links(body: str) -> Markup:
    words = []
    for word in body.split(" "):
        lines = [_link(part) for part in word.split("\n")]
        words.append(Markup("\n").join(lines))
    return Markup(" ").join(words)


def _link(word: str) -> Markup:
    if word.startswith(("http://", "https://")):
        return Markup('<a href="{0}">{0}</a>').format(word)
    return escape(word)
