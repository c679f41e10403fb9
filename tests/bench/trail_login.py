"""What the audit trail costs a sign-in: with it as it is, and with nothing recorded at all.

Recording can be switched off here only: every module's `record` is replaced for the length of
a slice. What is measured with it on is all of it: encrypting, marking, writing and, on the
same processors, the thread that seals.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from types import SimpleNamespace
from typing import Any

from flask import Flask

from app.audit import services_audit
from app.core import clock, hashing
from app.core.ids import new_id

from . import logins
from .measure import run_threads
from .report import Report
from .subjects import forget_sessions, seed

SECONDS = 1.2


def measure(app: Flask, report: Report, engine: str, rounds: int) -> None:
    """Report the rate of sign-ins with the trail as a share of the rate without it."""
    threads = hashing.usable_cpus()
    people = seed(app, threads * logins.PER_THREAD, prefix="trail")
    work = logins._service(app, people, known=True)
    for index in range(threads):
        for turn in range(logins.PER_THREAD):
            work(index, turn)
    found: list[tuple[float, float, float, float]] = []
    for _round in range(rounds):
        slices = []
        for recording in (False, True, False):
            forget_sessions(app)
            with as_it_is() if recording else nothing_recorded():
                slices.append(run_threads(threads, SECONDS, work))
        before, with_it, after = slices
        rate, cpu = (before.rate + after.rate) / 2, (before.cpu + after.cpu) / 2
        found.append((with_it.rate, with_it.rate / rate, with_it.cpu - cpu, cpu / with_it.cpu))
    rate, ratio, cpu, share = (median(column) for column in zip(*found, strict=True))
    report.add(
        "login_with_trail", rate, "logins/s", ratio=ratio, engine=engine,
        peer=f"the same sign-in with nothing recorded, {threads} threads",
        target=">= 0.95", met=ratio >= 0.95,
    )  # fmt: skip
    report.add(
        "login_with_trail_cpu", cpu * 1000, "ms CPU of the trail", ratio=share, engine=engine,
        peer="CPU time of a login without it / of one with it",
    )  # fmt: skip


@contextmanager
def as_it_is() -> Iterator[None]:
    """Change nothing."""
    yield


@contextmanager
def nothing_recorded() -> Iterator[None]:
    """Replace `record` in every module that has it."""
    real = services_audit.record
    holders = [
        module
        for name, module in sys.modules.items()
        if name.startswith("app.") and getattr(module, "record", None) is real
    ]
    _put(holders, _nothing)
    try:
        yield
    finally:
        _put(holders, real)


def _put(holders: list[Any], record: Any) -> None:
    for module in holders:
        module.record = record


def _nothing(*_event: Any, **_values: Any) -> Any:
    return SimpleNamespace(id=new_id(), occurred_at=clock.now())
