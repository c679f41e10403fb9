"""Signing out on both sides (OpenID Connect RP-Initiated Logout 1.0, Back-Channel Logout 1.0).

Ours first: what a provider says, or that it says nothing, never keeps a session alive here.
A logout token is one more secret of a stranger: verified, and good once (AT-203).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from ....audit import events
from ....audit.services_audit import FAILURE, record
from ....core import clock, rng
from ....core.actor import Actor
from ....core.crypto import token_digest
from ....core.db import end_read, session, transaction
from ....core.errors import IAMError, NotFound
from ....core.ids import new_id
from ...models import IAMSsoLogoutToken
from ...providers import providers
from ...web.links import here_url
from .. import services_connections, services_sso_sessions
from ..connection import Connection
from ..errors_sso import SsoRefused, SsoUnavailable
from ..protocol.id_token import LogoutClaims, verify_logout_token
from ..settings_sso import SsoSettings

_OURS = {"id_token_hint", "client_id", "post_logout_redirect_uri", "state"}


def hint_of(session_id: UUID) -> tuple[Connection, str | None] | None:
    """Return the connection that wants to hear of a session's end, and the ID token for it.

    Ask before the session ends; None where its provider is not to be told.
    """
    found = services_sso_sessions.of_session(session_id)
    if found is None:
        return None
    try:
        connection = services_connections.get(found[0])
    except NotFound:
        return None
    return (connection, found[1]) if connection.provider_logout else None


def logout_url(connection: Connection, hint: str | None) -> str | None:
    """Return where to send a browser whose session has ended, to end the provider's.

    None where the provider has no such page, or does not say.
    """
    end_read()
    try:
        endpoint = providers().get(connection.provider).metadata(connection).end_session_endpoint
    except (SsoRefused, SsoUnavailable):
        return None
    if endpoint is None:
        return None
    if set(parse_qs(urlsplit(endpoint).query)) & _OURS:
        return None
    query = {
        **({"id_token_hint": hint} if hint else {}),
        "client_id": connection.client_id,
        "post_logout_redirect_uri": here_url("iam_auth.signed_out"),
        "state": rng.token(),
    }
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"


def receive(slug: str, token: str, *, actor: Actor) -> int:
    """End the sessions that a logout token names; return how many. Owns its transactions.

    Raises NotFound, SsoRefused, SsoUnavailable.
    """
    connection = services_connections.find(slug)
    actor = actor.acting_as(
        kind="system", user_id=None, session_id=None, label=f"sso:{connection.slug}"
    )
    end_read()
    try:
        metadata = providers().get(connection.provider).metadata(connection)
        claims = verify_logout_token(connection, metadata, token)
        with transaction():
            return _end(connection, claims, actor)
    except (SsoRefused, SsoUnavailable) as refusal:
        _record_refused(connection, refusal, actor)
        raise


def _end(connection: Connection, claims: LogoutClaims, actor: Actor) -> int:
    _use_up(connection, claims)
    count = services_sso_sessions.end_by(connection, sub=claims.sub, sid=claims.sid, actor=actor)
    record(
        events.SSO_LOGOUT_RECEIVED, resource=("sso_connection", connection.id), actor=actor,
        connection=connection.slug, provider=connection.provider, count=count,
    )  # fmt: skip
    return count


def _use_up(connection: Connection, claims: LogoutClaims) -> None:
    at = clock.now()
    skew = timedelta(seconds=SsoSettings.current().SSO_CLOCK_SKEW_SECONDS)
    row = IAMSsoLogoutToken(
        id=new_id(),
        connection_id=connection.id,
        token_digest=token_digest(f"{connection.id.hex}:{claims.jti}"),
        created_at=at,
        # As long as the token would be taken.
        expires_at=datetime.fromtimestamp(claims.exp, UTC) + 2 * skew,
    )
    try:
        with session().begin_nested():
            session().add(row)
    except IntegrityError:
        raise SsoRefused("logout_token_used") from None


def _record_refused(connection: Connection, refusal: IAMError, actor: Actor) -> None:
    with transaction():
        record(
            events.SSO_LOGOUT_REFUSED, resource=("sso_connection", connection.id),
            status=FAILURE, error=refusal.code, actor=actor, connection=connection.slug,
            provider=connection.provider, reason=getattr(refusal, "reason", refusal.code),
        )  # fmt: skip
