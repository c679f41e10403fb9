"""Settings of sign-in, sessions and the pages."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from ..core.errors import Misconfigured
from ..core.settings import Section, setting


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Limits of one actor type's sessions (J2).

    `mfa_on_new_device` asks for a second step, or failing that for a confirmation by mail,
    in a browser not seen before, whatever the second-factor policy says.
    """

    max_sessions: int
    absolute_minutes: int
    idle_minutes: int = 30
    remember_days: int = 0
    mfa_on_new_device: bool = False


DEFAULT_POLICIES = {
    "super_admin": SessionPolicy(3, 30, mfa_on_new_device=True),
    "partner_admin": SessionPolicy(5, 8 * 60),
    "client_admin": SessionPolicy(5, 8 * 60),
    "tenant_admin": SessionPolicy(5, 8 * 60),
    "end_user": SessionPolicy(10, 24 * 60, remember_days=30),
}
ACTOR_TYPES = tuple(DEFAULT_POLICIES)


def _policies(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a JSON object") from None
    return value


Policies = Annotated[dict[str, dict[str, int | bool]], BeforeValidator(_policies)]


class AuthSettings(Section):
    """Sign-in and sessions."""

    title: ClassVar[str] = "Sign-in, sessions and pages"

    IAM_AUTH_PREFIX: str = setting("/auth", "URL prefix of the sign-in pages.")
    IAM_ACCOUNT_PREFIX: str = setting("/account", "URL prefix of a person's own pages.")
    IAM_ADMIN_PREFIX: str = setting("/admin", "URL prefix of the administration pages.")
    IAM_SERVICE_PREFIX: str = setting("", "URL prefix of /healthz and of our static files.")
    IAM_ADMIN_ENABLED: bool = setting(True, "Whether the administration pages exist.")
    IAM_ACCOUNT_ENABLED: bool = setting(True, "Whether a person's own pages exist.")
    IAM_BRAND_NAME: str = setting("Identity", "Name shown on pages and in messages.", max_length=60)
    IAM_BASE_URL: str = setting(
        "", "Public address of this service, e.g. https://id.example.org; links in messages use it."
    )
    IAM_AFTER_LOGIN_URL: str = setting("/account", "Where a person lands without a `next`.")
    IAM_AFTER_LOGOUT_URL: str = setting("", "Where a person lands after sign-out; empty: our page.")
    IAM_LAYOUT_TEMPLATE: str = setting("iam/layout.html", "Base template of every page.")
    IAM_SESSION_POLICIES: Policies = setting(
        {},
        "JSON object, actor type to limits (max_sessions, absolute_minutes, idle_minutes, "
        "remember_days, mfa_on_new_device), over the defaults.",
    )
    SESSION_LIMIT_ACTION: str = setting(
        "end_oldest",
        "At the limit of sessions: `end_oldest` or `refuse`.",
        pattern="^(end_oldest|refuse)$",
    )
    SESSION_TOUCH_SECONDS: int = setting(
        60, "Last activity is written at most this often, in seconds.", ge=1, le=600
    )
    SESSION_BIND_IP: bool = setting(False, "End a session that is used from another address.")
    LOGIN_PENDING_MINUTES: int = setting(
        15, "Time to finish a sign-in once the password was accepted, in minutes.", ge=2, le=60
    )
    EMAIL_VERIFICATION_REQUIRED: bool = setting(
        False,
        "Whether a sign-in must confirm an unverified e-mail address; an account that still "
        "waits for its verification always must.",
    )
    STEP_UP_MINUTES: int = setting(
        10, "How long a fresh authentication stays fresh, in minutes.", ge=1, le=60
    )
    IAM_MAX_BODY_KIB: int = setting(256, "Largest request body on our pages, in KiB.", ge=16)

    def session_policy(self, actor_type: str) -> SessionPolicy:
        """Return the limits of `actor_type`; an unknown type is held to the strictest."""
        base = DEFAULT_POLICIES.get(actor_type, DEFAULT_POLICIES["super_admin"])
        changes = self.IAM_SESSION_POLICIES.get(actor_type)
        if not changes:
            return base
        try:
            return replace(base, **changes)  # type: ignore[arg-type]
        except TypeError:
            raise Misconfigured(f"IAM_SESSION_POLICIES: unknown limit for {actor_type}") from None
