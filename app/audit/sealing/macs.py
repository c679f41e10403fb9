"""The mark of origin on an event: only this installation can have written it.

Whoever can write to the database alone cannot make a row that the sealer takes into the
trail: the key of the mark (HMAC-SHA-256) is not in the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import inspect

from ...core.crypto import keyring, same
from ..models import IAMAuthLog
from ..verifier import FIELDS, encode

LABEL = "audit event"
MOST_BYTES = 1 << 18


def mac_of(values: Mapping[str, Any]) -> bytes:
    """Return the mark over an event given by attributes of `IAMAuthLog`.

    Raises ValueError or TypeError for a value without a canonical form, ValueError for an
    event of more than MOST_BYTES.
    """
    names = _attributes()
    encoded = encode({column: values.get(names[column]) for column in FIELDS})
    if len(encoded) > MOST_BYTES:
        raise ValueError(f"an event holds at most {MOST_BYTES} bytes")
    return keyring().macs(encoded, LABEL)[0]


def as_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes of `IAMAuthLog` by the names of their columns, each of them."""
    return {column: values.get(name) for column, name in _attributes().items()}


def is_ours(encoded: bytes, mac: object) -> bool:
    """Return whether `mac` was made over an encoded event under any key of this installation."""
    if not isinstance(mac, bytes):
        return False
    return any(same(mac, ours) for ours in keyring().macs(encoded, LABEL))


@cache
def _attributes() -> dict[str, str]:
    return {found.columns[0].name: found.key for found in inspect(IAMAuthLog).column_attrs}
