"""Slugs: the short names of tenants in host names and paths (AT-392). Pure.

Lower-case ASCII labels of RFC 1035; no double hyphen, so no punycode (RFC 5890).
"""

from __future__ import annotations

import re

RESERVED = frozenset(
    {
        "abuse", "access", "account", "accounts", "admin", "administrator", "api", "app", "assets",
        "auth", "autodiscover", "billing", "blog", "cdn", "console", "dashboard", "default", "demo",
        "dev", "docs", "download", "email", "ftp", "help", "hostmaster", "iam", "id", "identity",
        "imap", "internal", "intranet", "localhost", "login", "logout", "mail", "mfa", "mta-sts",
        "mx", "noreply", "oauth", "oidc", "ops", "platform", "pop", "portal", "postmaster",
        "register", "root", "saml", "scim", "security", "signin", "signup", "smtp", "sso", "staff",
        "static", "status", "super", "support", "sysadmin", "system", "tenant", "test", "token",
        "tokens", "webmaster", "well-known", "wpad", "www",
    }
)  # fmt: skip
_FORM = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])")
_LOOKALIKES = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("-", ""))
_SINGLE = str.maketrans("0134578i", "oleastbl")


def is_well_formed(slug: str) -> bool:
    """Return whether `slug` is a label of 3 to 63 characters that is not only digits."""
    return bool(_FORM.fullmatch(slug)) and "--" not in slug and not slug.isdigit()


def skeleton(slug: str) -> str:
    """Return what `slug` looks like: two slugs of one skeleton are taken for each other."""
    text = slug.translate(_SINGLE)
    for seen, meant in _LOOKALIKES:
        text = text.replace(seen, meant)
    return text


_RESERVED_SKELETONS = frozenset(skeleton(item) for item in RESERVED)


def is_reserved(slug: str) -> bool:
    """Return whether `slug` is, or looks like, a name that belongs to the platform."""
    return skeleton(slug) in _RESERVED_SKELETONS
