"""The way back to a former e-mail address, for whoever still reads mail there (B6, AT-103).

Each change leaves the former, proved address a link that works once. It outlives later
changes: of a thief's two, the owner's link is the older and wins. Using one takes from
the account what the time since then may have planted (AT-211 to AT-213).
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core import clock, hashing, rng
from ...core.actor import Actor
from ...core.db import end_read, session, transaction
from ...core.i18n import speaking
from ...notify import messages_sign_in
from ...risk import services_devices, services_limits
from ...risk.services_limits import Bucket
from ..errors import LinkInvalid
from ..liveness import may_set_password
from ..mfa import services_factors, services_mfa_changes, services_recovery_codes
from ..models import IAMActionToken, IAMRecoveryCode, IAMUserAccount
from ..passwords import services_links, services_reset
from ..passwords.services_links import EMAIL_UNDO
from ..recovery import services_recovery_rows
from ..sessions import services_sessions
from ..sign_in import services_codes
from ..sign_in.settings_sign_in import SignInSettings
from ..web.links import public_url
from . import services_accounts, services_notices
from .errors_accounts import IdentityTaken
from .services_directory import get_user


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


def redeem(token: str, *, actor: Actor) -> bool:
    """Put a former address back, once; sign everybody out, and mail a link to set a password.

    The password in use stops working: who changed the address may know it. Returns False
    for an account without one, to which no link goes. Owns its transactions.

    Raises LinkInvalid, TooManyAttempts; IdentityTaken where the address is another
    account's by now.
    """
    services_limits.charge_all([Bucket("link", services_limits.network_of(actor.ip))])
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
        _put_back(user, address_of(row), actor)
        _clear_out(user, row, actor)
        if lost and lost != user.email:
            _tell(user, lost, actor)
        if user.password_hash is None:
            return False
        user.password_hash = unknown
        services_reset.send_reset_link(user, actor=actor)
    return True


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


def _clear_out(user: IAMUserAccount, row: IAMActionToken, actor: Actor) -> None:
    """Take away what the time since the change may have planted."""
    services_links.drop(user)
    newer = delete(IAMActionToken).where(
        IAMActionToken.user_id == user.id,
        IAMActionToken.purpose == EMAIL_UNDO,
        IAMActionToken.id != row.id,
        IAMActionToken.created_at >= row.created_at,
    )
    session().execute(newer.execution_options(synchronize_session=False))
    services_sessions.revoke_all(user.id, "email_undone", actor=actor)
    services_recovery_rows.cancel_open(user, "email_undone", actor=actor)
    for factor in services_factors.active_methods(user):
        if factor.confirmed_at is not None and factor.confirmed_at >= row.created_at:
            services_mfa_changes.remove(user, factor.id, policy="off", actor=actor)
    codes = delete(IAMRecoveryCode).where(
        IAMRecoveryCode.user_id == user.id, IAMRecoveryCode.created_at >= row.created_at
    )
    session().execute(codes.execution_options(synchronize_session=False))
    services_devices.end_trust(user.id)
    _doubt_phone(user, actor)


def _doubt_phone(user: IAMUserAccount, actor: Actor) -> None:
    # Whose it is, nobody knows now: it signs nobody in and recovers nothing until proved.
    if user.phone_verified:
        user.phone_verified = False
        changes = {"phone_verified": [True, False]}
        record(events.PHONE_DOUBTED, resource=user, changes=changes, actor=actor)


def _tell(user: IAMUserAccount, lost: str, actor: Actor) -> None:
    with speaking(user.language):
        message = messages_sign_in.email_change_old(
            lost, brand=services_notices.brand(), at=clock.now()
        )
    services_notices.send(user, message, actor=actor)
