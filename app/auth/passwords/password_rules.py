"""Password policy as pure computation: what is wrong with a password, in plain sentences.

Owns length, characters, the common list, context words, strength. Refuses to own the
breach corpus (`breached.py`), history and hashing. NIST SP 800-63B-4 3.1.1.2, ASVS 6.2.
The common list is read at run time from the installed zxcvbn package (MIT, 30 000
ranked passwords) rather than copied here: one source, no second copy to go stale.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from zxcvbn import matching, scoring, time_estimates

from ...core.hashing import MAX_BYTES, normalise
from ...core.i18n import _
from .settings_password import PasswordSettings

STRENGTH_CODE_POINTS: Final = 72
"""What zxcvbn is shown: it slows with the square of the length and worse."""

TOP: Final = 3000
"""How many of the commonest passwords are also refused in pairs (ASVS 6.2.4)."""

_CONTEXT_LENGTH = 4
_REMAINDER = 8
_STRENGTH_BUDGET = 40_000
_SEPARATORS = re.compile(r"[\W_]+")
_LEET = str.maketrans("4@8(3610!|0$5+7", "aabcegiiiiosstt")
_RANKS: Mapping[str, int] = matching.RANKED_DICTIONARIES["passwords"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: a stable dotted code and a translated sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """The rules in force for one account; lengths are code points after NFC."""

    min_length: int = 15
    max_length: int = 128
    min_score: int = 3
    require_upper: bool = False
    require_lower: bool = False
    require_digit: bool = False
    require_symbol: bool = False

    @classmethod
    def of(cls, settings: PasswordSettings, *, min_length: int | None = None) -> PasswordPolicy:
        """Return the policy of `settings`; pass the lower `min_length` where MFA is certain."""
        return cls(
            min_length=settings.PASSWORD_MIN_LENGTH if min_length is None else min_length,
            max_length=settings.PASSWORD_MAX_LENGTH,
            min_score=settings.PASSWORD_MIN_SCORE,
            require_upper=settings.PASSWORD_REQUIRE_UPPERCASE,
            require_lower=settings.PASSWORD_REQUIRE_LOWERCASE,
            require_digit=settings.PASSWORD_REQUIRE_DIGIT,
            require_symbol=settings.PASSWORD_REQUIRE_SYMBOL,
        )


def violations(
    password: str, context_words: Iterable[str], policy: PasswordPolicy
) -> list[Violation]:
    """Return every rule that `password` breaks; an empty list means that it may be set.

    `context_words` are raw values about the account: user name, e-mail address, names,
    tenant, brand. They are cut into words here.
    """
    unusable = _unusable(password, policy)
    if unusable is not None:
        return [unusable]
    text = normalise(password)
    words = expand_words(context_words)
    found = [*_length(text, policy), *_composition(text, policy)]
    if is_common(text):
        found.append(Violation("password.common", _("This password is used by many people.")))
    elif is_about(text, words):
        found.append(
            Violation(
                "password.context",
                _("This is little more than a name or address that belongs to this account."),
            )
        )
    elif strength(text, words) < policy.min_score:
        found.append(
            Violation(
                "password.guessable",
                _("This password is easy to guess. Try several unrelated words."),
            )
        )
    return found


def is_common(password: str) -> bool:
    """Return whether the whole value is a common password, however it is dressed.

    Case, compatibility forms, invisible characters and outer spaces do not hide it
    (AT-033). A common one repeated counts, and so do two of the commonest in a row:
    few single entries reach fifteen characters, and ASVS 6.2.4 asks for those that do.
    """
    key = _folded(password).strip()
    if key in _RANKS or _period(key) in _RANKS:
        return True
    return any(
        _is_top(key[:cut]) and (_is_top(key[cut:]) or _is_top(key[cut + 1 :]))
        for cut in range(1, len(key))
    )


def is_about(password: str, words: Iterable[str]) -> bool:
    """Return whether too little is left of `password` once `words` are taken out.

    Judged on the value as a whole: NIST compares entire passwords and forbids refusing
    one for a word that it merely contains. Reversed and leet spellings count.
    """
    folded = _folded(password)
    spellings = sorted({form for word in words for form in (word, word[::-1])}, key=len)
    if not spellings:
        return False
    pattern = re.compile("|".join(re.escape(form) for form in reversed(spellings)))
    return any(
        pattern.search(form) and len(_SEPARATORS.sub("", pattern.sub("", form))) < _REMAINDER
        for form in {folded, _squeezed(folded), _squeezed(folded.translate(_LEET))}
    )


def expand_words(values: Iterable[str]) -> frozenset[str]:
    """Return the folded words of four or more characters in `values`, whole and in parts."""
    words = set()
    for value in values:
        folded = _folded(value).strip()
        parts = _SEPARATORS.split(folded)
        words.update([folded, _squeezed(folded), _squeezed(folded.partition("@")[0]), *parts])
    return frozenset(word for word in words if len(word) >= _CONTEXT_LENGTH)


def strength(password: str, words: Iterable[str] = ()) -> int:
    """Return the zxcvbn score, 0 to 4, of the first 72 code points or fewer.

    A longer text only ever scores higher, so a strong start is enough to know. The
    public `zxcvbn()` is not used: it writes each user's words into a dictionary that
    all threads share.
    """
    if not password:
        return 0
    dictionaries = dict(matching.RANKED_DICTIONARIES)
    dictionaries["user_inputs"] = dict.fromkeys(words, 1)
    shown = _affordable(password[:STRENGTH_CODE_POINTS])
    found = matching.omnimatch(shown, dictionaries)
    guesses = scoring.most_guessable_match_sequence(shown, found)["guesses"]
    return int(time_estimates.guesses_to_score(Decimal(guesses)))


def _affordable(text: str) -> str:
    """Return the longest start of `text` whose leet readings are few enough to try.

    zxcvbn tries every combination of substitutions: 72 characters with all of them
    take four seconds. The start kept is never under twelve characters.
    """
    while _leet_readings(text) * len(text) ** 2 > _STRENGTH_BUDGET:
        text = text[:-1]
    return text


def _leet_readings(text: str) -> int:
    readings = 1
    present = set(text)
    for substitutes in matching.L33T_TABLE.values():
        readings *= max(1, len(present.intersection(substitutes)))
    return readings


def _unusable(password: str, policy: PasswordPolicy) -> Violation | None:
    # First of all, so that nothing below ever works on a megabyte (AT-023).
    if len(password) > MAX_BYTES:
        return _too_long(policy)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in password):
        return Violation(
            "password.characters",
            _("A password cannot contain control characters."),
        )
    if len(password.encode()) > MAX_BYTES or len(normalise(password)) > policy.max_length:
        return _too_long(policy)
    return None


def _too_long(policy: PasswordPolicy) -> Violation:
    return Violation(
        "password.too_long", _("Use at most %(count)s characters.", count=policy.max_length)
    )


def _length(text: str, policy: PasswordPolicy) -> Iterator[Violation]:
    if len(text) < policy.min_length:
        yield Violation(
            "password.too_short", _("Use at least %(count)s characters.", count=policy.min_length)
        )


def _composition(text: str, policy: PasswordPolicy) -> Iterator[Violation]:
    if policy.require_upper and not any(char.isupper() for char in text):
        yield Violation("password.needs_upper", _("Use at least one upper-case letter."))
    if policy.require_lower and not any(char.islower() for char in text):
        yield Violation("password.needs_lower", _("Use at least one lower-case letter."))
    if policy.require_digit and not any(char.isdigit() for char in text):
        yield Violation("password.needs_digit", _("Use at least one digit."))
    if policy.require_symbol and not any(unicodedata.category(c)[0] in "PSZ" for c in text):
        yield Violation("password.needs_symbol", _("Use at least one symbol."))


def _folded(text: str) -> str:
    """Return `text` for comparison only: NFKC, no case, no invisible characters."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(char for char in plain if unicodedata.category(char) != "Cf")


def _squeezed(text: str) -> str:
    return _SEPARATORS.sub("", text)


def _period(text: str) -> str:
    """Return the shortest start that, repeated, gives the whole of `text`."""
    return text[: (text + text).find(text, 1)] if text else text


def _is_top(piece: str) -> bool:
    return _RANKS.get(piece, TOP + 1) <= TOP
