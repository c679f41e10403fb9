"""An account that is never stored, to do the work of a real one for (AT-011, AT-012).

Whoever asks for a link or a code for an account that does not exist, or may have none, must
not learn it by the time the answer takes: all is done, statement by statement, and taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from sqlalchemy import inspect

from ...audit.personal.keys import nobodys
from ...core import clock
from ...core.actor import Actor
from ...core.db import Base, session
from ...core.ids import new_id
from ...notify.settings import NotifySettings
from ...risk.models import IAMThrottle
from ..liveness import ACTIVE
from ..models import IAMActionToken, IAMUserAccount


def account(actor: Actor) -> IAMUserAccount:
    """Return an account that may have any link or code, and exists nowhere."""
    return IAMUserAccount(
        id=new_id(),
        tenant_id=actor.tenant_id,
        username="nobody",
        email="nobody@account.invalid",  # RFC 2606: no mail ever goes there
        email_verified=True,
        phone_number=_number(),
        phone_verified=True,
        status=ACTIVE,
        password_hash="-",  # noqa: S106 - no password; it says that there is one
    )


def is_one(user: IAMUserAccount) -> bool:
    """Return whether an account is a stand-in: it was never stored."""
    return bool(inspect(user).transient)


@contextmanager
def thrown_away() -> Iterator[None]:
    """Take back what the block wrote, once it was sent to the database."""
    with session().begin_nested() as point, nobodys():
        yield
        session().flush()
        point.rollback()


def storable(row: IAMActionToken, user: IAMUserAccount) -> Base:
    """Return `row`, or for an account that is not stored a row that needs none to belong to."""
    if not is_one(user):
        return row
    return IAMThrottle(
        id=UUID(bytes=row.token_digest[:16]),
        tenant_id=row.tenant_id,
        scope="nobody",
        count=0,
        updated_at=clock.now(),
    )


def _number() -> str:
    # A sample of a country that text messages go to: no message to it ever leaves.
    allowed = NotifySettings.current().IAM_SMS_COUNTRIES
    country = allowed[0].upper() if allowed and allowed[0] != "*" else "US"
    sample = phonenumbers.example_number_for_type(country, PhoneNumberType.MOBILE)
    return phonenumbers.format_number(sample, PhoneNumberFormat.E164) if sample else "+12015550123"
