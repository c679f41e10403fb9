"""Messages about identities of other services that sign a person in (G3, G5).

One builder each, as in `messages.py`: fixed wording; of what others wrote, only the name
that an administrator gave the connection, in harmless form.
"""

from __future__ import annotations

from datetime import datetime

from ..core.i18n import _
from .messages import Message, notice, plain_label


def identity_linked(
    recipient: str, *, service: str, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that another service signs its reader in from now on."""
    return notice(
        "identity_linked", recipient, brand=brand, at=at, link=link,
        heading=_("Another way to sign in was added"),
        text=_("From now on an account at another service signs you in to yours."),
        facts=_facts(service),
    )  # fmt: skip


def identity_unlinked(
    recipient: str, *, service: str, brand: str, at: datetime, link: str | None = None
) -> Message:
    """Return the notice that another service no longer signs its reader in."""
    return notice(
        "identity_unlinked", recipient, brand=brand, at=at, link=link,
        heading=_("A way to sign in was removed"),
        text=_("An account at another service no longer signs you in to yours."),
        facts=_facts(service),
    )  # fmt: skip


def _facts(service: str) -> list[tuple[str, str]]:
    return [(_("Service"), plain_label(service, _("another service")))]
