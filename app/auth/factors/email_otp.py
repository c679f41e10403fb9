"""A code by e-mail. One factor only: NIST SP 800-63B-4 3.1.3 rules mail out as second factor."""

from __future__ import annotations

from typing import ClassVar

from ...core.i18n import _
from ...notify.messages import EMAIL
from .sent_code import SentCode


class EmailOtp(SentCode):
    """Codes sent by this channel."""

    name: ClassVar[str] = "email_otp"
    assurance: ClassVar[str] = "aal1"
    channel: ClassVar[str | None] = EMAIL

    @property
    def label(self) -> str:
        """Return what people call it."""
        return _("E-mail codes")

    @property
    def note(self) -> str:
        """Return in a few words how strong it is."""
        return _("Basic: only as safe as your mailbox")
