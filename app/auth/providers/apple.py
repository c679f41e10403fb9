"""Sign in with Apple.

Follows https://developer.apple.com/documentation/signinwithapplerestapi. The addresses are
Apple's published ones rather than discovered: the discovery document has named an issuer
that the tokens do not bear (June 2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from ...core import clock
from ...core.i18n import N_
from ..sso.connection import Answer, Connection, Metadata
from ..sso.errors_sso import SsoUnavailable
from ..sso.protocol.metadata import from_addresses
from ..sso.userinfo import UserInfo
from .claims import person
from .form import Option, ProviderForm
from .oidc import OpenIdProvider

_AUDIENCE = "https://appleid.apple.com"
_SECRET_SECONDS = 300


class Apple(OpenIdProvider):
    """Apple, whose client secret is a token that we sign for each exchange."""

    name = "apple"
    form = ProviderForm(
        title="Apple",
        scopes=("name", "email"),
        endpoints={
            "issuer": _AUDIENCE,
            "authorization_endpoint": "https://appleid.apple.com/auth/authorize",
            "token_endpoint": "https://appleid.apple.com/auth/token",
            "jwks_uri": "https://appleid.apple.com/auth/keys",
        },
        options=(
            Option("team_id", N_("Team id"), required=True),
            Option("key_id", N_("Key id"), required=True),
        ),
        secret_label=N_("Private key (PEM)"),
    )

    def metadata(self, connection: Connection) -> Metadata:
        """Return Apple's addresses, the connection's own in place of the public ones."""
        found = from_addresses(connection, self.form.endpoints)
        return replace(found, token_auth_methods=("client_secret_post",))

    def authorize_params(self, connection: Connection) -> Mapping[str, str]:
        """Return the scopes; with any, Apple answers by form post only."""
        scopes = connection.scopes or self.form.scopes
        return {"scope": " ".join(scopes), "response_mode": "form_post"}

    def client_secret(self, connection: Connection) -> str:
        """Return a signed statement of who we are. Raises SsoUnavailable for a bad key."""
        options, at = connection.options, int(clock.now().timestamp())
        claims = {
            "iss": options.get("team_id", ""),
            "iat": at,
            "exp": at + _SECRET_SECONDS,
            "aud": _AUDIENCE,
            "sub": connection.client_id,
        }
        # A setting in one line holds the line ends of the PEM as "\n".
        pem = connection.client_secret.replace("\\n", "\n").strip()
        try:
            key = ECKey.import_key(pem)
            return jwt.encode({"alg": "ES256", "kid": options.get("key_id", "")}, claims, key)
        except (JoseError, ValueError, TypeError, LookupError):
            raise SsoUnavailable("private_key") from None

    def identify(self, connection: Connection, answer: Answer) -> UserInfo:
        """Verify the ID token; the name is told once, beside the code.

        Nothing signs what stands beside the code, so it gives a name and nothing else.
        """
        metadata = self.metadata(connection)
        claims = self.verified(connection, metadata, answer)
        said = {**claims, **_names(answer.form_user.get("name"))}
        return person(
            said,
            issuer=metadata.issuer,
            subject=claims["sub"],
            email_verified=claims.get("email_verified") in (True, "true"),
        )


def _names(told: object) -> dict[str, Any]:
    if not isinstance(told, dict):
        return {}
    given, family = told.get("firstName"), told.get("lastName")
    whole = " ".join(part for part in (given, family) if isinstance(part, str))
    return {"given_name": given, "family_name": family, "name": whole}
