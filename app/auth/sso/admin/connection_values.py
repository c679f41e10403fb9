"""What a connection may be: its short name, addresses, scopes, options and attributes. Pure.

Every address is https, unless the connection may reach private networks; whether it may is the
installation's decision and not a tenant's (AT-197). What a kind of provider asks for comes from
its `ProviderForm`; anything else is refused, so that nothing is stored that nobody reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from ....core.errors import InvalidInput
from ....core.i18n import N_
from ...identity import check_display_name
from ...providers import ProviderForm
from ..attributes import ATTRIBUTES, check_path
from ..connection import ENDPOINTS, JIT_MODES, OFF
from ..protocol.metadata import WELL_KNOWN

RESERVED_SLUGS = frozenset({"login", "discover", "link"})
MAX_NAME, MAX_URL, MAX_TEXT, MAX_SECRET = 80, 500, 500, 8000
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")  # RFC 6749, 3.3
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
_URL = re.compile(r"[\x21-\x7e]+")
_PEM = re.compile(r"[\x20-\x7e\r\n\t]+")


@dataclass(frozen=True, slots=True)
class Values:
    """What an administrator says of a connection, secret apart."""

    name: str
    client_id: str = ""
    discovery_url: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    jit: str = OFF
    trusts_mfa: bool = False
    allow_private: bool = False
    end_sessions: bool = True
    provider_logout: bool = False


def check_slug(text: str) -> str:
    """Return a connection's short name, which its redirect URI carries. Raises InvalidInput."""
    if not _SLUG.fullmatch(text) or text in RESERVED_SLUGS:
        raise InvalidInput(
            N_("Use up to 63 small letters, digits and hyphens; some words are taken"),
            field="slug",
        )
    return text


def check_secret(text: str) -> str:
    """Return a client secret. Raises InvalidInput, which does not repeat it."""
    if not text or len(text) > MAX_SECRET or not _PEM.fullmatch(text):
        raise InvalidInput(N_("Enter the secret as the provider shows it"), field="client_secret")
    return text


def checked_flags(values: Values, *, may_be_private: bool) -> dict[str, object]:
    """Return what may change on any connection, also on one from the settings.

    Raises InvalidInput.
    """
    if values.jit not in JIT_MODES:
        raise InvalidInput(field="jit")
    if values.allow_private and not may_be_private:
        raise InvalidInput(
            N_("This installation does not let connections reach private networks"),
            field="allow_private",
        )
    name = check_display_name(values.name, field="name", longest=MAX_NAME)
    if not name:
        raise InvalidInput(N_("Enter a name."), field="name")
    return {
        "name": name,
        "jit": values.jit,
        "trusts_mfa": values.trusts_mfa,
        "allow_private": values.allow_private,
        "end_sessions": values.end_sessions,
        "provider_logout": values.provider_logout,
        "attributes": _attributes(values.attributes),
    }


def checked_protocol(values: Values, form: ProviderForm) -> dict[str, object]:
    """Return where a connection leads and as whom. Raises InvalidInput."""
    if not _VISIBLE.fullmatch(values.client_id):
        raise InvalidInput(N_("Enter the client ID as the provider shows it"), field="client_id")
    endpoints = _endpoints(values.endpoints, values.allow_private)
    return {
        "client_id": values.client_id,
        "discovery_url": _discovery(values, endpoints, form),
        "endpoints": endpoints,
        "scopes": list(_scopes(values.scopes, form)),
        "options": _options(values.options, form),
    }


def _discovery(values: Values, endpoints: Mapping[str, str], form: ProviderForm) -> str | None:
    url = values.discovery_url
    if not url and form.needs_discovery and "issuer" not in endpoints:
        raise InvalidInput(N_("Enter the address of the discovery document"), field="discovery_url")
    if not url:
        return None
    _check_url(url, "discovery_url", values.allow_private)
    # The issuer is held against the address; elsewhere it must be named (Discovery 1.0, 4.3).
    if not url.endswith(WELL_KNOWN) and "issuer" not in endpoints:
        raise InvalidInput(
            N_("The address must end with /.well-known/openid-configuration"),
            field="discovery_url",
        )
    return url


def _endpoints(given: Mapping[str, str], allow_private: bool) -> dict[str, str]:
    found = {name: url for name, url in given.items() if url}
    for name, url in found.items():
        if name not in ENDPOINTS:
            raise InvalidInput(field=f"endpoint_{name}")
        _check_url(url, f"endpoint_{name}", allow_private)
    return found


def _check_url(url: str, name: str, allow_private: bool) -> None:
    parts = _parsed(url)
    if parts is None or len(url) > MAX_URL or not _URL.fullmatch(url):
        raise InvalidInput(N_("Enter a complete address"), field=name)
    if "@" in parts.netloc or "#" in url:
        raise InvalidInput(N_("Enter the address without a password or a “#”"), field=name)
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise InvalidInput(N_("The address must begin with https://"), field=name)


def _parsed(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if usable else None


def _scopes(given: tuple[str, ...], form: ProviderForm) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(given))
    if len(scopes) > 20 or not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise InvalidInput(N_("Enter scopes separated by spaces"), field="scopes")
    if scopes and "openid" in form.scopes and "openid" not in scopes:
        raise InvalidInput(N_("The scope “openid” must be among them"), field="scopes")
    return scopes


def _options(given: Mapping[str, str], form: ProviderForm) -> dict[str, str]:
    known = {option.name: option for option in form.options}
    found = {name: value for name, value in given.items() if value}
    for name, value in found.items():
        if name not in known:
            raise InvalidInput(field=f"option_{name}")
        if len(value) > MAX_TEXT or not value.isprintable():
            raise InvalidInput(N_("That is too long or cannot be read"), field=f"option_{name}")
    for name, option in known.items():
        if option.required and not found.get(name):
            raise InvalidInput(N_("This is needed for this provider"), field=f"option_{name}")
    return found


def _attributes(given: Mapping[str, str]) -> dict[str, str]:
    found = {name: claim for name, claim in given.items() if claim}
    for name, claim in found.items():
        if name not in ATTRIBUTES:
            raise InvalidInput(field=f"attribute_{name}")
        try:
            check_path(claim)
        except InvalidInput as refusal:
            raise InvalidInput(refusal.title, field=f"attribute_{name}") from None
    return found
