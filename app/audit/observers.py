"""Who looks at each event as it is recorded: a registry, so that the trail knows no one above it.

An observer runs inside the transaction of the event and may add rows of its own to it. It
must be quick, and keep its rows as evidence where the event's own is kept.
"""

from __future__ import annotations

from collections.abc import Callable

from .models import IAMAuthLog

Observer = Callable[[IAMAuthLog], None]
_observers: list[Observer] = []


def register(observer: Observer) -> None:
    """Have every event shown to `observer`; twice is once."""
    if observer not in _observers:
        _observers.append(observer)


def show(event: IAMAuthLog) -> None:
    """Show an event that was just recorded to every observer."""
    for observer in _observers:
        observer(event)
