"""A view that only a role may see, against the bare view and against Flask-Security."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from flask import Flask

from .browsers import cookies_of, requester, token_of
from .databases import NewDatabase
from .measure import statements, time_calls
from .report import Report
from .subjects import PASSWORD, VIEW, make_bare, make_host, make_peer, seed

CALLS = 300


def measure(new_database: NewDatabase, report: Report, engine: str, rounds: int) -> None:
    """Report the milliseconds and statements that protection adds to a request."""
    host, peer = make_host(new_database()), make_peer(new_database())
    senders = {
        "bare": requester(make_bare(), VIEW),
        "ours": requester(host, VIEW, cookie=_sign_in_here(host)),
        "peer": requester(peer, VIEW, cookie=_sign_in_there(peer)),
    }
    counts = {
        "ours": _count(host, senders["ours"]),
        "peer": _count(peer, senders["peer"]),
    }
    times: dict[str, list[float]] = {name: [] for name in senders}
    for _round in range(rounds):
        for name, send in senders.items():
            times[name].append(time_calls(CALLS, send))
    _report(times, counts, report, engine)


def _report(
    times: dict[str, list[float]], counts: dict[str, int], report: Report, engine: str
) -> None:
    bare = median(times["bare"])
    ours, theirs = (
        median(a - b for a, b in zip(times[name], times["bare"], strict=True))
        for name in ("ours", "peer")
    )
    half = median(
        (a - b) / (c - b)
        for a, b, c in zip(times["ours"], times["bare"], times["peer"], strict=True)
    )
    add = report.add
    add("view_bare", bare, "ms", engine=engine)
    add("view_role_added", ours, "ms", ratio=(bare + ours) / bare, target="<= 0.35 ms",
        met=ours <= 0.35, peer="the same bare Flask view", engine=engine)  # fmt: skip
    add("view_role_vs_peer", ours, "ms", ratio=half, target="<= 0.5", met=half <= 0.5,
        peer=f"Flask-Security, adds {theirs:.3f} ms", engine=engine)  # fmt: skip
    queries = counts["ours"]
    add("view_role_statements", queries, "SQL statements", target="<= 1", met=queries <= 1,
        peer=f"Flask-Security: {counts['peer']}", engine=engine)  # fmt: skip


def _count(app: Flask, send: Callable[[], None]) -> int:
    for _ in range(20):
        send()
    with app.app_context():
        engine = app.extensions["sqlalchemy"].engine
    with statements(engine) as found:
        send()
    return len(found)


def _sign_in_here(app: Flask) -> str:
    name = seed(app, 1, prefix="viewer", role="viewer").names[0]
    client = app.test_client()
    token = token_of(client.get("/auth/login").text)
    form = {"username": name, "password": PASSWORD, "csrf_token": token}
    if client.post("/auth/login", data=form).status_code != 303:
        raise RuntimeError("the sign-in was refused")
    return cookies_of(client)


def _sign_in_there(app: Flask) -> str:
    client = app.test_client()
    answer = client.post("/login", json={"email": "ann@example.com", "password": PASSWORD})
    if answer.status_code != 200:
        raise RuntimeError("Flask-Security refused the sign-in")
    return cookies_of(client)
