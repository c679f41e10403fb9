"""Changes of enrolled factors: renamed, removed, reset by an administrator (D8).

Removing ends browsers' trust and open challenges as well (AT-071); a factor that
policy demands is not removed as the last. An administrator may reset, never read.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...authz import services_rbac
from ...core import clock, signals
from ...core.actor import Actor
from ...core.db import after_commit, session
from ...core.errors import Conflict, Forbidden, InvalidInput
from ...core.i18n import _, speaking
from ...notify import messages
from ...risk import services_devices, services_limits
from ...risk.services_limits import bucket
from ..accounts import services_notices, services_ways_in
from ..factors import AAL2, ENROL, factors
from ..identity import MAX_NAME, check_display_name
from ..models import IAMMfaChallenge, IAMMfaMethod, IAMUserAccount, IAMWebauthnCredential
from ..recovery import services_recovery_rows
from ..sessions import services_sessions
from ..web.links import public_url
from . import services_recovery_codes
from .services_factors import active_methods, assurance_of, find_method, label_of, reaches

REQUIRED = "required"


def rename(user: IAMUserAccount, method_id: UUID | None, name: str, *, actor: Actor) -> None:
    """Give a factor a name of the person's choice. Raises NotFound, InvalidInput."""
    row = find_method(user, method_id)
    name = check_display_name(name, field="name", longest=MAX_NAME)
    if not name:
        raise InvalidInput(_("Enter a name."), field="name")
    before, row.name = row.name, name
    record(
        events.MFA_RENAMED,
        resource=row,
        subject_id=user.id,
        changes={"name": [before, name]},
        actor=actor,
        method=row.method,
        name=name,
    )


def remove(user: IAMUserAccount, method_id: UUID | None, *, policy: str, actor: Actor) -> None:
    """Remove a factor and tell the person.

    Raises NotFound; Conflict where `policy` demands a factor and no other would be left, and
    for a passkey that is the only way in (AT-206).
    """
    # One removal after the other: two at once must not take the last two (AT-075).
    services_recovery_codes.lock_account(user)
    row = find_method(user, method_id)
    rest = [item for item in active_methods(user) if item.id != row.id]
    if policy == REQUIRED and not any(reaches(assurance_of(item.method), AAL2) for item in rest):
        record(
            events.ACCOUNT_CHANGE_REFUSED,
            resource=user,
            status=DENIED,
            error="mfa.last_factor",
            actor=actor,
            reason="last_factor",
        )
        raise Conflict(
            _("A second step is required. Add another one before you remove this"),
            code="mfa.last_factor",
        )
    services_ways_in.guard_last(user, method_id=row.id, actor=actor)
    method, name = row.method, row.name
    _drop_key(row.id)
    session().delete(row)
    if not rest:
        services_recovery_codes.remove_all(user)
    services_devices.end_trust(user.id)
    _outdate_sign_ins(user)
    # What else is open may rest on the factor that is gone.
    services_sessions.revoke_all(user.id, "factor_removed", except_id=actor.session_id, actor=actor)
    record(
        events.MFA_REMOVED,
        resource=("mfa_method", row.id),
        subject_id=user.id,
        actor=actor,
        method=method,
        name=name,
    )
    _tell_removed(user, method, actor)
    _announce(user.id, method, "removed")


def reset_factors(user: IAMUserAccount, *, actor: Actor) -> None:
    """Remove every factor and recovery code of a person, end their sessions, tell them.

    For administrators; whoever may do so to whom is checked by the caller. Raises
    Forbidden for one's own factors: those are removed one by one, with fresh proof.
    """
    if actor.user_id == user.id:
        raise Forbidden(_("You cannot reset your own second steps"), code="mfa.own_reset")
    names = strip(user, actor=actor)
    # What it would remove is gone; the factors that come next must be safe from its link.
    services_recovery_rows.cancel_open(user, "factors_reset", actor=actor)
    record(events.MFA_DISABLED, resource=user, actor=actor, methods=names)
    services_sessions.revoke_all(user.id, "mfa_reset", actor=actor)
    _tell_reset(user, clock.now(), actor)


def strip(user: IAMUserAccount, *, actor: Actor) -> list[str]:
    """Delete every factor and recovery code of a person; return the kinds of factors.

    The next sign-in enrols one anew: who had a second step does not go on without. The
    caller decides whether that may be, records it, ends sessions and tells the person.
    """
    services_recovery_codes.lock_account(user)
    names = sorted({row.method for row in active_methods(user)})
    for model in (IAMMfaChallenge, IAMWebauthnCredential, IAMMfaMethod):
        session().execute(
            delete(model).where(model.user_id == user.id),
            execution_options={"synchronize_session": False},
        )
    services_recovery_codes.remove_all(user)
    services_devices.end_trust(user.id)
    user.mfa_enrolment_due = user.mfa_enrolment_due or bool(names)
    _outdate_sign_ins(user)
    # Counters belong to the authenticators that are gone (NIST SP 800-63B-4 3.2.2).
    scopes = [(user.id,), (user.id, ENROL), *((user.id, name) for name in factors().names())]
    dead = [bucket("mfa", *keys, actor=actor) for keys in scopes]
    services_limits.clear_all([*dead, bucket("code", user.id, actor=actor)])
    _announce(user.id, "all", "reset")
    return names


def _outdate_sign_ins(user: IAMUserAccount) -> None:
    # A sign-in under way has looked at the factors as they were: it is refused (AT-453).
    services_rbac.bump_user(user.id)


def _drop_key(method_id: UUID) -> None:
    # Not left to the cascade: a host's own SQLite engine may not enforce foreign keys.
    key = IAMWebauthnCredential
    session().execute(
        delete(key).where(key.mfa_method_id == method_id),
        execution_options={"synchronize_session": False},
    )


def _tell_removed(user: IAMUserAccount, method: str, actor: Actor) -> None:
    if user.email:
        with speaking(user.language):
            message = messages.factor_removed(
                user.email,
                factor=label_of(method),
                brand=services_notices.brand(),
                at=clock.now(),
                link=public_url("iam_account.security"),
            )
        services_notices.send(user, message, actor=actor)


def _tell_reset(user: IAMUserAccount, at: datetime, actor: Actor) -> None:
    if user.email:
        with speaking(user.language):
            message = messages.factors_reset(
                user.email,
                brand=services_notices.brand(),
                at=at,
                link=public_url("iam_account.security"),
            )
        services_notices.send(user, message, actor=actor)


def _announce(user_id: UUID, method: str, change: str) -> None:
    def send() -> None:
        signals.factor_changed.send(str(user_id), method=method, change=change)

    after_commit(send)
