"""What a WebAuthn ceremony must show, check by check (WebAuthn Level 3, 7.1 and 7.2).

Pure: values in, a refusal or the outcome out. The refusal's reason is for the audit
trail; the person is told one sentence. Keys are `webauthn_keys`, attestation is
`webauthn_attestation`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ...core.crypto import same
from ..errors import PasskeyRefused
from .webauthn_keys import check_key, check_signature
from .webauthn_parsing import Assertion, AuthenticatorData, ClientData, Registration

CREATE, GET = "webauthn.create", "webauthn.get"


@dataclass(frozen=True, slots=True)
class Expected:
    """What this service asked for: the challenge by its digest, and where it is at home."""

    challenge_digest: bytes
    rp_id: str
    origins: tuple[str, ...]
    user_verification: bool


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What was stored of a credential when it was registered or used last."""

    public_key: bytes
    algorithm: int
    sign_count: int
    backup_eligible: bool


@dataclass(frozen=True, slots=True)
class Used:
    """What an accepted assertion tells about its authenticator now."""

    user_verified: bool
    backup_state: bool
    sign_count: int
    clone_suspected: bool


def verify_registration(answer: Registration, expected: Expected) -> int:
    """Hold a registration to 7.1, attestation aside; return its algorithm.

    Raises PasskeyRefused.
    """
    _check_client_data(answer.client_data, CREATE, expected)
    _check_authenticator(answer.authenticator_data, expected)
    return check_key(answer.credential.public_key)


def verify_assertion(answer: Assertion, key: KnownKey, expected: Expected) -> Used:
    """Hold an assertion to 7.2; who owns the credential is `check_owner`. Raises PasskeyRefused."""
    data = answer.authenticator_data
    _check_client_data(answer.client_data, GET, expected)
    _check_authenticator(data, expected)
    if data.backup_eligible != key.backup_eligible:  # may never change (AT-263)
        raise PasskeyRefused(reason="backup_flags")
    signed = data.raw + answer.client_data.digest
    check_signature(key.public_key, key.algorithm, signed, answer.signature)
    return Used(
        data.user_verified,
        data.backup_state,
        max(data.sign_count, key.sign_count),
        clone_suspected=_stands_still(data.sign_count, key.sign_count),
    )


def check_owner(answer: Assertion, handle: bytes | None, *, required: bool) -> None:
    """Hold the user handle to the credential's own account. Raises PasskeyRefused.

    Where nobody was named before, it must be there (7.2 step 6; AT-257).
    """
    if answer.user_handle is None and not required:
        return
    if answer.user_handle is None or handle is None or not same(answer.user_handle, handle):
        raise PasskeyRefused(reason="user_handle")


def _check_client_data(data: ClientData, ceremony: str, expected: Expected) -> None:
    if data.type != ceremony:
        raise PasskeyRefused(reason="type")
    if not same(hashlib.sha256(data.challenge).digest(), expected.challenge_digest):
        raise PasskeyRefused(reason="challenge")
    if data.origin not in expected.origins:  # exact: no prefix, suffix or pattern (AT-248)
        raise PasskeyRefused(reason="origin")
    if data.cross_origin or data.has_top_origin:  # nobody may embed our ceremonies (AT-262)
        raise PasskeyRefused(reason="cross_origin")


def _check_authenticator(data: AuthenticatorData, expected: Expected) -> None:
    if not same(data.rp_id_hash, hashlib.sha256(expected.rp_id.encode()).digest()):
        raise PasskeyRefused(reason="rp_id")
    if not data.user_present:
        raise PasskeyRefused(reason="user_presence")
    if expected.user_verification and not data.user_verified:
        raise PasskeyRefused(reason="user_verification")
    if data.backup_state and not data.backup_eligible:
        raise PasskeyRefused(reason="backup_flags")


def _stands_still(now: int, before: int) -> bool:
    # Synced passkeys count nothing and send 0; any other counter must grow (AT-255).
    return (now, before) != (0, 0) and now <= before
