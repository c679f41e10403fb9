"""A username for somebody who did not choose one: made of what is known, valid, and free."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from sqlalchemy import select

from ...core import rng
from ...core.db import session
from ...core.errors import InvalidInput
from ..identity import canonical_username, check_username
from ..models import IAMUserAccount

_ROOM = 50
_NUMBERED = 9
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
_DOUBLED = re.compile(r"[._-]{2,}")


def free_names(wishes: Iterable[str], seed: str) -> list[str]:
    """Return names that nobody has now, best first; `seed` makes one where no wish will do.

    Another request may take one meanwhile: the unique key decides.
    """
    stem = next(filter(None, map(_stem, wishes)), f"user-{seed[:8]}")
    names = [stem, *(f"{stem}-{number}" for number in range(2, _NUMBERED + 1))]
    names += [f"{stem}-{rng.base32(6).lower()}" for _try in range(2)]
    account = IAMUserAccount
    canonical = {canonical_username(name): name for name in names}
    query = select(account.username_canonical).where(account.username_canonical.in_(canonical))
    taken = set(session().scalars(query))
    return [name for key, name in canonical.items() if key not in taken]


def _stem(wish: str) -> str | None:
    # An address, or a name that looks like one, stands for its local part.
    text = wish.strip().partition("@")[0][:_ROOM]
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    mended = _DOUBLED.sub("-", _OTHER.sub("-", plain)).strip("._-")
    return next(filter(None, map(_checked, (text, mended))), None)


def _checked(text: str) -> str | None:
    try:
        return check_username(text)
    except InvalidInput:
        return None
