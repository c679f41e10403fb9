"""Standing of accounts: suspended, reactivated, disabled, deleted; help for the locked out.

Owns what an administrator may do to another person's account, each act with a reason,
an audit row and the end of every session (B2, B4, D8). Refuses acts on oneself, on the
last administrator, and on anybody whose rights exceed the actor's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, delete, or_, update

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...authz import services_rbac
from ...authz.grants import Grants
from ...authz.models import IAMUserRole
from ...core import clock, signals
from ...core.actor import Actor
from ...core.db import after_commit, session
from ...core.errors import InvalidInput
from ...core.i18n import _, speaking
from ...notify import messages
from ...notify.models import PENDING as QUEUED
from ...notify.models import WITHDRAWN, IAMOutbox
from ...risk import services_devices
from ...risk.models import IAMDevice
from ..identity import check_display_name
from ..liveness import (
    ACTIVE,
    DISABLED,
    ERASED,
    INVITED,
    LOCKED,
    PENDING,
    SUSPENDED,
    may_set_password,
)
from ..mfa import services_mfa_changes
from ..models import (
    IAMActionToken,
    IAMAuthSession,
    IAMInvitation,
    IAMMfaChallenge,
    IAMMfaMethod,
    IAMPasswordHistory,
    IAMRecoveryCode,
    IAMRecoveryRequest,
    IAMSsoFlow,
    IAMSsoSession,
    IAMUserAccount,
    IAMUserIdentity,
    IAMWebauthnChallenge,
    IAMWebauthnCredential,
)
from ..passwords import services_links, services_reset
from ..recovery import services_recovery_rows
from ..sessions import services_sessions
from . import services_notices
from .errors_accounts import AccountState, OwnAccount

MAX_REASON = 200
SUSPENDABLE = frozenset({ACTIVE, INVITED, PENDING, LOCKED})
REVIVABLE = frozenset({SUSPENDED, LOCKED, DISABLED})
DISABLEABLE = frozenset({ACTIVE, INVITED, PENDING, LOCKED, SUSPENDED})
DELETABLE = DISABLEABLE | {DISABLED}
# Children before their parents: challenges name factors, sessions name devices.
_OWNED: tuple[Any, ...] = (
    IAMMfaChallenge,
    IAMRecoveryCode,
    IAMRecoveryRequest,
    IAMWebauthnChallenge,
    IAMWebauthnCredential,
    IAMMfaMethod,
    IAMSsoFlow,
    IAMSsoSession,
    IAMUserIdentity,
    IAMAuthSession,
    IAMDevice,
    IAMPasswordHistory,
    IAMActionToken,
    IAMUserRole,
)


def suspend(
    user: IAMUserAccount, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Lock an account softly: reversible, sessions end at once, the person is told.

    Raises OwnAccount, LastAdministrator, Forbidden, AccountState, InvalidInput.
    """
    reason = _begin(user, SUSPENDABLE, reason, "user:suspend", actor_grants, actor)
    _change_status(user, SUSPENDED, events.USER_SUSPENDED, reason, actor)
    if user.email:
        with speaking(user.language):
            notice = messages.account_suspended(
                user.email, brand=services_notices.brand(), at=clock.now()
            )
        services_notices.send(user, notice, actor=actor)


def reactivate(
    user: IAMUserAccount, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Let a suspended, locked or disabled account act again; one without a password is invited.

    Raises OwnAccount, Forbidden, AccountState, InvalidInput.
    """
    reason = _begin(user, REVIVABLE, reason, "user:suspend", actor_grants, actor, takes_away=False)
    target = ACTIVE if user.password_hash else INVITED
    _change_status(user, target, events.USER_REACTIVATED, reason, actor)


def disable(
    user: IAMUserAccount, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Close an account whose owner has left; its data stays.

    Raises OwnAccount, LastAdministrator, Forbidden, AccountState, InvalidInput.
    """
    reason = _begin(user, DISABLEABLE, reason, "user:suspend", actor_grants, actor)
    _change_status(user, DISABLED, events.USER_DISABLED, reason, actor)


def delete_user(
    user: IAMUserAccount, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Erase a person: personal columns emptied, everything of theirs removed, the id kept.

    The row stays because the audit trail names its id. Raises OwnAccount,
    LastAdministrator, Forbidden, AccountState, InvalidInput.
    """
    reason = _begin(user, DELETABLE, reason, "user:delete", actor_grants, actor)
    before = user.status
    services_sessions.revoke_all(user.id, "account_deleted", actor=actor)
    services_rbac.bump_user(user.id)
    session().flush()
    for model in _OWNED:
        _remove(model, model.user_id == user.id)
    _remove(IAMInvitation, _invited(user))
    _withdraw_messages(user)
    _anonymise(user)
    record(
        events.USER_DELETED,
        resource=user,
        changes={"status": [before, ERASED]},
        actor=actor,
        reason=reason,
    )
    user_id = str(user.id)
    after_commit(lambda: signals.user_deleted.send(user_id))


def reset_factors(
    user: IAMUserAccount, *, reason: str, actor_grants: Grants | None, actor: Actor
) -> None:
    """Remove every second factor and recovery code of a person, and say why (D8).

    Their sessions end and they are told. Raises OwnAccount (own factors are removed
    under /account), Forbidden, AccountState, InvalidInput.
    """
    reason = _begin(
        user, DELETABLE, reason, "user:reset_factors", actor_grants, actor, takes_away=False
    )
    record(events.USER_FACTORS_RESET, resource=user, actor=actor, reason=reason)
    services_mfa_changes.reset_factors(user, actor=actor)
    user.updated_at = clock.now()


def send_password_link(user: IAMUserAccount, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Send a person the link to set their first, or a new, password; nobody else sees it.

    Raises Forbidden, AccountState where the account may not set one (AT-102).
    """
    services_rbac.guard_outranks(user.id, actor_grants=actor_grants, actor=actor)
    session().refresh(user, with_for_update=True)
    services_rbac.guard_reach(
        "user:reset_password", user.parent_id, actor_grants=actor_grants, actor=actor
    )
    tenant = services_sessions.tenant_of(user)
    if not user.email or not may_set_password(user.status, tenant.status):
        raise AccountState(_("This account cannot be sent a link now"))
    purpose = services_links.SET if user.status == INVITED else services_links.RESET
    record(events.PASSWORD_RESET, resource=user, actor=actor, purpose=purpose)
    if user.status == INVITED:
        services_reset.send_set_password_link(user, actor=actor)
    else:
        services_reset.send_reset_link(user, actor=actor)


def _begin(
    user: IAMUserAccount,
    allowed: frozenset[str],
    reason: str,
    permission: str,
    actor_grants: Grants | None,
    actor: Actor,
    *,
    takes_away: bool = True,
) -> str:
    text = check_reason(reason)
    if actor.user_id == user.id:
        record(
            events.ROLE_CHANGE_REFUSED,
            resource=user,
            status=DENIED,
            error=OwnAccount.code,
            actor=actor,
            role="",
            reason="own account",
        )
        raise OwnAccount
    services_rbac.guard_outranks(user.id, actor_grants=actor_grants, actor=actor)
    # Locks are taken tenant, then person: the guard comes before the account's row.
    if takes_away:
        services_rbac.guard_last_admin(user.id, actor)
    session().refresh(user, with_for_update=True)
    services_rbac.guard_reach(permission, user.parent_id, actor_grants=actor_grants, actor=actor)
    if user.status not in allowed:
        raise AccountState
    return text


def check_reason(text: str) -> str:
    """Return the reason an administrator gave, as it is kept. Raises InvalidInput."""
    reason = check_display_name(text or "", field="reason", longest=MAX_REASON)
    if not reason:
        raise InvalidInput(_("Please say why; the reason is kept in the audit log"), field="reason")
    return reason


def _change_status(
    user: IAMUserAccount, status: str, event: events.Event, reason: str, actor: Actor
) -> None:
    before, user.status = user.status, status
    user.updated_at = clock.now()
    if status in {SUSPENDED, DISABLED}:
        services_sessions.revoke_all(user.id, f"account_{status}", actor=actor)
        services_links.drop(user)
        services_devices.end_trust(user.id)
        services_recovery_rows.cancel_open(user, f"account {status}", actor=actor)
    changes = {"status": [before, status]}
    record(event, resource=user, changes=changes, actor=actor, reason=reason)
    user_id = str(user.id)
    after_commit(lambda: signals.user_changed.send(user_id, fields=["status"]))


def _remove(model: Any, condition: ColumnElement[bool]) -> None:
    session().execute(delete(model).where(condition).execution_options(synchronize_session="fetch"))


def _withdraw_messages(user: IAMUserAccount) -> None:
    # Texts and addresses go; the rows stay for the sending caps that count them.
    session().execute(
        update(IAMOutbox)
        .where(IAMOutbox.user_id == user.id, IAMOutbox.status == QUEUED)
        .values(status=WITHDRAWN)
        .execution_options(synchronize_session=False)
    )
    session().execute(
        update(IAMOutbox)
        .where(IAMOutbox.user_id == user.id)
        .values(payload=None)
        .execution_options(synchronize_session=False)
    )


def _invited(user: IAMUserAccount) -> ColumnElement[bool]:
    """Return the condition of invitations that name this person, answered or not."""
    addresses = {item for item in (user.email, user.email_canonical) if item}
    accepted = IAMInvitation.accepted_by == user.id
    return or_(accepted, IAMInvitation.email.in_(addresses)) if addresses else accepted


def _anonymise(user: IAMUserAccount) -> None:
    user.username = user.username_canonical = f"erased:{user.id}"
    user.email = user.email_canonical = user.phone_number = user.picture_url = None
    user.email_verified = user.phone_verified = False
    user.first_name = user.last_name = user.display_name = ""
    user.language = user.timezone = user.password_hash = user.webauthn_handle = None
    user.parent_id = user.mfa_grace_until = user.password_changed_at = user.last_login_at = None
    user.details = {}
    user.status = ERASED
    user.updated_at = clock.now()
    session().flush()
