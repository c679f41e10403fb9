"""Webhook: JSON to an address of the operator's. The row's id is the message's."""

from __future__ import annotations

from typing import ClassVar

from ...core.errors import UpstreamFailed
from ...core.http import AddressRefused
from ...core.network import webhook
from ..errors import DeliveryFailed
from ..messages import WEBHOOK, Message
from ..settings import NotifySettings
from ._http import refused

_TIMEOUT = 3.0
_OK = 300


class WebhookGateway:
    """Posts the message's text, which is JSON, to the one address of the settings."""

    name: ClassVar[str] = "webhook"
    channels: ClassVar[frozenset[str]] = frozenset({WEBHOOK})
    required: ClassVar[tuple[str, ...]] = ("AUDIT_NOTIFY_URL", "AUDIT_NOTIFY_SECRET")

    def __init__(self, settings: NotifySettings) -> None:
        self._url, self._secret = settings.AUDIT_NOTIFY_URL, settings.AUDIT_NOTIFY_SECRET

    def send(self, message: Message) -> str:
        """Deliver and return the id it went out under. Raises DeliveryFailed."""
        try:
            status = webhook.post(
                self._url, message.body_text.encode(), reference=message.reference,
                secret=self._secret, timeout=_TIMEOUT,
            )  # fmt: skip
        except AddressRefused:
            raise DeliveryFailed("webhook: address refused", temporary=False) from None
        except UpstreamFailed as error:
            raise DeliveryFailed(f"webhook: {error.code}", temporary=True) from None
        if status >= _OK:
            raise refused(self.name, status)
        return message.reference
