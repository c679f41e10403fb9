"""The background thread that drains the outbox, and the loop of the worker command.

One daemon thread per app and process, started when first woken. It has its own app
context, outlives database errors, never keeps the interpreter alive, and is started
anew in a forked child. It knows nothing of rows: it repeats the work it is given.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from flask import Flask

POLL_SECONDS = 5.0
_EXTENSION = "iam_dispatcher"
_log = logging.getLogger("iam.notify")

Work = Callable[[], None]


class Dispatcher:
    """Runs `work` in the background each time it is woken, and every few seconds."""

    def __init__(self, app: Flask, work: Work) -> None:
        self._app = app
        self._work = work
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
                    target=run,
                    args=(self._app, self._work, self._stopping, self._due),
                    name="iam-outbox",
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


def dispatcher(app: Flask, work: Work) -> Dispatcher:
    """Return the app's dispatcher; the first call decides its work."""
    found: Dispatcher = app.extensions.setdefault(_EXTENSION, Dispatcher(app, work))
    return found


def run(
    app: Flask,
    work: Work,
    stopping: threading.Event,
    due: threading.Event | None = None,
) -> None:
    """Repeat `work` until `stopping` is set, whatever it raises."""
    due = due or stopping
    while not stopping.is_set():
        try:
            with app.app_context():
                work()
        except Exception as error:  # noqa: BLE001 - a lost database comes back; the queue waits
            # Only its type: a database error may quote the row.
            _log.warning("outbox not drained: %s", type(error).__name__)
            stopping.wait(POLL_SECONDS)
        due.wait(POLL_SECONDS)
        if due is not stopping:
            due.clear()
