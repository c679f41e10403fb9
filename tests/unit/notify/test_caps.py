"""Send caps against toll fraud and mail bombing (AT-422)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import transaction
from app.core.errors import InvalidInput, TooManyAttempts
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.notify.addresses import mask, parse_phone
from app.notify.messages import Message
from app.notify.services_outbox import check_send_caps, enqueue

US, GERMAN, JAMAICAN = "+12025550123", "+4915112345678", "+18765550123"
CAPS: dict[str, Any] = {
    "IAM_SMS_PER_DESTINATION_PER_HOUR": 2,
    "IAM_SMS_PER_RANGE_PER_HOUR": 3,
    "IAM_SMS_PER_COUNTRY_PER_HOUR": 4,
    "IAM_SMS_PER_TENANT_PER_DAY": 6,
    "IAM_MAIL_PER_DESTINATION_PER_HOUR": 2,
}


@pytest.fixture
def smtp_settings(smtp_settings: dict[str, Any]) -> dict[str, Any]:
    return smtp_settings | CAPS


def send(number: str, actor: Actor, channel: str = "sms") -> None:
    with transaction():
        enqueue(Message(channel, number, "", "text", None, "test"), actor=actor)


def us_number(block: int, last: int = 0) -> str:
    return f"+1202{block:04d}{last:03d}"


@pytest.mark.parametrize(
    "number",
    [
        "+19005550123",  # premium rate
        "+447012345678",  # personal numbering
        "+882161234567",  # satellite
        "+18005550123",  # toll free
        "+442079460000",  # fixed line
        "+1202555",
        "2025550123",
        "+12025550123;ext=9",
        "tel:+1",
        "",
        "+" + "1" * 500,
    ],
)
def test_at_422_only_numbers_that_take_text_messages(app: Flask, actor: Actor, number: str) -> None:
    with pytest.raises(InvalidInput):
        check_send_caps("sms", number, actor)


def test_at_422_a_country_must_be_allowed(app: Flask, actor: Actor) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_send_caps("whatsapp", JAMAICAN, actor)
    assert refusal.value.code == "notify.country_not_allowed"
    assert check_send_caps("sms", "+1 (202) 555-0123", actor) == US


def test_at_422_every_country_when_asked_for(make_app: Any, actor: Actor) -> None:
    app = make_app(IAM_SMS_COUNTRIES="*")
    with app.app_context(), tenant_scope(actor.tenant_id):
        assert check_send_caps("sms", JAMAICAN, actor) == JAMAICAN


def test_at_422_one_destination_over_both_channels_and_all_tenants(
    app: Flask, actor: Actor
) -> None:
    send(US, actor)
    other = system_actor(new_id())
    with tenant_scope(other.tenant_id):
        send(US, other, "whatsapp")
        with pytest.raises(TooManyAttempts) as refusal:
            check_send_caps("sms", US, other)
    assert 3500 < refusal.value.retry_after <= 3601
    with clock.travel(timedelta(hours=1, seconds=1)):
        check_send_caps("sms", US, actor)


def test_at_422_a_block_of_numbers_is_capped_as_one(app: Flask, actor: Actor) -> None:
    for last in range(3):
        send(us_number(5550, last), actor)
    with pytest.raises(TooManyAttempts):
        check_send_caps("sms", us_number(5550, 9), actor)
    check_send_caps("sms", us_number(5551), actor)


def test_at_422_a_country_and_a_tenant_have_budgets(app: Flask, actor: Actor) -> None:
    for block in range(4):
        send(us_number(5550 + block), actor)
    with pytest.raises(TooManyAttempts):
        check_send_caps("sms", us_number(5559), actor)
    send(GERMAN, actor)
    send("+4915112999999", actor)
    with clock.travel(timedelta(hours=2)), pytest.raises(TooManyAttempts) as refusal:
        check_send_caps("sms", "+33612345678", actor)
    assert refusal.value.retry_after > 3600
    with clock.travel(timedelta(hours=25)):
        check_send_caps("sms", "+33612345678", actor)


def test_at_422_a_caller_who_forgets_to_ask_is_held_all_the_same(app: Flask, actor: Actor) -> None:
    send(US, actor)
    send(US, actor)
    with pytest.raises(TooManyAttempts):
        send(US, actor)


def test_one_mailbox_is_not_bombed_but_notices_always_leave(app: Flask, actor: Actor) -> None:
    mail = Message("email", "Ada@example.com", "Hello", "text", None, "test")
    for _ in range(2):
        with transaction():
            enqueue(mail, actor=actor)
    with pytest.raises(TooManyAttempts):
        check_send_caps("email", "ada@EXAMPLE.com", actor)
    with transaction():
        enqueue(mail, actor=actor)


def test_a_number_written_in_other_digits_is_the_same_number() -> None:
    assert (
        parse_phone("+\u0661\u0662\u0660\u0662\u0665\u0665\u0665\u0660\u0661\u0662\u0663").e164
        == US
    )


def test_a_masked_recipient_tells_little() -> None:
    assert mask("ada@example.com") == "a…@example.com"
    assert mask(US) == "…0123"
