"""Gateways: how a message leaves. One class in one file each, and a line in `BUILT_IN`.

A further gateway comes as an entry point of the group `iam.gateways` that names
its class. A gateway tries once, within a bounded time, and raises DeliveryFailed;
retrying, expiry and fallback are the outbox's and its callers' business.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import entry_points
from typing import ClassVar, Protocol

from flask import current_app

from ...core.errors import Misconfigured
from ...core.registry import Registry
from ..messages import EMAIL, SMS, WHATSAPP, Message
from ..settings import NotifySettings
from .console import ConsoleGateway
from .disabled import DisabledGateway
from .smtp import SmtpGateway
from .syslog import SyslogGateway
from .twilio import TwilioGateway
from .vonage import VonageGateway
from .webhook import WebhookGateway
from .whatsapp import CloudApiGateway

_EXTENSION = "iam_gateways"
ENTRY_POINTS = "iam.gateways"


class Gateway(Protocol):
    """Sends one message. `required` names the settings without which it cannot work."""

    name: ClassVar[str]
    channels: ClassVar[frozenset[str]]
    required: ClassVar[tuple[str, ...]]

    def __init__(self, settings: NotifySettings) -> None: ...

    def send(self, message: Message) -> str:
        """Deliver and return the provider's id of the message. Raises DeliveryFailed."""
        ...


BUILT_IN: tuple[type[Gateway], ...] = (
    SmtpGateway,
    ConsoleGateway,
    DisabledGateway,
    TwilioGateway,
    VonageGateway,
    CloudApiGateway,
    WebhookGateway,
    SyslogGateway,
)


@cache
def gateways() -> Registry[type[Gateway]]:
    """Return every known gateway class by name."""
    registry: Registry[type[Gateway]] = Registry("gateway")
    for kind in BUILT_IN:
        registry.add(kind)
    for point in entry_points(group=ENTRY_POINTS):
        registry.add(point.load())
    return registry


def provider_of(channel: str, settings: NotifySettings) -> str:
    """Return the name of the gateway that the settings choose for a channel."""
    if channel == EMAIL:
        return settings.MAIL_PROVIDER
    if channel in (SMS, WHATSAPP):
        return settings.SMS_PROVIDER if channel == SMS else settings.WHATSAPP_PROVIDER
    return channel  # a machine's channel has one gateway, of its own name


def gateway_for(channel: str, provider: str | None = None) -> Gateway:
    """Return the app's gateway for a channel. Raises Misconfigured where it has none."""
    settings = NotifySettings.current()
    name = provider or provider_of(channel, settings)
    kind = gateways().get(name)
    if channel not in kind.channels:
        raise Misconfigured(f"gateway {name!r} does not send {channel}")
    # Keyed by process: sockets kept open by an SDK must not be shared across a fork.
    built = current_app.extensions.setdefault(_EXTENSION, {})
    key = (os.getpid(), name)
    if key not in built:
        built[key] = kind(settings)
    gateway: Gateway = built[key]
    return gateway
