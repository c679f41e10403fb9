"""Attempt counters: charge first, verify afterwards (requirement C4).

Each guessable act commits its counters in a short transaction of its own before
anything is checked, so that parallel attempts cannot slip past a limit (AT-005).
A `Streak` delays ever longer after failures in a row; a `Window` caps a number
in a time. Counters of a success are given back with `clear`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Select, Table, Update, bindparam, delete, insert, select, update
from sqlalchemy.dialects import sqlite

from ..audit import events
from ..audit.services_audit import DENIED, record
from ..core import clock
from ..core.actor import Actor
from ..core.db import run_prepared, session, transact, transaction, transaction_open
from ..core.errors import TooManyAttempts
from ..core.scoping import exempt
from .models import IAMThrottle
from .settings import RiskSettings

NO_TENANT = UUID(int=0)
ABSOLUTE_FAILURES = 100  # NIST SP 800-63B-4, 3.2.2
_FOREVER = timedelta(days=3650)
_REASON = "counters are keyed by tenant and serve the installation as a whole"
_EXEMPT = exempt(_REASON)
_TABLE = cast(Table, IAMThrottle.__table__)
_COUNT = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("row"))
    .values(
        count=bindparam("new_count"),
        window_ends_at=bindparam("new_window_ends_at"),
        blocked_until=bindparam("new_blocked_until"),
        updated_at=bindparam("new_updated_at"),
    )
)


@dataclass(frozen=True, slots=True)
class Streak:
    """Failures in a row: `free` pass, then delays double from `delay` up to `longest`.

    `ends` closes it for good at the absolute limit; a counter that is no authenticator's
    (a typed name) only delays.
    """

    free: int
    delay: timedelta
    longest: timedelta
    ends: bool = True

    def block_after(self, count: int, at: datetime) -> datetime | None:
        """Return until when the next attempt is refused once `count` were made."""
        if self.ends and count >= ABSOLUTE_FAILURES:
            return at + _FOREVER
        if count < self.free:
            return None
        doublings: int = 2 ** min(count - self.free, 20)
        return at + min(self.delay * doublings, self.longest)


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` in `length`."""

    limit: int
    length: timedelta


@dataclass(frozen=True, slots=True)
class Bucket:
    """One counter: a scope and whom it counts.

    A `silent` one must not show in the answer: its refusal is returned, not raised.
    """

    scope: str
    key: str
    tenant_id: UUID = NO_TENANT
    silent: bool = False

    @property
    def id(self) -> UUID:
        """Return the row id, derived so that no secret or name stands in the table."""
        raw = f"{self.tenant_id.hex}:{self.scope}:{self.key}".encode()
        return UUID(bytes=hashlib.sha256(raw).digest()[:16])


Policy = Streak | Window


class Refusal(NamedTuple):
    """A counter that is exceeded, and for how many seconds still."""

    scope: str
    retry_after: int


class Charged(NamedTuple):
    """What came of a charge: a silent refusal, or by scope how many attempts there are now."""

    refusal: Refusal | None
    counts: Mapping[str, int]


def _policies(settings: RiskSettings) -> Mapping[str, Policy]:
    streak = Streak(
        settings.MAX_LOGIN_ATTEMPTS,
        timedelta(seconds=settings.LOGIN_DELAY_SECONDS),
        timedelta(minutes=settings.LOCKOUT_DURATION_MINUTES),
    )
    quarter, hour = timedelta(minutes=15), timedelta(hours=1)
    return {
        "login.name": replace(streak, ends=False),
        "login.account": streak,
        "login.device": streak,
        "reauth": streak,
        "mfa": streak,
        "code": streak,
        "code.sign_in": replace(streak, ends=False),
        "password.absolute": Streak(ABSOLUTE_FAILURES, _FOREVER, _FOREVER),
        "login.ip": Window(settings.LOGIN_FAILURES_PER_IP, quarter),
        "login.tenant": Window(settings.LOGIN_FAILURES_PER_TENANT, quarter),
        "login.global": Window(settings.LOGIN_FAILURES_GLOBAL, quarter),
        "reset.account": Window(settings.RESET_REQUESTS_PER_ACCOUNT, hour),
        "reset.ip": Window(settings.RESET_REQUESTS_PER_IP, hour),
        "link": Window(60, quarter),
        "recovery": Window(3, timedelta(days=1)),
        "breach": Window(60, quarter),
        "breach.flood": Window(1, quarter),
        "alert": Window(1, quarter),
    }


def charge(scope: str, *keys: Any, actor: Actor) -> None:
    """Count one attempt on one bucket and commit it. Raises TooManyAttempts."""
    charge_all([bucket(scope, *keys, actor=actor)])


def bucket(scope: str, *keys: Any, actor: Actor, silent: bool = False) -> Bucket:
    """Return the bucket of `keys` in the actor's tenant."""
    return Bucket(scope, ":".join(str(key) for key in keys), actor.tenant_id, silent)


def charge_all(buckets: Iterable[Bucket]) -> Refusal | None:
    """Count one attempt on every bucket, or refuse and count none.

    Where only silent buckets refuse, the others are counted and the refusal returned:
    the caller answers as after a wrong guess and checks nothing. Raises TooManyAttempts
    with the longest wait; `details["scope"]` names the bucket.
    """
    return charge_counted(buckets).refusal


def charge_recorded(buckets: Iterable[Bucket], *, actor: Actor) -> None:
    """Do what `charge_all` does; a refusal is recorded. Raises TooManyAttempts."""
    try:
        charge_all(buckets)
    except TooManyAttempts as refusal:
        with transaction():
            record(
                events.ATTEMPTS_THROTTLED,
                status=DENIED,
                error=refusal.code,
                actor=actor,
                scope=refusal.details["scope"],
                retry_after=refusal.retry_after,
            )
        raise


def charge_address(scope: str, *, actor: Actor) -> None:
    """Count one attempt from the actor's network; a refusal is recorded. Raises TooManyAttempts."""
    charge_recorded([Bucket(scope, network_of(actor.ip))], actor=actor)


def charge_counted(buckets: Iterable[Bucket]) -> Charged:
    """Do what `charge_all` does and return each scope's count as well. Raises TooManyAttempts."""
    if transaction_open():
        raise RuntimeError("a charge commits on its own, before the work begins")
    by_id = {item.id: item for item in buckets}
    refused, counts = transact(lambda: _charge_once(by_id))
    shown = {row_id: until for row_id, until in refused.items() if not by_id[row_id].silent}
    if not refused:
        return Charged(None, {by_id[row_id].scope: count for row_id, count in counts.items()})
    row_id, until = max((shown or refused).items(), key=lambda item: item[1])
    wait = min(int((until - clock.now()).total_seconds()) + 1, 86400)
    if shown:
        raise TooManyAttempts(retry_after=wait, scope=by_id[row_id].scope)
    return Charged(Refusal(by_id[row_id].scope, wait), {})


def clear(scope: str, *keys: Any, actor: Actor) -> None:
    """Forget the failures of one bucket after a success."""
    clear_all([bucket(scope, *keys, actor=actor)])


def clear_all(buckets: Iterable[Bucket]) -> None:
    """Forget the failures of every bucket; joins the caller's transaction."""
    # Emptied rather than deleted: the next attempt finds its rows and need not make them.
    ids = sorted(item.id for item in buckets)
    run_prepared(_prepared(len(ids)).clear, _named(ids), reason=_REASON)


def give_back(buckets: Iterable[Bucket]) -> None:
    """Take one attempt off window counters after a success; joins the transaction."""
    ids = sorted(item.id for item in buckets)
    run_prepared(_prepared(len(ids)).give_back, _named(ids), reason=_REASON)


def purge(before: datetime) -> int:
    """Delete counters that nobody touched since `before`; return how many."""
    settled = _TABLE.c.blocked_until.is_(None) | (_TABLE.c.blocked_until < before)
    statement = delete(_TABLE).where(_TABLE.c.updated_at < before, settled)
    result: Any = session().execute(statement, execution_options=_EXEMPT)
    return int(result.rowcount)


def network_of(ip: str | None) -> str:
    """Return the unit that is counted: an IPv4 address or an IPv6 /64 (AT-434)."""
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class _Prepared(NamedTuple):
    lock: Select[Any]
    clear: Update
    give_back: Update


@lru_cache(maxsize=16)
def _prepared(count: int) -> _Prepared:
    # With as many parameters as there are counters: a list of any length would be expanded
    # at every run, which costs as much again as the statement.
    ours = _TABLE.c.id.in_([bindparam(f"id_{n}", type_=_TABLE.c.id.type) for n in range(count)])
    change = update(_TABLE).where(ours)
    return _Prepared(
        lock=select(_TABLE).where(ours).order_by(_TABLE.c.id).with_for_update(),
        clear=change.values(count=0, window_ends_at=None, blocked_until=None),
        give_back=change.where(_TABLE.c.count > 0).values(count=_TABLE.c.count - 1),
    )


def _named(ids: Iterable[UUID]) -> dict[str, UUID]:
    return {f"id_{n}": row_id for n, row_id in enumerate(ids)}


_Outcome = tuple[dict[UUID, datetime], dict[UUID, int]]


def _charge_once(buckets: Mapping[UUID, Bucket]) -> _Outcome:
    at = clock.now()
    rows = _locked_rows(buckets, at)
    policies = _policies(RiskSettings.current())
    refused = {}
    for row in rows:
        until = _blocked_until(row, policies[row["scope"]], at)
        if until is not None:
            refused[row["id"]] = until
    after = rows
    if all(buckets[row_id].silent for row_id in refused):
        # Refused in silence, the silent ones stand still: nothing is checked, so nothing
        # fails. They are written all the same, or the missing write would show.
        still = {row_id for row_id in buckets if refused and buckets[row_id].silent}
        after = [
            dict(row) if row["id"] in still else _counted(row, policies[row["scope"]], at)
            for row in rows
        ]
        _write(after)
    return refused, {row["id"]: row["count"] for row in after}


def _locked_rows(buckets: Mapping[UUID, Bucket], at: datetime) -> list[dict[str, Any]]:
    rows = _select_locked(buckets)
    if len(rows) < len(buckets):
        _insert_missing(buckets, {row["id"] for row in rows}, at)
        rows = _select_locked(buckets)
    return rows


def _select_locked(buckets: Mapping[UUID, Bucket]) -> list[dict[str, Any]]:
    found = run_prepared(_prepared(len(buckets)).lock, _named(buckets), reason=_REASON)
    return [dict(row) for row in found.mappings()]


def _insert_missing(buckets: Mapping[UUID, Bucket], present: set[UUID], at: datetime) -> None:
    rows = [
        {
            "id": row_id,
            "tenant_id": item.tenant_id,
            "scope": item.scope,
            "count": 0,
            "window_ends_at": None,
            "blocked_until": None,
            "updated_at": at,
        }
        for row_id, item in sorted(buckets.items())
        if row_id not in present
    ]
    if session().get_bind().dialect.name == "sqlite":
        statement: Any = sqlite.insert(_TABLE).on_conflict_do_nothing()
    else:
        statement = insert(_TABLE).prefix_with("IGNORE", dialect="mysql")
    session().execute(statement, rows, execution_options=_EXEMPT)


def _blocked_until(row: Mapping[str, Any], policy: Policy, at: datetime) -> datetime | None:
    if isinstance(policy, Streak):
        until: datetime | None = row["blocked_until"]
        return until if until is not None and until > at else None
    ends: datetime | None = row["window_ends_at"]
    return ends if ends is not None and ends > at and row["count"] >= policy.limit else None


def _counted(row: Mapping[str, Any], policy: Policy, at: datetime) -> dict[str, Any]:
    changed = dict(row) | {"updated_at": at}
    if isinstance(policy, Streak):
        changed["count"] = row["count"] + 1
        changed["blocked_until"] = policy.block_after(changed["count"], at)
        return changed
    ends = row["window_ends_at"]
    fresh = ends is None or ends <= at
    changed["count"] = 1 if fresh else row["count"] + 1
    changed["window_ends_at"] = at + policy.length if fresh else ends
    return changed


def _write(rows: list[dict[str, Any]]) -> None:
    columns = ("count", "window_ends_at", "blocked_until", "updated_at")
    changes = [{"row": row["id"], **{f"new_{name}": row[name] for name in columns}} for row in rows]
    run_prepared(_COUNT, changes, reason=_REASON)
