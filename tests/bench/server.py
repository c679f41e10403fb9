"""The demonstration server under a crowd: how long people wait, how much memory it takes.

Each person has an account and a connection of their own and all come from one address;
every default limit stays as it is. A run is bounded: 100 and 32 sign-ins, 30 s each.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from app import create_app
from app.auth.passwords.settings_password import PasswordSettings
from app.core import hashing
from app.core.runtime import state

from .browsers import AGENT, token_of
from .logins import _raw
from .measure import run_threads
from .report import Report
from .subjects import PASSWORD, forget_sessions, seed

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
CROWD, MEMORY_CROWD, ROUNDS = 100, 32, 3
PATIENCE = 30.0


@dataclass(frozen=True)
class Visitor:
    """A browser that has loaded the form."""

    name: str
    address: str
    cookie: str
    token: str


def measure(report: Report) -> None:
    """Report waits of 100 and memory of 32 people who sign in at once."""
    with TemporaryDirectory(prefix="iam-bench-") as folder:
        with served(Path(folder)):  # the first start makes keys, tables and people
            pass
        names = _seed(Path(folder))
        with served(Path(folder)) as (process, port):
            _memory(report, Path(folder), process, port, names)
        with served(Path(folder)) as (_process, port):
            _waits(report, Path(folder), port, names)


def _waits(report: Report, folder: Path, port: int, names: tuple[str, ...]) -> None:
    app = _app(folder)
    raw, cpus = _raw(app), hashing.usable_cpus()
    worst: list[float] = []
    p95: list[float] = []
    floors: list[float] = []
    for _round in range(ROUNDS):
        forget_sessions(app)
        visitors = [_visit(port, name) for name in names[:CROWD]]
        before = run_threads(cpus, 1.0, raw).rate
        times = sorted(_crowd(port, visitors))
        after = run_threads(cpus, 1.0, raw).rate
        worst.append(times[-1])
        p95.append(times[int(len(times) * 0.95) - 1])
        floors.append(CROWD / ((before + after) / 2))
    middle = sorted(range(ROUNDS), key=worst.__getitem__)[ROUNDS // 2]
    ratio, peer = worst[middle] / floors[middle], f"{CROWD} raw hashes: {floors[middle]:.2f} s"
    note = f"{CROWD} accounts, all answered 303; {peer}"
    report.add("crowd_slowest", worst[middle], "s", ratio=ratio, target="< 5 s",
               met=worst[middle] < 5, peer=note, engine="sqlite")  # fmt: skip
    report.add("crowd_slowest_aim", worst[middle], "s", ratio=ratio, target="<= 2.5 s",
               met=worst[middle] <= 2.5, peer=note, engine="sqlite")  # fmt: skip
    report.add("crowd_p95", p95[middle], "s", engine="sqlite", peer=peer)


def _memory(
    report: Report, folder: Path, process: subprocess.Popen[str], port: int, names: tuple[str, ...]
) -> None:
    app = _app(folder)
    settings = state(app).section(PasswordSettings)
    cap = settings.PASSWORD_HASH_MAX_PARALLEL or hashing.usable_cpus()
    limit = cap * settings.ARGON2_MEMORY_KIB / 1024 + 150
    idle = _resident(process.pid)
    visitors = [_visit(port, name) for name in names[:MEMORY_CROWD]]
    peak = [idle]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            peak.append(_resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _crowd(port, visitors)
    over.set()
    watcher.join()
    grown = max(peak) - idle
    report.add("memory_over_idle", grown, "MiB", ratio=grown / limit, target=f"<= {limit:.0f} MiB",
               met=grown <= limit, peer=f"{MEMORY_CROWD} logins, idle {idle:.0f} MiB",
               engine="sqlite")  # fmt: skip


def _crowd(port: int, visitors: list[Visitor]) -> list[float]:
    start = threading.Barrier(len(visitors))
    times: list[float] = []
    faults: list[str] = []

    def enter(visitor: Visitor) -> None:
        form = {"username": visitor.name, "password": PASSWORD, "csrf_token": visitor.token}
        start.wait()
        began = time.perf_counter()
        try:
            answer, _page = _request(port, visitor.address, "POST", visitor.cookie, form)
        except OSError as error:
            faults.append(repr(error))
            return
        times.append(time.perf_counter() - began)
        if answer.status != 303:
            faults.append(f"answered {answer.status}")

    threads = [threading.Thread(target=enter, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise RuntimeError(f"{len(faults)} of {len(visitors)} sign-ins failed: {faults[0]}")
    return times


def _visit(port: int, name: str) -> Visitor:
    answer, page = _request(port, HOST, "GET", "", None)
    sent = answer.headers.get_all("Set-Cookie") or []
    cookie = "; ".join(line.split(";", 1)[0] for line in sent)
    return Visitor(name, HOST, cookie, token_of(page))


def _request(
    port: int, address: str, method: str, cookie: str, form: dict[str, str] | None
) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection(
        HOST, port, timeout=PATIENCE, source_address=(address, 0)
    )
    headers = {"Cookie": cookie, "User-Agent": AGENT, "Connection": "close"}
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        connection.request(method, "/auth/login", urlencode(form or {}), headers)
        answer = connection.getresponse()
        return answer, answer.read().decode()
    finally:
        connection.close()


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the demonstration in `folder` on a free port until the block ends."""
    port = _free_port()
    command = [sys.executable, "-m", "app.demo"]
    environment = {**os.environ, "PORT": str(port), "PYTHONPATH": str(ROOT)}
    with (folder / "server.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, text=True
        )
        try:
            _await(process, port, folder)
            yield process, port
        finally:
            process.terminate()
            process.wait(10)


def _await(process: subprocess.Popen[str], port: int, folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"no server: {(folder / 'server.log').read_text(encoding='utf-8')[-2000:]}")


def _seed(folder: Path) -> tuple[str, ...]:
    return seed(_app(folder), CROWD, prefix="crowd").names


def _app(folder: Path):  # type: ignore[no-untyped-def]
    keys = json.loads((folder / "instance" / "keys.json").read_text(encoding="utf-8"))
    url = f"sqlite:///{folder / 'instance' / 'iam.db'}"
    return create_app({"IAM_ENV": "development", "DATABASE_URL": url, **keys})


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def _resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found.group(1)) / 1024 if found else 0.0
