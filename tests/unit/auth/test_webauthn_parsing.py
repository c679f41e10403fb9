"""Answers of ceremonies as strangers send them: read exactly, or a typed 400 (AT-020, AT-260)."""

from __future__ import annotations

import contextlib
import copy
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from fido2 import cbor
from hypothesis import given
from hypothesis import strategies as st

from app.auth.errors import PasskeyMalformed
from app.auth.webauthn.webauthn_parsing import (
    decode,
    encode,
    read_assertion,
    read_assertion_text,
    read_registration,
)
from tests.support.authenticator import AT, ED, UP, UV, Authenticator, by_itself

CREATE = {
    "challenge": encode(b"c" * 32),
    "rp": {"id": "localhost"},
    "user": {"id": encode(b"h" * 64)},
}
GET = {"challenge": encode(b"c" * 32), "rpId": "localhost"}
Change = Callable[[dict[str, Any]], Any]


def created(**lies: Any) -> dict[str, Any]:
    return Authenticator().create(CREATE, **lies)


def gotten(**lies: Any) -> dict[str, Any]:
    device = Authenticator()
    device.create(CREATE)
    return device.get(GET, **lies)


def put(*path: str, value: Any) -> Change:
    def change(message: dict[str, Any]) -> None:
        inner = message
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value

    return change


def attestation(data: bytes, **more: Any) -> bytes:
    return cbor.encode({"fmt": "none", "attStmt": {}, "authData": data, **more})


def auth_data(message: dict[str, Any]) -> bytes:
    found: Any = cbor.decode(decode(message["response"]["attestationObject"]))
    return bytes(found["authData"])


def test_e2_a_registration_is_read() -> None:
    message = created(attest=by_itself, transports=["usb", "nfc", "usb"])
    found = read_registration(message)
    assert encode(found.credential.credential_id) == message["id"]
    assert found.transports == ("usb", "nfc")
    assert found.discoverable is True
    assert found.attestation.fmt == "packed"
    assert found.authenticator_data.user_verified


def test_e2_an_assertion_is_read() -> None:
    message = gotten()
    found = read_assertion(message)
    assert found == read_assertion_text(json.dumps(message))
    assert found.user_handle == b"h" * 64
    assert found.client_data.challenge == b"c" * 32


def test_hints_of_the_browser_are_taken_where_they_make_sense_and_left_otherwise() -> None:
    message = created(transports=["usb", 7, "x" * 99, "<b>", None, "hybrid"])
    message["clientExtensionResults"] = {"credProps": {"rk": "yes"}}
    found = read_registration(message)
    assert (found.transports, found.discoverable) == (("usb", "hybrid"), None)
    for odd in (None, "usb", {}, [["usb"]]):
        message = created(transports=odd)
        message["clientExtensionResults"] = odd
        assert read_registration(message).transports == ()


STRANGE = [None, [], {}, "", "x", 7, True, ["a"], {"a": 1}, 1.5]
BOTH: list[Change] = [
    *[put(name, value=value) for name in ("id", "rawId", "type", "response") for value in STRANGE],
    *[put("response", "clientDataJSON", value=value) for value in STRANGE],
    put("id", value="AAAA"),
    put("rawId", value=encode(b"")),
    put("response", "clientDataJSON", value=encode(b"[]")),
    put("response", "clientDataJSON", value=encode(b"{}")),
    put("response", "clientDataJSON", value=encode(b"\xff")),
    put("response", "clientDataJSON", value=encode(b'{"type": 1, "challenge": "", "origin": ""}')),
    put("response", "clientDataJSON", value=encode(b"[" * 8000)),
    put("response", "clientDataJSON", value=encode(b" " * 9000)),
    lambda message: message.clear(),
]


@pytest.mark.parametrize("change", BOTH)
def test_at_020_at_260_a_message_of_another_form_is_malformed(change: Change) -> None:
    for make, read in ((created, read_registration), (gotten, read_assertion)):
        message = make()
        change(message)
        with pytest.raises(PasskeyMalformed):
            read(message)


@pytest.mark.parametrize("value", [None, [], "x", 7, True])
def test_at_020_a_message_that_is_no_object_is_malformed(value: Any) -> None:
    with pytest.raises(PasskeyMalformed):
        read_registration(value)
    with pytest.raises(PasskeyMalformed):
        read_assertion(value)


@pytest.mark.parametrize("name", ["authenticatorData", "signature", "userHandle"])
def test_at_020_parts_of_an_assertion_of_another_type_are_malformed(name: str) -> None:
    for value in [*STRANGE[1:], "AA==", "A", "AB", "A+/A", "\u00e9", "A" * 200_000]:
        if (name, value) in (("userHandle", ""), ("signature", "")):
            continue
        message = gotten()
        message["response"][name] = value
        with pytest.raises(PasskeyMalformed):
            read_assertion(message)


@pytest.mark.parametrize(
    "text", ["", "null", "{}", "[" * 70_000, '{"a": NaN}', "\ud800", '{"a":1,"a":2}']
)
def test_at_260_an_assertion_in_text_of_another_form_is_malformed(text: str) -> None:
    with pytest.raises(PasskeyMalformed):
        read_assertion_text(text)


def test_at_260_client_data_with_a_name_given_twice_is_malformed() -> None:
    twice = b'{"type":"webauthn.get","type":"webauthn.get","challenge":"AAAA","origin":"x"}'
    with pytest.raises(PasskeyMalformed):
        read_assertion(gotten(client_data=twice))


def test_e2_an_empty_signature_is_read_and_fails_later() -> None:
    message = gotten()
    message["response"]["signature"] = ""
    assert read_assertion(message).signature == b""


def objects() -> list[bytes]:
    """Return attestation objects that are none, each for a reason of its own."""
    data = auth_data(created())
    key = cbor.encode({1: 2})
    deep = b"\x81" * 5000 + b"\x00"
    long_id = data[:53] + struct.pack(">H", 1024) + bytes(1024) + data[87:]
    return [
        b"",
        b"\xa0",
        b"\x80",
        deep,
        attestation(data) + b"\x00",  # something behind it
        attestation(data)[:-1],
        attestation(data, more=1),
        attestation(data + b"\x00"),
        attestation(data[:-1]),
        attestation(data[:36]),
        attestation(b""),
        attestation(long_id),
        attestation(data[:53] + b"\x00\x00" + data[87:]),  # an empty credential id
        attestation(data[:55]),
        attestation(data[:32] + bytes([UP | UV]) + data[33:37]),  # no credential at all
        attestation(
            data[:32] + bytes([UP | UV | AT | ED]) + data[33:]
        ),  # extensions told, not sent
        attestation(data[:32] + bytes([UP | UV | AT | ED]) + data[33:] + b"\x80"),
        attestation(data[:87] + b"\xa2\x01\x02\x01\x03"),  # a name given twice
        attestation(data[:87] + b"\xa1\x80\x01"),  # a name that is a list
        attestation(data[:87] + b"\xa1\x01\x62\xff\xff"),
        attestation(data[:87] + key[:-1]),
        attestation(data[:87] + deep),
        cbor.encode({"fmt": "none", "attStmt": {}, "authData": "text"}),
        cbor.encode({"fmt": "none", "attStmt": [], "authData": data}),
        cbor.encode({"fmt": 7, "attStmt": {}, "authData": data}),
        cbor.encode({"fmt": "<b>", "attStmt": {}, "authData": data}),
        cbor.encode({"fmt": "x" * 33, "attStmt": {}, "authData": data}),
        cbor.encode({"fmt": "none", "attStmt": {}}),
        b"\xa3" + attestation(data)[1:-1] + b"\xff",
        b"\xbf" + attestation(data)[1:] + b"\xff",  # of indefinite length
    ]


@pytest.mark.parametrize("raw", objects())
def test_at_260_an_attestation_object_of_another_form_is_malformed(raw: bytes) -> None:
    message = created()
    message["response"]["attestationObject"] = encode(raw)
    with pytest.raises(PasskeyMalformed):
        read_registration(message)


def test_at_260_authenticator_data_is_what_its_flags_tell() -> None:
    assert read_assertion(gotten(flags=UP | UV | ED, trailing=b"\xa0"))
    for lies in (
        {"trailing": b"\x00"},
        {"flags": UP | UV | ED},
        {"flags": UP | UV | ED, "trailing": b"\xa0\x00"},
        {"flags": UP | UV | ED, "trailing": b"\x80"},
        {"flags": UP | UV | AT},
        {"flags": UP | UV | AT, "trailing": bytes(80)},
    ):
        with pytest.raises(PasskeyMalformed):
            read_assertion(gotten(**lies))


def test_at_260_a_credential_id_is_the_attested_one_and_of_1023_bytes_at_most() -> None:
    assert read_registration(created(credential_id=b"i" * 1023))
    with pytest.raises(PasskeyMalformed):
        read_registration(created(credential_id=b"i" * 1024))
    message = created()
    message["id"] = message["rawId"] = encode(b"another")
    with pytest.raises(PasskeyMalformed):
        read_registration(message)


def test_at_260_a_megabyte_of_attestation_is_malformed() -> None:
    message = created(attestation_object=attestation(bytes(1_000_000)))
    with pytest.raises(PasskeyMalformed):
        read_registration(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = [
    ("id",),
    ("rawId",),
    ("type",),
    ("clientExtensionResults",),
    ("response",),
    ("response", "clientDataJSON"),
    ("response", "attestationObject"),
    ("response", "authenticatorData"),
    ("response", "signature"),
    ("response", "userHandle"),
    ("response", "transports"),
]
GOOD_CREATE, GOOD_GET = created(), gotten()


@given(st.sampled_from(PATHS), JSON)
def test_whatever_stands_in_a_field_nothing_but_a_typed_400_comes_out(
    path: tuple[str, ...], value: Any
) -> None:
    for good, read in ((GOOD_CREATE, read_registration), (GOOD_GET, read_assertion)):
        message = copy.deepcopy(good)
        put(*path, value=value)(message)
        with contextlib.suppress(PasskeyMalformed):
            read(message)


@given(st.sampled_from(["attestationObject", "authenticatorData", "clientDataJSON"]), st.data())
def test_whatever_bytes_are_changed_nothing_but_a_typed_400_comes_out(
    name: str, data: st.DataObject
) -> None:
    for good, read in ((GOOD_CREATE, read_registration), (GOOD_GET, read_assertion)):
        if name not in good["response"]:
            continue
        message = copy.deepcopy(good)
        raw = bytearray(decode(message["response"][name]))
        for _change in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
            if not raw:
                break
        message["response"][name] = encode(bytes(raw))
        with contextlib.suppress(PasskeyMalformed):
            read(message)


@given(st.binary(max_size=300))
def test_random_cbor_never_breaks_the_reader(raw: bytes) -> None:
    message = copy.deepcopy(GOOD_CREATE)
    message["response"]["attestationObject"] = encode(raw)
    with pytest.raises(PasskeyMalformed):
        read_registration(message)


@given(st.binary(max_size=80))
def test_base64url_has_one_spelling(value: bytes) -> None:
    assert decode(encode(value)) == value
    for other in (encode(value) + "=", encode(value) + "\n", " " + encode(value)):
        with pytest.raises(ValueError):
            decode(other)
