"""Messages as values, one builder each; the wording is fixed here and in `messages_*`.

No builder takes free text from a person. The few labels that people influence (an
organisation, a browser) are cut and stripped of anything that looks like an address,
stand in the body only, and never in a text message (AT-059, AT-425).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..core.errors import InvalidInput
from ..core.i18n import _
from .addresses import header_safe, mail_address
from .rendering import render_mail

EMAIL, SMS, WHATSAPP = "email", "sms", "whatsapp"
CHANNELS = (EMAIL, SMS, WHATSAPP)
# Those of machines: what goes there is not read by the person it is about.
WEBHOOK, SYSLOG = "webhook", "syslog"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_CODE = re.compile(r"[A-Z0-9-]{4,16}\Z")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_LINK = re.compile(r"https?://[^\s\"'<>\\\x00-\x1f\x7f]+\Z")
_ADDRESS_LIKE = re.compile(r"://|\bwww\.|[\w-]\.[a-z]{2,}(?![\w.])|@", re.IGNORECASE)
_NOT_PRINTED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_LABEL_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one recipient. Its repr shows neither recipient nor content.

    `code` repeats a one-time code for gateways that fill a provider's template;
    `reference` is the outbox row, by which receivers tell a repeated delivery.
    Raises InvalidInput where recipient or subject could forge a header (AT-426).
    """

    channel: str
    recipient: str = field(repr=False)
    subject: str = field(repr=False)
    body_text: str = field(repr=False)
    body_html: str | None = field(repr=False)
    purpose: str
    code: str | None = field(default=None, repr=False)
    reference: str = ""

    def __post_init__(self) -> None:
        if self.channel not in (*CHANNELS, WEBHOOK, SYSLOG):
            raise InvalidInput(_("This way of sending is not known"), field="channel")
        if self.channel == EMAIL:
            mail_address(self.recipient)
        elif self.channel in (SMS, WHATSAPP) and not _E164.match(self.recipient):
            raise InvalidInput(_("Please enter a phone number"), field="recipient")
        for name in ("subject", "purpose", "reference"):
            header_safe(getattr(self, name), name)


def plain_label(text: str | None, fallback: str) -> str:
    """Return a label people can influence in harmless form, or `fallback`."""
    shown = "".join(
        " " if unicodedata.category(char) in _NOT_PRINTED else char
        for char in unicodedata.normalize("NFKC", text or "")
    )
    shown = " ".join(shown.split())[:_LABEL_LENGTH].strip()
    return fallback if not shown or _ADDRESS_LIKE.search(shown) else shown


def otp_code(
    channel: str,
    recipient: str,
    *,
    code: str,
    minutes: int,
    brand: str,
    purpose: str = "sign_in",
    host: str | None = None,
) -> Message:
    """Return a one-time code; `purpose` is a key of the fixed texts, `host` our public name."""
    if not _CODE.match(code):
        raise InvalidInput(field="code")
    what = _purpose_text(purpose)
    if channel != EMAIL:
        text = _text_message(code, minutes, brand, what, host)
        return Message(channel, recipient, "", text, None, f"otp.{purpose}", code)
    return mail(
        "code",
        f"otp.{purpose}",
        recipient,
        subject=_("Your code for %(brand)s", brand=brand),
        brand=brand,
        paragraphs=[_("Use this code to %(what)s. It works for %(minutes)s minutes, once.",
                      what=what, minutes=minutes)],
        closing=[f"{_('Nobody from %(brand)s will ask for it.', brand=brand)} {_unasked(purpose)}"],
        code=code,
    )  # fmt: skip


def email_verification_link(recipient: str, *, link: str, hours: int, brand: str) -> Message:
    """Return the mail that proves that an address belongs to its account."""
    return link_mail(
        "email_verification", recipient, link, brand,
        subject=_("Confirm your e-mail address for %(brand)s", brand=brand),
        text=_("Confirm that this address is yours. The link works for %(hours)s hours.",
               hours=hours),
        label=_("Confirm address"),
    )  # fmt: skip


def password_reset_link(recipient: str, *, link: str, minutes: int, brand: str) -> Message:
    """Return the mail that lets its reader choose a new password."""
    return link_mail(
        "password_reset", recipient, link, brand,
        subject=_("Reset your password for %(brand)s", brand=brand),
        text=_("Choose a new password. The link works for %(minutes)s minutes, once.",
               minutes=minutes),
        label=_("Choose a new password"),
    )  # fmt: skip


def set_password_link(recipient: str, *, link: str, hours: int, brand: str) -> Message:
    """Return the mail to someone for whom an administrator made an account."""
    return link_mail(
        "set_password", recipient, link, brand,
        subject=_("Your account at %(brand)s", brand=brand),
        text=_("An account was made for you. Choose a password to use it. "
               "The link works for %(hours)s hours, once.", hours=hours),
        label=_("Choose a password"),
    )  # fmt: skip


def invitation(
    recipient: str, *, link: str, days: int, brand: str, organisation: str | None = None
) -> Message:
    """Return the invitation into an organisation; the inviter's name is not shown (AT-425)."""
    where = plain_label(organisation, _("an organisation"))
    return link_mail(
        "invitation", recipient, link, brand,
        subject=_("You are invited to %(brand)s", brand=brand),
        text=_("You are invited to join %(where)s. The link works for %(days)s days, once.",
               where=where, days=days),
        label=_("See the invitation"),
    )  # fmt: skip


def password_changed(
    recipient: str, *, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that the password was changed."""
    return notice(
        "password_changed", recipient, brand=brand, at=at, link=link,
        heading=_("Your password was changed"),
        text=_("The password of your account was changed."),
    )  # fmt: skip


def factor_added(
    recipient: str, *, factor: str, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that a way to confirm sign-ins was added."""
    return notice(
        "factor_added", recipient, brand=brand, at=at, link=link,
        heading=_("A sign-in method was added"),
        text=_("A new way to confirm sign-ins was added to your account."),
        facts=[
            (_("Method"), plain_label(factor, _("a method"))),
        ],
    )  # fmt: skip


def factor_removed(
    recipient: str, *, factor: str, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that a way to confirm sign-ins was removed."""
    return notice(
        "factor_removed", recipient, brand=brand, at=at, link=link,
        heading=_("A sign-in method was removed"),
        text=_("A way to confirm sign-ins was removed from your account."),
        facts=[
            (_("Method"), plain_label(factor, _("a method"))),
        ],
    )  # fmt: skip


def factors_reset(recipient: str, *, brand: str, at: datetime, link: str | None = None) -> Message:
    """Return the notice that an administrator removed all second factors."""
    return notice(
        "factors_reset", recipient, brand=brand, at=at, link=link,
        heading=_("Your sign-in methods were reset"),
        text=_("An administrator removed every way to confirm sign-ins from your account."),
    )  # fmt: skip


def recovery_codes_replaced(
    recipient: str, *, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that new recovery codes were made."""
    return notice(
        "recovery_codes_replaced", recipient, brand=brand, at=at, link=link,
        heading=_("New recovery codes were made"),
        text=_("New recovery codes were made for your account. The old ones no longer work."),
    )  # fmt: skip


def recovery_code_used(
    recipient: str, *, remaining: int, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that a recovery code was used (NIST SP 800-63B-4 4.2)."""
    return notice(
        "recovery_code_used", recipient, brand=brand, at=at, link=link,
        heading=_("A recovery code was used"),
        text=_("Somebody confirmed a sign-in to your account with one of your recovery codes."),
        facts=[(_("Codes left"), str(remaining))],
    )  # fmt: skip


def key_clone_suspected(
    recipient: str, *, key: str, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that a security key may exist twice."""
    return notice(
        "key_clone_suspected", recipient, brand=brand, at=at, link=link,
        heading=_("One of your security keys may have been copied"),
        text=_(
            "A security key of your account counts its uses, and its last count did not fit. "
            "It may have been copied. If in doubt, remove it and add a new one."
        ),
        facts=[(_("Key"), plain_label(key, _("a security key")))],
        label=_("Look at my security keys"),
    )  # fmt: skip


def account_suspended(recipient: str, *, brand: str, at: datetime) -> Message:
    """Return the notice that an account was suspended."""
    return notice(
        "account_suspended", recipient, brand=brand, at=at, link=None,
        heading=_("Your account was suspended"),
        text=_("An administrator suspended your account. Please contact them to learn why."),
        closing=[],
    )  # fmt: skip


def _purpose_text(purpose: str) -> str:
    texts = {
        "sign_in": _("sign in"),
        "step_up": _("confirm an important change"),
        "enrol": _("add this way to sign in"),
        "verify_email": _("confirm your e-mail address"),
        "verify_device": _("confirm a new device"),
        "verify_phone": _("confirm your phone number"),
        "recovery": _("get back into your account"),
    }
    return texts.get(purpose) or _("confirm that it is you")


def _unasked(purpose: str) -> str:
    # For these, whoever asked has passed the first step of a sign-in already.
    texts = {
        "verify_device": _("If you did not ask for a code, somebody may know your password: "
                           "change it."),
        "recovery": _("If you did not ask for a code, stop the recovery by the link in our other "
                      "message, and change your password."),
    }  # fmt: skip
    return texts.get(purpose) or _("If you did not ask for a code, you need not do anything.")


def _text_message(code: str, minutes: int, brand: str, what: str, host: str | None) -> str:
    if host and not _HOST.match(host):
        raise InvalidInput(field="host")
    text = _(
        "%(code)s is your %(who)s code to %(what)s. Valid for %(minutes)s minutes. Never share it.",
        code=code, who=host or plain_label(brand, "sign-in"), what=what, minutes=minutes,
    )  # fmt: skip
    # The last line lets a browser fill the code in on our own site only (WebOTP).
    return f"{text}\n\n@{host} #{code}" if host else text


def link_mail(
    purpose: str,
    recipient: str,
    link: str,
    brand: str,
    *,
    subject: str,
    text: str,
    label: str,
    **values: Any,
) -> Message:
    """Return a mail around one link."""
    return mail(
        "link",
        purpose,
        recipient,
        subject=subject,
        brand=brand,
        paragraphs=[text],
        closing=[_("If you did not expect this mail, you need not do anything.")],
        link=_checked_link(link),
        link_label=label,
        **values,
    )


def notice(
    purpose: str,
    recipient: str,
    *,
    brand: str,
    at: datetime,
    link: str | None,
    heading: str,
    text: str,
    facts: Sequence[tuple[str, str]] = (),
    label: str = "",
    **values: Any,
) -> Message:
    """Return a mail that tells what happened.

    `label` names its link, by default an objection; `closing` replaces the last lines.
    """
    values.setdefault("closing", [_("If this was you, you need not do anything.")])
    return mail(
        "notice",
        purpose,
        recipient,
        subject=_("%(what)s: %(brand)s", what=heading, brand=brand),
        brand=brand,
        heading=heading,
        paragraphs=[text],
        facts=[*facts, (_("Time"), f"{at:%Y-%m-%d %H:%M} UTC")],
        link=_checked_link(link) if link else None,
        link_label=label or _("This was not me"),
        **values,
    )


def mail(
    kind: str, purpose: str, recipient: str, *, subject: str, brand: str, **values: Any
) -> Message:
    """Return a mail rendered from the templates of its purpose or kind."""
    values.setdefault("heading", subject)
    text, html = render_mail(kind, purpose, brand=brand, **values)
    return Message(EMAIL, recipient, subject, text, html, purpose, values.get("code"))


def _checked_link(link: str) -> str:
    if not _LINK.match(link):
        raise InvalidInput(field="link")
    return link
