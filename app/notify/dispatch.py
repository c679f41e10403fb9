"""The background thread that drains the outbox, and the loop of the worker command."""

from __future__ import annotations

import threading

from flask import Flask

from ..core.running.background import Background, Work, repeat

POLL_SECONDS = 5.0
_EXTENSION = "iam_dispatcher"
_NAME = "iam-outbox"


class Dispatcher(Background):
    """Drains the outbox in the background each time it is woken, and every few seconds."""

    def __init__(self, app: Flask, work: Work) -> None:
        super().__init__(app, work, name=_NAME, poll=POLL_SECONDS)


def dispatcher(app: Flask, work: Work) -> Dispatcher:
    """Return the app's dispatcher; the first call decides its work."""
    found: Dispatcher = app.extensions.setdefault(_EXTENSION, Dispatcher(app, work))
    return found


def run(app: Flask, work: Work, stopping: threading.Event) -> None:
    """Repeat `work` until `stopping` is set, whatever it raises."""
    repeat(app, work, stopping, name=_NAME, poll=POLL_SECONDS)
