"""Signing in by a link or code that was sent: one factor, never MFA (C7, AT-073).

A link works in the browser that asked for it (AT-111); guesses at a code count as guesses
at the password do (AT-010). What else is needed decides the gate. These functions own
their transactions: a try is committed before anything is compared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core.actor import Actor
from ...core.db import end_read, transaction
from ...core.errors import NotAuthenticated, TooManyAttempts
from ...notify.messages import EMAIL, SMS
from ...risk import services_limits
from ..accounts.services_directory import get_user
from ..errors import CodeInvalid, InvalidCredentials, LinkElsewhere, LinkInvalid
from ..mfa import services_recovery_codes
from ..models import IAMActionToken, IAMUserAccount
from ..passwords import services_stand_in
from ..principal import Principal
from ..sessions.services_sessions import SignIn
from . import services_codes, services_gate, services_guesses
from . import services_login_rows as rows
from .services_codes import SIGN_IN, Try
from .services_gate import CODE, LINK, Entry, Shown
from .services_login_rows import Account, Device
from .services_sign_in_requests import may_receive

_AMR = {EMAIL: "email", SMS: "sms"}


@dataclass(frozen=True, slots=True)
class CodeAttempt:
    """A code that was typed for a name, and the browser it was typed in."""

    username: str
    code: str = field(repr=False)
    browser: bytes
    replaces: Principal | None = None


def sign_in_with_code(attempt: CodeAttempt, *, actor: Actor) -> SignIn:
    """Check a typed code and open a session, full or pending.

    Raises InvalidCredentials (one answer for every reason), TooManyAttempts,
    SessionLimitReached.
    """
    user, device = rows.find(attempt.username, attempt.browser)
    end_read()
    counters = services_guesses.buckets(attempt.username, user, device, actor)
    charged = services_guesses.charge(attempt.username, counters, actor)
    if charged.refusal is not None:  # nothing is checked, and nothing shows it (AT-011)
        _count_for_nobody(attempt, actor)
        services_guesses.refuse_unseen(attempt.username, user, charged.refusal, actor)
    counted = _count(user, attempt, actor)
    with transaction():
        try:
            signed = _redeem(user, counted, device, attempt, actor)
        except (CodeInvalid, InvalidCredentials) as error:
            _record_code_refused(attempt, user, error, charged.counts, actor)
            raise InvalidCredentials from None
        services_guesses.settle(counters)  # last: other sign-ins wait for what they share
    return signed


def sign_in_with_link(
    token: str, browser: bytes, replaces: Principal | None, *, actor: Actor
) -> SignIn:
    """Use a link up and open a session, full or pending.

    Raises LinkInvalid, LinkElsewhere with nothing used up, TooManyAttempts,
    SessionLimitReached.
    """
    services_limits.charge_address("link", actor=actor)
    user, device = rows.find_by_id(_owner_of(token, browser, actor), browser)
    if user is None:
        raise LinkInvalid
    services_gate.grants_of(user)  # resolved in a transaction they would not be remembered
    end_read()
    with transaction():
        person = _held(user)
        row = find(token, browser)
        if not services_codes.consume(row):
            _record_link_refused(user.id, "used", actor)
            raise LinkInvalid
        shown = Shown(LINK, (_AMR[EMAIL],))
        try:
            signed = _enter(shown, row, user, person, device, replaces, actor)
        except InvalidCredentials:
            _record_link_refused(user.id, "account_status", actor)
            raise LinkInvalid from None
    return signed


def find(token: str, browser: bytes) -> IAMActionToken:
    """Return the live row of a link; a look changes nothing (AT-101).

    Raises LinkInvalid, LinkElsewhere in another browser than the one that asked.
    """
    row = services_codes.find_by_token(token, SIGN_IN)
    if row is None:
        raise LinkInvalid
    if row.browser_digest != browser:
        raise LinkElsewhere
    return row


def _redeem(
    user: Account | None,
    counted: Try | None,
    device: Device | None,
    attempt: CodeAttempt,
    actor: Actor,
) -> SignIn:
    if user is None or counted is None:
        raise CodeInvalid
    person = _held(user)
    row = services_codes.redeem(counted, actor=actor)
    shown = Shown(CODE, (_AMR[_channel(row)],))
    return _enter(shown, row, user, person, device, attempt.replaces, actor)


def _enter(
    shown: Shown,
    row: IAMActionToken,
    user: Account,
    person: IAMUserAccount,
    device: Device | None,
    replaces: Principal | None,
    actor: Actor,
) -> SignIn:
    # What made the account eligible may have changed since the message left.
    if row.browser_digest is None or not may_receive(person, _channel(row)):
        raise InvalidCredentials
    asked = services_codes.payload_of(row)
    entry = Entry(row.browser_digest, bool(asked["remember"]), asked["next"], replaces)
    return services_gate.enter(user, shown, entry, device, actor=actor)


def _count(user: Account | None, attempt: CodeAttempt, actor: Actor) -> Try | None:
    """Count a try at the code; None where there is nothing to check."""
    if user is None:
        _count_for_nobody(attempt, actor)
        return None
    try:
        return services_codes.begin(
            user.id, SIGN_IN, attempt.code, browser=attempt.browser, actor=actor
        )
    except (CodeInvalid, TooManyAttempts):  # one answer: the name's own counter shows (AT-011)
        return None


def _count_for_nobody(attempt: CodeAttempt, actor: Actor) -> None:
    # As much work as `services_codes.begin` has with an account (AT-012).
    nobody = services_stand_in.account(actor)
    services_codes.current(nobody.id, SIGN_IN, browser=attempt.browser)
    with contextlib.suppress(TooManyAttempts):
        services_limits.charge("code", services_guesses.name_key(attempt.username), actor=actor)
    with transaction():
        services_recovery_codes.lock_account(nobody)
        record(
            events.CODE_REFUSED, status=FAILURE, error=CodeInvalid.code, actor=actor,
            purpose=SIGN_IN, reason="no_code",
        )  # fmt: skip


def _owner_of(token: str, browser: bytes, actor: Actor) -> UUID:
    try:
        row = find(token, browser)
    except LinkElsewhere:
        with transaction():
            _record_link_refused(None, "other_browser", actor)
        raise
    user_id = row.user_id
    end_read()
    return user_id


def _held(user: Account) -> IAMUserAccount:
    # The account before its rows, as everywhere: else two of these could deadlock.
    person = get_user(user.id)
    services_recovery_codes.lock_account(person)
    return person


def _channel(row: IAMActionToken) -> str:
    return str(services_codes.payload_of(row)["channel"])


def _record_code_refused(
    attempt: CodeAttempt,
    user: Account | None,
    error: NotAuthenticated,
    counts: Mapping[str, int],
    actor: Actor,
) -> None:
    reason = "wrong_code" if isinstance(error, CodeInvalid) else "account_status"
    services_guesses.record_failed(
        attempt.username, user, reason if user is not None else "unknown_user", counts, actor
    )


def _record_link_refused(user_id: UUID | None, reason: str, actor: Actor) -> None:
    record(
        events.LOGIN_FAILED,
        resource=("user_account", user_id) if user_id is not None else None,
        status=FAILURE,
        error=LinkInvalid.code,
        actor=actor,
        reason=reason,
    )
