"""Any OpenID provider, found by its discovery document (OpenID Connect Core 1.0).

Also what the providers that speak OpenID Connect have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.i18n import N_
from ..sso.connection import Answer, Connection, Metadata
from ..sso.errors_sso import SsoRefused, SsoUnavailable
from ..sso.protocol import id_token
from ..sso.protocol.metadata import WELL_KNOWN, discover
from ..sso.protocol.transport import get_json
from ..sso.userinfo import UserInfo
from .claims import person
from .form import Option, ProviderForm

# What is about the sign-in and not the person: from the signed token or not at all.
_OF_TOKEN = {
    "iss", "aud", "exp", "iat", "nbf", "azp", "nonce", "at_hash", "amr", "acr", "auth_time", "sid",
}  # fmt: skip


class OpenIdProvider:
    """A provider whose ID token says who signed in."""

    name: str
    form: ProviderForm

    def metadata(self, connection: Connection) -> Metadata:
        """Return what the discovery document says. Raises SsoRefused, SsoUnavailable."""
        issuer = connection.endpoints.get("issuer")
        implied = f"{issuer.rstrip('/')}{WELL_KNOWN}" if issuer else self.form.discovery_url
        return discover(connection, connection.discovery_url or implied or "")

    def authorize_params(self, connection: Connection) -> Mapping[str, str]:
        """Return the scopes; `openid` is always among them."""
        scopes = connection.scopes or self.form.scopes
        return {"scope": " ".join(dict.fromkeys(("openid", *scopes)))}

    def client_secret(self, connection: Connection) -> str:
        """Return the secret for its token endpoint."""
        return connection.client_secret

    def identify(self, connection: Connection, answer: Answer) -> UserInfo:
        """Verify the ID token and return who it speaks of. Raises SsoRefused, SsoUnavailable."""
        metadata = self.metadata(connection)
        claims = self.verified(connection, metadata, answer)
        return person(
            claims,
            issuer=metadata.issuer,
            subject=claims["sub"],
            email_verified=claims.get("email_verified"),
        )

    def verified(
        self, connection: Connection, metadata: Metadata, answer: Answer
    ) -> dict[str, Any]:
        """Return the claims of the answer's ID token. Raises SsoRefused, SsoUnavailable."""
        access_token = answer.tokens.get("access_token")
        return id_token.verify(
            connection,
            metadata,
            answer.tokens.get("id_token"),
            nonce_digest=answer.nonce_digest,
            access_token=access_token if isinstance(access_token, str) else None,
            max_age=answer.max_age,
        )


class Oidc(OpenIdProvider):
    """Generic OpenID Connect."""

    name = "oidc"
    form = ProviderForm(
        title="OpenID Connect",
        scopes=("openid", "email", "profile"),
        needs_discovery=True,
        options=(
            Option(
                "mfa_acr",
                N_("Values of “acr” that mean two factors"),
                N_("Separated by spaces; used only where the connection is trusted for this."),
            ),
            Option(
                "logout_typ",
                N_("Accepted type of logout tokens"),
                N_("Leave empty for the standard; “any” for providers that send no type."),
            ),
        ),
    )

    def verified(
        self, connection: Connection, metadata: Metadata, answer: Answer
    ) -> dict[str, Any]:
        """Return the ID token's claims, and those that only the userinfo endpoint tells.

        It is always asked where there is one: groups are often told nowhere else.
        """
        claims = super().verified(connection, metadata, answer)
        if metadata.userinfo_endpoint is None:
            return claims
        more = _userinfo(connection, metadata.userinfo_endpoint, answer, claims["sub"])
        # Whether an address is verified is said beside that address.
        (more if "email" in claims else claims).pop("email_verified", None)
        return {**more, **claims}


def _userinfo(connection: Connection, url: str, answer: Answer, subject: str) -> dict[str, Any]:
    """Return what the userinfo endpoint says of the same person.

    A signed answer (JWT) is no JSON and so refused.
    """
    found = get_json(connection, url, access_token=str(answer.tokens.get("access_token")))
    if not isinstance(found, dict):
        raise SsoUnavailable("userinfo")
    # Core 5.3.2: an answer about somebody else must not be used (AT-189).
    if found.get("sub") != subject:
        raise SsoRefused("userinfo_sub")
    return {name: value for name, value in found.items() if name not in _OF_TOKEN}
