"""Webhook: JSON to an address of the operator's, signed as Standard Webhooks 1.0 says.

The receiver checks the signature over id, time and body, and refuses times that are more
than five minutes off and ids that it knows already (AT-414). The row's id is the message's:
a repeated delivery is recognised by it.
"""

from __future__ import annotations

import base64
import hmac
from typing import ClassVar

from ...core import clock, http
from ...core.errors import UpstreamFailed
from ..errors import DeliveryFailed
from ..messages import WEBHOOK, Message
from ..settings import NotifySettings
from ._http import refused

_TIMEOUT = 3.0
_MAX_ANSWER = 16 * 1024
_OK = 300
_PREFIX = "whsec_"


class WebhookGateway:
    """Posts the message's text, which is JSON, to the one address of the settings."""

    name: ClassVar[str] = "webhook"
    channels: ClassVar[frozenset[str]] = frozenset({WEBHOOK})
    required: ClassVar[tuple[str, ...]] = ("AUDIT_NOTIFY_URL", "AUDIT_NOTIFY_SECRET")

    def __init__(self, settings: NotifySettings) -> None:
        self._url, self._secret = settings.AUDIT_NOTIFY_URL, settings.AUDIT_NOTIFY_SECRET

    def send(self, message: Message) -> str:
        """Deliver and return the id it went out under. Raises DeliveryFailed."""
        body = message.body_text.encode()
        at = str(int(clock.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "Webhook-Id": message.reference,
            "Webhook-Timestamp": at,
            "Webhook-Signature": f"v1,{signature(self._secret, message.reference, at, body)}",
        }
        try:
            # The operator named the address: it may lie in their own network.
            answer = http.fetch(
                "POST", self._url, headers=headers, content=body, timeout=_TIMEOUT,
                max_bytes=_MAX_ANSWER, allow_private=True,
            )  # fmt: skip
        except http.AddressRefused:
            raise DeliveryFailed("webhook: address refused", temporary=False) from None
        except UpstreamFailed as error:
            raise DeliveryFailed(f"webhook: {error.code}", temporary=True) from None
        if answer.status >= _OK:
            raise refused(self.name, answer.status)
        return message.reference


def signature(secret: str, message_id: str, at: str, body: bytes) -> str:
    """Return the signature of a message in base64; `at` is in seconds since 1970."""
    signed = b".".join((message_id.encode(), at.encode(), body))
    return base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()


def _key(secret: str) -> bytes:
    # The standard writes keys as `whsec_` and base64; any other secret is taken as it stands.
    if secret.startswith(_PREFIX):
        return base64.b64decode(secret.removeprefix(_PREFIX))
    return secret.encode()
