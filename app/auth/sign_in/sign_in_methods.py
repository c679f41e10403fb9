"""The ways in beside the password, as the login page offers them."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import url_for
from sqlalchemy.exc import SQLAlchemyError

from ...core.i18n import _
from ...notify.messages import SMS
from .. import services_webauthn
from ..sso import services_connections
from . import services_sign_in_requests
from .services_sign_in_requests import Offer


@dataclass(frozen=True, slots=True)
class Ways:
    """Label, address and icon of links and codes; label and address of each connection.

    `discovers` tells whether an e-mail address can lead to a connection as well, `passkeys`
    whether passkeys are used here.
    """

    sent: list[dict[str, str]] = field(default_factory=list)
    connections: list[dict[str, str]] = field(default_factory=list)
    discovers: bool = False
    passkeys: bool = False


def offered(next_url: str | None) -> Ways:
    """Return the ways that this tenant switches on."""
    try:
        links = services_sign_in_requests.offers()
        connections = services_connections.offered()
        passkeys = services_webauthn.is_offered()
        discovers = bool(connections) and services_connections.has_domains()
    except SQLAlchemyError:
        return Ways()  # the page renders while there is no database, and is sent when there is one
    return Ways(
        [_sent(offer, next_url) for offer in links],
        [_connection(offer, next_url) for offer in connections],
        discovers,
        passkeys,
    )


def _sent(offer: Offer, next_url: str | None) -> dict[str, str]:
    return {
        "label": _label(offer),
        "url": url_for("iam_auth.sign_in_link", channel=offer.channel, next=next_url or None),
        "icon": "sms" if offer.channel == SMS else "mail",
    }


def _connection(offer: services_connections.Offer, next_url: str | None) -> dict[str, str]:
    return {
        "label": _("Continue with %(name)s", name=offer.name),
        "url": url_for("iam_auth.sso_login", provider=offer.slug, next=next_url or None),
    }


def _label(offer: Offer) -> str:
    if offer.channel == SMS:
        return _("Text me a code")
    if not offer.link:
        return _("E-mail me a sign-in code")
    return _("E-mail me a sign-in link or code") if offer.code else _("E-mail me a sign-in link")
