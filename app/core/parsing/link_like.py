"""Text that mail programs and browsers turn into a link, in what should be a plain name. Pure."""

from __future__ import annotations

import re
import unicodedata

_SCHEME = re.compile(r"://|\bwww\.|\b(?:https?|ftp|mailto|javascript|data):", re.IGNORECASE)
# What mail programs turn into a link: a dotted word that ends in a known kind of domain.
_LINK = re.compile(
    r"[^\W_]{2,}\.(?:[a-z]{2}|com|net|org|info|biz|app|dev|xyz|top|site|online|shop|store|club|"
    r"click|link|live|icu|vip|win|cloud|zip|mov|page|web|tech|space|website|edu|gov|mil|int)"
    r"(?![^\W_])",
    re.IGNORECASE,
)
_LONGEST_LABEL = 60
_MARKUP = frozenset("<>{}[]\\|")


def looks_like_link(text: str) -> bool:
    """Return whether a text holds a web or e-mail address, or something that is read as one."""
    return bool(_SCHEME.search(text) or _LINK.search(text))


def plain_label(text: str) -> str:
    """Return a name that may stand in the subject of a mail: one line, no address, no markup.

    Raises ValueError.
    """
    label = unicodedata.normalize("NFC", text)
    plain = unicodedata.normalize("NFKC", label)
    odd = any(char in _MARKUP or _is_odd(char) for char in label)
    if odd or len(label) > _LONGEST_LABEL or looks_like_link(plain) or "@" in plain:
        raise ValueError("must be one line without markup or an address")
    return label


def _is_odd(char: str) -> bool:
    # Controls, what cannot be seen, and every separator but the space.
    return char != " " and unicodedata.category(char)[0] in "CZ"
