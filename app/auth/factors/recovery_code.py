"""Recovery codes: look-up secrets of 120 bits, good once (NIST SP 800-63B-4 3.1.2).

At 120 bits a keyed digest is enough; ten slow hashes for each try would only help
an attacker to exhaust us. Every key of the ring is tried, so rotation breaks none.
"""

from __future__ import annotations

import re
from typing import ClassVar
from uuid import UUID

from sqlalchemy import update

from ...core import rng
from ...core.crypto import keyring
from ...core.db import session
from ...core.i18n import _
from ..errors import CodeInvalid
from ..models import IAMRecoveryCode
from .attempt import Attempt, compact

_LENGTH = 24
_GROUP = 4
_LABEL = "recovery-code"
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


def digests(code: str, user_id: UUID) -> list[bytes]:
    """Return the digests of a code under every key, the newest first."""
    return keyring().digests(f"{user_id}:{normalised(code)}", _LABEL)


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
        # Compare-and-swap: of many parallel requests with one code, one succeeds (AT-053).
        result = session().execute(
            update(IAMRecoveryCode)
            .where(
                IAMRecoveryCode.user_id == attempt.user_id,
                IAMRecoveryCode.code_digest.in_(digests(attempt.code, attempt.user_id)),
                IAMRecoveryCode.used_at.is_(None),
            )
            .values(used_at=attempt.at)
            .execution_options(synchronize_session=False)
        )
        if result.rowcount != 1:  # type: ignore[attr-defined]
            raise CodeInvalid(field="code", reason="wrong")
