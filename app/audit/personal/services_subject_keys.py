"""Erasing a person from the trail: their key is destroyed, the events stay (M6, AT-408).

Owns the one write to a key that exists. Refuses nothing: a key is destroyed once, and what
is written of the person afterwards is unreadable from the start (`keys.py`).
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, update

from ...core import clock
from ...core.actor import Actor
from ...core.db import after_commit, session
from ...core.scoping import exempt
from .. import events
from ..services_audit import record
from .keys import remembered, writing_key
from .models_personal import IAMSubjectKey
from .models_reading import forget

_K = cast(Table, IAMSubjectKey.__table__)
_EXEMPT = exempt("a person has one key, in whichever tenant they act")


def destroy(user_id: UUID, *, actor: Actor) -> None:
    """Destroy a person's key: what the trail tells of them is unreadable for good.

    The events stay as they were, in every tenant, so the trails still verify. Harmless to
    repeat. The caller has found the account in the actor's tenant.
    """
    # There is a row to mark, even where no event told of them yet.
    writing_key(user_id, actor.tenant_id)
    statement = (
        update(_K)
        .where(_K.c.id == user_id, _K.c.wrapped_key.is_not(None))
        .values(wrapped_key=None, destroyed_at=clock.now())
    )
    current = session()
    done: Any = current.execute(statement, execution_options=_EXEMPT)
    forget(current)
    remembered().drop(user_id)
    after_commit(lambda: remembered().drop(user_id))
    if done.rowcount:
        record(events.SUBJECT_KEY_DESTROYED, resource=("user_account", user_id), actor=actor)
