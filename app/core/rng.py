"""The only source of randomness: the operating system's generator.

Tokens are 256 bits (STANDARDS section 2), sent codes six digits
(NIST SP 800-63B-4, 3.1.3), recovery codes 120 bits.
"""

from __future__ import annotations

import secrets
import string

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def random_bytes(length: int) -> bytes:
    """Return `length` unpredictable bytes."""
    return secrets.token_bytes(length)


def token() -> str:
    """Return a 256-bit URL-safe token of 43 characters."""
    return secrets.token_urlsafe(32)


def digits(length: int) -> str:
    """Return `length` unpredictable decimal digits, leading zeros included."""
    return "".join(secrets.choice(string.digits) for _ in range(length))


def base32(length: int) -> str:
    """Return `length` characters of the RFC 4648 base32 alphabet, five bits each."""
    return "".join(secrets.choice(_BASE32) for _ in range(length))


def password() -> str:
    """Return a random passphrase-like password of 24 characters (about 120 bits)."""
    return "-".join(base32(6).lower() for _ in range(4))
