"""The way back to a former e-mail address, for whoever still reads mail there (B6, AT-103).

Each change leaves the former, proved address a link that works once. A mailbox alone
never removes a factor and never says who the owner is: where ways to sign in were added
not long before or since, or two former addresses object, the account is locked, and an
administrator decides (AT-211 to AT-213).
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core import clock, hashing, rng
from ...core.actor import Actor
from ...core.db import end_read, session, transaction
from ...core.i18n import speaking
from ...notify import messages_sign_in
from ...risk import services_devices, services_limits
from .. import liveness
from ..errors import LinkInvalid
from ..liveness import may_set_password
from ..mfa import services_factors, services_recovery_codes
from ..models import IAMActionToken, IAMUserAccount
from ..passwords import services_links, services_reset
from ..passwords.services_links import EMAIL_UNDO
from ..recovery import services_recovery_rows
from ..sessions import services_sessions
from ..sign_in import services_codes
from ..sign_in.settings_sign_in import SignInSettings
from ..sso import services_identities
from ..web.links import public_url
from . import services_accounts, services_notices
from .errors_accounts import IdentityTaken
from .services_directory import get_user

RESTORED, NO_PASSWORD, LOCKED = "restored", "no_password", "locked"


def days() -> int:
    """Return how long a former address may take its account back."""
    return SignInSettings.current().EMAIL_UNDO_DAYS


def offer(user: IAMUserAccount, address: str) -> str:
    """Return the link by which whoever reads mail at a former address takes the account back."""
    token = services_codes.add_link(
        user, EMAIL_UNDO, length=timedelta(days=days()), payload={"email": address}
    )
    return public_url("iam_auth.email_undo", token=token)


def find(token: str) -> tuple[IAMActionToken, IAMUserAccount]:
    """Return an unused link and its account; a look changes nothing (AT-101).

    Raises LinkInvalid.
    """
    row = services_codes.find_by_token(token, EMAIL_UNDO)
    if row is None:
        raise LinkInvalid
    user = get_user(row.user_id)
    if not may_set_password(user.status, services_sessions.tenant_of(user).status):
        raise LinkInvalid
    return row, user


def address_of(row: IAMActionToken) -> str:
    """Return the address that a link puts back."""
    return str(services_codes.payload_of(row)["email"])


def redeem(token: str, *, actor: Actor) -> str:
    """Use a link, once: everybody is signed out, and the address comes back or is disputed.

    Returns RESTORED (a link to set a password goes to the address), NO_PASSWORD (the
    account has none), or LOCKED (the address stays as it is). The
    password in use stops working: who changed the address may know it. Owns its transactions.

    Raises LinkInvalid, TooManyAttempts; IdentityTaken where the address is another
    account's by now.
    """
    services_limits.charge_address("link", actor=actor)
    find(token)
    end_read()
    unknown = hashing.current().hash(rng.token())
    with transaction():
        row, user = find(token)
        services_recovery_codes.lock_account(user)
        if not services_codes.consume(row):
            raise LinkInvalid
        actor = actor.acting_as(kind="user", user_id=user.id)
        lost = user.email
        disputed = _is_disputed(user, row)
        if not disputed:
            _put_back(user, address_of(row), actor)
        _close(user, actor)
        _tell(user, {lost, address_of(row)} if disputed else {lost} - {user.email}, actor)
        had_password = user.password_hash is not None
        if had_password:
            user.password_hash = unknown
        if disputed:
            _lock(user, actor)
            return LOCKED
        if not had_password:
            return NO_PASSWORD
        services_reset.send_reset_link(user, actor=actor)
    return RESTORED


def _is_disputed(user: IAMUserAccount, row: IAMActionToken) -> bool:
    """Return whether a mailbox cannot settle whose account this is."""
    since = row.created_at - timedelta(days=days())
    others = select(IAMActionToken.id).where(
        IAMActionToken.user_id == user.id,
        IAMActionToken.purpose == EMAIL_UNDO,
        IAMActionToken.id != row.id,
        IAMActionToken.consumed_at.is_(None),
        IAMActionToken.expires_at > clock.now(),
    )
    if session().scalar(others.limit(1)) is not None:
        return True
    made = [factor.confirmed_at for factor in services_factors.active_methods(user)]
    made += [identity.linked_at for identity, _of in services_identities.identities_of(user.id)]
    return any(at is not None and at >= since for at in made)


def _put_back(user: IAMUserAccount, address: str, actor: Actor) -> None:
    try:
        services_accounts.store_proved(user, events.EMAIL_CHANGE_UNDONE, email=address, actor=actor)
    except IdentityTaken as refusal:
        record(
            events.EMAIL_CHANGE_UNDONE,
            resource=user,
            status=FAILURE,
            error=refusal.code,
            actor=actor,
        )
        raise
    user.email_verified = True  # also where the person had gone back to it meanwhile


def _close(user: IAMUserAccount, actor: Actor) -> None:
    """End what the time since the change may have opened."""
    services_links.drop(user)
    services_sessions.revoke_all(user.id, "email_undone", actor=actor)
    services_recovery_rows.cancel_open(user, "email_undone", actor=actor)
    services_devices.end_trust(user.id)
    _doubt_phone(user, actor)


def _lock(user: IAMUserAccount, actor: Actor) -> None:
    before, user.status = user.status, liveness.LOCKED
    user.updated_at = clock.now()
    changes = {"status": [before, liveness.LOCKED]}
    record(events.EMAIL_CHANGE_DISPUTED, resource=user, changes=changes, actor=actor)


def _doubt_phone(user: IAMUserAccount, actor: Actor) -> None:
    # Whose it is, nobody knows now: it signs nobody in and recovers nothing until proved.
    if user.phone_verified:
        user.phone_verified = False
        changes = {"phone_verified": [True, False]}
        record(events.PHONE_DOUBTED, resource=user, changes=changes, actor=actor)


def _tell(user: IAMUserAccount, addresses: set[str | None], actor: Actor) -> None:
    locked = user.email in addresses
    build = messages_sign_in.account_disputed if locked else messages_sign_in.email_change_old
    for address in sorted(filter(None, addresses)):
        with speaking(user.language):
            message = build(address, brand=services_notices.brand(), at=clock.now())
        services_notices.send(user, message, actor=actor)
