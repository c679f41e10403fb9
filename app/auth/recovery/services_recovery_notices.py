"""What a person is told of a recovery, on every channel that is confirmed (I1).

Confirmed ones only: the links stop a request, or go on with it. Queued in the caller's
transaction, so a request never moves on without its notices (NIST SP 800-63B-4 4.2).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from uuid import UUID

from ...core import clock
from ...core.actor import Actor
from ...core.crypto import keyring, token_digest
from ...core.errors import InvalidInput, TooManyAttempts
from ...core.i18n import speaking
from ...notify import messages_recovery as texts
from ...notify.messages import Message
from ...notify.settings import NotifySettings
from ..accounts.services_notices import brand, send
from ..models import IAMRecoveryRequest, IAMUserAccount
from ..web.links import public_url

_LABEL = "recovery-cancel"


def mail_of(user: IAMUserAccount) -> str | None:
    """Return the person's confirmed address."""
    return user.email if user.email_verified else None


def phone_of(user: IAMUserAccount) -> str | None:
    """Return the person's confirmed number, where text messages are sent at all."""
    if NotifySettings.current().SMS_PROVIDER == "none":
        return None
    return user.phone_number if user.phone_verified else None


def opened(user: IAMUserAccount, row: IAMRecoveryRequest, *, by_admin: bool, actor: Actor) -> None:
    """Tell that a recovery was asked for, and how to stop it. Raises what `waiting` raises."""
    at, who, cancel = clock.now(), brand(), _cancel_link(row)
    _tell(
        user,
        lambda to: texts.opened(to, brand=who, at=at, cancel=cancel, by_admin=by_admin),
        lambda to: texts.text_opened(to, brand=who, cancel=cancel),
        needed=True,
        actor=actor,
    )


def waiting(user: IAMUserAccount, row: IAMRecoveryRequest, token: str, *, actor: Actor) -> None:
    """Send the personal link, and tell every channel how to stop the request.

    The link goes by mail, by text message to somebody without a confirmed address. Raises
    TooManyAttempts where a cap of the tenant, the country or the block of numbers forbids a
    text message now; the cap of one number does not: whoever used that up must not silence
    the notice (AT-085). InvalidInput where that leaves no channel.
    """
    who, cancel, since = brand(), _cancel_link(row), row.available_at or clock.now()
    link = public_url("iam_recovery.proceed", token=token)
    own = None if mail_of(user) else link
    _tell(
        user,
        lambda to: texts.waiting(
            to, brand=who, since=since, until=row.expires_at, proceed=link, cancel=cancel
        ),
        lambda to: texts.text_waiting(to, brand=who, since=since, cancel=cancel, proceed=own),
        needed=True,
        actor=actor,
    )


def refused(user: IAMUserAccount, *, actor: Actor) -> None:
    """Tell that an administrator refused."""
    at, who = clock.now(), brand()
    _tell(
        user,
        lambda to: texts.refused(to, brand=who, at=at),
        lambda to: texts.text_refused(to, brand=who),
        actor=actor,
    )


def cancelled(user: IAMUserAccount, *, actor: Actor) -> None:
    """Tell that the request was stopped."""
    at, who, link = clock.now(), brand(), public_url("iam_auth.password_forgot")
    _tell(
        user,
        lambda to: texts.cancelled(to, brand=who, at=at, link=link),
        lambda to: texts.text_cancelled(to, brand=who),
        actor=actor,
    )


def completed(user: IAMUserAccount, removed: Sequence[str], *, actor: Actor) -> None:
    """Tell that the account was recovered, and list what was removed.

    Raises what `waiting` raises.
    """
    at, who, link = clock.now(), brand(), public_url("iam_auth.password_forgot")
    _tell(
        user,
        lambda to: texts.completed(to, removed=removed, brand=who, at=at, link=link),
        lambda to: texts.text_completed(to, brand=who),
        needed=True,
        actor=actor,
    )


def cancel_token(request_id: UUID) -> str:
    """Return the secret of the link that stops a request.

    Derived, not drawn: every notice of a request carries the same link, so that a later
    one does not kill it. Only its digest is stored.
    """
    secret = keyring().signed_digest(str(request_id), _LABEL)
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def _cancel_link(row: IAMRecoveryRequest) -> str:
    token = cancel_token(row.id)
    row.cancel_digest = token_digest(token)
    return public_url("iam_recovery.cancel", token=token)


def _tell(
    user: IAMUserAccount,
    mail: Callable[[str], Message],
    text: Callable[[str], Message],
    *,
    needed: bool = False,
    actor: Actor,
) -> None:
    address, number = mail_of(user), phone_of(user)
    with speaking(user.language):
        if address:
            send(user, mail(address), actor=actor)
        if number:
            try:
                # As many as requests are: three a day, or what an administrator opens.
                send(user, text(number), bounded=needed, actor=actor)
            except TooManyAttempts:
                if needed:
                    raise
            except InvalidInput:  # a number that may not be written to is no channel
                if needed and not address:
                    raise
