"""Bounds of a stranger's CBOR, before any decoder sees it (RFC 8949; CTAP 2.2, section 8).

Walks once over the bytes, without recursion: whatever is truncated, of indefinite length,
tagged, floating, nested or divided beyond reason is refused here in linear time.
"""

from __future__ import annotations

DEEPEST, MOST_ITEMS = 8, 512
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_FALSE_TRUE_NULL = {20, 21, 22}


def end_of(data: bytes, at: int = 0) -> int:
    """Return where the item that begins at `at` ends. Raises ValueError."""
    open_items = [1]
    seen = 0
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        open_items[-1] -= 1
        seen += 1
        kind, value, at = _head(data, at)
        if kind in {_BYTES, _TEXT}:
            at += value
        elif kind in {_ARRAY, _MAP}:
            open_items.append(value * 2 if kind == _MAP else value)
        if at > len(data) or seen > MOST_ITEMS or len(open_items) > DEEPEST:
            raise ValueError("CBOR is truncated or too complex")
    return at


def pairs_of(data: bytes, at: int = 0) -> int:
    """Return how many pairs the map that begins at `at` announces. Raises ValueError."""
    kind, value, _after = _head(data, at)
    if kind != _MAP:
        raise ValueError("not a CBOR map")
    return value


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    if at >= len(data):
        raise ValueError("CBOR is truncated")
    kind, info = data[at] >> 5, data[at] & 0x1F
    at += 1
    if kind == _TAG or info > 27 or (kind == _SIMPLE and info not in _FALSE_TRUE_NULL):
        raise ValueError("CBOR of a kind that WebAuthn does not use")
    if info < 24:  # the value itself; above, the length of the value
        return kind, info, at
    size = 1 << (info - 24)
    if at + size > len(data):
        raise ValueError("CBOR is truncated")
    return kind, int.from_bytes(data[at : at + size], "big"), at + size
