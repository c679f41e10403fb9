"""The background thread: delivers, survives trouble, forks and never holds the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.core.actor import Actor
from app.core.db import transaction
from app.core.scoping import tenant_scope
from app.notify import dispatch, messages
from app.notify.dispatch import Dispatcher
from app.notify.services_outbox import enqueue, run_worker
from tests.support.smtp_server import SmtpServer

EXIT_SCRIPT = """
import time
from flask import Flask
from app.notify.dispatch import Dispatcher
Dispatcher(Flask("host"), lambda: time.sleep(60)).wake()
time.sleep(0.2)
print("done")
"""


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def queue(actor: Actor) -> None:
    with transaction():
        code = messages.otp_code("email", "ada@example.com", code="123456", minutes=5, brand="X")
        enqueue(code, actor=actor)


def test_t1_the_thread_delivers_after_commit(
    make_app: Any, smtp_settings: dict[str, Any], actor: Actor, mailbox: SmtpServer
) -> None:
    app = make_app(**smtp_settings, IAM_OUTBOX_MODE="thread")
    with app.app_context(), tenant_scope(actor.tenant_id):
        queue(actor)
        assert eventually(lambda: len(mailbox.messages) == 1)
        queue(actor)
        assert eventually(lambda: len(mailbox.messages) == 2)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("iam-outbox") == 1


def test_t1_in_worker_mode_only_the_worker_sends(
    make_app: Any, smtp_settings: dict[str, Any], actor: Actor, mailbox: SmtpServer
) -> None:
    app = make_app(**smtp_settings, IAM_OUTBOX_MODE="worker")
    with app.app_context(), tenant_scope(actor.tenant_id):
        queue(actor)
    assert "iam_dispatcher" not in app.extensions
    assert mailbox.messages == []
    stopping = threading.Event()

    def work() -> None:
        with app.app_context():
            run_worker(stopping)

    worker = threading.Thread(target=work)
    worker.start()
    assert eventually(lambda: len(mailbox.messages) == 1)
    stopping.set()
    worker.join(10)
    assert not worker.is_alive()


def test_v5_the_thread_survives_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch, "POLL_SECONDS", 0.05)
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("password=hunter2 in the connection string")

    dispatcher = Dispatcher(Flask("host"), work)
    dispatcher.wake()
    assert eventually(lambda: len(calls) > 3)
    assert dispatcher.alive
    dispatcher.stop()
    assert not dispatcher.alive
    assert "ConnectionError" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_stopped_thread_starts_again_when_woken() -> None:
    calls: list[int] = []
    dispatcher = Dispatcher(Flask("host"), lambda: calls.append(1))
    dispatcher.wake()
    assert eventually(lambda: len(calls) == 1)
    dispatcher.stop()
    dispatcher.wake()
    assert eventually(lambda: len(calls) == 2)
    dispatcher.stop()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_starts_a_thread_of_its_own() -> None:
    dispatcher = Dispatcher(Flask("host"), lambda: None)
    dispatcher.wake()
    child = os.fork()
    if child == 0:
        fresh = not dispatcher.alive
        dispatcher.wake()
        os._exit(0 if fresh and eventually(lambda: dispatcher.alive) else 1)
    _, status = os.waitpid(child, 0)
    dispatcher.stop()
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_thread_does_not_keep_the_interpreter_alive() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXIT_SCRIPT],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.strip() == "done"


def test_the_provider_sdks_are_not_loaded_unless_used() -> None:
    script = (
        "import sys; import app.notify.services_outbox; "
        "print([m for m in ('twilio', 'vonage') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
