"""Where a person may be sent: a path on this site, nothing else (ATTACKS group G).

Browsers read URLs more leniently than any parser, so the rule is a strict
allow-list of characters, before and after decoding, instead of a search for bad ones.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9\-._~!$&'()*+,;=:@/?% \"<>^`{|}\[\]#]*\Z")
_WRITTEN = re.compile(r"/(?![/\\])[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*\Z")
_LONGEST = 1000
_DECODINGS = 3


def safe_next(url: str | None) -> str | None:
    """Return `url` where it is a plain ASCII path on this site, else None."""
    if not url or len(url) > _LONGEST or not _WRITTEN.match(url):
        return None
    if "//" in url.partition("?")[0]:
        return None
    decoded = url
    for _ in range(_DECODINGS):
        decoded = unquote(decoded)
        if not _PATH.match(decoded) or "//" in decoded.partition("?")[0]:
            return None
    return url
