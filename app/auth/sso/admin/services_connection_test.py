"""A connection, tried out: each step to its provider with its result in a plain sentence.

The steps run outside any transaction, by the same code as a sign-in, and stop at the first that
fails. A code that nobody issued shows whether the provider accepts the secret. A trial sign-in
ends in `rehearse`: the real decision about account and roles, taken and rolled back. Neither
signs anybody in, nor tells a secret or what a provider wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from ....audit import events
from ....audit.services_audit import FAILURE, SUCCESS, record
from ....authz.models import IAMRole, IAMUserRole
from ....core import rng
from ....core.actor import Actor
from ....core.db import end_read, session, transaction
from ....core.errors import Conflict, IAMError, UpstreamFailed
from ....core.http import fetch
from ....core.i18n import N_
from ...accounts.services_directory import get_user
from ...models import IAMSsoConnection
from ...providers import Provider, providers
from .. import attributes, services_identities, services_role_rules
from ..connection import Connection, Metadata
from ..errors_sso import LinkRequired, SsoRefused, SsoUnavailable
from ..protocol import keys, metadata
from ..protocol.id_token import ALGORITHMS
from ..protocol.transport import exchange
from ..services_connections import as_value
from ..services_sso_accounts import find_or_create_user
from ..settings_sso import SsoSettings
from ..userinfo import UserInfo

ADDRESS, DOCUMENT, ISSUER, ENDPOINTS = "address", "document", "issuer", "endpoints"
KEYS, REACH, CLIENT = "keys", "reach", "client"
OK, BAD, UNSURE, SKIPPED = "ok", "bad", "unsure", "skipped"
KNOWN, JOINED, CREATED, LINK, REFUSED = "known", "joined", "created", "link", "refused"
# Where a failure to learn the addresses belongs; a status or a broken answer to the document.
_STAGES = {
    "tenants": ADDRESS, "discovery_url": ADDRESS, "address_refused": ADDRESS,
    "url_refused": ADDRESS, "unreachable": ADDRESS, "timeout": ADDRESS,
    "discovery_issuer": ISSUER, "address": ENDPOINTS,
}  # fmt: skip
_DISCOVERED = (ADDRESS, DOCUMENT, ISSUER, ENDPOINTS)
_FINE = {
    ADDRESS: N_("The address may be used and answers."),
    DOCUMENT: N_("The discovery document was read."),
    ISSUER: N_("It names exactly the issuer that was expected."),
    ENDPOINTS: N_("Every address that is needed is there and may be used."),
}
_WRONG_CLIENT = {"invalid_client", "unauthorized_client"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: which, how it went, a sentence, and a word to look up where it failed."""

    name: str
    state: str
    text: str = ""
    reason: str = ""
    detail: str = ""


class _Rehearsed(Exception):
    """Carries a result out of a transaction, which it rolls back."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__()
        self.result = result


def run(row: IAMSsoConnection, *, redirect_uri: str, actor: Actor) -> list[Step]:
    """Try a connection, enabled or not; owns its transaction. Raises Conflict.

    Nothing that was kept of the provider is believed: it is asked anew.
    """
    connection = as_value(row)
    if connection is None:
        raise Conflict(N_("The settings of this connection are gone"), code="sso.settings_gone")
    metadata.forget(connection.id)
    end_read()
    steps = _with_skipped(list(_steps(connection, redirect_uri)))
    failed = next((step for step in steps if step.state == BAD), None)
    with transaction():
        record(
            events.SSO_CONNECTION_TESTED,
            resource=("sso_connection", connection.id),
            status=FAILURE if failed else SUCCESS,
            actor=actor,
            connection=connection.slug,
            provider=connection.provider,
            reason=failed.reason if failed else "ok",
        )
    return steps


def rehearse(info: UserInfo, connection: Connection, *, actor: Actor) -> dict[str, Any]:
    """Return what a sign-in would do with account and roles; nothing of it stays.

    Owns its transaction, which is always rolled back, evidence and messages included.
    """
    try:
        with transaction():
            raise _Rehearsed(_decided(info, connection, actor))  # noqa: TRY301 - rolls back
    except _Rehearsed as done:
        return done.result


def _decided(info: UserInfo, connection: Connection, actor: Actor) -> dict[str, Any]:
    known = services_identities.find(info, connection) is not None
    try:
        found = find_or_create_user(info, connection, actor=actor)
        attributes.apply(found.user, info, connection, actor=actor)
        services_role_rules.apply(found.user, info, connection, actor=actor)
    except LinkRequired as refusal:
        return _outcome(LINK, refusal.user_id)
    except IAMError as refusal:
        return {"account": REFUSED, "reason": refusal.code, "label": "", "roles": []}
    if found.created:
        return _outcome(CREATED, found.user_id, _roles(found.user_id, connection.id))
    return _outcome(KNOWN if known else JOINED, found.user_id, _roles(found.user_id, connection.id))


def _outcome(account: str, user_id: UUID, roles: list[str] | None = None) -> dict[str, Any]:
    return {"account": account, "label": get_user(user_id).label, "roles": roles or []}


def _roles(user_id: UUID, connection_id: UUID) -> list[str]:
    query = (
        select(IAMRole.name)
        .join(IAMUserRole, IAMUserRole.role_id == IAMRole.id)
        .where(IAMUserRole.user_id == user_id, IAMUserRole.connection_id == connection_id)
        .order_by(IAMRole.name)
    )
    return list(session().scalars(query))


def _steps(connection: Connection, redirect_uri: str) -> Iterator[Step]:
    provider = providers().get(connection.provider)
    stages = _DISCOVERED if "openid" in provider.form.scopes else (ENDPOINTS,)
    try:
        found = provider.metadata(connection)
    except (SsoRefused, SsoUnavailable) as error:
        yield from _stopped(stages, error.reason)
        return
    for stage in stages:
        yield Step(stage, OK, _FINE[stage], detail=found.issuer if stage == ISSUER else "")
    if found.jwks_uri is not None:
        keys_step = _keys(connection, found)
        yield keys_step
        if keys_step.state == BAD:
            return
    if stages != _DISCOVERED:
        reach = _reach(connection, found)
        yield reach
        if reach.state == BAD:
            return
    yield _client(connection, found, provider, redirect_uri)


def _stopped(stages: tuple[str, ...], reason: str) -> Iterator[Step]:
    failed = _STAGES.get(reason, DOCUMENT)
    failed = failed if failed in stages else stages[-1]
    for stage in stages[: stages.index(failed)]:
        yield Step(stage, OK, _FINE[stage])
    yield Step(failed, BAD, sentence(reason), reason)


def _keys(connection: Connection, found: Metadata) -> Step:
    offered = [name for name in found.algorithms or ("RS256",) if name in ALGORITHMS]
    if not offered:
        return Step(KEYS, BAD, sentence("alg"), "alg")
    try:
        count = keys.count(connection, found, offered)
    except SsoUnavailable as error:
        return Step(KEYS, BAD, sentence(error.reason), error.reason)
    if not count:
        return Step(KEYS, BAD, sentence("no_keys"), "no_keys")
    text = N_("It shows keys that we can use, for signatures that we accept.")
    return Step(KEYS, OK, text, detail=" ".join(offered))


def _reach(connection: Connection, found: Metadata) -> Step:
    try:
        fetch(
            "GET",
            found.authorization_endpoint,
            timeout=SsoSettings.current().SSO_TIMEOUT_SECONDS,
            allow_private=connection.allow_private,
        )
    except UpstreamFailed as error:
        reason = error.code.rpartition(".")[2]
        return Step(REACH, BAD, sentence(reason), reason)
    return Step(REACH, OK, N_("The provider answers."))


def _client(connection: Connection, found: Metadata, provider: Provider, redirect_uri: str) -> Step:
    detail = " ".join(found.token_auth_methods)
    unsure = Step(
        CLIENT,
        UNSURE,
        N_("The provider does not say whether it accepts client and secret. Try a sign-in."),
        detail=detail,
    )
    try:
        exchange(
            connection,
            found,
            provider,
            code=rng.token(),
            code_verifier=rng.token(),
            redirect_uri=redirect_uri,
        )
    except SsoRefused as error:
        if error.reason in _WRONG_CLIENT:
            return Step(CLIENT, BAD, sentence(error.reason), error.reason, detail)
        if error.reason != "invalid_grant":
            return unsure
        return Step(CLIENT, OK, N_("The provider accepts client and secret."), detail=detail)
    except SsoUnavailable as error:
        if error.reason.startswith("http_4"):
            return unsure
        return Step(CLIENT, BAD, sentence(error.reason), error.reason, detail)
    return unsure


def _with_skipped(steps: list[Step]) -> list[Step]:
    if steps[-1].state != BAD or steps[-1].name == CLIENT:
        return steps
    return [*steps, Step(CLIENT, SKIPPED)]


def sentence(reason: str) -> str:
    """Return what to make of a reason, marked for translation."""
    return _SENTENCES.get(reason, _ELSE)


_NETWORK = N_(
    "The address leads into a private network, or cannot be used. That is not allowed here."
)
_UNREADABLE = N_("What came back cannot be read. Look at the address in a browser.")
_ELSE = N_("The provider answered in another way than expected.")
_SENTENCES = {
    "address_refused": _NETWORK,
    "url_refused": _NETWORK,
    "unreachable": N_(
        "No connection. The name does not exist, nothing answers there, or the certificate is "
        "not valid."
    ),
    "timeout": N_("No answer in time."),
    "not_json": _UNREADABLE,
    "unreadable": _UNREADABLE,
    "too_large": _UNREADABLE,
    "http_404": N_("There is nothing at this address (404). Check it letter by letter."),
    "discovery_url": N_("The address of the discovery document is missing or of an unknown form."),
    "discovery_issuer": N_(
        "The document names another issuer than its address says. Enter the provider's own "
        "address, or the issuer beside it."
    ),
    "address": N_("An address is missing, does not begin with https://, or cannot be used."),
    "tenants": N_("No tenant is listed. Enter the ids of those whose people may sign in."),
    "alg": N_("It signs only in ways that we do not accept."),
    "jwks": N_("Its key set cannot be read."),
    "no_keys": N_("Its key set holds no key that we can use."),
    "invalid_client": N_("The provider refuses client or secret. Enter both anew."),
    "unauthorized_client": N_("The provider does not let this client sign people in by a code."),
    "private_key": N_("The private key cannot be read. Paste the whole file, first line to last."),
    "token_auth_method": N_(
        "The provider wants the secret in a way that we do not know; set its client to "
        "client_secret_basic or client_secret_post."
    ),
}
