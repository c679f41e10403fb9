"""What the three sent codes share: six digits, kept as a keyed digest, good once.

A code is bound to person, purpose, challenge and session (requirement D3): the same
digits prove nothing for another person, act or browser (AT-043).
"""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from sqlalchemy import select, update

from ...core import rng
from ...core.crypto import keyring, same
from ...core.db import session
from ..errors import CodeInvalid
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMMfaChallenge
from .attempt import Attempt, six_digits

_DIGITS = 6
_LABEL = "mfa-code"


def new_code() -> str:
    """Return six unpredictable digits."""
    return rng.digits(_DIGITS)


def code_digest(
    code: str, *, user_id: UUID, purpose: str, challenge_id: UUID, session_id: UUID | None
) -> bytes:
    """Return the digest a code is kept as."""
    bound = f"{user_id}:{purpose}:{challenge_id}:{session_id}:{code}"
    return keyring().signed_digest(bound, _LABEL)


class SentCode:
    """Base of factors whose code is sent to a verified destination."""

    name: ClassVar[str]

    def redeem(self, attempt: Attempt) -> None:
        """Accept the code and consume its challenge. Raises CodeInvalid."""
        digits = six_digits(attempt.code)
        row = session().scalar(
            select(IAMMfaChallenge).where(
                IAMMfaChallenge.id == attempt.challenge_id,
                IAMMfaChallenge.user_id == attempt.user_id,
                IAMMfaChallenge.purpose == attempt.purpose,
                IAMMfaChallenge.method == self.name,
            )
        )
        if row is None or row.code_digest is None or row.session_id != attempt.session_id:
            raise CodeInvalid(field="code", reason="no_challenge")
        expected = code_digest(
            digits,
            user_id=attempt.user_id,
            purpose=attempt.purpose,
            challenge_id=row.id,
            session_id=attempt.session_id,
        )
        if not same(expected, row.code_digest):
            raise CodeInvalid(field="code", reason="wrong")
        _consume(attempt)


def _consume(attempt: Attempt) -> None:
    # Compare-and-swap: of many parallel requests with one code, one succeeds.
    result = session().execute(
        update(IAMMfaChallenge)
        .where(
            IAMMfaChallenge.id == attempt.challenge_id,
            IAMMfaChallenge.consumed_at.is_(None),
            IAMMfaChallenge.superseded_at.is_(None),
            IAMMfaChallenge.expires_at > attempt.at,
            # The try itself was counted before, in a transaction of its own.
            IAMMfaChallenge.attempts <= MfaSettings.current().MFA_CODE_MAX_ATTEMPTS,
        )
        .values(consumed_at=attempt.at)
        .execution_options(synchronize_session=False)
    )
    if result.rowcount != 1:  # type: ignore[attr-defined]
        raise CodeInvalid(field="code", reason="dead")
