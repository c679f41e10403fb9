"""Links and codes that sign in: asked for and sent to the verified address or number (C7).

Whoever asks gets the same answer after the same work (AT-011, AT-012). What comes back is
`services_sign_in_links`.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ...audit import events
from ...audit.services_audit import record
from ...core.actor import Actor
from ...core.db import end_read, session, transaction
from ...core.errors import InvalidInput, TooManyAttempts
from ...core.i18n import speaking
from ...notify import messages_sign_in
from ...notify.messages import EMAIL, SMS, Message
from ...notify.services_caps import check_send_caps
from ...risk import services_limits
from ...risk.services_limits import bucket
from ...tenancy.services_settings import effective
from ..accounts import services_notices
from ..accounts.services_directory import find_by_login
from ..identity import mask_identifier
from ..liveness import may_act
from ..mfa import services_factors
from ..models import IAMUserAccount
from ..passwords import services_stand_in
from ..sessions import services_sessions
from ..web.links import public_url
from . import services_codes, services_guesses
from .services_codes import SIGN_IN
from .settings_sign_in import SignInSettings

# Factors that are the same channel: what is sent there cannot be both factors (AT-056).
_SAME_CHANNEL = {EMAIL: {"email_otp"}, SMS: {"sms_otp", "whatsapp_otp"}}


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be sent by a channel in this tenant, and for how long it works."""

    channel: str
    link: bool
    code: bool
    minutes: int


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """Who asks for a link or code, in which browser, and where they want to go."""

    username: str
    offer: Offer
    remember: bool
    next_url: str | None
    browser: bytes


def offers() -> list[Offer]:
    """Return by which channels people may sign in here."""
    own = effective(SignInSettings)
    minutes = own.SIGN_IN_LINK_MINUTES
    found = [
        Offer(EMAIL, own.SIGN_IN_LINK_ENABLED, own.SIGN_IN_CODE_EMAIL_ENABLED, minutes),
        Offer(SMS, False, own.SIGN_IN_CODE_SMS_ENABLED, minutes),
    ]
    return [item for item in found if item.link or item.code]


def request_link(asked: LinkRequest, *, actor: Actor) -> None:
    """Send a link, a code or both where the account may have them; else do as much work.

    Owns its transactions. Raises TooManyAttempts for the network address alone, never for
    the account: that would tell which accounts exist.
    """
    services_limits.charge_address("reset.ip", actor=actor)
    user = find_by_login(asked.username)
    found = user.id if user is not None else None
    end_read()
    allowed = _is_allowed(found, asked.username, actor)
    channel = asked.offer.channel
    with transaction():
        user = find_by_login(asked.username)  # again: the charge let go of the first reading
        stand_in = services_stand_in.account(actor)
        known = may_receive(user or stand_in, channel) and user is not None
        record(
            events.SIGN_IN_LINK_REQUESTED,
            resource=user,
            actor=actor,
            identifier=mask_identifier(asked.username) if user is None else user.username,
            known=known,
            channel=channel,
        )
        wanted = user is not None and known and allowed and user.id == found
        target = user if user is not None and wanted else stand_in
        _send_or_pretend(target if _may_send(target, asked, actor) else stand_in, asked, actor)


def may_receive(user: IAMUserAccount, channel: str) -> bool:
    """Return whether an account may sign in by what is sent to it by a channel."""
    alive = may_act(user.status, services_sessions.tenant_of(user).status)
    enrolled = set(services_factors.mfa_state(user.id).methods)
    if not alive or enrolled & _SAME_CHANNEL[channel]:
        return False
    if channel == EMAIL:
        return bool(user.email) and user.email_verified
    return bool(user.phone_number) and user.phone_verified


def _is_allowed(found: UUID | None, username: str, actor: Actor) -> bool:
    # One count for every alias of an account, and never a word of it.
    key = found or services_guesses.name_key(username)
    mine = bucket("reset.account", key, SIGN_IN, actor=actor, silent=True)
    return services_limits.charge_all([mine]) is None


def _destination(user: IAMUserAccount, channel: str) -> str:
    # Exactly the stored one, never what was typed (AT-095, AT-096).
    return str(user.email if channel == EMAIL else user.phone_number)


def _may_send(user: IAMUserAccount, asked: LinkRequest, actor: Actor) -> bool:
    # Asked before, of everybody: refused in the middle, a real account would do less work.
    channel = asked.offer.channel
    wait = services_codes.seconds_until_resend(user.id, SIGN_IN, asked.browser)
    try:
        check_send_caps(channel, _destination(user, channel), actor)
    except (TooManyAttempts, InvalidInput):
        return False
    return wait == 0


def _send_or_pretend(user: IAMUserAccount, asked: LinkRequest, actor: Actor) -> None:
    if services_stand_in.is_one(user):
        with services_stand_in.thrown_away():
            _send(user, asked, actor)
        return
    try:
        with session().begin_nested():
            _send(user, asked, actor)
    except (TooManyAttempts, InvalidInput):  # a twin of this request was faster
        return


def _send(user: IAMUserAccount, asked: LinkRequest, actor: Actor) -> None:
    offer = asked.offer
    destination = _destination(user, offer.channel)

    def build(code: str, token: str) -> Message:
        if offer.channel == SMS:
            return services_notices.one_time_code(
                user, SMS, destination, code=code, purpose=SIGN_IN, minutes=offer.minutes
            )
        with speaking(user.language):
            return _mail(offer, destination, code, token)

    services_codes.issue(
        user,
        SIGN_IN,
        channel=offer.channel,
        destination=destination,
        build=build,
        minutes=offer.minutes,
        browser=asked.browser,
        payload={"channel": offer.channel, "remember": asked.remember, "next": asked.next_url},
        held=False,
        actor=actor,
    )


def _mail(offer: Offer, destination: str, code: str, token: str) -> Message:
    link = public_url("iam_auth.sign_in_link_use", token=token) if offer.link else None
    return messages_sign_in.sign_in(
        destination,
        link=link,
        code=code if offer.code else None,
        minutes=offer.minutes,
        brand=services_notices.brand(),
    )
