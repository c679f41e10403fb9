"""Time-based one-time codes (RFC 6238) from an authenticator app.

160-bit secret, SHA-1 and 30 seconds because every app supports just that; HMAC-SHA-1
is a documented exception for interoperability. A code works once: the step it
belongs to must lie after the last accepted one, also inside the window (AT-038).
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import pyotp
from sqlalchemy import Select, or_, select, update

from ...core import rng
from ...core.crypto import keyring, same
from ...core.db import session
from ...core.i18n import _
from ..errors import CodeInvalid
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMMfaMethod
from .attempt import ENROL, Attempt, six_digits

STEP_SECONDS = 30
_SECRET_CHARACTERS = 32


def new_secret() -> str:
    """Return a fresh 160-bit secret in base32."""
    return rng.base32(_SECRET_CHARACTERS)


def step_at(at: datetime) -> int:
    """Return the number of the 30-second step that `at` lies in."""
    return int(at.timestamp()) // STEP_SECONDS


def provisioning_uri(secret: str, *, account: str, issuer: str) -> str:
    """Return the `otpauth://` address that authenticator apps read from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def verify(
    secret: str, code: str, *, at: datetime, last_step: int | None, back: int, ahead: int
) -> int:
    """Return the step that `code` belongs to; it lies after `last_step`.

    Raises CodeInvalid for a wrong code, a replayed one, and one outside the window.
    """
    digits = six_digits(code).encode()
    generator = pyotp.TOTP(secret, digits=6, interval=STEP_SECONDS)
    now = step_at(at)
    for step in range(now + ahead, now - back - 1, -1):
        if same(generator.generate_otp(step).encode(), digits):
            if last_step is not None and step <= last_step:
                raise CodeInvalid(field="code", reason="replayed")
            return step
    raise CodeInvalid(field="code", reason="wrong")


def secret_context(method_id: UUID) -> str:
    """Return the encryption context that ties a secret to its row (AT-474)."""
    return f"iam_mfa_method:{method_id}"


class Totp:
    """An authenticator app."""

    name: ClassVar[str] = "totp"
    assurance: ClassVar[str] = "aal2"
    channel: ClassVar[str | None] = None

    @property
    def label(self) -> str:
        """Return what people call it."""
        return _("Authenticator app")

    @property
    def note(self) -> str:
        """Return in a few words how strong it is."""
        return _("Strong: works without network, nothing is sent")

    def redeem(self, attempt: Attempt) -> None:
        """Accept the code and remember its step. Raises CodeInvalid."""
        row = session().scalar(_enrolled(attempt))
        if row is None or row.secret is None:
            raise CodeInvalid(field="code", reason="no_method")
        settings = MfaSettings.current()
        step = verify(
            keyring().decrypt(row.secret, secret_context(row.id)).decode(),
            attempt.code,
            at=attempt.at,
            last_step=row.last_step,
            back=settings.MFA_TOTP_WINDOW_BACK,
            ahead=settings.MFA_TOTP_WINDOW_AHEAD,
        )
        _advance(row.id, step)


def _enrolled(attempt: Attempt) -> Select[IAMMfaMethod]:
    confirmed = (
        IAMMfaMethod.confirmed_at.is_(None)
        if attempt.purpose == ENROL
        else IAMMfaMethod.confirmed_at.is_not(None)
    )
    return select(IAMMfaMethod).where(
        IAMMfaMethod.id == attempt.method_id,
        IAMMfaMethod.user_id == attempt.user_id,
        IAMMfaMethod.method == Totp.name,
        confirmed,
    )


def _advance(method_id: UUID, step: int) -> None:
    # Compare-and-swap: of two parallel requests with one code, one is refused (AT-039).
    result = session().execute(
        update(IAMMfaMethod)
        .where(
            IAMMfaMethod.id == method_id,
            or_(IAMMfaMethod.last_step.is_(None), IAMMfaMethod.last_step < step),
        )
        .values(last_step=step)
        .execution_options(synchronize_session=False)
    )
    if result.rowcount != 1:  # type: ignore[attr-defined]
        raise CodeInvalid(field="code", reason="replayed")
