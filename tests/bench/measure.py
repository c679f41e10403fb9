"""The stop-watches: rates of several threads, times of one caller, statements of a block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Engine, event

_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA")


@dataclass(frozen=True)
class Slice:
    """What some threads did in a slice of time: work per second, CPU seconds per work."""

    rate: float
    cpu: float


def run_threads(threads: int, seconds: float, work: Callable[[int, int], None]) -> Slice:
    """Call `work(thread, turn)` on each thread until the time is over."""
    start = threading.Barrier(threads + 1)
    done: list[tuple[int, float]] = []
    failures: list[BaseException] = []

    def loop(index: int) -> None:
        start.wait()
        began, turn = time.perf_counter(), 0
        try:
            while time.perf_counter() - began < seconds:
                work(index, turn)
                turn += 1
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)
        done.append((turn, time.perf_counter() - began))

    workers = [threading.Thread(target=loop, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    cpu = time.process_time()
    start.wait()
    for worker in workers:
        worker.join()
    cpu = time.process_time() - cpu
    if failures:
        raise failures[0]
    turns = sum(count for count, _taken in done)
    return Slice(sum(count / taken for count, taken in done), cpu / max(turns, 1))


def time_calls(calls: int, work: Callable[[], None]) -> float:
    """Return the median time of one call in milliseconds."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times) * 1000


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the SQL statements of a block, without those that only bound a transaction."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(_CONTROL):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)
