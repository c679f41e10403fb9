"""The OAuth 2.0 client: what is asked for, how a code is redeemed, and what answers are refused."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask

from app.auth.sso.connection import Connection, Metadata
from app.auth.sso.errors_sso import SsoRefused, SsoUnavailable
from app.auth.sso.protocol import transport
from app.auth.sso.protocol.transport import (
    authorization_url,
    check_iss_parameter,
    get_json,
    is_issuer,
)
from tests.conftest import make_app
from tests.support.connections import REDIRECT_URI, Trip, a_connection
from tests.support.loopback import (
    BROKEN,
    DEEP,
    DROPPED,
    EMPTY,
    HANGING,
    HTML,
    HUGE,
    NOT_JSON,
    Answer,
    gzipped,
    redirect_to,
    slow,
)
from tests.support.lying_provider import ABSENT, LyingProvider

PLAIN = Metadata(
    issuer="https://there.example",
    authorization_endpoint="https://there.example/authorize",
    token_endpoint="https://there.example/token",
)


@pytest.fixture(scope="module")
def one_provider() -> Iterator[LyingProvider]:
    with LyingProvider(
        client_id="our client+1", client_secret="s€cret+with%20&odd=parts"
    ) as server:
        yield server


@pytest.fixture
def provider(one_provider: LyingProvider, app: Flask) -> Iterator[LyingProvider]:
    one_provider.requests.clear()
    one_provider.seen.clear()
    one_provider.secret_methods = type(one_provider).secret_methods
    one_provider.person(sub="ann", email="ann@example.org", email_verified=True)
    yield one_provider
    one_provider.tell_the_truth()


@pytest.fixture
def trip(provider: LyingProvider) -> Trip:
    return Trip(a_connection(provider))


def code_for(provider: LyingProvider, trip: Trip) -> str:
    return dict(parse_qsl(urlsplit(provider.authorize(trip.url())).query))["code"]


def refused(attempt: Callable[[], object]) -> str:
    with pytest.raises(SsoRefused) as error:
        attempt()
    return error.value.reason


def unavailable(attempt: Callable[[], object]) -> str:
    with pytest.raises(SsoUnavailable) as error:
        attempt()
    return error.value.reason


# ---------------------------------------------------------------- the authorization URL


def asked(
    connection: Connection, metadata: Metadata = PLAIN, **params: str
) -> list[tuple[str, str]]:
    url = authorization_url(
        connection,
        metadata,
        redirect_uri=REDIRECT_URI,
        state="the-state",
        nonce="the-nonce",
        code_verifier="v" * 43,
        params=params,
    )
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


def test_g2_the_request_is_bound_by_state_nonce_and_pkce() -> None:
    pairs = asked(a_connection(), scope="openid email", prompt="login", max_age="0")
    query = dict(pairs)
    assert len(pairs) == len(query)
    assert query.pop("code_challenge") not in {"", "v" * 43}
    assert query == {
        "response_type": "code",
        "client_id": "a-client",
        "redirect_uri": REDIRECT_URI,
        "scope": "openid email",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge_method": "S256",
        "prompt": "login",
        "max_age": "0",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_type", "token"),
        ("state", "constant"),
        ("nonce", "constant"),
        ("redirect_uri", "https://elsewhere.example/"),
        ("client_id", "another-client"),
        ("code_challenge", "x"),
        ("code_challenge_method", "plain"),
        ("response_mode", "fragment"),
        ("response_mode", "web_message"),
        ("response_mode", "query.jwt"),
    ],
)
def test_at_205_no_wish_changes_what_binds_the_answer(name: str, value: str) -> None:
    honest = dict(asked(a_connection()))
    assert dict(asked(a_connection(), **{name: value})) == honest
    assert len(asked(a_connection(), **{name: value})) == len(honest)


@pytest.mark.parametrize("mode", ["query", "form_post"])
def test_at_205_the_answer_comes_in_the_query_or_by_post(mode: str) -> None:
    assert dict(asked(a_connection(), response_mode=mode))["response_mode"] == mode


@pytest.mark.parametrize(
    "query",
    [
        "response_type=token",
        "response_mode=fragment",
        "state=x",
        "redirect_uri=x",
        "nonce",
        "scope=a",
    ],
)
def test_at_205_an_endpoint_that_brings_such_parameters_is_refused(query: str) -> None:
    endpoint = f"https://there.example/authorize?{query}"
    told = replace(PLAIN, authorization_endpoint=endpoint)
    assert unavailable(lambda: asked(a_connection(), told)) == "authorization_endpoint"


def test_g1_an_endpoint_may_have_a_query_of_its_own() -> None:
    told = replace(PLAIN, authorization_endpoint="https://there.example/authorize?p=policy")
    assert dict(asked(a_connection(), told))["p"] == "policy"


# ---------------------------------------------------------------- who answered


def test_at_181_the_answer_names_our_provider_exactly() -> None:
    check_iss_parameter(PLAIN, {"iss": "https://there.example", "code": "x"})
    check_iss_parameter(PLAIN, {"code": "x"})
    for other in ("https://there.example/", "https://there.exampl", "", "HTTPS://there.example"):
        assert refused(lambda told=other: check_iss_parameter(PLAIN, {"iss": told})) == "iss"


def test_at_181_who_promised_to_name_themselves_must() -> None:
    promised = replace(PLAIN, iss_parameter=True)
    check_iss_parameter(promised, {"iss": "https://there.example"})
    assert refused(lambda: check_iss_parameter(promised, {"code": "x"})) == "iss_missing"


def test_at_182_a_tenant_template_stands_for_one_segment() -> None:
    template = "https://there.example/{tenantid}/v2.0"
    assert is_issuer(template, "https://there.example/8eaef023-2b34/v2.0")
    for other in (
        "https://there.example//v2.0",
        "https://there.example/a/b/v2.0",
        "https://there.example/a/v2.0/",
        "https://evil.example/a/v2.0",
        "https://there.example/a?/v2.0",
        "https://there.example/{tenantid}/v2.0",
        "https://there.example/v2.0",
    ):
        assert not is_issuer(template, other)


# ---------------------------------------------------------------- the exchange


def test_g1_a_code_is_redeemed_with_verifier_and_secret(
    provider: LyingProvider, trip: Trip
) -> None:
    tokens = trip.redeem(code_for(provider, trip))
    assert set(tokens) == {"access_token", "token_type", "id_token", "scope"}
    sent = provider.last("token").form
    assert sent["code_verifier"] == trip.code_verifier
    assert sent["redirect_uri"] == REDIRECT_URI
    assert "client_secret" not in sent


def test_g1_both_halves_of_basic_are_form_encoded(provider: LyingProvider, trip: Trip) -> None:
    trip.redeem(code_for(provider, trip))
    scheme, _, text = provider.last("token").headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(text).decode()) == (
        "Basic",
        "our+client%2B1:s%E2%82%ACcret%2Bwith%2520%26odd%3Dparts",
    )


def test_g1_the_secret_goes_the_way_that_the_provider_knows(
    provider: LyingProvider, trip: Trip
) -> None:
    provider.secret_methods = ("private_key_jwt", "client_secret_post")
    assert trip.redeem(code_for(provider, trip))["access_token"]
    assert "authorization" not in provider.last("token").headers


def test_g1_a_provider_that_knows_no_way_of_ours_is_unavailable(
    provider: LyingProvider, trip: Trip
) -> None:
    provider.secret_methods = ("private_key_jwt",)
    assert unavailable(lambda: trip.redeem("a-code")) == "token_auth_method"


def test_g1_a_public_client_sends_its_id_alone(provider: LyingProvider, trip: Trip) -> None:
    trip.connection = replace(trip.connection, client_secret="")
    assert refused(lambda: trip.redeem("a-code")) == "invalid_client"
    sent = provider.last("token")
    assert sent.form["client_id"] == provider.client_id
    assert "authorization" not in sent.headers
    assert "client_secret" not in sent.form


def test_at_202_a_code_of_another_flow_is_refused(provider: LyingProvider, trip: Trip) -> None:
    code = code_for(provider, trip)
    other = Trip(trip.connection)
    assert refused(lambda: other.redeem(code)) == "invalid_grant"


@pytest.mark.parametrize("code", ["", "a b", "a\nb", "ä", "x" * 5000, None, 7])
def test_g1_what_is_no_code_is_not_sent(provider: LyingProvider, trip: Trip, code: Any) -> None:
    assert refused(lambda: trip.redeem(code)) == "code"
    assert not provider.requests["token"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("invalid_grant", "invalid_grant"),
        ("invalid_client", "invalid_client"),
        ("bad_verification_code", "token_error"),
        ("<script>", "token_error"),
        ("", "token_error"),
        (None, "token_error"),
        (7, "token_error"),
        ({"message": "no", "type": "OAuthException"}, "token_error"),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_g1_an_error_of_the_token_endpoint_is_a_refusal(
    provider: LyingProvider, trip: Trip, status: int, error: object, reason: str
) -> None:
    body = {"error": error, "error_description": 'quo"ted \u00e9 text', "access_token": "x"}
    provider.answers["token"] = Answer(status, body)
    assert refused(lambda: trip.redeem("a-code")) == reason


@pytest.mark.parametrize("kind", ["mac", "DPoP", "Bearer ", "", None, 7, ["Bearer"], ABSENT])
def test_g1_only_a_bearer_token_is_taken(provider: LyingProvider, trip: Trip, kind: object) -> None:
    provider.lies.token = {"token_type": kind}
    code = code_for(provider, trip)
    assert refused(lambda: trip.redeem(code)) == "token_type"


@pytest.mark.parametrize("kind", ["bearer", "BEARER"])
def test_g1_bearer_is_written_as_one_likes(provider: LyingProvider, trip: Trip, kind: str) -> None:
    provider.lies.token = {"token_type": kind}
    assert trip.redeem(code_for(provider, trip))


@pytest.mark.parametrize(
    "token", [ABSENT, None, "", 7, ["a"], "a b", "a\r\nX-Evil: 1", "ä", "x" * 70_000]
)
def test_g1_an_access_token_is_a_plain_text(
    provider: LyingProvider, trip: Trip, token: object
) -> None:
    provider.lies.token = {"access_token": token}
    code = code_for(provider, trip)
    assert refused(lambda: trip.redeem(code)) == "access_token"


@pytest.mark.parametrize("value", ["soon", -1, 1e300, {"a": 1}, True, None])
def test_g1_nonsense_beside_the_token_is_dropped(
    provider: LyingProvider, trip: Trip, value: object
) -> None:
    provider.lies.token = {"expires_in": value, "expires_at": value, "x": value}
    tokens = trip.redeem(code_for(provider, trip))
    assert set(tokens) == {"access_token", "token_type", "id_token", "scope"}
    provider.lies.token = {"scope": ["openid"]}
    assert "scope" not in trip.redeem(code_for(provider, trip))


FAULTS = {
    "broken": (BROKEN, "http_500"),
    "away": (Answer(503, {"error": "temporarily_unavailable"}), "http_503"),
    "rate limit": (Answer(429, {"error": "slow_down"}), "token_response"),
    "rate limit page": (Answer(429, "<p>slow down"), "token_response"),
    "html": (HTML, "not_json"),
    "not json": (NOT_JSON, "not_json"),
    "deep": (DEEP, "not_json"),
    "empty": (EMPTY, "not_json"),
    "huge": (HUGE, "too_large"),
    "dropped": (DROPPED, "unreachable"),
    "gzip": (gzipped, None),
    "list": (Answer(200, [{"access_token": "x", "token_type": "Bearer"}]), "token_response"),
    "text": (Answer(200, b'"x"'), "token_response"),
    "twice": (Answer(200, b'{"access_token":"a","access_token":"b"}'), "not_json"),
    "moved": (redirect_to("/elsewhere"), "not_json"),
    "moved with a body": (
        Answer(307, {"access_token": "x", "token_type": "Bearer"}, {"Location": "/elsewhere"}),
        "http_307",
    ),
    "created": (Answer(201, {"access_token": "x", "token_type": "Bearer"}), "http_201"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_g1_a_token_endpoint_that_cannot_be_understood_is_unavailable(
    provider: LyingProvider, trip: Trip, fault: str
) -> None:
    answer, reason = FAULTS[fault]
    code = code_for(provider, trip)
    provider.answers["token"] = answer
    assert unavailable(lambda: trip.redeem(code)) == (reason or "unreadable")
    assert provider.requests["other"] == 0  # the secret follows no redirect
    assert provider.requests["token"] == 1


@pytest.mark.parametrize("fault", [HANGING, slow], ids=["hanging", "slow"])
def test_at_417_a_slow_provider_costs_no_more_than_the_setting(
    provider: LyingProvider, trip: Trip, fault: Any, tmp_path: Any
) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'iam.db'}", SSO_TIMEOUT_SECONDS=1)
    code = code_for(provider, trip)
    provider.answers["token"] = fault
    start = time.perf_counter()
    with app.app_context():
        assert unavailable(lambda: trip.redeem(code)) == "timeout"
    assert time.perf_counter() - start < 5


def test_at_417_a_provider_that_hangs_holds_a_few_threads_at_most(
    provider: LyingProvider, trip: Trip
) -> None:
    code = code_for(provider, trip)
    slots = transport._slots.first(trip.connection.id, "", BoundedSemaphore(transport.MOST_AT_ONCE))
    with ExitStack() as taken:
        for _slot in range(transport.MOST_AT_ONCE):
            taken.enter_context(slots)
        assert unavailable(lambda: trip.redeem(code)) == "busy"
    assert trip.redeem(code)


# ---------------------------------------------------------------- reading JSON


def test_at_412_a_request_with_a_credential_follows_no_redirect(
    provider: LyingProvider, trip: Trip
) -> None:
    provider.answers["userinfo"] = redirect_to(provider.at("jwks"))
    url, connection = provider.at("userinfo"), trip.connection
    assert get_json(connection, url)["keys"]
    assert unavailable(lambda: get_json(connection, url, access_token="x")) == "http_302"
    assert unavailable(lambda: get_json(connection, url, query={"token": "x"})) == "http_302"


def test_at_412_a_redirect_elsewhere_is_checked_again(provider: LyingProvider, trip: Trip) -> None:
    provider.answers["jwks"] = redirect_to("http://169.254.169.254/keys")
    url = provider.at("jwks")
    assert unavailable(lambda: get_json(trip.connection, url)) == "address_refused"


@pytest.mark.parametrize(
    ("body", "value"), [(b"[1]", [1]), (b"7", 7), (b' {"a": []} ', {"a": []}), (b"null", None)]
)
def test_g1_every_json_value_is_read(
    provider: LyingProvider, trip: Trip, body: bytes, value: object
) -> None:
    provider.answers["userinfo"] = Answer(200, body)
    assert get_json(trip.connection, provider.at("userinfo")) == value


@pytest.mark.parametrize(
    "body", [b'1,"x":2', b'1,"value":2', b"{}}", b"", b"NaN", b"[1]{}", b"\xef\xbb\xbf{}"]
)
def test_g1_no_body_speaks_for_more_than_one_value(
    provider: LyingProvider, trip: Trip, body: bytes
) -> None:
    provider.answers["userinfo"] = Answer(200, body)
    assert unavailable(lambda: get_json(trip.connection, provider.at("userinfo"))) == "not_json"


def test_at_197_the_token_endpoint_may_not_be_inside(provider: LyingProvider, trip: Trip) -> None:
    code = code_for(provider, trip)
    own = {**provider.endpoints, "token_endpoint": "https://127.0.0.1/token"}
    own = {name: url.replace("http://", "https://") for name, url in own.items()}
    trip.connection = replace(trip.connection, allow_private=False, endpoints=own)
    assert unavailable(lambda: trip.redeem(code)) == "address_refused"


def test_g1_errors_hold_no_secret(provider: LyingProvider, trip: Trip) -> None:
    provider.answers["token"] = Answer(400, {"error": "a-secret-code", "x": trip.code_verifier})
    with pytest.raises(SsoRefused) as error:
        trip.redeem("a-secret-code")
    told = json.dumps(
        [repr(error.value), str(error.value), error.value.reason, error.value.details]
    )
    assert not any(secret in told for secret in ("a-secret-code", trip.code_verifier))
    assert provider.client_secret not in repr(trip.connection)
