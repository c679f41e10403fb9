"""Invitations made, sent again, taken back and listed (B3).

The answer never tells whether somebody with the address is here already: whoever reads its
mail learns that. A newer invitation to an address closes the older ones that its inviter could
make, and kills their links; it neither touches nor tells of others (AT-366).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, false, select, update
from sqlalchemy.exc import IntegrityError

from ...audit import events
from ...audit.services_audit import record
from ...authz.grants import Grants
from ...authz.services_grants import role_tree
from ...authz.services_guards import require
from ...core import clock, rng
from ...core.actor import Actor
from ...core.crypto import token_digest
from ...core.db import session
from ...core.errors import Conflict, InvalidInput, NotFound
from ...core.i18n import N_, speaking
from ...core.ids import new_id
from ...core.paging import Page, page_by_id
from ...core.scoping import current_tenant_id
from ...notify import messages, services_outbox
from ...notify.messages import EMAIL
from ...tenancy.models import IAMTenant
from ...tenancy.services_settings import effective
from ..accounts import services_notices
from ..accounts.account_fields import clean_fields
from ..identity import canonical_email
from ..models import IAMInvitation
from ..web.links import public_url
from . import services_invited_roles as given
from .services_invited_roles import GivenRole
from .settings_invitations import InvitationSettings

__all__ = [
    "GivenRole",
    "get_invitation",
    "invite",
    "list_invitations",
    "replace_unsigned",
    "resend",
    "revoke",
]

WAITING, ACCEPTED, REVOKED, EXPIRED = "waiting", "accepted", "revoked", "expired"
MOST_ROLES = 20
_I = IAMInvitation
_Query = Select[Any]
_OPEN = (_I.accepted_at.is_(None), _I.revoked_at.is_(None))


def invite(
    email: str,
    *,
    roles: Iterable[str | GivenRole] = (),
    parent_id: UUID | None = None,
    name: str = "",
    language: str | None = None,
    actor_grants: Grants | None,
    actor: Actor,
) -> IAMInvitation:
    """Invite somebody into the tenant in scope and queue the mail; joins the transaction.

    Older ones to the address are closed, as far as the acting person reaches. Raises
    InvalidInput, Forbidden where a role is above the acting person, TooManyAttempts where the
    address got too much mail, Conflict.
    """
    typed = {"email": email, "display_name": name, "language": language}
    values = clean_fields(typed)
    if values["email"] is None:
        raise InvalidInput(N_("An e-mail address is needed to invite somebody"), field="email")
    promised = given.promises(roles)
    if len(promised) > MOST_ROLES:
        raise InvalidInput(field="roles")
    if parent_id is not None and not given.organization_exists(parent_id):
        raise InvalidInput(N_("Choose an organization from the list"), field="parent_id")
    given.guard(promised, parent_id=parent_id, actor_grants=actor_grants, actor=actor)
    services_outbox.check_send_caps(EMAIL, values["email"], actor)
    canonical = canonical_email(values["email"])
    _close_open(canonical, actor_grants, actor)
    row = IAMInvitation(
        id=new_id(),
        email=values["email"],
        open_email=canonical,
        open_place=parent_id or current_tenant_id(),
        name=values["display_name"],
        language=values["language"],
        actor_type=given.actor_type_for(promised),
        roles=[item.stored() for item in promised],
        parent_id=parent_id,
        invited_by=actor.user_id,
        created_at=clock.now(),
    )
    _make(row, [item.role.name for item in promised], actor)
    return row


def resend(row: IAMInvitation, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Send an invitation again, with a new link and term; whoever does vouches for it.

    Raises Forbidden as `invite`, Conflict where it no longer waits, TooManyAttempts.
    """
    given.guard(
        given.promises_of(row), parent_id=row.parent_id, actor_grants=actor_grants, actor=actor
    )
    if row.parent_id is not None and not given.organization_exists(row.parent_id):
        raise Conflict(N_("This organization is closed"))
    services_outbox.check_send_caps(EMAIL, row.email, actor)
    session().refresh(row, with_for_update=True)
    if row.accepted_at is not None or row.revoked_at is not None:
        raise Conflict(N_("This invitation was answered or taken back already"))
    token = _renew(row)
    row.invited_by = actor.user_id
    session().flush()
    record(events.INVITATION_SENT, resource=row, actor=actor, purpose="invitation")
    _send(row, token, actor)


def revoke(row: IAMInvitation, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Take an invitation back; its link dies. Raises Forbidden, Conflict where it was answered."""
    require("invitation:delete", parent_id=row.parent_id, actor_grants=actor_grants, actor=actor)
    if not _close(_I.id == row.id):
        raise Conflict(N_("This invitation was answered or taken back already"))
    record(events.INVITATION_REVOKED, resource=row, actor=actor, reason="taken back")


def replace_unsigned(actor: Actor) -> None:
    """Close every open invitation that the system made here: a newer one takes their place.

    Locking, so that one made meanwhile is read, too; the caller holds the tenant's row.
    """
    query = select(_I).where(_I.invited_by.is_(None), *_OPEN).with_for_update()
    _replace(session().scalars(query).all(), actor)


def list_invitations(
    reach: frozenset[UUID] | None, *, cursor: str | None = None, size: int = 25
) -> Page[IAMInvitation]:
    """Return a page of invitations, newest first; `reach` is that of `organizations_for`."""
    return page_by_id(session(), _within(select(_I), reach), _I.id, cursor=cursor, size=size)


def get_invitation(invitation_id: UUID | None, reach: frozenset[UUID] | None) -> IAMInvitation:
    """Return one invitation. Raises NotFound, also outside the organizations of `reach`."""
    query: _Query = select(_I).where(_I.id == invitation_id)
    found: IAMInvitation | None = session().scalar(_within(query, reach))
    if found is None:
        raise NotFound
    return found


def role_names() -> dict[UUID, str]:
    """Return the names of the tenant's roles by id; one query."""
    return {node.id: node.name for node in role_tree().values()}


def status_of(row: IAMInvitation) -> str:
    """Return how an invitation stands now."""
    if row.accepted_at is not None:
        return ACCEPTED
    if row.revoked_at is not None:
        return REVOKED
    return EXPIRED if row.expires_at <= clock.now() else WAITING


def _within(query: _Query, reach: frozenset[UUID] | None) -> _Query:
    if reach is None:
        return query
    return query.where(_I.parent_id.in_(reach) if reach else false())


def _renew(row: IAMInvitation) -> str:
    token, at = rng.token(), clock.now()
    days = effective(InvitationSettings).IAM_INVITATION_DAYS
    row.token_digest, row.sent_at = token_digest(token), at
    row.expires_at = at + timedelta(days=days)
    return token


def _make(row: IAMInvitation, roles: list[str], actor: Actor) -> None:
    token = _renew(row)
    _insert(row)
    record(
        events.INVITATION_CREATED,
        resource=row,
        actor=actor,
        roles=roles,
        expires_at=row.expires_at,
    )
    _send(row, token, actor)
    session().flush()  # now: later, in the caller's scope, these may be another tenant's rows


def _insert(row: IAMInvitation) -> None:
    try:
        with session().begin_nested():
            session().add(row)
    except IntegrityError:  # the unique key decides between two at the same moment
        raise Conflict(N_("Somebody has just invited this person"), field="email") from None


def _close_open(canonical: str, grants: Grants | None, actor: Actor) -> None:
    found = session().scalars(select(_I).where(_I.open_email == canonical)).all()
    reached = (
        older
        for older in found
        if grants is None or grants.allows("invitation:create", parent_id=older.parent_id)
    )
    _replace(reached, actor)


def _replace(rows: Iterable[IAMInvitation], actor: Actor) -> None:
    for older in rows:
        if _close(_I.id == older.id):
            record(events.INVITATION_REVOKED, resource=older, actor=actor, reason="replaced")


def _close(which: ColumnElement[bool]) -> bool:
    statement = update(_I).where(which, *_OPEN).values(revoked_at=clock.now(), open_email=None)
    result: Any = session().execute(statement)
    return bool(result.rowcount)


def _send(row: IAMInvitation, token: str, actor: Actor) -> None:
    link = public_url("iam_auth.invitation", token=token)
    tenant = session().scalar(select(IAMTenant).where(IAMTenant.id == row.tenant_id))
    with speaking(row.language):
        message = messages.invitation(
            row.email,
            link=link,
            days=(row.expires_at - row.sent_at).days,
            brand=services_notices.brand(),
            organisation=tenant.name if tenant is not None else None,
        )
    services_outbox.enqueue(message, expires_at=row.expires_at, actor=actor)
