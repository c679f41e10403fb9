"""Forgotten and first passwords: links asked for, sent and redeemed (C6, B3).

The answer and the effort are the same for everybody who asks. A link sets a
password, ends every session, signs nobody in and never touches the second factor.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from ...audit import events
from ...audit.services_audit import record
from ...core.actor import Actor
from ...core.db import end_read, session, transaction
from ...core.i18n import speaking
from ...notify import messages
from ...risk import services_devices, services_limits
from ...risk.services_limits import Bucket, bucket
from ..accounts import services_notices
from ..accounts.services_directory import find_by_login
from ..identity import mask_identifier
from ..liveness import ACTIVE, INVITED, may_set_password
from ..models import IAMUserAccount
from ..sessions import services_sessions
from ..sign_in.services_guesses import name_key
from ..sso import services_identities
from ..web.links import public_url
from . import services_links, services_password, services_stand_in
from .services_links import RESET, SET
from .settings_password import PasswordSettings


def request_reset(identifier: str, *, actor: Actor) -> None:
    """Send a reset link where the account exists; same effort and answer otherwise (C6).

    Owns its transactions. Raises TooManyAttempts for the address alone, never for
    the account: that would tell which accounts exist.
    """
    services_limits.charge_address("reset.ip", actor=actor)
    user = find_by_login(identifier)
    found = user.id if user is not None else None
    end_read()
    allowed = _reset_allowed(found, identifier, actor)
    with transaction():
        user = find_by_login(identifier)  # again: the charge let go of the first reading
        stand_in = services_stand_in.account(actor)
        known = _can_reset(user or stand_in) and user is not None
        record(
            events.PASSWORD_RESET_REQUESTED,
            resource=user,
            actor=actor,
            identifier=mask_identifier(identifier) if user is None else user.username,
            known=known,
        )
        if user is not None and known and allowed and user.id == found:
            with session().begin_nested():
                send_reset_link(user, actor=actor)
        else:
            with services_stand_in.thrown_away():
                send_reset_link(stand_in, actor=actor)


def send_reset_link(user: IAMUserAccount, *, actor: Actor) -> None:
    """Queue a reset link to the stored address; older links die."""
    minutes = PasswordSettings.current().PASSWORD_RESET_MINUTES
    _send_link(user, RESET, timedelta(minutes=minutes), _reset_message, actor)


def send_set_password_link(user: IAMUserAccount, *, actor: Actor) -> None:
    """Queue the link by which a person sets their first password (B3)."""
    hours = PasswordSettings.current().PASSWORD_SET_LINK_HOURS
    _send_link(
        user,
        SET,
        timedelta(hours=hours),
        lambda address, link: messages.set_password_link(
            address, link=link, hours=hours, brand=services_notices.brand()
        ),
        actor,
    )
    record(events.INVITATION_SENT, resource=user, actor=actor, purpose=SET)


def redeem(token: str, password: str, *, actor: Actor) -> None:
    """Set a password through a link, once; ends every session, signs nobody in.

    Owns its transactions. Raises LinkInvalid, PasswordRefused, TooManyAttempts.
    """
    services_limits.charge_address("link", actor=actor)
    row, user = services_links.find(token)
    new = services_password.prepare(user, password)
    with transaction():
        row, user = services_links.find(token)
        actor = actor.acting_as(user_id=user.id, kind="user")
        services_links.consume(row, actor=actor)
        services_password.store(user, new, actor)
        _activate(user, actor)
        services_sessions.revoke_all(user.id, "password_reset", actor=actor)
        services_limits.clear_all(_own_buckets(user, actor))  # a new authenticator (NIST 3.2.2)
        record(events.PASSWORD_RESET_COMPLETED, resource=user, actor=actor, purpose=row.purpose)


def _activate(user: IAMUserAccount, actor: Actor) -> None:
    # The link went to the stored address: opening it proves that address.
    if not user.email_verified:
        services_identities.drop_planted(user, session_id=None, actor=actor)
    user.email_verified = True
    if user.status != INVITED:
        return
    user.status = ACTIVE
    record(
        events.USER_REACTIVATED,
        resource=user,
        changes={"status": [INVITED, ACTIVE]},
        actor=actor,
    )


def _reset_allowed(found: UUID | None, identifier: str, actor: Actor) -> bool:
    # One count for every alias of an account, and never a word of it.
    whose = found or name_key(identifier)
    mine = bucket("reset.account", whose, actor=actor, silent=True)
    return services_limits.charge_all([mine]) is None


def _reset_message(address: str, link: str) -> messages.Message:
    minutes = PasswordSettings.current().PASSWORD_RESET_MINUTES
    brand = services_notices.brand()
    return messages.password_reset_link(address, link=link, minutes=minutes, brand=brand)


def _can_reset(user: IAMUserAccount) -> bool:
    # An account that never had a password signs in another way: a reset must not add one (AT-102).
    alive = may_set_password(user.status, services_sessions.tenant_of(user).status)
    return alive and bool(user.email) and (user.password_hash is not None or user.status == INVITED)


def _own_buckets(user: IAMUserAccount, actor: Actor) -> list[Bucket]:
    scopes = ("login.account", "password.absolute", "reauth", "code", "code.sign_in")
    names = {name_key(name) for name in (user.username, user.email) if name}
    devices = [device.id for device in services_devices.list_devices(user.id)]
    return [
        *(bucket(scope, user.id, actor=actor) for scope in scopes),
        *(bucket("login.name", name, actor=actor) for name in names),
        *(bucket("login.device", device, actor=actor) for device in devices),
        *(bucket("password.absolute", user.id, device, actor=actor) for device in devices),
    ]


def _send_link(
    user: IAMUserAccount,
    purpose: str,
    length: timedelta,
    build: Callable[[str, str], messages.Message],
    actor: Actor,
) -> None:
    if not user.email:
        return
    token = services_links.issue(user, purpose, length)
    link = public_url("iam_auth.password_reset", token=token)
    with speaking(user.language):
        message = build(user.email, link)
    services_notices.send(user, message, actor=actor)
