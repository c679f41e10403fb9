"""Ceremonies with keys that exist: what the browser is asked, and a person's keys (E1, E2).

Registration is `services_webauthn_register`, the second step `factors/webauthn.py`,
sign-in by a passkey alone `services_passkey`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from ..core.db import session
from ..core.errors import Forbidden, NotFound
from ..core.i18n import _
from ..tenancy.services_settings import effective
from .factors import AAL1, AAL3
from .mfa import services_factors
from .mfa.services_factors import WEBAUTHN
from .mfa.settings_mfa import MfaSettings
from .models import IAMUserAccount, IAMWebauthnCredential
from .webauthn import aaguids, services_webauthn_challenges
from .webauthn.relying_party import relying_party
from .webauthn.services_webauthn_challenges import PASSKEY, Bound
from .webauthn.settings_webauthn import WebauthnSettings
from .webauthn.webauthn_parsing import Assertion, credential_digest, encode

_K = IAMWebauthnCredential


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a person may know of a key of theirs."""

    authenticator: str
    synced: bool
    last_used_at: datetime | None
    clone_suspected_at: datetime | None


def is_offered() -> bool:
    """Return whether keys may be used here at all."""
    return WEBAUTHN in effective(MfaSettings).MFA_METHODS


def passkey_options(browser: bytes) -> dict[str, Any]:
    """Return what a browser is asked to sign in by a passkey alone; joins the transaction.

    Names no credential, so nothing shows who has one (AT-015). Raises Forbidden.
    """
    if not is_offered():
        raise Forbidden(_("Passkeys are not used here"), code="webauthn.not_offered")
    challenge = services_webauthn_challenges.issue(Bound(PASSKEY, browser))
    return _request(challenge, "required")


def factor_options(
    user: IAMUserAccount,
    purpose: str,
    *,
    session_id: UUID | None,
    browser: bytes,
    minimum: str = AAL1,
) -> dict[str, Any]:
    """Return what a browser is asked where a key is the second step; joins the transaction.

    Raises NotFound where the person has no key that reaches `minimum`.
    """
    ways = services_factors.ways(user, minimum)
    ids = [way.method_id for way in ways if way.method == WEBAUTHN]
    keys = [row for row in _rows(user.id) if row.mfa_method_id in ids]
    if not keys:
        raise NotFound(code="mfa.method_unknown")
    bound = Bound(purpose, browser, user.id, session_id)
    options = _request(services_webauthn_challenges.issue(bound), _verification(minimum))
    return {**options, "allowCredentials": [descriptor(row) for row in keys]}


def way_of(user: IAMUserAccount, answer: Assertion) -> str:
    """Return the id of the factor that an assertion claims to come from; the kind otherwise."""
    found = session().scalar(
        select(_K.mfa_method_id).where(
            _K.user_id == user.id,
            _K.credential_digest == credential_digest(answer.credential_id),
        )
    )
    return str(found) if found is not None else WEBAUTHN


def keys_of(user_id: UUID) -> dict[UUID, KeyInfo]:
    """Return what is known of a person's keys, by the id of their factor."""
    return {
        row.mfa_method_id: KeyInfo(
            aaguids.name_of(row.aaguid),
            row.backup_state,
            row.last_used_at,
            row.clone_suspected_at,
        )
        for row in _rows(user_id)
    }


def descriptor(row: IAMWebauthnCredential) -> dict[str, Any]:
    """Return a PublicKeyCredentialDescriptorJSON."""
    found: dict[str, Any] = {"type": "public-key", "id": encode(row.credential_id)}
    return {**found, "transports": row.transports} if row.transports else found


def descriptors(user_id: UUID) -> list[dict[str, Any]]:
    """Return all keys of a person, for `excludeCredentials`."""
    return [descriptor(row) for row in _rows(user_id)]


def timeout() -> int:
    """Return how many milliseconds a browser may take."""
    return WebauthnSettings.current().WEBAUTHN_TIMEOUT_SECONDS * 1000


def _request(challenge: bytes, user_verification: str) -> dict[str, Any]:
    return {
        "challenge": encode(challenge),
        "rpId": relying_party().id,
        "timeout": timeout(),
        "userVerification": user_verification,
    }


def _verification(minimum: str) -> str:
    if minimum == AAL3:
        return "required"
    return effective(WebauthnSettings).WEBAUTHN_USER_VERIFICATION


def _rows(user_id: UUID) -> list[IAMWebauthnCredential]:
    return list(session().scalars(select(_K).where(_K.user_id == user_id).order_by(_K.id)))
