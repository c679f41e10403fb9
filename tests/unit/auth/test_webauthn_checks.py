"""Each check of a ceremony on its own: one lie at a time, refused for its own reason (E2)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from app.auth.errors import PasskeyRefused
from app.auth.webauthn.webauthn_checks import (
    Expected,
    KnownKey,
    Used,
    check_owner,
    verify_assertion,
    verify_registration,
)
from app.auth.webauthn.webauthn_keys import ALGORITHMS, check_key, encode_key
from app.auth.webauthn.webauthn_parsing import encode, read_assertion, read_registration
from tests.support.authenticator import BE, BS, UP, UV, Authenticator, new_key, rsa_key

CHALLENGE, HANDLE = b"c" * 32, b"h" * 64
EXPECTED = Expected(
    hashlib.sha256(CHALLENGE).digest(), "localhost", ("http://localhost",), user_verification=False
)
CREATE = {
    "challenge": encode(CHALLENGE),
    "rp": {"id": "localhost"},
    "user": {"id": encode(HANDLE)},
}
GET = {"challenge": encode(CHALLENGE), "rpId": "localhost"}
ORIGINS = [
    "https://localhost",
    "http://localhost:8080",
    "http://localhost.",
    "http://localhost/",
    "http://www.localhost",
    "http://localhost.evil.example",
    "http://evil-localhost",
    "HTTP://LOCALHOST",
    "http://localhost@evil.example",
    "null",
    "",
    "android:apk-key-hash:AAAA",
]
LIES: list[tuple[str, dict[str, Any]]] = [
    ("challenge", {"challenge": encode(b"x" * 32)}),
    ("challenge", {"challenge": ""}),
    ("type", {"type": "payment.get"}),
    ("rp_id", {"rp_id": "example.org"}),
    ("rp_id", {"rp_id": "www.localhost"}),
    ("user_presence", {"flags": UV}),
    ("backup_flags", {"flags": UP | UV | BS}),
    ("cross_origin", {"cross_origin": True}),
    ("cross_origin", {"more_client_data": {"topOrigin": "http://localhost"}}),
    *[("origin", {"origin": origin}) for origin in ORIGINS],
]


def registered(device: Authenticator, **lies: Any) -> int:
    return verify_registration(read_registration(device.create(CREATE, **lies)), EXPECTED)


def known(device: Authenticator, **changes: Any) -> KnownKey:
    key = KnownKey(encode_key(device.key.public_key), device.algorithm, 0, device.synced)
    return replace(key, **changes)


def used(device: Authenticator, key: KnownKey | None = None, **lies: Any) -> Used:
    return verify_assertion(read_assertion(device.get(GET, **lies)), key or known(device), EXPECTED)


@pytest.fixture
def device() -> Authenticator:
    """Return an authenticator with one key."""
    found = Authenticator()
    registered(found)
    return found


def refused(reason: str, work: Any) -> None:
    with pytest.raises(PasskeyRefused) as refusal:
        work()
    assert refusal.value.details["reason"] == reason


@pytest.mark.parametrize(("reason", "lies"), LIES)
def test_at_248_at_252_a_lie_at_registration_is_refused(reason: str, lies: dict[str, Any]) -> None:
    refused(reason, lambda: registered(Authenticator(), **lies))


@pytest.mark.parametrize(("reason", "lies"), LIES)
def test_at_248_at_252_a_lie_at_authentication_is_refused(
    device: Authenticator, reason: str, lies: dict[str, Any]
) -> None:
    refused(reason, lambda: used(device, **lies))


def test_e2_the_ceremonies_do_not_stand_for_one_another(device: Authenticator) -> None:
    refused("type", lambda: registered(Authenticator(), type="webauthn.get"))
    refused("type", lambda: used(device, type="webauthn.create"))


def test_at_253_user_verification_is_held_where_it_is_demanded(device: Authenticator) -> None:
    strict = replace(EXPECTED, user_verification=True)
    answer = read_assertion(device.get(GET, flags=UP))
    refused("user_verification", lambda: verify_assertion(answer, known(device), strict))
    made = read_registration(Authenticator(verifies=False).create(CREATE))
    refused("user_verification", lambda: verify_registration(made, strict))
    assert verify_assertion(answer, known(device), EXPECTED).user_verified is False
    assert used(device).user_verified is True


def test_at_076_a_broken_signature_is_refused(device: Authenticator) -> None:
    refused("signature", lambda: used(device, broken_signature=True))


def test_at_076_a_signature_by_another_key_or_over_other_words_is_refused(
    device: Authenticator,
) -> None:
    other = Authenticator()
    registered(other)
    refused("signature", lambda: used(device, known(other)))
    answer = read_assertion(device.get(GET))
    later = replace(answer.authenticator_data, raw=answer.authenticator_data.raw[:-1] + b"\x63")
    changed = replace(answer, authenticator_data=later)
    refused("signature", lambda: verify_assertion(changed, known(device), EXPECTED))


def test_at_263_backup_eligibility_never_changes(device: Authenticator) -> None:
    refused("backup_flags", lambda: used(device, flags=UP | UV | BE))
    synced = Authenticator(synced=True)
    registered(synced)
    refused("backup_flags", lambda: used(synced, flags=UP | UV))
    assert used(synced).backup_state is True
    assert used(synced, flags=UP | UV | BE).backup_state is False


def test_at_255_a_counter_that_does_not_grow_is_told_and_zeros_are_not(
    device: Authenticator,
) -> None:
    seven = known(device, sign_count=7)
    assert used(device, seven, sign_count=8) == Used(True, False, 8, clone_suspected=False)
    for count in (7, 6, 0):
        found = used(device, seven, sign_count=count)
        assert found == Used(True, False, 7, clone_suspected=True)
    assert used(device, sign_count=0).clone_suspected is False


def test_at_257_the_user_handle_must_be_the_accounts_own(device: Authenticator) -> None:
    mine, none = (
        read_assertion(device.get(GET)),
        read_assertion(device.get(GET, user_handle=None)),
    )
    check_owner(mine, HANDLE, required=True)
    check_owner(mine, HANDLE, required=False)
    check_owner(none, HANDLE, required=False)
    refused("user_handle", lambda: check_owner(none, HANDLE, required=True))
    for handle in (b"x" * 64, None):
        refused("user_handle", lambda handle=handle: check_owner(mine, handle, required=True))
        refused("user_handle", lambda handle=handle: check_owner(mine, handle, required=False))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_e2_every_algorithm_offered_works(algorithm: int) -> None:
    device = Authenticator(algorithm=algorithm)
    assert registered(device) == algorithm
    assert used(device).user_verified
    refused("signature", lambda: used(device, broken_signature=True))


def test_at_261_the_algorithm_stored_is_the_one_that_counts(device: Authenticator) -> None:
    refused("algorithm", lambda: used(device, known(device, algorithm=-257)))
    refused("algorithm", lambda: used(device, known(device, algorithm=-65535)))


@pytest.mark.parametrize("algorithm", [-65535, -9, -47, -53, -6, 0, 7, True, None, "ES256", [-7]])
def test_at_261_an_algorithm_that_was_not_offered_is_refused(algorithm: Any) -> None:
    key, _sign = new_key()
    refused("algorithm", lambda: check_key({**key, 3: algorithm}))


def test_at_261_a_key_that_is_none_is_refused() -> None:
    es256, _sign = new_key(-7)
    edwards, _sign = new_key(-8)
    rs256, _sign = new_key(-257)
    tiny, _sign = rsa_key(1024)
    modulus = int.from_bytes(rs256[-1], "big")
    for bad in (
        {**es256, -3: bytes(32)},  # no point of the curve
        {**es256, -2: es256[-2] + b"\0"},
        {**es256, -2: 2**62},
        {**es256, -1: 2},
        {**es256, 1: 3},
        {**es256, 4: [2]},
        {name: value for name, value in es256.items() if name != -3},
        {**edwards, -2: bytes(31)},
        {**edwards, -1: 7},
        tiny,
        {**rs256, -2: b"\x03"},
        {**rs256, -2: b"\x01"},
        {**rs256, -1: (modulus + 1).to_bytes(256, "big")},
        {**rs256, -1: b"\xff" * 2000},
        {**rs256, -1: b""},
    ):
        refused("public_key", lambda bad=bad: check_key(bad))
    assert check_key(es256) == -7
    assert check_key(edwards) == -8
    assert check_key(rs256) == -257
