"""What providers of plain OAuth 2.0 have in common: published addresses, no ID token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..sso.connection import Answer, Connection, Metadata
from ..sso.errors_sso import SsoRefused, SsoUnavailable
from ..sso.protocol.metadata import from_addresses
from .form import ProviderForm


class OAuthProvider:
    """A provider that is asked, with the access token, whom it was given for."""

    name: str
    form: ProviderForm

    def metadata(self, connection: Connection) -> Metadata:
        """Return its addresses, the connection's own in place of the public ones."""
        found = from_addresses(connection, self.form.endpoints)
        return replace(found, token_auth_methods=("client_secret_post",))

    def authorize_params(self, connection: Connection) -> Mapping[str, str]:
        """Return the scopes."""
        return {"scope": " ".join(connection.scopes or self.form.scopes)}

    def client_secret(self, connection: Connection) -> str:
        """Return the secret for its token endpoint."""
        return connection.client_secret

    def asked(self, connection: Connection, answer: Answer) -> tuple[Metadata, str, str]:
        """Return metadata, userinfo endpoint and access token, once they can be used.

        Raises SsoRefused where a fresh sign-in was asked for: nothing here could prove it
        (AT-200).
        """
        if answer.max_age is not None:
            raise SsoRefused("auth_time")
        metadata = self.metadata(connection)
        token = answer.tokens.get("access_token")
        if metadata.userinfo_endpoint is None:
            raise SsoUnavailable("userinfo_endpoint")
        if not isinstance(token, str):
            raise SsoRefused("access_token")
        return metadata, metadata.userinfo_endpoint, token
