"""Password sign-ins against the bare argon2 of the same parameters, on as many threads as CPUs."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from statistics import median

from argon2.low_level import Type, hash_secret, verify_secret
from flask import Flask

from app.auth.passwords.settings_password import PasswordSettings
from app.auth.sign_in.services_login import PasswordAttempt, sign_in_with_password
from app.core import hashing
from app.core.actor import Actor
from app.core.runtime import state
from app.core.scoping import tenant_scope

from .browsers import AGENT, cookies_of, requester, token_of
from .measure import Slice, run_threads
from .report import Report
from .subjects import PASSWORD, People, forget_sessions, seed

SECONDS = 1.2
PER_THREAD = 60
Work = Callable[[int, int], None]


def measure(app: Flask, report: Report, engine: str, rounds: int) -> None:
    """Report the rate of sign-ins as a share of the rate of bare hashes."""
    threads = hashing.usable_cpus()
    people = seed(app, threads * PER_THREAD, prefix="login")
    subjects = {
        "login_service": _service(app, people, known=True),
        "login_service_new_browser": _service(app, people, known=False),
        "login_wsgi": _wsgi(app, people),
    }
    raw = _raw(app)
    for work in (raw, *subjects.values()):  # every account once, so that all browsers are known
        for index in range(threads):
            for turn in range(PER_THREAD if work is subjects["login_service"] else 2):
                work(index, turn)
    ratios: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in subjects}
    for _round in range(rounds):
        before = run_threads(threads, SECONDS, raw)
        for name, work in subjects.items():
            forget_sessions(app)
            found = run_threads(threads, SECONDS, work)
            after = run_threads(threads, SECONDS, raw)
            ratios[name].append(_compare(before, found, after))
            before = after
    for name, rows in ratios.items():
        rate, ratio, cpu, extra = (median(column) for column in zip(*rows, strict=True))
        peer = f"raw argon2id, same parameters, {threads} threads"
        aim = name != "login_service_new_browser"
        report.add(
            name, rate, "logins/s", ratio=ratio, engine=engine, peer=peer,
            target=">= 0.90" if aim else "", met=ratio >= 0.90 if aim else None,
        )  # fmt: skip
        report.add(
            f"{name}_cpu", extra * 1000, "ms CPU beside the hash", ratio=cpu, engine=engine,
            peer="CPU time of a raw hash / of a login",
        )  # fmt: skip


def _compare(before: Slice, found: Slice, after: Slice) -> tuple[float, float, float, float]:
    raw_rate, raw_cpu = (before.rate + after.rate) / 2, (before.cpu + after.cpu) / 2
    return found.rate, found.rate / raw_rate, raw_cpu / found.cpu, found.cpu - raw_cpu


def _raw(app: Flask) -> Work:
    settings = state(app).section(PasswordSettings)
    secret = PASSWORD.encode()
    stored = hash_secret(
        secret, b"sixteen bytes !!", settings.ARGON2_TIME_COST, settings.ARGON2_MEMORY_KIB,
        settings.ARGON2_PARALLELISM, 32, Type.ID,
    )  # fmt: skip

    def work(_index: int, _turn: int) -> None:
        verify_secret(stored, secret, Type.ID)

    return work


def _service(app: Flask, people: People, *, known: bool) -> Work:
    seen = iter(range(10**9))

    def work(index: int, turn: int) -> None:
        name = people.names[index * PER_THREAD + turn % PER_THREAD]
        browser = name if known else f"new {next(seen)}"
        attempt = PasswordAttempt(
            username=name, password=PASSWORD, remember=False, next_url=None,
            browser=sha256(browser.encode()).digest(),
        )  # fmt: skip
        actor = Actor("anonymous", people.tenant_id, ip=_address(index, turn), user_agent=AGENT)
        with app.app_context(), tenant_scope(people.tenant_id):
            sign_in_with_password(attempt, actor=actor)

    return work


def _wsgi(app: Flask, people: People) -> Work:
    senders = []
    for position, name in enumerate(people.names):
        client = app.test_client()
        page = client.get("/auth/login", headers={"User-Agent": AGENT}).text
        form = {"username": name, "password": PASSWORD, "csrf_token": token_of(page)}
        index, turn = divmod(position, PER_THREAD)
        senders.append(
            requester(
                app, "/auth/login", form=form, cookie=cookies_of(client), expected=303,
                address=_address(index, turn),
            )
        )  # fmt: skip

    def work(index: int, turn: int) -> None:
        senders[index * PER_THREAD + turn % PER_THREAD]()

    return work


def _address(index: int, turn: int) -> str:
    # An address for each account: the limits by address stay as they are by default.
    return f"10.1.{index}.{1 + turn % PER_THREAD}"
