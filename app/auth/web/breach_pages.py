"""At the request: a 404 that was meant for another tenant's rows is told (K5); it stays a 404."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from flask import request

from ...core import db
from ...core.errors import NotFound, Unavailable
from ...tenancy import services_breaches
from .current import current_principal, request_actor


def look_for_breach(error: Exception) -> None:
    """Record an attempt to reach another tenant where a signed-in person was answered 404."""
    if not isinstance(error, NotFound) or db.transaction_open() or current_principal() is None:
        return
    with suppress(Unavailable):  # the answer stays what it is while nothing can be written
        services_breaches.report(
            services_breaches.ids_in(_texts()),
            endpoint=request.endpoint or "",
            method=request.method,
            by_link=request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"},
            actor=request_actor(),
        )


def _texts() -> Iterator[str]:
    yield from (str(value) for value in (request.view_args or {}).values())
    yield from request.path.split("/")
    if request.method not in {"POST", "PUT", "PATCH", "DELETE"}:
        return  # a query is easily put into a link by somebody else
    for fields in (request.args, request.form):
        for _name, values in fields.lists():
            yield from values
