"""A small app with the outbox tables on SQLite, and a real mail server beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask_babel import Babel
from flask_sqlalchemy import SQLAlchemy

from app.audit.models import IAMAuthLog
from app.core import scoping
from app.core.actor import Actor, system_actor
from app.core.crypto import KeyRing, new_fernet_key
from app.core.db import Base, prepare_sqlite
from app.core.ids import new_id
from app.core.settings import EXTENSION
from app.notify import services_outbox
from app.notify.models import IAMOutbox
from app.notify.settings import NotifySettings
from tests.support.smtp_server import SmtpServer

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """Return a factory of apps; keyword arguments are settings."""
    made: list[tuple[Flask, SQLAlchemy]] = []

    def make(**config: Any) -> Flask:
        app = Flask(__name__, template_folder=str(tmp_path / "templates"))
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'outbox.db'}"
        database = SQLAlchemy(app)
        Babel(app)
        values = {"IAM_OUTBOX_MODE": "inline", "MAIL_USE_TLS": False} | config
        app.extensions[EXTENSION] = SimpleNamespace(
            settings={NotifySettings: NotifySettings.load(values, {})},
            keyring=KeyRing(["signing-secret"], [new_fernet_key()]),
        )
        with app.app_context():
            prepare_sqlite(database.engine)
            scoping.install(database.session)
            tables = [
                Base.metadata.tables[model.__tablename__] for model in (IAMOutbox, IAMAuthLog)
            ]
            Base.metadata.create_all(database.engine, tables=tables)
        made.append((app, database))
        return app

    yield make
    for app, database in made:
        dispatcher = app.extensions.get("iam_dispatcher")
        if dispatcher is not None:
            dispatcher.stop()
        with app.app_context():
            database.engine.dispose()


@pytest.fixture
def actor() -> Actor:
    """Return the actor of a tenant of its own."""
    return system_actor(new_id(), "test")


@pytest.fixture
def mailbox() -> Iterator[SmtpServer]:
    """Return a running mail server without TLS."""
    with SmtpServer() as server:
        yield server


@pytest.fixture
def smtp_settings(mailbox: SmtpServer) -> dict[str, Any]:
    """Return the settings that lead to the mail server."""
    return {
        "MAIL_PROVIDER": "smtp",
        "MAIL_SERVER": mailbox.host,
        "MAIL_PORT": mailbox.port,
        "MAIL_FROM": "Example <no-reply@example.com>",
        "MAIL_TIMEOUT_SECONDS": 2,
    }


@pytest.fixture
def app(make_app: MakeApp, smtp_settings: dict[str, Any], actor: Actor) -> Iterator[Flask]:
    """Return an app that delivers mail inline, inside its context and the actor's tenant."""
    made = make_app(**smtp_settings)
    with made.app_context(), scoping.tenant_scope(actor.tenant_id):
        yield made


@pytest.fixture
def outbox() -> Any:
    """Return the service under test."""
    return services_outbox
