"""Sign-ins by a passkey alone, against what the library's own verification of one costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from fido2.cose import CoseKey
from fido2.server import Fido2Server
from fido2.webauthn import Aaguid, AttestedCredentialData, PublicKeyCredentialRpEntity
from flask import Flask
from flask.testing import FlaskClient

from tests.support import passkeys
from tests.support.authenticator import ORIGIN, RP_ID, Authenticator

from .browsers import AGENT, cookies_of, requester, token_of
from .measure import statements
from .report import Report
from .subjects import PASSWORD, forget_sessions, make_service, seed

PEOPLE = 60
MOST_STATEMENTS = 6
VERIFY = "/auth/webauthn/login/verify"


@dataclass(frozen=True)
class Owner:
    """Somebody with a passkey, in a browser that knows them."""

    client: FlaskClient
    device: Authenticator
    address: str


def measure(url: str, report: Report, engine: str, rounds: int) -> None:
    """Report the rate of sign-ins, their statements, and the rate of bare verifications."""
    app = make_service(url, IAM_BASE_URL=ORIGIN, RATE_LIMIT_SIGN_IN="100000 per minute")
    names = seed(app, PEOPLE, prefix="key").names
    owners = [_owner(app, name, index) for index, name in enumerate(names)]
    for send in _prepared(app, owners):  # what is remembered per process is remembered now
        send()
    _count(app, owners[0], report, engine)
    raw = _raw()
    rates, raw_rates = [], []
    for _round in range(rounds):
        forget_sessions(app)
        rates.append(_rate(_prepared(app, owners)))
        raw_rates.append(_rate([raw] * PEOPLE))
    rate, raw_rate = median(rates), median(raw_rates)
    report.add(
        "passkey_wsgi", rate, "sign-ins/s", ratio=rate / raw_rate, engine=engine,
        peer=f"fido2's own verification, one thread: {raw_rate:.0f}/s",
    )  # fmt: skip


def _count(app: Flask, owner: Owner, report: Report, engine: str) -> None:
    forget_sessions(app)
    with app.app_context():
        database = app.extensions["sqlalchemy"].engine
    (send,) = _prepared(app, [owner])
    with statements(database) as found:
        send()
    report.add(
        "passkey_statements", len(found), "SQL statements", target=f"<= {MOST_STATEMENTS}",
        met=len(found) <= MOST_STATEMENTS, peer="known browser, whole sign-in", engine=engine,
    )  # fmt: skip


def _owner(app: Flask, name: str, index: int) -> Owner:
    client, device = app.test_client(), Authenticator()
    token = token_of(client.get("/auth/login", headers={"User-Agent": AGENT}).text)
    client.post("/auth/login", data={"username": name, "password": PASSWORD, "csrf_token": token})
    if passkeys.register(client, device).status_code != 200:
        raise RuntimeError("the passkey was not registered")
    client.delete_cookie("iam_session")
    return Owner(client, device, f"10.2.0.{index + 1}")


def _prepared(app: Flask, owners: list[Owner]) -> list[Callable[[], None]]:
    return [_sender(app, owner) for owner in owners]


def _sender(app: Flask, owner: Owner) -> Callable[[], None]:
    asked = passkeys.options(owner.client, "login/options", {"flow": "sign_in"})
    body = {"flow": "sign_in", "credential": owner.device.get(asked)}
    return requester(
        app, VERIFY, data=body, token=passkeys.token_of(owner.client),
        cookie=cookies_of(owner.client), address=owner.address,
    )  # fmt: skip


def _raw() -> Callable[[], None]:
    device = Authenticator()
    server = Fido2Server(PublicKeyCredentialRpEntity(name="Bench", id=RP_ID))
    device.create({"user": {"id": "AA"}, "rp": {"id": RP_ID}, "challenge": "AA"})
    key = device.key
    credential = AttestedCredentialData.create(
        Aaguid(device.aaguid.bytes), key.credential_id, CoseKey.parse(dict(key.public_key))
    )
    _options, state = server.authenticate_begin([credential])
    asked: dict[str, Any] = {"rpId": RP_ID, "challenge": state["challenge"]}
    answer = device.get(asked)

    def verify() -> None:
        server.authenticate_complete(state, [credential], answer)

    return verify


def _rate(calls: list[Callable[[], None]]) -> float:
    began = time.perf_counter()
    for call in calls:
        call()
    return len(calls) / (time.perf_counter() - began)
