"""Sign-ins at once from one device: one generation, and no trust past its end (J3, AT-071).

SQLite lets writers through one by one, so these say most on MySQL.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from app.audit.models import IAMAuthLog
from app.auth.models import IAMAuthSession
from app.auth.sessions import services_sessions
from app.auth.sign_in import services_login
from app.auth.sign_in.services_login import PasswordAttempt
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope
from app.risk import services_devices
from app.risk.models import IAMDevice, IAMThrottle
from app.risk.settings import RiskSettings
from tests.conftest import PASSWORD
from tests.support.races import together
from tests.support.settings import changed

pytestmark = pytest.mark.slow
BROWSER = b"b" * 32
LONG_AGO = timedelta(minutes=services_devices.DEVICE_ROTATE_MINUTES + 1)


@pytest.fixture
def trusting(app: Flask) -> Iterator[None]:
    """Let people trust their devices for thirty days."""
    with changed(app, RiskSettings, DEVICE_TRUST_DAYS=30):
        yield


def sign_in(tenant: UUID, presented: int) -> services_sessions.SignIn:
    actor = Actor(
        kind="anonymous", tenant_id=tenant, ip="10.1.0.1", user_agent="races", generation=presented
    )
    attempt = PasswordAttempt("ann", PASSWORD, remember=False, next_url=None, browser=BROWSER)
    return services_login.sign_in_with_password(attempt, actor=actor)


def known_device(tenant: UUID, person: Any, **values: Any) -> UUID:
    """Make a device that rotated to generation 3 a while ago; return its id."""
    at = clock.now()
    with tenant_scope(tenant), transaction():
        row = services_devices.remember_device(
            person.id, BROWSER, actor=Actor("system", tenant, label="tests")
        )
        session().execute(
            update(IAMDevice)
            .where(IAMDevice.id == row.id)
            .values(known=True, generation=3, rotated_at=at - LONG_AGO, revoked_at=None, **values)
        )
        return row.id


def test_j3_parallel_sign_ins_of_one_device_make_one_generation(
    app: Flask, tenant: UUID, make_user: Any
) -> None:
    device_id = known_device(tenant, make_user("ann"))
    given: list[int | None] = []
    outcome = together(app, tenant, lambda: given.append(sign_in(tenant, 3).generation), workers=25)
    assert outcome["ok"] == len(given) > 0, outcome
    assert set(given) <= {4, None}
    assert 4 in given
    with tenant_scope(tenant):
        session().rollback()
        stored = session().scalars(select(IAMDevice).where(IAMDevice.id == device_id)).one()
        assert (stored.generation, stored.known) == (4, True)
        reused = select(IAMAuthLog).where(IAMAuthLog.action == "DEVICE_COOKIE_REUSED")
        assert session().scalars(reused).all() == []


@pytest.mark.parametrize("act", ["revoked", "untrusted"])
def test_at_071_no_sign_in_relies_on_a_trust_that_has_just_ended(
    app: Flask, tenant: UUID, make_user: Any, trusting: None, act: str
) -> None:
    person = make_user("ann", mfa="totp")
    actor = Actor("user", tenant, person.id)
    for _round in range(8):
        until = clock.now() + timedelta(days=1)
        device_id = known_device(tenant, person, trusted_until=until)
        turn = itertools.count()

        def end(device_id: UUID = device_id) -> None:
            with transaction():
                if act == "revoked":
                    device = services_devices.get_device(person.id, device_id)
                    services_devices.revoke_device(device, actor=actor)
                else:
                    services_devices.withdraw_trust(person.id, actor=actor)
                services_sessions.revoke_device(device_id, actor=actor)

        def work(turn: Iterator[int] = turn, end: Any = end) -> None:
            if next(turn) == 2:
                end()
            else:
                sign_in(tenant, 3)

        outcome = together(app, tenant, work, workers=5)
        assert outcome["ok"], outcome
        with tenant_scope(tenant):
            session().rollback()
            live = select(IAMAuthSession.acr).where(IAMAuthSession.state == "active")
            assert session().scalars(live).all() == []
            with transaction():
                session().execute(delete(IAMThrottle))
