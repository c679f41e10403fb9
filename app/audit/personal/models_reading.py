"""Reading what stands encrypted in an event, as if it stood there in clear.

Owns the keys of one transaction: the first value that is read brings the keys of every
event that is loaded, in one query. A destroyed key reads as ERASED (AT-408); what no key
of ours opens reads as UNREADABLE rather than hiding the rest of the trail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.orm import Session, object_session

from ...core.crypto import DecryptionFailed, keyring
from ...core.db import session
from ...core.scoping import exempt
from .ciphers import ORIGIN, PERSONAL, Unreadable, unseal
from .models_personal import IAMSubjectKey

ERASED, UNREADABLE = "erased", "unreadable"
_K = cast(Table, IAMSubjectKey.__table__)
_EXEMPT = exempt("a person has one key, in whichever tenant they act")
_HELD = "iam_subject_keys"
_BATCH = 500
Keys = dict[UUID, bytes | str]
"""Account to key, or why there is none: ERASED or UNREADABLE."""


def origin(event: Any, column: str, clear: str | None) -> str | None:
    """Return where an event came from: `column` is `ip` or `user_agent`."""
    if event.origin_sealed is None:
        return clear
    opened = _open(event, ORIGIN, event.actor_id, event.origin_sealed)
    return opened if isinstance(opened, str) else opened.get(column)


def personal(event: Any, column: str, clear: Any) -> dict[str, Any]:
    """Return what an event tells of its subject: `column` is `changes` or `details`."""
    # JSON of any kind may stand in a row that somebody else put there.
    found: dict[str, Any] = clear if isinstance(clear, dict) else {}
    if event.personal_sealed is None:
        return found
    opened = _open(event, PERSONAL, event.subject_id, event.personal_sealed)
    if isinstance(opened, str):
        return found if column == "changes" else {**found, PERSONAL: opened}
    return {**found, **opened.get(column, {})}


def keys_of(current: Session, people: Iterable[UUID], *, newest: bool = False) -> Keys:
    """Return the keys of `people`, each asked for once in a transaction; nothing where none is.

    `newest` sees what others committed since a transaction at REPEATABLE READ began.
    """
    held = _held(current)
    missing = [person for person in people if person not in held]
    if missing:
        held |= _load(current, missing, newest=newest)
        current.info[_HELD] = (_transaction(current), held)
    return held


def forget(current: Session) -> None:
    """Forget the keys of this transaction: one was made or destroyed."""
    current.info.pop(_HELD, None)


def context_of(user_id: UUID) -> str:
    """Return what a stored key is bound to."""
    return f"iam_subject_key:{user_id}"


def _open(event: Any, field: str, person: UUID, sealed: bytes) -> dict[str, Any] | str:
    current = object_session(event) or session()
    keys = _held(current)
    if person not in keys:
        keys = keys_of(current, {person, *_people_loaded(current, type(event))})
    key = keys.get(person, UNREADABLE)
    if isinstance(key, str):
        return key
    try:
        return unseal(key, event.tenant_id, event.id, field, sealed)
    except Unreadable:
        return UNREADABLE


def _people_loaded(current: Session, kind: type[Any]) -> Iterator[UUID]:
    # What is loaded stands in __dict__; asking an attribute could load a row each.
    for row in current.identity_map.values():
        if not isinstance(row, kind):
            continue
        values = row.__dict__
        for sealed, person in (("origin_sealed", "actor_id"), ("personal_sealed", "subject_id")):
            if values.get(sealed) and values.get(person):
                yield values[person]


def _load(current: Session, people: list[UUID], *, newest: bool) -> Keys:
    found: Keys = {}
    for start in range(0, len(people), _BATCH):
        part = select(_K.c.id, _K.c.wrapped_key)
        part = part.where(_K.c.id.in_(people[start : start + _BATCH]))
        if newest:
            part = part.with_for_update()
        with current.no_autoflush:
            rows = current.execute(part, execution_options=_EXEMPT).all()
        found |= {user_id: _unwrap(user_id, wrapped) for user_id, wrapped in rows}
    return found


def _unwrap(user_id: UUID, wrapped: str | None) -> bytes | str:
    if wrapped is None:
        return ERASED
    try:
        return keyring().decrypt(wrapped, context_of(user_id))
    except DecryptionFailed:
        return UNREADABLE


def _held(current: Session) -> Keys:
    # Bound to the transaction, savepoints included: what was rolled back is not remembered.
    bound, keys = current.info.get(_HELD, (None, {}))
    return keys if bound is not None and bound is _transaction(current) else {}


def _transaction(current: Session) -> object:
    return current.get_nested_transaction() or current.get_transaction()
