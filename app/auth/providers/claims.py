"""What providers say of people, made safe to keep: types, lengths, characters, form.

Nothing is mended into something else: a value of the wrong type or form is dropped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ...core.errors import InvalidInput
from ..identity import MAX_DISPLAY_NAME, MAX_NAME, MAX_USERNAME_COLUMN, check_email, check_phone
from ..sso.errors_sso import SsoRefused
from ..sso.userinfo import UserInfo

_MAX_TEXT = 255
_MAX_URL = 1000
_MOST_METHODS = 16
# Controls, invisible and private characters, halves of characters, line separators.
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}")
# Of use once, in the check that was made already.
_SPENT = {"nonce", "at_hash", "c_hash", "s_hash"}


def person(
    claims: Mapping[str, Any], *, issuer: str, subject: str, email_verified: object = None
) -> UserInfo:
    """Return who verified claims speak of, by the names of OpenID Connect Core 5.1.

    `email_verified` counts where it is exactly True; whether the provider is entitled to
    say so is the caller's to decide.
    """
    address = email(claims.get("email"))
    return UserInfo(
        issuer=issuer,
        subject=subject,
        email=address,
        email_verified=address is not None and email_verified is True,
        username=text(claims.get("preferred_username"), MAX_USERNAME_COLUMN),
        name=text(claims.get("name"), MAX_DISPLAY_NAME),
        given_name=text(claims.get("given_name"), MAX_NAME),
        family_name=text(claims.get("family_name"), MAX_NAME),
        picture=_https(claims.get("picture")),
        locale=_language(claims.get("locale")),
        phone_number=_phone(claims.get("phone_number")),
        organization=text(claims.get("organization"), MAX_DISPLAY_NAME),
        amr=_methods(claims.get("amr")),
        acr=exact(claims.get("acr")),
        auth_time=_moment(claims.get("auth_time")),
        sid=exact(claims.get("sid")),
        claims={name: value for name, value in claims.items() if name not in _SPENT},
    )


def text(value: object, longest: int) -> str | None:
    """Return a text for people: visible characters, single spaces, cut to length."""
    if not isinstance(value, str):
        return None
    visible = unicodedata.normalize("NFC", value[: 4 * longest])
    kept = "".join(" " if char.isspace() else char for char in visible if _is_seen(char))
    return " ".join(kept.split())[:longest].strip() or None


def email(value: object) -> str | None:
    """Return an e-mail address as mail is sent to it, or None where it is none."""
    try:
        return check_email(value) if isinstance(value, str) else None
    except InvalidInput:
        return None


def exact(value: object) -> str | None:
    """Return a short text unchanged, as what is compared must be."""
    fits = isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable()
    return str(value) if fits else None


def number_as_subject(value: object) -> str:
    """Return a numeric account id as text. Raises SsoRefused."""
    digits = str(value) if isinstance(value, int | str) else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 32):
        raise SsoRefused("subject")
    return digits


def _is_seen(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) not in _UNSEEN


def _https(value: object) -> str | None:
    if not isinstance(value, str) or not value.startswith("https://") or len(value) > _MAX_URL:
        return None
    return value if value.isascii() and value.isprintable() else None


def _language(value: object) -> str | None:
    return value if isinstance(value, str) and _LANGUAGE.fullmatch(value) else None


def _phone(value: object) -> str | None:
    try:
        return check_phone(value) if isinstance(value, str) else None
    except InvalidInput:
        return None


def _methods(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    return tuple(found for item in listed[:_MOST_METHODS] if (found := exact(item)) is not None)


def _moment(value: object) -> datetime | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return datetime.fromtimestamp(float(value), UTC) if number else None  # type: ignore[arg-type]
