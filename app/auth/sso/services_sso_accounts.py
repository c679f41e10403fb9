"""Whose account an identity is: found, linked, or made at the first sign-in (G3).

Only (issuer, subject) identifies. A verified address that somebody here has leads to that
person's own sign-in, never silently into the account; an unverified one to nothing (AT-214).
What an identity may not decide stays with others: rights, liveness, the sign-in gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from ...audit import events
from ...audit.services_audit import record
from ...authz import services_rbac
from ...core import clock
from ...core.actor import Actor
from ...core.db import session
from ...core.errors import Conflict, InvalidInput
from ...tenancy.models import IAMDomain
from ..accounts import services_accounts, username_choice
from ..accounts.errors_accounts import IdentityTaken
from ..accounts.services_directory import hold_user
from ..errors import InvalidCredentials
from ..identity import canonical_email, check_email
from ..liveness import ACTIVE, INVITED, PENDING, may_enter
from ..mfa import services_recovery_codes
from ..models import IAMUserAccount, IAMUserIdentity
from ..sessions import services_sessions
from . import attributes, services_connections, services_identities
from .connection import DOMAINS, OPEN, Connection
from .connection import INVITED as BY_INVITATION
from .errors_sso import LinkRequired, NoAccount
from .services_identities import CREATED, DOMAIN, INVITATION
from .userinfo import UserInfo

_U = IAMUserAccount


@dataclass(frozen=True, slots=True)
class Found:
    """Whose account it is, by which identity, and whether it was made just now."""

    user: IAMUserAccount
    identity: IAMUserIdentity
    created: bool = False

    @property
    def user_id(self) -> UUID:
        """Return the id of the account."""
        return self.user.id


def find_or_create_user(info: UserInfo, connection: Connection, *, actor: Actor) -> Found:
    """Return the account that an identity signs in to; joins the caller's transaction.

    Holds the connection, then the account. Raises LinkRequired where an account has the
    address, NoAccount where the connection makes none, InvalidCredentials where the account
    may not act, SsoRefused where the connection was disabled meanwhile.
    """
    row = services_identities.find(info, connection)
    # First sign-ins of one connection follow one another, so that two of the same person
    # at once make one account.
    services_connections.hold(connection, alone=row is None)
    if row is None:
        row = services_identities.find(info, connection, locked=True)
    if row is None:
        found = _match_or_create(info, connection, _acting(connection, actor))
    else:
        found = Found(_alive(row), row)
    services_identities.seen(found.identity, info, clock.now())
    return found


def _alive(row: IAMUserIdentity) -> IAMUserAccount:
    # The account before its rows, as everywhere: else two of these could deadlock. The gate
    # decides; asked before, nothing is written for an account that may not enter.
    user = hold_user(row.user_id)
    if not may_enter(user.status, services_sessions.tenant_of(user).status):
        raise InvalidCredentials
    return user


def _match_or_create(info: UserInfo, connection: Connection, actor: Actor) -> Found:
    address = _address(info)
    domain = _domain(address)
    vouched = address is not None and info.email_verified and _speaks_for(connection, domain)
    holder = _holder(address) if address is not None else None
    if holder is not None and vouched:
        services_recovery_codes.lock_account(holder)
        session().refresh(holder)  # as it is now: its owner may just have proved the address
        if not _gives_way(holder):
            return _match(holder, info, connection, domain, actor)
        _check_creates(connection, domain, vouched=vouched)
        _discard(holder, actor)
    else:
        _check_creates(connection, domain, vouched=vouched)
        if holder is not None:  # somebody's already, and not proved: it opens nothing (AT-214)
            raise NoAccount
    return _create(info, connection, address, vouched=vouched, actor=actor)


def _match(
    user: IAMUserAccount,
    info: UserInfo,
    connection: Connection,
    domain: IAMDomain | None,
    actor: Actor,
) -> Found:
    """Link to the account that has the verified address, where its owner need not be asked."""
    if user.status == INVITED and connection.jit in {BY_INVITATION, DOMAINS, OPEN}:
        if services_rbac.is_privileged(user):
            raise LinkRequired(user.id)
        _claim(user, actor)
        row = services_identities.link(user, info, connection, linked_by=INVITATION, actor=actor)
        return Found(user, row)
    if user.status not in {ACTIVE, INVITED}:
        raise InvalidCredentials
    if not _is_bound(domain, connection) or not _may_link_alone(user, connection):
        raise LinkRequired(user.id)
    row = services_identities.link(user, info, connection, linked_by=DOMAIN, actor=actor)
    return Found(user, row)


def _may_link_alone(user: IAMUserAccount, connection: Connection) -> bool:
    if user.status != ACTIVE or not user.email_verified or services_rbac.is_privileged(user):
        return False
    # An address that went to another person over there names somebody else now (AT-196).
    known = services_identities.identities_of(user.id)
    return all(identity.connection_id != connection.id for identity, _row in known)


def _claim(user: IAMUserAccount, actor: Actor) -> None:
    """Make an invited account its owner's, who has proved the address it was made for."""
    services_identities.drop_planted(user, session_id=None, actor=actor)
    user.status, user.email_verified = ACTIVE, True
    user.updated_at = clock.now()
    changes = {"status": [INVITED, ACTIVE]}
    record(events.USER_REACTIVATED, resource=user, changes=changes, actor=actor)


def _gives_way(user: IAMUserAccount) -> bool:
    # Nobody ever proved that address, or got in: whoever made the account may have meant
    # to wait in it for the address's owner (AT-210).
    return user.status == PENDING and user.last_login_at is None


def _discard(user: IAMUserAccount, actor: Actor) -> None:
    services_accounts.delete_user(
        user,
        reason="never verified; its address was proved by somebody else",
        actor_grants=None,
        actor=actor,
    )


def _check_creates(connection: Connection, domain: IAMDomain | None, *, vouched: bool) -> None:
    if connection.jit == OPEN:
        return
    if connection.jit == DOMAINS and vouched and domain is not None:
        return
    raise NoAccount


def _create(
    info: UserInfo, connection: Connection, address: str | None, *, vouched: bool, actor: Actor
) -> Found:
    wishes = (address or "", info.username or "", info.name or "")
    seed = services_identities.identity_digest(connection.id, info.issuer, info.subject).hex()
    for name in username_choice.free_names(wishes, seed):
        try:
            user = _insert(name, info, connection, address, vouched=vouched, actor=actor)
        except IdentityTaken as refusal:
            if refusal.field != "username":
                raise
            continue  # somebody else took it a moment ago
        row = services_identities.add(user, info, connection, linked_by=CREATED, actor=actor)
        record(
            events.SSO_ACCOUNT_CREATED,
            resource=user,
            actor=actor,
            connection=connection.slug,
            provider=connection.provider,
        )
        return Found(user, row, created=True)
    raise Conflict


def _insert(
    name: str,
    info: UserInfo,
    connection: Connection,
    address: str | None,
    *,
    vouched: bool,
    actor: Actor,
) -> IAMUserAccount:
    with session().begin_nested():
        return services_accounts.create_user(
            username=name,
            email=address,
            **attributes.personal_values(info, connection),
            invite=False,
            email_verified=vouched,
            # An address that nobody proved is asked about before anything else (AT-215).
            status=ACTIVE if vouched or address is None else PENDING,
            actor_grants=None,
            actor=actor,
        )


def _address(info: UserInfo) -> str | None:
    try:
        return check_email(info.email) if info.email else None
    except InvalidInput:
        return None


def _holder(address: str) -> IAMUserAccount | None:
    return session().scalar(select(_U).where(_U.email_canonical == canonical_email(address)))


def _domain(address: str | None) -> IAMDomain | None:
    """Return the tenant's verified domain that an address belongs to."""
    if address is None:
        return None
    name = canonical_email(address).rpartition("@")[2]
    return session().scalar(select(IAMDomain).where(IAMDomain.verified_name == name))


def _speaks_for(connection: Connection, domain: IAMDomain | None) -> bool:
    # The word of one provider does not count for people whom another one signs in (AT-194).
    return domain is None or domain.connection_id in {None, connection.id}


def _is_bound(domain: IAMDomain | None, connection: Connection) -> bool:
    return domain is not None and domain.connection_id == connection.id


def _acting(connection: Connection, actor: Actor) -> Actor:
    """Return the connection as the one who acts: nobody is signed in yet."""
    return actor.acting_as(
        kind="system", user_id=None, session_id=None, label=f"sso:{connection.slug}"
    )
