"""Settings of single sign-on, and of connections that an installation makes by settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from ...core.checks import Finding
from ...core.parsing.strict_json import read_object
from ...core.runtime import State
from ...core.settings import CommaList, Section, setting


def _object(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return read_object(value)
        except ValueError:
            raise ValueError("must be a JSON object") from None
    return value


Endpoints = Annotated[dict[str, dict[str, str]], BeforeValidator(_object)]
_ID = "Client id of this installation at {}; sets up a connection called `{}`."
_SECRET = "Client secret at {}."  # noqa: S105 - a description


class SsoSettings(Section):
    """Single sign-on."""

    title: ClassVar[str] = "Single sign-on"

    SSO_FLOW_MINUTES: int = setting(
        10, "Time to come back from a provider, in minutes.", ge=2, le=60
    )
    SSO_TIMEOUT_SECONDS: int = setting(
        10, "How long a provider may take for one answer, in seconds.", ge=1, le=10
    )
    SSO_CLOCK_SKEW_SECONDS: int = setting(
        60, "How far a provider's clock may be off, in seconds.", ge=0, le=60
    )
    SSO_LINK_MINUTES: int = setting(
        10,
        "Time to sign in to an existing account in order to link an identity to it, in minutes.",
        ge=2,
        le=30,
    )
    SSO_JIT: str = setting(
        "off",
        "Who gets an account at the first sign-in through a connection of these settings: `off`, "
        "`invited`, `domains` (verified ones) or `open`.",
        pattern="^(off|invited|domains|open)$",
    )
    SSO_ALLOW_PRIVATE: bool = setting(
        False,
        "Whether connections may reach private networks and do without TLS: those of these "
        "settings do, and a tenant's administrator may say so of others.",
    )
    SSO_ENDPOINTS: Endpoints = setting(
        {},
        "JSON object, provider to addresses in place of its public ones (`issuer`, "
        "`authorization_endpoint`, `token_endpoint`, `userinfo_endpoint`, `jwks_uri`, "
        "`end_session_endpoint`, `emails_endpoint`): GitHub Enterprise, sovereign clouds.",
    )
    OIDC_NAME: str = setting("Single sign-on", "Name on the button of the generic connection.")
    OIDC_DISCOVERY_URL: str = setting(
        "",
        "Discovery document of a generic OpenID provider (`…/.well-known/openid-configuration`).",
    )
    OIDC_CLIENT_ID: str = setting("", _ID.format("that provider", "oidc"))
    OIDC_CLIENT_SECRET: str = setting("", _SECRET.format("that provider"), secret=True)
    GOOGLE_CLIENT_ID: str = setting("", _ID.format("Google", "google"))
    GOOGLE_CLIENT_SECRET: str = setting("", _SECRET.format("Google"), secret=True)
    GOOGLE_HOSTED_DOMAINS: CommaList = setting(
        (), "Workspace domains whose people may sign in; empty: every Google account."
    )
    AZURE_CLIENT_ID: str = setting("", _ID.format("Microsoft Entra ID", "azure"))
    AZURE_CLIENT_SECRET: str = setting("", _SECRET.format("Microsoft Entra ID"), secret=True)
    AZURE_TENANT_IDS: CommaList = setting(
        (), "Entra tenants (GUIDs) whose people may sign in; at least one."
    )
    GITHUB_CLIENT_ID: str = setting("", _ID.format("GitHub", "github"))
    GITHUB_CLIENT_SECRET: str = setting("", _SECRET.format("GitHub"), secret=True)
    FACEBOOK_CLIENT_ID: str = setting("", _ID.format("Facebook", "facebook"))
    FACEBOOK_CLIENT_SECRET: str = setting("", _SECRET.format("Facebook"), secret=True)
    APPLE_CLIENT_ID: str = setting("", _ID.format("Apple (the Services ID)", "apple"))
    APPLE_TEAM_ID: str = setting("", "Team id of the Apple developer account.")
    APPLE_KEY_ID: str = setting("", "Key id of the key for Sign in with Apple.")
    APPLE_PRIVATE_KEY: str = setting(
        "", "That key, PEM (PKCS #8, P-256); better by `APPLE_PRIVATE_KEY_FILE`.", secret=True
    )


# What a provider needs beside its client id.
_NEEDED = {
    "OIDC": ("OIDC_CLIENT_SECRET", "OIDC_DISCOVERY_URL"),
    "GOOGLE": ("GOOGLE_CLIENT_SECRET",),
    "AZURE": ("AZURE_CLIENT_SECRET", "AZURE_TENANT_IDS"),
    "GITHUB": ("GITHUB_CLIENT_SECRET",),
    "FACEBOOK": ("FACEBOOK_CLIENT_SECRET",),
    "APPLE": ("APPLE_TEAM_ID", "APPLE_KEY_ID", "APPLE_PRIVATE_KEY"),
}


def check(found: State) -> Iterator[Finding]:
    """Yield what is half set up: a button that would lead nowhere, a secret without its client."""
    settings = found.section(SsoSettings)
    for provider, names in _NEEDED.items():
        client = f"{provider}_CLIENT_ID"
        given = [name for name in names if getattr(settings, name)]
        if getattr(settings, client) and len(given) < len(names):
            missing = ", ".join(name for name in names if name not in given)
            yield Finding("iam.E601", f"{client} is set without {missing}")
        elif given and not getattr(settings, client):
            yield Finding("iam.E601", f"{given[0]} is set without {client}")
    url = settings.OIDC_DISCOVERY_URL
    if url and not url.startswith("https://") and not settings.SSO_ALLOW_PRIVATE:
        yield Finding("iam.E602", "OIDC_DISCOVERY_URL must begin with https://")
