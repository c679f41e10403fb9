"""Who made an authenticator: attestation held to a list of trusted roots (Level 3, 8; AT-265).

Statements are checked by fido2; the chain, and what fido2 leaves out, is checked here.
Without a demand for attestation nothing is evaluated, and nothing is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.attestation.base import Attestation
from fido2.cose import CoseKey

from ..errors import PasskeyRefused
from .webauthn_parsing import Registration

FORMATS = ("packed", "tpm", "apple", "fido-u2f")
_AAGUID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
_LONGEST_CHAIN = 6


def check_attestation(
    answer: Registration, roots: Sequence[x509.Certificate], at: datetime
) -> None:
    """Demand that a trusted maker vouches for the new key at the time `at`.

    Refuses `none` and self attestation. Raises PasskeyRefused.
    """
    try:
        good = _is_vouched_for(answer, roots, at)
    except Exception:  # noqa: BLE001 - certificates of a stranger break parsers in many ways
        good = False
    if not good:
        raise PasskeyRefused(reason="attestation")


@lru_cache(maxsize=8)
def load_roots(path: str) -> tuple[x509.Certificate, ...]:
    """Return the trusted roots of a PEM file. Raises OSError, ValueError."""
    return tuple(x509.load_pem_x509_certificates(Path(path).read_bytes()))


def _is_vouched_for(answer: Registration, roots: Sequence[x509.Certificate], at: datetime) -> bool:
    found = answer.attestation
    if found.fmt not in FORMATS:
        return False
    verifier = Attestation.for_type(found.fmt)()
    result = verifier.verify(found.att_stmt, found.auth_data, answer.client_data.digest)
    if not result.trust_path:  # none and self attestation: nobody vouches
        return False
    chain = [x509.load_der_x509_certificate(item) for item in result.trust_path[:_LONGEST_CHAIN]]
    return _fits(found.fmt, chain, answer) and _is_trusted(chain, roots, at)


def _fits(fmt: str, chain: list[x509.Certificate], answer: Registration) -> bool:
    leaf, key = chain[0], answer.credential.public_key
    if fmt == "apple":  # 8.8: the certificate is about the credential's own key
        return CoseKey.for_alg(key[3]).from_cryptography_key(leaf.public_key()) == key
    if fmt == "fido-u2f":  # 8.6: one certificate, on P-256
        return len(chain) == 1 and isinstance(
            getattr(leaf.public_key(), "curve", None), ec.SECP256R1
        )
    return _names_model(leaf, answer)


def _names_model(leaf: x509.Certificate, answer: Registration) -> bool:
    try:
        named = leaf.extensions.get_extension_for_oid(_AAGUID).value
    except x509.ExtensionNotFound:
        return True
    expected = b"\x04\x10" + answer.credential.aaguid.bytes
    return isinstance(named, x509.UnrecognizedExtension) and named.value == expected


def _is_trusted(
    chain: list[x509.Certificate], roots: Iterable[x509.Certificate], at: datetime
) -> bool:
    if any(not (item.not_valid_before_utc <= at <= item.not_valid_after_utc) for item in chain):
        return False
    for child, parent in pairwise(chain):
        if not _is_authority(parent) or not _issued(parent, child):
            return False
    last = chain[-1]
    return any(root == last or _issued(root, last) for root in roots)


def _is_authority(certificate: x509.Certificate) -> bool:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def _issued(parent: x509.Certificate, child: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(parent)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
