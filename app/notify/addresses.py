"""Where a message may go: phone numbers in E.164, mail addresses safe in a header, masks.

Decides form only; whether a well-formed number may be written to is `services_caps`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from ..core.errors import InvalidInput
from ..core.i18n import _

# Controls, line and paragraph separators, bidirectional overrides, lone surrogates.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MAIL = re.compile(r"[^\s@,;:<>()\[\]\"\\]{1,64}@[^\s@,;:<>()\[\]\"\\]{1,253}\Z")
# Toll fraud is paid through premium, shared-cost and personal numbers (AT-422).
_REACHABLE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_BLOCK_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Phone:
    """A number that can take a text message."""

    e164: str
    country: str

    @property
    def block(self) -> str:
        """Return the block of a thousand numbers that this one is in."""
        return self.e164[:-_BLOCK_DIGITS]


def parse_phone(text: str) -> Phone:
    """Return the number written in `text`, which must start with `+`.

    Raises InvalidInput where it is no number that receives text messages.
    """
    try:
        number = phonenumbers.parse(text, None)
    except NumberParseException:
        raise _bad_phone() from None
    country = phonenumbers.region_code_for_number(number)
    if number.extension or not country or not phonenumbers.is_valid_number(number):
        raise _bad_phone()
    if phonenumbers.number_type(number) not in _REACHABLE:
        raise _bad_phone(_("This number cannot receive text messages"))
    return Phone(phonenumbers.format_number(number, PhoneNumberFormat.E164), country)


def header_safe(value: str, field: str) -> str:
    """Return `value` unchanged. Raises InvalidInput where it could start a header of its own."""
    if _UNSAFE.search(value):
        raise InvalidInput(_("This contains characters that are not allowed"), field=field)
    return value


def mail_address(value: str) -> str:
    """Return `value` unchanged. Raises InvalidInput unless it is exactly one bare address."""
    header_safe(value, "recipient")
    if len(value) > 254 or not _MAIL.match(value):
        raise InvalidInput(_("Please enter an e-mail address"), field="recipient")
    return value


def mask(recipient: str) -> str:
    """Return a recipient as it may stand in a log: `a…@example.com`, `…0123`."""
    name, at, domain = recipient.rpartition("@")
    return f"{name[:1]}…@{domain}" if at else f"…{recipient[-4:]}"


def _bad_phone(title: str | None = None) -> InvalidInput:
    text = title or _("Please enter a phone number with its country code, like +12025550123")
    return InvalidInput(text, code="notify.phone_invalid", field="phone")
