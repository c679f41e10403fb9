"""SMS and WhatsApp through Twilio's own SDK (Messages resource, API 2010-04-01).

No status callback is registered, so there is none to forge (AT-427).
"""

from __future__ import annotations

import json
import logging
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..errors import DeliveryFailed
from ..messages import SMS, WHATSAPP, Message
from ..settings import NotifySettings
from ._http import refused, unreachable

_VALIDITY_SECONDS = 600


class TwilioGateway:
    """Messages resource of one Twilio account."""

    name: ClassVar[str] = "twilio"
    channels: ClassVar[frozenset[str]] = frozenset({SMS, WHATSAPP})
    required: ClassVar[tuple[str, ...]] = (
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_FROM_NUMBER",
    )

    def __init__(self, settings: NotifySettings) -> None:
        # Imported here, not at the top: the SDK takes most of a second and tens of
        # megabytes to load, and an installation uses at most one of the two SDKs.
        from twilio.rest import Client

        self._settings = settings
        self._client = Client(
            settings.TWILIO_ACCOUNT_SID,
            settings.TWILIO_AUTH_TOKEN,
            http_client=_http_client(
                settings.TWILIO_API_BASE_URL, settings.IAM_SMS_TIMEOUT_SECONDS
            ),
        )

    def send(self, message: Message) -> str:
        """Deliver and return the message SID. Raises DeliveryFailed."""
        from requests.exceptions import RequestException
        from twilio.base.exceptions import (
            TwilioException,
            TwilioRestException,
            TwilioServiceException,
        )

        try:
            created = self._client.messages.create(**self._fields(message))
        except (TwilioRestException, TwilioServiceException) as error:
            raise refused(self.name, error.status, error.code) from None
        except RequestException as error:
            raise unreachable(self.name, error) from None
        except (TwilioException, ValueError, TypeError, KeyError):
            raise DeliveryFailed("twilio: answer not understood", temporary=True) from None
        return str(created.sid)

    def _fields(self, message: Message) -> dict[str, Any]:
        settings = self._settings
        if message.channel == SMS:
            return {
                "to": message.recipient,
                "from_": settings.TWILIO_FROM_NUMBER,
                "body": message.body_text,
                "validity_period": _VALIDITY_SECONDS,
            }
        sender = settings.TWILIO_WHATSAPP_FROM or settings.TWILIO_FROM_NUMBER
        fields: dict[str, Any] = {
            "to": f"whatsapp:{message.recipient}",
            "from_": f"whatsapp:{sender}",
        }
        if settings.TWILIO_WHATSAPP_CONTENT_SID and message.code:
            fields["content_sid"] = settings.TWILIO_WHATSAPP_CONTENT_SID
            fields["content_variables"] = json.dumps({"1": message.code})
        else:
            fields["body"] = message.body_text
        return fields


def _http_client(base_url: str, timeout: int) -> Any:
    """Return the SDK's HTTP client with a time limit, silent, at another base where one is set."""
    from twilio.http.http_client import TwilioHttpClient

    # The SDK logs whole answers; they carry the text and the recipient (AT-044).
    silent = logging.Logger("iam.notify.twilio", level=logging.CRITICAL + 1)  # noqa: LOG001
    if not base_url:
        return TwilioHttpClient(timeout=timeout, max_retries=0, logger=silent)

    class _Elsewhere(TwilioHttpClient):  # type: ignore[misc]  # the SDK publishes no types
        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            there = base_url.rstrip("/") + urlsplit(url).path
            return super().request(method, there, *args, **kwargs)

    return _Elsewhere(timeout=timeout, max_retries=0, logger=silent)
