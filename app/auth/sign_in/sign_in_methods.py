"""The ways in beside the password, as the login page offers them."""

from __future__ import annotations

from flask import url_for
from sqlalchemy.exc import SQLAlchemyError

from ...core.i18n import _
from ...notify.messages import SMS
from . import services_sign_in_requests
from .services_sign_in_requests import Offer


def offered(next_url: str | None) -> list[dict[str, str]]:
    """Return label, address and icon of each way that this tenant switches on."""
    return [
        {
            "label": _label(offer),
            "url": url_for("iam_auth.sign_in_link", channel=offer.channel, next=next_url or None),
            "icon": "sms" if offer.channel == SMS else "mail",
        }
        for offer in _offers()
    ]


def _offers() -> list[Offer]:
    try:
        return services_sign_in_requests.offers()
    except SQLAlchemyError:
        return []  # the page renders while there is no database, and is sent when there is one


def _label(offer: Offer) -> str:
    if offer.channel == SMS:
        return _("Text me a code")
    if not offer.link:
        return _("E-mail me a sign-in code")
    return _("E-mail me a sign-in link or code") if offer.code else _("E-mail me a sign-in link")
