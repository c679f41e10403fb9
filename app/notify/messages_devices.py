"""Messages about the browsers a person signs in from (J3)."""

from __future__ import annotations

from datetime import datetime

from ..core.i18n import _
from .addresses import header_safe
from .messages import Message, notice, plain_label


def new_device(
    recipient: str,
    *,
    device: str,
    ip: str | None,
    at: datetime,
    brand: str,
    link: str | None = None,
) -> Message:
    """Return the notice of a sign-in from a browser not seen before."""
    return notice(
        "new_device", recipient, brand=brand, at=at, link=link,
        heading=_("New sign-in to your account"),
        text=_("Your account was used from a device that we have not seen before."),
        facts=_facts(device, ip),
    )  # fmt: skip


def device_cookie_reused(
    recipient: str,
    *,
    device: str,
    ip: str | None,
    at: datetime,
    brand: str,
    link: str | None = None,
) -> Message:
    """Return the notice that an old copy of a known browser's cookie came back."""
    return notice(
        "device_cookie_reused", recipient, brand=brand, at=at, link=link,
        heading=_("One of your devices may have been copied"),
        text=_("Somebody began to sign in to your account with an old copy of the cookie by which "
               "we recognise one of your devices. It may have been copied, or an earlier state of "
               "that browser was restored. The device is no longer known or trusted: it has to "
               "prove itself again."),
        facts=_facts(device, ip),
    )  # fmt: skip


def _facts(device: str, ip: str | None) -> list[tuple[str, str]]:
    return [
        (_("Device"), plain_label(device, _("a device"))),
        (_("Address"), header_safe(ip, "ip") if ip else _("unknown")),
    ]
