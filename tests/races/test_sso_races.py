"""One answer, one logout token, many hands: fifty workers at once, and one of them gets through.

SQLite lets writers through one by one, so these say most on MySQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app.auth import services_sso
from app.auth.models import (
    IAMAuthSession,
    IAMSsoFlow,
    IAMSsoLogoutToken,
    IAMSsoSession,
    IAMUserAccount,
    IAMUserIdentity,
)
from app.auth.services_sso import SIGN_IN
from app.auth.sso import services_sso_flow, services_sso_sessions
from app.auth.sso.connection import Connection
from app.auth.sso.errors_sso import SsoRefused
from app.auth.sso.services_sso_flow import Trip
from app.auth.sso.settings_sso import SsoSettings
from app.auth.sso.trips import services_sso_logout
from app.auth.sso.userinfo import UserInfo
from app.core.actor import Actor
from app.core.db import session, transaction
from tests.conftest import Someone
from tests.support import sso
from tests.support.lying_provider import LyingProvider
from tests.support.people import rows_of
from tests.support.races import WORKERS, together

Make = Callable[..., Someone]
BROWSER = b"b" * 32


@pytest.fixture(autouse=True)
def _patient(app: Flask) -> Iterator[None]:
    """Give the provider longer than a setting may: here fifty share its process and its cores."""
    held = app.extensions["iam"].settings
    before = held[SsoSettings]
    held[SsoSettings] = before.model_copy(update={"SSO_TIMEOUT_SECONDS": 60})
    yield
    held[SsoSettings] = before


@pytest.fixture
def provider(lying_provider: LyingProvider) -> LyingProvider:
    """Return a provider at which Ann is signed in."""
    lying_provider.person(sub="sub-ann")
    # Room for all at its door: the standard library's server lets five wait.
    lying_provider._server.socket.listen(2 * WORKERS)
    return lying_provider


@pytest.fixture
def connection(app: Flask, scoped: UUID, provider: LyingProvider) -> Connection:
    """Return a connection to the provider."""
    return sso.make_connection(app, provider.url)


@pytest.fixture
def ann(app: Flask, make_user: Make, provider: LyingProvider, connection: Connection) -> Someone:
    """Return a person whose identity is linked."""
    person = make_user("ann")
    sso.link_identity(app, connection, person.id, UserInfo(provider.issuer, "sub-ann"))
    return person


def answer_of(
    provider: LyingProvider, connection: Connection, actor: Actor, browser: bytes = BROWSER
) -> dict[str, str]:
    """Set out and return the parameters of the provider's answer."""
    url = services_sso.begin(connection, purpose=SIGN_IN, browser=browser, actor=actor)
    return sso.query_of(provider.authorize(url))


def come_back(params: dict[str, str], actor: Actor, browser: bytes = BROWSER) -> Any:
    """Bring an answer to the callback."""
    return services_sso.callback(sso.SLUG, params, browser=browser, replaces=None, actor=actor)


def each(items: Iterator[Any]) -> Callable[[], Any]:
    """Return a function that hands out one item to each worker."""
    lock = threading.Lock()

    def take() -> Any:
        with lock:
            return next(items)

    return take


def test_at_178_one_callback_is_one_session(
    app: Flask, scoped: UUID, provider: LyingProvider, connection: Connection, ann: Someone,
    actor: Actor,
) -> None:  # fmt: skip
    params = answer_of(provider, connection, actor)
    found = together(app, scoped, lambda: come_back(params, actor))
    assert found == {"ok": 1, SsoRefused.code: WORKERS - 1}
    assert len(rows_of(IAMAuthSession)) == 1
    assert provider.requests["token"] == 1


def test_x3_fifty_answers_at_once_are_fifty_sign_ins(
    app: Flask, scoped: UUID, provider: LyingProvider, connection: Connection, ann: Someone,
    actor: Actor,
) -> None:  # fmt: skip
    """Of one person in many browsers: connection, identity and account are held in turn."""
    browsers = [bytes([number]) * 32 for number in range(WORKERS)]
    trips = [(answer_of(provider, connection, actor, browser), browser) for browser in browsers]
    take = each(iter(trips))

    def enter() -> None:
        params, browser = take()
        come_back(params, actor, browser)

    assert together(app, scoped, enter) == {"ok": WORKERS}
    assert len(rows_of(IAMSsoSession)) == WORKERS


def test_g3_fifty_first_sign_ins_at_once_make_one_account(
    app: Flask, scoped: UUID, provider: LyingProvider, connection: Connection, actor: Actor
) -> None:
    sso.change_connection(app, connection, jit="open")
    provider.person(sub="new", email="new@example.com", email_verified=True)
    browsers = [bytes([number]) * 32 for number in range(WORKERS)]
    trips = [(answer_of(provider, connection, actor, browser), browser) for browser in browsers]
    take = each(iter(trips))

    def enter() -> None:
        params, browser = take()
        come_back(params, actor, browser)

    assert together(app, scoped, enter) == {"ok": WORKERS}
    assert len(rows_of(IAMUserAccount)) == len(rows_of(IAMUserIdentity)) == 1


def test_a_disabled_connection_leaves_no_session_behind(
    app: Flask, scoped: UUID, provider: LyingProvider, connection: Connection, ann: Someone,
    actor: Actor,
) -> None:  # fmt: skip
    """Sign-ins under way while the connection is disabled: refused, or ended with the rest."""
    workers = 20
    browsers = [bytes([number]) * 32 for number in range(workers - 1)]
    trips = [(answer_of(provider, connection, actor, browser), browser) for browser in browsers]
    take = each(iter([*trips[: workers // 2], None, *trips[workers // 2 :]]))

    def work() -> None:
        item = take()
        if item is None:
            _disable(connection, actor)
        else:
            come_back(item[0], actor, item[1])

    found = together(app, scoped, work, workers)
    assert set(found) <= {"ok", SsoRefused.code, "not_found"}
    assert [row.state for row in rows_of(IAMAuthSession) if row.state != "revoked"] == []


def _disable(connection: Connection, actor: Actor) -> None:
    from app.auth.models import IAMSsoConnection

    with transaction():
        row = session().get(IAMSsoConnection, connection.id, with_for_update=True)
        assert row is not None
        row.enabled = False
        session().flush()
        services_sso_sessions.end_of_connection(connection.id, actor=actor)


def test_at_203_one_logout_token_counts_once(
    app: Flask, scoped: UUID, provider: LyingProvider, connection: Connection, ann: Someone,
    actor: Actor,
) -> None:  # fmt: skip
    come_back(answer_of(provider, connection, actor), actor)
    token = provider.logout_token(sub="sub-ann")
    session().rollback()
    ended: list[int] = []

    def receive() -> None:
        ended.append(services_sso_logout.receive(sso.SLUG, token, actor=actor))

    found = together(app, scoped, receive)
    assert found == {"ok": 1, SsoRefused.code: WORKERS - 1}
    assert ended == [1]
    assert len(rows_of(IAMSsoLogoutToken)) == 1


def test_one_waiting_identity_is_taken_once(
    app: Flask, scoped: UUID, provider: LyingProvider, connection: Connection, ann: Someone,
    actor: Actor,
) -> None:  # fmt: skip
    with transaction():
        opened = services_sso_flow.open_flow(Trip(connection.id, SIGN_IN, BROWSER))
    flow = services_sso_flow.take(opened.state, BROWSER, connection.id)
    assert flow is not None
    with transaction():
        services_sso_flow.keep_pending(flow.id, UserInfo(provider.issuer, "new"), ann.id)
    taken: list[bool] = []

    def take() -> None:
        with transaction():
            taken.append(services_sso_flow.take_pending(flow.id, BROWSER, ann.id) is not None)

    assert together(app, scoped, take) == {"ok": WORKERS}
    assert taken.count(True) == 1
    assert rows_of(IAMSsoFlow) == []


def test_a_flood_of_one_browser_does_not_deadlock(
    app: Flask, scoped: UUID, connection: Connection, actor: Actor
) -> None:
    def begin() -> None:
        services_sso.begin(connection, purpose=SIGN_IN, browser=BROWSER, actor=actor)

    assert together(app, scoped, begin) == {"ok": WORKERS}
