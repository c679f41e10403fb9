"""Single sign-on, as its two moves: off to a provider, and back (G1, G2).

Owns the order in which an answer is held against what was asked, and its transactions: a
trip is used up and committed before anything else, the network is never inside one. What
an answer says is read by providers, who that is here by `sso/services_sso_accounts`, and
who may enter is the gate's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from ..audit import events
from ..audit.services_audit import FAILURE, record
from ..core.actor import Actor
from ..core.db import end_read, session, transaction
from ..core.errors import IAMError, NotFound, Unavailable
from ..core.parsing.strict_json import read_object
from .accounts.services_directory import get_user
from .models import IAMSsoConnection
from .principal import Principal
from .providers import Provider, providers
from .sessions.services_sessions import SignIn
from .sso import services_connections, services_identities, services_sso_flow
from .sso.admin.services_connection_test import rehearse
from .sso.connection import Answer, Connection
from .sso.errors_sso import LinkRequired, SsoCancelled, SsoRefused, SsoUnavailable
from .sso.protocol.transport import authorization_url, check_iss_parameter, exchange
from .sso.services_sso_accounts import find_or_create_user
from .sso.services_sso_flow import LINK, SIGN_IN, STEP_UP, TEST, Flow, Trip
from .sso.trips import services_sso_sign_in, services_sso_step_up
from .sso.userinfo import UserInfo
from .web.links import here_url

__all__ = [
    "LINK", "SIGN_IN", "STEP_UP", "TEST", "Outcome", "begin", "callback", "find_or_create_user",
    "note_post",
]  # fmt: skip
STEPS = ("answer", "issuer", "tokens", "identity")
"""What is checked of an answer, in this order; a test tells how far it came."""

_LONGEST = {"state": 128, "code": 4096, "iss": 500, "error": 128, "user": 4096}
_POSTED = ("code", "iss", "error", "user")
# Of the answer types that were never asked for: tokens in an address (AT-205).
_NOT_ASKED = ("access_token", "id_token", "response", "token_type")
# RFC 6749 4.1.2.1, OpenID Connect Core 3.1.2.6, and what Apple and Facebook say instead.
_CANCELLED = {
    "access_denied", "user_cancelled", "user_cancelled_authorize", "user_cancelled_login",
    "user_denied", "consent_required", "interaction_required", "login_required",
    "account_selection_required", "login_cancelled", "login_declined",
}  # fmt: skip
_AWAY = {"temporarily_unavailable", "server_error"}
_FRESH = {"prompt": "login", "max_age": "0"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trip came to. `signed` is a session to keep, `next_url` where to go on."""

    purpose: str
    signed: SignIn | None = None
    next_url: str | None = None
    flow_id: UUID | None = None


def begin(  # noqa: PLR0913 - one trip: what for, whose, and where to afterwards
    connection: Connection,
    *,
    purpose: str,
    browser: bytes,
    next_url: str | None = None,
    remember: bool = False,
    user_id: UUID | None = None,
    session_id: UUID | None = None,
    step_up_purpose: str | None = None,
    login_hint: str | None = None,
    actor: Actor,
) -> str:
    """Open a trip and return where to send the browser; owns its transactions.

    Raises SsoUnavailable, SsoRefused.
    """
    trip = Trip(
        connection.id, purpose, browser, next_url, remember, user_id, session_id, step_up_purpose
    )
    try:
        return _led_away(connection, trip, login_hint, actor)
    except (SsoRefused, SsoUnavailable) as refusal:
        _record_failed(connection, purpose, refusal, actor)
        raise


def callback(
    slug: str,
    params: Mapping[str, str],
    *,
    browser: bytes,
    replaces: Principal | None,
    actor: Actor,
) -> Outcome:
    """Take an answer and do what the trip was for; owns its transactions.

    Raises NotFound, SsoRefused, SsoCancelled, SsoUnavailable, NoAccount, LinkRequired,
    Conflict, Forbidden, SessionLimitReached. A refusal's `details` tell the trip's
    `purpose` and `next_url` where there was one.
    """
    connection = _connection(slug)
    flow = None
    try:
        flow = _taken(connection, params, browser)
        if not connection.enabled and flow.trip.purpose != TEST:
            raise NotFound
        return _arrived(connection, flow, params, replaces, actor)
    except Unavailable:  # the database is away: there is nowhere to write that
        raise
    except IAMError as refusal:
        trip = flow.trip if flow is not None else None
        if trip is not None:
            refusal.details.update(
                purpose=trip.purpose,
                step_up_purpose=trip.step_up_purpose,
                next_url=trip.next_url,
            )
        if not isinstance(refusal, LinkRequired):
            _record_failed(connection, trip.purpose if trip else "", refusal, actor)
        raise


def note_post(slug: str, params: Mapping[str, str]) -> None:
    """Keep an answer that a provider's page has posted, for the browser's own next request.

    Such a request comes from another site, without our cookies: nothing is decided, and
    nothing told (OAuth 2.0 Form Post Response Mode). Raises NotFound.
    """
    connection = _connection(slug)
    answer = {name: params[name] for name in (*_POSTED, *_NOT_ASKED) if name in params}
    if not _is_long(params):
        services_sso_flow.keep_answer(params.get("state", ""), connection.id, answer)


def _led_away(connection: Connection, trip: Trip, login_hint: str | None, actor: Actor) -> str:
    provider = providers().get(connection.provider)
    end_read()
    metadata = provider.metadata(connection)
    with transaction():
        opened = services_sso_flow.open_flow(trip)
        record(
            events.SSO_STARTED, resource=("sso_connection", connection.id), actor=actor,
            connection=connection.slug, provider=connection.provider, purpose=trip.purpose,
        )  # fmt: skip
    params = {
        **provider.authorize_params(connection),
        **(_FRESH if trip.purpose == STEP_UP else {}),
        **({"login_hint": login_hint} if login_hint else {}),
    }
    return authorization_url(
        connection,
        metadata,
        redirect_uri=_redirect_uri(connection),
        state=opened.state,
        nonce=opened.nonce,
        code_verifier=opened.code_verifier,
        params=params,
    )


def _is_posted(connection: Connection, provider: Provider) -> bool:
    return provider.authorize_params(connection).get("response_mode") == "form_post"


def _connection(slug: str) -> Connection:
    """Return a connection, enabled or not: what is new is tested before. Raises NotFound."""
    row = session().scalar(select(IAMSsoConnection).where(IAMSsoConnection.slug == slug))
    found = services_connections.as_value(row) if row is not None else None
    if found is None:
        raise NotFound
    return found


def _taken(connection: Connection, params: Mapping[str, str], browser: bytes) -> Flow:
    state = params.get("state", "")
    if _is_long(params):
        raise SsoRefused("too_long")
    flow = services_sso_flow.take(state, browser, connection.id)
    if flow is None:
        raise SsoRefused(services_sso_flow.why_refused(state, browser, connection.id))
    end_read()
    return flow


def _is_long(params: Mapping[str, str]) -> bool:
    return any(len(params.get(name, "")) > most for name, most in _LONGEST.items())


def _arrived(
    connection: Connection,
    flow: Flow,
    params: Mapping[str, str],
    replaces: Principal | None,
    actor: Actor,
) -> Outcome:
    if flow.trip.purpose == SIGN_IN:
        info, tokens = _identified(connection, flow, params)
        signed = services_sso_sign_in.enter(
            connection, flow, info, tokens, replaces=replaces, actor=actor
        )
        return Outcome(SIGN_IN, signed, flow.trip.next_url)
    person = _same_session(flow.trip, replaces)
    if flow.trip.purpose == TEST:
        return _test(connection, flow, params, actor)
    info, _tokens = _identified(connection, flow, params)
    if flow.trip.purpose == LINK:
        return _link(connection, flow.trip, info, person, actor)
    signed = services_sso_step_up.prove(connection, flow, info, person, actor=actor)
    return Outcome(STEP_UP, signed, flow.trip.next_url)


def _identified(
    connection: Connection,
    flow: Flow,
    params: Mapping[str, str],
    tell: Callable[[str], object] = lambda _step: None,
) -> tuple[UserInfo, Mapping[str, Any]]:
    """Return who the answer speaks of, after every check of the protocol."""
    provider = providers().get(connection.provider)
    answer = _answer(flow, params, posted=_is_posted(connection, provider))
    tell("answer")
    metadata = provider.metadata(connection)
    check_iss_parameter(metadata, answer)
    tell("issuer")
    tokens = exchange(
        connection,
        metadata,
        provider,
        code=answer.get("code", ""),
        code_verifier=flow.code_verifier,
        redirect_uri=_redirect_uri(connection),
    )
    tell("tokens")
    max_age = flow.age_seconds() if flow.trip.purpose == STEP_UP else None
    held = Answer(tokens, flow.nonce_digest, max_age, _form_user(answer))
    info = provider.identify(connection, held)
    tell("identity")
    end_read()
    return info, tokens


def _answer(flow: Flow, params: Mapping[str, str], *, posted: bool) -> Mapping[str, str]:
    """Return the answer in the form that was asked for, and in no other (AT-205)."""
    if posted and params.keys() - {"state"}:
        raise SsoRefused("response_mode")
    answer = (flow.posted or {}) if posted else params
    error = answer.get("error")
    if error is not None:
        raise _said_no(error)
    if any(name in answer for name in _NOT_ASKED):
        raise SsoRefused("response_type")
    if not answer.get("code"):
        raise SsoRefused("code_missing")
    return answer


def _said_no(error: str) -> IAMError:
    if error in _CANCELLED:
        return SsoCancelled()
    return SsoUnavailable(error) if error in _AWAY else SsoRefused("provider_error")


def _form_user(answer: Mapping[str, str]) -> Mapping[str, object]:
    try:
        return read_object(answer.get("user", "{}"))
    except ValueError:
        return {}


def _link(
    connection: Connection, trip: Trip, info: UserInfo, person: Principal, actor: Actor
) -> Outcome:
    with transaction():
        services_connections.hold(connection)
        services_identities.link(
            get_user(person.user_id), info, connection,
            linked_by=services_identities.ACCOUNT, actor=actor,
        )  # fmt: skip
    return Outcome(LINK, None, trip.next_url)


def _test(connection: Connection, flow: Flow, params: Mapping[str, str], actor: Actor) -> Outcome:
    done: list[str] = []
    report: dict[str, Any] = {"steps": done, "failed": None, "reason": None, "person": None}
    try:
        info, _tokens = _identified(connection, flow, params, done.append)
    except IAMError as refusal:
        report |= {"failed": STEPS[len(done)], "reason": _reason(refusal)}
    else:
        report["person"] = _described(info)
        report["rehearsal"] = rehearse(info, connection, actor=actor)
    with transaction():
        services_sso_flow.keep_report(flow.id, report)
        record(
            events.SSO_CONNECTION_TESTED, resource=("sso_connection", connection.id), actor=actor,
            connection=connection.slug, provider=connection.provider,
            reason=report["reason"] or "ok",
        )  # fmt: skip
    return Outcome(TEST, None, flow.trip.next_url, flow.id)


def _described(info: UserInfo) -> dict[str, Any]:
    names = ("issuer", "subject", "email", "email_verified", "name", "acr")
    values = {name: getattr(info, name) for name in names}
    return {**values, "amr": list(info.amr), "claims": sorted(info.claims)}


def _same_session(trip: Trip, person: Principal | None) -> Principal:
    """Return the person of the session that set out. Raises SsoRefused (AT-066, AT-143)."""
    if person is None:
        raise SsoRefused("session_gone")
    if (person.user_id, person.session_id) != (trip.user_id, trip.session_id):
        raise SsoRefused("other_session")
    return person


def _redirect_uri(connection: Connection) -> str:
    return here_url("iam_auth.sso_callback", provider=connection.slug)


def _reason(refusal: IAMError) -> str:
    return str(getattr(refusal, "reason", refusal.code))


def _record_failed(connection: Connection, purpose: str, refusal: IAMError, actor: Actor) -> None:
    with transaction():
        record(
            events.SSO_FAILED, resource=("sso_connection", connection.id), status=FAILURE,
            error=refusal.code, actor=actor, connection=connection.slug,
            provider=connection.provider, purpose=purpose, reason=_reason(refusal),
        )  # fmt: skip
