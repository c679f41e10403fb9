"""System log: one line to a collector, by RFC 5424. Datagrams: sent, never confirmed."""

from __future__ import annotations

from typing import ClassVar

from ...core import clock
from ...core.errors import UpstreamFailed
from ...core.network import syslog
from ..errors import DeliveryFailed
from ..messages import SYSLOG, Message
from ..settings import NotifySettings


class SyslogGateway:
    """Sends the message's text to the one collector of the settings."""

    name: ClassVar[str] = "syslog"
    channels: ClassVar[frozenset[str]] = frozenset({SYSLOG})
    required: ClassVar[tuple[str, ...]] = ("AUDIT_NOTIFY_SYSLOG",)

    def __init__(self, settings: NotifySettings) -> None:
        self._target = settings.AUDIT_NOTIFY_SYSLOG

    def send(self, message: Message) -> str:
        """Send the line and return the id it tells. Raises DeliveryFailed."""
        line = syslog.Line("critical", message.body_text, clock.now(), syslog.CRITICAL)
        try:
            syslog.send(self._target, line)
        except UpstreamFailed as error:
            raise DeliveryFailed(f"syslog: {error.code}", temporary=True) from None
        return message.reference
