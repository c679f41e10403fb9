"""Text that mail programs and browsers turn into a link, in what should be a plain name. Pure."""

from __future__ import annotations

import re
import unicodedata

_SCHEME = re.compile(r"://|\bwww\.|\b(?:https?|ftp|mailto|javascript|data):", re.IGNORECASE)
# Full stops of other scripts, which browsers read as dots (UTS 46, section 4).
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})
_QUAD = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)")
# What mail programs turn into a link: a dotted word that ends in a known kind of domain.
_LINK = re.compile(
    r"[^\W_]{2,}\.(?:[a-z]{2}|com|net|org|info|biz|app|dev|xyz|top|site|online|shop|store|club|"
    r"click|link|live|icu|vip|win|cloud|zip|mov|page|web|tech|space|website|edu|gov|mil|int)"
    r"(?![^\W_])",
    re.IGNORECASE,
)
# Domains in other scripts end in letters that hardly anybody's name puts after a full stop.
_FOREIGN = re.compile(r"[^\W_]{2,}\.[^\W\d_a-zA-Z\u00c0-\u024f]{2,}")
# In a brand any dotted word is one too many; so is a number that a telephone would dial.
_DOTTED = re.compile(r"[^\W_]\.[^\W\d_]{2,}|\.xn--", re.IGNORECASE)
_PHONE = re.compile(r"\d(?:[\s()./-]*\d){6,}")
_LONGEST_LABEL = 60
_MARKUP = frozenset("<>{}[]\\|")


def looks_like_link(text: str) -> bool:
    """Return whether a text holds a web or e-mail address, or something that is read as one."""
    dotted = text.translate(_DOTS)
    return any(form.search(dotted) for form in (_SCHEME, _LINK, _QUAD, _FOREIGN))


def plain_label(text: str) -> str:
    """Return a name that may stand in a mail's subject: one line, no address, number or markup.

    Raises ValueError.
    """
    label = unicodedata.normalize("NFC", text)
    plain = unicodedata.normalize("NFKC", label)
    odd = any(char in _MARKUP or _is_odd(char) for char in label)
    dotted = plain.translate(_DOTS)
    leads = looks_like_link(dotted) or _DOTTED.search(dotted) or _PHONE.search(dotted)
    if odd or len(label) > _LONGEST_LABEL or leads or "@" in plain:
        raise ValueError("must be one line without markup, an address or a telephone number")
    return label


def _is_odd(char: str) -> bool:
    # Controls, what cannot be seen, and every separator but the space.
    return char != " " and unicodedata.category(char)[0] in "CZ"
