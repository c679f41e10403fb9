"""Recovery codes: look-up secrets of 120 bits, good once (NIST SP 800-63B-4 3.1.2).

At 120 bits a keyed digest is enough; ten slow hashes for each try would only help
an attacker to exhaust us. Each set has a key of its own, kept encrypted, so that
the codes on paper outlive a rotation of the encryption keys.
"""

from __future__ import annotations

import hmac
import re
from typing import ClassVar
from uuid import UUID

from sqlalchemy import select, update

from ...core import rng
from ...core.crypto import keyring
from ...core.db import session
from ...core.i18n import _
from ..errors import CodeInvalid
from ..models import IAMRecoveryCode
from .attempt import Attempt, compact

_LENGTH = 24
_GROUP = 4
_KEY_BYTES = 32
_WRITTEN = re.compile(r"[A-Z2-7]{24}\Z")
# What people misread; neither digit is in the alphabet.
_MISREAD = str.maketrans("018", "OIB")


def new_code() -> str:
    """Return a fresh code in groups of four."""
    text = rng.base32(_LENGTH)
    return "-".join(text[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))


def normalised(code: object) -> str:
    """Return the 24 characters of a typed code. Raises CodeInvalid."""
    text = compact(code).upper().translate(_MISREAD)
    if not _WRITTEN.match(text):
        raise CodeInvalid(field="code", reason="malformed")
    return text


def new_key(user_id: UUID) -> str:
    """Return a fresh key for one set of codes, encrypted."""
    return keyring().encrypt(rng.random_bytes(_KEY_BYTES), _context(user_id))


def digest(code: object, user_id: UUID, key: str) -> bytes:
    """Return HMAC-SHA-256 of a code under the encrypted key of its set. Raises CodeInvalid."""
    secret = keyring().decrypt(key, _context(user_id))
    return hmac.digest(secret, normalised(code).encode(), "sha256")


def _context(user_id: UUID) -> str:
    return f"iam_recovery_code:{user_id}"


class RecoveryCode:
    """One of the codes that were saved at enrolment."""

    name: ClassVar[str] = "recovery_code"
    assurance: ClassVar[str] = "aal2"
    channel: ClassVar[str | None] = None

    @property
    def label(self) -> str:
        """Return what people call it."""
        return _("Recovery code")

    @property
    def note(self) -> str:
        """Return in a few words how strong it is."""
        return _("For emergencies: each code works once")

    def redeem(self, attempt: Attempt) -> None:
        """Use one code up. Raises CodeInvalid."""
        key = session().scalar(
            select(IAMRecoveryCode.digest_key)
            .where(IAMRecoveryCode.user_id == attempt.user_id)
            .limit(1)
        )
        if key is None:
            raise CodeInvalid(field="code", reason="none")
        expected = digest(attempt.code, attempt.user_id, key)
        # Compare-and-swap: of many parallel requests with one code, one succeeds (AT-053).
        result = session().execute(
            update(IAMRecoveryCode)
            .where(
                IAMRecoveryCode.user_id == attempt.user_id,
                IAMRecoveryCode.code_digest == expected,
                IAMRecoveryCode.used_at.is_(None),
            )
            .values(used_at=attempt.at)
            .execution_options(synchronize_session=False)
        )
        if result.rowcount != 1:  # type: ignore[attr-defined]
            raise CodeInvalid(field="code", reason="wrong")
