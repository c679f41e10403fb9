"""Providers' public keys: what may verify a signature, and how seldom they are fetched."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from app.auth.sso.connection import Connection, Metadata
from app.auth.sso.errors_sso import SsoRefused, SsoUnavailable
from app.auth.sso.protocol import keys, metadata
from app.core import clock
from tests.support.connections import a_connection
from tests.support.loopback import BROKEN, DROPPED, HUGE, NOT_JSON
from tests.support.lying_provider import (
    LyingProvider,
    duplicate_kid,
    new_rsa_key,
    no_keys,
    oct_key,
    use_enc,
    wrong_alg,
)


@pytest.fixture(scope="module")
def one_provider() -> Iterator[LyingProvider]:
    with LyingProvider() as provider:
        yield provider


@pytest.fixture
def provider(one_provider: LyingProvider, app: Flask) -> Iterator[LyingProvider]:
    one_provider.requests.clear()
    yield one_provider
    one_provider.tell_the_truth()
    one_provider.old_keys = []


@pytest.fixture
def connection(provider: LyingProvider) -> Connection:
    return a_connection(provider)


@pytest.fixture
def told(provider: LyingProvider, connection: Connection) -> Metadata:
    return metadata.discover(connection, provider.discovery_url)


Find = Callable[..., Any]


@pytest.fixture
def find(provider: LyingProvider, connection: Connection, told: Metadata) -> Find:
    def found(alg: str = "RS256", kid: str | None = "", issuer: str | None = None) -> Any:
        known = replace(told, issuer=issuer) if issuer else told
        return keys.find(connection, known, alg=alg, kid=provider.key.kid if kid == "" else kid)

    return found


def published(*entries: Any) -> dict[str, Any]:
    return {"keys": list(entries)}


def public(key: Any, **more: Any) -> dict[str, Any]:
    """Return a key as it is published; None takes a member away."""
    told = {**key.as_dict(private=False), **more}
    return {name: value for name, value in told.items() if value is not None}


# ---------------------------------------------------------------- how often


def test_g2_keys_are_fetched_once_for_many_tokens(provider: LyingProvider, find: Find) -> None:
    for _ in range(10):
        assert find()
    assert provider.requests["jwks"] == 1


def test_at_198_a_flood_of_unknown_keys_fetches_once_in_five_minutes(
    provider: LyingProvider, find: Find
) -> None:
    find()
    for _ in range(50):
        with pytest.raises(SsoRefused) as refused:
            find(kid=uuid.uuid4().hex)
        assert refused.value.reason == "key"
    assert provider.requests["jwks"] == 1
    with clock.travel(timedelta(minutes=4, seconds=59)), pytest.raises(SsoRefused):
        find(kid="unknown")
    assert provider.requests["jwks"] == 1
    with clock.travel(timedelta(minutes=5)):
        for _ in range(5):
            with pytest.raises(SsoRefused):
                find(kid="unknown")
    assert provider.requests["jwks"] == 2


def test_at_198_a_new_key_is_found_once_five_minutes_have_passed(
    provider: LyingProvider, find: Find
) -> None:
    find()
    provider.rotate()
    with pytest.raises(SsoRefused):
        find()
    with clock.travel(timedelta(minutes=5)):
        assert find()
        assert find(kid=provider.old_keys[0].kid)


@pytest.mark.parametrize("fault", [BROKEN, DROPPED, HUGE, NOT_JSON])
def test_at_198_a_failed_fetch_is_not_repeated_at_each_token(
    provider: LyingProvider, find: Find, fault: Any
) -> None:
    provider.answers["jwks"] = fault
    for _ in range(5):
        with pytest.raises(SsoUnavailable):
            find()
    assert provider.requests["jwks"] == 1
    provider.answers.clear()
    with pytest.raises(SsoUnavailable):
        find()
    with clock.travel(timedelta(minutes=5)):
        assert find()


def test_at_198_each_connection_counts_for_itself(
    provider: LyingProvider, told: Metadata, find: Find
) -> None:
    find()
    other = a_connection(provider)
    assert keys.find(other, told, alg="RS256", kid=provider.key.kid)
    assert provider.requests["jwks"] == 2


def test_at_198_many_threads_share_the_first_fetch(
    app: Flask, provider: LyingProvider, connection: Connection, told: Metadata
) -> None:
    provider.answers["jwks"] = lambda honest: replace(honest, pace=0.0005)
    found: list[Any] = []

    def look() -> None:
        with app.app_context():
            found.append(keys.find(connection, told, alg="RS256", kid=provider.key.kid))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert provider.requests["jwks"] == 1


def test_g2_a_key_that_was_withdrawn_counts_for_an_hour_at_most(
    provider: LyingProvider, find: Find
) -> None:
    old = provider.key.kid
    find()
    provider.rotate(keep=False)
    assert find(kid=old)
    with clock.travel(timedelta(minutes=61)), pytest.raises(SsoRefused):
        find(kid=old)


def test_at_464_keys_outlast_a_provider_that_is_away_by_a_day(
    provider: LyingProvider, find: Find
) -> None:
    find()
    provider.answers["jwks"] = BROKEN
    with clock.travel(timedelta(hours=23)):
        assert find()
    with clock.travel(timedelta(hours=24)), pytest.raises(SsoUnavailable):
        find()


def test_g2_keys_are_fetched_anew_once_they_are_forgotten(
    provider: LyingProvider, connection: Connection, find: Find
) -> None:
    find()
    metadata.forget(connection.id)
    find()
    assert provider.requests["jwks"] == 2


def test_g2_a_provider_without_keys_signs_nothing(connection: Connection, told: Metadata) -> None:
    with pytest.raises(SsoUnavailable):
        keys.find(connection, replace(told, jwks_uri=None), alg="RS256", kid=None)


# ---------------------------------------------------------------- which


@pytest.mark.parametrize("lie", [oct_key, use_enc, wrong_alg, duplicate_kid, no_keys])
def test_at_199_what_is_no_signing_key_of_this_provider_is_ignored(
    provider: LyingProvider, find: Find, lie: Any
) -> None:
    provider.lies.jwks = lie
    with pytest.raises(SsoRefused) as refused:
        find()
    assert refused.value.reason == "key"


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_at_186_a_shared_secret_is_never_a_key(
    provider: LyingProvider, find: Find, alg: str
) -> None:
    secret = OctKey.generate_key(256)
    entry = {**secret.as_dict(), "kid": provider.key.kid, "alg": alg, "use": "sig"}
    provider.lies.jwks = published(entry)
    with pytest.raises(SsoRefused):
        find(alg)


@pytest.mark.filterwarnings("ignore:Key size should be")
@pytest.mark.parametrize("bits", [1024, 2040])
def test_at_199_a_weak_key_is_ignored(provider: LyingProvider, find: Find, bits: int) -> None:
    weak = RSAKey.generate_key(bits)
    provider.lies.jwks = published(public(weak, kid=provider.key.kid))
    with pytest.raises(SsoRefused):
        find()


def test_at_199_an_absurdly_long_key_is_ignored(provider: LyingProvider, find: Find) -> None:
    provider.lies.jwks = published(public(provider.key, n="_" * 4000))
    with pytest.raises(SsoRefused):
        find()


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"use": 7},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"key_ops": []},
        {"alg": "RS512"},
        {"alg": "RSA-OAEP"},
        {"alg": 7},
        {"kid": 7},
        {"kid": "another"},
        {"kid": None},
        {"kty": "EC"},
        {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "", "x": "AA"},
        {"kty": ["RSA"]},
        {"kty": {"RSA": 1}},
        {"kty": "rsa"},
        {"kty": None},
        {"n": None},
        {"n": 7},
        {"n": "!"},
        {"n": ""},
        {"e": None},
        {"e": ["AQAB"]},
        {"e": "AA"},
        {"issuer": "https://another.example"},
        {"issuer": 7},
    ],
    ids=json.dumps,
)
def test_at_199_a_key_with_a_doubtful_member_is_ignored(
    provider: LyingProvider, find: Find, change: dict[str, Any]
) -> None:
    provider.lies.jwks = published(public(provider.key, **change))
    with pytest.raises(SsoRefused):
        find()


@pytest.mark.parametrize(
    "change",
    [
        {"use": None},
        {"alg": None},
        {"key_ops": ["verify"]},
        {"x5c": ["!"], "x5t": 7, "unheard-of": {"a": 1}},
    ],
    ids=json.dumps,
)
def test_g2_a_key_need_not_say_everything(
    provider: LyingProvider, find: Find, change: dict[str, Any]
) -> None:
    provider.lies.jwks = published(public(provider.key, **change))
    assert find()


@pytest.mark.parametrize("document", [[], 7, {}, {"keys": {}}, {"keys": None}, {"keys": "x"}])
def test_at_199_a_document_that_is_no_key_set_is_unavailable(
    provider: LyingProvider, find: Find, document: Any
) -> None:
    provider.lies.jwks = lambda _honest: document
    with pytest.raises(SsoUnavailable):
        find()


def test_at_199_entries_of_other_types_are_passed_over(provider: LyingProvider, find: Find) -> None:
    unknown = {"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AA"}
    provider.lies.jwks = published(7, None, "x", [], {}, unknown, public(provider.key))
    assert find()


def test_at_199_a_private_key_in_the_document_is_read_as_a_public_one(
    provider: LyingProvider, find: Find
) -> None:
    provider.lies.jwks = published(provider.key.as_dict(private=True))
    assert not find().is_private


def test_at_199_without_a_kid_there_must_be_one_candidate(
    provider: LyingProvider, find: Find
) -> None:
    assert find(kid=None)
    provider.old_keys = [new_rsa_key()]
    with clock.travel(timedelta(hours=2)), pytest.raises(SsoRefused):
        find(kid=None)


@pytest.mark.parametrize(
    ("alg", "curve"), [("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521")]
)
def test_at_199_a_curve_belongs_to_its_algorithm(
    provider: LyingProvider, find: Find, alg: str, curve: str
) -> None:
    every = [ECKey.generate_key(name) for name in ("P-256", "P-384", "P-521", "secp256k1")]
    told = [public(key, kid=key.curve_name) for key in every]
    provider.lies.jwks = published(*told)
    assert find(alg, kid=curve).curve_name == curve
    for other in {"P-256", "P-384", "P-521", "secp256k1"} - {curve}:
        with pytest.raises(SsoRefused):
            find(alg, kid=other)


def test_at_199_eddsa_is_ed25519(provider: LyingProvider, find: Find) -> None:
    every = [OKPKey.generate_key(name) for name in ("Ed25519", "Ed448", "X25519")]
    provider.lies.jwks = published(*[public(key, kid=key.curve_name) for key in every])
    assert find("EdDSA", kid="Ed25519").curve_name == "Ed25519"
    for other in ("Ed448", "X25519"):
        with pytest.raises(SsoRefused):
            find("EdDSA", kid=other)


@pytest.mark.parametrize("alg", ["PS256", "RS512", "ES256", "EdDSA"])
def test_at_199_a_key_of_one_algorithm_is_no_other(
    provider: LyingProvider, find: Find, alg: str
) -> None:
    with pytest.raises(SsoRefused):
        find(alg)


@pytest.mark.parametrize("alg", ["RS256", "PS384"])
def test_at_199_a_key_of_another_family_is_no_rsa_key(
    provider: LyingProvider, find: Find, alg: str
) -> None:
    provider.lies.jwks = published(public(provider.ec_key, alg=None))
    with pytest.raises(SsoRefused):
        find(alg, kid=provider.ec_key.kid)


def test_at_199_a_kid_that_two_keys_have_names_neither(provider: LyingProvider, find: Find) -> None:
    twin = public(provider.ec_key, kid=provider.key.kid)
    provider.lies.jwks = published(public(provider.key), twin)
    for alg in ("RS256", "ES256"):
        with pytest.raises(SsoRefused):
            find(alg)


def test_at_199_a_point_off_the_curve_is_no_key(provider: LyingProvider, find: Find) -> None:
    entry = public(provider.ec_key, x="AA" * 21 + "A")
    provider.lies.jwks = published(entry)
    with pytest.raises(SsoRefused):
        find("ES256", kid=provider.ec_key.kid)


def test_at_182_a_key_that_names_its_issuer_signs_for_that_one_only(
    provider: LyingProvider, find: Find
) -> None:
    provider.lies.jwks = published(public(provider.key, issuer="https://e.example/{tenantid}/v2.0"))
    tenant = str(uuid.uuid4())
    assert find(issuer=f"https://e.example/{tenant}/v2.0")
    for issuer in (
        f"https://f.example/{tenant}/v2.0",
        f"https://e.example/{tenant}/v2.0/x",
        f"https://e.example/{tenant}/x/v2.0",
        "https://e.example//v2.0",
    ):
        with pytest.raises(SsoRefused):
            find(issuer=issuer)


def test_at_197_keys_inside_are_not_fetched(
    provider: LyingProvider, connection: Connection, told: Metadata
) -> None:
    inner = replace(told, jwks_uri="https://127.0.0.1/keys")
    with pytest.raises(SsoUnavailable) as refused:
        keys.find(replace(connection, allow_private=False), inner, alg="RS256", kid=None)
    assert refused.value.reason == "address_refused"


def test_g1_the_keys_that_could_sign_are_counted(
    provider: LyingProvider, connection: Connection, told: Metadata
) -> None:
    assert keys.count(connection, told, ["RS256"]) == 1
    assert keys.count(connection, told, ["RS256", "ES256", "EdDSA"]) == 2
    assert keys.count(connection, told, ["PS512"]) == 0
    assert provider.requests["jwks"] == 1
    with pytest.raises(SsoUnavailable):
        keys.count(connection, replace(told, jwks_uri=None), ["RS256"])
