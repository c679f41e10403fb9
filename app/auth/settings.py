"""Settings of sign-in, sessions and the pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from ..core.i18n import N_
from ..core.parsing.link_like import plain_label
from ..core.parsing.networks import Network, admits, parse_networks
from ..core.parsing.strict_json import read_object
from ..core.parsing.web_address import https_address
from ..core.settings import AT_MOST, ONLY_ON, CommaList, Section, setting


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Limits of one actor type's sessions (J2).

    `mfa_on_new_device` asks for a second step, or failing that for a confirmation by mail,
    in a browser not seen before, whatever the second-factor policy says. An address must lie
    in every one of `allow_lists`; none lets all in.
    """

    max_sessions: int
    absolute_minutes: int
    idle_minutes: int = 30
    remember_days: int = 0
    mfa_on_new_device: bool = False
    allow_lists: tuple[tuple[Network, ...], ...] = ()

    def admits(self, ip: str | None) -> bool:
        """Return whether a session may be opened and used from this address."""
        return all(admits(networks, ip) for networks in self.allow_lists)


DEFAULT_POLICIES = {
    "super_admin": SessionPolicy(3, 30, mfa_on_new_device=True),
    "partner_admin": SessionPolicy(5, 8 * 60),
    "client_admin": SessionPolicy(5, 8 * 60),
    "tenant_admin": SessionPolicy(5, 8 * 60),
    "end_user": SessionPolicy(10, 24 * 60, remember_days=30),
}
ACTOR_TYPES = tuple(DEFAULT_POLICIES)


def _readable(written: list[str]) -> list[str]:
    try:
        parse_networks(written)
    except ValueError as error:
        raise PydanticCustomError("networks", "{reason}", {"reason": str(error)}) from None
    return written


class _Limits(BaseModel):
    """One actor type's limits as they are written; what is not named stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    max_sessions: int | None = Field(None, ge=1, le=1000)
    absolute_minutes: int | None = Field(None, ge=1, le=60 * 24 * 400)
    idle_minutes: int | None = Field(None, ge=1, le=60 * 24 * 400)
    remember_days: int | None = Field(None, ge=0, le=400)
    mfa_on_new_device: bool | None = None
    allow_networks: Annotated[list[str], AfterValidator(_readable)] | None = None


_BY_TYPE = TypeAdapter(dict[str, _Limits])


def _policies(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return read_object(value)
        except ValueError:
            raise ValueError("must be a JSON object") from None
    return value


def _checked(value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    # At start, not at somebody's sign-in: an unknown name or an empty list stops it (AT-466).
    unknown = sorted(set(value) - set(ACTOR_TYPES))
    if unknown:
        raise ValueError(f"unknown actor types: {', '.join(unknown)}")
    found = _BY_TYPE.validate_python(value)
    return {name: limits.model_dump(exclude_none=True) for name, limits in found.items()}


def _not_blank(value: Any) -> Any:
    if isinstance(value, str) and not value.strip(" ,"):
        raise ValueError("an empty list of networks; leave the setting out")
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    if value:
        parse_networks(value)
    return value


Policies = Annotated[
    dict[str, dict[str, Any]], BeforeValidator(_policies), AfterValidator(_checked)
]


BrandName = Annotated[str, AfterValidator(plain_label)]
WebAddress = Annotated[str, AfterValidator(https_address)]
_ADDRESS = N_("An address such as https://example.com/page, with the name of a server.")
Networks = Annotated[CommaList, BeforeValidator(_not_blank), AfterValidator(_networks)]


class AuthSettings(Section):
    """Sign-in and sessions."""

    title: ClassVar[str] = "Sign-in, sessions and pages"

    IAM_AUTH_PREFIX: str = setting("/auth", "URL prefix of the sign-in pages.")
    IAM_ACCOUNT_PREFIX: str = setting("/account", "URL prefix of a person's own pages.")
    IAM_ADMIN_PREFIX: str = setting("/admin", "URL prefix of the administration pages.")
    IAM_SERVICE_PREFIX: str = setting("", "URL prefix of /healthz and of our static files.")
    IAM_ADMIN_ENABLED: bool = setting(True, "Whether the administration pages exist.")
    IAM_ACCOUNT_ENABLED: bool = setting(True, "Whether a person's own pages exist.")
    IAM_BRAND_NAME: BrandName = setting(
        "Identity",
        "Name shown on pages and in messages.",
        per_tenant=True,
        form=N_(
            "One line of at most 60 characters, without markup, an address or a telephone number."
        ),
        max_length=60,
    )
    IAM_BRAND_LOGO_URL: WebAddress = setting(
        "",
        "Address (https) of a logo, shown 32 pixels high; empty: ours.",
        per_tenant=True,
        form=_ADDRESS,
    )
    IAM_BRAND_ACCENT: str = setting(
        "",
        "Colour of buttons and links, such as #0f5c63; empty: ours. Shades that can be read on "
        "light and dark grounds are made of it.",
        per_tenant=True,
        form=N_("# and six hexadecimal digits, such as #0f5c63."),
        pattern=r"^(?:#[0-9A-Fa-f]{6})?$",
    )
    IAM_SUPPORT_URL: WebAddress = setting(
        "",
        "Address (https) of the help page that pages link to.",
        per_tenant=True,
        form=_ADDRESS,
    )
    IAM_PRIVACY_URL: WebAddress = setting(
        "",
        "Address (https) of the privacy notice that pages link to.",
        per_tenant=True,
        form=_ADDRESS,
    )
    IAM_TERMS_URL: WebAddress = setting(
        "",
        "Address (https) of the terms of use that pages link to.",
        per_tenant=True,
        form=_ADDRESS,
    )
    IAM_BASE_URL: str = setting(
        "", "Public address of this service, e.g. https://id.example.org; links in messages use it."
    )
    IAM_AFTER_LOGIN_URL: str = setting("/account", "Where a person lands without a `next`.")
    IAM_AFTER_LOGOUT_URL: str = setting("", "Where a person lands after sign-out; empty: our page.")
    IAM_LAYOUT_TEMPLATE: str = setting("iam/layout.html", "Base template of every page.")
    IAM_SESSION_POLICIES: Policies = setting(
        {},
        "JSON object, actor type to limits (max_sessions, absolute_minutes, idle_minutes, "
        "remember_days, mfa_on_new_device, allow_networks as a list of networks), over the "
        "defaults. A tenant's own limits only tighten these.",
        per_tenant=True,
        form=N_(
            "A JSON object: for super_admin, partner_admin, client_admin, tenant_admin or end_user "
            "an object with some of max_sessions, absolute_minutes, idle_minutes, remember_days, "
            "mfa_on_new_device and allow_networks."
        ),
    )
    IAM_SUPER_ADMIN_NETWORKS: Networks = setting(
        (),
        "Networks (IPv4 or IPv6, like 192.0.2.0/24) from which administrators of the platform "
        "may sign in and enter other tenants; empty: they sign in from anywhere, and enter none.",
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
        per_tenant=True,
        floor=ONLY_ON,
    )
    STEP_UP_MINUTES: int = setting(
        10,
        "How long a fresh authentication stays fresh, in minutes.",
        per_tenant=True,
        floor=AT_MOST,
        ge=1,
        le=60,
    )
    IAM_MAX_BODY_KIB: int = setting(256, "Largest request body on our pages, in KiB.", ge=16)

    def session_policy(
        self, actor_type: str, own: Mapping[str, Any] | None = None
    ) -> SessionPolicy:
        """Return the limits of `actor_type`; an unknown type is held to the strictest.

        `own` is what a tenant has set for itself: it tightens, and never loosens.
        """
        policy = DEFAULT_POLICIES.get(actor_type, DEFAULT_POLICIES["super_admin"])
        limits = _numbers(self.IAM_SESSION_POLICIES.get(actor_type))
        policy = replace(policy, **limits, allow_lists=self.allow_lists(actor_type, own))
        for name, value in _numbers(_own_limits(actor_type, own)).items():
            tighter = max if name == "mfa_on_new_device" else min
            policy = replace(policy, **{name: tighter(getattr(policy, name), value)})
        return policy

    def strictest_policy(
        self, kinds: Iterable[str], own: Mapping[str, Any] | None = None
    ) -> SessionPolicy:
        """Return the limits that hold for somebody who is of several kinds, each the tightest."""
        found, *others = (self.session_policy(kind, own) for kind in kinds)
        for other in others:
            found = SessionPolicy(
                min(found.max_sessions, other.max_sessions),
                min(found.absolute_minutes, other.absolute_minutes),
                min(found.idle_minutes, other.idle_minutes),
                min(found.remember_days, other.remember_days),
                found.mfa_on_new_device or other.mfa_on_new_device,
                found.allow_lists + other.allow_lists,
            )
        return found

    def allow_lists(
        self, actor_type: str, own: Mapping[str, Any] | None
    ) -> tuple[tuple[Network, ...], ...]:
        """Return the lists of networks that an address of `actor_type` must lie in, each one."""
        written = [
            (self.IAM_SESSION_POLICIES.get(actor_type) or {}).get("allow_networks"),
            self.IAM_SUPER_ADMIN_NETWORKS if actor_type == "super_admin" else None,
            _own_limits(actor_type, own).get("allow_networks"),
        ]
        return tuple(parse_networks(item) for item in written if item)


def _own_limits(actor_type: str, own: Mapping[str, Any] | None) -> dict[str, Any]:
    limits: dict[str, Any] = ((own or {}).get("IAM_SESSION_POLICIES") or {}).get(actor_type) or {}
    return limits


def _numbers(limits: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (limits or {}).items() if name != "allow_networks"}
