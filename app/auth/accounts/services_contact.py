"""A person's own e-mail address and phone number: changed once the new one is proved (B6).

Nothing changes before the code that went to the new one comes back, in the session that
asked (AT-103, AT-104). Whose address somebody else wants learns it by mail; the page does
not say so (AT-014). The way back to a former address is `services_contact_undo`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from ...audit import events
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import Actor
from ...core.db import session, transaction
from ...core.errors import InvalidInput, NotFound, TooManyAttempts
from ...core.i18n import _, speaking
from ...notify import messages_sign_in
from ...notify.messages import EMAIL, SMS, Message
from ...risk import services_devices
from ..identity import (
    canonical_email,
    check_email,
    check_phone,
    check_username,
    mask_email,
    mask_phone,
)
from ..mfa import services_recovery_codes
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMUserAccount
from ..passwords import services_links
from ..recovery import services_recovery_rows
from ..sign_in import services_codes
from ..sign_in.services_codes import EMAIL_CHANGE, PHONE_CHANGE, Sent
from ..sso import services_identities
from ..web.links import public_host, public_url
from . import services_accounts, services_contact_undo, services_notices

_FIELD = {EMAIL_CHANGE: "email", PHONE_CHANGE: "phone_number"}


@dataclass(frozen=True, slots=True)
class Awaited:
    """A change that waits for its code: where that went, masked, and when another may go."""

    destination: str
    resend_in: int


def begin_email(user: IAMUserAccount, text: str, *, session_id: UUID, actor: Actor) -> Sent:
    """Queue a code to the address a person wants; the caller delivers it after commit.

    Raises InvalidInput naming `email`, TooManyAttempts.
    """
    address = check_email(text)
    if (
        user.email_verified
        and user.email
        and canonical_email(user.email) == canonical_email(address)
    ):
        raise InvalidInput(_("This is your address already"), field="email")
    _check_as_username(user, address)
    holder = _holder_of(address, user)
    sent = _issue(
        user, EMAIL_CHANGE, address, session_id,
        channel=EMAIL,
        destination=holder.email or "" if holder is not None else address,
        build=lambda code: _in_use(holder) if holder is not None
        else _code_message(user, EMAIL, address, code),
        actor=actor,
    )  # fmt: skip
    record(events.EMAIL_CHANGE_REQUESTED, resource=user, actor=actor, known=holder is not None)
    return sent


def begin_phone(user: IAMUserAccount, text: str, *, session_id: UUID, actor: Actor) -> Sent:
    """Queue a code to the number a person wants; the caller delivers it after commit.

    Raises InvalidInput naming `phone_number`, TooManyAttempts.
    """
    if user.email and not user.email_verified:
        # Else somebody could plant a number in an account whose address is not theirs (AT-212).
        raise InvalidInput(_("Please confirm your e-mail address first"), field="phone_number")
    number = check_phone(text)
    if user.phone_verified and user.phone_number == number:
        raise InvalidInput(_("This is your number already"), field="phone_number")
    sent = _issue(
        user, PHONE_CHANGE, number, session_id,
        channel=SMS,
        destination=number,
        build=lambda code: _code_message(user, SMS, number, code),
        actor=actor,
    )  # fmt: skip
    record(events.PHONE_CHANGE_REQUESTED, resource=user, actor=actor)
    return sent


def begin_again(user: IAMUserAccount, purpose: str, *, session_id: UUID, actor: Actor) -> Sent:
    """Queue another code for the change this session began. Raises NotFound, TooManyAttempts."""
    wanted = _wanted(user, purpose, session_id)
    if wanted is None:
        raise NotFound(_("That took too long. Please start again"), code="contact.gone")
    begin = begin_email if purpose == EMAIL_CHANGE else begin_phone
    return begin(user, wanted, session_id=session_id, actor=actor)


def awaited(user: IAMUserAccount, purpose: str, *, session_id: UUID) -> Awaited | None:
    """Return the change that this session began, never another's (AT-043)."""
    wanted = _wanted(user, purpose, session_id)
    if wanted is None:
        return None
    mask = mask_email if purpose == EMAIL_CHANGE else mask_phone
    return Awaited(mask(wanted), services_codes.seconds_until_resend(user.id, purpose))


def confirm(
    user: IAMUserAccount, purpose: str, code: str, *, session_id: UUID, actor: Actor
) -> None:
    """Make the new address or number the person's own, if the code is right; tell everybody.

    Owns its transactions. Raises CodeInvalid, TooManyAttempts, IdentityTaken.
    """
    attempt = services_codes.begin(user.id, purpose, code, session_id=session_id, actor=actor)
    with transaction():
        # The account before its rows, as everywhere: else two of these could deadlock.
        services_recovery_codes.lock_account(user)
        row = services_codes.redeem(attempt, actor=actor)
        session().refresh(user)
        store = _store_email if purpose == EMAIL_CHANGE else _store_phone
        value = services_codes.payload_of(row)[_FIELD[purpose]]
        if purpose == EMAIL_CHANGE and value == user.email and not user.email_verified:
            services_identities.drop_planted(user, session_id=session_id, actor=actor)
        store(user, value, clock.now(), actor)


def remove_phone(user: IAMUserAccount, *, actor: Actor) -> None:
    """Take the phone number off the account, and tell its owner. Raises NotFound without one."""
    services_recovery_codes.lock_account(user)
    session().refresh(user)
    old = _proved_phone(user)
    if user.phone_number is None:
        raise NotFound
    services_accounts.store_proved(user, events.PHONE_REMOVED, phone_number=None, actor=actor)
    services_links.drop(user)
    services_recovery_rows.cancel_open(user, "phone_removed", actor=actor)
    _tell_phone(user, old, messages_sign_in.phone_removed, clock.now(), actor)


def _store_email(user: IAMUserAccount, address: str, at: datetime, actor: Actor) -> None:
    old, was_verified = user.email, user.email_verified
    if address == old:
        _verify(user, events.EMAIL_VERIFIED, "email_verified", actor)
        return
    services_accounts.store_proved(user, events.EMAIL_CHANGED, email=address, actor=actor)
    # Nothing that went to the former address, or counts on it, must work any longer.
    services_links.drop(user)
    services_devices.end_trust(user.id)
    services_recovery_rows.cancel_open(user, "email_changed", actor=actor)
    # Never proved, it may be a stranger's by a slip of the pen: told, but given no way in.
    undo = services_contact_undo.offer(user, old) if old and was_verified else None
    _tell_email(user, old, address, undo, at, actor)


def _store_phone(user: IAMUserAccount, number: str, at: datetime, actor: Actor) -> None:
    old = _proved_phone(user)
    if number == user.phone_number:
        _verify(user, events.PHONE_VERIFIED, "phone_verified", actor)
        return
    services_accounts.store_proved(user, events.PHONE_CHANGED, phone_number=number, actor=actor)
    services_links.drop(user)
    services_recovery_rows.cancel_open(user, "phone_changed", actor=actor)
    _tell_phone(user, old, messages_sign_in.phone_changed, at, actor)


def _verify(user: IAMUserAccount, event: events.Event, flag: str, actor: Actor) -> None:
    record(event, resource=user, changes={flag: [getattr(user, flag), True]}, actor=actor)
    setattr(user, flag, True)
    user.updated_at = clock.now()


def _proved_phone(user: IAMUserAccount) -> str | None:
    return user.phone_number if user.phone_verified else None


def _check_as_username(user: IAMUserAccount, address: str) -> None:
    # A username that is the address follows it, and must be one.
    if "@" not in user.username:
        return
    try:
        check_username(address, email=address)
    except InvalidInput as refusal:
        raise InvalidInput(refusal.title, code=refusal.code, field="email") from None


def _holder_of(address: str, user: IAMUserAccount) -> IAMUserAccount | None:
    account = IAMUserAccount
    return session().scalar(
        select(account).where(
            account.email_canonical == canonical_email(address), account.id != user.id
        )
    )


def _wanted(user: IAMUserAccount, purpose: str, session_id: UUID) -> str | None:
    row = services_codes.current(user.id, purpose, session_id=session_id)
    return services_codes.payload_of(row)[_FIELD[purpose]] if row is not None else None


def _issue(
    user: IAMUserAccount,
    purpose: str,
    wanted: str,
    session_id: UUID,
    *,
    channel: str,
    destination: str,
    build: Callable[[str], Message],
    actor: Actor,
) -> Sent:
    try:
        return services_codes.issue(
            user,
            purpose,
            channel=channel,
            destination=destination,
            build=lambda code, _token: build(code),
            minutes=MfaSettings.current().MFA_CODE_MINUTES,
            session_id=session_id,
            payload={_FIELD[purpose]: wanted},
            actor=actor,
        )
    except InvalidInput as refusal:
        raise InvalidInput(refusal.title, code=refusal.code, field=_FIELD[purpose]) from None


def _code_message(user: IAMUserAccount, channel: str, destination: str, code: str) -> Message:
    purpose = "verify_email" if channel == EMAIL else "verify_phone"
    return services_notices.one_time_code(user, channel, destination, code=code, purpose=purpose)


def _in_use(holder: IAMUserAccount) -> Message:
    with speaking(holder.language):
        return messages_sign_in.email_in_use(
            holder.email or "",
            brand=services_notices.brand(),
            at=clock.now(),
            link=public_url("iam_account.security"),
        )


def _tell_email(
    user: IAMUserAccount, old: str | None, new: str, undo: str | None, at: datetime, actor: Actor
) -> None:
    brand, told = services_notices.brand(), []
    with speaking(user.language):
        if old:
            days = services_contact_undo.days()
            told.append(
                messages_sign_in.email_change_old(old, brand=brand, at=at, undo=undo, days=days)
            )
        link = public_url("iam_account.security")
        told.append(messages_sign_in.email_change_new(new, brand=brand, at=at, link=link))
    for message in told:
        services_notices.send(user, message, actor=actor)


def _tell_phone(
    user: IAMUserAccount,
    old: str | None,
    build: Callable[..., Message],
    at: datetime,
    actor: Actor,
) -> None:
    brand, link = services_notices.brand(), public_url("iam_account.security")
    with speaking(user.language):
        if user.email:
            services_notices.send(
                user, build(user.email, brand=brand, at=at, link=link), actor=actor
            )
        if old:
            text = messages_sign_in.phone_change_old(old, brand=brand, host=public_host())
            try:
                services_notices.send(user, text, actor=actor)
            except (InvalidInput, TooManyAttempts):  # the mail says it, too
                return
