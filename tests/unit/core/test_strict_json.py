"""JSON of strangers: what is read, and that nothing but ValueError comes out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.parsing.strict_json import DEEPEST, read_object

BAD = [
    "",
    "null",
    "[]",
    '"text"',
    "1",
    "{",
    '{"a": 1} x',
    '{"a": 1, "a": 2}',
    '{"a": {"b": 1, "b": 2}}',
    '{"a": NaN}',
    '{"a": Infinity}',
    '{"a": -Infinity}',
    '{"a": "\\ud800"}',
    '{"\\udfff": 1}',
    '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"a": ' + "[" * DEEPEST + "]" * DEEPEST + "}",
    '{"a": ' + "9" * 10_000 + "}",
    b"\xff\xfe{}",
    b'{"a": "\xc0\x80"}',
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("text", BAD)
def test_at_260_what_could_be_read_in_two_ways_is_refused(text: Any) -> None:
    with pytest.raises(ValueError):
        read_object(text)


def test_an_object_is_read_as_it_is() -> None:
    deep = '{"a": ' + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1) + "}"
    assert read_object('{"a": [1, 2.5, true, null, "ü"], "b": {}}') == {
        "a": [1, 2.5, True, None, "ü"],
        "b": {},
    }
    assert read_object(deep.encode()) == json.loads(deep)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_whatever_json_writes_is_read_back(value: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):  # nested beyond what we read
        assert read_object(json.dumps(value)) == value


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_nothing_but_a_value_error_comes_out(text: Any) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_object(text), dict)
