"""What an administrator is asked for when a connection to a kind of provider is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Option:
    """A value that only one kind of provider needs. `label` and `hint` are translatable."""

    name: str
    label: str
    hint: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class ProviderForm:
    """What is asked for, and what is known without asking.

    `endpoints` are the provider's public addresses by the names of `sso/connection.ENDPOINTS`,
    each to be overridden by a connection; `needs_discovery` asks for a discovery URL;
    `secret_label` names what the secret is (translatable).
    """

    title: str
    scopes: tuple[str, ...]
    discovery_url: str | None = None
    needs_discovery: bool = False
    endpoints: Mapping[str, str] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    secret_label: str = "Client secret"  # noqa: S105 - a label
