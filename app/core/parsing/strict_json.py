"""JSON of strangers, read strictly (RFC 8259; I-JSON, RFC 7493).

What two readers could understand differently is refused: a name given twice, NaN, broken
UTF-8, lone surrogates; likewise what only wants to exhaust us: deep nesting, huge numbers.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

DEEPEST = 16
_SURROGATES = range(0xD800, 0xE000)


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return the object that `text` is. Raises ValueError for anything else."""
    try:
        found = json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_once,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the text is wrong, not our call
    _check(found)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name was given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check(found: dict[str, Any]) -> None:
    waiting: list[tuple[Any, int]] = [(found, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        if isinstance(value, dict):
            waiting += [(name, depth) for name in value]
            waiting += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]
        elif isinstance(value, str) and any(ord(char) in _SURROGATES for char in value):
            raise ValueError("half a character")
