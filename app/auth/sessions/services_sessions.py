"""Server-side sessions: opened, rotated, limited, ended (J1, J2, J4).

One row each, named by the digest of a 256-bit token. Who a token belongs to is
`services_session_lookup`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Insert, Table, and_, bindparam, func, insert, select, update
from sqlalchemy.sql import Select

from ...audit import events
from ...audit.services_audit import record
from ...core import clock, rng, signals
from ...core.actor import Actor
from ...core.crypto import token_digest
from ...core.db import after_commit, run_prepared, session, transaction
from ...core.errors import NotFound
from ...core.ids import new_id
from ...tenancy.models import IAMTenant
from ..access import services_access_ends
from ..errors import SessionLimitReached
from ..models import IAMAuthSession, IAMUserAccount
from ..principal import Principal
from ..settings import AuthSettings
from ..sign_in.services_login_rows import Account
from .services_session_lookup import ACTIVE, LIVE, PENDING, REVOKED, is_idle
from .services_session_policy import lifetime, pending_lifetime, policy_of

_S, _U = IAMAuthSession, IAMUserAccount
_OF_ITS_ACCOUNT = "the row carries the tenant of its account"
_TABLE = cast(Table, IAMAuthSession.__table__)
_USER = cast(Table, IAMUserAccount.__table__)
_TENANT = cast(Table, IAMTenant.__table__)
_INSERT = insert(_TABLE)
_LIVE = (
    select(_TABLE.c.id)
    .where(
        _TABLE.c.tenant_id == bindparam("tenant"),
        _TABLE.c.user_id == bindparam("user"),
        _TABLE.c.state == ACTIVE,
        _TABLE.c.expires_at > bindparam("at"),
    )
    .order_by(_TABLE.c.id.desc())
)


def _insert_within_limit() -> Insert:
    # One statement counts and inserts; FROM the account's row, which the caller has locked.
    other = _TABLE.alias("other")
    live = select(func.count()).where(
        other.c.tenant_id == bindparam("tenant"),
        other.c.user_id == bindparam("user"),
        other.c.state == ACTIVE,
        other.c.expires_at > bindparam("at"),
    )
    names = [column.name for column in _TABLE.columns]
    values = [bindparam(name, type_=_TABLE.c[name].type) for name in names]
    row = select(*values).select_from(_USER).where(
        _USER.c.tenant_id == bindparam("tenant"),
        _USER.c.id == bindparam("user"),
        live.scalar_subquery() < bindparam("limit"),
    )  # fmt: skip
    return insert(_TABLE).from_select(names, row)


_INSERT_WITHIN_LIMIT = _insert_within_limit()


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a browser gets: the new token, and what is still missing (`stage`).

    `generation` is the new one of its device cookie, None where that stays as it is;
    `device_cookie` a new cookie in place of one that was copied.
    """

    token: str
    session_id: UUID
    stage: str
    remember: bool
    expires_at: datetime
    next_url: str | None = None
    generation: int | None = None
    device_cookie: str | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """Return whether nothing is missing."""
        return self.stage == "done"


def open_session(
    user: IAMUserAccount | Account,
    *,
    state: str,
    stage: str,
    amr: tuple[str, ...],
    acr: str,
    device_id: UUID | None,
    remember: bool,
    next_url: str | None,
    actor: Actor,
) -> SignIn:
    """Insert a session, active or pending, and return its token.

    For an active one the caller has locked the account row, so that parallel sign-ins
    count one another (AT-126). Raises SessionLimitReached where the policy refuses.
    """
    at = clock.now()
    token = rng.token()
    policy = policy_of(user)
    ends = pending_lifetime(at) if state == PENDING else lifetime(policy, remember, at)
    expires_at, idle_seconds = ends
    session_id = new_id()
    values: dict[str, Any] = {
        "id": session_id, "tenant_id": user.tenant_id, "user_id": user.id, "device_id": device_id,
        "token_digest": token_digest(token), "state": state, "stage": stage,
        "remember": remember, "next_url": next_url, "amr": list(amr), "acr": acr, "proofs": {},
        "login_time": at, "auth_time": at, "mfa_time": at if acr != "aal1" else None,
        "last_activity_at": at, "idle_seconds": idle_seconds, "expires_at": expires_at,
        "logout_time": None, "revoke_reason": None, "access_context_id": None,
        "ip": actor.ip, "user_agent": (actor.user_agent or "")[:400],
    }  # fmt: skip
    if state != ACTIVE or not _insert_if_room(user, policy.max_sessions, values, at):
        if state == ACTIVE:
            make_room(user.id, policy.max_sessions, actor=actor)
        run_prepared(_INSERT, values, reason=_OF_ITS_ACCOUNT)
    return SignIn(token, session_id, stage, remember, expires_at, next_url)


def rotate(
    session_id: UUID, from_states: tuple[str, ...], *, from_stage: str | None = None, **changes: Any
) -> SignIn:
    """Give a session a new token and `changes`; the old token dies at once.

    Raises NotFound where the session is no longer in one of `from_states`, or not at
    `from_stage` where that is given: the update is a compare-and-swap, so of two parallel
    requests one wins, and a sign-in that was sent back to another stage is not completed.
    """
    token = rng.token()
    stage = [] if from_stage is None else [_S.stage == from_stage]
    statement = (
        update(_S)
        .where(_S.id == session_id, _S.state.in_(from_states), *stage)
        .values(token_digest=token_digest(token), last_activity_at=clock.now(), **changes)
        .execution_options(synchronize_session=False)
    )
    if not session().execute(statement).rowcount:  # type: ignore[attr-defined]
        raise NotFound(code="session.gone")
    row = get(session_id)
    return SignIn(token, row.id, row.stage, row.remember, row.expires_at, row.next_url)


def activate(
    principal: Principal, *, amr: tuple[str, ...], acr: str, at: datetime, actor: Actor
) -> SignIn:
    """Turn a pending session into a full one. Raises NotFound where it is gone."""
    policy = policy_of(principal)
    expires_at, idle_seconds = lifetime(policy, principal.remember, at)
    session().execute(select(_U.id).where(_U.id == principal.user_id).with_for_update())
    make_room(principal.user_id, policy.max_sessions, actor=actor)
    return rotate(
        principal.session_id,
        (PENDING,),
        from_stage=principal.stage,
        state=ACTIVE,
        stage="done",
        amr=list(amr),
        acr=acr,
        auth_time=at,
        mfa_time=at if acr != "aal1" else None,
        expires_at=expires_at,
        idle_seconds=idle_seconds,
    )


def record_proof(
    principal: Principal, *, purpose: str, method: str, acr: str, actor: Actor
) -> SignIn:
    """Keep a fresh proof for `purpose`, raise the assurance, rotate the token (F1)."""
    at = clock.now()
    row = get(principal.session_id)
    amr = [*row.amr, *([method] if method not in row.amr else [])]
    stronger = max(row.acr, acr)
    proofs = {**row.proofs, purpose: {"at": at.isoformat(), "acr": acr}}
    record(
        events.STEP_UP_SUCCEEDED, resource=row, actor=actor, purpose=purpose, method=method, acr=acr
    )
    return rotate(
        principal.session_id,
        (ACTIVE,),
        amr=amr,
        acr=stronger,
        proofs=proofs,
        mfa_time=at if acr != "aal1" else row.mfa_time,
    )


def make_room(user_id: UUID, limit: int, *, actor: Actor) -> None:
    """Hold the limit of concurrent sessions: end the oldest, or refuse (J2).

    The caller has locked the account row, so parallel sign-ins count one another (AT-126).
    Raises SessionLimitReached where the policy refuses.
    """
    parameters = {"tenant": actor.tenant_id, "user": user_id, "at": clock.now()}
    live = run_prepared(_LIVE, parameters, reason="the actor's tenant is a parameter")
    surplus = [row.id for row in live][limit - 1 :]
    if not surplus:
        return
    if AuthSettings.current().SESSION_LIMIT_ACTION == "refuse":
        raise SessionLimitReached
    _end(surplus, "limit")
    record(
        events.SESSION_LIMIT_REACHED,
        resource=("user_account", user_id),
        actor=actor,
        limit=limit,
    )


def touch(principal: Principal) -> None:
    """Write the last activity, at most every SESSION_TOUCH_SECONDS, in its own transaction."""
    at = clock.now()
    due = timedelta(seconds=AuthSettings.current().SESSION_TOUCH_SECONDS)
    if at - principal.last_activity_at < due:
        return
    statement = (
        update(_S)
        .where(_S.id == principal.session_id, _S.state == ACTIVE)
        .values(last_activity_at=at)
        .execution_options(synchronize_session=False)
    )
    session().rollback()
    with transaction():
        session().execute(statement)


def get(session_id: UUID | None) -> IAMAuthSession:
    """Return one session as stored now. Raises NotFound."""
    found = session().scalar(
        select(_S).where(_S.id == session_id).execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound
    return found


def owner(principal: Principal) -> IAMUserAccount:
    """Return the account of a session as stored now. Raises NotFound."""
    found = session().scalar(
        select(_U).where(_U.id == principal.user_id).execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound
    return found


def tenant_of(user: IAMUserAccount) -> IAMTenant:
    """Return the tenant of an account that was already loaded in its scope."""
    tenant = session().get(IAMTenant, user.tenant_id)
    if tenant is None:
        raise NotFound
    return tenant


def end_quietly(session_id: UUID, reason: str) -> None:
    """End a session that another one replaces; no audit row of its own."""
    _end([session_id], reason)


def get_of(user_id: UUID, session_id: UUID | None) -> IAMAuthSession:
    """Return one session of the user. Raises NotFound for another person's."""
    row = get(session_id)
    if row.user_id != user_id:
        raise NotFound
    return row


def list_live(user_id: UUID) -> list[IAMAuthSession]:
    """Return the user's full, unexpired sessions, newest first."""
    return [row for row in session().scalars(_live_of(user_id)) if not is_idle(row, clock.now())]


def revoke(session_id: UUID, reason: str, *, actor: Actor) -> None:
    """End one session. Raises NotFound where it is not live any more."""
    row = get(session_id)
    if not _end([session_id], reason):
        raise NotFound
    services_access_ends.end_with_session(row, actor=actor)
    event = events.LOGOUT if reason == "logout" else events.SESSION_REVOKED
    details: dict[str, Any] = {} if reason == "logout" else {"reason": reason, "count": 1}
    record(event, resource=row, subject_id=row.user_id, actor=actor, **details)
    _announce(row.user_id, reason)


def revoke_all(
    user_id: UUID,
    reason: str,
    *,
    except_id: UUID | None = None,
    states: tuple[str, ...] = LIVE,
    actor: Actor,
) -> int:
    """End every session of a user, pending ones too, but for `except_id`; return how many."""
    which = and_(_S.user_id == user_id, _S.state.in_(states))
    ended = _end_where(which, except_id, reason)
    if ended:
        services_access_ends.end_with_sessions(_S.user_id == user_id, actor=actor)
        record(
            events.SESSION_REVOKED,
            resource=("user_account", user_id),
            actor=actor,
            reason=reason,
            count=ended,
        )
        _announce(user_id, reason)
    return ended


def end_of_tenant(reason: str) -> None:
    """End every session of the tenant in scope, in one statement; the caller records why."""
    _end_where(_S.state.in_(LIVE), None, reason)


def revoke_device(device_id: UUID, *, except_id: UUID | None = None, actor: Actor) -> int:
    """End the sessions of one device; return how many."""
    ended = _end_where(_S.device_id == device_id, except_id, "device_revoked")
    if ended:
        services_access_ends.end_with_sessions(_S.device_id == device_id, actor=actor)
        record(
            events.SESSION_REVOKED,
            resource=("device", device_id),
            actor=actor,
            reason="device_revoked",
            count=ended,
        )
    return ended


def end_among(sessions: Select[Any], people: Iterable[UUID], reason: str) -> int:
    """End the live sessions whose ids a query names; the caller records it and names whose."""
    ended = _end_where(_S.id.in_(sessions), None, reason)
    for user_id in people if ended else ():
        _announce(user_id, reason)
    return ended


def _insert_if_room(
    user: IAMUserAccount | Account, limit: int, values: dict[str, Any], at: datetime
) -> bool:
    room = {"tenant": user.tenant_id, "user": user.id, "at": at, "limit": limit}
    found = run_prepared(_INSERT_WITHIN_LIMIT, {**values, **room}, reason=_OF_ITS_ACCOUNT)
    return bool(found.rowcount)


def _live_of(user_id: UUID) -> Any:
    return (
        select(_S)
        .where(_S.user_id == user_id, _S.state == ACTIVE, _S.expires_at > clock.now())
        .order_by(_S.id.desc())
        .limit(200)
    )


def _end(session_ids: list[UUID], reason: str) -> int:
    return _end_where(_S.id.in_(session_ids), None, reason) if session_ids else 0


def _end_where(which: ColumnElement[bool], except_id: UUID | None, reason: str) -> int:
    # One UPDATE by condition, never a list read before: in a transaction that repeats its
    # reads, a session that was opened meanwhile would be missing from the list (AT-459).
    others = [] if except_id is None else [_S.id != except_id]
    statement = (
        update(_S)
        .where(which, _S.state.in_(LIVE), *others)
        .values(state=REVOKED, revoke_reason=reason, logout_time=clock.now())
        .execution_options(synchronize_session=False)
    )
    return int(session().execute(statement).rowcount)  # type: ignore[attr-defined]


def _announce(user_id: UUID, reason: str) -> None:
    signal = signals.user_signed_out if reason == "logout" else signals.session_revoked
    after_commit(lambda: signal.send(str(user_id), reason=reason))
