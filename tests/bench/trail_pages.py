"""Pages of the audit trail over ten thousand and over millions of events; the export of a million.

The trail is filled by copying what is there, each time into the time before it, so that ids
stay in order of time. `BENCH_EVENTS` says how many there are in the end.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pyotp
import sqlalchemy as sa
from flask import Flask

from app.audit import events, services_export
from app.audit.filters import AuditFilter
from app.audit.models import IAMAuthLog
from app.audit.services_query import first_id_at
from app.core import clock
from app.core.actor import system_actor
from app.core.db import transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.tenancy.services_tenants import default_tenant_id

from .browsers import AGENT, cookies_of, requester, token_of
from .databases import NewDatabase
from .measure import time_calls
from .report import Report
from .subjects import PASSWORD, make_service, seed_admin

FEW = 10_000
MANY = int(os.environ.get("BENCH_EVENTS", "5000000"))
EXPORTED = 1_000_000
CALLS = 15
STATISTICS_MS = 500
_LOG = IAMAuthLog.__table__
_SPAN = timedelta(hours=1)
_KINDS = (
    "LOGIN_SUCCEEDED",
    "LOGIN_FAILED",
    "MFA_VERIFIED",
    "LOGOUT",
    "USER_UPDATED",
    "ROLE_DELETED",
)
_KEPT = [column.name for column in _LOG.columns if column.name not in {"id", "occurred_at"}]


def measure(new_database: NewDatabase, report: Report, engine: str) -> None:
    """Report what pages take over few and over many events, and what an export takes."""
    app = make_service(new_database(), AUDIT_SEAL_MODE="off")
    secret = seed_admin(app)
    cookie = _sign_in(app, "admin00000", secret)
    person = new_id()
    with app.app_context():
        database = app.extensions["sqlalchemy"].engine
        tenant_id = default_tenant_id()
        _first(database, tenant_id, person)
    pages = _pages(app, cookie, person)
    few = {name: _time(send) for name, send in pages.items()}
    began = time.perf_counter()
    rows = _fill(database, MANY)
    filled = time.perf_counter() - began
    report.add("trail_filled", rows / max(filled, 0.001), "events/s", engine=engine,
               peer=f"INSERT ... SELECT up to {rows} events")  # fmt: skip
    pages = _pages(app, cookie, person)
    for name, send in pages.items():
        many = _time(send)
        # Statistics count up to a bound for each kind of event: few have not reached it.
        bounded = name == "statistics"
        met = many <= STATISTICS_MS if bounded else many <= 1.5 * few[name]
        target = f"<= {STATISTICS_MS} ms" if bounded else "<= 1.5 x"
        report.add(f"trail_page_{name}", many, "ms", ratio=many / few[name], target=target,
                   met=met, engine=engine,
                   peer=f"{rows} events / {FEW}: {few[name]:.1f} ms")  # fmt: skip
    _export(app, tenant_id, report, engine)


def _pages(app: Flask, cookie: str, person: UUID) -> dict[str, Callable[[], None]]:
    logs, now = "/admin/audit/logs", clock.now()
    middle = f"{now - timedelta(minutes=30):%Y-%m-%dT%H:%M:%S}"
    paths = {
        "list": logs,
        "action": f"{logs}?action=LOGIN_FAILED",
        "critical": f"{logs}?severity=critical",
        "failures": f"{logs}?status=failure,denied",
        "actor": f"{logs}?actor={person}",
        "range": f"{logs}?to={middle}",
        "nothing": f"{logs}?action=TENANT_CREATED&to=2001-01-01",
        "statistics": "/admin/audit/statistics?days=7",
    }
    return {name: requester(app, path, cookie=cookie) for name, path in paths.items()}


def _time(send: Callable[[], None]) -> float:
    send()
    return min(time_calls(CALLS, send) for _round in range(5))


def _first(database: sa.Engine, tenant_id: UUID, person: UUID) -> None:
    began, rows = clock.now() - _SPAN, []
    for number in range(FEW):
        at = began + _SPAN * number / FEW
        kind = events.CATALOGUE[_KINDS[number % len(_KINDS)]]
        made = new_id().int & ((1 << 80) - 1)
        rows.append(
            {
                "id": UUID(int=first_id_at(at).int | made),
                "tenant_id": tenant_id,
                "action": kind.name,
                "severity": kind.severity,
                "status": "failure" if kind.name == "LOGIN_FAILED" else "success",
                "actor_type": "user",
                "actor_id": person if number % 50 == 0 else new_id(),
                "subject_id": new_id(),
                "changes": {},
                "metadata": {"method": "totp"},
                "ip": f"198.51.100.{number % 250}",
                "ip_index": (number % 250).to_bytes(16),
                "user_agent": AGENT,
                "request_id": new_id().hex,
                "encoding_version": 1,
                "occurred_at": at,
                "recorded_at": at,
            }
        )
    with database.begin() as connection:
        connection.execute(_LOG.insert(), rows)


def _fill(database: sa.Engine, wanted: int) -> int:
    span = _SPAN
    with database.connect() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(_LOG)) or 0
    while rows < wanted:
        with database.begin() as connection:
            if database.dialect.name == "sqlite":
                _functions(connection)
            copied = connection.exec_driver_sql(_copy(database.dialect.name, span)).rowcount
        rows, span = rows + copied, span * 2
    return rows


def _copy(dialect: str, span: timedelta) -> str:
    seconds = int(span.total_seconds())
    kept = ", ".join(_KEPT)
    if dialect == "mysql":
        at = f"DATE_SUB(occurred_at, INTERVAL {seconds} SECOND)"
        made = (
            f"UNHEX(CONCAT(LPAD(HEX(CONV(HEX(LEFT(id, 6)), 16, 10) - {seconds * 1000}), 12, '0'), "
            "'7', SUBSTR(HEX(RANDOM_BYTES(10)), 2)))"
        )
    else:
        at = f"strftime('%Y-%m-%d %H:%M:%f000', occurred_at, '-{seconds} seconds')"
        made = f"earlier(id, {seconds * 1000})"
    return (
        f"INSERT INTO iam_auth_log (id, occurred_at, {kept}) "  # noqa: S608 - our own names
        f"SELECT {made}, {at}, {kept} FROM iam_auth_log"
    )


def _functions(connection: sa.Connection) -> None:
    def earlier(row_id: bytes, milliseconds: int) -> bytes:
        at = int.from_bytes(row_id[:6]) - milliseconds
        return at.to_bytes(6) + b"\x70" + os.urandom(9)

    driver: Any = connection.connection.driver_connection
    driver.create_function("earlier", 2, earlier)


def _export(app: Flask, tenant_id: UUID, report: Report, engine: str) -> None:
    with app.app_context():
        # Once over a part, so that what is loaded on first use is loaded.
        _send(tenant_id, 20_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        sent, size = _send(tenant_id, EXPORTED)
        taken = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    report.add("trail_export", sent / taken, "events/s", engine=engine,
               peer=f"{sent} events, {size / 1e6:.0f} MB of NDJSON")  # fmt: skip
    report.add("trail_export_memory", grown, "MiB more at the peak", target="<= 32",
               met=grown <= 32, engine=engine,
               peer=f"after 20,000 events; {sent} in all")  # fmt: skip


def _send(tenant_id: UUID, most: int) -> tuple[int, int]:
    actor = system_actor(tenant_id, "benchmark")
    with tenant_scope(tenant_id), transaction():
        sent = services_export.begin(AuditFilter(), "ndjson", typed={}, actor=actor)
    rows = size = 0
    for chunk in sent.chunks:
        rows += chunk.count("\n")
        size += len(chunk)
        if rows >= most:
            break
    return rows, size


def _sign_in(app: Flask, name: str, secret: str) -> str:
    client = app.test_client()
    token = token_of(client.get("/auth/login", headers={"User-Agent": AGENT}).text)
    client.post("/auth/login", data={"username": name, "password": PASSWORD, "csrf_token": token})
    token = token_of(client.get("/auth/mfa/verify").text)
    code = {"code": pyotp.TOTP(secret).at(clock.now()), "csrf_token": token}
    if client.post("/auth/mfa/verify", data=code).status_code != 303:
        raise RuntimeError("the code was refused")
    return cookies_of(client)
