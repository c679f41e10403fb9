"""Public keys of providers (RFC 7517), fetched seldom and picked strictly.

A kid that nobody knows costs a fetch at most once in five minutes per connection and
address, whatever came of the last one (AT-198). Keys that are shared secrets, for
encryption, weak, of another algorithm or doubtful by their kid are no keys (AT-199).
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ....core import clock
from ..connection import Connection, Metadata
from ..errors_sso import SsoRefused, SsoUnavailable
from .kept import Kept
from .transport import get_json, is_issuer

Key = RSAKey | ECKey | OKPKey

REFETCH = timedelta(minutes=5)
FRESH = timedelta(hours=1)
STALE = timedelta(hours=24)
_MOST_KEYS = 100
_RSA_BITS = range(2048, 8192 + 1)
_TYPES: dict[str, tuple[type[Key], tuple[str, ...]]] = {
    "RSA": (RSAKey, ("n", "e")),
    "EC": (ECKey, ("crv", "x", "y")),
    "OKP": (OKPKey, ("crv", "x")),
}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}


@dataclass(frozen=True, slots=True)
class _PublicKey:
    value: Key
    kid: str | None
    kind: str
    curve: str | None
    alg: str | None
    issuer: str | None

    def fits(self, alg: str, kid: str | None, issuer: str) -> bool:
        """Return whether a token with this header could be signed with this key."""
        if (self.alg or alg) != alg or (kid is not None and kid != self.kid):
            return False
        # Microsoft's documents hold the keys of several issuers, each named beside its key.
        if self.issuer is not None and not is_issuer(self.issuer, issuer):
            return False
        if alg in _CURVES:
            return self.curve == _CURVES[alg]
        return self.kind == "RSA" and alg[:2] in {"RS", "PS"}


@dataclass(slots=True)
class _KeySet:
    lock: Lock = field(default_factory=Lock)
    keys: tuple[_PublicKey, ...] = ()
    fetched_at: datetime | None = None
    tried_at: datetime | None = None

    def is_usable(self, now: datetime) -> bool:
        """Return whether there are keys no older than a provider may be away."""
        return self.fetched_at is not None and now - self.fetched_at < STALE

    def fitting(self, now: datetime, alg: str, kid: str | None, issuer: str) -> list[Key]:
        """Return the keys that a token with this header could be signed with."""
        known = self.keys if self.is_usable(now) else ()
        return [key.value for key in known if key.fits(alg, kid, issuer)]


_sets: Kept[_KeySet] = Kept()


def find(connection: Connection, metadata: Metadata, *, alg: str, kid: str | None) -> Key:
    """Return the one key that a token was signed with by its header.

    Raises SsoRefused where there is none or more than one, SsoUnavailable where the
    provider's keys cannot be had.
    """
    now = clock.now()
    url, kept = _kept(connection, metadata, now)
    fitting = kept.fitting(now, alg, kid, metadata.issuer)
    if not fitting:
        _refresh(connection, url, kept, now)
        fitting = kept.fitting(now, alg, kid, metadata.issuer)
    if not kept.is_usable(now):
        raise SsoUnavailable("no_keys")
    if len(fitting) != 1:
        raise SsoRefused("key")
    return fitting[0]


def count(connection: Connection, metadata: Metadata, algorithms: Iterable[str]) -> int:
    """Return how many keys a provider shows for these algorithms. Raises SsoUnavailable."""
    now = clock.now()
    _url, kept = _kept(connection, metadata, now)
    # Whose key it is will be asked of each token; here any tenant's counts.
    known = [replace(key, issuer=None) for key in kept.keys] if kept.is_usable(now) else []
    wanted = tuple(algorithms)
    return sum(any(key.fits(alg, key.kid, metadata.issuer) for alg in wanted) for key in known)


def forget(connection_id: UUID) -> None:
    """Drop the keys of a connection's provider."""
    _sets.forget(connection_id)


def _kept(connection: Connection, metadata: Metadata, now: datetime) -> tuple[str, _KeySet]:
    """Return a provider's key set, asked for where it is not there or older than an hour."""
    if metadata.jwks_uri is None:
        raise SsoUnavailable("jwks_uri")
    kept = _sets.first(connection.id, metadata.jwks_uri, _KeySet())
    if kept.fetched_at is None or now - kept.fetched_at >= FRESH:
        _refresh(connection, metadata.jwks_uri, kept, now)
    return metadata.jwks_uri, kept


def _refresh(connection: Connection, url: str, kept: _KeySet, now: datetime) -> None:
    # Whoever comes second waits for the first one's answer rather than being refused.
    with kept.lock:
        if kept.tried_at is not None and now - kept.tried_at < REFETCH:
            return
        kept.tried_at = now
        try:
            kept.keys, kept.fetched_at = _read(get_json(connection, url)), now
        except SsoUnavailable:
            if not kept.is_usable(now):
                raise


def _read(document: object) -> tuple[_PublicKey, ...]:
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise SsoUnavailable("jwks")
    found = [key for key in map(_understood, listed[:_MOST_KEYS]) if key is not None]
    times = Counter(key.kid for key in found)
    return tuple(key for key in found if key.kid is None or times[key.kid] == 1)


def _understood(jwk: object) -> _PublicKey | None:
    """Return a key that may verify signatures, or None."""
    kind = jwk.get("kty") if isinstance(jwk, Mapping) else None
    if not isinstance(jwk, Mapping) or not isinstance(kind, str) or kind not in _TYPES:
        return None
    operations = jwk.get("key_ops", ["verify"])
    for_signatures = isinstance(operations, list) and "verify" in operations
    if jwk.get("use", "sig") != "sig" or not for_signatures:
        return None
    named = [jwk.get(name) for name in ("kid", "alg", "issuer")]
    if not all(item is None or isinstance(item, str) for item in named):
        return None
    value = _imported(kind, jwk)
    if value is None:
        return None
    kid, alg, issuer = named
    return _PublicKey(value, kid, kind, jwk.get("crv") if kind != "RSA" else None, alg, issuer)


def _imported(kind: str, jwk: Mapping[str, Any]) -> Key | None:
    # Only the public members are read: a private key in the document changes nothing.
    family, names = _TYPES[kind]
    members: dict[str, str | list[str]] = {
        name: jwk[name] for name in names if isinstance(jwk.get(name), str)
    }
    try:
        if kind == "RSA" and _bits(jwk.get("n")) not in _RSA_BITS:
            return None
        return family.import_key({"kty": kind, **members})
    except (JoseError, ValueError, TypeError, LookupError, UnsupportedAlgorithm):
        return None


def _bits(number: object) -> int:
    if not isinstance(number, str):
        return 0
    padded = number + "=" * (-len(number) % 4)
    return int.from_bytes(base64.urlsafe_b64decode(padded)).bit_length()
