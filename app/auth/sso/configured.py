"""Connections that an installation makes by settings (`GOOGLE_CLIENT_ID` and its peers).

They belong to the default tenant. A row stands for each once somebody uses it, so that
identities and flows have what to refer to; what it holds of secrets stays in the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..providers import providers
from .settings_sso import SsoSettings


@dataclass(frozen=True, slots=True)
class Configured:
    """What the settings say of one provider."""

    provider: str
    name: str
    client_id: str
    client_secret: str = field(repr=False)
    discovery_url: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def configured() -> dict[str, Configured]:
    """Return what the settings set up, by provider."""
    settings = SsoSettings.current()
    found = [
        Configured(
            "oidc",
            settings.OIDC_NAME,
            settings.OIDC_CLIENT_ID,
            settings.OIDC_CLIENT_SECRET,
            settings.OIDC_DISCOVERY_URL,
        ),
        Configured(
            "google",
            _title("google"),
            settings.GOOGLE_CLIENT_ID,
            settings.GOOGLE_CLIENT_SECRET,
            options={"hosted_domains": " ".join(settings.GOOGLE_HOSTED_DOMAINS)},
        ),
        Configured(
            "azure",
            _title("azure"),
            settings.AZURE_CLIENT_ID,
            settings.AZURE_CLIENT_SECRET,
            options={"tenants": " ".join(settings.AZURE_TENANT_IDS)},
        ),
        Configured(
            "github", _title("github"), settings.GITHUB_CLIENT_ID, settings.GITHUB_CLIENT_SECRET
        ),
        Configured(
            "facebook",
            _title("facebook"),
            settings.FACEBOOK_CLIENT_ID,
            settings.FACEBOOK_CLIENT_SECRET,
        ),
        Configured(
            "apple",
            _title("apple"),
            settings.APPLE_CLIENT_ID,
            settings.APPLE_PRIVATE_KEY,
            options={"team_id": settings.APPLE_TEAM_ID, "key_id": settings.APPLE_KEY_ID},
        ),
    ]
    return {item.provider: item for item in found if item.client_id}


def _title(provider: str) -> str:
    return providers().get(provider).form.title
