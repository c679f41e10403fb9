"""What the HTTP gateways share: what an answer's status means, in words safe to keep."""

from __future__ import annotations

from ..errors import DeliveryFailed

_TEMPORARY = {408, 425, 429}
_SERVER_ERRORS = 500


def is_temporary(status: int) -> bool:
    """Return whether the same request may succeed later."""
    return status in _TEMPORARY or status >= _SERVER_ERRORS


def refused(provider: str, status: int, code: object = None) -> DeliveryFailed:
    """Return the failure for an HTTP answer; `code` is shown only where it is a number."""
    suffix = f", code {code}" if isinstance(code, int) else ""
    return DeliveryFailed(f"{provider}: HTTP {status}{suffix}", temporary=is_temporary(status))


def unreachable(provider: str, error: Exception) -> DeliveryFailed:
    """Return the failure for a connection that broke or took too long."""
    return DeliveryFailed(f"{provider}: {type(error).__name__}", temporary=True)
