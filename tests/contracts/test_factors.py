"""What every second factor must do, run over the registry.

A new factor joins by being registered; it needs a line in `BENCHES` that says how a
person comes to hold it and where the right code is found, and a test fails until it has one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pyotp
import pytest
from sqlalchemy import inspect as inspect_model

from app.auth import services_mfa, services_webauthn
from app.auth.errors import CodeInvalid
from app.auth.factors import Factor, factors
from app.auth.mfa import services_factors, services_mfa_verify
from app.auth.models import IAMMfaChallenge, IAMMfaMethod, IAMRecoveryCode, IAMUserAccount
from app.core import clock
from app.core.actor import Actor
from app.core.db import transaction
from app.core.errors import TooManyAttempts
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.notify import services_outbox
from tests.conftest import Someone
from tests.support.authenticator import Authenticator
from tests.support.people import add_channel, add_key, add_recovery_codes, load, rows_of

Make = Callable[..., Someone]


@dataclass
class Holder:
    """A person who holds the factor under test: how the right and a wrong code are had.

    `more` is what a try at this factor needs besides the code.
    """

    user_id: UUID
    code: Callable[[UUID | None], str]
    wrong: Callable[[str], str]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def user(self) -> IAMUserAccount:
        """Return the account as stored now."""
        return load(self.user_id)


def wrong_digits(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def wrong_letters(code: str) -> str:
    return ("B" if code[0] == "A" else "A") + code[1:]


def wrong_signature(code: str) -> str:
    answer = json.loads(code)
    answer["response"]["signature"] = "AAAA"
    return json.dumps(answer)


def totp_holder(person: Someone, actor: Actor) -> Holder:
    def code(_session_id: UUID | None) -> str:
        return pyotp.TOTP(person.totp_secret or "").at(clock.now())

    return Holder(person.id, code, wrong_digits)


def recovery_holder(person: Someone, actor: Actor) -> Holder:
    codes = add_recovery_codes(load(person.id), actor)
    return Holder(person.id, lambda _session_id: codes[0], wrong_letters)


def channel_holder(method: str) -> Callable[[Someone, Actor], Holder]:
    def make(person: Someone, actor: Actor) -> Holder:
        add_channel(load(person.id), method)

        def code(session_id: UUID | None) -> str:
            services_mfa.challenge(
                load(person.id), method, services_mfa.SIGN_IN, session_id=session_id, actor=actor
            )
            found = re.search(r"\b(\d{6})\b", services_outbox.list_recent(1)[0]["body"])
            assert found
            return found.group(1)

        return Holder(person.id, code, wrong_digits)

    return make


def key_holder(person: Someone, actor: Actor) -> Holder:
    device, browser = Authenticator(), person.id.bytes * 2
    add_key(load(person.id), device, actor)

    def code(session_id: UUID | None) -> str:
        with transaction():
            asked = services_webauthn.factor_options(
                load(person.id), services_mfa.SIGN_IN, session_id=session_id, browser=browser
            )
        return json.dumps(device.get(asked))

    return Holder(person.id, code, wrong_signature, {"browser": browser})


BENCHES: dict[str, Callable[[Someone, Actor], Holder]] = {
    "webauthn": key_holder,
    "totp": totp_holder,
    "email_otp": channel_holder("email_otp"),
    "sms_otp": channel_holder("sms_otp"),
    "whatsapp_otp": channel_holder("whatsapp_otp"),
    "recovery_code": recovery_holder,
}


SENT = [item.name for item in factors() if item.channel is not None]


@pytest.fixture(params=factors().names())
def factor(request: pytest.FixtureRequest) -> Factor:
    """Return each registered factor in turn."""
    return factors().get(request.param)


@pytest.fixture
def holder(factor: Factor, scoped: UUID, make_user: Make, actor: Actor) -> Holder:
    """Return a person who holds the factor."""
    return BENCHES[factor.name](make_user("ann", mfa="totp"), actor)


def test_every_factor_has_a_bench() -> None:
    assert set(BENCHES) == set(factors().names())


def test_a7_a_factor_has_at_most_six_members(factor: Factor) -> None:
    members = [name for name in dir(type(factor)) if not name.startswith("_")]
    assert sorted(members) == ["assurance", "channel", "label", "name", "note", "redeem"]
    assert factor.assurance in {"aal1", "aal2", "aal3"}
    assert factor.channel in {None, "email", "sms", "whatsapp"}


def verify(holder: Holder, factor: Factor, code: str, actor: Actor, **how: Any) -> Any:
    how = {**holder.more, **how}
    return services_mfa.verify_mfa_code(holder.user, code, method=factor.name, actor=actor, **how)


def test_d1_the_right_code_is_accepted(factor: Factor, holder: Holder, actor: Actor) -> None:
    proved = verify(holder, factor, holder.code(None), actor)
    assert proved.method == factor.name
    assert proved.acr == services_factors.assurance_of(factor.name)


def test_at_037_a_code_is_accepted_once(factor: Factor, holder: Holder, actor: Actor) -> None:
    code = holder.code(None)
    verify(holder, factor, code, actor)
    with pytest.raises(CodeInvalid):
        verify(holder, factor, code, actor)


def test_at_037_a_counted_attempt_is_redeemed_once(
    factor: Factor, holder: Holder, actor: Actor
) -> None:
    attempt = services_mfa_verify.begin_attempt(
        holder.user, holder.code(None), method=factor.name, actor=actor, **holder.more
    )
    with transaction():
        services_mfa_verify.redeem(attempt, actor=actor)
    with pytest.raises(CodeInvalid), transaction():
        services_mfa_verify.redeem(attempt, actor=actor)


def test_at_034_tries_are_capped(factor: Factor, holder: Holder, actor: Actor) -> None:
    right = holder.code(None)
    refusals = []
    for _try in range(7):
        with pytest.raises((CodeInvalid, TooManyAttempts)) as refusal:
            verify(holder, factor, holder.wrong(right), actor)
        refusals.append(type(refusal.value))
    assert refusals[:5] == [CodeInvalid] * 5
    assert refusals[5:] == [TooManyAttempts] * 2
    with pytest.raises(TooManyAttempts):
        verify(holder, factor, right, actor)


@pytest.mark.parametrize("text", ["", " ", "0", "null", "[]", "x" * 5000, "\u0000", "½½½½½½"])
def test_at_046_nonsense_is_refused_and_counted(
    factor: Factor, holder: Holder, actor: Actor, text: str
) -> None:
    holder.code(None)
    with pytest.raises(CodeInvalid):
        verify(holder, factor, text, actor)


def test_at_043_a_code_of_one_person_is_refused_for_another(
    factor: Factor, holder: Holder, make_user: Make, actor: Actor
) -> None:
    code = holder.code(None)
    eve = BENCHES[factor.name](make_user("eve", mfa="totp"), actor)
    with pytest.raises(CodeInvalid):
        verify(eve, factor, code, actor)


def test_at_043_a_forged_attempt_for_another_person_is_refused(
    factor: Factor, holder: Holder, make_user: Make, actor: Actor
) -> None:
    from dataclasses import replace

    eve = make_user("eve")
    attempt = services_mfa_verify.begin_attempt(
        holder.user, holder.code(None), method=factor.name, actor=actor, **holder.more
    )
    with pytest.raises(CodeInvalid), transaction():
        services_mfa_verify.redeem(replace(attempt, user_id=eve.id), actor=actor)


@pytest.mark.parametrize("factor", SENT, indirect=True)
def test_at_043_a_code_of_one_session_or_purpose_is_refused_in_another(
    factor: Factor, holder: Holder, actor: Actor
) -> None:
    code = holder.code(new_id())
    for how in ({"session_id": new_id()}, {"session_id": None}, {"purpose": "account.security"}):
        with pytest.raises(CodeInvalid):
            verify(holder, factor, code, actor, **how)


def test_at_043_a_factor_of_one_tenant_is_refused_in_another(
    factor: Factor, holder: Holder, other_tenant: UUID, actor: Actor
) -> None:
    attempt = services_mfa_verify.begin_attempt(
        holder.user, holder.code(None), method=factor.name, actor=actor, **holder.more
    )
    elsewhere = actor.acting_as(tenant_id=other_tenant)
    with tenant_scope(other_tenant), pytest.raises(CodeInvalid), transaction():
        services_mfa_verify.redeem(attempt, actor=elsewhere)


def test_at_044_no_secret_is_shown_or_stored_in_clear(
    factor: Factor, holder: Holder, actor: Actor, audit_rows: Any, caplog: Any
) -> None:
    code = holder.code(None)
    attempt = services_mfa_verify.begin_attempt(
        holder.user, code, method=factor.name, actor=actor, **holder.more
    )
    with transaction():
        proved = services_mfa_verify.redeem(attempt, actor=actor)
    shown = [repr(factor), repr(attempt), repr(proved), repr(services_factors.ways(holder.user))]
    stored = [
        str(getattr(row, name.key))
        for model in (IAMMfaMethod, IAMMfaChallenge, IAMRecoveryCode)
        for row in rows_of(model)
        for name in inspect_model(model).columns
        if name.key not in {"id", "created_at", "confirmed_at", "consumed_at", "expires_at"}
        and not name.key.endswith("_id")
        and not name.key.endswith("_at")
    ]
    trail = [str(row.details) + str(row.changes) for row in audit_rows()]
    assert not [text for text in shown + stored + trail if code in text]
    assert code not in caplog.text


def test_d1_the_words_for_people_say_something(factor: Factor) -> None:
    assert factor.label
    assert factor.note
    assert factor.name not in factor.label
