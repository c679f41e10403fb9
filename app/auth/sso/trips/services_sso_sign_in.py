"""Signing in through a provider: who is it here, what may they do, does the gate let them in.

A producer of the sign-in gate. Account, attributes, roles and session are one transaction,
so that nobody is half signed in and a refusal changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ....audit import events
from ....audit.services_audit import DENIED, FAILURE, record
from ....core.actor import Actor
from ....core.db import transaction
from ....core.errors import IAMError
from ...errors import AddressRefused, InvalidCredentials, SessionLimitReached
from ...principal import Principal
from ...sessions.services_sessions import SignIn
from ...sign_in import services_gate
from ...sign_in import services_login_rows as rows
from ...sign_in.services_gate import Entry
from .. import (
    attributes,
    services_identities,
    services_role_rules,
    services_sso_flow,
    services_sso_sessions,
)
from ..connection import Connection
from ..errors_sso import LinkRequired, SsoRefused
from ..services_sso_accounts import find_or_create_user
from ..services_sso_flow import Flow
from ..userinfo import UserInfo
from .assurance import shown_by

_REASONS: dict[type[IAMError], str] = {
    InvalidCredentials: "account_status",
    AddressRefused: "address",
    SessionLimitReached: "session_limit",
}


class _TurnedAway(Exception):
    """The gate said no: what was recorded on the way there did not happen."""

    def __init__(self, refusal: IAMError, user_id: UUID) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.user_id = user_id


def enter(
    connection: Connection,
    flow: Flow,
    info: UserInfo,
    tokens: Mapping[str, Any],
    *,
    replaces: Principal | None,
    actor: Actor,
) -> SignIn:
    """Open a session, full or pending, for who a provider speaks of; owns its transactions.

    Raises SsoRefused, NoAccount, LinkRequired with the identity kept, SessionLimitReached,
    and what a host's hook raises.
    """
    trip = flow.trip
    entry = Entry(trip.browser, trip.remember, trip.next_url, replaces)
    try:
        with transaction():
            return _enter(connection, info, tokens, entry, actor)
    except LinkRequired as required:
        _offer_link(connection, flow, info, required, actor)
        raise
    except InvalidCredentials as refusal:  # before the gate: nothing is written for it
        identity = services_identities.find(info, connection)
        _record_turned_away(refusal, identity.user_id if identity else None, actor)
        raise SsoRefused("account_status") from None
    except _TurnedAway as turned:
        _record_turned_away(turned.refusal, turned.user_id, actor)
        if isinstance(turned.refusal, InvalidCredentials):
            raise SsoRefused("account_status") from None
        raise turned.refusal from None


def _enter(
    connection: Connection,
    info: UserInfo,
    tokens: Mapping[str, Any],
    entry: Entry,
    actor: Actor,
) -> SignIn:
    found = find_or_create_user(info, connection, actor=actor)
    attributes.apply(found.user, info, connection, actor=actor)
    services_role_rules.apply(found.user, info, connection, actor=actor)
    user, device = rows.find_by_id(found.user_id, entry.browser)
    if user is None:
        raise SsoRefused("account_gone")
    shown = shown_by(connection, info)
    try:
        signed = services_gate.enter(user, shown, entry, device, actor=actor)
    except IAMError as refusal:
        raise _TurnedAway(refusal, found.user_id) from None
    id_token = tokens.get("id_token")
    services_sso_sessions.keep(
        signed.session_id, user.id, found.identity.id, connection, info.sid, id_token
    )
    services_sso_sessions.date_back(signed.session_id, info.auth_time)
    return signed


def _offer_link(
    connection: Connection, flow: Flow, info: UserInfo, required: LinkRequired, actor: Actor
) -> None:
    with transaction():
        services_sso_flow.keep_pending(flow.id, info, required.user_id)
        record(
            events.IDENTITY_LINK_OFFERED, resource=("user_account", required.user_id),
            actor=actor, connection=connection.slug, provider=connection.provider,
        )  # fmt: skip


def _record_turned_away(refusal: IAMError, user_id: UUID | None, actor: Actor) -> None:
    resource = ("user_account", user_id) if user_id is not None else None
    with transaction():
        if isinstance(refusal, AddressRefused):  # what the gate wrote was rolled back
            record(
                events.IP_REFUSED, resource=resource, status=DENIED, actor=actor, reason="sign_in"
            )
        record(
            events.LOGIN_FAILED,
            resource=resource,
            status=FAILURE,
            error=refusal.code,
            actor=actor,
            reason=_REASONS.get(type(refusal), refusal.code),
        )
