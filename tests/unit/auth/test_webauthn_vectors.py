"""The verifier held to the test vectors of WebAuthn Level 3 (RP example.org).

Every registration and authentication that the specification publishes, for the
algorithms and attestation formats that are taken here; the others must be refused.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from app.auth.errors import PasskeyRefused
from app.auth.webauthn.webauthn_attestation import check_attestation
from app.auth.webauthn.webauthn_checks import (
    Expected,
    KnownKey,
    Used,
    verify_assertion,
    verify_registration,
)
from app.auth.webauthn.webauthn_keys import encode_key
from app.auth.webauthn.webauthn_parsing import (
    Assertion,
    Registration,
    encode,
    read_assertion,
    read_registration,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
# Name, algorithm, format; user verified and backup state at authentication; attested.
TAKEN = [
    ("none-es256", -7, "none", False, True, False),
    ("packed-self-es256", -7, "packed", False, False, False),
    ("none-es256-long-credential-id", -7, "none", True, False, False),
    ("packed-es256", -7, "packed", True, False, True),
    ("packed-es384", -35, "packed", True, False, True),
    ("packed-es512", -36, "packed", False, True, True),
    ("packed-rs256", -257, "packed", False, True, True),
    ("packed-eddsa", -8, "packed", False, False, True),
    # Its certInfo says 0x33 where a TPM says yes or no (01, 00): fido2 does not read it.
    ("tpm-es256", -7, "tpm", True, False, False),
    # A format that fido2 has no verifier for; taken where no attestation is demanded.
    ("android-key-es256", -7, "android-key", False, False, False),
    ("apple-es256", -7, "apple", False, False, True),
    ("fido-u2f-es256", -7, "fido-u2f", False, False, True),
]
REFUSED = [
    ("none-es256-crossOrigin", "cross_origin"),
    ("none-es256-topOrigin", "cross_origin"),
    ("packed-ed448", "algorithm"),
]


@cache
def published() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (Path(__file__).parent / "webauthn_vectors.json").read_text(encoding="utf-8")
    )
    return found


def root() -> x509.Certificate:
    return x509.load_der_x509_certificate(bytes.fromhex(published()["attestation_ca_cert"]))


def message(name: str, ceremony: str, *fields: str) -> dict[str, Any]:
    """Return a vector in the JSON form that a browser sends."""
    vector = published()["vectors"][name]
    credential_id = encode(bytes.fromhex(vector["registration"]["credential_id"]))
    return {
        "id": credential_id,
        "rawId": credential_id,
        "type": "public-key",
        "response": {item: encode(bytes.fromhex(vector[ceremony][item])) for item in fields},
    }


def registration(name: str) -> Registration:
    return read_registration(message(name, "registration", "clientDataJSON", "attestationObject"))


def assertion(name: str) -> Assertion:
    return read_assertion(
        message(name, "authentication", "clientDataJSON", "authenticatorData", "signature")
    )


def expected(name: str, ceremony: str, *, user_verification: bool = False) -> Expected:
    challenge = bytes.fromhex(published()["vectors"][name][ceremony]["challenge"])
    digest = hashlib.sha256(challenge).digest()
    return Expected(digest, "example.org", ("https://example.org",), user_verification)


def use(name: str, *, user_verification: bool = False) -> Used:
    answer = registration(name)
    key = KnownKey(
        encode_key(answer.credential.public_key),
        verify_registration(answer, expected(name, "registration")),
        0,
        answer.authenticator_data.backup_eligible,
    )
    asked = expected(name, "authentication", user_verification=user_verification)
    return verify_assertion(assertion(name), key, asked)


def test_the_vectors_are_all_here() -> None:
    names = {name for name, *_rest in TAKEN} | {name for name, _reason in REFUSED}
    assert names == set(published()["vectors"])


@pytest.mark.parametrize(("name", "algorithm", "fmt", "verified", "backup", "attested"), TAKEN)
def test_e2_a_published_registration_and_authentication_verify(
    name: str, algorithm: int, fmt: str, verified: bool, backup: bool, attested: bool
) -> None:
    answer = registration(name)
    assert verify_registration(answer, expected(name, "registration")) == algorithm
    assert answer.attestation.fmt == fmt
    assert use(name) == Used(verified, backup, 0, clone_suspected=False)


@pytest.mark.parametrize(("name", "algorithm", "fmt", "verified", "backup", "attested"), TAKEN)
def test_at_265_published_attestations_are_trusted_by_their_root_alone(
    name: str, algorithm: int, fmt: str, verified: bool, backup: bool, attested: bool
) -> None:
    answer = registration(name)
    if attested:
        check_attestation(answer, [root()], AT)
    else:
        with pytest.raises(PasskeyRefused):
            check_attestation(answer, [root()], AT)
    with pytest.raises(PasskeyRefused):
        check_attestation(answer, [], AT)


@pytest.mark.parametrize(("name", "reason"), REFUSED)
def test_at_261_at_262_what_is_not_taken_here_is_refused(name: str, reason: str) -> None:
    with pytest.raises(PasskeyRefused) as refusal:
        verify_registration(registration(name), expected(name, "registration"))
    assert refusal.value.details["reason"] == reason


@pytest.mark.parametrize("name", [name for name, *_rest in TAKEN])
def test_e2_user_verification_is_demanded_where_it_is_required(name: str) -> None:
    if assertion(name).authenticator_data.user_verified:
        assert use(name, user_verification=True).user_verified
        return
    with pytest.raises(PasskeyRefused) as refusal:
        use(name, user_verification=True)
    assert refusal.value.details["reason"] == "user_verification"


def test_e2_a_credential_id_may_have_1023_bytes() -> None:
    assert len(registration("none-es256-long-credential-id").credential.credential_id) == 1023
