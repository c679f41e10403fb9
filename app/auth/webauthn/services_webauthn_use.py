"""What follows from using a key: the assurance it gives, what is stored of it, who is told.

Shared by the second step (`factors/webauthn.py`) and by sign-in with a passkey alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from sqlalchemy import select, update

from ...audit import events
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import Actor
from ...core.db import session
from ..accounts import services_notices
from ..models import IAMMfaMethod, IAMUserAccount, IAMWebauthnCredential
from .relying_party import relying_party
from .webauthn_checks import Expected, KnownKey

AAL2, AAL3 = "aal2", "aal3"
HARDWARE, SYNCED = "hwk", "swk"
_K = IAMWebauthnCredential


class Key(Protocol):
    """What is asked of a stored credential, row or model."""

    @property
    def public_key(self) -> bytes: ...
    @property
    def algorithm(self) -> int: ...
    @property
    def sign_count(self) -> int: ...
    @property
    def backup_eligible(self) -> bool: ...


def expected(challenge_digest: bytes, *, user_verification: bool) -> Expected:
    """Return what a ceremony of this service must show. Raises BadRequest at a bad address."""
    party = relying_party()
    return Expected(challenge_digest, party.id, party.origins, user_verification)


def known(key: Key) -> KnownKey:
    """Return what an assertion is held to."""
    return KnownKey(key.public_key, key.algorithm, key.sign_count, key.backup_eligible)


def amr_of(*, backup_eligible: bool) -> str:
    """Return the RFC 8176 name of a key: in hardware, or one that may be copied and synced."""
    return SYNCED if backup_eligible else HARDWARE


def acr_of(*, user_verified: bool, backup_eligible: bool, trusted: bool) -> str:
    """Return the assurance a key gives (NIST SP 800-63B-4 2.3).

    AAL3 only for a key that cannot leave its device, whose maker is vouched for, with
    PIN or biometrics.
    """
    return AAL3 if user_verified and trusted and not backup_eligible else AAL2


def suspect_clone(method_id: UUID, *, actor: Actor) -> None:
    """Note that a key's counter did not grow, and tell its owner the first time (AT-255)."""
    at = clock.now()
    row = session().scalar(select(IAMMfaMethod).where(IAMMfaMethod.id == method_id))
    if row is None:
        return
    first = _mark(method_id, at)
    record(
        events.WEBAUTHN_CLONE_SUSPECTED,
        resource=row,
        subject_id=row.user_id,
        actor=actor,
        name=row.name,
    )
    account = IAMUserAccount
    user = session().scalar(select(account).where(account.id == row.user_id))
    if first and user is not None:
        services_notices.clone_suspected(user, name=row.name, at=at, actor=actor)


def _mark(method_id: UUID, at: datetime) -> bool:
    marked = session().execute(
        update(_K)
        .where(_K.mfa_method_id == method_id, _K.clone_suspected_at.is_(None))
        .values(clone_suspected_at=at)
        .execution_options(synchronize_session=False)
    )
    return bool(marked.rowcount)  # type: ignore[attr-defined]
