"""Identifiers: UUID version 7 (RFC 9562, 5.7), time-ordered so that indexes stay dense."""

from __future__ import annotations

from uuid import UUID

from . import clock, rng


def new_id() -> UUID:
    """Return a new UUIDv7: 48 bits of milliseconds, 12 of their fraction, 62 random bits.

    The fraction (RFC 9562, 6.2, method 3) keeps the ids of one request in order.
    """
    milliseconds, rest = divmod(clock.epoch_us(), 1000)
    fraction = (rest * 4096 // 1000).to_bytes(2, "big")
    raw = bytearray(milliseconds.to_bytes(6, "big") + fraction + rng.random_bytes(8))
    raw[6] |= 0x70
    raw[8] = (raw[8] & 0x3F) | 0x80
    return UUID(bytes=bytes(raw))


def parse_id(text: str | None) -> UUID | None:
    """Return the UUID written in `text`, or None where it is not one."""
    try:
        return UUID(text) if text else None
    except (ValueError, AttributeError, TypeError):
        return None
