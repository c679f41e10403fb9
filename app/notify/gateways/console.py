"""Console: sends nothing, logs that a message was due. For development and the demo.

The text is never logged (AT-044); the demo page reads it from the outbox.
"""

from __future__ import annotations

import logging
from typing import ClassVar

from ...core.ids import new_id
from ..addresses import mask
from ..messages import CHANNELS, Message
from ..settings import NotifySettings

_log = logging.getLogger("iam.notify")


class ConsoleGateway:
    """Logs the channel, the purpose and a masked recipient."""

    name: ClassVar[str] = "console"
    channels: ClassVar[frozenset[str]] = frozenset(CHANNELS)
    required: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: NotifySettings) -> None:
        del settings  # every gateway is built alike

    def send(self, message: Message) -> str:
        """Log that a message was due."""
        _log.info("%s (%s) to %s", message.channel, message.purpose, mask(message.recipient))
        return f"console-{new_id().hex}"
