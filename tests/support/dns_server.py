"""A real small DNS server on loopback: TXT records over UDP and TCP, and ways to fail.

`records` maps a name to its texts. `mode` may be changed while it runs: ok, servfail, refused,
silent, slow (a late answer), broken (bytes that are no message) or other (an answer to another
question). What does not fit into a datagram is truncated there and whole over TCP (RFC 7766).
"""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from types import TracebackType
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

HOST = "127.0.0.1"
CODES = {"servfail": dns.rcode.SERVFAIL, "refused": dns.rcode.REFUSED}


class DnsServer:
    """Listens on a free local port, the same one for UDP and TCP, from `with` to its end."""

    def __init__(self, records: dict[str, list[str]] | None = None, *, mode: str = "ok") -> None:
        self.records = dict(records or {})
        self.empty: set[str] = set()
        self.mode = mode
        self.seconds = 0.4
        self.asked: list[tuple[str, str]] = []
        self._udp, self._tcp = self._listen()

    @property
    def address(self) -> str:
        """Return address and port, as the setting wants them."""
        return f"{HOST}:{self._udp.server_address[1]}"

    def __enter__(self) -> Self:
        for server in (self._udp, self._tcp):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()

    def answer(self, wire: bytes, transport: str) -> bytes | None:
        """Return the bytes of an answer, or None for silence."""
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        self.asked.append((name, transport))
        if self.mode == "silent":
            return None
        if self.mode == "slow":
            time.sleep(self.seconds)
        if self.mode == "broken":
            return wire[:2] + b"\x80\x00nonsense"
        response = dns.message.make_response(query, recursion_available=True)
        if self.mode in CODES:
            response.set_rcode(CODES[self.mode])
            return response.to_wire()
        self._fill(response, name)
        if self.mode == "other":
            response.question[0].name = dns.name.from_text("other.example")
        if transport == "tcp":
            return response.to_wire(max_size=65535)
        return self._datagram(response, query.payload or 512)

    def _fill(self, response: dns.message.Message, name: str) -> None:
        texts = self.records.get(name)
        if texts is None:
            if name not in self.empty:
                response.set_rcode(dns.rcode.NXDOMAIN)
            return
        owner = response.question[0].name
        values = [" ".join(_quoted(text)) for text in texts]
        response.answer.append(dns.rrset.from_text_list(owner, 60, "IN", "TXT", values))

    @staticmethod
    def _datagram(response: dns.message.Message, most: int) -> bytes:
        wire = response.to_wire(max_size=65535)
        if len(wire) <= most:
            return wire
        response.flags |= dns.flags.TC
        response.answer.clear()
        return response.to_wire()

    def _listen(self) -> tuple[Any, Any]:
        for _try in range(20):
            udp = _Udp((HOST, 0), _UdpHandler)
            try:
                tcp = _Tcp((HOST, udp.server_address[1]), _TcpHandler)
            except OSError:  # somebody has that port for TCP
                udp.server_close()
                continue
            udp.dns = tcp.dns = self
            return udp, tcp
        raise OSError("no free port for both transports")


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    dns: DnsServer


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    dns: DnsServer


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire, socket = self.request
        answer = self.server.dns.answer(wire, "udp")  # type: ignore[attr-defined]
        if answer is not None:
            socket.sendto(answer, self.client_address)


class _TcpHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = self.rfile.read(2)
        if len(length) < 2:
            return
        wire = self.rfile.read(struct.unpack("!H", length)[0])
        answer = self.server.dns.answer(wire, "tcp")  # type: ignore[attr-defined]
        if answer is not None:
            self.wfile.write(struct.pack("!H", len(answer)) + answer)


def _quoted(text: str) -> list[str]:
    # A TXT record is strings of up to 255 octets.
    parts = [text[start : start + 255] for start in range(0, len(text), 255)] or [""]
    return ['"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts]
