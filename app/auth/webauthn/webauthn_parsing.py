"""Answers of WebAuthn ceremonies, from JSON to values (WebAuthn Level 3, 5.1, 6.1, 6.5, 7).

The one place where bytes of a stranger reach a parser: whatever breaks there is a
PasskeyMalformed. Says what was sent, not whether it is right: that is `webauthn_checks`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from fido2 import cbor
from fido2.webauthn import AttestationObject

from ...core.parsing.strict_cbor import end_of, pairs_of
from ...core.parsing.strict_json import read_object
from ..errors import PasskeyMalformed

LONGEST_ID = 1023
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*\Z")
_FORMAT = re.compile(r"[a-z0-9-]{1,32}\Z")
_TRANSPORT = re.compile(r"[a-z0-9-]{1,16}\Z")
_MOST_TRANSPORTS = 8
_FIXED = 37
_UP, _UV, _BE, _BS, _AT, _ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


@dataclass(frozen=True, slots=True)
class ClientData:
    """What the browser says about the ceremony; signed by its digest."""

    type: str
    challenge: bytes
    origin: str
    cross_origin: bool
    has_top_origin: bool
    digest: bytes


@dataclass(frozen=True, slots=True)
class NewCredential:
    """Attested credential data: the new key and which model made it."""

    aaguid: UUID
    credential_id: bytes
    public_key: Mapping[int, Any]


@dataclass(frozen=True, slots=True)
class AuthenticatorData:
    """What the authenticator says and signs."""

    raw: bytes = field(repr=False)
    rp_id_hash: bytes
    user_present: bool
    user_verified: bool
    backup_eligible: bool
    backup_state: bool
    sign_count: int
    credential: NewCredential | None


@dataclass(frozen=True, slots=True)
class Registration:
    """A RegistrationResponseJSON."""

    client_data: ClientData
    authenticator_data: AuthenticatorData
    credential: NewCredential
    attestation: AttestationObject = field(repr=False)
    transports: tuple[str, ...]
    discoverable: bool | None


@dataclass(frozen=True, slots=True)
class Assertion:
    """An AuthenticationResponseJSON."""

    credential_id: bytes
    client_data: ClientData
    authenticator_data: AuthenticatorData
    signature: bytes = field(repr=False)
    user_handle: bytes | None


def credential_digest(credential_id: bytes) -> bytes:
    """Return what a credential is looked up by: ids may be longer than an index key."""
    return hashlib.sha256(credential_id).digest()


def encode(value: bytes) -> str:
    """Return base64url without padding, the form of bytes in WebAuthn's JSON."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: Any, *, longest: int = 65536) -> bytes:
    """Return the bytes of base64url text. Raises ValueError for any other spelling of them."""
    if not isinstance(text, str) or len(text) > longest * 4 // 3 + 2:
        raise ValueError("not base64url text")
    if not _BASE64URL.match(text):
        raise ValueError("not base64url")
    value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(value) != text:
        raise ValueError("not canonical base64url")
    return value


def read_registration(value: Any) -> Registration:
    """Return what a RegistrationResponseJSON says. Raises PasskeyMalformed."""
    with _reading():
        credential_id, response = _envelope(value)
        client_data = _client_data(response)
        attestation = _attestation(decode(response["attestationObject"]))
        data = _authenticator_data(bytes(attestation.auth_data))
        if data.credential is None or data.credential.credential_id != credential_id:
            raise ValueError("the attested credential is another one")
        return Registration(
            client_data,
            data,
            data.credential,
            attestation,
            _transports(response.get("transports")),
            _discoverable(value.get("clientExtensionResults")),
        )


def read_assertion(value: Any) -> Assertion:
    """Return what an AuthenticationResponseJSON says. Raises PasskeyMalformed."""
    with _reading():
        credential_id, response = _envelope(value)
        handle = response.get("userHandle")
        return Assertion(
            credential_id,
            _client_data(response),
            _authenticator_data(decode(response["authenticatorData"])),
            decode(response["signature"], longest=2048),
            decode(handle, longest=64) if handle is not None else None,
        )


def read_assertion_text(text: str) -> Assertion:
    """Return what an assertion in JSON text says. Raises PasskeyMalformed."""
    with _reading():
        value = read_object(text)
    return read_assertion(value)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - what a stranger's bytes break is their fault
        raise PasskeyMalformed(reason=type(error).__name__) from None


def _envelope(value: Any) -> tuple[bytes, Mapping[str, Any]]:
    if not isinstance(value, Mapping) or value["type"] != "public-key":
        raise ValueError("not a public key credential")
    credential_id = decode(value["rawId"], longest=LONGEST_ID)
    if value["id"] != value["rawId"] or not 1 <= len(credential_id) <= LONGEST_ID:
        raise ValueError("not a credential id")
    response = value["response"]
    if not isinstance(response, Mapping):
        raise TypeError("not a response")
    return credential_id, response


def _client_data(response: Mapping[str, Any]) -> ClientData:
    raw = decode(response["clientDataJSON"], longest=8192)
    found = read_object(raw)
    cross_origin = found.get("crossOrigin", False)
    if not isinstance(found["type"], str) or not isinstance(found["origin"], str):
        raise TypeError("client data of another form")
    if not isinstance(cross_origin, bool):
        raise TypeError("crossOrigin is no truth value")
    return ClientData(
        found["type"],
        decode(found["challenge"], longest=1024),
        found["origin"],
        cross_origin,
        "topOrigin" in found,
        hashlib.sha256(raw).digest(),
    )


def _attestation(raw: bytes) -> AttestationObject:
    if end_of(raw) != len(raw) or pairs_of(raw) != 3:
        raise ValueError("not an attestation object")
    found: Any = cbor.decode(raw)
    data = found["authData"]
    if len(found) != 3 or not isinstance(data, bytes) or not isinstance(found["attStmt"], dict):
        raise ValueError("not an attestation object")
    if not _FORMAT.match(found["fmt"]):
        raise ValueError("not an attestation format")
    _authenticator_data(data)  # its bounds, before the library reads it
    return AttestationObject(raw)


def _authenticator_data(raw: bytes) -> AuthenticatorData:
    if len(raw) < _FIXED:
        raise ValueError("authenticator data is truncated")
    flags, at, credential = raw[32], _FIXED, None
    if flags & _AT:
        credential, at = _new_credential(raw, at)
    if flags & _ED:
        pairs_of(raw, at)
        at = end_of(raw, at)
    if at != len(raw):
        raise ValueError("authenticator data of another length than its flags tell")
    return AuthenticatorData(
        raw,
        raw[:32],
        user_present=bool(flags & _UP),
        user_verified=bool(flags & _UV),
        backup_eligible=bool(flags & _BE),
        backup_state=bool(flags & _BS),
        sign_count=int.from_bytes(raw[33:37], "big"),
        credential=credential,
    )


def _new_credential(raw: bytes, at: int) -> tuple[NewCredential, int]:
    key_at = at + 18 + int.from_bytes(raw[at + 16 : at + 18], "big")
    end = end_of(raw, key_at)
    key: Any = cbor.decode(raw[key_at:end])
    if len(key) != pairs_of(raw, key_at):
        raise ValueError("a key with a name given twice")
    return NewCredential(UUID(bytes=raw[at : at + 16]), raw[at + 18 : key_at], key), end


def _transports(value: Any) -> tuple[str, ...]:
    # Hints for a later ceremony, from the browser alone: what is odd is left out.
    if not isinstance(value, list):
        return ()
    good = [item for item in value if isinstance(item, str) and _TRANSPORT.match(item)]
    return tuple(dict.fromkeys(good))[:_MOST_TRANSPORTS]


def _discoverable(results: Any) -> bool | None:
    properties = results.get("credProps") if isinstance(results, Mapping) else None
    found = properties.get("rk") if isinstance(properties, Mapping) else None
    return found if isinstance(found, bool) else None
