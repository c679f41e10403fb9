"""Connections as values, and trips to a provider, for tests of the protocol side."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from app.auth.providers import Provider, providers
from app.auth.sso.connection import Answer, Connection
from app.auth.sso.protocol.transport import authorization_url, exchange
from app.auth.sso.userinfo import UserInfo
from app.core.crypto import token_digest
from tests.support.lying_provider import LyingProvider

REDIRECT_URI = "https://sign-in.example.org/auth/sso/there/callback"


def a_connection(server: LyingProvider | None = None, **values: Any) -> Connection:
    """Return a connection of its own, to a local server where one is given."""
    known: dict[str, Any] = {
        "id": uuid.uuid4(),
        "tenant_id": uuid.uuid4(),
        "slug": "there",
        "provider": "oidc",
        "name": "There",
        "enabled": True,
        "is_default": False,
        "client_id": server.client_id if server else "a-client",
        "client_secret": server.client_secret if server else "a-secret-do-not-leak",
        "allow_private": server is not None,
    }
    if server is not None and "endpoints" not in values:
        known["discovery_url"] = server.discovery_url if "discovery" in server.PATHS else None
    return Connection(**{**known, **values})


@dataclass
class Trip:
    """One sign-in at a provider as the flow makes it, without a database."""

    connection: Connection
    state: str = field(default_factory=lambda: uuid.uuid4().hex)
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    code_verifier: str = field(default_factory=lambda: uuid.uuid4().hex * 2)
    max_age: int | None = None

    @property
    def provider(self) -> Provider:
        """Return the provider of the connection."""
        return providers().get(self.connection.provider)

    def url(self, **params: str) -> str:
        """Return where the browser is sent."""
        wished = {**self.provider.authorize_params(self.connection), **params}
        if self.max_age is not None:
            wished["max_age"] = str(self.max_age)
        return authorization_url(
            self.connection,
            self.provider.metadata(self.connection),
            redirect_uri=REDIRECT_URI,
            state=self.state,
            nonce=self.nonce,
            code_verifier=self.code_verifier,
            params=wished,
        )

    def redeem(self, code: str) -> dict[str, Any]:
        """Return what the token endpoint gives for a code."""
        return exchange(
            self.connection,
            self.provider.metadata(self.connection),
            self.provider,
            code=code,
            code_verifier=self.code_verifier,
            redirect_uri=REDIRECT_URI,
        )

    def answer(self, tokens: Mapping[str, Any], user: Mapping[str, Any] | None = None) -> Answer:
        """Return what the provider is to identify somebody by."""
        return Answer(tokens, token_digest(self.nonce), self.max_age, user or {})

    def sign_in(self, server: LyingProvider) -> UserInfo:
        """Go there and back in the query, and return who it was."""
        back = dict(parse_qsl(urlsplit(server.authorize(self.url())).query))
        assert back["state"] == self.state
        return self.provider.identify(self.connection, self.answer(self.redeem(back["code"])))
