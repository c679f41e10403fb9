"""A connection as the protocol side sees it: a value, its secret decrypted, its settings read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

OFF, INVITED, DOMAINS, OPEN = "off", "invited", "domains", "open"
JIT_MODES = (OFF, INVITED, DOMAINS, OPEN)

ENDPOINTS = (
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
    "end_session_endpoint",
    "emails_endpoint",
)
"""Names of addresses that a connection may override: RFC 8414 and OpenID Discovery names."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One way to one provider, ready to use."""

    id: UUID
    tenant_id: UUID
    slug: str
    provider: str
    name: str
    enabled: bool
    is_default: bool
    client_id: str
    client_secret: str = field(repr=False)
    discovery_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    jit: str = OFF
    trusts_mfa: bool = False
    allow_private: bool = False
    end_sessions: bool = True
    provider_logout: bool = False


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a provider answers and how it signs (RFC 8414, OpenID Connect Discovery 1.0).

    `issuer` is exact. A provider of plain OAuth 2.0 has neither keys nor algorithms.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None = None
    jwks_uri: str | None = None
    end_session_endpoint: str | None = None
    algorithms: tuple[str, ...] = ()
    token_auth_methods: tuple[str, ...] = ("client_secret_basic",)
    iss_parameter: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from the token endpoint, with what it must be held against.

    `tokens` is the token response (RFC 6749, 5.1); `nonce_digest` the keyed digest of the
    nonce that was sent; `form_user` what Apple posts beside the code.
    """

    tokens: Mapping[str, object] = field(repr=False)
    nonce_digest: bytes = field(repr=False)
    max_age: int | None = None
    form_user: Mapping[str, object] = field(default_factory=dict, repr=False)
