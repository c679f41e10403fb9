"""Messages that tell a person about their own account. Queued in the caller's transaction.

A notice goes to the stored, delivered-to address only, never to one just typed,
and carries no secret. An account without an address gets none. Its words are in the
recipient's language (`speaking`), whoever caused it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ...core.actor import Actor
from ...core.i18n import _, speaking
from ...notify import messages, messages_devices, services_outbox
from ...notify.messages import Message
from ...risk import services_devices
from ...tenancy.services_settings import effective
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMUserAccount
from ..settings import AuthSettings
from ..web.links import public_host, public_url


def new_device(user: IAMUserAccount, *, at: datetime, actor: Actor) -> None:
    """Tell about a sign-in from a browser not seen before (J3)."""
    _about_device(user, messages_devices.new_device, at, actor)


def device_cookie_reused(user: IAMUserAccount, *, at: datetime, actor: Actor) -> None:
    """Tell that an old copy of a known browser's cookie came back (J3)."""
    _about_device(user, messages_devices.device_cookie_reused, at, actor)


def password_changed(user: IAMUserAccount, *, at: datetime, actor: Actor) -> None:
    """Tell that the password was changed."""
    if user.email:
        link = public_url("iam_auth.password_forgot")
        with speaking(user.language):
            message = messages.password_changed(user.email, brand=brand(), at=at, link=link)
        send(user, message, actor=actor)


def recovery_code_used(user: IAMUserAccount, *, remaining: int, at: datetime, actor: Actor) -> None:
    """Tell that a recovery code was used, so that a thief's sign-in is noticed."""
    if user.email:
        link = public_url("iam_account.security")
        with speaking(user.language):
            message = messages.recovery_code_used(
                user.email, remaining=remaining, brand=brand(), at=at, link=link
            )
        send(user, message, actor=actor)


def clone_suspected(user: IAMUserAccount, *, name: str, at: datetime, actor: Actor) -> None:
    """Tell that a security key may have been copied (AT-255)."""
    if user.email:
        link = public_url("iam_account.security")
        with speaking(user.language):
            message = messages.key_clone_suspected(
                user.email, key=name, brand=brand(), at=at, link=link
            )
        send(user, message, actor=actor)


def one_time_code(
    user: IAMUserAccount,
    channel: str,
    destination: str,
    *,
    code: str,
    purpose: str,
    minutes: int | None = None,
) -> Message:
    """Return a code in the person's language; `purpose` is that of `messages.otp_code`."""
    with speaking(user.language):
        return messages.otp_code(
            channel,
            destination,
            code=code,
            minutes=minutes or MfaSettings.current().MFA_CODE_MINUTES,
            brand=brand(),
            purpose=purpose,
            host=public_host(),
        )


def send(user: IAMUserAccount, message: Message, *, bounded: bool = False, actor: Actor) -> None:
    """Queue a message to the person; `bounded` is that of `check_send_caps`."""
    services_outbox.enqueue(message, user_id=user.id, bounded=bounded, actor=actor)


def brand() -> str:
    """Return the name under which messages are sent."""
    return effective(AuthSettings).IAM_BRAND_NAME


def _about_device(
    user: IAMUserAccount, build: Callable[..., Message], at: datetime, actor: Actor
) -> None:
    browser, system, _kind = services_devices.describe(actor.user_agent)
    if user.email:
        link = public_url("iam_account.devices")
        with speaking(user.language):
            device = f"{_(browser)}, {_(system)}"
            message = build(user.email, brand=brand(), device=device, ip=actor.ip, at=at, link=link)
        send(user, message, actor=actor)
