"""Recovery of an account whose second factors are lost: opened, proved, made to wait (I1, I2).

Opened in a sign-in that has shown its first factor, so that no answer tells which accounts
exist; proved by codes over two channels, never by questions (AT-106; NIST SP 800-63B-4
4.2). What the links of its messages do is `services_recovery_links`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...core import clock, rng
from ...core.actor import Actor
from ...core.crypto import token_digest
from ...core.db import session, transaction
from ...core.errors import NotFound, TooManyAttempts
from ...core.ids import new_id
from ...notify.messages import EMAIL, SMS
from ...risk import services_limits
from ...tenancy.services_settings import effective
from ..accounts.services_notices import one_time_code
from ..errors import CodeInvalid
from ..identity import mask_email, mask_phone
from ..mfa.settings_mfa import MfaSettings
from ..models import IAMRecoveryRequest, IAMUserAccount
from ..principal import Principal
from ..sign_in import services_codes
from ..sign_in.services_codes import RECOVERY_EMAIL, RECOVERY_PHONE
from . import services_recovery_notices as notices
from . import services_recovery_rows as rows
from .errors_recovery import RecoveryClosed, RecoveryUnreachable
from .services_recovery_rows import APPROVAL, PROOFS, WAITING
from .settings_recovery import RecoverySettings

MAILBOX, PHONE = "email", "phone"
_PURPOSES = {MAILBOX: RECOVERY_EMAIL, PHONE: RECOVERY_PHONE}


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to prove that the person is who they say: `email` or `phone`."""

    name: str
    kind: str
    destination: str

    @property
    def purpose(self) -> str:
        """Return the purpose of its codes."""
        return _PURPOSES[self.name]

    @property
    def hint(self) -> str:
        """Return the destination as it may be shown."""
        mask = mask_email if self.kind == EMAIL else mask_phone
        return mask(self.destination)


def channels(user: IAMUserAccount) -> dict[str, Channel]:
    """Return the confirmed channels of a person by name."""
    found = {}
    address, number = notices.mail_of(user), notices.phone_of(user)
    if address:
        found[MAILBOX] = Channel(MAILBOX, EMAIL, address)
    if number:
        found[PHONE] = Channel(PHONE, SMS, number)
    return found


def proved(row: IAMRecoveryRequest) -> set[str]:
    """Return the names of the channels that were proved."""
    given = {MAILBOX: row.email_proved_at, PHONE: row.phone_proved_at}
    return {name for name, at in given.items() if at is not None}


def takes_proofs(row: IAMRecoveryRequest) -> bool:
    """Return whether codes move a request on.

    Also one that an administrator opened: both codes prove more than their word does.
    """
    helped = row.status == APPROVAL and row.opened_by != row.user_id
    return row.status == PROOFS or helped


def open_own(principal: Principal, *, actor: Actor) -> None:
    """Open a request for the person of a pending sign-in; an open one stays as it is.

    Owns its transactions. Raises RecoveryUnreachable, RecoveryClosed, TooManyAttempts, and
    what the notice raises.
    """
    if rows.open_of(principal.user_id) is not None:
        return
    try:
        services_limits.charge("recovery", principal.user_id, actor=actor)
    except TooManyAttempts:
        with transaction():
            record_failure(principal.user_id, "throttled", actor)
        raise
    with transaction():
        user = hold(principal.user_id, actor)
        if rows.open_of(user.id, locked=True) is None:
            open_request(user, PROOFS, reason="", amr=principal.amr, actor=actor)


def open_request(
    user: IAMUserAccount, status: str, *, reason: str, amr: Sequence[str] = (), actor: Actor
) -> IAMRecoveryRequest:
    """Open a request for an account that is held and has none, and tell its owner.

    `amr` is the first factor that was shown. Raises RecoveryUnreachable where nobody could
    be told, and what the notice raises.
    """
    if not channels(user):
        raise RecoveryUnreachable
    rows.expire_old(user.id)
    row = IAMRecoveryRequest(
        id=new_id(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        status=status,
        opened_by=actor.user_id,
        reason=reason,
        created_at=clock.now(),
        expires_at=_open_until(),
        ip=actor.ip,
        user_agent=(actor.user_agent or "")[:400],
    )
    notices.opened(user, row, by_admin=status == APPROVAL, actor=actor)
    session().add(row)
    record(events.RECOVERY_OPENED, resource=user, actor=actor, reason=reason, amr=amr)
    return row


def send_code(principal: Principal, name: str, *, actor: Actor) -> str:
    """Send a code over a channel and return its delivery status; owns its transactions.

    Raises RecoveryClosed, NotFound for a channel the person has not, TooManyAttempts,
    InvalidInput for a number that may not be written to.
    """
    with transaction():
        user, _row, channel = _awaiting(principal.user_id, name, actor)
        sent = services_codes.issue(
            user,
            channel.purpose,
            channel=channel.kind,
            destination=channel.destination,
            build=lambda code, _token: one_time_code(
                user, channel.kind, channel.destination, code=code, purpose="recovery"
            ),
            minutes=MfaSettings.current().MFA_CODE_MINUTES,
            session_id=principal.session_id,
            actor=actor,
        )
    return services_codes.deliver(sent)


def prove(principal: Principal, name: str, code: str, *, actor: Actor) -> None:
    """Check the code of a channel; with the last one the waiting time begins.

    Owns its transactions. Raises CodeInvalid, RecoveryClosed, NotFound, TooManyAttempts.
    """
    if name not in _PURPOSES:
        raise NotFound
    attempt = services_codes.begin(
        principal.user_id, _PURPOSES[name], code, session_id=principal.session_id, actor=actor
    )
    with transaction():
        user, row, _channel = _awaiting(principal.user_id, name, actor)
        try:
            services_codes.redeem(attempt, actor=actor)
        except CodeInvalid:
            record_failure(user.id, "code", actor, channel=name)
            raise
        rows.change(row, (PROOFS, APPROVAL), **{f"{name}_proved_at": clock.now()})
        _advance(user, row, actor)
        record(events.RECOVERY_PROVED, resource=user, actor=actor, channel=name)


def ask_for_approval(principal: Principal, *, actor: Actor) -> None:
    """Let an administrator decide in place of the channel that is lost; joins the transaction.

    One proof must be there: whoever learned a password alone cannot ask. Raises
    RecoveryClosed.
    """
    user = hold(principal.user_id, actor)
    row = rows.open_of(user.id, locked=True)
    if row is None or not proved(row):
        record_failure(user.id, "nothing_proved", actor)
        raise RecoveryClosed
    escalate(user, row, "asked", actor=actor)


def escalate(
    user: IAMUserAccount, row: IAMRecoveryRequest, why: str, *, actor: Actor, **values: object
) -> None:
    """Leave the decision to an administrator, who has the whole time for it.

    Raises RecoveryClosed.
    """
    rows.change(row, (PROOFS,), status=APPROVAL, expires_at=_open_until(), **values)
    record(events.RECOVERY_ESCALATED, resource=user, actor=actor, reason=why)


def begin_waiting(
    user: IAMUserAccount,
    row: IAMRecoveryRequest,
    states: tuple[str, ...],
    hours: int,
    *,
    actor: Actor,
    **values: object,
) -> None:
    """Start the waiting time of a request that was proved or approved; tell every channel.

    Raises RecoveryClosed, and what the notices raise: without them nothing begins.
    """
    token, available = rng.token(), clock.now() + timedelta(hours=hours)
    rows.change(
        row,
        states,
        status=WAITING,
        available_at=available,
        expires_at=available + timedelta(hours=RecoverySettings.current().RECOVERY_LINK_HOURS),
        continue_digest=token_digest(token),
        **values,
    )
    notices.waiting(user, row, token, actor=actor)


def hold(user_id: UUID, actor: Actor) -> IAMUserAccount:
    """Lock an account as `rows.hold` does; a refusal is recorded. Raises RecoveryClosed."""
    try:
        return rows.hold(user_id)
    except RecoveryClosed:
        record_failure(user_id, "account_status", actor)
        raise


def record_failure(user_id: UUID, reason: str, actor: Actor, channel: str = "") -> None:
    """Record that a step of a recovery was refused."""
    record(
        events.RECOVERY_FAILED,
        resource=("user_account", user_id),
        status=FAILURE,
        actor=actor,
        reason=reason,
        channel=channel,
    )


def _awaiting(
    user_id: UUID, name: str, actor: Actor
) -> tuple[IAMUserAccount, IAMRecoveryRequest, Channel]:
    user = hold(user_id, actor)
    row = rows.open_of(user.id, locked=True)
    if row is None or not takes_proofs(row) or name in proved(row):
        record_failure(user.id, "closed", actor, channel=name)
        raise RecoveryClosed
    channel = channels(user).get(name)
    if channel is None:
        raise NotFound
    return user, row, channel


def _advance(user: IAMUserAccount, row: IAMRecoveryRequest, actor: Actor) -> None:
    given = proved(row)
    if given == {MAILBOX, PHONE}:
        hours = effective(RecoverySettings).RECOVERY_WAIT_HOURS
        begin_waiting(user, row, (PROOFS, APPROVAL), hours, actor=actor)
    elif row.status == PROOFS and not set(channels(user)) - given:
        escalate(user, row, "one channel", actor=actor)


def _open_until() -> datetime:
    return clock.now() + timedelta(hours=RecoverySettings.current().RECOVERY_OPEN_HOURS)
