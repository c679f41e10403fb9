"""A code by text message. A restricted authenticator: NIST SP 800-63B-4 3.2.9."""

from __future__ import annotations

from typing import ClassVar

from ...core.i18n import _
from ...notify.messages import SMS
from .sent_code import SentCode


class SmsOtp(SentCode):
    """Codes sent by this channel."""

    name: ClassVar[str] = "sms_otp"
    assurance: ClassVar[str] = "aal2"
    channel: ClassVar[str | None] = SMS

    @property
    def label(self) -> str:
        """Return what people call it."""
        return _("Text message codes")

    @property
    def note(self) -> str:
        """Return in a few words how strong it is."""
        return _("Medium: text messages can be intercepted")
