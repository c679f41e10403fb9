"""Callbacks of single sign-on, against the same token request and ID token by Authlib alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.lying_provider import LyingProvider
from tests.support.sso import (
    CLIENT_ID,
    CLIENT_SECRET,
    leave_and_return,
    make_connection,
    path_of,
    sign_in_through,
    start,
)

from .browsers import AGENT, cookies_of, requester
from .measure import statements
from .report import Report
from .subjects import forget_sessions, make_service

PEOPLE = 30
REDIRECT_URI = "https://id.example.org/callback"


def measure(url: str, report: Report, engine: str, rounds: int) -> None:
    """Report the rate of callbacks, their statements, and the rate of bare token requests."""
    app = make_service(url, RATE_LIMIT_SIGN_IN="100000 per minute", SSO_ALLOW_PRIVATE=True)
    with LyingProvider() as provider:
        make_connection(app, provider.url, jit="open")
        clients = [_known_browser(app, provider, index) for index in range(PEOPLE)]
        _count(app, provider, clients[0], report, engine)
        rates, raw_rates = [], []
        for _round in range(rounds):
            forget_sessions(app)
            rates.append(_rate([_callback(app, provider, client) for client in clients]))
            raw_rates.append(_rate([_raw(provider) for _client in clients]))
    rate, raw_rate = median(rates), median(raw_rates)
    report.add(
        "sso_callback_wsgi", rate, "sign-ins/s", ratio=rate / raw_rate, engine=engine,
        peer=f"token request and ID token by Authlib and httpx, one thread: {raw_rate:.0f}/s",
    )  # fmt: skip


def _known_browser(app: Flask, provider: LyingProvider, index: int) -> FlaskClient:
    client = app.test_client()
    client.environ_base = {"REMOTE_ADDR": f"10.3.0.{index + 1}", "HTTP_USER_AGENT": AGENT}
    person = {"sub": f"bench-{index}", "email": f"bench-{index}@example.org"}
    answer = sign_in_through(client, provider, email_verified=True, **person)
    if answer.status_code != 303:
        raise RuntimeError(f"the first sign-in answered {answer.status_code}")
    client.delete_cookie("iam_session")
    return client


def _count(
    app: Flask, provider: LyingProvider, client: FlaskClient, report: Report, engine: str
) -> None:
    provider.person(sub="bench-0", email="bench-0@example.org", email_verified=True)
    leave_and_return(client, provider, start(client))  # what a process remembers, it knows now
    client.delete_cookie("iam_session")
    with app.app_context():
        database = app.extensions["sqlalchemy"].engine
    with statements(database) as begun:
        address = start(client)
    callback = path_of(provider.authorize(address))
    with statements(database) as ended:
        client.get(callback)
    client.delete_cookie("iam_session")
    report.add(
        "sso_callback_statements", len(ended), "SQL statements", engine=engine,
        peer=f"known person and browser; {len(begun)} more for the way there",
    )  # fmt: skip


def _callback(app: Flask, provider: LyingProvider, client: FlaskClient) -> Callable[[], None]:
    index = int(client.environ_base["REMOTE_ADDR"].rpartition(".")[2]) - 1
    provider.person(sub=f"bench-{index}", email=f"bench-{index}@example.org", email_verified=True)
    callback = path_of(provider.authorize(start(client)))
    address = client.environ_base["REMOTE_ADDR"]
    return requester(app, callback, cookie=cookies_of(client), address=address, expected=303)


def _raw(provider: LyingProvider) -> Callable[[], None]:
    client = OAuth2Client(
        CLIENT_ID, CLIENT_SECRET, redirect_uri=REDIRECT_URI, scope="openid email",
        code_challenge_method="S256", trust_env=False,
    )  # fmt: skip
    verifier, nonce = "v" * 64, "n" * 32
    address, _state = client.create_authorization_url(
        provider.at("authorize"), code_verifier=verifier, nonce=nonce
    )
    code = parse_qs(urlsplit(provider.authorize(address)).query)["code"][0]
    keys = KeySet.import_key_set({"keys": [provider.key.as_dict(private=False)]})

    def exchange() -> None:
        tokens: dict[str, Any] = client.fetch_token(
            provider.at("token"), code=code, code_verifier=verifier
        )
        token = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"])
        params = {
            "nonce": nonce,
            "client_id": CLIENT_ID,
            "access_token": tokens["access_token"],
        }
        CodeIDToken(token.claims, token.header, None, params).validate(leeway=60)

    return exchange


def _rate(calls: list[Callable[[], None]]) -> float:
    began = time.perf_counter()
    for call in calls:
        call()
    return len(calls) / (time.perf_counter() - began)
