"""A person's address and number: proved before they change, and the way back (B6)."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from app.auth.accounts import (
    services_account_status,
    services_accounts,
    services_contact,
    services_contact_undo,
)
from app.auth.accounts.errors_accounts import IdentityTaken
from app.auth.errors import CodeInvalid, LinkInvalid
from app.auth.mfa import services_recovery_codes
from app.auth.models import IAMActionToken, IAMMfaMethod
from app.auth.passwords import services_links, services_reset
from app.auth.passwords.services_links import EMAIL_UNDO
from app.auth.sessions import services_sessions
from app.auth.sign_in import services_codes
from app.auth.sign_in.services_codes import EMAIL_CHANGE, PHONE_CHANGE
from app.authz.grants import TENANT, Grants
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.errors import InvalidInput, NotFound, TooManyAttempts
from tests.support.mailbox import code_to, link_to, messages, wrong
from tests.support.people import add_channel, add_recovery_codes, load, rows_of

OLD, NEW, THIEF = "ann@example.com", "ann.new@example.org", "thief@evil.example"
PHONE, OTHER = "+12025550123", "+12025550188"
UNDO = "/auth/email/undo/"
SESSION = uuid4()


@pytest.fixture
def ann(scoped, make_user):
    return make_user("ann")


@pytest.fixture
def own(ann, tenant):
    """Return ann as the one who acts."""
    return Actor(kind="user", tenant_id=tenant, user_id=ann.id)


def begin(person, wanted, actor, purpose=EMAIL_CHANGE, session_id=SESSION):
    start = (
        services_contact.begin_email if purpose == EMAIL_CHANGE else services_contact.begin_phone
    )
    with transaction():
        sent = start(load(person.id), wanted, session_id=session_id, actor=actor)
    services_codes.deliver(sent)


def confirm(person, code, actor, purpose=EMAIL_CHANGE, session_id=SESSION):
    services_contact.confirm(load(person.id), purpose, code, session_id=session_id, actor=actor)


def change(person, wanted, actor, purpose=EMAIL_CHANGE):
    begin(person, wanted, actor, purpose)
    confirm(person, code_to(wanted), actor, purpose)


def undo(token, actor):
    services_contact_undo.redeem(token, actor=actor)


def undo_token(address=OLD):
    return link_to(address, UNDO).removeprefix(UNDO)


def fresh(person):
    session().rollback()
    return load(person.id)


def test_at_103_nothing_changes_before_the_code(ann, own, audit_rows):
    begin(ann, NEW, own)
    user = fresh(ann)
    assert (user.email, user.email_verified) == (OLD, True)
    confirm(ann, code_to(NEW), own)
    user = fresh(ann)
    assert (user.email, user.email_canonical, user.email_verified) == (NEW, NEW, True)
    (row,) = audit_rows("EMAIL_CHANGED")
    assert row.changes == {"email": ["a…@example.com", "a…@example.org"]}
    assert len(audit_rows("EMAIL_CHANGE_REQUESTED")) == 1


def test_at_103_the_former_address_is_told_with_the_way_back(ann, own):
    change(ann, NEW, own)
    assert undo_token(OLD)
    assert "now the e-mail address" in messages(NEW)[0]["body"]


def test_b6_a_username_that_is_the_address_follows_it(scoped, make_user, tenant):
    person = make_user("eve@example.com", email="eve@example.com")
    actor = Actor(kind="user", tenant_id=tenant, user_id=person.id)
    change(person, NEW, actor)
    assert fresh(person).username_canonical == NEW
    undo(undo_token("eve@example.com"), actor)
    assert fresh(person).username_canonical == "eve@example.com"


@pytest.mark.parametrize("text", [OLD, "ANN@example.com", " ann@EXAMPLE.com "])
def test_b6_ones_own_address_is_no_change(ann, own, text):
    with pytest.raises(InvalidInput) as caught:
        begin(ann, text, own)
    assert caught.value.field == "email"
    assert messages() == []


@pytest.mark.parametrize("text", ["nobody", "a@b.org, c@d.org", "a\u0131@example.com", "a@b.org\n"])
def test_at_096_an_address_is_exactly_one(ann, own, text):
    if text.endswith("\n"):
        begin(ann, text, own)  # trimmed as any field is
        assert [item["to"] for item in messages()] == ["a@b.org"]
        return
    with pytest.raises(InvalidInput) as caught:
        begin(ann, text, own)
    assert caught.value.field == "email"


def test_b6_ones_own_unverified_address_is_verified_by_it(ann, own, audit_rows):
    with transaction():
        load(ann.id).email_verified = False
    begin(ann, OLD, own)
    confirm(ann, code_to(OLD), own)
    assert fresh(ann).email_verified is True
    assert len(audit_rows("EMAIL_VERIFIED")) == 1
    assert audit_rows("EMAIL_CHANGED") == []


def test_at_014_a_taken_address_looks_the_same_and_its_owner_is_told(ann, own, make_user):
    make_user("bob")
    begin(ann, "BOB@example.com", own)
    waiting = services_contact.awaited(load(ann.id), EMAIL_CHANGE, session_id=SESSION)
    assert waiting is not None
    assert waiting.destination == "B…@example.com"
    (mail,) = messages()
    assert mail["to"] == "bob@example.com"
    assert "tried to use your address" in mail["subject"]
    with pytest.raises(AssertionError, match="no code"):
        code_to("bob@example.com")


def test_at_014_an_address_taken_meanwhile_is_a_conflict(ann, own, make_user):
    begin(ann, NEW, own)
    code = code_to(NEW)
    make_user("bob", email=NEW)
    with pytest.raises(IdentityTaken):
        confirm(ann, code, own)
    assert fresh(ann).email == OLD


def test_at_104_a_change_is_bound_to_person_and_session(ann, own, make_user, tenant):
    bob = make_user("bob")
    theirs = Actor(kind="user", tenant_id=tenant, user_id=bob.id)
    begin(ann, NEW, own)
    code = code_to(NEW)
    for attempt in (
        lambda: confirm(bob, code, theirs),
        lambda: confirm(ann, code, own, session_id=uuid4()),
        lambda: confirm(ann, code, own, purpose=PHONE_CHANGE),
    ):
        with pytest.raises(CodeInvalid):
            attempt()
    assert services_contact.awaited(load(ann.id), EMAIL_CHANGE, session_id=uuid4()) is None
    confirm(ann, code, own)


def reset_by_link(person, actor):
    with transaction():
        services_reset.send_reset_link(load(person.id), actor=actor)
    token = link_to(OLD, "/auth/password/reset/").rsplit("/", 1)[1]
    services_reset.redeem(token, "violet ladder under seven moons", actor=actor)


def suspend(person, actor):
    with transaction():
        services_account_status.suspend(
            load(person.id), reason="left", actor_grants=None, actor=actor
        )


def undo_a_change(person, actor):
    change(person, THIEF, actor)
    begin(person, NEW, actor)
    undo(undo_token(), actor)


def administrators_change(person, actor):
    with transaction():
        services_accounts.update_user(
            load(person.id), email="other@example.com", actor_grants=None, actor=actor
        )


@pytest.mark.parametrize("event", [reset_by_link, suspend, administrators_change])
def test_at_104_at_213_a_pending_change_dies(ann, own, actor, event):
    begin(ann, NEW, own)
    code = code_to(NEW)
    event(ann, actor)
    with pytest.raises(CodeInvalid):
        confirm(ann, code, own)
    assert fresh(ann).email != NEW


def test_at_213_a_pending_change_dies_by_the_way_back(ann, own, actor):
    undo_a_change(ann, own)
    with pytest.raises(CodeInvalid):
        confirm(ann, code_to(NEW), own)
    assert fresh(ann).email == OLD


def test_at_034_a_code_of_a_change_dies_after_five_tries(ann, own):
    begin(ann, NEW, own)
    code = code_to(NEW)
    for _ in range(5):
        with pytest.raises(CodeInvalid):
            confirm(ann, wrong(code), own)
    with pytest.raises((CodeInvalid, TooManyAttempts)):
        confirm(ann, code, own)
    with clock.travel(timedelta(minutes=5)), pytest.raises(CodeInvalid):
        confirm(ann, code, own)


def test_at_085_another_code_goes_after_a_pause_to_the_same_address(ann, own):
    begin(ann, NEW, own)
    with pytest.raises(TooManyAttempts):
        begin(ann, "third@example.org", own)
    with clock.travel(timedelta(minutes=2)):
        with transaction():
            services_contact.begin_again(load(ann.id), EMAIL_CHANGE, session_id=SESSION, actor=own)
        assert len(rows_of(IAMActionToken)) == 1
    with pytest.raises(NotFound):
        services_contact.begin_again(load(ann.id), PHONE_CHANGE, session_id=SESSION, actor=own)


def test_at_103_the_way_back_restores_the_address_and_shuts_everybody_out(ann, own, audit_rows):
    before = load(ann.id).password_hash
    change(ann, THIEF, own)
    undo(undo_token(), own)
    user = fresh(ann)
    assert (user.email, user.email_verified) == (OLD, True)
    assert user.password_hash not in {None, before}
    assert link_to(OLD, "/auth/password/reset/")
    assert "no longer belongs" in messages(THIEF)[0]["body"]
    assert len(audit_rows("EMAIL_CHANGE_UNDONE")) == 1


def test_at_103_the_way_back_works_once_and_seven_days(ann, own):
    change(ann, THIEF, own)
    token = undo_token()
    with clock.travel(timedelta(days=8)), pytest.raises(LinkInvalid):
        undo(token, own)
    with clock.travel(timedelta(days=6)):
        undo(token, own)
        with pytest.raises(LinkInvalid):
            undo(token, own)


def locked(person):
    """Return whether nobody gets in until an administrator has looked."""
    user = fresh(person)
    return user.status == "locked" and services_sessions.list_live(person.id) == []


@pytest.mark.parametrize("whose", ["owner", "thief"])
def test_at_103_of_two_former_addresses_neither_wins_by_itself(ann, own, whose, audit_rows):
    change(ann, THIEF, own)
    first = undo_token(OLD)
    with clock.travel(timedelta(minutes=2)):
        change(ann, "second@evil.example", own)
        second = undo_token(THIEF)
        before = load(ann.id).password_hash
        undo(first if whose == "owner" else second, own)
        assert locked(ann)
        user = fresh(ann)
        assert user.email == "second@evil.example"
        assert user.password_hash != before
        for token in (first, second):
            with pytest.raises(LinkInvalid):
                undo(token, own)
    (event,) = audit_rows("EMAIL_CHANGE_DISPUTED")
    assert event.severity == "critical"
    told = [OLD if whose == "owner" else THIEF, "second@evil.example"]
    assert all("administrator" in messages(address)[0]["body"] for address in told)


@pytest.mark.parametrize("days_before", [-1, 0, 6])
def test_at_212_ways_in_that_were_added_lately_leave_it_to_an_administrator(ann, own, days_before):
    """Planted before or after the change: a mailbox does not say whose they are."""
    with clock.travel(timedelta(days=10 - days_before)):
        added = add_channel(load(ann.id), "sms_otp")
    with clock.travel(timedelta(days=10)):
        change(ann, THIEF, own)
        token = undo_token()
    with clock.travel(timedelta(days=12)):
        undo(token, own)
        assert locked(ann)
        assert fresh(ann).email == THIEF
        assert [row.id for row in rows_of(IAMMfaMethod)] == [added]
        with pytest.raises(AssertionError):
            link_to(OLD, "/auth/password/reset/")


def test_at_103_it_outlives_a_reset_and_a_new_password(ann, own):
    change(ann, THIEF, own)
    with transaction():
        services_links.drop(load(ann.id))
    undo(undo_token(), own)
    assert fresh(ann).email == OLD


def test_at_105_an_administrators_change_leaves_no_way_back(ann, own, actor):
    change(ann, THIEF, own)
    token = undo_token()
    administrators_change(ann, actor)
    with pytest.raises(LinkInvalid):
        undo(token, own)
    user = fresh(ann)
    assert (user.email, user.email_verified) == ("other@example.com", False)
    assert "no longer belongs" in messages(THIEF)[0]["body"]
    with pytest.raises(AssertionError):
        undo_token(THIEF)


def test_at_103_an_address_that_was_never_proved_gets_no_way_back(ann, own):
    with transaction():
        load(ann.id).email_verified = False
    change(ann, NEW, own)
    assert "no longer belongs" in messages(OLD)[0]["body"]
    assert session().scalar(
        select(IAMActionToken).where(IAMActionToken.purpose == EMAIL_UNDO)
    ) is None  # fmt: skip


def test_at_103_an_address_that_is_anothers_by_now_does_not_come_back(
    ann, own, make_user, audit_rows
):
    change(ann, NEW, own)
    token = undo_token()
    make_user("bob", email=OLD)
    with pytest.raises(IdentityTaken):
        undo(token, own)
    assert fresh(ann).email == NEW
    assert [row.status for row in audit_rows("EMAIL_CHANGE_UNDONE")] == ["failure"]


@pytest.mark.parametrize("status", ["suspended", "disabled", "locked"])
def test_b2_the_way_back_is_shut_while_the_account_may_not_act(ann, own, status):
    change(ann, THIEF, own)
    token = undo_token()
    with transaction():
        load(ann.id).status = status
    with pytest.raises(LinkInvalid):
        undo(token, own)


def test_at_211_a_former_mailbox_never_removes_a_factor(ann, own, actor):
    kept = add_channel(load(ann.id), "sms_otp")
    with transaction():
        user = load(ann.id)
        user.phone_number, user.phone_verified = PHONE, True
    with clock.travel(timedelta(days=8)):
        change(ann, THIEF, own)
        token = undo_token()
        change(ann, OTHER, own, PHONE_CHANGE)
        undo(token, own)
        user = fresh(ann)
        assert user.email == OLD
        assert (user.phone_number, user.phone_verified) == (OTHER, False)
        assert [row.id for row in rows_of(IAMMfaMethod)] == [kept]
        assert services_sessions.list_live(ann.id) == []


def test_at_102_an_account_without_a_password_gets_none(ann, own):
    with transaction():
        load(ann.id).password_hash = None
    change(ann, THIEF, own)
    undo(undo_token(), own)
    assert fresh(ann).password_hash is None
    with pytest.raises(AssertionError):
        link_to(OLD, "/auth/password/reset/")


def test_at_094_the_way_back_is_kept_as_a_digest(ann, own):
    change(ann, THIEF, own)
    token = undo_token()
    stored = repr(
        [
            [getattr(row, column.key) for column in IAMActionToken.__table__.columns]
            for row in rows_of(IAMActionToken)
        ]
    )
    assert token not in stored
    assert OLD not in stored


def test_a_link_of_one_purpose_opens_nothing_else(ann, own):
    change(ann, THIEF, own)
    with pytest.raises(LinkInvalid):
        services_links.find(undo_token())


def test_b6_a_number_is_proved_and_the_old_one_told(ann, own, audit_rows):
    with transaction():
        user = load(ann.id)
        user.phone_number, user.phone_verified = PHONE, True
    begin(ann, OTHER, own, PHONE_CHANGE)
    assert fresh(ann).phone_number == PHONE
    confirm(ann, code_to(OTHER), own, PHONE_CHANGE)
    user = fresh(ann)
    assert (user.phone_number, user.phone_verified) == (OTHER, True)
    assert "was removed from your" in messages(PHONE)[0]["body"]
    assert "phone number" in messages(OLD)[0]["subject"]
    (row,) = audit_rows("PHONE_CHANGED")
    assert row.changes == {"phone_number": ["…0123", "…0188"]}


def test_b6_a_number_that_was_never_proved_is_told_nothing(ann, own):
    with transaction():
        load(ann.id).phone_number = PHONE
    change(ann, OTHER, own, PHONE_CHANGE)
    assert messages(PHONE) == []


@pytest.mark.parametrize("text", ["123", "2025550123", "+1 900 555 0123", "+7 912 345 67 89"])
def test_b6_a_number_that_cannot_be_texted_is_refused(ann, own, text):
    with pytest.raises(InvalidInput) as caught:
        begin(ann, text, own, PHONE_CHANGE)
    assert caught.value.field == "phone_number"


def test_b6_ones_own_number_is_no_change_but_can_be_verified(ann, own, audit_rows):
    with transaction():
        load(ann.id).phone_number = PHONE
    change(ann, PHONE, own, PHONE_CHANGE)
    assert fresh(ann).phone_verified is True
    assert len(audit_rows("PHONE_VERIFIED")) == 1
    with pytest.raises(InvalidInput):
        begin(ann, "+1 202 555 0123", own, PHONE_CHANGE)


def test_at_212_no_number_before_the_address_is_confirmed(ann, own):
    with transaction():
        load(ann.id).email_verified = False
    with pytest.raises(InvalidInput) as caught:
        begin(ann, OTHER, own, PHONE_CHANGE)
    assert caught.value.field == "phone_number"
    assert messages() == []


def test_b6_a_number_is_removed_with_notice(ann, own, audit_rows):
    with transaction():
        user = load(ann.id)
        user.phone_number, user.phone_verified = PHONE, True
    with transaction():
        services_contact.remove_phone(load(ann.id), actor=own)
    user = fresh(ann)
    assert (user.phone_number, user.phone_verified) == (None, False)
    assert messages(PHONE)
    assert "removed" in messages(OLD)[0]["subject"]
    assert len(audit_rows("PHONE_REMOVED")) == 1
    with pytest.raises(NotFound), transaction():
        services_contact.remove_phone(load(ann.id), actor=own)


def test_at_057_a_changed_number_is_no_factor(ann, own):
    add_channel(load(ann.id), "sms_otp", PHONE)
    change(ann, OTHER, own, PHONE_CHANGE)
    (factor,) = rows_of(IAMMfaMethod)
    assert factor.destination == PHONE


@pytest.mark.parametrize("field", ["email", "phone_number"])
def test_at_105_nobody_changes_their_own_as_an_administrator(ann, own, field):
    value = NEW if field == "email" else OTHER
    held = Grants(permissions={"user:update": frozenset({TENANT})})
    with pytest.raises(InvalidInput) as caught, transaction():
        services_accounts.update_user(load(ann.id), actor_grants=held, actor=own, **{field: value})
    assert caught.value.field == field


def test_recovery_codes_from_before_the_change_stay(ann, own):
    add_channel(load(ann.id), "sms_otp")
    add_recovery_codes(load(ann.id), own)
    with clock.travel(timedelta(minutes=5)):
        change(ann, THIEF, own)
        undo(undo_token(), own)
        assert services_recovery_codes.left(ann.id)
