"""Start-up checks of the message settings; errors stop a production start."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

from ..core.checks import Finding
from .gateways import gateways, provider_of
from .messages import CHANNELS, EMAIL
from .settings import NotifySettings

_SECRET_LENGTH = 24
_BASE_URLS = ("TWILIO_API_BASE_URL", "VONAGE_API_BASE_URL", "WHATSAPP_API_BASE_URL")


def check_notify(state: Any) -> Iterator[Finding]:
    """Yield what is wrong with the message settings of a loaded app."""
    settings: NotifySettings = state.settings[NotifySettings]
    yield from _providers(settings)
    yield from _mail(settings)
    yield from _alerts(settings)
    for name in _BASE_URLS:
        value = getattr(settings, name)
        if value and urlsplit(value).scheme != "https":
            yield Finding("iam.E204", f"{name} is not https: codes would travel in clear text")
    if "*" in settings.IAM_SMS_COUNTRIES:
        yield Finding("iam.W206", "IAM_SMS_COUNTRIES is *: any country can run up the bill")
    if settings.IAM_DEMO:
        yield Finding("iam.E207", "IAM_DEMO keeps the text of sent messages")


def _providers(settings: NotifySettings) -> Iterator[Finding]:
    for channel in CHANNELS:
        name = provider_of(channel, settings)
        if name not in gateways():
            known = ", ".join(gateways().names())
            yield Finding("iam.E203", f"no gateway {name!r} for {channel}; known: {known}")
            continue
        kind = gateways().get(name)
        if channel not in kind.channels:
            yield Finding("iam.E203", f"gateway {name!r} does not send {channel}")
        if name == "console":
            yield _console(channel)
        missing = [key for key in kind.required if not getattr(settings, key, None)]
        if missing:
            yield Finding("iam.E202", f"gateway {name!r} needs {', '.join(missing)}")


def _console(channel: str) -> Finding:
    if channel == EMAIL:
        return Finding("iam.E201", "MAIL_PROVIDER is console: no mail would leave")
    setting = f"{channel.upper()}_PROVIDER"
    return Finding("iam.E201", f"{setting} is console: messages would not leave; set `none`")


def _alerts(settings: NotifySettings) -> Iterator[Finding]:
    if settings.AUDIT_NOTIFY_URL and urlsplit(settings.AUDIT_NOTIFY_URL).scheme != "https":
        yield Finding("iam.E209", "AUDIT_NOTIFY_URL is not https")
    if settings.AUDIT_NOTIFY_URL and len(settings.AUDIT_NOTIFY_SECRET) < _SECRET_LENGTH:
        yield Finding(
            "iam.E210", "AUDIT_NOTIFY_SECRET must be 24 characters or more: it signs webhooks"
        )
    told = settings.AUDIT_NOTIFY_EMAILS or settings.AUDIT_NOTIFY_URL or settings.AUDIT_NOTIFY_SYSLOG
    if not told:
        yield Finding("iam.W209", "AUDIT_NOTIFY_EMAILS is empty: nobody is told of critical events")


def _mail(settings: NotifySettings) -> Iterator[Finding]:
    if settings.MAIL_PROVIDER != "smtp":
        return
    encrypted = settings.MAIL_USE_TLS or settings.MAIL_USE_SSL
    if settings.MAIL_USERNAME and not encrypted:
        yield Finding("iam.E205", "MAIL_PASSWORD would be sent without TLS")
    elif not encrypted:
        yield Finding("iam.W205", "mail is sent without TLS: links and codes can be read")
    if settings.MAIL_FROM and "@" not in parseaddr(settings.MAIL_FROM)[1]:
        yield Finding("iam.E208", "MAIL_FROM is not an address")
