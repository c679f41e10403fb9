"""How the trail's personal values stand in a row: AES-256-GCM under a person's key (M6).

Pure: keys and values in, octets out. Tenant, event and field are authenticated with the
text, so that a ciphertext copied to another row or column does not open (AT-474).
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...core import rng

ORIGIN, PERSONAL = "origin", "personal"
KEY_BYTES = 32
# What the columns hold; version, nonce and tag take 29 octets of it.
MOST = {ORIGIN: 1024, PERSONAL: 32768}
_VERSION = b"\x01"
_NONCE_BYTES = 12


class Unreadable(ValueError):
    """The octets were not made under this key for this place."""


def seal(key: bytes, tenant_id: UUID, event_id: UUID, field: str, value: dict[str, Any]) -> bytes:
    """Return `value` as it may stand in one column of one event.

    Raises ValueError where it would not fit: an event is never kept in part.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    nonce = rng.random_bytes(_NONCE_BYTES)
    place = _place(tenant_id, event_id, field)
    sealed = _VERSION + nonce + AESGCM(key).encrypt(nonce, text.encode(), place)
    if len(sealed) > MOST[field]:
        raise ValueError(f"too much to keep in {field} of an event")
    return sealed


def unseal(
    key: bytes, tenant_id: UUID, event_id: UUID, field: str, sealed: bytes
) -> dict[str, Any]:
    """Return what `seal` was given. Raises Unreadable."""
    nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    if sealed[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
        raise Unreadable("not a sealed value")
    try:
        clear = AESGCM(key).decrypt(nonce, text, _place(tenant_id, event_id, field))
    except InvalidTag:
        raise Unreadable("sealed for another place or under another key") from None
    found: dict[str, Any] = json.loads(clear)
    return found


def _place(tenant_id: UUID, event_id: UUID, field: str) -> bytes:
    return b"iam-audit-personal/1\n" + tenant_id.bytes + event_id.bytes + field.encode()
