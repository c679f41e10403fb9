"""A served app and a real Chromium."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from waitress.server import create_server

from app.core.db import session
from tests.conftest import empty_database, make_app
from tests.support.chromium import browser as chromium


@dataclass(frozen=True)
class Served:
    """An app and where it answers."""

    app: Flask
    url: str


@pytest.fixture
def served(app: Flask, database_url: str) -> Iterator[Served]:
    """Serve the demo configuration of the suite's database on a free loopback port.

    By name, for a passkey belongs to a host name; the app knows its own address.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://localhost:{listening.getsockname()[1]}"
    demo = make_app(database_url, TESTING=False, IAM_ENV="demo", IAM_BASE_URL=url)
    server: Any = create_server(demo, sockets=[listening], threads=8)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Served(demo, url)
    server.close()
    thread.join(5)
    with demo.app_context():
        demo.extensions["sqlalchemy"].engine.dispose()
    session().rollback()  # what the test itself read must not hold the tables
    empty_database(app)


@pytest.fixture
def browser() -> Iterator[Any]:
    """Start a Chromium without a profile."""
    with chromium() as driver:
        driver.implicitly_wait(5)
        yield driver
