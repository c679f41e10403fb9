"""Second factors: one class in one file each, and a line in `BUILT_IN`, strongest first.

A further factor comes as an entry point of the group `iam.factors`. A factor decides
whether a code is right and uses it up in the same statement; counting tries, telling
the person and the audit trail are `services_mfa`'s business.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

from ...core.registry import Registry
from .attempt import ENROL, Attempt, Reached
from .email_otp import EmailOtp
from .recovery_code import RecoveryCode
from .sms_otp import SmsOtp
from .totp import Totp
from .webauthn import Webauthn
from .whatsapp_otp import WhatsappOtp

ENTRY_POINTS = "iam.factors"
AAL1, AAL2, AAL3 = "aal1", "aal2", "aal3"


class Factor(Protocol):
    """One kind of second factor.

    `assurance` is the level a password and this factor reach together. `channel` is
    how its code is sent (`email`, `sms`, `whatsapp`), None where nothing is sent.
    """

    @property
    def name(self) -> str: ...
    @property
    def assurance(self) -> str: ...
    @property
    def channel(self) -> str | None: ...
    @property
    def label(self) -> str: ...
    @property
    def note(self) -> str: ...

    def redeem(self, attempt: Attempt) -> Reached | None:
        """Accept the code and use it up, by compare-and-swap. Raises CodeInvalid.

        Returns what was reached where that differs from one time to another.
        """


BUILT_IN: tuple[Factor, ...] = (
    Webauthn(), Totp(), WhatsappOtp(), SmsOtp(), EmailOtp(), RecoveryCode(),
)  # fmt: skip


@cache
def factors() -> Registry[Factor]:
    """Return every known factor by name, strongest first."""
    registry: Registry[Factor] = Registry("factor")
    for item in BUILT_IN:
        registry.add(item)
    for point in entry_points(group=ENTRY_POINTS):
        registry.add(point.load()())
    return registry


__all__ = ["AAL1", "AAL2", "AAL3", "ENROL", "Attempt", "Factor", "Reached", "factors"]
