"""Attestation: who vouches for an authenticator, and who may not (AT-265)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.auth.errors import PasskeyRefused
from app.auth.webauthn import aaguids
from app.auth.webauthn.webauthn_attestation import check_attestation, load_roots
from app.auth.webauthn.webauthn_parsing import Registration, encode, read_registration
from tests.support.authenticator import AAGUID, Authenticator, Maker, by_itself, none

CREATE = {
    "challenge": encode(b"c" * 32),
    "rp": {"id": "localhost"},
    "user": {"id": encode(b"h" * 64)},
}
OTHER = UUID("cb69481e-8ff7-4039-93ec-0a2729a154a8")


def made(attest: Any, **lies: Any) -> Registration:
    return read_registration(Authenticator().create(CREATE, attest=attest, **lies))


def check(attest: Any, *makers: Maker, at: datetime | None = None) -> None:
    check_attestation(made(attest), [maker.root for maker in makers], at or datetime.now(UTC))


@pytest.fixture
def maker() -> Maker:
    """Return a maker whose models are trusted."""
    return Maker()


def test_at_265_a_model_of_a_trusted_maker_is_taken(maker: Maker) -> None:
    check(maker.packed(), maker)
    check(maker.packed(), Maker(), maker)


def test_at_265_a_chain_to_a_trusted_root_is_taken(maker: Maker) -> None:
    check(Maker(name="Factory").packed(through=maker), maker)
    with pytest.raises(PasskeyRefused):
        check(Maker(name="Factory").packed(through=Maker()), maker)


@pytest.mark.parametrize("attest", [none, by_itself])
def test_at_265_nobody_vouches_for_none_and_self_attestation(attest: Any, maker: Maker) -> None:
    with pytest.raises(PasskeyRefused):
        check(attest, maker)


def test_at_265_a_maker_of_the_same_name_is_another(maker: Maker) -> None:
    with pytest.raises(PasskeyRefused):
        check(Maker().packed(), maker)
    with pytest.raises(PasskeyRefused):
        check(maker.packed())


def test_at_265_a_certificate_is_for_its_model_and_time(maker: Maker) -> None:
    with pytest.raises(PasskeyRefused):
        check(maker.packed(aaguid=OTHER), maker)
    with pytest.raises(PasskeyRefused):
        check(maker.packed(days=1), maker)
    with pytest.raises(PasskeyRefused):
        check(maker.packed(), maker, at=datetime.now(UTC) - timedelta(days=9))


def test_at_265_a_leaf_is_no_authority(maker: Maker) -> None:
    """What a model's certificate signs is worth nothing: somebody has taken its chip apart."""
    thief = Maker(name="Thief")
    check(thief.packed(through=maker), maker)
    with pytest.raises(PasskeyRefused):
        check(thief.packed(through=maker, authority=False), maker)


def test_at_265_a_tpm_is_taken_for_its_own_model_and_words(maker: Maker) -> None:
    check(maker.tpm(), maker)
    for bad in (Maker().tpm(), maker.tpm(aaguid=OTHER), maker.tpm(extra=bytes(32))):
        with pytest.raises(PasskeyRefused):
            check(bad, maker)


def test_at_265_apples_certificate_is_about_the_key_itself(maker: Maker) -> None:
    check(maker.apple(), maker)
    for bad in (Maker().apple(), maker.apple(own_key=False)):
        with pytest.raises(PasskeyRefused):
            check(bad, maker)


@pytest.mark.parametrize(
    "statement",
    [
        ("packed", {}),
        ("packed", {"alg": -7, "sig": b"", "x5c": []}),
        ("packed", {"alg": -7, "sig": b"", "x5c": [b"no certificate"]}),
        ("packed", {"alg": -7, "sig": b"", "x5c": "text"}),
        ("packed", {"alg": -7, "sig": b"", "ecdaaKeyId": b""}),
        ("packed", {"alg": "x", "sig": 7, "x5c": {}}),
        ("tpm", {}),
        (
            "tpm",
            {"ver": "2.0", "alg": -7, "x5c": [b""], "sig": b"", "certInfo": b"", "pubArea": b""},
        ),
        ("apple", {"x5c": []}),
        ("fido-u2f", {"x5c": [b""], "sig": b""}),
        ("android-key", {}),
        ("android-safetynet", {"ver": "1", "response": b"a.b.c"}),
        ("compound", {}),
    ],
)
def test_at_265_a_broken_statement_is_refused_and_breaks_nothing(
    statement: tuple[str, dict[str, Any]], maker: Maker
) -> None:
    with pytest.raises(PasskeyRefused) as refusal:
        check(lambda *_made: statement, maker)
    assert refusal.value.details["reason"] == "attestation"


def test_at_265_a_statement_about_another_key_is_refused(maker: Maker) -> None:
    taken: list[Any] = []

    def first(*made_of: Any) -> Any:
        taken.append(maker.packed()(*made_of))
        return taken[0]

    check(first, maker)
    with pytest.raises(PasskeyRefused):
        check(lambda *_made: taken[0], maker)


def test_the_trust_list_is_a_pem_file(maker: Maker, tmp_path: Any) -> None:
    other = Maker(name="Other")
    path = tmp_path / "roots.pem"
    path.write_bytes(maker.pem() + other.pem())
    roots = load_roots(str(path))
    assert len(roots) == 2
    check_attestation(made(maker.packed()), roots, datetime.now(UTC))
    check_attestation(made(other.packed()), roots, datetime.now(UTC))


# ---------------------------------------------------------------- names


def test_e1_known_models_have_names_and_others_say_what_they_are() -> None:
    assert aaguids.name_of(AAGUID) == "YubiKey 5"
    assert aaguids.name_of(UUID(int=0)) == ""
    assert aaguids.default_name(AAGUID, ["usb"], synced=False) == "YubiKey 5"
    unknown = UUID(int=7)
    assert aaguids.default_name(unknown, ["usb", "nfc"], synced=False) == "Security key"
    for transports, synced in (
        (["internal"], False),
        (["usb"], True),
        ([], False),
        (["usb", "hybrid"], False),
    ):
        assert aaguids.default_name(unknown, transports, synced=synced) == "Passkey"
