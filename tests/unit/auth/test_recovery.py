"""Account recovery over the services alone: states, links, words, settings (I1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from pydantic import ValidationError

from app.auth.models import IAMRecoveryRequest, IAMUserAccount
from app.auth.recovery import (
    services_recovery,
    services_recovery_decisions,
    services_recovery_links,
    services_recovery_notices,
    services_recovery_rows,
)
from app.auth.recovery.errors_recovery import (
    RecoveryClosed,
    RecoveryUnreachable,
    SecondPersonNeeded,
)
from app.auth.recovery.services_recovery_rows import (
    APPROVAL,
    CANCELLED,
    EXPIRED,
    OPEN,
    PROOFS,
    WAITING,
)
from app.auth.recovery.settings_recovery import RecoverySettings, findings
from app.authz.grants import TENANT, Grants
from app.core import clock
from app.core.actor import Actor
from app.core.crypto import token_digest
from app.core.db import transaction
from app.core.errors import InvalidInput, NotFound
from app.core.i18n import speaking
from app.core.ids import new_id
from app.notify import messages_recovery as texts
from tests.conftest import Someone
from tests.support.people import add_channel, add_recovery_codes, load, rows_of
from tests.support.recovery import change, messages, set_phone, the_request

LINK = "https://login.example.com/auth/recovery/cancel/x"


@pytest.fixture
def ann(scoped: UUID, make_user: Any) -> Someone:
    """Return somebody with an authenticator app, a confirmed address and a confirmed number."""
    person: Someone = make_user("ann", mfa="totp")
    set_phone(person)
    return person


HELPDESK = Grants(permissions=dict.fromkeys(("recovery:approve", "user:read"), frozenset({TENANT})))


def open_for(person: Someone, actor: Actor, reason: str = "called") -> IAMRecoveryRequest:
    with transaction():
        services_recovery_decisions.open_for(
            person.id, reason=reason, actor_grants=HELPDESK, actor=actor
        )
    return the_request(person)


# ------------------------------------------------------------------ states


@pytest.mark.parametrize("status", OPEN)
def test_i1_a_request_past_its_time_is_expired_whatever_the_row_says(status: str) -> None:
    at = clock.now()
    row = IAMRecoveryRequest(status=status, expires_at=at + timedelta(seconds=5))
    assert services_recovery_rows.status_of(row) == status
    with clock.travel(timedelta(seconds=6)):
        assert services_recovery_rows.status_of(row) == EXPIRED
    row.status = CANCELLED
    with clock.travel(timedelta(seconds=6)):
        assert services_recovery_rows.status_of(row) == CANCELLED


def test_i1_a_request_moves_on_from_the_named_states_only(ann, actor) -> None:
    row = open_for(ann, actor)
    with pytest.raises(RecoveryClosed), transaction():
        services_recovery_rows.change(row, (PROOFS, WAITING), status=WAITING)
    with clock.travel(timedelta(hours=73)), pytest.raises(RecoveryClosed), transaction():
        services_recovery_rows.change(row, (APPROVAL,), status=WAITING)
    assert the_request(ann).status == APPROVAL


def test_i1_cancel_open_says_whether_there_was_one(ann, actor, audit_rows) -> None:
    with transaction():
        assert not services_recovery_rows.cancel_open(load(ann.id), "a test", actor=actor)
    open_for(ann, actor)
    with transaction():
        assert services_recovery_rows.cancel_open(load(ann.id), "a test", actor=actor)
    assert the_request(ann).status == CANCELLED
    assert the_request(ann).closed_at
    assert [row.details["reason"] for row in audit_rows("RECOVERY_CANCELLED")] == ["a test"]


@pytest.mark.parametrize("status", ["invited", "suspended", "locked", "disabled", "erased"])
def test_b2_each_step_asks_whether_the_account_may_act(ann, actor, status) -> None:
    change(ann, status=status)
    with pytest.raises(RecoveryClosed), transaction():
        services_recovery_rows.hold(ann.id)
    with pytest.raises(RecoveryClosed), transaction():
        services_recovery_rows.hold(new_id())


@pytest.mark.parametrize("find", ["find_to_cancel", "find_to_proceed"])
def test_i1_an_unknown_link_finds_nothing(ann, actor, find) -> None:
    open_for(ann, actor)
    for token in ("", "x", "x" * 5000, "\u00e9"):
        with pytest.raises(NotFound):
            getattr(services_recovery_rows, find)(token)


# ------------------------------------------------------------------ links


def test_i1_every_notice_of_a_request_carries_one_link(ann, actor) -> None:
    row = open_for(ann, actor)
    token = services_recovery_notices.cancel_token(row.id)
    assert len(token) == 43  # 256 bits
    assert services_recovery_notices.cancel_token(row.id) == token
    assert services_recovery_notices.cancel_token(new_id()) != token
    assert row.cancel_digest == token_digest(token)
    assert token in messages("email")[0]["body"]


def test_i1_what_goes_is_listed_in_words(ann, actor) -> None:
    user = load(ann.id)
    add_channel(user, "sms_otp")
    add_recovery_codes(user, actor)
    found = services_recovery_links.what_goes(load(ann.id))
    assert found[0] == "Authenticator app: Phone"
    assert any("0123" in item for item in found)
    assert not any("+1202555" in item for item in found)
    assert found[-1] == "Recovery code"


def test_i1_only_confirmed_channels_count(ann) -> None:
    assert set(services_recovery.channels(load(ann.id))) == {"email", "phone"}
    change(ann, phone_verified=False)
    assert set(services_recovery.channels(load(ann.id))) == {"email"}
    change(ann, email_verified=False)
    assert not services_recovery.channels(load(ann.id))


def test_i1_nobody_is_recovered_who_cannot_be_told(ann, actor) -> None:
    change(ann, phone_verified=False, email_verified=False)
    with pytest.raises(RecoveryUnreachable):
        open_for(ann, actor)
    assert not rows_of(IAMRecoveryRequest)


# ------------------------------------------------------------------ decisions


def test_at_077_four_eyes(ann, actor) -> None:
    row = open_for(ann, actor.acting_as(user_id=new_id()))
    may = services_recovery_decisions.may_approve
    assert may(row, new_id())
    assert not may(row, row.opened_by)
    assert not may(row, ann.id)
    for alone in (row.opened_by, ann.id):
        with pytest.raises(SecondPersonNeeded), transaction():
            services_recovery_decisions.approve(
                row.id, reason="x", actor_grants=HELPDESK, actor=actor.acting_as(user_id=alone)
            )


@pytest.mark.parametrize("reason", ["", "  ", "see www.example.com", "x" * 201, "<b>"])
def test_i1_a_reason_is_plain_words(ann, actor, reason) -> None:
    with pytest.raises(InvalidInput):
        open_for(ann, actor, reason)


# ------------------------------------------------------------------ words


def everything(brand: str = "Example") -> list[Any]:
    """Return one message of each kind."""
    at, phone, mail = clock.now(), "+12025550177", "ann@example.com"
    return [
        texts.opened(mail, brand=brand, at=at, cancel=LINK, by_admin=False),
        texts.opened(mail, brand=brand, at=at, cancel=LINK, by_admin=True),
        texts.waiting(mail, brand=brand, since=at, until=at, proceed=f"{LINK}1", cancel=LINK),
        texts.refused(mail, brand=brand, at=at),
        texts.cancelled(mail, brand=brand, at=at, link=LINK),
        texts.completed(mail, removed=["Authenticator app: Phone"], brand=brand, at=at, link=LINK),
        texts.text_opened(phone, brand=brand, cancel=LINK),
        texts.text_waiting(phone, brand=brand, since=at, cancel=LINK),
        texts.text_waiting(phone, brand=brand, since=at, cancel=LINK, proceed=f"{LINK}1"),
        texts.text_refused(phone, brand=brand),
        texts.text_cancelled(phone, brand=brand),
        texts.text_completed(phone, brand=brand),
    ]


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_i1_messages_are_whole_in_every_language(app: Flask, language: str) -> None:
    with speaking(language):
        for message in everything():
            body = message.body_text + (message.body_html or "")
            assert "%(" not in body
            assert "Example" in body
            assert LINK in body or "refused" in message.purpose or message.channel == "sms"


def test_at_059_nothing_a_person_wrote_becomes_a_link(app: Flask) -> None:
    at = clock.now()
    name = "Authenticator app: call www.evil.example"
    mail = texts.completed("ann@example.com", removed=[name], brand="Example", at=at)
    assert "evil" not in mail.body_text + (mail.body_html or "")
    for message in everything("evil.example"):
        if message.channel == "sms":
            assert "evil.example" not in message.body_text


# ------------------------------------------------------------------ settings


def test_i1_waiting_times_have_bounds() -> None:
    assert RecoverySettings().RECOVERY_WAIT_HOURS == 24
    assert RecoverySettings().RECOVERY_APPROVED_WAIT_HOURS == 24
    for name in ("RECOVERY_WAIT_HOURS", "RECOVERY_APPROVED_WAIT_HOURS"):
        assert name in RecoverySettings.per_tenant()
        for value in (-1, 169):
            with pytest.raises(ValidationError):
                RecoverySettings.model_validate({name: value})


def test_i1_no_wait_at_all_is_said_aloud() -> None:
    assert not list(findings(RecoverySettings()))
    zero = RecoverySettings(RECOVERY_WAIT_HOURS=0, RECOVERY_APPROVED_WAIT_HOURS=0)
    assert [item.id for item in findings(zero)] == ["iam.W531", "iam.W532"]
    assert not any(item.is_error for item in findings(zero))


def test_i1_an_account_is_found_in_its_own_tenant_only(
    ann: Someone, actor: Actor, other_tenant: UUID
) -> None:
    from app.core.scoping import tenant_scope

    row = open_for(ann, actor)
    token = services_recovery_notices.cancel_token(row.id)
    with tenant_scope(other_tenant):
        for find, value in (("find", row.id), ("find_to_cancel", token)):
            with pytest.raises(NotFound):
                getattr(services_recovery_rows, find)(value)
    assert isinstance(load(ann.id), IAMUserAccount)
