"""Who seals, and when: a thread of each process that records, or `flask iam worker`.

Each round seals the tenants with new events, signs what is due and hands checkpoints to the
anchors. Now and then it looks further back, for events that were committed late.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from uuid import UUID

from flask import Flask, current_app
from sqlalchemy import Executable, bindparam, column, or_, select, table, update

from ...core import clock
from ...core.db import apart, end_read, run_prepared, transaction
from ...core.running.background import Background, repeat
from ...core.types import GUID
from .. import anchors
from ..settings import AuditSettings
from . import services_checkpoints, services_seal
from .head import HEAD
from .models_seal import IAMAuditHead
from .wake import EXTENSION

THREAD_POLL, WORKER_POLL, GATHER = 5.0, 0.25, 0.3
_WIDE_SECONDS, _SIGN_SECONDS = 30.0, 5.0
_SWEEP = timedelta(hours=1)
_NAME = "iam-sealer"
_logger = logging.getLogger("iam.audit")
_EVERYONE = "the sealer serves every tenant"

# By its name: the package of tenants lies above this one.
_TENANTS = select(table("iam_tenant", column("id", GUID())).c.id)
_UNSWEPT = select(HEAD.c.id).where(
    or_(HEAD.c.swept_at.is_(None), HEAD.c.swept_at <= bindparam("before"))
)
_SWEPT = (
    update(IAMAuditHead).where(HEAD.c.id == bindparam("tenant")).values(swept_at=bindparam("at"))
)


class Sealer:
    """The rounds of one process; remembers when it last looked further back."""

    def __init__(self) -> None:
        self._wide_at: float | None = None
        self._signed_at: float | None = None

    def round(self) -> None:
        """Seal and sign what is due. Raises Unavailable."""
        now = clock.monotonic()
        if self._wide_at is None or now - self._wide_at >= _WIDE_SECONDS:
            self._wide_at = now
            seal_all()
        else:
            for tenant_id in services_seal.waiting_tenants():
                _seal(tenant_id, None)
        if self._signed_at is None or now - self._signed_at >= _SIGN_SECONDS:
            self._signed_at = now
            services_checkpoints.sign_due()
            anchors.wake()


def install(app: Flask) -> None:
    """Give an app the background thread that seals, where its settings ask for one."""
    settings = app.extensions["iam"].settings[AuditSettings]
    if settings.AUDIT_SEAL_MODE == "thread":
        app.extensions[EXTENSION] = Background(
            app, Sealer().round, name=_NAME, poll=THREAD_POLL, gather=GATHER
        )


def run_worker(stopping: threading.Event) -> None:
    """Seal until `stopping` is set: part of `flask iam worker`. Nothing where sealing is off."""
    if AuditSettings.current().AUDIT_SEAL_MODE == "off":
        return
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - a thread outlives the proxy
    repeat(app, Sealer().round, stopping, name=_NAME, poll=WORKER_POLL)


def seal_all(*, everything: bool = False, adopting: bool = False) -> int:
    """Seal what every tenant has unsealed, stragglers included, and return how many that were.

    Once an hour, or with `everything`, a tenant's whole trail is searched. `adopting` is that
    of `seal_tenant`, over whole trails. Raises Unavailable.
    """
    unswept = _ids(_UNSWEPT, before=clock.now() - _SWEEP)
    total = 0
    for tenant_id in _ids(_TENANTS):
        whole = everything or adopting or tenant_id in unswept
        since = UUID(int=0) if whole else services_seal.stragglers()
        sealed = _seal(tenant_id, since, adopting=adopting)
        total += sealed or 0
        if whole and sealed is not None:
            _note_sweep(tenant_id)
    return total


def _seal(tenant_id: UUID, since: UUID | None, *, adopting: bool = False) -> int | None:
    return apart(
        lambda: services_seal.seal_tenant(tenant_id, since=since, adopting=adopting),
        _logger, "the audit trail of tenant %s was not sealed", tenant_id,
    )  # fmt: skip


def _note_sweep(tenant_id: UUID) -> None:
    with transaction():
        run_prepared(_SWEPT, {"tenant": tenant_id, "at": clock.now()}, reason="by its id")


def _ids(statement: Executable, **given: object) -> set[UUID]:
    found = {row[0] for row in run_prepared(statement, given, reason=_EVERYONE)}
    end_read()
    return found
