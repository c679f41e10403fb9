"""SQL statements of a sign-in, of a signed-in request, and of a page of a long list."""

from __future__ import annotations

from collections.abc import Callable

import pyotp
from flask import Flask

from app.core import clock

from .browsers import AGENT, cookies_of, requester, token_of
from .measure import statements
from .report import Report
from .subjects import PASSWORD, seed, seed_admin

LIST = "/admin/users"


def measure(app: Flask, report: Report, engine: str) -> None:
    """Report how many statements each takes; a list takes as many for 1000 people as for 10."""
    secret = seed_admin(app)
    seed(app, 10, prefix="few")
    cookie, login = _sign_in(app, "admin00000", secret)
    report.add("login_first_statements", login, "SQL statements", engine=engine,
               peer="new browser, password step of a sign-in with MFA")  # fmt: skip
    returning = _login_again(app)
    report.add("login_statements", returning, "SQL statements", engine=engine,
               peer="known browser, whole sign-in")  # fmt: skip
    account = _count(app, requester(app, "/account", cookie=cookie))
    report.add("page_statements", account, "SQL statements", engine=engine, peer="/account")
    page = requester(app, LIST, cookie=cookie)
    few = _count(app, page)
    seed(app, 1000, prefix="many")
    many = _count(app, page)
    report.add("list_statements", many, "SQL statements", ratio=many / few, target="= 1",
               met=many == few, peer=f"{LIST}: 1000 people / 10 people", engine=engine)  # fmt: skip


def _sign_in(app: Flask, name: str, secret: str) -> tuple[str, int]:
    client = app.test_client()
    token = token_of(client.get("/auth/login", headers={"User-Agent": AGENT}).text)
    form = {"username": name, "password": PASSWORD, "csrf_token": token}
    with statements(_engine(app)) as found:
        client.post("/auth/login", data=form)
    token = token_of(client.get("/auth/mfa/verify").text)
    code = pyotp.TOTP(secret).at(clock.now())
    answer = client.post("/auth/mfa/verify", data={"code": code, "csrf_token": token})
    if answer.status_code != 303:
        raise RuntimeError("the code was refused")
    return cookies_of(client), len(found)


def _login_again(app: Flask) -> int:
    client = app.test_client()
    token = token_of(client.get("/auth/login", headers={"User-Agent": AGENT}).text)
    form = {"username": "few00000", "password": PASSWORD, "csrf_token": token}
    send = requester(app, "/auth/login", form=form, cookie=cookies_of(client), expected=303)
    return _count(app, send)


def _count(app: Flask, send: Callable[[], None]) -> int:
    send()  # what is remembered per process is remembered now
    send()
    with statements(_engine(app)) as found:
        send()
    return len(found)


def _engine(app: Flask):  # type: ignore[no-untyped-def]
    with app.app_context():
        return app.extensions["sqlalchemy"].engine
