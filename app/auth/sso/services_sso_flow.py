"""Trips to a provider and back: opened, used up once, before anything else is looked at.

State and nonce are kept by digest, the PKCE verifier encrypted; a trip is bound to browser
and connection (AT-176, AT-178, AT-180). An identity that waits for its account's owner to
sign in waits here, encrypted. Refuses to know what a provider says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, or_, select, update

from ...core import clock, rng
from ...core.crypto import keyring, token_digest
from ...core.db import session, transaction
from ...core.ids import new_id
from ..models import IAMSsoFlow
from .settings_sso import SsoSettings
from .userinfo import UserInfo

SIGN_IN, LINK, STEP_UP, TEST = "sign_in", "link", "step_up", "test"
PENDING_LINK = "pending_link"
MOST_LIVE = 10
_F = IAMSsoFlow
_QUIET = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Trip:
    """What somebody is sent to a provider for, and where they go on afterwards."""

    connection_id: UUID
    purpose: str
    browser: bytes
    next_url: str | None = None
    remember: bool = False
    user_id: UUID | None = None
    session_id: UUID | None = None
    step_up_purpose: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The secrets of a new trip, for its authorization request alone."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Flow:
    """A trip that came back and is used up. `posted` is what arrived as a form post."""

    id: UUID
    trip: Trip
    nonce_digest: bytes = field(repr=False)
    code_verifier: str = field(repr=False)
    created_at: datetime
    posted: Mapping[str, str] | None = field(default=None, repr=False)

    def age_seconds(self) -> int:
        """Return how long ago the trip began."""
        return int((clock.now() - self.created_at).total_seconds())

    def covers(self, time: datetime | None, at: datetime) -> bool:
        """Return whether something happened on the trip, by a clock that may be off."""
        skew = timedelta(seconds=SsoSettings.current().SSO_CLOCK_SKEW_SECONDS)
        return time is not None and self.created_at - skew <= time <= at + skew


@dataclass(frozen=True, slots=True)
class Pending:
    """An identity that waits for the owner of the account with its address (G3)."""

    flow_id: UUID
    user_id: UUID
    connection_id: UUID
    since: datetime
    expires_at: datetime
    info: UserInfo = field(repr=False)


def open_flow(trip: Trip) -> Opened:
    """Keep a new trip and return its secrets; joins the transaction.

    Beyond ten that are under way, a browser's oldest go.
    """
    at, row_id = clock.now(), new_id()
    _drop_surplus(trip.browser, at)
    opened = Opened(rng.token(), rng.token(), rng.token())
    session().add(
        IAMSsoFlow(
            id=row_id,
            state_digest=token_digest(opened.state),
            browser_digest=trip.browser,
            connection_id=trip.connection_id,
            purpose=trip.purpose,
            step_up_purpose=trip.step_up_purpose,
            user_id=trip.user_id,
            session_id=trip.session_id,
            nonce_digest=token_digest(opened.nonce),
            code_verifier=keyring().encrypt(opened.code_verifier.encode(), _verifier(row_id)),
            remember=trip.remember,
            next_url=trip.next_url,
            created_at=at,
            expires_at=at + timedelta(minutes=SsoSettings.current().SSO_FLOW_MINUTES),
        )
    )
    return opened


def take(state: str, browser: bytes, connection_id: UUID) -> Flow | None:
    """Use a trip up and commit that; None where this is not its browser or connection.

    Nor where it is over, or was used before.
    """
    at, digest = clock.now(), token_digest(state)
    statement = (
        update(_F)
        .where(
            _F.state_digest == digest,
            _F.browser_digest == browser,
            _F.connection_id == connection_id,
            *_under_way(at),
        )
        .values(consumed_at=at)
    )
    with transaction():
        if not _run(statement):
            return None
    row = session().scalar(
        select(_F).where(_F.state_digest == digest).execution_options(populate_existing=True)
    )
    return _flow(row) if row is not None else None


def why_refused(state: str, browser: bytes, connection_id: UUID) -> str:
    """Return why `take` found nothing, for the audit trail alone."""
    row = session().scalar(select(_F).where(_F.state_digest == token_digest(state)))
    if row is None:
        return "state_unknown"
    if row.consumed_at is not None:
        return "state_used"
    if row.browser_digest != browser:
        return "other_browser"
    return "state_expired" if row.connection_id == connection_id else "other_connection"


def keep_answer(state: str, connection_id: UUID, answer: Mapping[str, str]) -> bool:
    """Keep an answer that came as a form post, the first one only; owns its transaction.

    It comes from the provider's page without our cookies, so nothing is checked here but
    that the trip is under way: `take` does the rest in the browser's own next request.
    """
    with transaction():
        at = clock.now()
        where = (
            _F.state_digest == token_digest(state),
            _F.connection_id == connection_id,
            _F.answered_at.is_(None),
            *_under_way(at),
        )
        row_id = session().scalar(select(_F.id).where(*where))
        if row_id is None:
            return False
        kept = keyring().encrypt(json.dumps(dict(answer)).encode(), _answer(row_id))
        statement = update(_F).where(_F.id == row_id, *where)
        return bool(_run(statement.values(answer=kept, answered_at=at)))


def keep_pending(flow_id: UUID, info: UserInfo, user_id: UUID) -> None:
    """Let a verified identity wait for the owner of `user_id`; joins the transaction.

    One waits in a browser: a newer one takes the older one's place.
    """
    at = clock.now()
    browser = session().scalar(select(_F.browser_digest).where(_F.id == flow_id))
    _run(delete(_F).where(_F.browser_digest == browser, _F.purpose == PENDING_LINK))
    _run(
        update(_F)
        .where(_F.id == flow_id, _F.consumed_at.is_not(None))
        .values(
            purpose=PENDING_LINK,
            user_id=user_id,
            answer=keyring().encrypt(_packed(info), _answer(flow_id)),
            answered_at=at,
            expires_at=at + timedelta(minutes=SsoSettings.current().SSO_LINK_MINUTES),
        )
    )


def keep_report(flow_id: UUID, report: Mapping[str, Any]) -> None:
    """Keep what a test of a connection found; joins the transaction."""
    kept = keyring().encrypt(json.dumps(report).encode(), _answer(flow_id))
    _run(update(_F).where(_F.id == flow_id, _F.purpose == TEST).values(answer=kept))


def report_of(flow_id: UUID, session_id: UUID) -> dict[str, Any] | None:
    """Return what a test found that this session began; None where it did not come back."""
    row = session().scalar(
        select(_F).where(_F.id == flow_id, _F.session_id == session_id, _F.purpose == TEST)
    )
    if row is None or row.answer is None or row.consumed_at is None:
        return None
    report: dict[str, Any] = json.loads(keyring().decrypt(row.answer, _answer(row.id)))
    return report


def pending_of(browser: bytes) -> Pending | None:
    """Return the identity that waits in this browser; a look changes nothing."""
    row = session().scalar(
        select(_F)
        .where(
            _F.browser_digest == browser,
            _F.purpose == PENDING_LINK,
            _F.expires_at > clock.now(),
        )
        .order_by(_F.answered_at.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    if row is None or row.user_id is None or row.answer is None or row.answered_at is None:
        return None
    info = _unpacked(keyring().decrypt(row.answer, _answer(row.id)))
    return Pending(row.id, row.user_id, row.connection_id, row.answered_at, row.expires_at, info)


def take_pending(flow_id: UUID, browser: bytes, user_id: UUID) -> Pending | None:
    """Take a waiting identity out, once; joins the transaction. None where it is gone.

    Bound to the browser it waits in and to the account whose owner confirms.
    """
    found = pending_of(browser)
    if found is None or (found.flow_id, found.user_id) != (flow_id, user_id):
        return None
    return found if drop_pending(flow_id, browser) else None


def drop_pending(flow_id: UUID, browser: bytes) -> bool:
    """Take a waiting identity out unused; joins the transaction. False where it is gone."""
    own = (_F.id == flow_id, _F.browser_digest == browser, _F.purpose == PENDING_LINK)
    return bool(_run(delete(_F).where(*own)))


def _flow(row: IAMSsoFlow) -> Flow:
    posted = row.answer and json.loads(keyring().decrypt(row.answer, _answer(row.id)))
    trip = Trip(
        connection_id=row.connection_id,
        purpose=row.purpose,
        browser=row.browser_digest,
        next_url=row.next_url,
        remember=row.remember,
        user_id=row.user_id,
        session_id=row.session_id,
        step_up_purpose=row.step_up_purpose,
    )
    verifier = keyring().decrypt(row.code_verifier, _verifier(row.id)).decode()
    return Flow(row.id, trip, row.nonce_digest, verifier, row.created_at, posted or None)


def _under_way(at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (_F.consumed_at.is_(None), _F.expires_at > at)


def _drop_surplus(browser: bytes, at: datetime) -> None:
    # Read, then deleted by primary key: two requests of one browser must not deadlock.
    found = (
        session()
        .execute(
            select(_F.id, _F.expires_at)
            .where(_F.browser_digest == browser, or_(_F.consumed_at.is_(None), _F.expires_at <= at))
            .order_by(_F.id.desc())
        )
        .all()
    )
    live = [row.id for row in found if row.expires_at > at]
    gone = {row.id for row in found} - set(live[: MOST_LIVE - 1])
    if gone:
        _run(delete(_F).where(_F.id.in_(sorted(gone))))


def _run(statement: Any) -> int:
    result: Any = session().execute(statement, execution_options=_QUIET)
    return int(result.rowcount)


def _packed(info: UserInfo) -> bytes:
    plain = replace(info, claims=dict(info.claims))
    return json.dumps(asdict(plain), default=_iso).encode()


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"not to be kept: {type(value).__name__}")


def _unpacked(data: bytes) -> UserInfo:
    values = json.loads(data)
    at = values["auth_time"]
    values["auth_time"] = datetime.fromisoformat(at) if at else None
    return UserInfo(**{**values, "amr": tuple(values["amr"])})


def _verifier(row_id: UUID) -> str:
    return f"sso_flow.code_verifier:{row_id.hex}"


def _answer(row_id: UUID) -> str:
    return f"sso_flow.answer:{row_id.hex}"
