"""Authlib's OAuth 2.0 client over the guarded door out (RFC 6749, RFC 7636, RFC 9207).

Owns the authorization URL, the exchange of a code and the reading of a provider's JSON.
Whatever goes wrong is SsoRefused or SsoUnavailable with a word for the audit trail.
Refuses to own what a token says (`id_token.py`), caching, and who may enter.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from threading import BoundedSemaphore
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from ....core.errors import UpstreamFailed
from ....core.http import Response, fetch
from ....core.parsing.strict_json import read_object
from ..connection import Connection, Metadata
from ..errors_sso import SsoRefused, SsoUnavailable
from ..settings_sso import SsoSettings
from .kept import Kept

TENANT = "{tenantid}"
"""Stands in an issuer for the id of a tenant (Microsoft's discovery documents)."""

# What decides where the answer goes and what binds it: no provider's wish changes these.
_OURS = {
    "response_type", "client_id", "redirect_uri", "state", "nonce",
    "code_challenge", "code_challenge_method",
}  # fmt: skip
# A fragment would hand the code to scripts of any page that the answer lands on (AT-205).
_RESPONSE_MODES = {"query", "form_post"}
_AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")
_KEPT = ("access_token", "token_type", "id_token", "scope")
_TOKEN_ERRORS = {
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
    "unsupported_grant_type", "invalid_scope",
}  # fmt: skip
MOST_AT_ONCE = 8
"""Requests of one process to one connection's provider at the same time."""
QUEUE_SECONDS = 2.0
_slots: Kept[BoundedSemaphore] = Kept()
_MAX_URL = 2000
_MAX_CODE = 4096
_MAX_TOKEN = 64 * 1024


class HasSecret(Protocol):
    """What the exchange needs of a provider."""

    def client_secret(self, connection: Connection) -> str:
        """Return the secret for its token endpoint."""


def authorization_url(
    connection: Connection,
    metadata: Metadata,
    *,
    redirect_uri: str,
    state: str,
    nonce: str,
    code_verifier: str,
    params: Mapping[str, str],
) -> str:
    """Return where to send the browser: a code is asked for, bound by state, nonce and PKCE.

    `params` are the provider's wishes and the flow's (`scope`, `max_age`, `prompt`, …); what
    binds the answer cannot be among them. Raises SsoUnavailable for a bad address.
    """
    endpoint = checked_url(connection, metadata.authorization_endpoint)
    wished = {name: value for name, value in params.items() if name not in _OURS}
    if wished.get("response_mode", "query") not in _RESPONSE_MODES:
        del wished["response_mode"]
    own = dict(parse_qsl(urlsplit(endpoint).query, keep_blank_values=True))
    if own.keys() & (_OURS | {"response_mode", "scope", *wished}):
        raise SsoUnavailable("authorization_endpoint")
    scope = wished.pop("scope", " ".join(connection.scopes))
    return str(
        prepare_grant_uri(
            endpoint,
            connection.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=scope,
            state=state,
            nonce=nonce,
            code_challenge=_challenge(code_verifier),
            code_challenge_method="S256",
            **wished,
        )
    )


def check_iss_parameter(metadata: Metadata, params: Mapping[str, str]) -> None:
    """Check who says that they answer (RFC 9207, 2.4). Raises SsoRefused (AT-181)."""
    said = params.get("iss")
    if said is None and metadata.iss_parameter:
        raise SsoRefused("iss_missing")
    if said is not None and not is_issuer(metadata.issuer, said):
        raise SsoRefused("iss")


def is_issuer(known: str, said: str) -> bool:
    """Return whether `said` is exactly `known`, an id in place of a tenant template aside."""
    head, template, tail = known.partition(TENANT)
    if not template:
        return said == known
    tenant = said.removeprefix(head).removesuffix(tail)
    return said == f"{head}{tenant}{tail}" and tenant.replace("-", "").isalnum()


def exchange(
    connection: Connection,
    metadata: Metadata,
    provider: HasSecret,
    *,
    code: str,
    code_verifier: str,
    redirect_uri: str,
) -> dict[str, Any]:
    """Redeem a code and return the token response (RFC 6749, 5.1), unknown members dropped.

    Raises SsoRefused where the provider refuses or answers with something else than a
    bearer token, SsoUnavailable where it does not answer in a way that can be understood.
    """
    if not _is_plain(code, _MAX_CODE):
        raise SsoRefused("code")
    secret = provider.client_secret(connection)
    method = _auth_method(metadata, secret)
    client = OAuth2Client(_Session(connection), connection.client_id, secret, method)
    client.register_client_auth_method(("client_secret_basic", _basic))
    try:
        tokens = client.fetch_token(
            metadata.token_endpoint,
            grant_type="authorization_code",
            code=code,
            code_verifier=code_verifier,
            redirect_uri=redirect_uri,
        )
    except (AuthlibBaseError, ValueError):
        raise SsoUnavailable("token_response") from None
    if str(tokens.get("token_type", "")).lower() != "bearer":
        raise SsoRefused("token_type")
    if not _is_plain(tokens.get("access_token", ""), _MAX_TOKEN):
        raise SsoRefused("access_token")
    return dict(tokens)


def get_json(
    connection: Connection,
    url: str,
    *,
    access_token: str | None = None,
    query: Mapping[str, str] | None = None,
) -> Any:
    """Return what an address of a provider answers, parsed strictly.

    `query` may hold credentials as `access_token` does: with either, a redirect is not
    followed. Raises SsoUnavailable for everything but a 200 with JSON.
    """
    headers = {"Accept": "application/json"}
    if access_token is not None:
        headers["Authorization"] = f"Bearer {access_token}"
    follow = access_token is None and query is None
    address = f"{url}{'&' if '?' in url else '?'}{urlencode(query)}" if query else url
    response = _send(connection, "GET", address, headers, follow=follow)
    if response.status != 200:
        raise SsoUnavailable(f"http_{response.status}")
    return _parsed(response.content)


def checked_url(connection: Connection, url: object) -> str:
    """Return an address that a connection may use. Raises SsoUnavailable.

    Plain HTTP only where private networks are allowed; what it leads to is checked by
    `core.http` when it is opened.
    """
    if not isinstance(url, str) or not _is_plain(url, _MAX_URL):
        raise SsoUnavailable("address")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise SsoUnavailable("address") from None
    schemes = ("https", "http") if connection.allow_private else ("https",)
    if not usable or parts.scheme not in schemes or "@" in parts.netloc or "#" in url:
        raise SsoUnavailable("address")
    return url


def _send(
    connection: Connection,
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    content: bytes | None = None,
    follow: bool = False,
) -> Response:
    address = checked_url(connection, url)
    slots = _slots.first(connection.id, "", BoundedSemaphore(MOST_AT_ONCE))
    # A provider that hangs must not hold every thread: the other ways in go on.
    if not slots.acquire(timeout=QUEUE_SECONDS):
        raise SsoUnavailable("busy")
    try:
        return fetch(
            method,
            address,
            headers=headers,
            content=content,
            timeout=SsoSettings.current().SSO_TIMEOUT_SECONDS,
            allow_private=connection.allow_private,
            follow_redirects=follow,
        )
    except UpstreamFailed as error:
        raise SsoUnavailable(error.code.rpartition(".")[2]) from None
    finally:
        slots.release()


def _parsed(content: bytes) -> Any:
    # Arrays are JSON too (GitHub's addresses); the strict reader wants an object.
    try:
        found = read_object(b'{"value":' + content + b"}")
    except ValueError:
        raise SsoUnavailable("not_json") from None
    if found.keys() != {"value"}:  # the body closed the object and went on
        raise SsoUnavailable("not_json")
    return found["value"]


def _is_plain(text: object, longest: int) -> bool:
    return (
        isinstance(text, str)
        and 0 < len(text) <= longest
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )


def _challenge(code_verifier: str) -> str:
    return str(create_s256_code_challenge(code_verifier))  # type: ignore[no-untyped-call]


def _auth_method(metadata: Metadata, secret: str) -> str:
    if not secret:
        return "none"
    for method in _AUTH_METHODS[:2]:
        if method in metadata.token_auth_methods:
            return method
    raise SsoUnavailable("token_auth_method")


def _basic(
    client: ClientAuth, _method: str, uri: str, headers: dict[str, str], body: str
) -> tuple[str, dict[str, str], str]:
    # RFC 6749, 2.3.1: both halves are form-encoded first; Authlib leaves that out, and a
    # secret with "+" or "%" is then another one to a provider that decodes it.
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return uri, headers, body


class _Session:
    """What Authlib takes for its HTTP session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def post(
        self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: ClientAuth
    ) -> _TokenResponse:
        uri, sent, body = auth.prepare(  # type: ignore[no-untyped-call]
            "POST", url, dict(headers), urlencode(data)
        )
        return _TokenResponse(
            _send(self._connection, "POST", uri, sent, content=str(body).encode())
        )


class _TokenResponse:
    """What Authlib reads of an answer; only members that we use pass, each a string."""

    def __init__(self, response: Response) -> None:
        self.status_code = response.status
        self._content = response.content

    def raise_for_status(self) -> None:
        raise SsoUnavailable(f"http_{self.status_code}")

    def json(self) -> dict[str, str]:
        found = _parsed(self._content) if self.status_code != 429 else None
        if not isinstance(found, dict):
            raise SsoUnavailable("token_response")
        # GitHub refuses with a status of 200.
        if "error" in found:
            known = found["error"] if isinstance(found["error"], str) else ""
            raise SsoRefused(known if known in _TOKEN_ERRORS else "token_error")
        if self.status_code != 200:
            raise SsoUnavailable(f"http_{self.status_code}")
        return {name: found[name] for name in _KEPT if isinstance(found.get(name), str)}
