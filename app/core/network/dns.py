"""The second door out: TXT records, asked of the configured name servers or the system's.

Owns the deadline, the size of an answer and the retry over TCP where one does not fit into a
datagram (RFC 7766). "There is no such record" is an answer; everything else that goes wrong is
`DnsFailed`, because a server that stutters must not look like a record that was taken away.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

import dns.exception
import dns.nameserver
import dns.resolver

from ..errors import UpstreamFailed
from ..i18n import N_

SECONDS: Final = 5.0
_SECONDS_EACH: Final = 2.0
_PORT: Final = 53
# RFC 9715, 3: a datagram of this size passes every path in one piece; larger answers take TCP.
_DATAGRAM: Final = 1232
_MOST_RECORDS: Final = 64
_LONGEST_RECORD: Final = 2048


class DnsFailed(UpstreamFailed):
    """No name server gave an answer that could be used (502)."""

    code = "upstream.dns"
    title = N_("The name servers did not answer. Please try again in a few minutes.")


def txt(name: str, *, servers: Sequence[str] = (), seconds: float = SECONDS) -> list[str]:
    """Return the TXT records of `name`; none where the name or the record does not exist.

    The strings of a record are joined (RFC 7208, 3.3). `servers` are addresses with or without
    a port; without any, the system's resolvers are asked. Raises DnsFailed.
    """
    try:
        answer = _resolver(servers).resolve(
            name, "TXT", search=False, raise_on_no_answer=False, lifetime=seconds
        )
    except dns.resolver.NXDOMAIN:
        return []
    except (dns.exception.DNSException, OSError) as error:
        raise DnsFailed from error
    records = [b"".join(item.strings) for item in list(answer.rrset or ())[:_MOST_RECORDS]]
    return [item.decode("ascii", "replace") for item in records if len(item) <= _LONGEST_RECORD]


def server(text: str) -> tuple[str, int]:
    """Return address and port of `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53`.

    Raises ValueError.
    """
    host, port = text, str(_PORT)
    if text.startswith("["):
        host, found, rest = text[1:].partition("]")
        if not found or (rest and not rest.startswith(":")):
            raise ValueError("must be an IP address, with or without a port")
        port = rest[1:] or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("the port of a name server must be a number up to 65535")
    return str(ipaddress.ip_address(host)), int(port)


def _resolver(servers: Sequence[str]) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=not servers)
    if servers:
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(address, port) for address, port in map(server, servers)
        ]
    resolver.timeout = _SECONDS_EACH
    resolver.use_edns(0, 0, _DATAGRAM)
    return resolver
