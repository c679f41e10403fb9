"""How fast a sealed trail is checked: from the tables, and from an exported bundle."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from app.audit import verifier
from app.auth import models
from app.core.db import Base
from tests.support.trails import EVENTS, START, SealedTrail, event_row

from .databases import NewDatabase
from .report import Report

EVENTS_COUNT, BATCH, ROUNDS = 100_000, 10_000, 9
TARGET = 50_000
TENANT = UUID("0195c1a2-0000-7000-8000-000000000001")
NOW = START + timedelta(hours=1)


def measure(new_database: NewDatabase, report: Report, engine: str) -> None:
    """Fill one tenant's trail and check it; the best of nine rounds."""
    url = sa.make_url(new_database())
    vkey = fill(url)

    def check_tables() -> None:
        with verifier.open_source(name_of(url)) as source:
            expect(verifier.verify(source, now=NOW, vkeys=[vkey]))

    with verifier.open_source(name_of(url)) as source:
        lines = list(verifier.bundle_lines(source, made=NOW))

    def check_bundle() -> None:
        expect(verifier.verify(verifier.BundleSource(lines), now=NOW, vkeys=[vkey]))

    for name, work in (("tables", check_tables), ("bundle", check_bundle)):
        rate = max(timed(work) for _ in range(ROUNDS))
        # MySQL's rows come through a driver in Python, bundles through JSON: shown, not aimed at.
        aimed = (name, engine) == ("tables", "sqlite")
        report.add(
            f"events verified, {name}",
            rate,
            "1/s",
            engine=engine,
            target=f"≥ {TARGET}" if aimed else "",
            met=rate >= TARGET if aimed else None,
        )


def fill(url: sa.URL) -> str:
    """Write a sealed and signed trail; return the key that checks it."""
    assert models  # one import brings every table
    made = sa.create_engine(url, poolclass=sa.NullPool)
    Base.metadata.create_all(made)
    with made.begin() as connection:
        if made.dialect.name == "mysql":  # the tenant itself plays no part here
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
        trail = SealedTrail(connection, TENANT)
        for start in range(0, EVENTS_COUNT, BATCH):
            rows = [row(number) for number in range(start, start + BATCH)]
            connection.execute(EVENTS.insert(), rows)
            trail.seal_many(rows)
        trail.checkpoint(NOW)
    made.dispose()
    return trail.vkey


def row(number: int) -> dict[str, object]:
    """Return an event as most are: sealed personal data, a few details, no changes."""
    at = START + timedelta(milliseconds=number)
    few = {"method": "password", "by": f"job {number % 50}"}
    return event_row(
        TENANT, number, changes={}, metadata=few, ip=None, user_agent=None,
        origin_sealed=bytes(180), personal_sealed=None, occurred_at=at, recorded_at=at,
    )  # fmt: skip


def name_of(url: sa.URL) -> str:
    """Return a database's name as the stand-alone verifier takes it."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="mysql").render_as_string(hide_password=False)


def expect(report: verifier.Report) -> None:
    """Refuse a figure of a check that did not check."""
    assert report.intact, report.findings[:3]
    assert report.events == EVENTS_COUNT


def timed(work: Callable[[], None]) -> float:
    """Return events per second."""
    began = time.perf_counter()
    work()
    return EVENTS_COUNT / (time.perf_counter() - began)
