"""WhatsApp Business Cloud API: authentication template messages.

A business may write first only with an approved template, so this gateway sends
codes and nothing else; the template's own fixed text surrounds the code (AT-059).
"""

from __future__ import annotations

from typing import Any, ClassVar

import httpx

from ..errors import DeliveryFailed
from ..messages import WHATSAPP, Message
from ..settings import NotifySettings
from ._http import refused, unreachable

# Error codes that pass by themselves: rate limits, service trouble, pair rate limit.
_TEMPORARY_CODES = {1, 2, 4, 80007, 130429, 131000, 131016, 131048, 131056, 133004}


class CloudApiGateway:
    """Messages endpoint of one business phone number."""

    name: ClassVar[str] = "cloud_api"
    channels: ClassVar[frozenset[str]] = frozenset({WHATSAPP})
    required: ClassVar[tuple[str, ...]] = (
        "WHATSAPP_PHONE_NUMBER_ID",
        "WHATSAPP_ACCESS_TOKEN",
        "WHATSAPP_TEMPLATE_NAME",
    )

    def __init__(self, settings: NotifySettings) -> None:
        self._settings = settings
        base = settings.WHATSAPP_API_BASE_URL.rstrip("/")
        version, number = settings.WHATSAPP_API_VERSION, settings.WHATSAPP_PHONE_NUMBER_ID
        self._url = f"{base}/{version}/{number}/messages"

    def send(self, message: Message) -> str:
        """Deliver a code and return the message id. Raises DeliveryFailed."""
        if message.code is None:
            raise DeliveryFailed("cloud_api: only codes can be sent", temporary=False)
        try:
            answer = httpx.post(
                self._url,
                json=self._template(message.recipient, message.code),
                headers={"Authorization": f"Bearer {self._settings.WHATSAPP_ACCESS_TOKEN}"},
                timeout=self._settings.IAM_SMS_TIMEOUT_SECONDS,
                follow_redirects=False,
            )
        except httpx.HTTPError as error:
            raise unreachable(self.name, error) from None
        if not answer.is_success:
            raise _failed(answer)
        try:
            return str(answer.json()["messages"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError):
            raise DeliveryFailed("cloud_api: answer not understood", temporary=True) from None

    def _template(self, recipient: str, code: str) -> dict[str, Any]:
        settings = self._settings
        parameters = [{"type": "text", "text": code}]
        return {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": recipient.lstrip("+"),
            "type": "template",
            "template": {
                "name": settings.WHATSAPP_TEMPLATE_NAME,
                "language": {"code": settings.WHATSAPP_TEMPLATE_LANGUAGE},
                "components": [
                    {"type": "body", "parameters": parameters},
                    {
                        "type": "button",
                        "sub_type": "url",
                        "index": "0",
                        "parameters": parameters,
                    },
                ],
            },
        }


def _failed(answer: httpx.Response) -> DeliveryFailed:
    try:
        code = answer.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        code = None
    failure = refused("cloud_api", answer.status_code, code)
    if code in _TEMPORARY_CODES:
        failure.temporary = True
    return failure
