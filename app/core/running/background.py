"""Work in the background of a process: one daemon thread per app and kind of work.

A thread is started when first woken. It has its own app context, outlives database errors,
never keeps the interpreter alive, and is started anew in a forked child. It knows nothing of
what it does: it repeats the work it is given.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from flask import Flask

_log = logging.getLogger("iam.background")

Work = Callable[[], object]


class Background:
    """Runs `work` each time it is woken, and every `poll` seconds.

    It waits `gather` seconds after it was woken, so that what comes together is done together.
    """

    def __init__(
        self, app: Flask, work: Work, *, name: str, poll: float, gather: float = 0.0
    ) -> None:
        self._app = app
        self._work = work
        self._name = name
        self._poll = poll
        self._gather = gather
        self._thread: threading.Thread | None = None
        self._start_afresh()

    def wake(self) -> None:
        """Have the work done soon; returns at once."""
        if self._pid != os.getpid():
            # A fork copies neither the thread nor a sane state of its locks.
            self._start_afresh()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._thread = threading.Thread(
                    target=repeat,
                    args=(self._app, self._work, self._stopping, self._due),
                    kwargs={"name": self._name, "poll": self._poll, "gather": self._gather},
                    name=self._name,
                    daemon=True,
                )
                self._thread.start()
        self._due.set()

    def stop(self, timeout: float = 15.0) -> None:
        """End the thread and wait for it; a later `wake` starts a new one."""
        self._stopping.set()
        self._due.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """Return whether the thread runs in this process."""
        same_process = self._pid == os.getpid()
        return same_process and self._thread is not None and self._thread.is_alive()

    def _start_afresh(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread = None


def repeat(
    app: Flask,
    work: Work,
    stopping: threading.Event,
    due: threading.Event | None = None,
    *,
    name: str,
    poll: float,
    gather: float = 0.0,
) -> None:
    """Repeat `work` until `stopping` is set, whatever it raises."""
    due = due or stopping
    while not stopping.is_set():
        try:
            with app.app_context():
                work()
        except Exception as error:  # noqa: BLE001 - a lost database comes back; the work waits
            # Only its type: a database error may quote the row.
            _log.warning("%s: %s", name, type(error).__name__)
            stopping.wait(poll)
        if due.wait(poll) and gather:
            stopping.wait(gather)
        if due is not stopping:
            due.clear()
