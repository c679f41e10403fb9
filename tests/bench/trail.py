"""The audit trail: how fast it is sealed and appended to, and how soon an event is sealed."""

from __future__ import annotations

import threading
import time
from statistics import median, quantiles
from uuid import UUID

from flask import Flask
from sqlalchemy import bindparam, select

from app.audit import events
from app.audit.sealing import sealer
from app.audit.sealing.models_seal import IAMAuditSeal
from app.audit.services_audit import record
from app.core.actor import Actor
from app.core.db import transaction
from app.core.scoping import tenant_scope
from app.tenancy.services_tenants import default_tenant_id

from .browsers import AGENT
from .databases import NewDatabase
from .measure import run_threads
from .report import Report
from .subjects import make_service

EVENTS, BATCH = 20_000, 500
WRITERS, SECONDS = 8, 3.0
SEALS_PER_SECOND = 5000
LAG_SECONDS = 1.0
_NEW_SEALS = select(IAMAuditSeal.seq, IAMAuditSeal.id).where(IAMAuditSeal.seq > bindparam("last"))


def measure(new_database: NewDatabase, report: Report, engine: str) -> None:
    """Report the rate of sealing, and of appending without and with a sealer beside."""
    _seal(make_service(new_database(), AUDIT_SEAL_MODE="off"), report, engine)
    for beside in (False, True):
        app = make_service(new_database(), AUDIT_SEAL_MODE="off")
        _append(app, report, engine, beside=beside)
    _lag(make_service(new_database(), AUDIT_SEAL_MODE="thread"), report, engine)


def _seal(app: Flask, report: Report, engine: str) -> None:
    with app.app_context():
        actor = _actor(default_tenant_id())
        for _batch in range(EVENTS // BATCH):
            with tenant_scope(actor.tenant_id), transaction():
                for _number in range(BATCH):
                    record(events.LOGIN_FAILED, error="auth.invalid_credentials", actor=actor)
        began, cpu = time.perf_counter(), time.process_time()
        sealed = sealer.seal_all()
        taken, cpu = time.perf_counter() - began, time.process_time() - cpu
    rate = sealed / taken
    report.add(
        "seal_rate", rate, "events/s", engine=engine, target=f">= {SEALS_PER_SECOND}",
        met=rate >= SEALS_PER_SECOND, peer="one process, one tenant",
    )  # fmt: skip
    report.add(
        "seal_rate_cpu", sealed / cpu, "events/s of CPU", engine=engine, peer="of the sealer itself"
    )


def _append(app: Flask, report: Report, engine: str, *, beside: bool) -> None:
    with app.app_context():
        actor = _actor(default_tenant_id())
    stopping = threading.Event()
    sealing = threading.Thread(target=_run_sealer, args=(app, stopping))

    def work(_index: int, _turn: int) -> None:
        with app.app_context(), tenant_scope(actor.tenant_id), transaction():
            record(events.LOGIN_FAILED, error="auth.invalid_credentials", actor=actor)

    if beside:
        sealing.start()
    found = run_threads(WRITERS, SECONDS, work)
    stopping.set()
    if beside:
        sealing.join()
    name = "append_rate_sealed" if beside else "append_rate"
    report.add(name, found.rate, "events/s", engine=engine, peer=f"{WRITERS} threads, one tenant")


def _lag(app: Flask, report: Report, engine: str) -> None:
    """Report how long after its commit an event is sealed, by the thread of a busy process."""
    with app.app_context():
        actor = _actor(default_tenant_id())
    born: dict[UUID, float] = {}
    done: dict[UUID, float] = {}
    stopping = threading.Event()

    def work(_index: int, _turn: int) -> None:
        with app.app_context(), tenant_scope(actor.tenant_id):
            with transaction():
                event_id = record(events.LOGIN_FAILED, error="x", actor=actor).id
            born[event_id] = time.perf_counter()

    watcher = threading.Thread(target=_watch, args=(app, done, stopping))
    watcher.start()
    run_threads(WRITERS, SECONDS, work)
    until = time.perf_counter() + 30
    while born.keys() - done.keys() and time.perf_counter() < until:
        time.sleep(0.05)
    stopping.set()
    watcher.join()
    app.extensions["iam_sealer"].stop()
    lags = [max(0.0, done[event_id] - at) for event_id, at in born.items()]
    p95 = quantiles(lags, n=20)[-1]
    report.add(
        "seal_lag_p95", p95, "s", engine=engine, target=f"< {LAG_SECONDS:.0f}",
        met=p95 < LAG_SECONDS,
        peer=f"{WRITERS} writers, {len(lags)} events, median {median(lags):.2f} s",
    )  # fmt: skip


def _watch(app: Flask, done: dict[UUID, float], stopping: threading.Event) -> None:
    database, last = app.extensions["sqlalchemy"], -1
    with app.app_context():
        engine = database.engine
    while not stopping.wait(0.02):
        with engine.connect() as connection:
            for seq, event_id in connection.execute(_NEW_SEALS, {"last": last}):
                done.setdefault(event_id, time.perf_counter())
                last = max(last, seq)


def _run_sealer(app: Flask, stopping: threading.Event) -> None:
    one = sealer.Sealer()
    while not stopping.wait(sealer.WORKER_POLL):
        with app.app_context():
            one.round()


def _actor(tenant_id: UUID) -> Actor:
    return Actor("anonymous", tenant_id, ip="192.0.2.1", user_agent=AGENT, request_id="bench")
