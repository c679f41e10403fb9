"""Second factors over the services alone, on the suite's database (D3-D8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pyotp
import pytest
from flask import Flask
from sqlalchemy import select

from app.auth import services_mfa
from app.auth.errors import CodeInvalid
from app.auth.mfa import (
    services_factors,
    services_mfa_changes,
    services_mfa_enrol,
    services_mfa_verify,
    services_recovery_codes,
)
from app.auth.mfa.settings_mfa import MfaSettings
from app.auth.models import IAMMfaChallenge, IAMMfaMethod, IAMRecoveryCode, IAMUserAccount
from app.auth.sessions import services_session_lookup, services_sessions
from app.core import clock
from app.core.actor import Actor
from app.core.crypto import DecryptionFailed, keyring
from app.core.db import session, transaction
from app.core.errors import Conflict, Forbidden, InvalidInput, NotFound, TooManyAttempts
from app.core.ids import new_id
from app.core.scoping import enter_tenant, tenant_scope
from app.notify import services_outbox
from app.notify.models import IAMOutbox
from app.notify.settings import NotifySettings
from app.tenancy import services_settings
from tests.conftest import Someone
from tests.support.people import add_channel, add_recovery_codes, load, rows_of

COOLED = timedelta(seconds=61)
Make = Callable[..., Someone]


@pytest.fixture
def ann(scoped: UUID, make_user: Make) -> Someone:
    """Return a person with an authenticator app."""
    return make_user("ann", mfa="totp")


@pytest.fixture
def user(ann: Someone) -> IAMUserAccount:
    """Return her account."""
    return load(ann.id)


def totp_now(person: Someone) -> str:
    assert person.totp_secret
    return pyotp.TOTP(person.totp_secret).at(clock.now())


def codes_sent(channel: str) -> list[str]:
    """Return the codes in the messages of a channel, oldest first."""
    bodies = [m["body"] for m in services_outbox.list_recent(50)[::-1] if m["channel"] == channel]
    return [found.group(1) for body in bodies if (found := re.search(r"\b(\d{6})\b", body))]


@contextmanager
def changed(app: Flask, section: Any, **values: Any) -> Iterator[None]:
    settings = app.extensions["iam"].settings
    before = settings[section]
    settings[section] = before.model_copy(update=values)
    try:
        yield
    finally:
        settings[section] = before


def ask(user: IAMUserAccount, method: str, actor: Actor, **how: Any) -> services_mfa.Issued:
    how.setdefault("session_id", None)
    purpose = how.pop("purpose", services_mfa.SIGN_IN)
    return services_mfa.challenge(user, method, purpose, actor=actor, **how)


# ------------------------------------------------------------ contract of D7


def test_d7_issue_verify_and_recent_proof(ann: Someone, user: IAMUserAccount, actor: Actor) -> None:
    with transaction():
        issued = services_mfa.issue_mfa_challenge(user, "totp", "account.security", actor=actor)
    assert issued.outbox_id is None
    assert not services_mfa.recent_successful_mfa(user, "account.security")
    proved = services_mfa.verify_mfa_code(
        user, totp_now(ann), purpose="account.security", actor=actor
    )
    assert (proved.method, proved.acr, proved.amr) == ("totp", "aal2", "otp")
    assert services_mfa.recent_successful_mfa(user, "account.security")
    [row] = rows_of(IAMMfaChallenge)
    assert row.consumed_at is not None


def test_at_079_a_recent_proof_counts_for_its_own_purpose_and_session_only(
    ann: Someone, user: IAMUserAccount, actor: Actor
) -> None:
    own = new_id()
    services_mfa.verify_mfa_code(
        user, totp_now(ann), purpose="account.security", session_id=own, actor=actor
    )
    recent = services_mfa.recent_successful_mfa
    assert recent(user, "account.security", session_id=own)
    assert not recent(user, "admin.users", session_id=own)
    assert not recent(user, "account.security", session_id=new_id())
    assert not recent(user, "account.security")


def test_at_078_a_proof_grows_old_and_is_never_from_the_future(
    ann: Someone, user: IAMUserAccount, actor: Actor
) -> None:
    services_mfa.verify_mfa_code(user, totp_now(ann), purpose="account.security", actor=actor)
    with clock.travel(timedelta(minutes=11)):
        assert not services_mfa.recent_successful_mfa(user, "account.security")
        hour = timedelta(hours=1)
        assert services_mfa.recent_successful_mfa(user, "account.security", within=hour)
    with clock.travel(timedelta(minutes=-5)):
        assert not services_mfa.recent_successful_mfa(user, "account.security")


def test_d1_a_proof_by_mail_is_no_recent_mfa(user: IAMUserAccount, actor: Actor) -> None:
    add_channel(user, "email_otp")
    ask(user, "email_otp", actor, purpose="account.security")
    services_mfa.verify_mfa_code(
        user, codes_sent("email")[-1], purpose="account.security", actor=actor
    )
    assert not services_mfa.recent_successful_mfa(user, "account.security")
    assert services_mfa.recent_successful_mfa(user, "account.security", minimum="aal1")


def test_d7_has_active_mfa_needs_a_confirmed_factor(
    scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    assert not bob.has_active_mfa()
    with transaction():
        services_mfa_enrol.begin_totp(bob, session_id=None, actor=actor)
    assert not bob.has_active_mfa()
    assert not services_mfa.mfa_state(bob.id).any_active


def test_d7_a_check_refuses_to_run_inside_a_unit_of_work(
    ann: Someone, user: IAMUserAccount, actor: Actor
) -> None:
    with pytest.raises(RuntimeError), transaction():
        services_mfa.verify_mfa_code(user, totp_now(ann), actor=actor)


def test_at_065_somebody_elses_sign_in_is_not_completed(
    app: Flask, ann: Someone, user: IAMUserAccount, make_user: Make, actor: Actor
) -> None:
    from tests.conftest import post

    bob = make_user("bob", mfa="totp")
    browser = app.test_client()
    post(browser, "/auth/login", {"username": bob.username, "password": bob.password})
    cookie = browser.get_cookie("iam_session")
    assert cookie is not None
    pending = services_session_lookup.find(cookie.value, "127.0.0.1")
    assert pending is not None
    proved = services_mfa.verify_mfa_code(load(ann.id), totp_now(ann), actor=actor)
    with pytest.raises(Forbidden), transaction():
        services_mfa.complete_mfa_session(load(ann.id), proved, principal=pending, actor=actor)


# -------------------------------------------------------- state and assurance


def test_d6_the_state_of_a_person_is_one_query(
    app: Flask, user: IAMUserAccount, make_user: Make
) -> None:
    import sqlalchemy as sa

    add_channel(user, "email_otp")
    add_channel(user, "sms_otp")
    seen: list[str] = []
    engine = app.extensions["sqlalchemy"].engine

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    user_id, tenant_id = user.id, user.tenant_id
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        enter_tenant(tenant_id)  # as a request does: what its tenant set came with the session
        services_settings.remember({})
        state = services_mfa.mfa_state(user_id)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert state.methods == ("totp", "sms_otp", "email_otp")
    assert state.best_assurance == "aal2"
    assert len([text for text in seen if text.startswith("SELECT")]) == 1


def test_d1_mail_counts_as_mfa_only_where_the_operator_says_so(
    app: Flask, scoped: UUID, make_user: Make
) -> None:
    bob = load(make_user("bob").id)
    add_channel(bob, "email_otp")
    assert services_mfa.mfa_state(bob.id).best_assurance == "aal1"
    with changed(app, MfaSettings, MFA_EMAIL_COUNTS_AS_MFA=True):
        assert services_mfa.mfa_state(bob.id).best_assurance == "aal2"


def test_d1_a_forbidden_factor_stays_asked_for_but_does_not_count(
    app: Flask, scoped: UUID, make_user: Make
) -> None:
    bob = load(make_user("bob").id)
    add_channel(bob, "sms_otp")
    with changed(app, MfaSettings, MFA_METHODS=("totp",)):
        state = services_mfa.mfa_state(bob.id)
        assert state.any_active
        assert state.best_assurance == "aal1"
        assert [offer.method for offer in services_factors.offers()] == ["totp"]


def test_d1_the_strongest_way_is_offered_first_and_recovery_last(
    user: IAMUserAccount, actor: Actor
) -> None:
    add_channel(user, "email_otp")
    add_channel(user, "sms_otp")
    add_recovery_codes(user, actor)
    found = services_factors.ways(user)
    assert [way.method for way in found] == ["totp", "sms_otp", "email_otp", "recovery_code"]
    assert [way.recommended for way in found] == [True, False, False, False]
    assert all(way.assurance for way in found)
    strong = services_factors.ways(user, "aal2")
    assert [way.method for way in strong] == ["totp", "sms_otp", "recovery_code"]


def test_d8_destinations_are_masked(user: IAMUserAccount) -> None:
    add_channel(user, "email_otp")
    add_channel(user, "sms_otp")
    hints = {way.method: way.hint for way in services_factors.ways(user)}
    assert hints["email_otp"] == "a…@example.com"
    assert hints["sms_otp"] == "…0123"


# -------------------------------------------------------------- sending


def test_at_057_send_otp_refuses_an_unverified_or_foreign_destination(
    user: IAMUserAccount, make_user: Make, actor: Actor
) -> None:
    method_id = add_channel(user, "sms_otp")
    bob = load(make_user("bob").id)
    row = session().scalar(select(IAMMfaMethod).where(IAMMfaMethod.id == method_id))
    assert row is not None
    with pytest.raises(Forbidden), transaction():
        services_mfa.send_otp(bob, "123456", row, actor=actor)
    row.confirmed_at = None
    with pytest.raises(Forbidden), transaction():
        services_mfa.send_otp(user, "123456", row, actor=actor)
    assert rows_of(IAMOutbox) == []


def test_at_059_the_text_of_a_message_is_fixed(user: IAMUserAccount, actor: Actor) -> None:
    with transaction():
        user.display_name = "Call +1 900 555 0100 now"
    add_channel(user, "sms_otp")
    ask(user, "sms_otp", actor)
    [message] = [m for m in services_outbox.list_recent(5) if m["channel"] == "sms"]
    assert "900" not in message["body"].replace(codes_sent("sms")[-1], "")
    assert "Call" not in message["body"]


def test_at_085_the_pause_between_codes_holds_over_sessions(
    user: IAMUserAccount, actor: Actor
) -> None:
    add_channel(user, "sms_otp")
    ask(user, "sms_otp", actor, session_id=new_id())
    with pytest.raises(TooManyAttempts) as refusal:
        ask(user, "sms_otp", actor, session_id=new_id())
    assert 1 <= refusal.value.retry_after <= 61
    with clock.travel(COOLED):
        ask(user, "sms_otp", actor, session_id=new_id())
    assert len(codes_sent("sms")) == 2


def test_at_085_caps_on_a_destination_hold(app: Flask, user: IAMUserAccount, actor: Actor) -> None:
    add_channel(user, "email_otp")
    with changed(app, NotifySettings, IAM_MAIL_PER_DESTINATION_PER_HOUR=1):
        ask(user, "email_otp", actor)
        with clock.travel(COOLED), pytest.raises(TooManyAttempts):
            ask(user, "email_otp", actor)


def test_d4_a_permanent_failure_falls_back_to_mail_where_policy_allows(
    app: Flask, scoped: UUID, make_user: Make, actor: Actor, audit_rows: Any, caplog: Any
) -> None:
    bob = load(make_user("bob").id)
    add_channel(bob, "email_otp", "bob@example.com")
    add_channel(bob, "sms_otp")
    failing: dict[str, Any] = {"SMS_PROVIDER": "refusing"}
    with (
        changed(app, NotifySettings, **failing),
        refusing_gateway(app),
        changed(app, MfaSettings, MFA_SMS_FALLBACK_TO_EMAIL=True),
    ):
        issued = ask(bob, "sms_otp", actor)
    assert (issued.method, issued.fallback_from) == ("email_otp", "sms_otp")
    assert issued.delivered
    proved = services_mfa.verify_mfa_code(bob, codes_sent("email")[-1], actor=actor)
    assert (proved.method, proved.acr) == ("email_otp", "aal1")
    assert [row.details.get("fallback_from") for row in audit_rows("MFA_CODE_SENT")] == [
        None,
        "sms_otp",
    ]


def test_at_068_the_fallback_never_weakens_what_policy_demands(
    app: Flask, scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    add_channel(bob, "email_otp", "bob@example.com")
    add_channel(bob, "sms_otp")
    with (
        changed(app, NotifySettings, SMS_PROVIDER="refusing"),
        refusing_gateway(app),
        changed(app, MfaSettings, MFA_SMS_FALLBACK_TO_EMAIL=True),
    ):
        issued = ask(bob, "sms_otp", actor, minimum="aal2")
    assert (issued.method, issued.status, issued.delivered) == ("sms_otp", "dead", False)
    assert codes_sent("email") == []


def test_d4_without_the_setting_there_is_no_fallback(
    app: Flask, scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    add_channel(bob, "email_otp", "bob@example.com")
    add_channel(bob, "sms_otp")
    with changed(app, NotifySettings, SMS_PROVIDER="refusing"), refusing_gateway(app):
        issued = ask(bob, "sms_otp", actor)
    assert issued.status == "dead"
    assert codes_sent("email") == []


@contextmanager
def refusing_gateway(app: Flask) -> Iterator[None]:
    """Register a real gateway that refuses for good, as a provider does for a dead number."""
    from app.notify.errors import DeliveryFailed
    from app.notify.gateways import gateways
    from app.notify.messages import SMS, Message

    class Refusing:
        name = "refusing"
        channels = frozenset({SMS})
        required = ()

        def __init__(self, settings: NotifySettings) -> None:
            self.settings = settings

        def send(self, message: Message) -> str:
            raise DeliveryFailed("no such number", temporary=False)

    if "refusing" not in gateways():
        gateways().add(Refusing)
    yield


# -------------------------------------------------------------- enrolment


def test_d2_the_secret_is_encrypted_and_tied_to_its_row(
    scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    with transaction():
        row = services_mfa_enrol.begin_totp(bob, session_id=None, actor=actor)
    setup = services_mfa_enrol.totp_setup(bob, row, session_id=None)
    assert setup.secret not in (row.secret or "")
    assert setup.secret not in repr(setup)
    assert setup.uri not in repr(setup)
    # AT-474: the same ciphertext under another row's name is refused.
    with pytest.raises(DecryptionFailed):
        keyring().decrypt(row.secret or "", f"iam_mfa_method:{new_id()}")


def test_at_051_a_confirmed_key_is_never_read_again(user: IAMUserAccount) -> None:
    [row] = rows_of(IAMMfaMethod)
    with pytest.raises(NotFound):
        services_mfa_enrol.totp_setup(user, row, session_id=None)


def test_at_051_a_key_is_shown_to_its_owner_only(
    scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob, eve = load(make_user("bob").id), load(make_user("eve").id)
    with transaction():
        row = services_mfa_enrol.begin_totp(bob, session_id=None, actor=actor)
    with pytest.raises(NotFound):
        services_mfa_enrol.totp_setup(eve, row, session_id=None)


def test_d2_starting_again_drops_the_unconfirmed_key(
    scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    for _time in range(2):
        with transaction():
            services_mfa_enrol.begin_totp(bob, session_id=None, actor=actor)
    assert len(rows_of(IAMMfaMethod)) == 1


def test_d2_an_enrolment_is_forgotten_after_a_quarter_of_an_hour(
    scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    with transaction():
        services_mfa_enrol.begin_totp(bob, session_id=None, actor=actor)
    with clock.travel(timedelta(minutes=16)):
        assert services_mfa_enrol.pending(bob, "totp", session_id=None) is None
        with pytest.raises(NotFound):
            services_mfa_enrol.begin_confirmation(
                bob, "totp", "123456", session_id=None, actor=actor
            )


def enrol_totp(bob: IAMUserAccount, actor: Actor) -> services_mfa_enrol.Enrolled:
    with transaction():
        row = services_mfa_enrol.begin_totp(bob, session_id=None, actor=actor)
    secret = services_mfa_enrol.totp_setup(bob, row, session_id=None).secret
    attempt = services_mfa_enrol.begin_confirmation(
        bob, "totp", pyotp.TOTP(secret).at(clock.now()), session_id=None, actor=actor
    )
    with transaction():
        return services_mfa_enrol.confirm(bob, attempt, name="Pixel", actor=actor)


def test_d5_codes_come_with_the_first_factor_only(
    scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    first = enrol_totp(bob, actor)
    assert len(first.recovery_codes) == 10
    assert first.recovery_codes[0] not in repr(first)
    with clock.travel(COOLED):
        assert enrol_totp(bob, actor).recovery_codes == []


def test_at_037_the_code_that_confirmed_the_app_does_not_sign_in(
    scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    with transaction():
        row = services_mfa_enrol.begin_totp(bob, session_id=None, actor=actor)
    code = pyotp.TOTP(services_mfa_enrol.totp_setup(bob, row, session_id=None).secret).at(
        clock.now()
    )
    attempt = services_mfa_enrol.begin_confirmation(bob, "totp", code, session_id=None, actor=actor)
    with transaction():
        services_mfa_enrol.confirm(bob, attempt, actor=actor)
    with pytest.raises(CodeInvalid):
        services_mfa.verify_mfa_code(bob, code, actor=actor)


def test_at_043_an_attempt_of_one_person_confirms_nothing_for_another(
    scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob, eve = load(make_user("bob").id), load(make_user("eve").id)
    with transaction():
        row = services_mfa_enrol.begin_totp(bob, session_id=None, actor=actor)
    code = pyotp.TOTP(services_mfa_enrol.totp_setup(bob, row, session_id=None).secret).at(
        clock.now()
    )
    attempt = services_mfa_enrol.begin_confirmation(bob, "totp", code, session_id=None, actor=actor)
    with pytest.raises(Forbidden), transaction():
        services_mfa_enrol.confirm(eve, attempt, actor=actor)


def test_at_043_a_sign_in_attempt_confirms_no_enrolment(
    ann: Someone, user: IAMUserAccount, actor: Actor
) -> None:
    attempt = services_mfa_verify.begin_attempt(user, totp_now(ann), actor=actor)
    with pytest.raises(Forbidden), transaction():
        services_mfa_enrol.confirm(user, attempt, actor=actor)


def test_d1_a_forbidden_factor_is_not_enrolled(
    app: Flask, scoped: UUID, make_user: Make, actor: Actor
) -> None:
    bob = load(make_user("bob").id)
    only_totp = changed(app, MfaSettings, MFA_METHODS=("totp", "recovery_code"))
    with only_totp, pytest.raises(Forbidden), transaction():
        services_mfa_enrol.begin_channel(
            bob, "sms_otp", "+12025550123", session_id=None, actor=actor
        )
    with pytest.raises(NotFound), transaction():
        services_mfa_enrol.begin_channel(bob, "recovery_code", "x", session_id=None, actor=actor)


def test_d8_a_destination_in_use_is_not_enrolled_twice(user: IAMUserAccount, actor: Actor) -> None:
    add_channel(user, "sms_otp")
    with pytest.raises(InvalidInput), transaction():
        services_mfa_enrol.begin_channel(
            user, "sms_otp", "+1 202 555 0123", session_id=None, actor=actor
        )


def test_at_085_enrolment_does_not_send_to_number_after_number(
    user: IAMUserAccount, actor: Actor
) -> None:
    with transaction():
        services_mfa_enrol.begin_channel(
            user, "sms_otp", "+12025550123", session_id=None, actor=actor
        )
    with pytest.raises(TooManyAttempts), transaction():
        services_mfa_enrol.begin_channel(
            user, "sms_otp", "+12025550199", session_id=None, actor=actor
        )


@pytest.mark.parametrize(
    "address", ["a@x.example, b@y.example", "ann@example.com\nBcc: eve@example.com", "plain", "@"]
)
def test_at_095_one_bare_address_or_none(user: IAMUserAccount, actor: Actor, address: str) -> None:
    with pytest.raises(InvalidInput), transaction():
        services_mfa_enrol.begin_channel(user, "email_otp", address, session_id=None, actor=actor)


# ------------------------------------------------------ changes and resets


def test_at_077_a_reset_removes_everything_ends_sessions_and_tells(
    app: Flask, ann: Someone, user: IAMUserAccount, sign_in: Any, actor: Actor, audit_rows: Any
) -> None:
    browser = app.test_client()
    sign_in(browser, ann)
    add_recovery_codes(load(ann.id), actor)
    add_channel(load(ann.id), "sms_otp")
    with transaction():
        services_mfa_changes.reset_factors(load(ann.id), actor=actor)
    for model in (IAMMfaMethod, IAMRecoveryCode, IAMMfaChallenge):
        assert rows_of(model) == []
    assert services_sessions.list_live(ann.id) == []
    assert browser.get("/account").status_code == 303
    [event] = audit_rows("MFA_DISABLED")
    assert event.severity == "critical"
    assert event.details["methods"] == ["sms_otp", "totp"]
    subjects = [message["subject"] for message in services_outbox.list_recent(5)]
    assert any("were reset" in subject for subject in subjects)


def test_at_077_nobody_resets_their_own_factors(user: IAMUserAccount, actor: Actor) -> None:
    own = actor.acting_as(kind="user", user_id=user.id)
    with pytest.raises(Forbidden), transaction():
        services_mfa_changes.reset_factors(user, actor=own)
    assert len(rows_of(IAMMfaMethod)) == 1


def test_nist_322_a_reset_frees_the_counters_of_the_old_factors(
    ann: Someone, user: IAMUserAccount, actor: Actor
) -> None:
    bad = f"{(int(totp_now(ann)) + 1) % 1_000_000:06d}"
    for _try in range(5):
        with pytest.raises(CodeInvalid):
            services_mfa.verify_mfa_code(user, bad, actor=actor)
    with pytest.raises(TooManyAttempts):
        services_mfa.verify_mfa_code(user, bad, actor=actor)
    with transaction():
        services_mfa_changes.reset_factors(user, actor=actor)
    enrol_totp(user, actor)


def test_d5_removing_the_last_factor_removes_the_recovery_codes(
    user: IAMUserAccount, actor: Actor
) -> None:
    add_recovery_codes(user, actor)
    [row] = rows_of(IAMMfaMethod)
    with transaction():
        services_mfa_changes.remove(user, row.id, policy="optional", actor=actor)
    assert rows_of(IAMRecoveryCode) == []


def test_d6_mail_is_no_substitute_for_the_last_strong_factor(
    user: IAMUserAccount, actor: Actor
) -> None:
    add_channel(user, "email_otp")
    totp = next(row for row in rows_of(IAMMfaMethod) if row.method == "totp")
    with pytest.raises(Conflict), transaction():
        services_mfa_changes.remove(user, totp.id, policy="required", actor=actor)
    add_channel(user, "sms_otp")
    with transaction():
        services_mfa_changes.remove(user, totp.id, policy="required", actor=actor)


def test_at_071_a_change_of_factors_ends_the_trust_in_browsers(
    app: Flask, ann: Someone, sign_in: Any, actor: Actor
) -> None:
    from app.auth.models import IAMDevice

    sign_in(app.test_client(), ann)
    with transaction():
        [device] = session().scalars(select(IAMDevice)).all()
        device.trusted_until = clock.now() + timedelta(days=30)
    totp = rows_of(IAMMfaMethod)[0]
    with transaction():
        services_mfa_changes.remove(load(ann.id), totp.id, policy="optional", actor=actor)
    assert [row.trusted_until for row in rows_of(IAMDevice)] == [None]


def test_k1_factors_of_another_tenant_do_not_exist(
    ann: Someone, user: IAMUserAccount, other_tenant: UUID, actor: Actor
) -> None:
    user_id = user.id
    with tenant_scope(other_tenant):
        assert services_mfa.mfa_state(user_id).methods == ()


# ---------------------------------------------------------- recovery codes


def test_d5_codes_work_after_the_key_was_rotated(
    app: Flask, user: IAMUserAccount, actor: Actor
) -> None:
    from app.core.crypto import KeyRing, new_fernet_key

    codes = add_recovery_codes(user, actor)
    state = app.extensions["iam"]
    before = state.keyring
    newer = KeyRing(["another-signing-secret"], [new_fernet_key(), *before._encryption])
    object.__setattr__(state, "keyring", newer)
    try:
        proved = services_mfa.verify_mfa_code(user, codes[3], method="recovery_code", actor=actor)
    finally:
        object.__setattr__(state, "keyring", before)
    assert (proved.method, proved.codes_left) == ("recovery_code", 9)


def test_d5_codes_are_kept_as_keyed_digests(user: IAMUserAccount, actor: Actor) -> None:
    codes = add_recovery_codes(user, actor)
    stored = rows_of(IAMRecoveryCode)
    assert len(stored) == 10
    assert all(len(row.code_digest) == 32 for row in stored)
    assert services_recovery_codes.left(user.id) == 10
    text = str([row.code_digest for row in stored])
    assert not [code for code in codes if code in text]


def test_at_053_a_code_of_one_person_is_none_for_another(
    user: IAMUserAccount, make_user: Make, actor: Actor
) -> None:
    codes = add_recovery_codes(user, actor)
    bob = load(make_user("bob", mfa="totp").id)
    add_recovery_codes(bob, actor)
    with pytest.raises(CodeInvalid):
        services_mfa.verify_mfa_code(bob, codes[0], method="recovery_code", actor=actor)


def test_d5_sealed_codes_fade(user: IAMUserAccount) -> None:
    sealed = services_recovery_codes.seal(["AAAA"], user.id)
    assert services_recovery_codes.unseal(sealed, user.id) == ["AAAA"]
    with pytest.raises(NotFound):
        services_recovery_codes.unseal(sealed, new_id())
    with clock.travel(timedelta(minutes=16)), pytest.raises(NotFound):
        services_recovery_codes.unseal(sealed, user.id)


# --------------------------------------------------------------- evidence


def test_m1_a_refused_code_leaves_its_evidence(
    ann: Someone, user: IAMUserAccount, actor: Actor, audit_rows: Any
) -> None:
    with pytest.raises(CodeInvalid) as refusal:
        services_mfa.verify_mfa_code(user, "not a code", actor=actor)
    # The person is not told which check failed.
    assert "reason" not in refusal.value.details
    [row] = audit_rows("MFA_FAILED")
    assert row.status == "failure"
    assert row.details == {
        "method": "totp",
        "purpose": "sign_in",
        "reason": "malformed",
        "by": "tests",
    }


def test_m1_asking_for_a_weak_factor_leaves_its_evidence(
    user: IAMUserAccount, actor: Actor, audit_rows: Any
) -> None:
    add_channel(user, "email_otp")
    with pytest.raises(Forbidden):
        ask(user, "email_otp", actor, minimum="aal2")
    [row] = audit_rows("MFA_SEND_REFUSED")
    assert (row.status, row.details["reason"]) == ("denied", "too_weak")
