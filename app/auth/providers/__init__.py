"""Identity providers: one class in one file each, and a line in `BUILT_IN` (A7, G1).

A further provider comes as an entry point of the group `iam.providers`. It tells its
addresses, what it wants in a request, and how its answer becomes a `UserInfo`; it reaches
the network through `sso/protocol/transport.py` only, stores nothing, and never decides who enters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

from ...core.registry import Registry
from ..sso.connection import Answer, Connection, Metadata
from ..sso.userinfo import UserInfo
from .apple import Apple
from .azure import Azure
from .facebook import Facebook
from .form import Option, ProviderForm
from .github import GitHub
from .google import Google
from .oidc import Oidc

ENTRY_POINTS = "iam.providers"


class Provider(Protocol):
    """One kind of provider. `form` is what an administrator is asked for."""

    @property
    def name(self) -> str: ...
    @property
    def form(self) -> ProviderForm: ...

    def metadata(self, connection: Connection) -> Metadata:
        """Return its addresses. Raises SsoUnavailable."""

    def authorize_params(self, connection: Connection) -> Mapping[str, str]:
        """Return what its authorization request has beyond RFC 6749 (`response_mode`, …)."""

    def client_secret(self, connection: Connection) -> str:
        """Return the secret for its token endpoint."""

    def identify(self, connection: Connection, answer: Answer) -> UserInfo:
        """Check an answer and return who it speaks of. Raises SsoRefused, SsoUnavailable."""


BUILT_IN: tuple[Provider, ...] = (Oidc(), Azure(), Google(), GitHub(), Facebook(), Apple())


@cache
def providers() -> Registry[Provider]:
    """Return every known provider by name."""
    registry: Registry[Provider] = Registry("identity provider")
    for item in BUILT_IN:
        registry.add(item)
    for point in entry_points(group=ENTRY_POINTS):
        registry.add(point.load()())
    return registry


__all__ = ["Option", "Provider", "ProviderForm", "providers"]
