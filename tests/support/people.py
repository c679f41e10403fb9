"""People with second factors, for tests of services without pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.auth.mfa import services_recovery_codes
from app.auth.models import IAMMfaMethod, IAMUserAccount
from app.auth.webauthn import services_webauthn_register
from app.auth.webauthn.webauthn_parsing import read_registration
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.ids import new_id
from tests.support.authenticator import Authenticator

DESTINATIONS = {
    "email_otp": "ann.codes@example.com",
    "sms_otp": "+12025550123",
    "whatsapp_otp": "+12025550124",
}


def load(user_id: UUID) -> IAMUserAccount:
    """Return the account as stored now, in the tenant of this context."""
    found = session().scalar(select(IAMUserAccount).where(IAMUserAccount.id == user_id))
    assert found is not None
    return found


def add_channel(user: IAMUserAccount, method: str, destination: str = "") -> UUID:
    """Enrol a channel past the pages; return the factor's id."""
    at = clock.now()
    row = IAMMfaMethod(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        method=method,
        name=method,
        destination=destination or DESTINATIONS[method],
        created_at=at,
        confirmed_at=at,
    )
    found = row.id
    with transaction():
        session().add(row)
    return found


def add_recovery_codes(user: IAMUserAccount, actor: Actor) -> list[str]:
    """Make recovery codes and return them in clear."""
    with transaction():
        return services_recovery_codes.create(user, notify=False, actor=actor)


def add_key(user: IAMUserAccount, device: Authenticator, actor: Actor, **lies: Any) -> UUID:
    """Register a key of `device` past the pages; return the factor's id."""
    browser, session_id = b"r" * 32, None
    with transaction():
        asked = services_webauthn_register.begin(
            user, session_id=session_id, browser=browser, actor=actor
        )
    answer = read_registration(device.create(asked, **lies))
    checked = services_webauthn_register.check(
        user, answer, session_id=session_id, browser=browser, actor=actor
    )
    with transaction():
        return services_webauthn_register.enrol(user, checked, name="", actor=actor).method.id


def rows_of(model: Any) -> list[Any]:
    """Return every row of a model in this tenant, oldest first, as committed."""
    session().rollback()
    return list(session().scalars(select(model).order_by(model.id)))
