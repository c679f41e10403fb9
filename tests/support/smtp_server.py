"""A real SMTP server (aiosmtpd) with STARTTLS, TLS, login and ways to fail.

`mode` may be changed while it runs: ok, temporary (451), permanent (550) or hang.
"""

from __future__ import annotations

import asyncio
import email.policy
import socket
import ssl
from email.message import EmailMessage
from email.parser import BytesParser
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

HOST = "127.0.0.1"


class SmtpServer:
    """Listens on a free local port from `with` to the end of the block."""

    def __init__(
        self,
        *,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        mode: str = "ok",
    ) -> None:
        self.mode = mode
        self.login = login
        self.messages: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.host, self.port = HOST, _free_port()
        options: dict[str, Any] = {}
        if starttls is not None:
            options |= {"tls_context": starttls, "require_starttls": True}
        if login is not None:
            # Over TLS from the first byte the library does not see that it is encrypted.
            seen = starttls is not None
            options |= {"auth_required": seen, "auth_require_tls": seen}
            options["authenticator"] = self._authenticate
        self._controller = Controller(
            self, hostname=self.host, port=self.port, ssl_context=tls, **options
        )
        self._implicit = tls is not None

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._controller.stop()

    def last(self) -> EmailMessage:
        """Return the newest mail."""
        return self.messages[-1]

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer RCPT TO as `mode` says."""
        if self.mode == "hang":
            await asyncio.sleep(30)
        if self.mode == "temporary":
            return f"451 4.3.0 try again later, {address}"
        if self.mode == "permanent":
            return f"550 5.1.1 no such person: {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the mail."""
        parser = BytesParser(_class=EmailMessage, policy=email.policy.default)
        self.messages.append(parser.parsebytes(envelope.content or b""))  # type: ignore[arg-type]
        self.envelopes.append(envelope)
        self.encrypted.append(self._implicit or session.ssl is not None)
        return "250 OK"

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        user, password = self.login or ("", "")
        expected = LoginPassword(user.encode(), password.encode())
        return AuthResult(success=data == expected, handled=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
