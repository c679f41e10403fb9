"""Breached-password check by k-anonymity: five hex digits of a hash leave, no more.

Speaks the range API of Have I Been Pwned, or of a mirror with the same format.
Refuses to decide what an outage means: the caller goes on and says so in the audit
trail. The local list of `password_rules.py` applies whether or not this answers.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ...core import http
from ...core.errors import UpstreamFailed
from ...core.hashing import normalise

TIMEOUT_SECONDS: Final = 2.0
_PREFIX_LENGTH = 5
_LINE = re.compile(r"([0-9A-F]{35}):([0-9]{1,12})", re.IGNORECASE)


class BreachCheckUnavailable(UpstreamFailed):
    """The range service did not answer, or not in its own format."""

    code = "password.breach_check_unavailable"


def times_breached(
    password: str,
    *,
    url: str,
    allow_private: bool = False,
    timeout: float = TIMEOUT_SECONDS,
) -> int:
    """Return how often `password` occurs in the breach corpus; 0 means unknown to it.

    `url` is the base address, `timeout` seconds for everything. Raises
    BreachCheckUnavailable, and InvalidInput for a password that cannot be hashed.
    """
    digest = _corpus_digest(password)
    prefix, suffix = digest[:_PREFIX_LENGTH], digest[_PREFIX_LENGTH:]
    try:
        answer = http.fetch(
            "GET",
            f"{url.rstrip('/')}/range/{prefix}",
            # Rows that count 0 are added, so the size of the answer does not tell the prefix.
            headers={"Add-Padding": "true"},
            timeout=timeout,
            allow_private=allow_private,
        )
    except UpstreamFailed as error:
        raise BreachCheckUnavailable from error
    if answer.status != 200:
        raise BreachCheckUnavailable
    return _count(answer.content, suffix)


def _corpus_digest(password: str) -> str:
    # SHA-1 is how the corpus is indexed. It protects nothing here: the secret is kept by
    # sending five digits, and what is stored is argon2id.
    return hashlib.sha1(normalise(password).encode(), usedforsecurity=False).hexdigest().upper()


def _count(body: bytes, suffix: str) -> int:
    # An empty or unreadable body is a broken service, not a clean password.
    rows = [_LINE.fullmatch(line) for line in body.decode("ascii", "replace").split()]
    if not rows:
        raise BreachCheckUnavailable
    counts: dict[str, int] = {}
    for row in rows:
        if row is None:
            raise BreachCheckUnavailable
        counts[row[1].upper()] = int(row[2])
    return counts.get(suffix, 0)
