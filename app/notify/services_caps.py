"""Caps against toll fraud and mail bombing, counted on the outbox itself (AT-422).

Counters are rows already written, so a cap holds over processes and restarts and
needs no second store. What one number or block receives is counted over all
tenants: otherwise each new tenant would bring an attacker a fresh allowance.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select

from ..core import clock
from ..core.actor import Actor
from ..core.crypto import keyring
from ..core.db import session
from ..core.errors import InvalidInput, TooManyAttempts
from ..core.i18n import _
from ..core.scoping import exempt
from .addresses import Phone, mail_address, parse_phone
from .messages import CHANNELS, EMAIL, SMS, WHATSAPP
from .models import IAMOutbox
from .settings import NotifySettings

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_RECIPIENT, _RANGE = "outbox-recipient", "outbox-range"
_PHONE_CHANNELS = (SMS, WHATSAPP)


def check_send_caps(channel: str, recipient: str, actor: Actor, *, bounded: bool = False) -> str:
    """Return `recipient` in canonical form if one more message may go to it.

    `bounded` passes the hourly cap of one number, for a notice whose count something else
    bounds: who uses the cap up must not silence it (AT-085). The other caps stay.

    Raises InvalidInput for an address or country that may not be written to,
    TooManyAttempts where a cap is reached.
    """
    if channel not in CHANNELS:
        raise InvalidInput(field="channel")
    if channel == EMAIL:
        _check_mail(mail_address(recipient))
        return recipient
    phone = parse_phone(recipient)
    _check_country(phone)
    if not bounded:
        _check_number(phone)
    _check_phone(phone, actor)
    return phone.e164


def recipient_digest(recipient: str) -> bytes:
    """Return the keyed digest by which a recipient is counted and found."""
    return keyring().digest(recipient.casefold(), _RECIPIENT)


def range_digest(phone: Phone) -> bytes:
    """Return the keyed digest of the block of numbers that `phone` is in."""
    return keyring().digest(phone.block, _RANGE)


def _check_mail(address: str) -> None:
    limit = NotifySettings.current().IAM_MAIL_PER_DESTINATION_PER_HOUR
    _refuse_above(limit, _HOUR, IAMOutbox.channel == EMAIL, _sent_to(address))


def _check_country(phone: Phone) -> None:
    allowed = NotifySettings.current().IAM_SMS_COUNTRIES
    if "*" not in allowed and phone.country not in {code.upper() for code in allowed}:
        raise InvalidInput(
            _("Text messages cannot be sent to this country"),
            code="notify.country_not_allowed",
            field="phone",
        )


def _check_number(phone: Phone) -> None:
    limit = NotifySettings.current().IAM_SMS_PER_DESTINATION_PER_HOUR
    _refuse_above(limit, _HOUR, IAMOutbox.channel.in_(_PHONE_CHANNELS), _sent_to(phone.e164))


def _check_phone(phone: Phone, actor: Actor) -> None:
    settings = NotifySettings.current()
    by_phone = IAMOutbox.channel.in_(_PHONE_CHANNELS)
    ours = IAMOutbox.tenant_id == actor.tenant_id
    # Digests under every key, so that rotating the key does not reset the caps.
    blocks = keyring().digests(phone.block, _RANGE)
    _refuse_above(settings.IAM_SMS_PER_RANGE_PER_HOUR, _HOUR, IAMOutbox.range_digest.in_(blocks))
    _refuse_above(
        settings.IAM_SMS_PER_COUNTRY_PER_HOUR, _HOUR, ours, IAMOutbox.country == phone.country
    )
    _refuse_above(settings.IAM_SMS_PER_TENANT_PER_DAY, _DAY, ours, by_phone)


def _sent_to(recipient: str) -> ColumnElement[bool]:
    return IAMOutbox.recipient_digest.in_(keyring().digests(recipient.casefold(), _RECIPIENT))


def _refuse_above(limit: int, window: timedelta, *conditions: ColumnElement[bool]) -> None:
    since = clock.now() - window
    statement = select(func.count(IAMOutbox.id), func.min(IAMOutbox.created_at)).where(
        IAMOutbox.created_at > since, *conditions
    )
    options = exempt("send caps count what a number receives over all tenants")
    count, oldest = session().execute(statement, execution_options=options).one()
    if count >= limit:
        raise TooManyAttempts(
            _("Too many messages were sent. Please wait and try again"),
            retry_after=_seconds_until(oldest, window),
            code="notify.too_many_messages",
        )


def _seconds_until(oldest: datetime, window: timedelta) -> int:
    return int((oldest + window - clock.now()).total_seconds()) + 1
