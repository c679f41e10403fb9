"""A code by WhatsApp, held to the same rules as a text message."""

from __future__ import annotations

from typing import ClassVar

from ...core.i18n import _
from ...notify.messages import WHATSAPP
from .sent_code import SentCode


class WhatsappOtp(SentCode):
    """Codes sent by this channel."""

    name: ClassVar[str] = "whatsapp_otp"
    assurance: ClassVar[str] = "aal2"
    channel: ClassVar[str | None] = WHATSAPP

    @property
    def label(self) -> str:
        """Return what people call it."""
        return _("WhatsApp codes")

    @property
    def note(self) -> str:
        """Return in a few words how strong it is."""
        return _("Medium: tied to your phone number")
