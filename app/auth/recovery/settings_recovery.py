"""Settings of account recovery: how long a request waits, and how long it stays open (I1).

Figures follow NIST SP 800-63B-4 4.2. Owns the findings `iam.W53x`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ...core.checks import Finding
from ...core.settings import AT_LEAST, Section, setting


class RecoverySettings(Section):
    """Everything about the recovery of lost second factors that an operator may choose."""

    title: ClassVar[str] = "Account recovery"

    RECOVERY_WAIT_HOURS: int = setting(
        24,
        "Hours between both proofs of a recovery request and its use: time to object.",
        ge=0,
        le=168,
        per_tenant=True,
        floor=AT_LEAST,
    )
    RECOVERY_APPROVED_WAIT_HOURS: int = setting(
        24,
        "The same after a second person's approval; where every helpdesk checks people in "
        "person it may be 0.",
        ge=0,
        le=168,
        per_tenant=True,
        floor=AT_LEAST,
    )
    RECOVERY_LINK_HOURS: int = setting(
        72, "Hours for which the link of a recovery works once the wait is over.", ge=1, le=168
    )
    RECOVERY_OPEN_HOURS: int = setting(
        72, "Hours in which proofs must be given, or an administrator decide.", ge=1, le=168
    )


def check(state: Any) -> Iterator[Finding]:
    """Yield the findings for a loaded extension (a `core.checks.Check`)."""
    yield from findings(state.settings[RecoverySettings])


def findings(settings: RecoverySettings) -> Iterator[Finding]:
    """Yield what is unwise in `settings` for production."""
    if not settings.RECOVERY_WAIT_HOURS:
        yield Finding(
            "iam.W531", "RECOVERY_WAIT_HOURS is 0: nobody has time to object to a recovery"
        )
    if not settings.RECOVERY_APPROVED_WAIT_HOURS:
        yield Finding(
            "iam.W532",
            "RECOVERY_APPROVED_WAIT_HOURS is 0: nobody has time to object to an approved recovery",
        )
