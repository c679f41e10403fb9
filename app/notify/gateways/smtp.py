"""Mail by SMTP (RFC 5321) with STARTTLS (RFC 3207) or TLS from the start (RFC 8314).

Certificates are always verified. Where the settings ask for STARTTLS and the
server does not offer it, nothing is sent: no silent fall-back to clear text.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from typing import Any, ClassVar

from ...core import clock
from ...core.ids import new_id
from ..errors import DeliveryFailed
from ..messages import EMAIL, Message
from ..settings import NotifySettings

_PERMANENT_FROM = 500


class SmtpGateway:
    """One connection per message: the volume is small and a stale one cannot surprise."""

    name: ClassVar[str] = "smtp"
    channels: ClassVar[frozenset[str]] = frozenset({EMAIL})
    required: ClassVar[tuple[str, ...]] = ("MAIL_SERVER", "MAIL_FROM")

    def __init__(self, settings: NotifySettings) -> None:
        self._settings = settings
        self._sender_name, self._sender = parseaddr(settings.MAIL_FROM)
        self._domain = self._sender.rpartition("@")[2] or "localhost"

    def send(self, message: Message) -> str:
        """Deliver one mail and return its Message-ID. Raises DeliveryFailed."""
        mail = self._compose(message)
        try:
            with self._connect() as server:
                self._secure_and_login(server)
                server.send_message(mail, self._sender, [message.recipient])
        except smtplib.SMTPException as error:
            raise _failed(error) from None
        except ssl.SSLCertVerificationError:
            raise DeliveryFailed("smtp: certificate not trusted", temporary=True) from None
        except OSError as error:
            raise DeliveryFailed(f"smtp: {type(error).__name__}", temporary=True) from None
        except (ValueError, UnicodeError):
            raise DeliveryFailed("smtp: address not usable", temporary=False) from None
        return str(mail["Message-ID"])

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        # The name given in EHLO: without one smtplib asks the resolver, which may hang.
        common: dict[str, Any] = {
            "host": settings.MAIL_SERVER,
            "port": settings.MAIL_PORT,
            "local_hostname": self._domain,
            "timeout": settings.MAIL_TIMEOUT_SECONDS,
        }
        if settings.MAIL_USE_SSL:
            return smtplib.SMTP_SSL(**common, context=ssl.create_default_context())
        return smtplib.SMTP(**common)

    def _secure_and_login(self, server: smtplib.SMTP) -> None:
        settings = self._settings
        if settings.MAIL_USE_TLS and not settings.MAIL_USE_SSL:
            server.starttls(context=ssl.create_default_context())
        if settings.MAIL_USERNAME:
            server.login(settings.MAIL_USERNAME, settings.MAIL_PASSWORD)

    def _compose(self, message: Message) -> EmailMessage:
        mail = EmailMessage(policy=SMTP_POLICY)
        try:
            mail["From"] = Address(self._sender_name, addr_spec=self._sender)
            mail["To"] = message.recipient
            mail["Subject"] = message.subject
        except (ValueError, IndexError):
            raise DeliveryFailed("smtp: header not usable", temporary=False) from None
        mail["Date"] = format_datetime(clock.now())
        # The outbox row names the mail, so that a repeated delivery can be recognised.
        mail["Message-ID"] = f"<{message.reference or new_id()}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        mail["X-Auto-Response-Suppress"] = "All"
        mail.set_content(message.body_text)
        if message.body_html is not None:
            mail.add_alternative(message.body_html, subtype="html")
        return mail


def _failed(error: smtplib.SMTPException) -> DeliveryFailed:
    """Name the failure by its kind and reply code; the server's text may echo anything."""
    code = _reply_code(error)
    permanent = code >= _PERMANENT_FROM or isinstance(error, smtplib.SMTPNotSupportedError)
    label = type(error).__name__.removeprefix("SMTP")
    return DeliveryFailed(f"smtp: {label} {code or ''}".strip(), temporary=not permanent)


def _reply_code(error: smtplib.SMTPException) -> int:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        refused: Mapping[str, tuple[int, bytes]] = error.recipients
        return max((reply[0] for reply in refused.values()), default=0)
    code = getattr(error, "smtp_code", 0)
    return code if isinstance(code, int) else 0
