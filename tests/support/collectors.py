"""Local servers that take what the service tells machines: signed webhooks, system log lines."""

from __future__ import annotations

import json
import socket
from typing import Any, Self

from app.core.network.webhook import signature
from tests.support.loopback import Answer, LoopbackServer, Request

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0LXN1aXRlLTAxMjM0NTY="


class WebhookServer(LoopbackServer):
    """Receives webhooks as Standard Webhooks 1.0 says; a wrong signature is refused."""

    @property
    def address(self) -> str:
        """Return the address that takes webhooks."""
        return f"{self.url}/hook"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Return what was received, oldest first."""
        return [json.loads(request.body) for name, request in self.seen if name == "hook"]

    def endpoint(self, request: Request) -> str | None:
        """Name the one address."""
        return "hook" if request.path == "/hook" and request.method == "POST" else None

    def honest(self, endpoint: str, request: Request) -> Answer:
        """Check the signature over id, time and body."""
        headers = request.headers
        made = signature(SECRET, headers["webhook-id"], headers["webhook-timestamp"], request.body)
        right = headers["webhook-signature"].split() == [f"v1,{made}"]
        return Answer(204 if right else 401)


class SyslogServer:
    """Receives datagrams on a free loopback port; a context manager."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(5)
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    @property
    def target(self) -> str:
        """Return the address as the settings write it."""
        return f"udp://127.0.0.1:{self._socket.getsockname()[1]}"

    def line(self) -> str:
        """Return the next datagram."""
        return self._socket.recv(4096).decode()
