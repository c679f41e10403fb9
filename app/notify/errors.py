"""What a gateway says when it could not deliver."""

from __future__ import annotations

from ..core.errors import UpstreamFailed
from ..core.i18n import N_


class DeliveryFailed(UpstreamFailed):
    """A provider refused or did not answer; `temporary` says whether another try may help.

    `reason` is our own wording: never the provider's text, which may echo the
    message, the recipient or a credential.
    """

    code = "notify.delivery_failed"
    title = N_("The message could not be delivered")

    def __init__(self, reason: str, *, temporary: bool) -> None:
        super().__init__()
        self.reason = reason
        self.temporary = temporary

    def __str__(self) -> str:
        return self.reason
