"""The outbox: nothing leaves before commit, nothing twice, nothing in clear, nothing is lost."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.core.scoping import tenant_scope, unscoped
from app.notify import delivery, messages
from app.notify.messages import Message
from app.notify.models import IAMOutbox
from app.notify.services_outbox import (
    deliver_now,
    delivery_state,
    drain,
    enqueue,
    list_dead,
    list_recent,
    purge,
    retry,
    withdraw,
)
from tests.support.smtp_server import SmtpServer

MAIL, PHONE, CODE = "ada@example.com", "+12025550123", "918273"


def mail(recipient: str = MAIL) -> Message:
    return messages.otp_code("email", recipient, code=CODE, minutes=10, brand="Example")


def queue(actor: Actor, message: Message | None = None, **options: Any) -> Any:
    with transaction():
        return enqueue(message or mail(), actor=actor, **options).id


def row_of(outbox_id: Any) -> IAMOutbox:
    return session().scalars(select(IAMOutbox).where(IAMOutbox.id == outbox_id)).one()


def test_a_message_leaves_after_commit(app: Flask, actor: Actor, mailbox: SmtpServer) -> None:
    with transaction():
        row = enqueue(mail(), actor=actor, user_id=new_id())
        outbox_id = row.id
        assert mailbox.messages == []
    assert mailbox.last()["To"] == MAIL
    assert str(outbox_id) in mailbox.last()["Message-ID"]
    state = delivery_state(outbox_id)
    assert (state.status, state.attempts, state.permanent) == ("sent", 1, True)
    assert state.provider == "smtp"
    assert state.provider_message_id == mailbox.last()["Message-ID"]


def test_nothing_leaves_when_the_work_is_rolled_back(
    app: Flask, actor: Actor, mailbox: SmtpServer
) -> None:
    def refuse() -> None:
        with transaction():
            enqueue(mail(), actor=actor)
            session().flush()
            raise Conflict

    with pytest.raises(Conflict):
        refuse()
    drain()
    assert mailbox.messages == []


def test_at_044_the_queue_holds_no_code_and_no_recipient(
    make_app: Any, smtp_settings: dict[str, Any], actor: Actor
) -> None:
    app = make_app(**smtp_settings, IAM_OUTBOX_MODE="worker")
    with app.app_context(), tenant_scope(actor.tenant_id):
        queue(actor)
        with unscoped("the test reads the raw table"):
            raw = repr(session().execute(text("select * from iam_outbox")).all())
        assert CODE not in raw
        assert MAIL not in raw
        assert drain() == 1
        assert session().scalars(select(IAMOutbox.payload)).one() is None


def test_at_474_a_payload_moved_to_another_row_is_not_sent(
    make_app: Any, smtp_settings: dict[str, Any], actor: Actor, mailbox: SmtpServer
) -> None:
    app = make_app(**smtp_settings, IAM_OUTBOX_MODE="worker")
    with app.app_context(), tenant_scope(actor.tenant_id):
        first, second = queue(actor), queue(actor, mail("eve@example.com"))
        with transaction():
            row_of(second).payload = row_of(first).payload
        assert deliver_now(second) == "pending"
        assert delivery_state(second).last_error == "crypto.decryption_failed"
    assert mailbox.messages == []


def test_the_same_key_is_one_message(app: Flask, actor: Actor, mailbox: SmtpServer) -> None:
    first = queue(actor, idempotency_key="reset:1")
    assert queue(actor, idempotency_key="reset:1") == first
    assert len(mailbox.messages) == 1
    other = system_actor(new_id())
    with tenant_scope(other.tenant_id):
        assert queue(other, idempotency_key="reset:1") != first


def test_an_expired_code_is_never_sent(app: Flask, actor: Actor, mailbox: SmtpServer) -> None:
    mailbox.mode = "temporary"
    outbox_id = queue(actor, expires_at=clock.now() + timedelta(minutes=10))
    assert delivery_state(outbox_id).status == "pending"
    mailbox.mode = "ok"
    with clock.travel(timedelta(minutes=11)):
        drain()
        assert delivery_state(outbox_id).status == "expired"
        assert row_of(outbox_id).payload is None
    assert mailbox.messages == []


def test_a_code_whose_next_try_comes_too_late_expires_at_once(
    app: Flask, actor: Actor, mailbox: SmtpServer
) -> None:
    mailbox.mode = "temporary"
    outbox_id = queue(actor, expires_at=clock.now() + timedelta(seconds=3))
    assert delivery_state(outbox_id).status == "expired"


def test_a_temporary_failure_is_retried_later_and_later(
    app: Flask, actor: Actor, mailbox: SmtpServer
) -> None:
    mailbox.mode = "temporary"
    outbox_id, waited, waits = queue(actor), timedelta(0), []
    for _ in range(4):
        row = row_of(outbox_id)
        wait = row.next_attempt_at - clock.now() - waited
        waits.append(round(wait.total_seconds()))
        with clock.travel(waited + wait - timedelta(seconds=2)):
            assert drain() == 0
        waited += wait + timedelta(seconds=1)
        with clock.travel(waited):
            assert drain() == 1
    assert waits == [5, 30, 120, 600]
    mailbox.mode = "ok"
    with clock.travel(waited + timedelta(hours=2)):
        drain()
        assert delivery_state(outbox_id).status == "sent"
    assert len(mailbox.messages) == 1


def test_a_message_is_given_up_shown_and_retried_by_hand(
    make_app: Any, smtp_settings: dict[str, Any], actor: Actor, mailbox: SmtpServer
) -> None:
    app = make_app(**smtp_settings, IAM_OUTBOX_MAX_ATTEMPTS=2)
    with app.app_context(), tenant_scope(actor.tenant_id):
        mailbox.mode = "temporary"
        outbox_id = queue(actor)
        with clock.travel(timedelta(minutes=1)):
            drain()
        state = delivery_state(outbox_id)
        assert (state.status, state.permanent) == ("dead", True)
        assert [row.id for row in list_dead(10, actor)] == [outbox_id]
        mailbox.mode = "ok"
        with transaction():
            retry(outbox_id, actor)
        assert delivery_state(outbox_id).status == "sent"
        with pytest.raises(Conflict), transaction():
            retry(outbox_id, actor)
        with unscoped("the test reads the raw table"):
            actions = session().execute(text("select action from iam_auth_log")).scalars().all()
        assert actions == ["OUTBOX_RETRIED"]


def test_a_permanent_failure_is_not_retried(
    app: Flask, actor: Actor, mailbox: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.mode = "permanent"
    with caplog.at_level(logging.DEBUG, logger="iam"):
        outbox_id = queue(actor)
    state = delivery_state(outbox_id)
    assert (state.status, state.last_error) == ("dead", "smtp: RecipientsRefused 550")
    assert drain() == 0
    ours = "\n".join(
        record.getMessage() for record in caplog.records if record.name == "iam.notify"
    )
    assert str(outbox_id) in ours
    assert CODE not in ours
    assert MAIL not in ours


def test_deliver_now_tries_once_and_says_how_it_went(
    app: Flask, actor: Actor, mailbox: SmtpServer
) -> None:
    sent = queue(actor, held=True)
    assert mailbox.messages == []
    assert drain() == 0, "a held row is its caller's"
    assert deliver_now(sent) == "sent"
    assert deliver_now(sent) == "sent"
    assert len(mailbox.messages) == 1
    mailbox.mode = "temporary"
    assert deliver_now(queue(actor, held=True)) == "pending"
    mailbox.mode = "permanent"
    assert deliver_now(queue(actor, held=True)) == "dead"


def test_a_held_row_whose_caller_died_is_sent_by_the_drain(
    app: Flask, actor: Actor, mailbox: SmtpServer
) -> None:
    queue(actor, held=True)
    with clock.travel(timedelta(seconds=20)):
        assert drain() == 1
    assert len(mailbox.messages) == 1


def test_nothing_is_sent_inside_a_transaction(app: Flask, actor: Actor) -> None:
    outbox_id = queue(actor, held=True)
    with transaction():
        with pytest.raises(RuntimeError):
            deliver_now(outbox_id)
        with pytest.raises(RuntimeError):
            drain()


def test_a_replaced_code_is_withdrawn(app: Flask, actor: Actor, mailbox: SmtpServer) -> None:
    mailbox.mode = "temporary"
    outbox_id = queue(actor)
    with transaction():
        assert withdraw(outbox_id, actor)
    mailbox.mode = "ok"
    with clock.travel(timedelta(hours=1)):
        assert drain() == 0
    assert delivery_state(outbox_id).status == "withdrawn"
    sent = queue(actor)
    with transaction():
        assert not withdraw(sent, actor), "it has left already"


def test_another_tenant_sees_nothing(app: Flask, actor: Actor, mailbox: SmtpServer) -> None:
    mailbox.mode = "permanent"
    outbox_id, other = queue(actor), system_actor(new_id())
    with tenant_scope(other.tenant_id):
        assert list_dead(10, other) == []
        for refused in (delivery_state, deliver_now):
            with pytest.raises(NotFound):
                refused(outbox_id)
        for act in (retry, withdraw):
            with pytest.raises(NotFound), transaction():
                act(outbox_id, other)


def test_a_tenant_may_have_its_own_provider(app: Flask, actor: Actor, mailbox: SmtpServer) -> None:
    outbox_id = queue(actor, provider="console")
    assert delivery_state(outbox_id).provider == "console"
    assert mailbox.messages == []
    lost = queue(actor, provider="no-such-gateway")
    assert delivery_state(lost).status == "pending", "an operator can mend it"


def test_a_channel_that_is_switched_off_fails_for_good(make_app: Any, actor: Actor) -> None:
    app = make_app(SMS_PROVIDER="none")
    with app.app_context(), tenant_scope(actor.tenant_id):
        code = messages.otp_code("sms", PHONE, code=CODE, minutes=10, brand="Example")
        assert deliver_now(queue(actor, code, held=True)) == "dead"


def test_at_044_the_list_in_clear_exists_in_the_demo_only(
    app: Flask, make_app: Any, smtp_settings: dict[str, Any], actor: Actor
) -> None:
    with pytest.raises(NotFound):
        list_recent(10)
    demo = make_app(**smtp_settings, IAM_DEMO=True)
    with demo.app_context(), tenant_scope(actor.tenant_id):
        queue(actor)
        queue(actor, messages.otp_code("sms", PHONE, code="111222", minutes=10, brand="Example"))
        newest, oldest = list_recent(10)
    assert set(newest) == {"channel", "to", "subject", "body", "created_at"}
    assert (newest["channel"], newest["to"]) == ("sms", PHONE)
    assert "111222" in newest["body"]
    assert (oldest["channel"], oldest["to"]) == ("email", MAIL)
    assert CODE in oldest["body"]


def test_a_sender_that_died_leaves_its_row_to_another(
    app: Flask, actor: Actor, mailbox: SmtpServer
) -> None:
    outbox_id = queue(actor, held=True)
    job = delivery._claim(outbox_id, False)
    assert job is not None
    assert deliver_now(outbox_id) == "sending"
    assert delivery._claim(outbox_id, False) is None
    with clock.travel(timedelta(minutes=16)):
        assert drain() == 1
        assert delivery_state(outbox_id).status == "sent"
        # The dead sender turns out to be slow only: it may not undo what was settled.
        delivery._settle(job, delivery.Outcome(error="too late", temporary=True))
        assert delivery_state(outbox_id).status == "sent"
    assert len(mailbox.messages) == 1


def test_a_row_that_kills_its_senders_is_given_up(
    make_app: Any, smtp_settings: dict[str, Any], actor: Actor
) -> None:
    app = make_app(**smtp_settings, IAM_OUTBOX_MAX_ATTEMPTS=1)
    with app.app_context(), tenant_scope(actor.tenant_id):
        outbox_id = queue(actor, held=True)
        assert delivery._claim(outbox_id, False) is not None
        with clock.travel(timedelta(minutes=16)):
            drain()
        assert delivery_state(outbox_id).status == "dead"


def test_t1_many_drains_send_each_row_once(
    make_app: Any, smtp_settings: dict[str, Any], actor: Actor, mailbox: SmtpServer
) -> None:
    app = make_app(**smtp_settings, IAM_OUTBOX_MODE="worker")
    with app.app_context(), tenant_scope(actor.tenant_id), transaction():
        for number in range(12):
            enqueue(mail(f"p{number}@example.com"), actor=actor)
    barrier = threading.Barrier(6)
    faults: list[BaseException] = []

    def work() -> None:
        barrier.wait()
        try:
            with app.app_context():
                drain()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    received = sorted(str(message["To"]) for message in mailbox.messages)
    assert received == sorted(f"p{number}@example.com" for number in range(12))


def test_old_rows_and_the_text_of_dead_codes_go(
    app: Flask, actor: Actor, mailbox: SmtpServer
) -> None:
    sent = queue(actor)
    mailbox.mode = "permanent"
    dead = queue(actor, expires_at=clock.now() + timedelta(minutes=10))
    assert row_of(dead).payload is not None
    with clock.travel(timedelta(minutes=11)):
        assert purge() == 0
        session().expire_all()
        assert row_of(dead).payload is None
        with pytest.raises(Conflict), transaction():
            retry(dead, actor)
    with clock.travel(timedelta(days=31)):
        assert purge() == 2
    with pytest.raises(NotFound):
        delivery_state(sent)
