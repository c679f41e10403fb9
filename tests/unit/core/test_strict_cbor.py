"""Bounds of CBOR: the walker agrees with the decoder it protects, and always ends."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from fido2 import cbor
from hypothesis import given
from hypothesis import strategies as st

from app.core.parsing.strict_cbor import DEEPEST, MOST_ITEMS, end_of, pairs_of

VALUES = st.recursive(
    st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(), inner, max_size=3),
    max_leaves=8,
)
BAD = [
    b"",
    b"\x18",
    b"\x19\x01",
    b"\x42\x00",
    b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00",
    b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x00",
    b"\x9f\xff",  # of indefinite length
    b"\x5f\xff",
    b"\xc0\x00",  # tagged
    b"\xf9\x00\x00",  # half a float
    b"\xfb" + bytes(8),
    b"\xf7",  # undefined
    b"\x1c",
    b"\xa1\x00",
    b"\x81" * (DEEPEST + 1) + b"\x00",
    b"\x81" * 60_000 + b"\x00",
    b"\x99\xff\xff" + b"\x00" * 65_535,
    b"\x99\x02\x01" + b"\x00" * (MOST_ITEMS + 1),
]


@pytest.mark.parametrize("data", BAD)
def test_at_260_cbor_beyond_its_bounds_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        end_of(data)


def encoded(value: Any) -> bytes:
    return cbor.encode(value)


@given(VALUES, st.binary(max_size=5))
def test_the_walker_ends_where_the_decoder_ends(value: Any, rest: bytes) -> None:
    try:
        data = encoded(value)
    except Exception:  # noqa: BLE001 - an integer that CBOR cannot hold
        return
    with contextlib.suppress(ValueError):  # nested too deeply for us
        assert end_of(data + rest) == len(data)
        assert cbor.decode_from(data + rest)[1] == rest


@given(st.binary(max_size=120))
def test_what_the_walker_lets_through_the_decoder_reads_to_the_same_end(data: bytes) -> None:
    try:
        end = end_of(data)
    except ValueError:
        return
    with contextlib.suppress(UnicodeDecodeError, TypeError):  # text or keys that are none
        assert len(data) - len(cbor.decode_from(data)[1]) == end


def test_pairs_are_counted_of_maps_alone() -> None:
    assert pairs_of(cbor.encode({1: 2, 3: 4})) == 2
    for data in (b"\x80", b"\x00", b""):
        with pytest.raises(ValueError):
            pairs_of(data)
