"""Every way in, driven over HTTP: what the gate is held to holds for each of them.

A producer shows its proof in two steps: `begin` does what the person does before (asks for
a link, say), `finish` sends the proof itself. Between the two a test changes the account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from app.auth.sso.userinfo import UserInfo
from app.core import clock
from tests.conftest import Someone, csrf_of, post
from tests.support import passkeys, recovery, sso
from tests.support.authenticator import Authenticator
from tests.support.lying_provider import LyingProvider
from tests.support.mailbox import code_to, link_to

Finish = Callable[[], Any]


@dataclass(frozen=True)
class Producer:
    """One way in. `mailbox` and `second_step` tell what its proof already contains."""

    begin: Callable[[Flask, FlaskClient, Someone], Finish]
    mailbox: bool = False
    second_step: bool = False


def where(client: FlaskClient, answer: Any) -> str | None:
    """Return where a finished sign-in leads; None where it was refused."""
    found: str | None = (answer.get_json() or {}).get("next") if answer.is_json else None
    return found or answer.headers.get("Location")


def _password(_app: Flask, client: FlaskClient, person: Someone) -> Finish:
    form = {"username": person.username, "password": person.password}
    token = csrf_of(client.get("/auth/login").text)
    return lambda: client.post("/auth/login", data={**form, "csrf_token": token})


def _link(_app: Flask, client: FlaskClient, person: Someone) -> Finish:
    post(client, "/auth/login/link", {"username": person.username, "channel": "email"})
    path = link_to(person.email, "/auth/login/link/")
    token = csrf_of(client.get(path).text)
    return lambda: client.post(path, data={"csrf_token": token})


def _code(_app: Flask, client: FlaskClient, person: Someone) -> Finish:
    form = {"username": person.username, "channel": "email"}
    asked = post(client, "/auth/login/link", form)
    data = {**form, "code": code_to(person.email), "csrf_token": csrf_of(asked.text)}
    return lambda: client.post("/auth/login/code", data=data)


def _passkey(app: Flask, client: FlaskClient, person: Someone) -> Finish:
    device = Authenticator()
    enrolling = app.test_client()
    recovery.give_password(enrolling, person)
    assert passkeys.register(enrolling, device).status_code == 200
    asked = passkeys.options(client, "login/options", {"flow": "sign_in"})
    body = {"flow": "sign_in", "credential": device.get(asked)}
    token = passkeys.token_of(client)
    return lambda: passkeys.send(client, "login/verify", body, token=token)


@cache
def _provider() -> LyingProvider:
    """Return one provider for all tests of this process; its thread ends with the process."""
    provider = LyingProvider()
    provider._thread.daemon = True
    return provider.__enter__()


def _sso(app: Flask, client: FlaskClient, person: Someone) -> Finish:
    provider = _provider()
    connection = sso.make_connection(app, provider.url)
    known = UserInfo(provider.issuer, f"sub-{person.username}")
    sso.link_identity(app, connection, person.id, known)
    provider.person(sub=known.subject)
    path = sso.path_of(provider.authorize(sso.start(client)))
    return lambda: client.get(path)


def _recovery(app: Flask, client: FlaskClient, person: Someone) -> Finish:
    recovery.set_phone(person)
    recovery.begin_waiting(app.test_client(), person)
    path = recovery.link("continue")

    def finish() -> Any:
        with clock.travel(timedelta(hours=25)):
            token = passkeys.token_of(client)
            return client.post(path, data={"csrf_token": token})

    return finish


PRODUCERS = {
    "password": Producer(_password),
    "passkey": Producer(_passkey, second_step=True),
    "link": Producer(_link, mailbox=True),
    "code": Producer(_code, mailbox=True),
    "sso": Producer(_sso),
    "recovery": Producer(_recovery),
}
