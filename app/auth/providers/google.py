"""Google accounts, and those of Google Workspace domains.

Follows https://developers.google.com/identity/openid-connect/openid-connect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...core.i18n import N_
from ..sso.connection import Answer, Connection, Metadata
from ..sso.errors_sso import SsoRefused
from .form import Option, ProviderForm
from .oidc import OpenIdProvider

_OWN_DOMAINS = ("@gmail.com", "@googlemail.com")


class Google(OpenIdProvider):
    """Google by OpenID Connect."""

    name = "google"
    form = ProviderForm(
        title="Google",
        scopes=("openid", "email", "profile"),
        discovery_url="https://accounts.google.com/.well-known/openid-configuration",
        options=(
            Option(
                "hosted_domains",
                N_("Workspace domains"),
                N_("Separated by spaces. Leave empty to admit every Google account."),
            ),
        ),
    )

    def metadata(self, connection: Connection) -> Metadata:
        """Return what the discovery document says; the secret goes in the form."""
        return replace(super().metadata(connection), token_auth_methods=("client_secret_post",))

    def authorize_params(self, connection: Connection) -> Mapping[str, str]:
        """Return the scopes, and the domain whose accounts are to be offered."""
        domains = _domains(connection)
        wanted = {"hd": domains[0] if len(domains) == 1 else "*"} if domains else {}
        return {**super().authorize_params(connection), **wanted}

    def verified(
        self, connection: Connection, metadata: Metadata, answer: Answer
    ) -> dict[str, Any]:
        """Return the claims of an account of the domains that may sign in."""
        claims = super().verified(connection, metadata, answer)
        domain = claims.get("hd")
        allowed = _domains(connection)
        # The `hd` of the request is a wish that the person can take out of the address.
        if allowed and (not isinstance(domain, str) or domain.lower() not in allowed):
            raise SsoRefused("hosted_domain")
        # Google speaks for its own addresses and for those of Workspace; any other was
        # verified once and may have changed hands since.
        mail = str(claims.get("email", "")).lower()
        entitled = mail.endswith(_OWN_DOMAINS) or bool(domain)
        verified = claims.get("email_verified") is True and entitled
        return {**claims, "email_verified": verified}


def _domains(connection: Connection) -> list[str]:
    return connection.options.get("hosted_domains", "").lower().split()
