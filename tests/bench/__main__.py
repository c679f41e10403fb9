"""Measure all, or what is named: `python -m tests.bench views logins --engine sqlite`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import (
    counts,
    databases,
    logins,
    passkeys,
    permissions,
    server,
    sign_ons,
    trail,
    trail_login,
    trail_pages,
    verification,
    views,
)
from .databases import NewDatabase
from .report import Report
from .subjects import make_service

PARTS = (
    "logins",
    "passkeys",
    "permissions",
    "sign-ons",
    "views",
    "counts",
    "trail",
    "trail-login",
    "trail-pages",
    "verification",
    "server",
)
ENGINES = ("sqlite", "mysql")


def main(arguments: Sequence[str]) -> None:
    """Measure what was asked for, or all, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--rounds", type=int, default=9)
    wanted = parser.parse_args(arguments)
    parts = wanted.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    report = Report()
    for engine in wanted.engine or ENGINES:
        with getattr(databases, engine)() as new_database:
            if new_database is not None:
                _measure(parts, new_database, report, engine, wanted.rounds)
    if "server" in parts:
        server.measure(report)
    report.table()


def _measure(
    parts: Sequence[str], new_database: NewDatabase, report: Report, engine: str, rounds: int
) -> None:
    if "views" in parts:
        views.measure(new_database, report, engine, rounds)
    if "counts" in parts:
        counts.measure(make_service(new_database()), report, engine)
    if "passkeys" in parts:
        passkeys.measure(new_database(), report, engine, rounds)
    if "permissions" in parts:
        permissions.measure(new_database(), report, engine)
    if "sign-ons" in parts:
        sign_ons.measure(new_database(), report, engine, rounds)
    if "trail" in parts:
        trail.measure(new_database, report, engine)
    if "trail-pages" in parts:
        trail_pages.measure(new_database, report, engine)
    if "verification" in parts:
        verification.measure(new_database, report, engine)
    if "logins" in parts:
        logins.measure(make_service(new_database()), report, engine, rounds)
    if "trail-login" in parts:
        trail_login.measure(make_service(new_database()), report, engine, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
