"""Networks as they are written in allow-lists, and whether an address lies in one (RFC 4632,
RFC 4291).

Strict: host bits, an IPv4 network dressed as IPv6 and an empty list are mistakes, not lists.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
MOST = 100


def parse_networks(written: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of an allow-list. Raises ValueError with a sentence."""
    found = tuple(_parse(text) for text in written)
    if not found:
        raise ValueError("an empty list of networks admits nobody; leave the setting out")
    if len(found) > MOST:
        raise ValueError(f"more than {MOST} networks")
    return found


def admits(networks: Iterable[Network], ip: str | None) -> bool:
    """Return whether an address lies in one of the networks; an unreadable one lies in none."""
    try:
        address = ipaddress.ip_address((ip or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # how a dual-stack socket tells an IPv4 peer
    return any(address.version == item.version and address in item for item in networks)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Network:
    if "%" in text:
        raise ValueError("a network is written like 192.0.2.0/24 or 2001:db8::/32")
    try:
        network = ipaddress.ip_network(text.strip(), strict=True)
    except ValueError:
        raise ValueError(
            f"{text!r} is no network; write it like 192.0.2.0/24 or 2001:db8::/32"
        ) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError(f"{text!r}: write IPv4 networks as IPv4")
    return network
