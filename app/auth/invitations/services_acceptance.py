"""Invitations answered: looked at, accepted by a new person or by somebody who is here (B3).

The link proves the address it went to, and works once (compare-and-swap), until its term; both
are checked when it is used (AT-108, AT-109). Address, organization and roles come from the
invitation, never from the form (AT-110). These functions own their transactions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select, update

from ...audit import events
from ...audit.services_audit import FAILURE, record
from ...authz import services_rbac
from ...core import clock
from ...core.actor import Actor
from ...core.crypto import token_digest
from ...core.db import end_read, session, transaction
from ...core.errors import Conflict, Forbidden, IAMError, InvalidInput, NotFound
from ...core.i18n import N_
from ...risk import services_limits
from ...tenancy.models import IAMTenant
from ...tenancy.services_settings import effective
from ..accounts import services_accounts, services_notices
from ..accounts.services_directory import get_user
from ..errors import InvalidCredentials, LinkInvalid
from ..identity import canonical_email
from ..liveness import ACTIVE, may_act
from ..models import IAMInvitation, IAMUserAccount
from ..passwords import services_password
from ..passwords.services_password import NewPassword
from ..passwords.settings_password import PasswordSettings
from ..principal import Principal
from ..sessions.services_sessions import SignIn
from ..sign_in import services_gate
from ..sign_in import services_login_rows as rows
from ..sign_in.services_gate import LINK, Entry, Shown
from . import services_invited_roles as given
from .services_invited_roles import Promise, Voucher

_I = IAMInvitation


class InvitationUnsupported(Conflict):
    """Nobody who may give these roles stands behind the invitation any more."""

    code = "invitation.unsupported"
    title = N_(
        "This invitation cannot be accepted any more, because whoever sent it may no longer give "
        "what it promises. Please ask to be invited again."
    )


class ElsewhereAlready(InvitationUnsupported):
    """Its rights go by organization, and the person's own is another than the one invited to."""

    code = "invitation.elsewhere"
    title = N_(
        "Your account does not belong to the organization that this invitation is for. "
        "Please ask whoever invited you how to go on."
    )


class SignedInAsOther(Forbidden):
    """The invitation is somebody else's than the person who is signed in here (AT-109)."""

    code = "invitation.other_person"
    title = N_("You are signed in with another address than the one that was invited.")


class AccountThere(Conflict):
    """Somebody with the invited address is here already: they sign in and accept."""

    code = "invitation.account_there"
    title = N_("There is an account with this address already. Please sign in to accept.")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What somebody who was invited tells about themselves; without a password, a passkey comes."""

    username: str
    display_name: str
    password: str | None = field(repr=False)
    browser: bytes = field(repr=False)
    language: str | None = None
    replaces: Principal | None = None


def find(token: str) -> IAMInvitation:
    """Return the invitation of a link that still works; a look changes nothing (AT-101).

    Raises LinkInvalid.
    """
    row = _by_token(token)
    if row is None or _dead(row):
        raise LinkInvalid
    return row


def begin(token: str, *, actor: Actor) -> IAMInvitation:
    """Return the invitation that somebody answers; a refused link leaves its evidence.

    Owns its transactions. Raises LinkInvalid, TooManyAttempts.
    """
    services_limits.charge_address("link", actor=actor)
    row = _by_token(token)
    reason = "unknown" if row is None else _dead(row)
    if row is None or reason:
        refuse(row, reason, actor=actor)
        raise LinkInvalid
    return row


def organization_of(row: IAMInvitation) -> str:
    """Return the name of the tenant that an invitation is to."""
    return _tenant(row).name


def inviter_of(row: IAMInvitation) -> str | None:
    """Return the name of whoever invited, where they are a person of this tenant."""
    found = session().scalar(select(IAMUserAccount).where(IAMUserAccount.id == row.invited_by))
    return found.label if found is not None else None


def role_names(row: IAMInvitation) -> list[str]:
    """Return the names of the roles an invitation promises. Raises InvitationUnsupported."""
    return [item.role.name for item in _promises(row)]


def account_of(row: IAMInvitation) -> IAMUserAccount | None:
    """Return the account that has the invited address already, if there is one."""
    return session().scalar(
        select(IAMUserAccount).where(IAMUserAccount.email_canonical == canonical_email(row.email))
    )


def is_for(row: IAMInvitation, person: Principal) -> bool:
    """Return whether an invitation went to the address of the person who is signed in."""
    found = account_of(row)
    return found is not None and found.id == person.user_id


def accept_new(token: str, newcomer: Newcomer, *, actor: Actor) -> SignIn:
    """Make the invited person's account and open a session, full or pending, at the gate.

    Raises LinkInvalid, AccountThere, InvitationUnsupported, PasswordRefused, InvalidInput,
    IdentityTaken for the username, SessionLimitReached.
    """
    row = find(token)
    if account_of(row) is not None:
        raise AccountThere
    new = _prepare(row, newcomer)
    end_read()
    with transaction():
        row, voucher = _use(token, actor)
        user = _create(row, newcomer, new, voucher, actor)
        _give(user, row, voucher)
        _note_accepted(row, user, actor)
        session().flush()
        return _enter(user.id, newcomer, actor)


def accept_existing(token: str, person: Principal, *, actor: Actor) -> None:
    """Give the roles of an invitation to the signed-in person it went to.

    Raises LinkInvalid, SignedInAsOther, InvitationUnsupported, ElsewhereAlready.
    """
    row = find(token)
    if not is_for(row, person):
        refuse(row, "signed in as somebody else", actor=actor)
        raise SignedInAsOther
    end_read()
    with transaction():
        row, voucher = _use(token, actor)
        user = get_user(person.user_id)
        if user.parent_id != row.parent_id and given.goes_by_organization(_promises(row)):
            # Else a guest of one organization would administer their own, uninvited there.
            raise _unsupported(row, "organization", actor, ElsewhereAlready)
        _give(user, row, voucher)
        _note_accepted(row, user, actor)


def refuse(row: IAMInvitation | None, reason: str, *, actor: Actor) -> None:
    """Record that a link was refused; owns its transaction."""
    with transaction():
        record(
            events.INVITATION_REFUSED,
            resource=row,
            status=FAILURE,
            actor=actor,
            reason=reason,
        )


def _by_token(token: str) -> IAMInvitation | None:
    return session().scalar(select(_I).where(_I.token_digest == token_digest(token[:128])))


def _dead(row: IAMInvitation) -> str:
    """Return why a link no longer works, or nothing."""
    if row.accepted_at is not None:
        return "used"
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= clock.now():
        return "expired"
    if row.parent_id is not None and not given.organization_exists(row.parent_id):
        return "organization"
    return "" if may_act(ACTIVE, _tenant(row).status) else "tenant"


def _tenant(row: IAMInvitation) -> IAMTenant:
    found = session().scalar(select(IAMTenant).where(IAMTenant.id == row.tenant_id))
    if found is None:
        raise NotFound
    return found


def _prepare(row: IAMInvitation, newcomer: Newcomer) -> NewPassword | None:
    if newcomer.password is None:
        return None
    words = [newcomer.username, row.email, newcomer.display_name, organization_of(row)]
    words.append(services_notices.brand())
    _promises(row)
    return services_password.prepare_first(
        [word for word in words if word],
        newcomer.password,
        mfa_required=given.needs_factor(row),
    )


def _promises(row: IAMInvitation) -> list[Promise]:
    try:
        return given.promises_of(row)
    except NotFound:  # a promised role was deleted
        raise InvitationUnsupported from None


def _use(token: str, actor: Actor) -> tuple[IAMInvitation, Voucher]:
    """Use a link up, and return who vouches for it; the inviter is held first."""
    row = find(token)
    if given.comes_too_late(row):
        raise _unsupported(row, "administrator", actor)
    voucher = given.voucher(row, actor)
    if voucher is None:
        raise _unsupported(row, "inviter", actor)
    at = clock.now()
    statement = (
        update(_I)
        .where(
            _I.id == row.id,
            _I.token_digest == token_digest(token[:128]),
            _I.accepted_at.is_(None),
            _I.revoked_at.is_(None),
            _I.expires_at > at,
        )
        .values(accepted_at=at, open_email=None)
    )
    if session().execute(statement).rowcount != 1:  # type: ignore[attr-defined]
        record(events.INVITATION_REFUSED, resource=row, status=FAILURE, actor=actor, reason="used")
        raise LinkInvalid
    return row, voucher


def _create(
    row: IAMInvitation,
    newcomer: Newcomer,
    new: NewPassword | None,
    voucher: Voucher,
    actor: Actor,
) -> IAMUserAccount:
    if account_of(row) is not None:  # made since the page was loaded
        raise AccountThere
    maker = actor.acting_as(kind="system", user_id=None, label="invitation")
    user = services_accounts.create_user(
        username=newcomer.username,
        email=row.email,
        display_name=newcomer.display_name,
        language=newcomer.language or row.language,
        actor_type=row.actor_type,
        parent_id=row.parent_id,
        invite=False,
        password_hash=new.password_hash if new else None,
        email_verified=True,
        status=ACTIVE,
        actor_grants=None,
        actor=maker,
    )
    if new and not new.breach_checked and effective(PasswordSettings).PASSWORD_BREACH_CHECK:
        record(events.PASSWORD_BREACH_CHECK_UNAVAILABLE, resource=user, actor=maker)
    if voucher.grants is not None and not voucher.grants.allows(
        "invitation:create", parent_id=row.parent_id
    ):
        raise _unsupported(row, "inviter", actor)
    return user


def _give(user: IAMUserAccount, row: IAMInvitation, voucher: Voucher) -> None:
    try:
        for item in given.promises_of(row):
            services_rbac.assign_role(
                user,
                item.role,
                scope=item.scope,
                organization_id=item.organization_id,
                actor_grants=voucher.grants,
                actor=voucher.actor,
            )
    except (Forbidden, InvalidInput, NotFound) as error:
        raise _unsupported(row, error.code, voucher.actor) from None


def _unsupported(
    row: IAMInvitation,
    reason: str,
    actor: Actor,
    refusal: type[InvitationUnsupported] = InvitationUnsupported,
) -> IAMError:
    record(events.INVITATION_REFUSED, resource=row, status=FAILURE, actor=actor, reason=reason)
    return refusal()


def _note_accepted(row: IAMInvitation, user: IAMUserAccount, actor: Actor) -> None:
    row.accepted_by = user.id
    by = actor.acting_as(kind="user", user_id=user.id)
    record(events.INVITATION_ACCEPTED, resource=row, subject_id=user.id, actor=by)


def _enter(user_id: UUID, newcomer: Newcomer, actor: Actor) -> SignIn:
    account, device = rows.find_by_id(user_id, newcomer.browser)
    if account is None:
        raise InvalidCredentials
    entry = Entry(newcomer.browser, replaces=newcomer.replaces)
    return services_gate.enter(account, Shown(LINK, ("email",)), entry, device, actor=actor)
