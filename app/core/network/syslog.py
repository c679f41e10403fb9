"""The door to the system log: one message by RFC 5424, over UDP or a Unix socket.

Owns form, addresses and the one attempt. Refuses to own what is said and whether to try
again. Datagrams get no answer: that one was sent is all that can be known.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from ..errors import UpstreamFailed

LOG_AUDIT: Final = 13
CRITICAL: Final = 2
NOTICE: Final = 5
_TIMEOUT = 2.0
_PORT = 514
# RFC 5426, 3.2: what every receiver must take without cutting it.
_MAX_BYTES = 2048
_NAME = re.compile(r"[!-~]{1,48}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Line:
    """What is said: `kind` is the MSGID, `text` free text without line breaks."""

    kind: str
    text: str
    at: datetime
    severity: int = NOTICE
    facility: int = LOG_AUDIT


def address(target: str) -> str | tuple[str, int]:
    """Return where `udp://host:port` or `unix:///path` leads. Raises ValueError for others."""
    parts = urlsplit(target)
    if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
        return parts.path
    if parts.scheme != "udp" or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("must be udp://host:port or unix:///path")
    return parts.hostname, parts.port or _PORT


def send(target: str, line: Line, *, app_name: str = "iam") -> None:
    """Send one line. Raises UpstreamFailed where nobody could take it."""
    where, data = address(target), encode(line, app_name)
    try:
        _send(where, data)
    except OSError:
        raise UpstreamFailed(code="upstream.unreachable") from None


def encode(line: Line, app_name: str = "iam") -> bytes:
    """Return a line as RFC 5424, 6 writes it; longer ones are cut."""
    if not (_NAME.fullmatch(app_name) and _NAME.fullmatch(line.kind)):
        raise ValueError("names in a system log are printable ASCII without spaces")
    host = socket.gethostname().encode("ascii", "replace").decode()[:255] or "-"
    head = (
        f"<{line.facility * 8 + line.severity}>1 {line.at:%Y-%m-%dT%H:%M:%S.%fZ} "
        f"{host} {app_name} {os.getpid()} {line.kind[:32]} - "
    )
    # The mark before the text says that it is UTF-8 (RFC 5424, 6.4).
    data = head.encode() + b"\xef\xbb\xbf" + _CONTROL.sub(" ", line.text).encode()
    return data[:_MAX_BYTES].decode("utf-8", "ignore").encode()


def _send(where: str | tuple[str, int], data: bytes) -> None:
    if isinstance(where, str):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_TIMEOUT)
            sender.sendto(data, where)
        return
    host, port = where
    family, kind, protocol, _name, found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as sender:
        sender.settimeout(_TIMEOUT)
        sender.sendto(data, found)
