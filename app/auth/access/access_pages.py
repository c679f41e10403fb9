"""Access contexts at the request: which pages they hold for, and what every page says of them.

Administration pages only: a person's own pages stay their own, and a host's pages are the
platform's. A request is moved into the other tenant once it is recorded in both, not before.
"""

from __future__ import annotations

from contextlib import suppress

from flask import flash, redirect, request, url_for
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.i18n import _
from ..principal import Principal
from ..web.csrf import SAFE_METHODS
from ..web.current import act_in, acting_in, any_session, keep_session, request_actor
from . import services_access_contexts
from .errors_access import AccessEnded
from .services_access_contexts import Running


def enter_context() -> BaseResponse | None:
    """Move a request of a person in a context into its tenant; runs before the view.

    One that is over is ended: a page leads home, a change is refused, for it was meant for the
    other tenant. Raises AccessEnded, AccessRefused.
    """
    person = _holder()
    if person is None:
        return None
    context = services_access_contexts.running(person, request.remote_addr)
    if context is None or context.over is not None:
        return _end(person, context)
    services_access_contexts.note(
        context,
        endpoint=request.endpoint or "",
        method=request.method,
        actor=request_actor(),
    )
    act_in(services_access_contexts.inside(person, context), context)
    return None


def standing() -> Running | None:
    """Return the context of this browser for the banner of a page, or None."""
    if acting_in() is not None:
        return acting_in()  # type: ignore[no-any-return]
    with suppress(SQLAlchemyError):  # a page that says so must render while the database is away
        person = _holder()
        if person is not None:
            context = services_access_contexts.running(person, request.remote_addr)
            return context if context is not None and context.over is None else None
    return None


def _holder() -> Principal | None:
    person = any_session()
    if person is None or not person.is_authenticated or person.access_context_id is None:
        return None
    return person


def _end(person: Principal, context: Running | None) -> BaseResponse:
    reason = context.over if context is not None and context.over else "ended"
    with transaction():
        signed = services_access_contexts.leave(person, reason, actor=request_actor())
    if signed is not None:
        keep_session(signed)
    if request.method not in SAFE_METHODS:
        raise AccessEnded
    flash(_("Your access to the other tenant has ended. You are back in your own."), "info")
    return redirect(url_for("iam_admin.dashboard"), 303)
