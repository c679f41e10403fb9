"""Anchors: each checkpoint leaves for places that the database's administrator does not rule.

A file, a system log and a webhook each get every checkpoint in order, at least once; how far
each has come stands in the head. A place that cannot be reached is tried again, and never
keeps the sealer waiting: delivery has a thread of its own.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from flask import current_app
from sqlalchemy import bindparam, func, select, update

from ..core import clock
from ..core.db import end_read, run_prepared, session, transaction
from ..core.errors import UpstreamFailed
from ..core.ids import parse_id
from ..core.network import syslog, webhook
from ..core.running.background import Background
from ..core.scoping import tenant_scope
from . import verifier
from .sealing.models_seal import IAMAuditCheckpoint, IAMAuditHead
from .services_query import first_id_at
from .settings import AuditSettings

POLL_SECONDS = 30.0
_EXTENSION = "iam_anchors"
_BATCH = 100
_TIMEOUT = 5.0
_LONGEST_NOTE = 4096
_AHEAD = timedelta(minutes=1)
_HEAD = IAMAuditHead.__table__
_HEADS = select(_HEAD.c.id, _HEAD.c.anchored)
_HELD = _HEADS.where(_HEAD.c.id == bindparam("tenant")).with_for_update()
_PROGRESS = (
    update(IAMAuditHead)
    .where(_HEAD.c.id == bindparam("tenant"))
    .values(anchored=bindparam("anchored"))
)
_logger = logging.getLogger("iam.audit")


class Anchored(NamedTuple):
    """One checkpoint on its way: the row's id and the signed note."""

    id: UUID
    note: str


Send = Callable[[Anchored], None]


def wake() -> None:
    """Have new checkpoints delivered soon, in the background; nothing where no place is set."""
    if not _places():
        return
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - a thread outlives the proxy
    made = Background(app, deliver_due, name="iam-anchors", poll=POLL_SECONDS)
    app.extensions.setdefault(_EXTENSION, made).wake()


def deliver_due() -> None:
    """Deliver to each place what it lacks; what fails is left for the next time.

    Owns its transactions. Raises Unavailable.
    """
    places = _places()
    if not places:
        return
    found = run_prepared(_HEADS, {}, reason=_EVERY)
    heads = [(row.id, _noted(row.anchored)) for row in found]
    end_read()
    for name, send in places.items():
        for tenant_id, anchored in heads:
            # What is away is away for every tenant: one wait is enough.
            if not _deliver(tenant_id, name, send, after=anchored.get(name)):
                break


_BEGINNING = UUID(int=0)
_EVERY = "the checkpoints of every tenant are anchored"


def _places() -> dict[str, Send]:
    settings = AuditSettings.current()
    places: dict[str, Send] = {}
    if settings.AUDIT_ANCHOR_FILE:
        places["file"] = lambda item: _append(settings.AUDIT_ANCHOR_FILE, item)
    if settings.AUDIT_ANCHOR_SYSLOG:
        places["syslog"] = lambda item: _log_line(settings.AUDIT_ANCHOR_SYSLOG, item)
    if settings.AUDIT_ANCHOR_URL:
        places["url"] = lambda item: _post(settings, item)
    return places


def _deliver(tenant_id: UUID, name: str, send: Send, *, after: object) -> bool:
    last = _reached(tenant_id, after)
    while True:
        with tenant_scope(tenant_id):
            due = [Anchored(row.id, row.note) for row in session().execute(_after(last))]
            end_read()
        done = last
        try:
            for item in due:
                if _is_sound(tenant_id, item.note):
                    send(item)
                else:
                    _logger.warning("no checkpoint of tenant %s: %s", tenant_id, item.id)
                done = item.id
        except (UpstreamFailed, OSError) as error:
            _logger.warning("anchor %s not reached: %s", name, type(error).__name__)
            return False
        finally:
            if done != last:
                _note(tenant_id, name, done)
        if len(due) < _BATCH:
            return True
        last = done


def _noted(anchored: Any) -> dict[str, Any]:
    return dict(anchored) if isinstance(anchored, dict) else {}


def _reached(tenant_id: UUID, noted: object) -> UUID:
    # What is noted can be changed by whoever writes to the database. Only a checkpoint that is
    # there counts; from anything else it begins anew, for twice is better than never.
    wanted = parse_id(noted) if isinstance(noted, str) else None
    if wanted is None:
        return _BEGINNING
    with tenant_scope(tenant_id):
        query = select(IAMAuditCheckpoint.id).where(IAMAuditCheckpoint.id == wanted, _by_now())
        found = session().scalar(query)
        end_read()
    return found or _BEGINNING


def _after(last: UUID) -> Any:
    query = select(IAMAuditCheckpoint.id, IAMAuditCheckpoint.note)
    # What is no id could not be noted as progress either.
    query = query.where(IAMAuditCheckpoint.id > last, func.length(IAMAuditCheckpoint.id) == 16)
    query = query.where(_by_now())
    return query.order_by(IAMAuditCheckpoint.id).limit(_BATCH)


def _by_now() -> Any:
    # An id from the future was put there: noted as progress, it would hide all that follow.
    return IAMAuditCheckpoint.id < first_id_at(clock.now() + _AHEAD)


def _is_sound(tenant_id: UUID, note: object) -> bool:
    """Return whether this has the form of the tenant's checkpoint: a place may refuse another.

    Not whether a key signed it: the keys stand in the database, and whoever changes them for
    a moment must not keep a true checkpoint from leaving.
    """
    if not isinstance(note, str) or len(note) > _LONGEST_NOTE:
        return False
    try:
        origin = verifier.read_checkpoint(note).origin
        signatures = verifier.split_note(note)[1]
    except verifier.NoteError:
        return False
    return bool(signatures) and origin.endswith(f"/{tenant_id}")


def _note(tenant_id: UUID, name: str, done: UUID) -> None:
    with transaction():
        row = run_prepared(_HELD, {"tenant": tenant_id}, reason="by the tenant's id").one()
        anchored = _noted(row.anchored)
        # Another process may have come further meanwhile.
        anchored[name] = str(max(done, _reached(tenant_id, anchored.get(name))))
        given = {"tenant": tenant_id, "anchored": anchored}
        run_prepared(_PROGRESS, given, reason="by the tenant's id")


def _append(path: str, item: Anchored) -> None:
    # One write at the end of the file: several processes do not mix their notes. The empty
    # line comes first: it parts the note from one before it that was cut off.
    text = f"\n\n{item.note}".encode()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        if os.write(file, text) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fsync(file)
    finally:
        os.close(file)


def _log_line(target: str, item: Anchored) -> None:
    syslog.send(target, syslog.Line("checkpoint", _json(item), clock.now()))


def _post(settings: AuditSettings, item: Anchored) -> None:
    """Post a checkpoint; a place that takes it answers with 2xx."""
    status = webhook.post(
        settings.AUDIT_ANCHOR_URL, _json(item).encode(), reference=str(item.id),
        secret=settings.AUDIT_ANCHOR_SECRET, timeout=_TIMEOUT,
    )  # fmt: skip
    if not 200 <= status < 300:
        raise UpstreamFailed(code="upstream.refused")


def _json(item: Anchored) -> str:
    return json.dumps({"note": item.note}, separators=(",", ":"))
