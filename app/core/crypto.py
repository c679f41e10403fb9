"""Keys and what is done with them: field encryption, keyed digests, derived keys, signing.

One master secret per duty: `FLASK_SECRET_KEY` signs, `MFA_ENCRYPTION_KEY`
encrypts stored secrets (several keys: the first encrypts, all decrypt). Every
other key is derived by HKDF under its own label, so no two uses share a key (AT-473).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import current_app
from itsdangerous import URLSafeTimedSerializer

from .errors import Misconfigured
from .settings import EXTENSION

# Runs without an app: the command line needs one that starts.
NEW_FERNET_KEY = (
    "python3 -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)


class DecryptionFailed(Misconfigured):
    """A stored secret cannot be read: key missing, value altered or moved to another row."""

    code = "crypto.decryption_failed"


@lru_cache(maxsize=256)
def derive(secret: bytes, label: str) -> bytes:
    """Return a 256-bit key for one purpose (RFC 5869)."""
    return HKDF(SHA256(), 32, salt=b"iam", info=label.encode()).derive(secret)


class KeyRing:
    """The keys of one app. `encryption` holds Fernet keys, newest first."""

    def __init__(self, signing: Sequence[str], encryption: Sequence[str]) -> None:
        self._signing = tuple(value.encode() for value in signing)
        self._encryption = tuple(encryption)
        try:
            self._fernet = MultiFernet([Fernet(key) for key in encryption])
        except (ValueError, TypeError):
            raise Misconfigured(
                "MFA_ENCRYPTION_KEY must be one or more Fernet keys, separated by commas; "
                f"make one with {NEW_FERNET_KEY}"
            ) from None

    def encrypt(self, value: bytes, context: str) -> str:
        """Encrypt `value` so that it can only be read back under the same `context`.

        The context names the row (table, id), so a ciphertext copied to another
        row is refused (AT-474).
        """
        return self._fernet.encrypt(_context_digest(context) + value).decode()

    def decrypt(self, text: str, context: str) -> bytes:
        """Return what `encrypt` was given. Raises DecryptionFailed."""
        try:
            clear = self._fernet.decrypt(text.encode())
        except InvalidToken:
            raise DecryptionFailed("a stored secret cannot be decrypted") from None
        if not hmac.compare_digest(clear[:32], _context_digest(context)):
            raise DecryptionFailed("a stored secret belongs to another row")
        return clear[32:]

    def rotate(self, text: str) -> str:
        """Re-encrypt `text` under the newest key."""
        return self._fernet.rotate(text.encode()).decode()

    def is_current(self, text: str) -> bool:
        """Return whether `text` is already encrypted under the newest key."""
        try:
            Fernet(self._encryption[0]).decrypt(text.encode())
        except InvalidToken:
            return False
        return True

    def digest(self, value: str, label: str) -> bytes:
        """Return HMAC-SHA-256 of `value` under the newest key for `label`."""
        return self.digests(value, label)[0]

    def digests(self, value: str, label: str) -> list[bytes]:
        """Return the keyed digests of `value` under every key, newest first."""
        return self.macs(value.encode(), label)

    def macs(self, value: bytes, label: str) -> list[bytes]:
        """Return HMAC-SHA-256 of `value` under every key for `label`, newest first."""
        keys = [derive(key.encode(), label) for key in self._encryption]
        return [hmac.digest(key, value, "sha256") for key in keys]

    def signed_digest(self, value: str, label: str) -> bytes:
        """Return HMAC-SHA-256 of `value` under a key derived from the signing secret."""
        return hmac.digest(derive(self._signing[0], label), value.encode(), "sha256")

    def serializer(self, label: str) -> URLSafeTimedSerializer:
        """Return a signer for one purpose; the newest secret signs, older ones verify."""
        keys = [derive(secret, f"sign:{label}").hex() for secret in reversed(self._signing)]
        return URLSafeTimedSerializer(
            keys, salt=f"iam:{label}", signer_kwargs={"digest_method": hashlib.sha256}
        )


def keyring() -> KeyRing:
    """Return the key ring of the current app."""
    ring: KeyRing = current_app.extensions[EXTENSION].keyring
    return ring


def token_digest(token: str) -> bytes:
    """Return SHA-256 of a 256-bit token; such tokens need no salt and no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def same(left: bytes, right: bytes) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left, right)


def fernet_key_from(secret: str) -> str:
    """Return a Fernet key derived from another secret (development only)."""
    return base64.urlsafe_b64encode(derive(secret.encode(), "mfa-encryption")).decode()


def new_fernet_key() -> str:
    """Return a fresh Fernet key."""
    return Fernet.generate_key().decode()


def _context_digest(context: str) -> bytes:
    return hashlib.sha256(context.encode()).digest()
