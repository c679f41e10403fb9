"""Names by which people are known: one canonical form each, and what may be a name at all.

Owns the form of usernames, e-mail addresses, phone numbers and display names; pure, no
table, no request. Refuses to alias: "+tags" and dots stay, accents stay, and text is
normalised before it is judged, never after (AT-438 to AT-441). UTS 39 for mixed scripts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import NoReturn

import idna
import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumberFormat

from ..core.errors import InvalidInput
from ..core.i18n import _
from ..core.parsing.link_like import looks_like_link

MAX_USERNAME = 64
MAX_USERNAME_COLUMN = 150
MAX_EMAIL = 254
MAX_PHONE = 40
MAX_NAME = 80
MAX_DISPLAY_NAME = 120
# What could not be a name anyway is not worked on: NFKC may make eighteen characters of
# one, and every answer must come in linear time (AT-448).
_MAX_INPUT = 320
_MAX_ROUNDS = 8
_MAX_MARKS = 3

_JAPANESE = frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"})
# UTS 39, 5.2, "highly restrictive": one script, or one of these combinations.
_MIXES = (
    _JAPANESE,
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)
# Letters of other scripts that are read as Latin ones: a whole name of them is a disguise.
_LATIN_LOOKALIKES = frozenset(
    "аԁеһіјӏорԛѕсухԝүѵгпԍьєзкмтвн"  # Cyrillic
    "αβγεικνορτυχηω"  # Greek
    "օոսցգհյքզտրս"  # Armenian
    "ᎪᏴᏟᎠᎬᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᎩᏃꭺꮁꭰꭼꮋꭻꮶꮮꮇꮲꮢꮪꭲꮩꮃꭹꮓ"  # Cherokee
)
# Latin letters that are read as an ASCII one; UTS 39 confusables with an ASCII skeleton.
_DISGUISED_LATIN = frozenset("ıȷɑɡɩɪɯʋʏᴄᴏᴠᴡᴢꜱʀɴʟɢʜʙƅƽꞌꞵꭵꬲꭇꭎꭒꭓſƨƿɹƄǀǁǂǃʟ")
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\u2800")
_SEPARATORS = frozenset("._-")
_ROUTED = re.compile(r"=\?|[%!]")


def canonical_username(text: str) -> str:
    """Return the form under which a username is unique: NFKC and casefold until stable.

    Casefold makes `ß` and `ss` one name; `é` and `e` stay two, as do a dotless i and `i`.
    """
    return _until_stable(_folded, text)


def canonical_email(text: str) -> str:
    """Return the form under which an address is unique; the domain in its ASCII form.

    The domain goes through IDNA first: casefold would make `straße.de` and
    `strasse.de`, two owners, one (AT-096).
    """
    return _until_stable(_folded_address, text)


def is_lookup_safe(text: str) -> bool:
    """Return whether `text` could be the name of an account at all (AT-019, AT-448)."""
    if not text or len(text) > _MAX_INPUT:
        return False
    return not any(_is_unsafe(char) for char in text)


def check_username(text: str, *, email: str | None = None) -> str:
    """Return the username as it is kept: trimmed, NFKC, case as written.

    Letters and digits, `.`, `_` and `-` between them, 2 to 64 characters; with `@`
    only where it equals the account's own e-mail. Raises InvalidInput.
    """
    name = _normalised(text, "username")
    if "@" in name:
        if email is None or canonical_email(name) != canonical_email(email):
            _refuse("username", _("A username with “@” must be your own e-mail address"))
        if len(name) > MAX_USERNAME_COLUMN:
            _refuse("username", _("This e-mail address is too long to be a username"))
        return check_email(name, field="username")
    if not 2 <= len(name) <= MAX_USERNAME:
        _refuse("username", _("Use 2 to %(most)s characters", most=MAX_USERNAME))
    # Casefold may bring in characters that were not typed, so both forms are judged.
    for form in (name, canonical_username(name)):
        _check_username_characters(form)
    _check_scripts(canonical_username(name))
    return name


def check_email(text: str, *, field: str = "email") -> str:
    """Return the address as mail is sent to it: local part as written, domain in ASCII.

    Exactly one bare address with an ASCII local part. Raises InvalidInput.
    """
    address = text.strip()
    local, _at, domain = address.rpartition("@")
    # A K sign or a full-width letter in the local part would name another mailbox once
    # folded, so it is refused rather than mended (AT-095, AT-096, AT-439).
    # Encoded words and source routes ("=?", "%", "!") name another mailbox to some servers.
    doubtful = not local.isascii() or domain.endswith(".") or _ROUTED.search(local)
    if not is_lookup_safe(address) or doubtful:
        _refuse(field, _("Please enter one e-mail address, like name@example.com"))
    try:
        found = validate_email(
            address,
            check_deliverability=False,
            allow_smtputf8=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=True,
        )
    except EmailNotValidError:
        _refuse(field, _("Please enter one e-mail address, like name@example.com"))
    exact = found.ascii_email or found.normalized
    if len(exact) > MAX_EMAIL:
        _refuse(field, _("This e-mail address is too long"))
    return exact


def check_phone(text: str, *, field: str = "phone_number") -> str:
    """Return the number in E.164 form; it must start with `+`. Raises InvalidInput."""
    title = _("Please enter a phone number with its country code, like +12025550123")
    number = text.strip()
    if not number.startswith("+") or len(number) > MAX_PHONE or not number.isascii():
        _refuse(field, title)
    try:
        parsed = phonenumbers.parse(number, None)
    except NumberParseException:
        _refuse(field, title)
    if parsed.extension or not phonenumbers.is_valid_number(parsed):
        _refuse(field, title)
    return str(phonenumbers.format_number(parsed, PhoneNumberFormat.E164))


def check_display_name(
    text: str, *, field: str = "display_name", longest: int = MAX_DISPLAY_NAME
) -> str:
    """Return a person's name without invisible characters; may be empty.

    Names go into messages to others, so no web address and no markup fits in one
    (AT-425). Raises InvalidInput.
    """
    if len(text) > 4 * longest:
        _refuse(field, _("Use at most %(most)s characters", most=longest))
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text.strip()):
        _refuse(field, _("This contains characters that are not allowed"))
    visible = "".join(char for char in text if not _is_invisible(char))
    name = " ".join(unicodedata.normalize("NFC", visible).split())
    if len(name) > longest:
        _refuse(field, _("Use at most %(most)s characters", most=longest))
    if _piles_marks(name):
        _refuse(field, _("This contains characters that are not allowed"))
    plain = unicodedata.normalize("NFKC", name)
    if looks_like_link(plain):
        _refuse(field, _("A name cannot contain a web or e-mail address"))
    if any(char in "<>{}[]\\|" or unicodedata.category(char) == "Co" for char in plain):
        _refuse(field, _("This contains characters that are not allowed"))
    return name


def mask_email(address: str) -> str:
    """Return an address as it may be shown to others: `a…@example.com`."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}" if at else mask_identifier(domain)


def mask_phone(number: str) -> str:
    """Return a number as it may be shown to others: `…0123`."""
    return f"…{number[-4:]}"


def mask_identifier(text: str) -> str:
    """Return what an unknown person typed, as it may stand in the audit trail.

    People type passwords into the wrong field: the first character is kept, no more.
    """
    shown = "".join("\ufffd" if _is_unsafe(char) else char for char in text[:_MAX_INPUT].strip())
    local, at, domain = shown.rpartition("@")
    # Only a plausible domain is kept: "hunter@2" is a password, not an address.
    if at and re.fullmatch(r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}", domain.lower()):
        return f"{local[:1]}…@{domain}"
    return f"{shown[:1]}…" if shown else ""


def _until_stable(fold: Callable[[str], str], text: str) -> str:
    # One round is not always enough (U+0345, U+00B4 at an end): an unstable form would let
    # two names become one account (AT-438).
    if len(text) > _MAX_INPUT:
        return text
    for _round in range(_MAX_ROUNDS):
        folded = fold(text)
        if folded == text:
            break
        text = folded
    return text


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text.strip()).casefold()
    return unicodedata.normalize("NFKC", plain).strip()


def _folded_address(text: str) -> str:
    local, at, domain = unicodedata.normalize("NFKC", text.strip()).rpartition("@")
    return f"{_folded(local)}{at}{_folded(_ascii_domain(domain))}"


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return domain


def _normalised(text: str, field: str) -> str:
    if not is_lookup_safe(text.strip()):
        _refuse(field, _("Use letters and digits, and “.”, “_” or “-” between them"))
    return unicodedata.normalize("NFKC", text.strip())


def _check_username_characters(name: str) -> None:
    if not all(_fits_username(char) for char in name) or _piles_marks(name):
        _refuse("username", _("Use letters and digits, and “.”, “_” or “-” between them"))
    if not (_opens(name[0]) and name[-1] not in _SEPARATORS) or _has_double_separator(name):
        _refuse("username", _("Begin and end with a letter or a digit"))


def _fits_username(char: str) -> bool:
    if char.isascii():
        return char.isalnum() or char in _SEPARATORS
    if _is_unsafe(char) or char in _DISGUISED_LATIN:
        return False
    category = unicodedata.category(char)
    if category in {"Mn", "Mc"}:
        # Marks of one script (Devanagari vowels) are spelling; "combining" ones go on anything.
        return _script(char) not in {"COMBINING", "VARIATION", ""}
    return category in {"Ll", "Lu", "Lo"} or char in "ーゝヽ々"


def _check_scripts(canonical: str) -> None:
    letters = [char for char in canonical if char.isalpha() and char not in "々"]
    scripts = {_script(char) for char in letters}
    if len(scripts) > 1 and not any(scripts <= mix for mix in _MIXES):
        _refuse("username", _("Use the letters of one alphabet only"))
    if letters and "LATIN" not in scripts and _LATIN_LOOKALIKES.issuperset(letters):
        _refuse(
            "username",
            _("This username can be mistaken for another. Please choose a different one"),
        )


def _script(char: str) -> str:
    return unicodedata.name(char, "").split(" ", 1)[0]


def _opens(char: str) -> bool:
    return char.isalnum()


def _has_double_separator(name: str) -> bool:
    return any(a in _SEPARATORS and b in _SEPARATORS for a, b in pairwise(name))


def _piles_marks(name: str) -> bool:
    run = 0
    for char in unicodedata.normalize("NFD", name):
        run = run + 1 if unicodedata.combining(char) else 0
        if run > _MAX_MARKS:
            return True
    return False


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf" or char in _INVISIBLE or "\ufe00" <= char <= "\ufe0f"


def _is_unsafe(char: str) -> bool:
    if char.isascii():
        return not char.isprintable()
    return _is_invisible(char) or unicodedata.category(char) in {"Cc", "Cs", "Co", "Zl", "Zp"}


def _refuse(field: str, title: str) -> NoReturn:
    raise InvalidInput(title, code=f"account.{field}", field=field)
