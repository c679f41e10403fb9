"""An app that answers on a loopback port, for browsers and for services that call it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.server import create_server


@dataclass(frozen=True)
class Served:
    """An app and where it answers."""

    app: Flask
    url: str


@contextlib.contextmanager
def serve(make: Callable[[str], Flask]) -> Iterator[Served]:
    """Serve what `make` returns for its address, on a free loopback port.

    By name, for a passkey belongs to a host name; the app knows its own address.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://localhost:{listening.getsockname()[1]}"
    app = make(url)
    sockets: dict[int, Any] = {}
    server: Any = create_server(app, sockets=[listening], threads=8, map=sockets)
    stop = threading.Event()
    thread = threading.Thread(target=_answer, args=(sockets, stop), daemon=True)
    thread.start()
    yield Served(app, url)
    stop.set()
    server.pull_trigger()
    thread.join(5)
    server.task_dispatcher.shutdown()
    wasyncore.close_all(sockets)
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()


def _answer(sockets: dict[int, Any], stop: threading.Event) -> None:
    # Not `server.run`, which ends only after the last browser has hung up.
    while not stop.is_set():
        wasyncore.loop(timeout=1, map=sockets, count=1)
