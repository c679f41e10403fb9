"""Messages of signing in without a password, and of a change of address or number.

One builder each, as in `messages.py`: fixed wording, nothing that a person wrote.
"""

from __future__ import annotations

from datetime import datetime

from ..core.i18n import _
from .messages import EMAIL, SMS, Message, link_mail, notice, otp_code, plain_label


def sign_in(
    recipient: str, *, link: str | None, code: str | None, minutes: int, brand: str
) -> Message:
    """Return the mail that signs its reader in: by link, by code, or by either."""
    if link is None:
        return otp_code(EMAIL, recipient, code=code or "", minutes=minutes, brand=brand)
    subject, label = _("Sign in to %(brand)s", brand=brand), _("Sign in")
    if code is None:
        text = _("Sign in with this link, in the browser where you asked for it. "
                 "It works for %(minutes)s minutes, once.", minutes=minutes)  # fmt: skip
        return link_mail("sign_in", recipient, link, brand, subject=subject, text=text, label=label)
    text = _("Sign in with this link, in the browser where you asked for it, or enter the code "
             "there. Either works once, for %(minutes)s minutes.",
             minutes=minutes)  # fmt: skip
    return link_mail(
        "sign_in", recipient, link, brand, subject=subject, text=text, label=label,
        code=code, code_text=_("Or enter this code, and tell it to nobody:"),
    )  # fmt: skip


def email_change_old(
    recipient: str, *, brand: str, at: datetime, undo: str | None = None, days: int = 0
) -> Message:
    """Return the notice to the former address; by the link `undo` its owner takes it back."""
    text = _("The e-mail address of your account was changed. "
             "This address no longer belongs to it.")  # fmt: skip
    if undo:
        text += " " + _("If this was not you, put this address back with the link below. "
                        "It works for %(days)s days, once.", days=days)  # fmt: skip
    return notice(
        "email_change_old", recipient, brand=brand, at=at, link=undo,
        heading=_("Your e-mail address was changed"), text=text,
        label=_("Put this address back"),
    )  # fmt: skip


def account_disputed(recipient: str, *, brand: str, at: datetime) -> Message:
    """Return the notice that a disputed change of address has locked the account."""
    return notice(
        "account_disputed", recipient, brand=brand, at=at, link=None,
        heading=_("Your account is locked"),
        text=_("Somebody objected to a change of the e-mail address of your account. Ways to sign "
               "in, or another address, were added lately, so nobody can sign in until an "
               "administrator has looked. Please contact one."),
    )  # fmt: skip


def email_change_new(
    recipient: str, *, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice to the new address."""
    return notice(
        "email_change_new", recipient, brand=brand, at=at, link=link,
        heading=_("Your e-mail address was changed"),
        text=_("This is now the e-mail address of your account."),
    )  # fmt: skip


def email_in_use(recipient: str, *, brand: str, at: datetime, link: str | None = None) -> Message:
    """Return the notice to the owner of an address that somebody wanted for another account."""
    return notice(
        "email_in_use", recipient, brand=brand, at=at, link=link,
        heading=_("Somebody tried to use your address"),
        text=_("Somebody asked to make this address the one of another account. "
               "That is not possible while it belongs to yours, and nothing was changed."),
        label=_("Check your account"),
    )  # fmt: skip


def phone_changed(recipient: str, *, brand: str, at: datetime, link: str | None = None) -> Message:
    """Return the mail that tells that the phone number was changed."""
    return notice(
        "phone_changed", recipient, brand=brand, at=at, link=link,
        heading=_("Your phone number was changed"),
        text=_("The phone number of your account was changed."),
    )  # fmt: skip


def phone_removed(recipient: str, *, brand: str, at: datetime, link: str | None = None) -> Message:
    """Return the mail that tells that the phone number was removed."""
    return notice(
        "phone_removed", recipient, brand=brand, at=at, link=link,
        heading=_("Your phone number was removed"),
        text=_("The phone number of your account was removed."),
    )  # fmt: skip


def phone_change_old(recipient: str, *, brand: str, host: str | None) -> Message:
    """Return the text message to the former number."""
    who = host or plain_label(brand, "sign-in")
    text = _("This number was removed from your %(who)s account. If this was not you, sign in "
             "and check your account.", who=who)  # fmt: skip
    return Message(SMS, recipient, "", text, None, "phone_change_old")
