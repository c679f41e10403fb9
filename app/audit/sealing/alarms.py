"""Says in the trail itself that it does not verify, so that its notices reach somebody.

Owns AUDIT_TAMPERING_FOUND and that what was told within a day is not told again at every look.
A finding of a trail without a tenant is told in the trail of whoever looked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import bindparam, column, select, table
from sqlalchemy.exc import DBAPIError

from ...core import clock
from ...core.actor import Actor
from ...core.db import run_prepared, transaction
from ...core.errors import Unavailable
from ...core.scoping import tenant_scope
from ...core.types import GUID
from .. import events
from ..models import IAMAuthLog
from ..services_audit import FAILURE, record
from ..services_query import first_id_at
from ..verifier import FIELDS, Report, event_parts, pack
from .macs import is_ours
from .stored import as_stored, no_larger_than_ours

NOT_VERIFIED = "audit.not_verified"
# `no_key` is of the question, not of the trail.
_NOT_OF_THE_TRAIL = {"no_key"}
_LOG = IAMAuthLog.__table__
# By its name: the package of tenants lies above this one.
_TENANTS = select(table("iam_tenant", column("id", GUID())).c.id)
_AGAIN, _AHEAD = timedelta(days=1), timedelta(minutes=1)
_LAST_ALARMS = (
    select(*(as_stored(_LOG.c[name]) for name in (*FIELDS, "mac")))
    .where(
        _LOG.c.tenant_id == bindparam("tenant"),
        _LOG.c.action == events.AUDIT_TAMPERING_FOUND.name,
        _LOG.c.error == bindparam("error"),
        _LOG.c.id >= bindparam("first"),
        _LOG.c.id < bindparam("end"),
        *no_larger_than_ours(),
    )
    .order_by(_LOG.c.id.desc())
    .limit(20)
)
_METADATA = FIELDS.index("metadata")


def raise_alarm(code: str, findings: Sequence[str], *, actor: Actor) -> None:
    """Record what is wrong with the trail of the actor's tenant, unless the last alarm says so.

    What stands is told again after a day. `code` tells who found it: each is compared with
    its own. Takes part in the caller's transaction where there is one. Raises Unavailable.
    """
    with tenant_scope(actor.tenant_id), transaction():
        if set(findings) <= _told_lately(actor.tenant_id, code):
            return
        record(
            events.AUDIT_TAMPERING_FOUND,
            resource=("tenant", actor.tenant_id),
            status=FAILURE,
            error=code,
            actor=actor,
            findings=list(findings),
        )


def _told_lately(tenant_id: UUID, code: str) -> set[str]:
    """Return the findings of the newest alarm of a day that is ours.

    Whoever can insert rows can insert alarms, to keep the true ones from being told: those
    carry no mark of this installation.
    """
    first, end = first_id_at(clock.now() - _AGAIN), first_id_at(clock.now() + _AHEAD)
    given = {"tenant": tenant_id, "error": code, "first": first, "end": end}
    rows = run_prepared(_LAST_ALARMS, given, reason="by the tenant's id, a parameter").all()
    if not rows:
        return set()
    *columns, marks = zip(*rows, strict=True)
    for row, parts, mark in zip(rows, event_parts(columns), marks, strict=True):
        if parts and is_ours(pack(parts), mark):
            return set(json.loads(row[_METADATA])["findings"])
    return set()


def tell_found(report: Report, others: Sequence[str], *, actor: Actor) -> bool:
    """Record the codes of a report in each tenant's trail, `others` in the actor's.

    Returns whether the database took it: one that is read-only tells whoever asked, no more.
    Owns its transactions.
    """
    try:
        for tenant_id, codes in _by_tenant(report, others, actor.tenant_id).items():
            raise_alarm(NOT_VERIFIED, sorted(codes), actor=replace(actor, tenant_id=tenant_id))
    except (Unavailable, DBAPIError, ValueError):  # ValueError: nonsense among the tenants
        return False
    return True


def _by_tenant(report: Report, others: Sequence[str], own: UUID) -> Mapping[UUID, set[str]]:
    there = {row[0] for row in run_prepared(_TENANTS, {}, reason="a check covers every tenant")}
    found: dict[UUID, set[str]] = {own: set(others)} if others else {}
    for flaw in report.findings:
        if flaw.code not in _NOT_OF_THE_TRAIL:
            place = flaw.tenant_id if flaw.tenant_id in there else own
            found.setdefault(place, set()).add(flaw.code)
    return found
