"""A software authenticator with its browser: it makes and uses keys, and lies as told.

Each lie is a keyword named for the field it falsifies, so that a test reads as the
attack that it is. Built on `cryptography` and fido2's CBOR encoder alone.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fido2 import cbor, cose
from fido2.cose import CoseKey

from app.auth.webauthn.webauthn_parsing import decode, encode
from app.core import rng

ORIGIN, RP_ID = "http://localhost", "localhost"
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
AAGUID = UUID("ee882879-721c-4913-9775-3dfcce97072a")
_SHA256, _P256 = hashes.SHA256(), ec.SECP256R1()
Sign = Callable[[bytes], bytes]
Attest = Callable[["Key", bytes, bytes], tuple[str, dict[str, Any]]]


def new_key(algorithm: int = -7) -> tuple[CoseKey, Sign]:
    """Return a fresh public key in COSE form, and what signs with its other half."""
    if algorithm == -8:
        edwards = ed25519.Ed25519PrivateKey.generate()
        return _cose("EdDSA", edwards.public_key()), edwards.sign
    if algorithm in (-257, -37):
        return rsa_key(2048, algorithm)
    kind, curve, hashed = {
        -7: ("ES256", ec.SECP256R1(), hashes.SHA256()),
        -35: ("ES384", ec.SECP384R1(), hashes.SHA384()),
        -36: ("ES512", ec.SECP521R1(), hashes.SHA512()),
    }[algorithm]
    key = ec.generate_private_key(curve)
    return _cose(kind, key.public_key()), lambda text: key.sign(text, ec.ECDSA(hashed))


def rsa_key(bits: int, algorithm: int = -257) -> tuple[CoseKey, Sign]:
    """Return an RSA key of any size; PSS with the salt of RFC 8230 for PS256."""
    key = rsa.generate_private_key(65537, bits)
    if algorithm == -37:
        pss = padding.PSS(padding.MGF1(_SHA256), padding.PSS.DIGEST_LENGTH)
        return _cose("PS256", key.public_key()), lambda text: key.sign(text, pss, _SHA256)
    return _cose("RS256", key.public_key()), lambda text: key.sign(
        text, padding.PKCS1v15(), _SHA256
    )


def _cose(name: str, public_key: Any) -> CoseKey:
    kind: Any = getattr(cose, name)  # fido2 leaves these untyped
    found: CoseKey = kind.from_cryptography_key(public_key)
    return found


@dataclass
class Key:
    """One credential as the authenticator keeps it."""

    credential_id: bytes
    public_key: CoseKey
    sign: Sign = field(repr=False)
    user_handle: bytes | None = None
    sign_count: int = 0


@dataclass
class Authenticator:
    """A key holder. `verifies` is its PIN or biometrics, `synced` sets BE and BS.

    `counts` is how far its counter goes at each use; 0 for passkeys that count nothing.
    """

    verifies: bool = True
    synced: bool = False
    counts: int = 1
    algorithm: int = -7
    aaguid: UUID = AAGUID
    origin: str = ORIGIN
    keys: list[Key] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Return the key made last."""
        return self.keys[-1]

    def create(self, options: dict[str, Any], **lies: Any) -> dict[str, Any]:
        """Return a RegistrationResponseJSON; lies as `assertion_parts` and `attested` name them."""
        public_key, sign = lies.pop("key", None) or new_key(self.algorithm)
        key = Key(
            lies.pop("credential_id", None) or rng.random_bytes(32),
            public_key,
            sign,
            decode(options["user"]["id"]),
        )
        self.keys.append(key)
        client_data = self._client_data("webauthn.create", options, lies)
        cose = lies.pop("cose", None) or cbor.encode(public_key)
        attested = (
            self.aaguid.bytes + struct.pack(">H", len(key.credential_id)) + key.credential_id + cose
        )
        data = self._data(options["rp"]["id"], AT, lies, attested)
        fmt, statement = lies.pop("attest", none)(key, data, client_data)
        raw = lies.pop("attestation_object", None) or cbor.encode(
            {"fmt": fmt, "authData": data, "attStmt": statement}
        )
        response = {
            "clientDataJSON": encode(client_data),
            "attestationObject": encode(raw),
            "transports": lies.pop("transports", ["usb", "nfc"]),
        }
        assert not lies, f"unknown lies: {lies}"
        return self._credential(key, response, {"credProps": {"rk": True}})

    def get(self, options: dict[str, Any], key: Key | None = None, **lies: Any) -> dict[str, Any]:
        """Return an AuthenticationResponseJSON."""
        key = key or self.key
        key.sign_count += self.counts
        client_data = self._client_data("webauthn.get", options, lies)
        data = self._data(options["rpId"], 0, {"sign_count": key.sign_count, **lies})
        for name in ("rp_id", "flags", "sign_count", "trailing"):
            lies.pop(name, None)
        signature = key.sign(data + hashlib.sha256(client_data).digest())
        if lies.pop("broken_signature", False):
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        handle = lies.pop("user_handle", key.user_handle)
        response = {
            "clientDataJSON": encode(client_data),
            "authenticatorData": encode(data),
            "signature": encode(signature),
            "userHandle": None if handle is None else encode(handle),
        }
        assert not lies, f"unknown lies: {lies}"
        return self._credential(key, response, {})

    def _client_data(self, ceremony: str, options: dict[str, Any], lies: dict[str, Any]) -> bytes:
        found = {
            "type": lies.pop("type", ceremony),
            "challenge": lies.pop("challenge", options["challenge"]),
            "origin": lies.pop("origin", self.origin),
            "crossOrigin": lies.pop("cross_origin", False),
            **lies.pop("more_client_data", {}),
        }
        raw: bytes = lies.pop("client_data", None) or json.dumps(found).encode()
        return raw

    def _data(self, rp_id: str, always: int, lies: dict[str, Any], attested: bytes = b"") -> bytes:
        flags = UP | always | (UV if self.verifies else 0) | (BE | BS if self.synced else 0)
        data: bytes = (
            hashlib.sha256(lies.pop("rp_id", rp_id).encode()).digest()
            + struct.pack(">BI", lies.pop("flags", flags) | always, lies.pop("sign_count", 0))
            + attested
            + lies.pop("trailing", b"")
        )
        return data

    def _credential(
        self, key: Key, response: dict[str, Any], results: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": encode(key.credential_id),
            "rawId": encode(key.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": results,
            "response": response,
        }


def none(_key: Key, _data: bytes, _client_data: bytes) -> tuple[str, dict[str, Any]]:
    """Attest nothing."""
    return "none", {}


def by_itself(key: Key, data: bytes, client_data: bytes) -> tuple[str, dict[str, Any]]:
    """Attest by the credential's own key."""
    signed = data + hashlib.sha256(client_data).digest()
    return "packed", {"alg": key.public_key.ALGORITHM, "sig": key.sign(signed)}


@dataclass
class Maker:
    """A maker of authenticators: a root, and certificates of its models."""

    root_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    name: str = "Maker"

    @property
    def root(self) -> x509.Certificate:
        """Return the root certificate."""
        own = self._name("CA")
        return self._certificate(self.root_key.public_key(), own, own, ca=True)

    def pem(self) -> bytes:
        """Return the root as a trust list."""
        return self.root.public_bytes(Encoding.PEM)

    def packed(
        self,
        *,
        aaguid: UUID = AAGUID,
        days: int = 365,
        through: Maker | None = None,
        authority: bool = True,
    ) -> Attest:
        """Return what attests as a model of this maker, directly or through an intermediate."""

        def attest(_key: Key, data: bytes, client_data: bytes) -> tuple[str, dict[str, Any]]:
            key = ec.generate_private_key(_P256)
            leaf = self._certificate(
                key.public_key(),
                self._name("Authenticator Attestation"),
                self._name("CA"),
                _model(aaguid),
                days=days,
            )
            chain = [leaf] if through is None else [leaf, through._issue(self, authority)]
            signed = data + hashlib.sha256(client_data).digest()
            return "packed", {
                "alg": -7,
                "sig": key.sign(signed, ec.ECDSA(_SHA256)),
                "x5c": [item.public_bytes(Encoding.DER) for item in chain],
            }

        return attest

    def apple(self, *, own_key: bool = True) -> Attest:
        """Return what attests anonymously; without `own_key` the certificate is another key's."""

        def attest(key: Key, data: bytes, client_data: bytes) -> tuple[str, dict[str, Any]]:
            nonce = hashlib.sha256(data + hashlib.sha256(client_data).digest()).digest()
            named = x509.UnrecognizedExtension(
                x509.ObjectIdentifier("1.2.840.113635.100.8.2"), b"\x30\x24\xa1\x22\x04\x20" + nonce
            )
            public = _public(key) if own_key else ec.generate_private_key(_P256).public_key()
            leaf = self._certificate(public, self._name("Device"), self._name("CA"), named)
            return "apple", {"x5c": [leaf.public_bytes(Encoding.DER)]}

        return attest

    def tpm(self, *, aaguid: UUID = AAGUID, **lies: Any) -> Attest:
        """Return what attests as a TPM of this maker (Level 3, 8.3; TPM 2.0 part 2)."""

        def attest(key: Key, data: bytes, client_data: bytes) -> tuple[str, dict[str, Any]]:
            own = ec.generate_private_key(_P256)
            area = bytes.fromhex("0023000b00040000000000100010000300100020")
            area += key.public_key[-2] + b"\x00\x20" + key.public_key[-3]
            extra = hashlib.sha256(data + hashlib.sha256(client_data).digest()).digest()
            info = b"\xffTCG\x80\x17\x00\x00\x00\x20" + lies.get("extra", extra)
            info += bytes(16) + b"\x01" + bytes(8)
            info += b"\x00\x22\x00\x0b" + hashlib.sha256(area).digest() + b"\x00\x00"
            made_by = [
                ("2.23.133.2.1", "id:00000000"),
                ("2.23.133.2.2", "T"),
                ("2.23.133.2.3", "id:0"),
            ]
            names = [x509.NameAttribute(x509.ObjectIdentifier(oid), text) for oid, text in made_by]
            directory = x509.DirectoryName(x509.Name([x509.RelativeDistinguishedName(names)]))
            leaf = self._certificate(
                own.public_key(),
                x509.Name([]),
                self._name("CA"),
                x509.SubjectAlternativeName([directory]),
                x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.23.133.8.3")]),
                _model(aaguid),
            )
            return "tpm", {
                "ver": "2.0",
                "alg": -7,
                "x5c": [leaf.public_bytes(Encoding.DER)],
                "sig": own.sign(info, ec.ECDSA(_SHA256)),
                "certInfo": info,
                "pubArea": area,
            }

        return attest

    def _issue(self, other: Maker, authority: bool) -> x509.Certificate:
        return self._certificate(
            other.root_key.public_key(), other._name("CA"), self._name("CA"), ca=authority
        )

    def _name(self, unit: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "AA"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.name),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
                x509.NameAttribute(NameOID.COMMON_NAME, f"{self.name} {unit}"),
            ]
        )

    def _certificate(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        issuer: x509.Name,
        *extensions: x509.ExtensionType,
        ca: bool = False,
        days: int = 365,
    ) -> x509.Certificate:
        begins = datetime.now(UTC) - timedelta(days=2)
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        for extension in extensions:
            built = built.add_extension(extension, critical=False)
        return built.sign(self.root_key, _SHA256)


def _model(aaguid: UUID) -> x509.UnrecognizedExtension:
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
    return x509.UnrecognizedExtension(oid, b"\x04\x10" + aaguid.bytes)


def _public(key: Key) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(key.public_key[part], "big") for part in (-2, -3))
    return ec.EllipticCurvePublicNumbers(x, y, _P256).public_key()
