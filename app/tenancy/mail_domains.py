"""Names of e-mail domains: their one form, and which of them nobody can claim. Pure.

IDNA 2008 over UTS 46, lower case, the ASCII form: as the domains of addresses are compared
(AT-096). Whoever proves a name under DNS owns it; what is refused here could be proved by
somebody who does not speak for the people behind its addresses.
"""

from __future__ import annotations

import ipaddress
import re

import idna

from ..core.errors import InvalidInput
from ..core.i18n import N_

# 253 less the label that carries the proof, and its dot.
LONGEST = 253 - len("_iam-challenge.")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

# Mailboxes that anybody can open. No list is complete: it saves a tenant from a mistake, while
# the proof under DNS keeps out everybody but the provider itself.
PUBLIC = frozenset(
    {
        "126.com", "163.com", "aol.com", "bluewin.ch", "comcast.net", "fastmail.com", "free.fr",
        "freenet.de", "gmail.com", "gmx.at", "gmx.ch", "gmx.com", "gmx.de", "gmx.net",
        "googlemail.com", "hey.com", "hotmail.com", "hotmail.de", "hotmail.fr", "icloud.com",
        "laposte.net", "libero.it", "live.com", "mac.com", "mail.com", "mail.ru", "mailbox.org",
        "me.com", "msn.com", "naver.com", "orange.fr", "outlook.com", "outlook.de", "outlook.fr",
        "posteo.de", "proton.me", "protonmail.com", "qq.com", "rediffmail.com", "sfr.fr",
        "t-online.de", "tutanota.com", "web.de", "yahoo.co.uk", "yahoo.com", "yahoo.de",
        "yahoo.fr", "yandex.com", "yandex.ru", "ymail.com", "zoho.com",
    }
)  # fmt: skip


def canonical_domain(text: str) -> str:
    """Return the form in which a domain is compared. Raises InvalidInput where it is none.

    A leading `@` and the root's dot are dropped: people copy both.
    """
    name = text.strip().removeprefix("@").rstrip(".")
    try:
        name = idna.encode(name[: LONGEST + 1], uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise _refused() from None
    labels = name.split(".")
    if len(name) > LONGEST or len(labels) < 2 or labels[-1].isdigit() or _is_address(name):
        raise _refused()
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused()
    return name


def check_claimable(name: str) -> None:
    """Raise InvalidInput for a domain whose mailboxes anybody can open."""
    if name in PUBLIC:
        raise InvalidInput(
            N_("Anybody can have an address there, so it cannot belong to one organization"),
            code="domain.public",
            field="name",
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refused() -> InvalidInput:
    return InvalidInput(
        N_("Enter a domain such as example.com"), code="domain.malformed", field="name"
    )
