"""What the links of a recovery's messages do: go on with it, or stop it (I1).

Each works once, whoever comes first; a look changes nothing (AT-101). Going on removes
every old factor and has the gate open a session that can only enrol: it never signs in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ...audit import events
from ...audit.services_audit import record
from ...core import clock
from ...core.actor import Actor
from ...core.crypto import token_digest
from ...core.db import session, transaction
from ...core.errors import NotFound
from ...risk import services_limits
from ..accounts.services_directory import get_user
from ..errors import InvalidCredentials
from ..mfa import services_factors, services_mfa_changes
from ..models import IAMRecoveryRequest, IAMUserAccount
from ..passwords import services_links
from ..sessions import services_sessions
from ..sessions.services_sessions import SignIn
from ..sign_in import services_gate, services_login_rows
from ..sign_in.services_codes import RECOVERY_EMAIL, RECOVERY_PHONE
from ..sign_in.services_gate import RECOVERY, Entry, Shown
from . import services_recovery_notices as notices
from . import services_recovery_rows as rows
from .errors_recovery import RecoveryClosed, RecoveryTooEarly
from .services_recovery import hold, record_failure
from .services_recovery_rows import CANCELLED, COMPLETED, OPEN, WAITING

_R = IAMRecoveryRequest


@dataclass(frozen=True, slots=True)
class Preview:
    """What a personal link does, and from when until when."""

    username: str
    available_at: datetime
    expires_at: datetime
    removed: list[str]
    cancel: str | None = field(repr=False)

    @property
    def is_due(self) -> bool:
        """Return whether the waiting time is over."""
        return self.available_at <= clock.now()


def preview(token: str) -> Preview:
    """Return what a personal link does; a look changes nothing (AT-101). Raises NotFound."""
    row = rows.find_to_proceed(token)
    if rows.status_of(row) != WAITING or row.available_at is None:
        raise NotFound
    user = get_user(row.user_id)
    token = notices.cancel_token(row.id)
    fits = token_digest(token) == row.cancel_digest  # not once the key was changed
    cancel = token if fits else None
    return Preview(user.username, row.available_at, row.expires_at, what_goes(user), cancel)


def complete(token: str, entry: Entry, *, actor: Actor) -> SignIn:
    """Use a personal link up: remove every factor, and open a session that can only enrol.

    Owns its transactions. Raises NotFound, RecoveryClosed, RecoveryTooEarly,
    TooManyAttempts, and what the gate raises.
    """
    services_limits.charge_address("link", actor=actor)
    with transaction():
        row = rows.find_to_proceed(token)
        user = hold(row.user_id, actor)
        actor = actor.acting_as(kind="user", user_id=user.id)
        _use_up(row, actor)
        notices.completed(user, what_goes(user), actor=actor)
        methods = services_mfa_changes.strip(user, actor=actor)
        services_sessions.revoke_all(user.id, "recovery", actor=actor)
        services_links.drop(user)
        record(events.RECOVERY_COMPLETED, resource=user, actor=actor, methods=methods)
        account, device = services_login_rows.find_by_id(user.id, entry.browser)
        if account is None:
            raise InvalidCredentials
        shown = Shown(RECOVERY, (RECOVERY,))
        return services_gate.enter(account, shown, entry, device, actor=actor)


def cancel(token: str, *, actor: Actor) -> None:
    """Stop a request by the link of a notice; owns its transactions.

    Raises NotFound, RecoveryClosed, TooManyAttempts.
    """
    services_limits.charge_address("link", actor=actor)
    with transaction():
        row = rows.find_to_cancel(token)
        user = hold(row.user_id, actor)
        actor = actor.acting_as(kind="user", user_id=user.id)
        _cancel(user, row, "link", actor)


def cancel_own(user_id: UUID, *, actor: Actor) -> None:
    """Stop one's own open request; joins the transaction. Raises NotFound, RecoveryClosed."""
    user = hold(user_id, actor)
    row = rows.open_of(user.id, locked=True)
    if row is None:
        raise NotFound
    _cancel(user, row, "account page", actor)


def what_goes(user: IAMUserAccount) -> list[str]:
    """Return what a recovery removes, in words: each factor with its name, recovery codes."""
    found = []
    for method in services_factors.active_methods(user):
        label = services_factors.label_of(method.method)
        hint = services_factors.mask(method.method, method.destination) or method.name
        found.append(f"{label}: {hint}" if hint != label else label)
    if services_factors.codes_left(user.id):
        found.append(services_factors.label_of(services_factors.RECOVERY))
    return found


def _use_up(row: IAMRecoveryRequest, actor: Actor) -> None:
    at = clock.now()
    try:
        rows.change(row, (WAITING,), _R.available_at <= at, status=COMPLETED, closed_at=at)
    except RecoveryClosed:
        session().refresh(row, with_for_update=True)  # as whoever was faster left it
        status = rows.status_of(row)
        early = status == WAITING
        record_failure(row.user_id, "too early" if early else status, actor)
        if early:
            raise RecoveryTooEarly from None
        raise


def _cancel(user: IAMUserAccount, row: IAMRecoveryRequest, reason: str, actor: Actor) -> None:
    rows.change(row, OPEN, status=CANCELLED, closed_at=clock.now())
    services_links.drop(user, RECOVERY_EMAIL, RECOVERY_PHONE)
    record(events.RECOVERY_CANCELLED, resource=user, actor=actor, reason=reason)
    notices.cancelled(user, actor=actor)
