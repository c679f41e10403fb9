"""The demonstration as a newcomer runs it (X1): served, seeded, repeated, ended."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from app.core import clock
from tests.conftest import csrf_of

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def demo(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PORT": str(port), "PYTHONPATH": str(ROOT)}
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.demo"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_served(process, port)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(20)


def wait_until_served(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
                assert answer.status == 200
                return
        except OSError:
            assert process.poll() is None, "the demonstration ended"
            time.sleep(0.2)
    raise AssertionError("the demonstration was not served in a minute")


def test_x1_the_demonstration_is_seeded_repeatable_and_ends_cleanly(tmp_path):
    port = free_port()
    with demo(tmp_path, port) as process:
        file = tmp_path / "instance" / "demo.json"
        first = json.loads(file.read_text())
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert first["url"] == f"http://127.0.0.1:{port}"
        people = {"admin", "manager", "auditor", "viewer", "partner_admin", "platform"}
        assert set(first["users"]) == people
        assert set(first["tenants"]["acme"]["users"]) == {"acme_admin", "acme_viewer"}
        check_people(first["users"])
        check_people(first["tenants"]["acme"]["users"])
        walk(first)
    assert process.returncode in {0, 130}
    output = (tmp_path / "output.txt").read_text(encoding="utf-8")
    assert first["users"]["admin"]["password"] in output
    assert "Traceback" not in output
    with demo(tmp_path, port):
        assert json.loads(file.read_text()) == first
        walk(first)


def check_people(users: dict[str, Any]) -> None:
    for key, user in users.items():
        assert set(user) == {"username", "password", "totp_secret", "roles"}
        assert (user["totp_secret"] is None) == (key in {"viewer", "acme_viewer"})
        assert len(user["password"]) >= 20


def walk(content: dict[str, Any]) -> None:
    with httpx.Client(base_url=content["url"], trust_env=False) as client:
        viewer = content["users"]["viewer"]
        assert sign_in(client, viewer).headers["location"] == "/account"
        page = client.get("/account").text
        client.post("/auth/logout", data={"csrf_token": csrf_of(page)})
        admin = content["users"]["admin"]
        assert sign_in(client, admin).headers["location"] == "/auth/mfa/verify"
        token = csrf_of(client.get("/auth/mfa/verify").text)
        codes = [
            pyotp.TOTP(admin["totp_secret"]).at(clock.now(), counter_offset=offset)
            for offset in (0, -1)
        ]
        for code in codes:  # the second run may fall into the step of the first
            answer = client.post("/auth/mfa/verify", data={"code": code, "csrf_token": token})
            if answer.status_code == 303:
                break
            token = csrf_of(answer.text)
        messages = client.get("/dev/outbox?format=json")
        assert messages.headers["content-type"].startswith("application/json")
        for item in messages.json():
            assert set(item) == {"channel", "to", "subject", "body", "created_at"}


def sign_in(client: httpx.Client, user: dict[str, Any]) -> httpx.Response:
    token = csrf_of(client.get("/auth/login").text)
    data = {"username": user["username"], "password": user["password"], "csrf_token": token}
    answer = client.post("/auth/login", data=data)
    assert answer.status_code == 303, re.sub(r"\s+", " ", answer.text)[:500]
    return answer
