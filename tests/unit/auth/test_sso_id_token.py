"""ID tokens and logout tokens: what is right passes, and each lie is refused by its own check."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey

from app.auth.sso.connection import Connection
from app.auth.sso.errors_sso import SsoRefused
from app.auth.sso.protocol import id_token
from app.auth.sso.protocol.id_token import LogoutClaims, unverified, verify, verify_logout_token
from app.auth.sso.protocol.metadata import discover
from app.core import clock
from app.core.crypto import token_digest
from tests.support.connections import a_connection
from tests.support.lying_provider import ABSENT, LOGOUT_EVENT, LyingProvider, new_rsa_key

NONCE = "n-0S6_WzA2Mj"
ACCESS = "SlAV32hkKG-access"
MINUTE = 60


@pytest.fixture(scope="module")
def one_provider() -> Iterator[LyingProvider]:
    with LyingProvider() as provider:
        yield provider


@pytest.fixture
def provider(one_provider: LyingProvider, app: Flask) -> Iterator[LyingProvider]:
    one_provider.person(sub="ann", email="ann@example.org", email_verified=True)
    yield one_provider
    one_provider.tell_the_truth()


@pytest.fixture
def connection(provider: LyingProvider) -> Connection:
    return a_connection(provider)


Read = Callable[..., dict[str, Any]]


@pytest.fixture
def read(provider: LyingProvider, connection: Connection) -> Read:
    """Verify the token that the provider gives at this moment."""

    def verified(
        max_age: int | None = None,
        access_token: str | None = ACCESS,
        nonce: str = NONCE,
        token: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        given = token or provider.id_token(nonce=NONCE, access_token=ACCESS, **more)
        return verify(
            connection,
            discover(connection, provider.discovery_url),
            given,
            nonce_digest=token_digest(nonce),
            access_token=access_token,
            max_age=max_age,
        )

    return verified


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(SsoRefused) as refused:
        read()
    return refused.value.reason


def seconds() -> int:
    return int(clock.now().timestamp())


def test_g2_an_honest_token_says_who_signed_in(provider: LyingProvider, read: Read) -> None:
    claims = read()
    assert (claims["sub"], claims["email"]) == ("ann", "ann@example.org")
    assert claims["iss"] == provider.issuer


# ---------------------------------------------------------------- signature and header


def test_at_187_a_broken_signature_is_refused_though_the_token_came_directly(
    provider: LyingProvider, read: Read
) -> None:
    provider.lies.signature = lambda right: bytes([right[0] ^ 1, *right[1:]])
    assert refusal(read) == "id_token_signature"


def test_at_187_changed_claims_are_refused(provider: LyingProvider, read: Read) -> None:
    header, payload, signature = provider.id_token(nonce=NONCE, access_token=ACCESS).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "bob"}).encode()).rstrip(b"=")
    assert refusal(lambda: read(token=f"{header}.{other.decode()}.{signature}")) == (
        "id_token_signature"
    )


def test_at_187_a_strangers_key_under_the_known_kid_is_refused(
    provider: LyingProvider, read: Read
) -> None:
    provider.lies.key = new_rsa_key()
    assert refusal(read) == "id_token_signature"


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", ["client secret", "public key", "client id"])
def test_at_186_a_shared_secret_signs_nothing(
    provider: LyingProvider, connection: Connection, read: Read, alg: str, secret: str
) -> None:
    known = {
        "client secret": connection.client_secret.encode(),
        "public key": provider.public_pem(),
        "client id": connection.client_id.encode(),
    }
    provider.lies.discovery = {"id_token_signing_alg_values_supported": ["RS256", alg]}
    provider.lies.alg, provider.lies.key = alg, known[secret]
    assert refusal(read) == "id_token_alg"


def test_at_186_none_is_no_algorithm(provider: LyingProvider, read: Read) -> None:
    provider.lies.discovery = {"id_token_signing_alg_values_supported": ["RS256", "none"]}
    provider.lies.alg = "none"
    assert refusal(read) == "id_token_form"
    provider.lies.signature = lambda _empty: b"anything"
    assert refusal(read) == "id_token_alg"


@pytest.mark.parametrize("told", ["RS384", "PS256", "rs256", "ES256K", "", None, ["RS256"], 256])
def test_at_186_only_an_announced_algorithm_is_accepted(
    provider: LyingProvider, read: Read, told: object
) -> None:
    provider.lies.header = {"alg": told}
    assert refusal(read) == "id_token_alg"


def test_at_186_a_provider_that_announces_nothing_signs_with_rs256(
    provider: LyingProvider, read: Read
) -> None:
    provider.lies.discovery = {"id_token_signing_alg_values_supported": ABSENT}
    assert read()["sub"] == "ann"
    provider.lies.alg = "ES256"
    assert refusal(read) == "id_token_alg"


def test_at_186_a_provider_that_announces_only_secrets_signs_nothing(
    provider: LyingProvider, read: Read
) -> None:
    provider.lies.discovery = {"id_token_signing_alg_values_supported": ["HS256"]}
    assert refusal(read) == "id_token_alg"


def test_at_186_the_key_that_a_token_brings_along_is_not_used(
    provider: LyingProvider, read: Read
) -> None:
    stranger = new_rsa_key()
    provider.lies.key = stranger
    provider.lies.header = {"jwk": stranger.as_dict(private=False), "kid": ABSENT}
    assert refusal(read) in {"id_token_signature", "key"}


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["unheard-of"], "unheard-of": True},
        {"crit": []},
        {"b64": False},
        {"b64": True},
        {"crit": ["b64"], "b64": False},
    ],
)
def test_at_208_what_must_be_understood_is_not(
    provider: LyingProvider, read: Read, header: dict[str, Any]
) -> None:
    provider.lies.header = header
    assert refusal(read) == "id_token_crit"


@pytest.mark.parametrize("kid", [["a"], 1, {"a": 1}, True])
def test_at_199_a_kid_is_a_text(provider: LyingProvider, read: Read, kid: object) -> None:
    provider.lies.header = {"kid": kid}
    assert refusal(read) == "id_token_kid"


@pytest.mark.parametrize("typ", [5, ["JWT"], {}])
def test_at_208_a_header_of_wrong_types_is_refused(
    provider: LyingProvider, read: Read, typ: object
) -> None:
    provider.lies.header = {"typ": typ}
    assert refusal(read) == "id_token_signature"


def segment(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "token",
    [
        None,
        7,
        {"a": 1},
        "",
        "a.b",
        "a.b.c.d.e",
        "a.b.c",
        "é.b.c",
        "a.b.c\n",
        f"{segment(b'[]')}.e30.AA",
        f"{segment(b'7')}.e30.AA",
        f"{segment(b'not json')}.e30.AA",
        f"{segment(b'{' * 3000)}.e30.AA",
        f"{segment(b'[' * 3000)}.e30.AA",
        f"{segment(b'{}' + b'x')}.e30.AA",
        f"{segment(bytes([255, 254]))}.e30.AA",
        f"{segment(b' ' * 5000)}.e30.AA",
    ],
)
def test_g2_what_is_no_token_is_refused(read: Read, provider: LyingProvider, token: object) -> None:
    connection = a_connection(provider)
    metadata = discover(connection, provider.discovery_url)

    def attempt() -> object:
        return verify(
            connection,
            metadata,
            token,
            nonce_digest=token_digest(NONCE),
            access_token=ACCESS,
            max_age=None,
        )

    assert refusal(attempt) == "id_token_form"


@pytest.mark.parametrize("token", [None, "", "a.b", f"a.{'W10'}.c", f"a.{'_' * 9}.c"])
def test_g2_what_is_no_token_says_nothing(token: object) -> None:
    assert refusal(lambda: unverified(token)) == "id_token_form"


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"7", b"", b"{", b"[" * 50_000, b'{"sub":"ann","sub":"bob"}', b'{"exp":NaN}', b"\xff"],
)
def test_g2_a_signed_payload_that_is_no_object_is_refused(
    provider: LyingProvider, read: Read, payload: bytes
) -> None:
    provider.lies.payload = lambda _right: payload
    assert refusal(read) in {"id_token_signature", "id_token_form"}


# ---------------------------------------------------------------- issuer, audience, party


@pytest.mark.parametrize(
    "told",
    [
        "{iss}/", "{iss}0", "x{iss}", " {iss}", "{iss}\n", "HTTP", "http://127.0.0.1",
        "https://another.example", "{tenantid}", "", ["{iss}"], {"{iss}": 1}, 7, None, ABSENT,
    ],
)  # fmt: skip
def test_at_182_the_issuer_is_compared_as_a_whole(
    provider: LyingProvider, read: Read, told: object
) -> None:
    if isinstance(told, str):
        told = told.replace("{iss}", provider.issuer)
        told = provider.issuer.upper() if told == "HTTP" else told
    provider.lies.claims = {"iss": [provider.issuer] if told == ["{iss}"] else told}
    assert refusal(read) == "id_token_iss"


@pytest.mark.parametrize(
    "aud",
    [
        "another-client",
        "",
        [],
        ["another-client"],
        None,
        ABSENT,
        7,
        {"client": 1},
        [7],
        "{}-x",
        "x{}",
    ],
)
def test_at_184_a_token_for_another_client_is_refused(
    provider: LyingProvider, connection: Connection, read: Read, aud: object
) -> None:
    told = aud.replace("{}", connection.client_id) if isinstance(aud, str) else aud
    provider.lies.claims = {"aud": told}
    assert refusal(read) == "id_token_aud"


def test_at_184_a_further_audience_demands_that_we_are_the_authorized_party(
    provider: LyingProvider, connection: Connection, read: Read
) -> None:
    both = [connection.client_id, "another-client"]
    provider.lies.claims = {"aud": both}
    assert refusal(read) == "id_token_azp"
    provider.lies.claims = {"aud": both, "azp": "another-client"}
    assert refusal(read) == "id_token_azp"
    provider.lies.claims = {"aud": both, "azp": connection.client_id}
    assert read()["aud"] == both
    provider.lies.claims = {"aud": [connection.client_id]}
    assert read()["aud"] == [connection.client_id]


@pytest.mark.parametrize("azp", ["another-client", "", 0, None, [], ["{}"], False])
def test_at_184_an_authorized_party_is_us_or_nobody(
    provider: LyingProvider, connection: Connection, read: Read, azp: object
) -> None:
    provider.lies.claims = {"azp": [connection.client_id] if azp == ["{}"] else azp}
    assert refusal(read) == "id_token_azp"


# ---------------------------------------------------------------- nonce


@pytest.mark.parametrize("nonce", [ABSENT, None, "", "another", NONCE + " ", [NONCE], 7, True])
def test_at_179_a_token_without_our_nonce_is_refused(
    provider: LyingProvider, read: Read, nonce: object
) -> None:
    provider.lies.claims = {"nonce": nonce}
    assert refusal(read) == "id_token_nonce"


def test_at_179_the_token_of_another_flow_is_refused(read: Read) -> None:
    assert refusal(lambda: read(nonce="of-another-flow")) == "id_token_nonce"


# ---------------------------------------------------------------- times

NO_TIMES = [True, "1700000000", None, [], {}, -1, 2**40, 10**200, 1e300]


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
@pytest.mark.parametrize("value", NO_TIMES, ids=repr)
def test_g2_a_time_is_a_sane_number(
    provider: LyingProvider, read: Read, name: str, value: object
) -> None:
    provider.lies.claims = {name: value}
    assert refusal(read) == f"id_token_{name}"


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
def test_g2_infinity_is_no_time(provider: LyingProvider, read: Read, name: str) -> None:
    def spoil(payload: bytes) -> bytes:
        told = {**json.loads(payload), name: 4711471147}
        return json.dumps(told).replace("4711471147", "1e999").encode()

    provider.lies.payload = spoil
    assert refusal(read) == f"id_token_{name}"


@pytest.mark.parametrize("name", ["exp", "iat"])
def test_g2_a_token_has_its_times(provider: LyingProvider, read: Read, name: str) -> None:
    provider.lies.claims = {name: ABSENT}
    assert refusal(read) == f"id_token_{name}"


def test_g2_a_provider_may_be_a_minute_off_and_no_more(provider: LyingProvider, read: Read) -> None:
    at = seconds()
    provider.lies.claims = {"exp": at - 50}
    assert read()["sub"] == "ann"
    provider.lies.claims = {"exp": at - 70}
    assert refusal(read) == "id_token_exp"
    for name in ("iat", "nbf"):
        provider.lies.claims = {name: at + 50}
        assert read()["sub"] == "ann"
        provider.lies.claims = {name: at + 75}
        assert refusal(read) == f"id_token_{name}"


def test_g2_an_old_token_is_not_the_answer_to_our_question(
    provider: LyingProvider, read: Read
) -> None:
    provider.lies.claims = {"iat": seconds() - 9 * MINUTE}
    assert read()["sub"] == "ann"
    provider.lies.claims = {"iat": seconds() - 12 * MINUTE}
    assert refusal(read) == "id_token_iat"


def test_g2_time_is_the_projects_own(provider: LyingProvider, read: Read) -> None:
    token = provider.id_token(nonce=NONCE, access_token=ACCESS)
    with clock.travel(timedelta(hours=1)):
        assert refusal(lambda: read(token=token)) == "id_token_exp"
    assert read(token=token)["sub"] == "ann"


# ---------------------------------------------------------------- subject


@pytest.mark.parametrize("sub", [ABSENT, None, "", 7, True, ["ann"], "ä", "a\nb", "x" * 256])
def test_at_192_a_subject_is_a_short_ascii_text(
    provider: LyingProvider, read: Read, sub: object
) -> None:
    provider.lies.claims = {"sub": sub}
    assert refusal(read) == "id_token_sub"


def test_at_192_the_longest_subject_passes(provider: LyingProvider, read: Read) -> None:
    provider.lies.claims = {"sub": "x" * 255}
    assert read()["sub"] == "x" * 255


# ---------------------------------------------------------------- access token


@pytest.mark.parametrize("at_hash", ["", "AAAAAAAAAAAAAAAAAAAAAA", None, 0, 7, [], "é"])
def test_at_188_a_wrong_hash_of_the_access_token_is_refused(
    provider: LyingProvider, read: Read, at_hash: object
) -> None:
    provider.lies.claims = {"at_hash": at_hash}
    assert refusal(read) in {"id_token_at_hash", "id_token_claims"}


def test_at_188_the_hash_of_another_access_token_is_refused(read: Read) -> None:
    assert refusal(lambda: read(access_token="another-token")) == "id_token_at_hash"
    assert refusal(lambda: read(access_token=None)) == "id_token_at_hash"


def test_at_188_a_token_need_not_have_the_hash(provider: LyingProvider, read: Read) -> None:
    provider.lies.claims = {"at_hash": ABSENT}
    assert read()["sub"] == "ann"


def sign(provider: LyingProvider, key: Key, alg: str, claims: dict[str, Any], **header: Any) -> str:
    payload = json.dumps(claims)
    told = {"alg": alg, "kid": key.kid, **header}
    return jws.serialize_compact(told, payload, key, registry=id_token._Registry(alg))


KEYS: dict[str, Callable[[], Key]] = {
    "ES256": lambda: ECKey.generate_key("P-256", auto_kid=True),
    "ES384": lambda: ECKey.generate_key("P-384", auto_kid=True),
    "ES512": lambda: ECKey.generate_key("P-521", auto_kid=True),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519", auto_kid=True),
}
HASHES = {
    "256": hashlib.sha256,
    "384": hashlib.sha384,
    "512": hashlib.sha512,
    "dDSA": hashlib.sha512,
}


@pytest.mark.parametrize("alg", id_token.ALGORITHMS)
def test_at_188_the_hash_is_checked_under_every_algorithm(
    provider: LyingProvider, connection: Connection, alg: str
) -> None:
    own = provider.key.as_dict(private=True)
    key = KEYS[alg]() if alg in KEYS else type(provider.key).import_key({**own, "alg": alg})
    provider.lies.jwks = {"keys": [key.as_dict(private=False)]}
    metadata = replace(discover(connection, provider.discovery_url), algorithms=(alg,))
    half = HASHES[alg[-3:] if alg != "EdDSA" else "dDSA"](ACCESS.encode()).digest()
    claims = {
        "iss": provider.issuer,
        "aud": connection.client_id,
        "sub": "ann",
        "iat": seconds(),
        "exp": seconds() + 60,
        "nonce": NONCE,
        "at_hash": segment(half[: len(half) // 2]),
    }

    def attempt(**change: Any) -> dict[str, Any]:
        return verify(
            connection,
            metadata,
            sign(provider, key, alg, {**claims, **change}),
            nonce_digest=token_digest(NONCE),
            access_token=ACCESS,
            max_age=None,
        )

    assert attempt()["sub"] == "ann"
    assert refusal(lambda: attempt(at_hash="A" * 22)) == "id_token_at_hash"


def test_at_188_an_unknown_algorithm_has_no_hash_that_passes() -> None:
    from authlib.oidc.core import CodeIDToken
    from joserfc.errors import InvalidClaimError

    at = seconds()
    claims = {"iss": "i", "sub": "s", "aud": "c", "iat": at, "exp": at + 9, "at_hash": "anything"}
    told = CodeIDToken(claims, {"alg": "XX999"}, {}, {"access_token": ACCESS})
    with pytest.raises(InvalidClaimError):
        told.validate(at)


# ---------------------------------------------------------------- fresh sign-in


def test_at_200_a_fresh_sign_in_is_proved_by_its_time(provider: LyingProvider, read: Read) -> None:
    at = seconds()
    assert read(max_age=300, auth_time=at - 200)["sub"] == "ann"
    assert refusal(lambda: read(max_age=300, auth_time=at - 400)) == "id_token_auth_time"
    assert refusal(lambda: read(max_age=0, auth_time=at - 90)) == "id_token_auth_time"
    assert refusal(lambda: read(max_age=300, auth_time=at + 90)) == "id_token_auth_time"
    assert read(max_age=None, auth_time=at - 4000)["sub"] == "ann"
    provider.lies.claims = {"auth_time": ABSENT}
    assert refusal(lambda: read(max_age=300)) == "id_token_auth_time"
    assert refusal(lambda: read(max_age=0)) == "id_token_auth_time"


# ---------------------------------------------------------------- logout tokens


@pytest.fixture
def ended(provider: LyingProvider, connection: Connection) -> Callable[[], LogoutClaims]:
    def read_it() -> LogoutClaims:
        token = provider.logout_token(sub="ann", sid="session-1")
        return verify_logout_token(connection, discover(connection, provider.discovery_url), token)

    return read_it


def test_g5_an_honest_logout_token_says_whose_session(
    provider: LyingProvider, ended: Callable[[], LogoutClaims]
) -> None:
    claims = ended()
    assert (claims.sub, claims.sid) == ("ann", "session-1")
    assert claims.exp > claims.iat >= seconds() - 5
    assert claims.jti


def test_g5_a_subject_or_a_session_is_enough(
    provider: LyingProvider, ended: Callable[[], LogoutClaims]
) -> None:
    provider.lies.logout = {"sub": ABSENT}
    assert (ended().sub, ended().sid) == (None, "session-1")
    provider.lies.logout = {"sid": ABSENT}
    assert (ended().sub, ended().sid) == ("ann", None)
    provider.lies.logout = {"sid": ABSENT, "sub": ABSENT}
    assert refusal(ended) == "logout_token_sub"


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"iss": "https://another.example"}, "iss"),
        ({"iss": ABSENT}, "iss"),
        ({"aud": "another-client"}, "aud"),
        ({"aud": ABSENT}, "aud"),
        ({"iat": ABSENT}, "iat"),
        ({"iat": 1}, "iat"),
        ({"exp": ABSENT}, "exp"),
        ({"exp": 1}, "exp"),
        ({"exp": 10**12}, "exp"),
        ({"exp": 2**32}, "exp"),
        ({"jti": ABSENT}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
        ({"jti": "j" * 300}, "jti"),
        ({"nonce": NONCE}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"events": ABSENT}, "events"),
        ({"events": {}}, "events"),
        ({"events": [LOGOUT_EVENT]}, "events"),
        ({"events": LOGOUT_EVENT}, "events"),
        ({"events": {LOGOUT_EVENT: True}}, "events"),
        ({"events": {"http://schemas.openid.net/event/other": {}}}, "events"),
        ({"sub": 7}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": None}, "sub"),
        ({"sid": 7}, "sid"),
        ({"sid": None}, "sid"),
        ({"sid": "s" * 300}, "sid"),
    ],
    ids=repr,
)
def test_at_203_a_logout_token_that_lies_is_refused(
    provider: LyingProvider,
    ended: Callable[[], LogoutClaims],
    lie: dict[str, Any],
    reason: str,
) -> None:
    provider.lies.logout = lie
    assert refusal(ended) == f"logout_token_{reason}"


def test_at_203_a_further_audience_demands_azp(
    provider: LyingProvider, connection: Connection, ended: Callable[[], LogoutClaims]
) -> None:
    provider.lies.logout = {"aud": [connection.client_id, "another-client"]}
    assert refusal(ended) == "logout_token_azp"


def test_at_203_an_unsigned_logout_token_is_refused(
    provider: LyingProvider, ended: Callable[[], LogoutClaims]
) -> None:
    provider.lies.signature = lambda right: bytes(len(right))
    assert refusal(ended) == "logout_token_signature"
    provider.lies.alg = "HS256"
    assert refusal(ended) == "logout_token_alg"


@pytest.mark.parametrize("typ", ["JWT", ABSENT, "at+jwt", ""])
def test_at_203_another_type_is_refused_unless_the_connection_says_otherwise(
    provider: LyingProvider, connection: Connection, typ: object
) -> None:
    provider.lies.header = {"typ": typ}
    token = provider.logout_token(sub="ann")
    metadata = discover(connection, provider.discovery_url)
    assert refusal(lambda: verify_logout_token(connection, metadata, token)) == "logout_token_typ"
    lenient = replace(connection, options={"logout_typ": "any"})
    assert verify_logout_token(lenient, metadata, token).sub == "ann"


@pytest.mark.parametrize("typ", ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt"])
def test_g5_the_type_may_be_written_as_rfc_7515_lets_it(
    provider: LyingProvider, ended: Callable[[], LogoutClaims], typ: str
) -> None:
    provider.lies.header = {"typ": typ}
    assert ended().sub == "ann"


def test_at_203_an_id_token_is_no_logout_token_and_the_other_way_round(
    provider: LyingProvider, connection: Connection, read: Read
) -> None:
    lenient = replace(connection, options={"logout_typ": "any"})
    metadata = discover(connection, provider.discovery_url)
    token = provider.id_token(nonce=NONCE)
    with pytest.raises(SsoRefused):
        verify_logout_token(lenient, metadata, token)
    assert refusal(lambda: read(token=provider.logout_token(sub="ann"))) == "id_token_nonce"


def test_at_198_logout_tokens_of_strangers_fetch_no_keys(
    provider: LyingProvider, connection: Connection, ended: Callable[[], LogoutClaims]
) -> None:
    ended()
    before = provider.requests["jwks"]
    provider.lies.header = {"kid": uuid.uuid4().hex}
    for _ in range(20):
        provider.lies.header = {"kid": uuid.uuid4().hex}
        assert refusal(ended) == "key"
    assert provider.requests["jwks"] == before


def test_g2_reasons_hold_nothing_of_the_token(provider: LyingProvider, read: Read) -> None:
    provider.lies.claims = {"nonce": "a-secret-nonce"}
    with pytest.raises(SsoRefused) as refused:
        read()
    assert "a-secret-nonce" not in f"{refused.value!r} {refused.value.reason} {refused.value}"
