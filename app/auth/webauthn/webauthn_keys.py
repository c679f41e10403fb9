"""Public keys of credentials: which are taken, and what their signatures prove (RFC 9053).

Key type, curve and size must fit the algorithm; verification is fido2's. RS1 is not
here: SHA-1 proves nothing any more (AT-261).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from fido2 import cbor
from fido2.cose import CoseKey

from ..errors import PasskeyRefused

EDDSA, ES256, ES384, ES512, PS256, RS256 = -8, -7, -35, -36, -37, -257
_KTY, _ALG, _CRV, _X, _Y, _N, _E = 1, 3, -1, -2, -3, -1, -2
_OKP, _EC2, _RSA, _ED25519 = 1, 2, 3, 6
_RSA_BITS = range(2048, 8193)
_F4 = (65537).to_bytes(3, "big")


def check_key(key: Mapping[int, Any]) -> int:
    """Return the algorithm of a new key that we take. Raises PasskeyRefused."""
    algorithm = key.get(_ALG)
    check = _CHECKS.get(algorithm) if isinstance(algorithm, int) else None
    if check is None:
        raise PasskeyRefused(reason="algorithm")
    try:
        good = check(key)
    except (KeyError, TypeError, ValueError):  # a part is missing, or a point off its curve
        good = False
    if not good:
        raise PasskeyRefused(reason="public_key")
    return int(algorithm)  # type: ignore[arg-type]


def check_signature(key: bytes, algorithm: int, message: bytes, signature: bytes) -> None:
    """Hold a signature to a stored key and the algorithm stored with it. Raises PasskeyRefused."""
    found = CoseKey.parse(cbor.decode(key))  # type: ignore[arg-type]
    if algorithm not in _CHECKS or algorithm != found.ALGORITHM:
        raise PasskeyRefused(reason="algorithm")
    try:
        found.verify(message, signature)
    except (InvalidSignature, ValueError):
        raise PasskeyRefused(reason="signature") from None


def encode_key(key: Mapping[int, Any]) -> bytes:
    """Return a key as it is stored: canonical CBOR of its COSE form."""
    return cbor.encode(key)


def _elliptic(crv: int, curve: ec.EllipticCurve) -> Callable[[Mapping[int, Any]], bool]:
    size = (curve.key_size + 7) // 8

    def check(key: Mapping[int, Any]) -> bool:
        x, y = _octets(key[_X]), _octets(key[_Y])
        if (key[_KTY], key[_CRV], len(x), len(y)) != (_EC2, crv, size, size):
            return False
        point = int.from_bytes(x, "big"), int.from_bytes(y, "big")
        ec.EllipticCurvePublicNumbers(*point, curve).public_key()  # refuses one off the curve
        return len(key) == 5

    return check


def _edwards(key: Mapping[int, Any]) -> bool:
    ed25519.Ed25519PublicKey.from_public_bytes(_octets(key[_X]))
    return (key[_KTY], key[_CRV], len(key)) == (_OKP, _ED25519, 4)


def _rsa(key: Mapping[int, Any]) -> bool:
    modulus, exponent = _octets(key[_N]), _octets(key[_E])
    if key[_KTY] != _RSA or exponent != _F4 or len(modulus) > _RSA_BITS.stop // 8:
        return False
    number = int.from_bytes(modulus, "big")
    rsa.RSAPublicNumbers(65537, number).public_key()
    return number.bit_length() in _RSA_BITS and number % 2 == 1 and len(key) == 4


def _octets(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("not a byte string")
    return value


_CHECKS: Mapping[int, Callable[[Mapping[int, Any]], bool]] = {
    EDDSA: _edwards,
    ES256: _elliptic(1, ec.SECP256R1()),
    ES384: _elliptic(2, ec.SECP384R1()),
    ES512: _elliptic(3, ec.SECP521R1()),
    PS256: _rsa,
    RS256: _rsa,
}
ALGORITHMS = tuple(_CHECKS)
"""What is offered at registration, preferred first; nothing else is taken."""
