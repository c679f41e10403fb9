"""Rules that give roles by what a provider says, at every sign-in (G4).

A rule names a claim, a value (compared exactly) and a role that its author could give;
what it gives it also takes away. The rights themselves are `authz/services_mapped_roles`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ...audit import events
from ...audit.services_audit import DENIED, record
from ...authz import services_mapped_roles
from ...authz.grants import Grants
from ...authz.models import IAMRole
from ...core import clock
from ...core.actor import Actor
from ...core.db import session
from ...core.errors import Conflict, InvalidInput, NotFound
from ...core.i18n import _
from ...core.ids import new_id
from ..liveness import ACTIVE
from ..models import IAMSsoConnection, IAMSsoRoleRule, IAMUserAccount
from .attributes import check_path, values_at
from .connection import Connection
from .userinfo import UserInfo

MAX_VALUE = 255
_R, _C = IAMSsoRoleRule, IAMSsoConnection


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as pages show it."""

    id: UUID
    claim: str
    value: str
    role_id: UUID
    role: str
    created_at: datetime
    withheld: bool = False


def rules_of(connection_id: UUID) -> list[Rule]:
    """Return a connection's rules in the order they were written, and which are withheld."""
    rows = (
        session()
        .execute(
            select(_R, IAMRole.name)
            .join(IAMRole, IAMRole.id == _R.role_id)
            .where(_R.connection_id == connection_id)
            .order_by(_R.id)
        )
        .all()
    )
    held_back = services_mapped_roles.exceeding((row.role_id, row.ceiling) for row, _name in rows)
    return [
        Rule(row.id, row.claim, row.value, row.role_id, name, row.created_at, grown)
        for (row, name), grown in zip(rows, held_back, strict=True)
    ]


def add_rule(
    connection_id: UUID,
    claim: str,
    value: str,
    role: IAMRole,
    *,
    actor_grants: Grants | None,
    actor: Actor,
) -> IAMSsoRoleRule:
    """Let a claim's value give a role from the next sign-in on.

    Raises Forbidden where the acting person could not give that role, NotFound,
    InvalidInput, Conflict where the rule is there already.
    """
    connection = _connection(connection_id)
    ceiling = services_mapped_roles.check_mappable(role, actor_grants=actor_grants, actor=actor)
    row = _R(
        id=new_id(),
        connection_id=connection.id,
        claim=check_path(claim),
        value=_value(value),
        role_id=role.id,
        ceiling=ceiling,
        written_by=actor.user_id,
        created_at=clock.now(),
    )
    try:
        with session().begin_nested():
            session().add(row)
            session().flush()
    except IntegrityError:
        raise Conflict(_("This rule is there already"), code="sso.rule_exists") from None
    _record(events.SSO_RULE_ADDED, connection, row.claim, role.name, actor)
    return row


def remove_rule(rule_id: UUID | None, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Take a rule away; what it gave ends at each person's next sign-in.

    Raises NotFound, Forbidden where the acting person could not give its role.
    """
    found = session().execute(
        select(_R, IAMRole).join(IAMRole, IAMRole.id == _R.role_id).where(_R.id == rule_id)
    ).first()  # fmt: skip
    if found is None:
        raise NotFound
    row, role = found
    services_mapped_roles.check_mappable(role, actor_grants=actor_grants, actor=actor)
    connection = _connection(row.connection_id)
    session().delete(row)
    session().flush()
    _record(events.SSO_RULE_REMOVED, connection, row.claim, role.name, actor)


def guard_roles_by(connection_id: UUID, *, actor_grants: Grants | None, actor: Actor) -> None:
    """Refuse to whoever could not give the roles that its rules give. Raises Forbidden."""
    given = set(session().scalars(select(_R.role_id).where(_R.connection_id == connection_id)))
    services_mapped_roles.guard_roles(given, actor_grants=actor_grants, actor=actor)


def apply(user: IAMUserAccount, info: UserInfo, connection: Connection, *, actor: Actor) -> None:
    """Give and take roles by what a provider says now; joins the transaction.

    An account whose address is not proved yet gets none (AT-215). What a rule may not
    give any more is withheld and recorded.
    """
    wanted: dict[UUID, list[list[str]]] = defaultdict(list)
    rules = session().scalars(select(_R).where(_R.connection_id == connection.id)).all()
    if user.status == ACTIVE:
        for rule in rules:
            if rule.value in values_at(info.claims, rule.claim):
                wanted[rule.role_id].append(list(rule.ceiling))
    acting = actor.acting_as(
        kind="system", user_id=None, session_id=None, label=f"sso:{connection.slug}"
    )
    _record_synced(
        user.id,
        services_mapped_roles.sync(user.id, connection.id, wanted, actor=acting),
        connection,
        acting,
    )


def withdraw(connection_id: UUID, *, actor: Actor) -> int:
    """Take what a connection's rules gave, for one that is deleted; return how many roles.

    The caller records it. Raises LastAdministrator.
    """
    return services_mapped_roles.end_of_connection(connection_id, actor=actor)


def _record_synced(
    user_id: UUID, synced: services_mapped_roles.Synced, connection: Connection, actor: Actor
) -> None:
    if synced.changed:
        record(
            events.SSO_ROLES_APPLIED,
            resource=("user_account", user_id),
            actor=actor,
            connection=connection.slug,
            provider=connection.provider,
            roles=list(synced.given),
            removed=list(synced.taken),
        )
    for name, reason in synced.withheld.items():
        record(
            events.SSO_ROLE_WITHHELD,
            resource=("user_account", user_id),
            status=DENIED,
            actor=actor,
            connection=connection.slug,
            provider=connection.provider,
            role=name,
            reason=reason,
        )


def _connection(connection_id: UUID) -> IAMSsoConnection:
    found = session().scalar(select(_C).where(_C.id == connection_id))
    if found is None:
        raise NotFound
    return found


def _value(text: str) -> str:
    value = text.strip()
    if not value or len(value) > MAX_VALUE or not value.isprintable():
        raise InvalidInput(_("Enter the value that gives the role"), field="value")
    return value


def _record(
    event: events.Event, connection: IAMSsoConnection, claim: str, role: str, actor: Actor
) -> None:
    record(
        event, resource=connection, actor=actor, connection=connection.slug, claim=claim, role=role
    )
