"""Settings of passkeys and security keys, and the findings `iam.E4xx` and `iam.W4xx`.

RP id and origins come from here or from IAM_BASE_URL, never from a request. What a
tenant may choose for itself is marked; defaults follow WebAuthn Level 3 and passkeys.dev.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import ValidationInfo, field_validator

from ...core.checks import Finding
from ...core.i18n import N_
from ...core.settings import ONLY_ON, WITHIN, CommaList, Section, setting
from ..mfa.settings_mfa import MfaSettings
from ..settings import AuthSettings

_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    r"(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)
_DEFAULT_PORTS = {"https": 443, "http": 80}


class WebauthnSettings(Section):
    """How passkeys and security keys are registered and used."""

    title: ClassVar[str] = "Passkeys and security keys"

    WEBAUTHN_RP_ID: str = setting(
        "",
        "Domain that keys are bound to; empty: the host of `IAM_BASE_URL`. Changing it makes "
        "every registered key useless.",
    )
    WEBAUTHN_RP_NAME: str = setting(
        "", "Name that browsers show for it; empty: `IAM_BRAND_NAME`.", max_length=60
    )
    WEBAUTHN_ORIGINS: CommaList = setting(
        (), "Exact origins that may use keys; empty: the origin of `IAM_BASE_URL`."
    )
    WEBAUTHN_TIMEOUT_SECONDS: int = setting(
        300, "Time for a person to use a key, and the life of a challenge.", ge=60, le=600
    )
    WEBAUTHN_USER_VERIFICATION: Literal["required", "preferred", "discouraged"] = setting(
        "preferred",
        "PIN or biometrics where a key is the second step. Signing in by a passkey alone "
        "always requires them.",
        per_tenant=True,
        floor=("discouraged", "preferred", "required"),
    )
    WEBAUTHN_RESIDENT_KEY: Literal["required", "preferred", "discouraged"] = setting(
        "preferred",
        "Whether new keys shall be found without a username, as passkeys are.",
        per_tenant=True,
    )
    WEBAUTHN_TRUSTED_ROOTS: str = setting(
        "", "PEM file of the attestation roots that are trusted; needed for `direct`."
    )
    WEBAUTHN_ATTESTATION: Literal["none", "direct"] = setting(
        "none",
        "`direct`: only keys whose maker is vouched for by a trusted root are taken.",
        per_tenant=True,
        floor=("none", "direct"),
        form=N_("The installation trusts no maker of keys yet, so none can vouch for one."),
    )
    WEBAUTHN_ALLOWED_AAGUIDS: CommaList = setting(
        (),
        "Models of authenticators that may be registered; empty: every one.",
        per_tenant=True,
        floor=WITHIN,
        form=N_("Identifiers such as ee882879-721c-4913-9775-3dfcce97072a, with commas between."),
    )
    WEBAUTHN_REFUSE_CLONES: bool = setting(
        False,
        "Refuse a key whose signature counter did not grow, rather than only tell about it.",
        per_tenant=True,
        floor=ONLY_ON,
    )

    @field_validator("WEBAUTHN_ATTESTATION")
    @classmethod
    def _has_roots(cls, value: str, info: ValidationInfo) -> str:
        if value == "direct" and not info.data.get("WEBAUTHN_TRUSTED_ROOTS"):
            raise ValueError("direct needs WEBAUTHN_TRUSTED_ROOTS")
        return value

    @field_validator("WEBAUTHN_ALLOWED_AAGUIDS")
    @classmethod
    def _are_models(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(UUID(item)) for item in value)


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address as browsers write an origin; "" for none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host or parts.scheme not in _DEFAULT_PORTS:
        return ""
    shown = f"[{host}]" if ":" in host else host
    default = port in {None, _DEFAULT_PORTS[parts.scheme]}
    return f"{parts.scheme}://{shown}" if default else f"{parts.scheme}://{shown}:{port}"


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, which no key can be bound to."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def check(state: Any) -> Iterator[Finding]:
    """Yield the findings for a loaded extension (a `core.checks.Check`)."""
    settings = state.settings
    offered = "webauthn" in settings[MfaSettings].MFA_METHODS
    yield from findings(settings[WebauthnSettings], settings[AuthSettings], offered=offered)


def findings(
    settings: WebauthnSettings, auth: AuthSettings, *, offered: bool = True
) -> Iterator[Finding]:
    """Yield what is wrong or unwise in `settings`; `offered` tells whether keys may be added."""
    origins = settings.WEBAUTHN_ORIGINS or tuple(filter(None, [origin_of(auth.IAM_BASE_URL)]))
    rp_id = settings.WEBAUTHN_RP_ID or urlsplit(auth.IAM_BASE_URL).hostname or ""
    if offered and rp_id and (is_address(rp_id) or not _HOST.match(rp_id)):
        yield Finding("iam.E401", _no_domain(rp_id, settings))
    for origin in origins:
        host = urlsplit(origin).hostname or ""
        if origin_of(origin) != origin:
            yield Finding("iam.E402", f"WEBAUTHN_ORIGINS: {origin!r} is not exactly an origin")
        elif not origin.startswith("https://"):
            yield Finding("iam.E403", f"WebAuthn origin is not https: {origin}")
        if host != rp_id and not host.endswith(f".{rp_id}"):
            yield Finding("iam.E404", f"WEBAUTHN_RP_ID {rp_id!r} is no parent domain of {origin}")
    yield from _attestation(settings)


def _no_domain(rp_id: str, settings: WebauthnSettings) -> str:
    if settings.WEBAUTHN_RP_ID:
        return f"WEBAUTHN_RP_ID {rp_id!r} must be a domain in small letters"
    return (
        f"IAM_BASE_URL: passkeys need a domain, not {rp_id!r}; or leave webauthn out of MFA_METHODS"
    )


def _attestation(settings: WebauthnSettings) -> Iterator[Finding]:
    path = settings.WEBAUTHN_TRUSTED_ROOTS
    if path and not _holds_certificates(path):
        yield Finding("iam.E405", "WEBAUTHN_TRUSTED_ROOTS cannot be read as PEM certificates")
    if settings.WEBAUTHN_ALLOWED_AAGUIDS and settings.WEBAUTHN_ATTESTATION == "none":
        yield Finding(
            "iam.W401", "WEBAUTHN_ALLOWED_AAGUIDS without attestation: a model is only claimed"
        )


def _holds_certificates(path: str) -> bool:
    try:
        return b"-----BEGIN CERTIFICATE-----" in Path(path).read_bytes()
    except OSError:
        return False
