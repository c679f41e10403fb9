"""Messages of account recovery: one builder each, as in `messages.py`; fixed wording.

Every one that goes out while a request is open carries the link that stops it
(NIST SP 800-63B-4 4.2). The reasons that people give are in none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..core.i18n import _
from .messages import SMS, Message, mail, notice, plain_label

OPENED, WAITING, REFUSED = "recovery_opened", "recovery_waiting", "recovery_refused"
CANCELLED, COMPLETED = "recovery_cancelled", "recovery_completed"


def opened(recipient: str, *, brand: str, at: datetime, cancel: str, by_admin: bool) -> Message:
    """Return the notice that a recovery was asked for; `cancel` is the link that stops it."""
    if by_admin:
        text = _("An administrator opened a recovery of your account, because somebody said that "
                 "you can no longer confirm your sign-ins. Nothing is changed yet. "
                 "If that was not you, stop it.")  # fmt: skip
    else:
        text = _("Somebody who passed the first step of your sign-in said that they lost the "
                 "second one, and asked to recover your account. Nothing is changed yet. "
                 "If that was not you, stop it and change your password.")  # fmt: skip
    return notice(
        OPENED, recipient, brand=brand, at=at, link=cancel,
        heading=_("Recovery of your account was asked for"), text=text,
        label=_("Stop the recovery"),
    )  # fmt: skip


def waiting(
    recipient: str, *, brand: str, since: datetime, until: datetime, proceed: str, cancel: str
) -> Message:
    """Return the mail with the personal link that goes on, and the one that stops."""
    return mail(
        WAITING,
        WAITING,
        recipient,
        subject=_("Recover your account at %(brand)s", brand=brand),
        heading=_("Recover your account"),
        brand=brand,
        paragraphs=[
            _("Use this link to remove your old ways to confirm sign-ins and to set up a new one. "
              "It works once, in the time given here."),
        ],
        facts=[(_("Works from"), _utc(since)), (_("Works until"), _utc(until))],
        link=proceed,
        link_label=_("Recover my account"),
        closing=[],
        cancel=cancel,
        cancel_text=_("If you did not ask for this, stop it now, and change your password."),
        cancel_label=_("Stop the recovery"),
    )  # fmt: skip


def refused(recipient: str, *, brand: str, at: datetime, link: str | None = None) -> Message:
    """Return the notice that an administrator refused a recovery."""
    return notice(
        REFUSED, recipient, brand=brand, at=at, link=link,
        heading=_("The recovery of your account was refused"),
        text=_("An administrator refused to recover your account. Nothing was changed."),
        closing=[_("If you still need help, please call your helpdesk.")],
    )  # fmt: skip


def cancelled(recipient: str, *, brand: str, at: datetime, link: str | None = None) -> Message:
    """Return the notice that a recovery was stopped; `link` leads to a new password."""
    return notice(
        CANCELLED, recipient, brand=brand, at=at, link=link,
        heading=_("The recovery of your account was stopped"),
        text=_("Nothing was changed. If you did not ask for the recovery, somebody else may know "
               "your password: change it."),
        label=_("Choose a new password"),
        closing=[],
    )  # fmt: skip


def completed(
    recipient: str, *, removed: Sequence[str], brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that an account was recovered, with everything that was removed."""
    return notice(
        COMPLETED, recipient, brand=brand, at=at, link=link,
        heading=_("Your account was recovered"),
        text=_("These ways to confirm sign-ins were removed, every session was ended, and a new "
               "way is being set up. If that was not you, choose a new password at once and ask "
               "your administrator for help."),
        facts=[(_("Removed"), plain_label(name, _("a method"))) for name in removed],
    )  # fmt: skip


def text_opened(recipient: str, *, brand: str, cancel: str) -> Message:
    """Return the text message that a recovery was asked for."""
    text = _("%(who)s: somebody asked to recover your account. Not you? Stop it: %(link)s",
             who=_who(brand), link=cancel)  # fmt: skip
    return Message(SMS, recipient, "", text, None, OPENED)


def text_waiting(
    recipient: str, *, brand: str, since: datetime, cancel: str, proceed: str | None = None
) -> Message:
    """Return the text message that tells from when on an account can be recovered.

    `proceed` is the personal link, for somebody without a confirmed address.
    """
    who, time = _who(brand), _utc(since)
    if proceed:
        text = _("%(who)s: recover your account from %(time)s on: %(link)s Not you? "
                 "Stop it: %(stop)s", who=who, time=time, link=proceed, stop=cancel)  # fmt: skip
    else:
        text = _("%(who)s: your account can be recovered from %(time)s on. Not you? "
                 "Stop it: %(link)s", who=who, time=time, link=cancel)  # fmt: skip
    return Message(SMS, recipient, "", text, None, WAITING)


def text_refused(recipient: str, *, brand: str) -> Message:
    """Return the text message that a recovery was refused."""
    text = _("%(who)s: the recovery of your account was refused.", who=_who(brand))
    return Message(SMS, recipient, "", text, None, REFUSED)


def text_cancelled(recipient: str, *, brand: str) -> Message:
    """Return the text message that a recovery was stopped."""
    text = _("%(who)s: the recovery of your account was stopped.", who=_who(brand))
    return Message(SMS, recipient, "", text, None, CANCELLED)


def text_completed(recipient: str, *, brand: str) -> Message:
    """Return the text message that an account was recovered."""
    text = _("%(who)s: your account was recovered, and its old ways to confirm sign-ins were "
             "removed. Not you? Choose a new password at once.",
             who=_who(brand))  # fmt: skip
    return Message(SMS, recipient, "", text, None, COMPLETED)


def _who(brand: str) -> str:
    return plain_label(brand, _("Your account"))


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
