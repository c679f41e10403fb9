"""No gateway: a channel that an installation deliberately does without."""

from __future__ import annotations

from typing import ClassVar

from ..errors import DeliveryFailed
from ..messages import CHANNELS, Message
from ..settings import NotifySettings


class DisabledGateway:
    """Refuses every message, for good."""

    name: ClassVar[str] = "none"
    channels: ClassVar[frozenset[str]] = frozenset(CHANNELS)
    required: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: NotifySettings) -> None:
        del settings  # every gateway is built alike

    def send(self, message: Message) -> str:
        """Refuse. Raises DeliveryFailed."""
        raise DeliveryFailed(f"none: {message.channel} is switched off", temporary=False)
