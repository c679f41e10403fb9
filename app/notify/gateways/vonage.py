"""SMS through Vonage's own SDK (SMS API, `POST /sms/json`).

That API answers 200 and puts its verdict into the body: the status numbers below
are the ones its reference lists.
"""

from __future__ import annotations

import logging
import re
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..errors import DeliveryFailed
from ..messages import SMS, Message
from ..settings import NotifySettings
from ._http import refused, unreachable

_STATUS = re.compile(r"error code (\d{1,3}):")
# Throttled, internal error, too many existing binds.
_TEMPORARY_STATUS = {1, 5, 10}
_TTL_MILLISECONDS = 600_000


class VonageGateway:
    """SMS API of one Vonage account."""

    name: ClassVar[str] = "vonage"
    channels: ClassVar[frozenset[str]] = frozenset({SMS})
    required: ClassVar[tuple[str, ...]] = ("VONAGE_API_KEY", "VONAGE_API_SECRET", "VONAGE_FROM")

    def __init__(self, settings: NotifySettings) -> None:
        # Imported here, not at the top: the SDK takes most of a second and tens of
        # megabytes to load, and an installation uses at most one of the two SDKs.
        from vonage import Auth, HttpClientOptions, Vonage

        # The SDK logs requests and answers, which carry the text and the recipient (AT-044).
        logging.getLogger("vonage").disabled = True
        self._sender = settings.VONAGE_FROM.lstrip("+")
        # One try and one connection: the SDK would otherwise multiply the time limit.
        options: dict[str, Any] = {
            "timeout": settings.IAM_SMS_TIMEOUT_SECONDS,
            "max_retries": 0,
            "pool_maxsize": 1,
        }
        if settings.VONAGE_API_BASE_URL:
            options["rest_host"] = urlsplit(settings.VONAGE_API_BASE_URL).netloc
        auth = Auth(api_key=settings.VONAGE_API_KEY, api_secret=settings.VONAGE_API_SECRET)
        self._client = Vonage(auth, HttpClientOptions(**options))

    def send(self, message: Message) -> str:
        """Deliver and return the message id. Raises DeliveryFailed."""
        from requests.exceptions import RequestException
        from vonage_http_client.errors import HttpRequestError
        from vonage_sms import SmsError, SmsMessage

        sms = SmsMessage(
            to=message.recipient.lstrip("+"),
            from_=self._sender,
            text=message.body_text,
            type="text" if message.body_text.isascii() else "unicode",
            ttl=_TTL_MILLISECONDS,
            client_ref=message.reference or None,
        )
        try:
            answer = self._client.sms.send(sms)
        except HttpRequestError as error:
            raise refused(self.name, error.response.status_code) from None
        except SmsError as error:
            raise _failed(str(error)) from None
        except RequestException as error:
            raise unreachable(self.name, error) from None
        except (ValueError, TypeError, KeyError, IndexError):
            raise DeliveryFailed("vonage: answer not understood", temporary=True) from None
        return str(answer.messages[0].message_id)


def _failed(text: str) -> DeliveryFailed:
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    temporary = not found or status in _TEMPORARY_STATUS
    return DeliveryFailed(f"vonage: status {status or 'unknown'}", temporary=temporary)
