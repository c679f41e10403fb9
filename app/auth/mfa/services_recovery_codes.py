"""Recovery codes: made, shown once, confirmed as saved, counted (D5).

In clear they exist in one answer only. For the download from that page they go along
in a form field, sealed with our key for a few minutes: nothing is kept here.
"""

from __future__ import annotations

import json
from uuid import UUID

from sqlalchemy import delete, func, select, update

from ...audit import events
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import Actor
from ...core.crypto import DecryptionFailed, keyring
from ...core.db import session
from ...core.errors import NotFound
from ...core.i18n import speaking
from ...core.ids import new_id
from ...notify import messages
from ...tenancy.services_settings import effective
from ..accounts import services_notices
from ..factors.recovery_code import digest, new_code, new_key
from ..models import IAMRecoveryCode, IAMUserAccount
from ..web.links import public_url
from .services_factors import RECOVERY
from .settings_mfa import MfaSettings

FEW_LEFT = 3
_SEAL_SECONDS = 15 * 60
_R = IAMRecoveryCode


def create(user: IAMUserAccount, *, notify: bool = True, actor: Actor) -> list[str]:
    """Make a new set of codes and return them in clear, this once; older ones stop working."""
    at = clock.now()
    lock_account(user)
    _delete(user.id)
    codes = [new_code() for _number in range(MfaSettings.current().MFA_RECOVERY_CODES)]
    key = new_key(user.id)
    session().add_all(
        IAMRecoveryCode(
            id=new_id(),
            tenant_id=user.tenant_id,
            user_id=user.id,
            code_digest=digest(code, user.id, key),
            digest_key=key,
            created_at=at,
        )
        for code in codes
    )
    record(events.RECOVERY_CODES_CREATED, resource=user, actor=actor, count=len(codes))
    if notify and user.email:
        with speaking(user.language):
            message = messages.recovery_codes_replaced(
                user.email,
                brand=services_notices.brand(),
                at=at,
                link=public_url("iam_account.security"),
            )
        services_notices.send(user, message, actor=actor)
    return codes


def create_first(user: IAMUserAccount, *, actor: Actor) -> list[str]:
    """Return a first set of codes, or nothing where the person has some or they are not allowed."""
    if RECOVERY not in effective(MfaSettings).MFA_METHODS or left(user.id) is not None:
        return []
    return create(user, notify=False, actor=actor)


def left(user_id: UUID) -> int | None:
    """Return how many codes are unused; None where the person has no set at all."""
    made, used = session().execute(
        select(func.count(_R.id), func.count(_R.used_at)).where(_R.user_id == user_id)
    ).one()  # fmt: skip
    return int(made) - int(used) if made else None


def are_confirmed(user_id: UUID) -> bool:
    """Return whether the person said that the codes are saved."""
    found = session().scalar(
        select(_R.id).where(_R.user_id == user_id, _R.confirmed_at.is_(None)).limit(1)
    )
    return found is None


def confirm_saved(user: IAMUserAccount, *, actor: Actor) -> None:
    """Note that the person has saved the codes."""
    session().execute(
        update(_R)
        .where(_R.user_id == user.id, _R.confirmed_at.is_(None))
        .values(confirmed_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    record(events.RECOVERY_CODES_CONFIRMED, resource=user, actor=actor)


def remove_all(user: IAMUserAccount) -> None:
    """Delete the person's codes; the caller records why."""
    _delete(user.id)


def lock_account(user: IAMUserAccount) -> None:
    """Lock the account's row, so that changes of its factors come one after the other."""
    account = IAMUserAccount
    session().execute(select(account.id).where(account.id == user.id).with_for_update())


def seal(codes: list[str], user_id: UUID) -> str:
    """Return codes sealed for the download form of the page that shows them."""
    content = json.dumps({"at": clock.now().timestamp(), "codes": codes})
    return keyring().encrypt(content.encode(), _context(user_id))


def unseal(sealed: str, user_id: UUID) -> list[str]:
    """Return sealed codes. Raises NotFound for a value of somebody else, altered or too old."""
    try:
        content = json.loads(keyring().decrypt(sealed, _context(user_id)))
    except (DecryptionFailed, ValueError):
        raise NotFound(code="mfa.codes_gone") from None
    if not 0 <= clock.now().timestamp() - content["at"] <= _SEAL_SECONDS:
        raise NotFound(code="mfa.codes_gone")
    return [str(code) for code in content["codes"]]


def _delete(user_id: UUID) -> None:
    session().execute(
        delete(_R).where(_R.user_id == user_id), execution_options={"synchronize_session": False}
    )


def _context(user_id: UUID) -> str:
    return f"recovery-codes-page:{user_id}"
