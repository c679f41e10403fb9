"""Fifty at once: wrong passwords, one reset link, sessions at their limit (AT-005, AT-091, AT-126).

SQLite lets writers through one by one, so these say most on MySQL.
"""

from __future__ import annotations

import itertools
import re

import pytest
from sqlalchemy import func, select

from app.auth.models import IAMAuthSession, IAMPasswordHistory
from app.auth.passwords import services_reset
from app.auth.sessions import services_sessions
from app.auth.sign_in import services_login
from app.auth.sign_in.services_login import PasswordAttempt
from app.core import hashing
from app.core.actor import Actor
from app.core.db import session
from app.core.scoping import tenant_scope
from app.notify import services_outbox
from tests.conftest import PASSWORD
from tests.support.races import together

pytestmark = pytest.mark.slow
NEW = "violet ladder under seven moons"


def attempt(username: str, password: str, browser: bytes = b"b" * 32) -> PasswordAttempt:
    return PasswordAttempt(username, password, remember=False, next_url=None, browser=browser)


def visitor(tenant, number: int = 1) -> Actor:
    return Actor(kind="anonymous", tenant_id=tenant, ip=f"10.1.0.{number}", user_agent="races")


def test_at_005_fifty_wrong_passwords_at_once_get_five_evaluations(
    app, tenant, make_user, monkeypatch
):
    make_user("ann")
    evaluated = []
    verify = hashing.PasswordHasher.verify
    monkeypatch.setattr(
        hashing.PasswordHasher,
        "verify",
        lambda self, stored, password: evaluated.append(1) or verify(self, stored, password),
    )
    work = lambda: services_login.sign_in_with_password(  # noqa: E731
        attempt("ann", "wrong"), actor=visitor(tenant)
    )
    outcome = together(app, tenant, work)
    assert outcome == {"auth.invalid_credentials": 5, "auth.too_many_attempts": 45}
    assert len(evaluated) == 5


def test_p1_4_name_and_address_at_once_get_five_evaluations_together(
    app, tenant, make_user, monkeypatch
):
    make_user("ann")
    evaluated = []
    verify = hashing.PasswordHasher.verify
    monkeypatch.setattr(
        hashing.PasswordHasher,
        "verify",
        lambda self, stored, password: evaluated.append(stored) or verify(self, stored, password),
    )
    names = itertools.cycle(["ann", "ann@example.com"])
    work = lambda: services_login.sign_in_with_password(  # noqa: E731
        attempt(next(names), "wrong"), actor=visitor(tenant)
    )
    outcome = together(app, tenant, work)
    assert outcome == {"auth.invalid_credentials": 10, "auth.too_many_attempts": 40}
    assert len([stored for stored in evaluated if stored is not None]) == 5


def test_at_091_a_reset_link_used_fifty_times_at_once_works_once(app, tenant, make_user):
    person = make_user("ann")
    with tenant_scope(tenant):
        services_reset.request_reset("ann", actor=visitor(tenant))
        body = services_outbox.list_recent(1)[0]["body"]
        token = re.search(r"/auth/password/reset/(\S+)", body).group(1)
        session().rollback()

    def work() -> None:
        services_reset.redeem(token, NEW, actor=visitor(tenant))

    outcome = together(app, tenant, work)
    assert outcome["ok"] == 1, outcome
    with tenant_scope(tenant):
        kept = session().scalar(
            select(func.count())
            .select_from(IAMPasswordHistory)
            .where(IAMPasswordHistory.user_id == person.id)
        )
    assert kept == 1


def test_at_126_parallel_sign_ins_never_pass_the_session_limit(app, tenant, make_user):
    person = make_user("ann")
    numbers = iter(range(1, 1000))

    def work() -> None:
        number = next(numbers)
        services_login.sign_in_with_password(
            attempt("ann", PASSWORD, bytes([number % 256]) * 32), actor=visitor(tenant, number)
        )

    together(app, tenant, work, workers=25)
    with tenant_scope(tenant):
        live = session().scalar(
            select(func.count())
            .select_from(IAMAuthSession)
            .where(IAMAuthSession.user_id == person.id, IAMAuthSession.state == "active")
        )
        assert live <= 10
        assert len(services_sessions.list_live(person.id)) == live
