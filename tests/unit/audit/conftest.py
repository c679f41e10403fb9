"""A tenant with a trail of its own, over the services alone: no request, no person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pytest
from flask import Flask

from app.audit.events import CATALOGUE, Event
from app.audit.models import IAMAuthLog
from app.audit.services_audit import record
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.tenancy.models import IAMTenant


class Trail:
    """The audit trail of one tenant."""

    def __init__(self) -> None:
        self.tenant_id = new_id()
        at = clock.now()
        values = {"id": self.tenant_id, "slug": self.tenant_id.hex, "name": "A", "type": "tenant"}
        with self.scope(), transaction():
            session().add(IAMTenant(**values, created_at=at))
        self.person = new_id()
        self.actor = Actor(
            kind="user",
            tenant_id=self.tenant_id,
            user_id=self.person,
            session_id=new_id(),
            ip="192.0.2.1",
            user_agent="Browser/1.0",
            request_id=new_id().hex,
        )

    def scope(self) -> AbstractContextManager[None]:
        """Return the scope of this tenant."""
        return tenant_scope(self.tenant_id)

    def add(
        self, event: Event | str, *, at: datetime | None = None, count: int = 1, **values: Any
    ) -> list[IAMAuthLog]:
        """Record an event, `count` times, as if it were `at`; return the rows."""
        found = CATALOGUE[event] if isinstance(event, str) else event
        values = {"actor": self.actor} | values
        with clock.travel((at or clock.now()) - clock.now()), self.scope(), transaction():
            return [record(found, **values) for _number in range(count)]


@pytest.fixture
def context(app: Flask) -> Iterator[Flask]:
    """Return the app inside a context of its own."""
    with app.app_context():
        yield app


@pytest.fixture
def trail(context: Flask) -> Iterator[Trail]:
    """Return a tenant's trail, in its scope."""
    made = Trail()
    with made.scope():
        yield made


@pytest.fixture
def foreign_trail(context: Flask) -> Trail:
    """Return the trail of another tenant in the same database, out of scope."""
    return Trail()
