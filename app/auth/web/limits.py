"""Request rates of the sign-in endpoints, by address and by person (Flask-Limiter, C4).

A coarse guard before any work is done; the counters that decide about attempts
are in `risk/services_limits.py` and live in the database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import request

from ...extensions import limiter
from ...risk.services_limits import network_of
from ...risk.settings import RiskSettings
from .current import any_session

F = TypeVar("F", bound=Callable[..., Any])


def _address() -> str:
    return f"ip:{network_of(request.remote_addr)}"


def _person() -> str:
    person = any_session()
    return f"user:{person.user_id}" if person else _address()


def _rate() -> str:
    return RiskSettings.current().RATE_LIMIT_SIGN_IN


def limited(view: F) -> F:
    """Limit requests to a view by address, unsafe methods only."""
    methods = ["POST"]
    return cast(F, limiter.limit(_rate, key_func=_address, methods=methods)(view))


def limited_always(view: F) -> F:
    """Limit requests to a view by address, whatever the method: each writes a row."""
    return cast(F, limiter.limit(_rate, key_func=_address)(view))


def limited_by_person(view: F) -> F:
    """Limit requests to a view by the signed-in person, unsafe methods only."""
    return cast(F, limiter.limit(_rate, key_func=_person, methods=["POST"])(view))
