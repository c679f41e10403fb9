"""Identity and access management for Flask: the one public import place.

Embed it with `IAM().init_app(app)`, protect views with the decorators, or run it
alone with `create_app()`. What is not exported here is not a promise.
"""

from __future__ import annotations

import sys as _sys

if {"app", "iam"} <= {name for name in _sys.modules if name in {"app", "iam"}}:
    _other = _sys.modules["app" if __name__ == "iam" else "iam"]
    if getattr(_other, "__iam_package__", False):
        raise ImportError("the same package is loaded as both `app` and `iam`")

__iam_package__ = True

from .auth.purposes import Purpose, register_purpose
from .auth.security import (
    can,
    guard,
    public,
    reaches,
    requires_login,
    requires_mfa,
    requires_parent,
    requires_permission,
    requires_permission_somewhere,
    requires_role,
    requires_step_up,
    requires_tenant,
)
from .auth.web.current import current_user
from .core import errors, signals
from .factory import create_app
from .hooks import Hooks
from .iam import IAM

__version__ = "0.1.0"
__all__ = [
    "IAM",
    "Hooks",
    "Purpose",
    "can",
    "create_app",
    "current_user",
    "errors",
    "guard",
    "public",
    "reaches",
    "register_purpose",
    "requires_login",
    "requires_mfa",
    "requires_parent",
    "requires_permission",
    "requires_permission_somewhere",
    "requires_role",
    "requires_step_up",
    "requires_tenant",
    "signals",
]
