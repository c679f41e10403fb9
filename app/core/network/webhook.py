"""The door to a webhook: one POST of JSON, signed as Standard Webhooks 1.0 says.

Owns form, signature and the one attempt. The receiver checks the signature over id, time and
body, and refuses times that are more than five minutes off and ids that it knows already
(AT-414): a repetition goes out under the same id.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from .. import clock, http

_MAX_ANSWER: Final = 16 * 1024
_PREFIX: Final = "whsec_"


def post(url: str, body: bytes, *, reference: str, secret: str, timeout: float) -> int:
    """Post `body` under the id `reference` and return the answer's status.

    `timeout` is in seconds. The operator named the address: it may lie in their own network.
    Raises UpstreamFailed where there is no answer, AddressRefused for an address that is none.
    """
    at = str(int(clock.now().timestamp()))
    headers = {
        "Content-Type": "application/json",
        "Webhook-Id": reference,
        "Webhook-Timestamp": at,
        "Webhook-Signature": f"v1,{signature(secret, reference, at, body)}",
    }
    answer = http.fetch(
        "POST", url, headers=headers, content=body, timeout=timeout,
        max_bytes=_MAX_ANSWER, allow_private=True,
    )  # fmt: skip
    return answer.status


def signature(secret: str, reference: str, at: str, body: bytes) -> str:
    """Return the signature of a message in base64; `at` is in seconds since 1970."""
    signed = b".".join((reference.encode(), at.encode(), body))
    return base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()


def expect_secret(secret: str) -> str:
    """Return a secret that can sign, or an empty one, which means none.

    Raises ValueError for `whsec_` without base64 behind it.
    """
    try:
        key = _key(secret)
    except binascii.Error:
        raise ValueError(f"what follows {_PREFIX} is no base64") from None
    if secret and not key:
        raise ValueError(f"{_PREFIX} needs base64 behind it")
    return secret


def _key(secret: str) -> bytes:
    # The standard writes keys as `whsec_` and base64; any other secret is taken as it stands.
    if secret.startswith(_PREFIX):
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    return secret.encode()
