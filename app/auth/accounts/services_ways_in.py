"""By what a person can sign in, and that the last of it stays (G5, AT-206).

One list for everything that takes a way in away: identities of other services, passkeys.
A second factor is none, nor is a link that sets a password.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...core.actor import Actor
from ...core.db import session
from ...core.errors import Conflict
from ...core.i18n import _
from ...tenancy.services_settings import effective
from ..mfa.services_factors import WEBAUTHN
from ..mfa.settings_mfa import MfaSettings
from ..models import (
    IAMMfaMethod,
    IAMSsoConnection,
    IAMUserAccount,
    IAMUserIdentity,
    IAMWebauthnCredential,
)
from ..sign_in import services_sign_in_requests
from ..sso import services_connections

PASSWORD, PASSKEY, IDENTITY, MESSAGE = "password", "passkey", "identity", "message"


def ways_in(
    user: IAMUserAccount, *, identity_id: UUID | None = None, method_id: UUID | None = None
) -> set[str]:
    """Return the kinds of ways in, those left without an identity or a factor."""
    found = {
        PASSWORD: user.password_hash is not None,
        PASSKEY: _has_passkey(user.id, method_id),
        IDENTITY: _has_identity(user.id, identity_id),
        MESSAGE: any(
            services_sign_in_requests.may_receive(user, offer.channel)
            for offer in services_sign_in_requests.offers()
        ),
    }
    return {name for name, yes in found.items() if yes}


def guard_last(
    user: IAMUserAccount,
    *,
    identity_id: UUID | None = None,
    method_id: UUID | None = None,
    actor: Actor,
) -> None:
    """Refuse to take the last way in; the caller holds the account. Raises Conflict.

    A factor is kept only where it is a way in; an identity always, even one whose
    connection is disabled for now.
    """
    if ways_in(user, identity_id=identity_id, method_id=method_id):
        return
    if identity_id is not None or ways_in(user):
        record(
            events.ACCOUNT_CHANGE_REFUSED,
            resource=user,
            status=DENIED,
            error="account.last_way_in",
            actor=actor,
            reason="last_way_in",
        )
        raise Conflict(
            _("This is your only way to sign in. Add another one before you remove it"),
            code="account.last_way_in",
        )


def _has_passkey(user_id: UUID, but: UUID | None) -> bool:
    # Only what is sure to sign in alone: discoverable, and with PIN or biometrics.
    if WEBAUTHN not in effective(MfaSettings).MFA_METHODS:
        return False
    key, factor = IAMWebauthnCredential, IAMMfaMethod
    query = (
        select(factor.id)
        .join(key, key.mfa_method_id == factor.id)
        .where(
            key.user_id == user_id,
            key.discoverable.is_(True),
            key.user_verified.is_(True),
            factor.confirmed_at.is_not(None),
        )
    )
    return any(found != but for found in session().scalars(query))


def _has_identity(user_id: UUID, but: UUID | None) -> bool:
    identity, connection = IAMUserIdentity, IAMSsoConnection
    query = (
        select(identity.id, connection)
        .join(connection, connection.id == identity.connection_id)
        .where(identity.user_id == user_id, connection.enabled.is_(True))
    )
    return any(
        found != but and services_connections.as_value(row) is not None
        for found, row in session().execute(query)
    )
