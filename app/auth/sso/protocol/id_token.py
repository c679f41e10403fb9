"""ID tokens and logout tokens: verified, or refused with the name of what was wrong.

Signatures by joserfc, the claims of OpenID Connect Core 3.1.3.7 by Authlib, and what is
stricter here: algorithms, nonce, numbers, subject, age. OpenID Connect Back-Channel
Logout 1.0, 2.6. Refuses to take anything from a token before its signature was checked.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from authlib.oidc.core import CodeIDToken
from joserfc import jws
from joserfc.errors import ClaimError, JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry

from ....core import clock
from ....core.crypto import same, token_digest
from ....core.parsing.strict_json import read_object
from ..connection import Connection, Metadata
from ..errors_sso import SsoRefused
from ..settings_sso import SsoSettings
from . import keys

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""What may sign: never `none`, never a shared secret (AT-186)."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
OLDEST = 600
"""Seconds after which a token that we just asked for cannot be the answer."""

LONGEST_LOGOUT = 86_400
"""Seconds for which a logout token may count, and be remembered so that it counts once."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]{1,4096}\.[A-Za-z0-9_-]{1,100000}\.[A-Za-z0-9_-]{1,2048}")
_MAX_TEXT = 255
_LAST_SECOND = 2**33
_TIMES = ("exp", "iat", "nbf", "auth_time")


@dataclass(frozen=True, slots=True)
class LogoutClaims:
    """Whose sessions a logout token ends; `jti` counts once until `exp` (AT-203)."""

    sub: str | None
    sid: str | None
    jti: str
    iat: int
    exp: int


def verify(
    connection: Connection,
    metadata: Metadata,
    token: object,
    *,
    nonce_digest: bytes,
    access_token: str | None,
    max_age: int | None,
) -> dict[str, Any]:
    """Return the claims of an ID token that came from the token endpoint.

    Its signature is checked all the same (AT-187). Raises SsoRefused, SsoUnavailable.
    """
    check = _Check("id_token")
    header, claims = _opened(connection, metadata, token, check)
    _check_times(claims, check)
    _check_standard(CodeIDToken, connection, metadata, header, claims, access_token, check)
    if "azp" in claims and claims["azp"] != connection.client_id:
        check.refuse("azp")
    if "at_hash" in claims and not (claims["at_hash"] and access_token):
        check.refuse("at_hash")
    if not _is_text(claims["sub"]):
        check.refuse("sub")
    _check_nonce(claims.get("nonce"), nonce_digest, check)
    if max_age is not None:
        _check_auth_time(claims, max_age, check)
    return claims


def verify_logout_token(connection: Connection, metadata: Metadata, token: object) -> LogoutClaims:
    """Return what a logout token says (Back-Channel Logout 1.0, 2.6).

    Raises SsoRefused, SsoUnavailable.
    """
    check = _Check("logout_token")
    header, claims = _opened(connection, metadata, token, check)
    # 2.4: without its own type an ID token could be passed off as one. Providers of before
    # that clause send none, so a connection may do without.
    kind = str(header.get("typ", "")).lower().removeprefix("application/")
    if kind != "logout+jwt" and connection.options.get("logout_typ") != "any":
        check.refuse("typ")
    _check_times(claims, check)
    _check_standard(_LogoutToken, connection, metadata, header, claims, None, check)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        check.refuse("events")
    if "nonce" in claims:
        check.refuse("nonce")
    for name in ("jti", "sub", "sid"):
        if name in claims and not _is_text(claims[name]):
            check.refuse(name)
    if claims["exp"] - claims["iat"] > LONGEST_LOGOUT:
        check.refuse("exp")
    if not claims.keys() & {"sub", "sid"}:
        check.refuse("sub")
    sub, sid = claims.get("sub"), claims.get("sid")
    return LogoutClaims(sub, sid, claims["jti"], int(claims["iat"]), int(claims["exp"]))


def unverified(token: object) -> Mapping[str, Any]:
    """Return what a token says of itself, to choose what it is then verified against.

    Raises SsoRefused where it is no token.
    """
    return _object(_segments(token, _Check("id_token"))[1], _Check("id_token"))


class _LogoutToken(CodeIDToken):
    ESSENTIAL_CLAIMS = ["iss", "aud", "iat", "exp", "jti"]


@dataclass(frozen=True, slots=True)
class _Check:
    """Names the token in each refusal."""

    token: str

    def refuse(self, claim: str) -> NoReturn:
        raise SsoRefused(f"{self.token}_{claim}")


class _Registry(JWSRegistry):
    """joserfc's algorithms, of which one is allowed; header members of others are ignored."""

    max_header_length = 4096
    max_signature_length = 2048

    def __init__(self, alg: str) -> None:
        super().__init__(algorithms=[alg], strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        # joserfc's own warns of the name EdDSA (RFC 9864), which providers use still.
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


def _opened(
    connection: Connection, metadata: Metadata, token: object, check: _Check
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token whose signature is right."""
    header = _object(_segments(token, check)[0], check)
    # RFC 7515, 4.1.11: what must be understood and is not; b64 (RFC 7797) changes what was
    # signed. Neither is part of OpenID Connect (AT-208).
    if "crit" in header or "b64" in header:
        check.refuse("crit")
    alg, kid = header.get("alg"), header.get("kid")
    if alg not in ALGORITHMS or alg not in (metadata.algorithms or ("RS256",)):
        check.refuse("alg")
    if kid is not None and not isinstance(kid, str):
        check.refuse("kid")
    key = keys.find(connection, metadata, alg=alg, kid=kid)
    try:
        opened = jws.deserialize_compact(str(token), key, registry=_Registry(alg))
        claims = read_object(opened.payload or b"")
    except (JoseError, ValueError):
        check.refuse("signature")
    return header, claims


def _segments(token: object, check: _Check) -> list[str]:
    if not isinstance(token, str) or not _COMPACT.fullmatch(token):
        check.refuse("form")
    return token.split(".")


def _object(segment: str, check: _Check) -> dict[str, Any]:
    try:
        return read_object(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except ValueError:
        check.refuse("form")


def _check_times(claims: Mapping[str, Any], check: _Check) -> None:
    for name in _TIMES:
        if name in claims and not _is_time(claims[name]):
            check.refuse(name)


def _check_standard(
    kind: type[CodeIDToken],
    connection: Connection,
    metadata: Metadata,
    header: dict[str, Any],
    claims: dict[str, Any],
    access_token: str | None,
    check: _Check,
) -> None:
    """Check issuer, audience, authorized party, times and at_hash as Core 3.1.3.7 says."""
    told = kind(
        claims,
        header,
        {"iss": {"value": metadata.issuer}, "aud": {"value": connection.client_id}},
        {"client_id": connection.client_id, "access_token": access_token},
    )
    now, skew = _now_and_skew()
    try:
        told.validate(now, skew)
    except ClaimError as error:
        check.refuse(error.claim)
    except (JoseError, ValueError, TypeError):
        check.refuse("claims")
    if claims["iat"] < now - OLDEST - skew:
        check.refuse("iat")


def _check_nonce(nonce: object, digest: bytes, check: _Check) -> None:
    if not isinstance(nonce, str) or not same(token_digest(nonce), digest):
        check.refuse("nonce")


def _check_auth_time(claims: Mapping[str, Any], max_age: int, check: _Check) -> None:
    # Core 3.1.2.1: asked for and not there is as bad as too old (AT-200).
    now, skew = _now_and_skew()
    age = now - claims.get("auth_time", -math.inf)
    if not -skew <= age <= max_age + skew:
        check.refuse("auth_time")


def _now_and_skew() -> tuple[int, int]:
    return int(clock.now().timestamp()), SsoSettings.current().SSO_CLOCK_SKEW_SECONDS


def _is_time(value: object) -> bool:
    # True counts as 1 in Python, and NaN is neither before nor after anything.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < _LAST_SECOND  # type: ignore[operator]


def _is_text(value: object) -> bool:
    # Core 2: a subject is at most 255 ASCII characters.
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        return False
    return value.isascii() and value.isprintable()
