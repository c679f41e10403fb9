"""One try at a factor, and how a typed code is read. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ..errors import CodeInvalid

ENROL = "enrol"
_SEPARATORS = re.compile(r"[\s\-\u2010-\u2015]+")
_SIX_DIGITS = re.compile(r"[0-9]{6}\Z")
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Attempt:
    """One counted try: made by `services_mfa.begin_attempt` only, so none goes uncounted.

    Its repr shows no code. `method_id` is the enrolled factor, `challenge_id` the
    sent code's challenge; either is None where the factor has none. `challenge` is the
    digest of the WebAuthn challenge that this try has used up.
    """

    method: str
    user_id: UUID
    purpose: str
    session_id: UUID | None
    at: datetime
    code: str = field(repr=False)
    method_id: UUID | None = None
    challenge_id: UUID | None = None
    minimum: str = "aal1"
    challenge: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """What a factor proved this time, where it knows better than its class.

    `amr` is the RFC 8176 name; `suspect` the factor that may have been copied.
    """

    amr: str
    acr: str
    suspect: UUID | None = None


def six_digits(code: object) -> str:
    """Return the six ASCII digits meant by `code`: spaces and other scripts are read (AT-041).

    Raises CodeInvalid for anything else, also for values that are no text (AT-046).
    """
    text = compact(code)
    digits = "".join(str(unicodedata.decimal(char, char)) for char in text)
    if not _SIX_DIGITS.match(digits):
        raise CodeInvalid(field="code", reason="malformed")
    return digits


def compact(code: object) -> str:
    """Return `code` without spaces and hyphens. Raises CodeInvalid unless it is short text."""
    if not isinstance(code, str) or len(code) > _LONGEST:
        raise CodeInvalid(field="code", reason="malformed")
    return _SEPARATORS.sub("", code)
