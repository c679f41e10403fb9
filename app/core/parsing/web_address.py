"""Addresses of web pages that somebody typed and others will follow or load (AT-150). Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+\Z"
)
_REST = re.compile(r"[A-Za-z0-9/?#._~!$&()*+=:@%-]*\Z")
_LONGEST = 500


def https_address(text: str) -> str:
    """Return an address as it is kept: https, a host by name, no user and no odd character.

    Empty stays empty. Raises ValueError.
    """
    if not text:
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be an address such as https://example.com/page") from None
    host = (parts.hostname or "").lower()
    if (
        len(text) > _LONGEST
        or parts.scheme != "https"
        or parts.netloc.lower() not in {host, f"{host}:{port}"}
    ):
        raise ValueError("must be an address such as https://example.com/page")
    numbered = host.rpartition(".")[2].isdigit()  # an address by number
    if (
        numbered
        or not _HOST.match(host)
        or not _REST.match(text.removeprefix(f"https://{parts.netloc}"))
    ):
        raise ValueError("must be an address such as https://example.com/page")
    return text


def origin_of_address(text: str) -> str:
    """Return the origin of an address that `https_address` let pass, for a content policy."""
    return f"https://{urlsplit(text).netloc.lower()}"
